"""Programs that try the same thing many times and count: too long for `make test`. See docs/reliability.md."""
