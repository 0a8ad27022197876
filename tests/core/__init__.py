"""Tests of plasmid.core: state machines, driven without I/O."""
