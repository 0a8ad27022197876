"""Handles: Context on any context of the tree, Call on a call in flight. The same classes on both sides.

The deadline of a call is the smaller of its own `timeout=`, the one in force around it (plasmid.timeout(), or that of
the call being served by this thread), and the router's default. What remains of it travels with the call.
"""

import sys
import threading
from time import monotonic

from plasmid.core import address as addresses
from plasmid.core import values
from plasmid.core.errors import (
    CallError,
    Cancelled,
    ContextLost,
    NotSent,
    Overloaded,
    ValueDecodeError,
)
from plasmid.runtime import ports
from plasmid.runtime.ports import Parking, Port, TimedOut, guard

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextvars import ContextVar as ContextVar
    from typing import Any, Callable, Dict, Generator, List, Optional, Tuple, Type, TypeVar, Union

    from plasmid.core.calls import OutCall
    from plasmid.core.values import Payload
    from plasmid.runtime.jobs import Job
    from plasmid.runtime.runtime import Runtime
    from plasmid.service.directory import ServiceInfo

    T = TypeVar("T")
    Classes = Callable[[str], Optional[type]]
else:
    try:
        from _contextvars import ContextVar
    except ImportError:  # Python 3.6

        class ContextVar(threading.local):
            """As much of contextvars.ContextVar as is used here."""

            def __init__(self, name, default):
                self.value = default

            def get(self):
                """Return the value in this thread."""
                return self.value

            def set(self, value):
                """Set the value in this thread; return what reset() takes, which undoes it."""
                before, self.value = self.value, value
                return before

            reset = set


deadline_var = ContextVar("plasmid_deadline", default=None)  # type: ContextVar[Optional[float]]
job_var = ContextVar("plasmid_job", default=None)  # type: ContextVar[Optional[Job]]

# Classes that values from anyone may name, by "module:qualname"; see plasmid.declare().
declared = {}  # type: Dict[str, type]


# The name and the packed head of calls that were made before, by what they consist of.
_heads = {}  # type: Dict[Tuple[str, Union[str, int], Optional[str]], Tuple[str, bytes]]
HEADS_MAX = 1024


def _head_of(what: str, name: "Union[str, int]", method: "Optional[str]") -> "Tuple[str, bytes]":
    found = "%s.%s" % (name, method) if method else str(name), values.pack([what, name, method])
    # What equals another name must not be taken for it: True, or 1.0, for 1.
    if type(name) in (str, int) and len(_heads) < HEADS_MAX:
        _heads[what, name, method] = found
    return found


def deadline_after(seconds: "Optional[float]") -> "Optional[float]":
    """Return the deadline `seconds` from now, or the one in force if that is nearer; None for none."""
    around = deadline_var.get()
    if seconds is None:
        return around
    mine = monotonic() + seconds
    return mine if around is None else min(mine, around)


def find_any(name: str) -> "Optional[type]":
    """Return the class of that name, imported if need be. Only for what a parent sent: it may run any code here."""
    found = declared.get(name)
    return found if found is not None else resolve(*name.split(":", 1))


def resolve(module: str, qualname: str = "") -> "Any":
    """Return what `qualname` names in the module, importing it. ImportError or AttributeError if it isn't there."""
    __import__(module)
    found = sys.modules[module]  # type: Any
    for part in qualname.split("."):
        found = getattr(found, part)
    return found


class Call(Port):
    """A call in flight: a future, something to await, and something to put into a Select.

    what, where: the call and the context as errors name them.
    """

    ended = False
    job = None  # type: Optional[Job]  # which is served by this thread, if it is of the same runtime
    _out = None  # type: Optional[OutCall]
    came = None  # type: Optional[Tuple[Optional[Payload], bool, Optional[CallError]]]  # how it ended, as CallEnded says
    _outcome = None  # type: Optional[Tuple[Any, Optional[BaseException]]]
    _callbacks = ()  # type: Tuple[Callable[[], None], ...]

    def __init__(self, context: "Context", what: str, classes: "Optional[Classes]") -> None:
        self.context = context
        self.what = what
        self._classes = classes

    def __repr__(self) -> str:
        return "<Call of %s on %s, %s>" % (self.what, self.context, "ended" if self.ended else "in flight")

    def done(self) -> bool:
        """Whether the call has ended, in whatever way."""
        return self.ended

    def result(self, timeout: "Optional[float]" = None) -> "Any":
        """Return what the method returned, waiting for it up to `timeout` seconds.

        Raises what the method raised, or how else the call ended (see plasmid.CallError); TimedOut if it hasn't: it
        goes on then.
        """
        value, error = self._outcome or self._await(timeout)
        if error is not None:
            try:
                raise error
            finally:
                error = None  # a traceback that refers to itself would keep its frames alive
        return value

    def exception(self, timeout: "Optional[float]" = None) -> "Optional[BaseException]":
        """Return what result() would raise, None if it wouldn't. A wait that is interrupted cancels the call."""
        return (self._outcome or self._await(timeout))[1]

    def _await(self, timeout: "Optional[float]") -> "Tuple[Any, Optional[BaseException]]":
        if not self.ended:
            self._wait_here(None if timeout is None else monotonic() + timeout)
            if not self.ended:
                raise TimedOut("%s on %s hasn't ended within %s s; it goes on" % (self.what, self.context, timeout))
        came = self.came
        if self._outcome is None:
            # Two threads may do so at once; neither may take what came from under the other.
            assert came is not None
            self._outcome = self._decode(*came)
            self.came = None
        return self._outcome

    def _wait_here(self, until: "Optional[float]") -> None:
        """Wait for the end, or until that time, as wait() does for what doesn't end for everyone at once."""
        parking = Parking()
        with guard:
            if self.ended:
                return
            self._waiting += (parking,)
        waited = None
        try:
            waited = ports.about_to_wait and ports.about_to_wait(self)
            self.context.runtime.loop.park(parking, until)
        except BaseException:
            self.cancel()
            raise
        finally:
            if waited:
                waited()
            if not self.ended:
                with guard:
                    self._waiting = tuple(each for each in self._waiting if each is not parking)

    def cancel(self) -> bool:
        """End the call with Cancelled and ask the far side to stop. False if it had ended."""
        runtime = self.context.runtime
        with runtime.lock:
            if self.ended or self._out is None:
                return False
            self.stop("it was cancelled here")
            runtime.loop.settle()
        return True

    def stop(self, found: str = "the call that made it was cancelled") -> None:
        """Cancel it. Under the router lock."""
        if self._out:
            self.context.runtime.node.calls.cancel(self._out, Cancelled("", "", found))

    def add_done_callback(self, fn: "Callable[[Call], object]") -> None:
        """Have fn(call) called when the call has ended, on a thread of its own kind; at once if it has."""
        self.when_ended(lambda: self.context.runtime.defer(fn, self))

    def when_ended(self, fn: "Callable[[], None]") -> None:
        """Have fn() called by whoever ends the call, under the router lock: it must only queue and wake."""
        with self.context.runtime.lock:
            if not self.ended:
                self._callbacks += (fn,)
                return
        fn()

    def __await__(self) -> "Generator[Any, None, Any]":
        from plasmid.runtime.awaiting import wait_in_event_loop

        yield from wait_in_event_loop(self)
        return self.result()

    # -- a Port

    def has(self) -> bool:
        """Whether the call has ended."""
        return self.ended

    def take(self) -> "Any":
        """Return the call itself: its result isn't used up."""
        return self

    def finish(self, item: "Any") -> "Any":
        """Return the result, as an event's data."""
        return self.result()

    def park(self, parking: Parking, until: "Optional[float]") -> None:
        """Wait, and lead meanwhile."""
        self.context.runtime.loop.park(parking, until)

    def end(self, body: "Optional[Payload]", is_error: bool = False, error: "Optional[CallError]" = None) -> None:
        """Take note of how the call ended. Under the router lock."""
        self.came = body, is_error, error
        self._out = None  # which refers to this: a long result would stay until a collector comes by
        if self.job is not None:
            self.job.stops.discard(self.stop)
            self.job = None
        with guard:
            self.ended = True
            waiting, self._waiting = self._waiting, ()
            if self.selects:
                self.wake()
        for parking in waiting:
            self.context.runtime.loop.release(parking)
        for fn in self._callbacks:
            fn()

    def _decode(
        self, body: "Optional[Payload]", is_error: bool, error: "Optional[CallError]"
    ) -> "Tuple[Any, Optional[BaseException]]":
        """Turn what came into a result or an error, on the thread that wants it."""
        runtime = self.context.runtime
        classes = self._classes or runtime.find_class
        if body is not None and not is_error:
            try:
                return values.decode(body, classes, runtime.handle), None
            except ValueDecodeError as found:
                text = "what %s on %s answered can't be taken: %s" % (self.what, self.context, found)
                return None, ValueDecodeError(text)
        where = str(self.context)
        if error is not None:
            error = _placed(error, self.what, where)
            if isinstance(error, ContextLost) and runtime.explain_loss is not None:
                end = runtime.explain_loss(self.context.address)
                error.found += " (%s)" % end if end else ""
            return None, error
        assert body is not None
        from plasmid.core import remote

        return None, remote.read_error(body, self.what, where, classes, runtime.handle)


def _placed(error: CallError, what: str, where: str) -> CallError:
    """Return the protocol's error with the names of what was called, where."""
    return type(error)(what, where, error.found, error.started)


class Context:
    """The handle on one context: call functions and services there. Equal handles mean the same context."""

    def __init__(self, runtime: "Runtime", address: bytes, name: str = "") -> None:
        self.runtime = runtime
        self.address = address
        self.name = name or runtime.name_of(address)

    def __str__(self) -> str:
        where = addresses.text(self.address)
        return "%s (%s)" % (self.name, where) if self.name and self.name != where else where

    def __repr__(self) -> str:
        return "<Context %s>" % self

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Context) and other.address == self.address and other.runtime is self.runtime

    def __hash__(self) -> int:
        return hash(self.address)

    def plasmid_handle(self) -> "Tuple[int, bytes]":
        """Return what travels of it."""
        return values.HANDLE_CONTEXT, bytes([len(self.address)]) + self.address + self.name.encode("utf-8", "replace")

    # -- functions

    def call(self, fn: "Callable[..., T]", *args: "Any", **kwargs: "Any") -> "T":
        """Return what fn(*args, **kwargs) returns there: on its main thread, one call after the other.

        The module of `fn` is imported there; where that machine lacks it, it comes from here. Only a parent may.
        """
        return self.call_async(fn, *args, **kwargs).result()  # type: ignore[no-any-return]

    def call_async(self, fn: "Callable[..., Any]", *args: "Any", **kwargs: "Any") -> Call:
        """Start call() and return the Call."""
        call = self.send_function(fn, [list(args), kwargs], False)
        assert call is not None
        return call

    def call_no_reply(self, fn: "Callable[..., Any]", *args: "Any", **kwargs: "Any") -> None:
        """Start call() and hear nothing more of it."""
        self.send_function(fn, [list(args), kwargs], True)

    def send_function(self, fn: "Any", arguments: "Any", no_reply: bool) -> "Optional[Call]":
        """Send the call of a function, with [args, kwargs] or what these were encoded to. None for no_reply."""
        from plasmid.runtime import naming

        return naming.send_function(self, fn, arguments, no_reply)

    def preload(self, *names: str) -> None:
        """Have these modules, and what they import, sent there ahead of need. ImportError if they can't be."""
        self.runtime.hook("preload")([self], *names)

    # -- services

    def call_service(self, service: "Union[str, int, Type[Any]]", method: "Optional[str]", **kwargs: "Any") -> "Any":
        """Return what the method of the service there returns. service: its class, or the name it is known by."""
        return self.call_service_async(service, method, **kwargs).result()

    def call_service_async(
        self, service: "Union[str, int, Type[Any]]", method: "Optional[str]", **kwargs: "Any"
    ) -> Call:
        """Start call_service() and return the Call."""
        return self.send_call("s", self.service_name(service), method, kwargs)  # type: ignore[return-value]  # a Call

    def service_name(self, service: "Any") -> "Union[str, int]":
        """Return the name to call a service by, having seen to it that the far side may import its class."""
        if isinstance(service, type):
            self.runtime.permit(self.address, service.__module__)
            return service.name()  # type: ignore[attr-defined, no-any-return]
        if isinstance(service, str) and "." in service:
            self.runtime.permit(self.address, service.rpartition(".")[0])
        return service  # type: ignore[no-any-return]

    def service(self, cls: "Type[T]", timeout: "Optional[float]" = None, overload_wait: float = 0) -> "T":
        """Return a client whose methods are those that `cls` exposes; each may take `timeout` seconds.

        overload_wait: for how many one that meets a full queue tries again, rather than raise Overloaded at once.
        """
        self.runtime.permit(self.address, cls.__module__)
        return self.runtime.hook("proxy")(self, cls, timeout, overload_wait)  # type: ignore[no-any-return]

    def services(self) -> "List[ServiceInfo]":
        """Return what is active there: names, methods, signatures, docstrings and policies. Only a parent may ask."""
        return self.runtime.hook("services")(self)  # type: ignore[no-any-return]

    def send_call(
        self,
        what: str,
        name: "Union[str, int]",
        method: "Optional[str]",
        payload: "Any",
        deadline: "Optional[float]" = None,
        no_reply: bool = False,
        classes: "Optional[Classes]" = None,
    ) -> "Optional[Call]":
        """Send a call of any kind. what: "f" for a function, "s" for a service. None for no_reply.

        Raises UnsendableValue if the payload can't travel, NotSent or Overloaded if it can't be sent now.
        """
        runtime = self.runtime
        written, head = _heads.get((what, name, method)) or _head_of(what, name, method)
        parts = values.encode(payload, written)
        if deadline is None:
            default_s = runtime.default_timeout_s
            deadline = deadline_var.get() if default_s is None else deadline_after(default_s)
        call = None if no_reply else Call(self, written, classes)
        with runtime.lock:
            try:
                now = 0.0 if deadline is None else monotonic()  # only the time left is reckoned from it
                out = runtime.node.calls.call(self.address, head, parts, now, deadline, no_reply, call)
            except (NotSent, Overloaded) as error:
                raise _placed(error, written, str(self)) from None
            if call is not None:
                call._out = out
                job = job_var.get()
                if job is not None and job.runtime is runtime:
                    call.job = job
                    job.stops.add(call.stop)
            node = runtime.node
            if node.dirty or node.events or deadline is not None:
                runtime.loop.settle()
        return call

    # -- life

    def shutdown(self, wait: bool = True) -> None:
        """End that context, and all below it, in order. wait: until its link has closed.

        Only its parent can; for one further down, that parent is asked.
        """
        self.runtime.hook("shutdown")(self, wait)

    def on_lost(self, fn: "Callable[[Context, str], object]") -> None:
        """Have fn(context, reason) called once when that context is no more, however it ended; at once if it has.

        Each call is made on a helper thread; what one raises is shown, and stops no other.
        """
        self.runtime.hook("on_lost")(self, fn)

    def detach(self) -> int:
        """Let that context go on without us until its function calls have ended; return its process id."""
        return self.runtime.hook("detach")(self)  # type: ignore[no-any-return]
