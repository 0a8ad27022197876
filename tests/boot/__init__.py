"""Tests of plasmid.boot."""
