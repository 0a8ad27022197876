"""A service with methods of every kind, for real far sides: sent there, so it runs on Python 3.6 too."""

# ruff: noqa: UP006, UP035
import asyncio
import threading

import plasmid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, AsyncIterator, Iterator, List

WAIT_S = 20


class Point(Exception):
    """An item of a class of the program's own."""


class Kinds(plasmid.Service):
    """A method of every kind."""

    def __init__(self, router: "Any") -> None:
        super().__init__(router)
        self.closed = threading.Semaphore(0)
        self.begun = threading.Semaphore(0)
        self.messages = []  # type: List[Any]
        self.came = threading.Semaphore(0)

    @plasmid.expose(plasmid.AllowAny())
    def count(self, to: int, size: int = 0) -> "Iterator[Any]":
        """Give the numbers below `to`, or so many bytes objects."""
        try:
            for number in range(to):
                yield bytes(size) if size else number
        finally:
            self.closed.release()

    @plasmid.expose(plasmid.AllowAny())
    def points(self) -> "Iterator[Point]":
        """Give an item of a class that only the annotation declares."""
        yield Point(1, 2)

    @plasmid.expose(plasmid.AllowAny())
    async def count_async(self, to: int) -> "AsyncIterator[int]":
        """Give the numbers below `to`."""
        try:
            for number in range(to):
                await asyncio.sleep(0)
                yield number
        finally:
            self.closed.release()

    @plasmid.expose(plasmid.AllowAny())
    async def who(self) -> "List[str]":
        """Return who called, before and after a pause."""
        first = self.caller.name
        await asyncio.sleep(0)
        return [first, self.caller.name]

    @plasmid.expose(plasmid.AllowAny())
    async def forever(self) -> None:
        """Wait until cancelled."""
        self.begun.release()
        try:
            await asyncio.get_event_loop().create_future()
        finally:
            self.closed.release()

    @plasmid.expose(plasmid.AllowParents())
    def wait_begun(self) -> bool:
        """Return True once forever() runs."""
        return self.begun.acquire(timeout=WAIT_S)

    @plasmid.expose(plasmid.AllowParents())
    def wait_closed(self) -> bool:
        """Return True once a generator or coroutine was closed."""
        return self.closed.acquire(timeout=WAIT_S)

    @plasmid.expose(plasmid.AllowParents())
    def open_inbox(self) -> "Any":
        """Return where to put messages."""
        receiver = plasmid.Receiver(self.router)
        self.select.add(receiver)
        return receiver.to_sender()

    def on_message_received(self, event: "Any") -> None:
        """Keep it."""
        self.messages.append(event.data)
        self.came.release()

    @plasmid.expose(plasmid.AllowParents())
    def take_messages(self, count: int) -> "List[Any]":
        """Return the messages, once there are so many."""
        for _ in range(count):
            assert self.came.acquire(timeout=WAIT_S)
        return self.messages

    @plasmid.expose(plasmid.AllowAny())
    def nest(self, depth: int) -> int:
        """Return `depth`, having called itself so often."""
        return 0 if depth == 0 else 1 + self.router.myself().service(Kinds).nest(depth - 1)


@plasmid.takes_econtext
def read_from_root(count: int, econtext: "Any") -> "List[int]":
    """Return what the root's generator gives."""
    return list(econtext.master.service(Kinds).count(count))


@plasmid.takes_econtext
def leave_in_the_midst(econtext: "Any") -> None:
    """Start to read from the root, and end this process."""
    import os

    next(econtext.master.service(Kinds).count(10**9))
    os._exit(3)


def sum_of(context: "Any", count: int) -> int:
    """Return the sum of what the generator of another context gives."""
    return sum(context.service(Kinds).count(count))
