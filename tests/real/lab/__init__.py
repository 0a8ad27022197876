"""Real counterparts of a test run's own: networks of hosts, container engines, clusters."""
