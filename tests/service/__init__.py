"""Tests of plasmid.service."""
