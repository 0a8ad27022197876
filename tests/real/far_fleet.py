"""What the tests of fleets run on far sides: sent there, so it runs on Python 3.6 too."""

import os
import threading

import plasmid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

WAIT_S = 20.0


class Meter(plasmid.Service):
    """A service to call on all of them."""

    @plasmid.expose(plasmid.AllowParents())
    def scaled(self, by: int, offset: int = 0) -> int:
        """Return something that depends on the arguments alone."""
        return by * 7 + offset

    @plasmid.expose(plasmid.AllowParents())
    def rows(self) -> "Iterator[int]":
        """Give an item."""
        yield 1


def fail_on(pid: int) -> int:
    """Return the number of this process, unless it's that one."""
    if os.getpid() == pid:
        raise KeyError("not on %d" % pid)
    return os.getpid()


def wait_until_cancelled() -> bool:
    """Return once nobody waits for the answer."""
    call = plasmid.current_call()
    pause = threading.Event()
    while call is not None and not call.cancelled:
        pause.wait(0.02)
    return True
