"""The tests of Plasmid; the folders mirror src/plasmid, see CONTRIBUTING.md."""
