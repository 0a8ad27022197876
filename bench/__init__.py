"""Measurements: what the machine allows, what Plasmid does, and what its peers do, side by side. Run bench/run.py."""
