"""Services whose methods are of every kind, and a root that serves them to itself: real links are for tests/real."""

import asyncio
import threading
from collections.abc import AsyncIterator, Generator, Iterator
from typing import Any

import plasmid
from plasmid.service import AllowAny, AllowParents, DeduplicatingInvoker, Reply, SerializedInvoker, expose
from plasmid.testing import ANSWER_TIMEOUT_S


def acquire(semaphore: threading.Semaphore) -> None:
    assert semaphore.acquire(timeout=ANSWER_TIMEOUT_S), "it didn't come this far in time"


class Kinds(plasmid.Service):
    """A method of every kind, with what tests hold up and watch."""

    def __init__(self, router: Any) -> None:
        super().__init__(router)
        self.closed = threading.Semaphore(0)
        self.begun = threading.Semaphore(0)
        self.go = threading.Semaphore(0)
        self.threads: set[str] = set()
        self.made = 0
        self.running = 0
        self.most_running = 0
        self.executions = 0
        self.replies: list[Reply] = []

    @expose(AllowAny())
    def count(self, to: int, size: int = 0) -> Generator[Any, None, str]:
        """Give the numbers below `to`, or as many bytes objects."""
        try:
            for number in range(to):
                self.threads.add(threading.current_thread().name)
                self.made = number + 1
                yield bytes(size) if size else number
            return "all of them"
        finally:
            self.closed.release()

    @expose(AllowAny())
    def fail_after(self, count: int) -> Iterator[int]:
        """Give so many numbers, then fail."""
        yield from range(count)
        raise LookupError("no more")

    @expose(AllowAny())
    def unsendable(self) -> Iterator[Any]:
        """Give a number, then what can't travel."""
        try:
            yield 1
            yield [threading.Lock()]
        finally:
            self.closed.release()

    @expose(AllowAny())
    def held(self) -> Iterator[str]:
        """Give an item when the test lets it."""
        self.begun.release()
        acquire(self.go)
        yield "item"

    @expose(AllowAny())
    def callers(self) -> Iterator[str]:
        """Give the caller's name, from whichever thread runs this part."""
        for _ in range(3):
            yield self.caller.name

    @expose(AllowParents())
    async def double(self, number: int) -> int:
        """Return twice the number, after others had their turn."""
        await asyncio.sleep(0)
        return 2 * number

    @expose(AllowAny())
    async def meet(self, count: int) -> int:
        """Return once so many calls are here at once."""
        self.running += 1
        self.most_running = max(self.running, self.most_running)
        while self.most_running < count:
            await asyncio.sleep(0)
        self.running -= 1
        return self.most_running

    @expose(AllowAny())
    async def who(self) -> str:
        """Return the caller's name, twice, with a pause between."""
        first = self.caller.name
        await asyncio.sleep(0)
        return f"{first} {self.caller.name} {threading.current_thread().name}"

    @expose(AllowAny())
    async def forever(self) -> None:
        """Wait until cancelled."""
        self.begun.release()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self.closed.release()

    @expose(AllowAny())
    async def raise_exit(self) -> None:
        """Raise what would end an event loop."""
        raise SystemExit(3)

    @expose(AllowAny())
    async def count_async(self, to: int, size: int = 0) -> AsyncIterator[Any]:
        """Give the numbers below `to`."""
        try:
            for number in range(to):
                await asyncio.sleep(0)
                self.made = number + 1
                yield bytes(size) if size else number
        finally:
            self.closed.release()

    @expose(AllowAny())
    async def fail_after_async(self, count: int) -> AsyncIterator[int]:
        """Give so many numbers, then fail."""
        for number in range(count):
            yield number
        raise LookupError("no more")

    @expose(AllowAny())
    def later(self) -> str:
        """Leave the answer to the test."""
        self.replies.append(self.reply_later())
        return plasmid.NO_REPLY  # type: ignore[no-any-return]

    @expose(AllowAny())
    def nest(self, depth: int) -> int:
        """Return `depth`, having called itself through the pool that often."""
        if depth == 0:
            return 0
        return 1 + self.router.myself().service(type(self)).nest(depth - 1)

    @expose(AllowAny())
    def plain(self, number: int = 0) -> int:
        """Return the number."""
        return number


class Serial(Kinds):
    """The same, one call at a time."""

    invoker_class = SerializedInvoker


class Shared(plasmid.Service):
    """An async method that is worked on once."""

    invoker_class = DeduplicatingInvoker

    def __init__(self, router: Any) -> None:
        super().__init__(router)
        self.executions = 0

    @expose(AllowAny())
    async def find(self, key: str) -> int:
        """Return how often this was run."""
        await asyncio.sleep(0)
        self.executions += 1
        return self.executions
