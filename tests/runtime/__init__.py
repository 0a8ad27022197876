"""Tests of plasmid.runtime."""
