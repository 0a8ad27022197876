"""What the service framework needs from the rest, as types: a message, its sender, a router.

The runtime's Job, Context and Router fit these, and so do the stand-ins of plasmid.testing. This module is for type
checkers and readers: nothing imports it while a program runs.
"""

from typing import (
    TYPE_CHECKING,
    Any,
    AsyncIterator,
    Awaitable,
    Callable,
    Concatenate,
    ContextManager,
    Generator,
    Generic,
    Iterator,
    List,
    Optional,
    ParamSpec,
    Protocol,
    Sequence,
    TypeVar,
    Union,
    overload,
)

from plasmid.runtime.context import Call
from plasmid.service.streams import Stream

if TYPE_CHECKING:
    from plasmid.core.bulk import Body
    from plasmid.runtime.ports import Parking
    from plasmid.service.coroutines import EventLoop
    from plasmid.service.selects import PoolSelect

Name = Union[str, int]
Classes = Callable[[str], Optional[type]]
Buffer = Union[bytes, bytearray, memoryview]
P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")
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
    decoded, and how many bytes they are. no_reply: nobody waits for an answer. cancelled: nobody does any more.
    from_parent: the caller stands above this context, or is it.
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
    def payload(self) -> "Union[Buffer, Body]": ...

    @property
    def size(self) -> int: ...

    @property
    def no_reply(self) -> bool: ...

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

    def park(self, parking: "Parking") -> None:
        """Have this thread wait for parking.release(); it may take in what comes meanwhile."""

    def hold(self, help: "Callable[[bool], bool]") -> None:
        """Have help() called a moment later, and again until it returns False. Answers may wait for that meanwhile.

        With True if nobody has looked since the last time for what comes.
        """

    def release(self) -> None:
        """Send the answers that wait."""


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

    def is_unread(self, address: bytes) -> bool:
        """Say whether so many answers wait to be sent to the child that leads to a context that no more may."""
        ...

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


class ItemStream(Stream, Generic[T_co]):
    """The Stream of a generator method, as ExposedMethod.start() returns it, and what its items are."""

    if TYPE_CHECKING:

        def get(self, timeout: "Optional[float]" = None) -> T_co: ...

        def __iter__(self) -> "ItemStream[T_co]": ...

        def __next__(self) -> T_co: ...

        def __aiter__(self) -> "ItemStream[T_co]": ...

        async def __anext__(self) -> T_co: ...

        def __enter__(self) -> "ItemStream[T_co]": ...

        async def __aenter__(self) -> "ItemStream[T_co]": ...


class Future(Call, Generic[T_co]):
    """The Call that ExposedMethod.start() returns, and what its result is."""

    if TYPE_CHECKING:

        def result(self, timeout: "Optional[float]" = None) -> T_co: ...

        def __await__(self) -> "Generator[Any, None, T_co]": ...


class ExposedMethod(Generic[P, T_co]):
    """An exposed method of a client. Of the service itself it is the plain method, without start()."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T_co:
        """Return what the method returns; of an async one something to await, of a generator an iterator."""
        raise NotImplementedError

    @overload
    def start(  # type: ignore[overload-overlap]  # what is no iterator is left to the last
        self: "ExposedMethod[P, Iterator[T]]", *args: P.args, **kwargs: P.kwargs
    ) -> ItemStream[T]: ...
    @overload
    def start(  # type: ignore[overload-overlap]
        self: "ExposedMethod[P, AsyncIterator[T]]", *args: P.args, **kwargs: P.kwargs
    ) -> ItemStream[T]: ...
    @overload
    def start(self: "ExposedMethod[P, Awaitable[T]]", *args: P.args, **kwargs: P.kwargs) -> Future[T]: ...
    @overload
    def start(self, *args: P.args, **kwargs: P.kwargs) -> Future[T_co]: ...
    def start(self, *args: Any, **kwargs: Any) -> Any:
        """Call without waiting: return the call under way, to be waited for or awaited; of a generator its items."""


class Exposed(Generic[P, T_co]):
    """What @expose makes of a method."""

    def __call__(self, service: Any, *args: P.args, **kwargs: P.kwargs) -> T_co:
        """Call it as a function of the class."""
        raise NotImplementedError

    @overload
    def __get__(self, service: None, cls: type) -> "Callable[Concatenate[Any, P], T_co]": ...
    @overload
    def __get__(self, service: object, cls: type) -> ExposedMethod[P, T_co]: ...
    def __get__(self, service: Any, cls: Any) -> Any:
        """Return the method of an object."""


class Expose(Protocol):
    """What expose(policy) returns: a decorator, which may stand above another one."""

    # The last is for mypy, to which a method with **kwargs doesn't fit the one before.
    @overload
    def __call__(self, function: "Exposed[P, T]") -> "Exposed[P, T]": ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, function: "Callable[Concatenate[S, P], T]") -> "Exposed[P, T]": ...
    @overload
    def __call__(self, function: "Callable[..., T]") -> "Exposed[..., T]": ...
