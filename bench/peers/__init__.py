"""Adapters for other libraries, each as its own documentation shows it. Never needed to use or to test Plasmid."""
