"""The part of Plasmid that thinks: bytes and events in, bytes and events out. No I/O, thread, lock or clock."""
