"""plasmid.testing: try services without a far side.

    router = FakeRouter()
    pool = Pool(router, services=[Disk(router)])
    assert router.call(Disk, "free_bytes", path="/") > 0

Calls go through everything that a real one goes through on the receiving side: the pool and its threads, the policies,
the checks of arguments, and the encoding of arguments and results. Only the link is missing. These are real classes,
not mocks: a FakeJob is a message that keeps its answer for whoever holds its FakeCall.
"""

import itertools
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from plasmid.core import address as addresses
from plasmid.core import values
from plasmid.core.address_text import parse
from plasmid.core.errors import Cancelled, UnsendableValue
from plasmid.runtime.context import deadline_var, job_var
from plasmid.runtime.ports import Parking

Buffer: TypeAlias = "bytes | bytearray | memoryview"
ANSWER_TIMEOUT_S = 10.0
_ids = itertools.count(1)


class FakeContext:
    """The context that a FakeJob comes from."""

    def __init__(self, address: bytes, name: str = "") -> None:
        self.address = address
        self.name = name or addresses.text(address)

    def __repr__(self) -> str:
        return f"<FakeContext {self.name} ({addresses.text(self.address)})>"


class FakeCall:
    """The caller's end of a FakeJob: where its answer arrives."""

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._parts: Sequence[Buffer] = ()
        self._error: BaseException | None = None

    def done(self) -> bool:
        """Whether the answer is there."""
        return self._ended.is_set()

    def wait(self, timeout: float = ANSWER_TIMEOUT_S) -> None:
        """Wait for the answer; AssertionError if none comes in time."""
        assert self._ended.wait(timeout), f"the call wasn't answered within {timeout} s"

    def result(self, timeout: float = ANSWER_TIMEOUT_S, classes: "Callable[[str], type | None] | None" = None) -> Any:
        """Return the result, as it would have arrived; raise the error if it is one. classes: those it may name."""
        error = self.exception(timeout)
        if error is not None:
            raise error
        return values.decode(b"".join(self._parts), classes)

    def exception(self, timeout: float = ANSWER_TIMEOUT_S) -> "BaseException | None":
        """Return the error that the service answered with, None if it is a result."""
        self.wait(timeout)
        return self._error

    def answer(self, parts: "Sequence[Buffer]", error: "BaseException | None") -> bool:
        """Take the answer; False if there is one already."""
        with self._lock:
            if self._ended.is_set():
                return False
            self._parts, self._error = parts, error
            self._ended.set()
            return True


class FakeJob:
    """A service call that has just arrived. Its `call` is the caller's end.

    source: the caller's address, bytes or text. here: that of the context which serves the call; callers above it are
    its parents. caller_name: what the caller is called. deadline: on time.monotonic(). The rest as for a real message.
    """

    def __init__(
        self,
        name: "str | int",
        method: "str | None" = None,
        args: Any = None,
        *,
        source: "bytes | str" = addresses.ROOT,
        here: "bytes | str" = addresses.ROOT,
        caller_name: str = "",
        deadline: "float | None" = None,
        no_reply: bool = False,
    ) -> None:
        self.what = "s"
        self.name = name
        self.method = method
        self.source = parse(source) if isinstance(source, str) else source
        here = parse(here) if isinstance(here, str) else here
        self.from_parent = here.startswith(self.source)
        self.caller = FakeContext(self.source, caller_name)
        self.deadline = deadline
        self.no_reply = no_reply
        self.cancelled = False
        self.runtime = None
        self.done = False  # answered
        self.id = next(_ids)
        self.call = FakeCall()
        self.payload = b"".join(values.encode({} if args is None else args, "arguments"))
        self._tokens: list[Any] = []
        weakref.finalize(
            self, self.call.answer, (), Cancelled(str(name), "", "the request was dropped without an answer")
        )

    @property
    def size(self) -> int:
        """How many bytes its arguments are."""
        return len(self.payload)

    def args(self, classes: "Callable[[str], type | None] | None" = None) -> Any:
        """Return the arguments. classes: those that they may name, beyond the declared ones."""
        return values.decode(self.payload, classes)

    def reply(self, value: Any) -> None:
        """Answer with a value."""
        try:
            self.reply_encoded(values.encode(value, f"result of {self.name}"))
        except UnsendableValue as error:
            self.fail(error)

    def reply_encoded(self, parts: "Sequence[Buffer]") -> None:
        """Answer with a value that is encoded already."""
        self.done = True
        self.call.answer(parts, None)

    def fail(self, error: BaseException) -> None:
        """Answer with an error."""
        self.done = True
        self.call.answer((), error)

    def running(self) -> "FakeJob":
        """Return a context manager within which this is the call that the thread serves."""
        return self

    def __enter__(self) -> "FakeJob":
        self._tokens.append((deadline_var.set(self.deadline), job_var.set(self)))  # type: ignore[arg-type]
        return self

    def __exit__(self, *error: object) -> None:
        deadline, job = self._tokens.pop()
        deadline_var.reset(deadline)
        job_var.reset(job)


class FakeJobs:
    """Where a FakeRouter hands over calls. `pool` is the Pool, once one was made."""

    def __init__(self) -> None:
        self.pool: Any = None

    def defer(self, fn: "Callable[..., object]", *args: Any) -> None:
        """Run fn(*args) on a thread of its own."""
        threading.Thread(target=fn, args=args, daemon=True).start()

    def park(self, parking: Parking) -> None:
        """Wait until the thread is needed."""
        parking.wait(None)

    def hold(self, help: "Callable[[bool], bool]") -> None:
        """Have it help at once."""
        help(True)

    def release(self) -> None:
        """Do nothing: answers don't wait here."""


class FakeRouter:
    """Stands in for a Router where a Pool and its services need one. address: that of the context it plays."""

    def __init__(self, address: "bytes | str" = addresses.ROOT) -> None:
        self.address = parse(address) if isinstance(address, str) else address
        self.jobs = FakeJobs()

    def myself(self) -> FakeContext:
        """Return the context that it plays."""
        return FakeContext(self.address)

    def submit(self, service: Any, method: "str | None" = None, args: Any = None, **options: Any) -> FakeCall:
        """Call a service, by its class or a name, and return the caller's end at once. options: those of FakeJob."""
        name = service.name() if isinstance(service, type) else service  # type: ignore[attr-defined]
        job = FakeJob(name, method, args, **{"here": self.address, "source": self.address, **options})
        call = job.call
        self.jobs.pool.submit(job)
        return call

    def call(self, service: Any, method: "str | None" = None, **kwargs: Any) -> Any:
        """Call a service as this context itself, and return the result."""
        return self.submit(service, method, kwargs).result()
