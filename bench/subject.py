"""What can be measured: anything that starts children and calls them. One small adapter for each.

All adapters run the same small method: small(key, n) gives {"key": key, "n": n, "ok": True}.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from time import perf_counter
from typing import Any

from bench.moves import Copier


class NotOffered(Exception):
    """This subject has nothing of the kind, or can't be asked for it."""


class Subject:
    """A way to start children and call them. `Any` is whatever an adapter takes for a child."""

    name = ""
    version = ""

    def open(self) -> None:
        """Set up what is needed before the first child."""

    def close(self) -> None:
        """End everything."""

    def for_threads(self) -> "Subject":
        """Return the variant that may be called by many threads at once."""
        return self

    def start(self) -> Any:
        """Return a new child that has answered once."""
        raise NotImplementedError

    def stop(self, child: Any) -> None:
        """End a child."""
        raise NotImplementedError

    def pid(self, child: Any) -> int:
        """Return the process id of a child."""
        raise NotImplementedError

    def call(self, child: Any, n: int) -> Any:
        """Make a small call and return its result."""
        raise NotImplementedError

    def calls_up(self, child: Any, count: int) -> "list[float]":
        """Have the child call this process so many times; return the seconds of each call."""
        raise NotOffered

    def call_each(self, children: "list[Any]") -> None:
        """Make one small call to each child, all under way at once, and take all results."""
        raise NotOffered

    def shared_key(self, child: Any, callers: int) -> "tuple[float, int]":
        """Have so many callers ask for one key of a deduplicated method that takes 200 ms.

        Return the seconds until all have the answer, and how often it ran.
        """
        raise NotOffered

    def pipeline(self, child: Any, count: int, window: int) -> None:
        """Make so many small calls, up to `window` of them in flight, and take all results."""
        raise NotOffered

    def echo(self, child: Any, data: bytes) -> "bytes | bytearray | memoryview":
        """Send bytes there and return them when they have come back."""
        raise NotOffered

    def copying(self, ssh_args: "Sequence[str]") -> "AbstractContextManager[Copier]":
        """Give what copies files on this machine, or to the host that `ssh` is led to by these arguments."""
        raise NotOffered

    def boot_bytes(self, child: Any) -> int:
        """Return how many bytes were sent to start the child, arguments included."""
        raise NotOffered

    def start_behind(self, hops: int) -> Any:
        """Return a new child to which every call passes through so many processes between."""
        raise NotOffered


def timed_calls(subject: Subject, child: Any, count: int) -> "list[float]":
    """Make small calls, one after the other; return the seconds of each."""
    call = subject.call
    times = []
    for n in range(count):
        start = perf_counter()
        call(child, n)
        times.append(perf_counter() - start)
    return times
