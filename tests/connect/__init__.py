"""Tests of plasmid.connect."""
