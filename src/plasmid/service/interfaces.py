"""What the service framework needs from the rest, as types: a message, its sender, a router.

The runtime's Job, Context and Router fit these, and so do the stand-ins of plasmid.testing. This module is for type
checkers and readers: nothing imports it while a program runs.
"""

from typing import Any, Callable, ContextManager, List, Optional, Protocol, Sequence, Union

Name = Union[str, int]
Classes = Callable[[str], Optional[type]]
Buffer = Union[bytes, bytearray, memoryview]


class Caller(Protocol):
    """The context that a message came from."""

    @property
    def name(self) -> str: ...

    @property
    def address(self) -> bytes: ...


class Message(Protocol):
    """One call that has arrived and is answered exactly once: plasmid.runtime.jobs.Job.

    source: the verified address of the caller. name, method: what it asked for, as it wrote it; method is None in
    calls of the older form. deadline: of time.monotonic(), None if it has none. size: bytes of its arguments.
    cancelled: nobody waits for the answer any more. from_parent: the caller stands above this context, or is it.
    """

    @property
    def source(self) -> bytes: ...

    @property
    def name(self) -> Name: ...

    @property
    def method(self) -> "Optional[str]": ...

    @property
    def deadline(self) -> "Optional[float]": ...

    @property
    def size(self) -> int: ...

    @property
    def cancelled(self) -> bool: ...

    @property
    def done(self) -> bool: ...

    @property
    def from_parent(self) -> bool: ...

    @property
    def caller(self) -> Caller: ...

    def args(self, classes: "Optional[Classes]" = None) -> Any:
        """Return the arguments, decoded; ValueDecodeError if they can't be. `classes` finds declared classes."""

    def reply(self, value: Any) -> None:
        """Answer with a value. A value that can't be sent becomes that error."""

    def reply_encoded(self, parts: "Sequence[Buffer]") -> None:
        """Answer with a value that values.encode() has encoded already."""

    def fail(self, error: BaseException) -> None:
        """Answer with an error."""

    def running(self) -> "ContextManager[Any]":
        """Make the deadline and the cancellation of this job those of the calls made in this thread meanwhile."""
        ...


class Jobs(Protocol):
    """Where the runtime hands over the calls that arrive. `pool` is the Pool, or None."""

    pool: Any

    def defer(self, fn: "Callable[..., object]", *args: Any) -> None:
        """Run fn(*args) soon, with no lock held and not in this thread's way."""


class Host(Protocol):
    """What a pool needs of a router."""

    @property
    def jobs(self) -> Jobs: ...


class Backlog(Protocol):
    """An invoker's way to the requests that wait for it: those that no thread has taken up yet."""

    def take(self) -> "List[Any]":
        """Return and remove the requests that have arrived and that nobody has read."""
        ...

    def give_back(self, requests: "List[Any]") -> None:
        """Have requests that were read served next, before any that wasn't."""
