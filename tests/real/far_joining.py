"""What the tests of joining call on contexts: sent there, so it runs on Python 3.6 too."""

import os
import threading

import plasmid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

GATE_TIMEOUT_S = 30

noted = []  # type: list[str]
listeners = []  # type: list[Any]


def process_id() -> int:
    """Return the number of this process."""
    return os.getpid()


def thread_name() -> str:
    """Return the name of the thread that runs this."""
    return threading.current_thread().name


def wait_for_cancel() -> str:
    """Wait until the call is cancelled, and note it."""
    noted.append("began")
    call = plasmid.current_call()
    assert call is not None
    cancelled = threading.Event()
    call.stops.add(cancelled.set)
    if call.cancelled or cancelled.wait(GATE_TIMEOUT_S):
        noted.append("cancelled")
    return "ended"


def notes() -> "list[str]":
    """Return what was noted."""
    return noted


def put_numbers(sender: "plasmid.Sender", count: int) -> None:
    """Put so many numbers."""
    for number in range(count):
        sender.put(number)


@plasmid.takes_router
def listen(path: str, authority: str, router: "Any") -> None:
    """Let other processes join here."""
    listeners.append(router.listen(path, authority=authority))


@plasmid.takes_router
def joined(router: "Any") -> "list[str]":
    """Return who has joined here."""
    return [str(context) for context in listeners[0].contexts()]


@plasmid.takes_econtext
def ask(address: bytes, econtext: "Any") -> "Any":
    """Call what anybody may of the service on another context."""
    return plasmid.Context(econtext._runtime, address).service(Desk).open_to_all()


class Desk(plasmid.Service):
    """A service with a door for everybody and one for parents."""

    @plasmid.expose(plasmid.AllowAny())
    def open_to_all(self) -> "list[Any]":
        """Return which process this is, and who called."""
        return [os.getpid(), str(self.caller)]

    @plasmid.expose(plasmid.AllowParents())
    def parents_only(self) -> int:
        """Return which process this is."""
        return os.getpid()

    @plasmid.expose(plasmid.AllowParents())
    def count(self, to: int) -> "Iterator[int]":
        """Give the numbers below `to`."""
        yield from range(to)

    @plasmid.expose(plasmid.AllowParents())
    def noted(self) -> "list[str]":
        """Return what was noted, while the main thread is busy."""
        return noted
