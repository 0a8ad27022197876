"""Tests of plasmid.builtin."""
