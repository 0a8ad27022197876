"""What the tests of detaching run on far sides: sent there, so it runs on Python 3.6 too."""

import os

import plasmid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def pass_on(came: str, went: str) -> None:
    """Wait for a line in the pipe `came`, and write it, with this process's number, to the file `went`."""
    print("waiting")
    with open(came) as pipe:
        line = pipe.readline()
    print("nobody is there to print to")
    with open(went + ".part", "w") as file:
        file.write("%s %d" % (line.strip(), os.getpid()))
    os.rename(went + ".part", went)


@plasmid.takes_econtext
def detach_myself(econtext: "Any") -> None:
    """Ask what only a parent may."""
    econtext.parent.detach()
