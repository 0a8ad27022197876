"""Programs whose types are checked, not run."""
