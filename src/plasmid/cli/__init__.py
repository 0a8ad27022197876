"""The `plasmid` command, on the near side. Click and rich are imported when it runs.

So this file stays empty of them: far sides that are sent `plasmid.cli.facts` and `plasmid.cli.probe` import it too.
"""

import sys


def main() -> None:
    """Run the command with the arguments of this process, and end the process with its exit status."""
    try:
        from plasmid.cli.command import command

        command(prog_name="plasmid")
    except KeyboardInterrupt:
        # Later ones are the commands' own to handle: click would turn them into status 1.
        sys.exit(130)
