"""Seeded simulations of whole trees of contexts under a fake clock and network."""
