"""What the service framework needs from the rest, as types: a message, its sender, a router.

The runtime's Job, Context and Router fit these, and so do the stand-ins of plasmid.testing. This module is for type
checkers and readers: nothing imports it while a program runs.
"""

from typing import (
    TYPE_CHECKING,
    Any,
    AsyncIterator,
    Callable,
    ContextManager,
    Generator,
    Iterator,
    List,
    Optional,
    Protocol,
    Sequence,
    TypeVar,
    Union,
)

if TYPE_CHECKING:
    from plasmid.service.coroutines import EventLoop
    from plasmid.service.selects import PoolSelect

Name = Union[str, int]
Classes = Callable[[str], Optional[type]]
Buffer = Union[bytes, bytearray, memoryview]
T_co = TypeVar("T_co", covariant=True)


class Caller(Protocol):
    """The context that a message came from."""

    @property
    def name(self) -> str: ...

    @property
    def address(self) -> bytes: ...


class Message(Protocol):
    """One call that has arrived and is answered exactly once: plasmid.runtime.jobs.Job.

    source: the verified address of the caller. name, method: what it asked for, as it wrote it; method is None in
    calls of the older form. deadline: of time.monotonic(), None if it has none. payload, size: its arguments, not
    decoded, and how many bytes they are.
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
    def payload(self) -> "Buffer": ...

    @property
    def size(self) -> int: ...

    cancelled: bool
    done: bool

    @property
    def id(self) -> int: ...

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

    def myself(self) -> Caller:
        """Return the context that this is in."""
        ...


class Backlog(Protocol):
    """An invoker's way to the requests that wait for it: those that no thread has taken up yet."""

    def take(self, count_max: int) -> "List[Any]":
        """Return and remove up to so many of the requests that have arrived and that nobody has read."""
        ...

    def give_back(self, requests: "List[Any]") -> None:
        """Have requests that were read served next, before any that wasn't."""

    def detach(self, request: Any) -> bool:
        """Have a running request go on without a thread, until finish(). False if there are too many of those."""
        ...

    def resume(self, request: Any) -> None:
        """Have such a request served again, by a thread that goes on with it. Only queues and wakes."""

    def finish(self, request: Any) -> None:
        """Take note that such a request has ended."""

    def event_loop(self) -> "EventLoop":
        """Return the event loop of the pool."""
        ...

    def select(self) -> "PoolSelect":
        """Return what the selects of all services stand in."""
        ...

    def deliver(self) -> None:
        """Have a thread take a message of the service's select. Only queues and wakes."""


class ItemStream(Protocol[T_co]):
    """The items of a generator method, as service.start() returns them: plasmid.service.Stream, and what they are."""

    def get(self, timeout: "Optional[float]" = None) -> T_co:
        """Return the next item, waiting up to `timeout` seconds for it."""
        ...

    def close(self) -> None:
        """Stop the generator on the far side, if it hasn't ended."""

    def __iter__(self) -> "Iterator[T_co]": ...

    def __next__(self) -> T_co: ...

    def __aiter__(self) -> "AsyncIterator[T_co]": ...

    async def __anext__(self) -> T_co: ...

    def __enter__(self) -> "ItemStream[T_co]": ...

    def __exit__(self, *error: object) -> None: ...


class Future(Protocol[T_co]):
    """A call under way, as service.start() returns it: plasmid.Call, and what its result is."""

    def done(self) -> bool:
        """Whether the call has ended, in whatever way."""
        ...

    def result(self, timeout: "Optional[float]" = None) -> T_co:
        """Return what the method returned, waiting for it up to `timeout` seconds."""
        ...

    def exception(self, timeout: "Optional[float]" = None) -> "Optional[BaseException]":
        """Return what result() would raise, None if it wouldn't."""
        ...

    def cancel(self) -> bool:
        """End the call with Cancelled and ask the far side to stop. False if it had ended."""
        ...

    def add_done_callback(self, fn: "Callable[[Any], object]") -> None:
        """Have fn(call) called when the call has ended."""
        ...

    def __await__(self) -> "Generator[Any, None, T_co]": ...
