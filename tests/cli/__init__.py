"""Tests of the `plasmid` command."""
