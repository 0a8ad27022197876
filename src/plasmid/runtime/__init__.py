"""The part of Plasmid that acts: descriptors, threads and the clock, the same in every context."""
