"""Whole networks of hosts on this one machine, for tests that need more than one."""
