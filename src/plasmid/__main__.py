"""`python -m plasmid` is the `plasmid` command."""

from plasmid.cli import main

if __name__ == "__main__":
    main()
