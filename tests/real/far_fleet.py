"""What the tests of fleets run on far sides: sent there, so it runs on Python 3.6 too."""

import os
import threading
from collections import namedtuple

import plasmid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

encodings: "list[Span]" = []


class Span(namedtuple("Span", "first last")):
    """A value that notes each time it is encoded."""

    __slots__ = ()

    def __iter__(self) -> "Iterator[int]":
        encodings.append(self)
        return super().__iter__()


class Meter(plasmid.Service):
    """A service to call on all of them."""

    @plasmid.expose(plasmid.AllowParents())
    def scaled(self, by: int, offset: int = 0) -> int:
        """Return something that depends on the arguments alone."""
        return by * 7 + offset

    @plasmid.expose(plasmid.AllowParents())
    def length(self, span: Span) -> int:
        """Return the length of a span."""
        return length(span)

    @plasmid.expose(plasmid.AllowParents())
    def rows(self) -> "Iterator[int]":
        """Give an item."""
        yield 1


def length(span: "Any") -> int:
    """Return the length of a span."""
    return int(span.last - span.first)


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
