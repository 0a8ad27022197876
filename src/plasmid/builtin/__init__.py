"""The services that every context has: modules for its children, and the console of the root."""
