"""Outflow: the items of a generator method on their way to the caller.

Each item is put to a receiver of the caller's, which the call named, as a list: [item]; at the end [None, value], where
the value is what the generator returned, or [None, None, error]. They go by one stream, so nothing overtakes anything,
and the call itself is never answered: it stands until the caller, who has read to the end or no further, cancels it.
Thus the loss of either side reaches the other by what reports the loss of calls and streams anyway.

A generator runs on pool threads, a while at a time. While the caller reads nothing it has no thread: the credit of the
stream wakes it. It is closed when the caller is gone or has cancelled, when its deadline is over, or with the pool.
"""

from threading import Lock
from time import monotonic

from plasmid.core import remote, values
from plasmid.core.errors import Cancelled, PlasmidError, UnsendableValue
from plasmid.service.invokers import answerable, attempt, call_text, report
from plasmid.service.methods import ASYNC_STREAM

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Optional, Sequence, Union

    from plasmid.service.invokers import Invoker, Request

    Buffer = Union[bytes, bytearray, memoryview]

try:
    from _contextvars import copy_context
except ImportError:  # Python 3.6
    copy_context = None  # type: ignore[assignment]

# How long a generator may keep a thread that others may wait for.
SLICE_S = 0.02


def begin_stream(invoker: "Invoker", request: "Request", items: "Any") -> None:
    """Start to send the items of a generator, on this thread, or of an async generator, on the event loop."""
    method = request.method
    assert method is not None and invoker.backlog is not None
    wanted = "__anext__" if method.kind is ASYNC_STREAM else "__next__"
    if not hasattr(items, wanted):
        raise TypeError("%s is %s, but its invoker made a %s of it" % (method.title, method.kind, type(items).__name__))
    if method.kind is ASYNC_STREAM:
        from plasmid.service.coroutines import AsyncOutflow

        AsyncOutflow(invoker, request, items).begin()
        return
    request.course = Outflow(invoker, request, items)
    request.course.go_on()


class Items:
    """What both kinds of outflow share: how items are written, and when nobody wants them any more."""

    def __init__(self, invoker: "Invoker", request: "Request") -> None:
        self.invoker = invoker
        self.request = request
        self.is_stopped = False

    def is_wanted(self) -> bool:
        """Say whether the caller still wants items, and the pool may still make them."""
        job = self.request.job
        return not (self.is_stopped or job.cancelled or job.done) and (
            job.deadline is None or monotonic() < job.deadline
        )

    def encode_item(self, item: "Any") -> "Sequence[Buffer]":
        """Return an item as it is put; UnsendableValue if it can't be."""
        return values.encode([item], "item of " + call_text(self.request.job))

    def encode_end(self, value: "Any", error: "Optional[BaseException]") -> "Sequence[Buffer]":
        """Return what is put after the last item."""
        if error is None:
            try:
                return values.encode([None, value], "what %s returned" % call_text(self.request.job))
            except UnsendableValue as unsendable:
                error = unsendable
        error = answerable(self.request, error)
        text = ""
        if error.__traceback__ is not None:
            import traceback

            text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        return values.encode([None, None, remote.describe_error(error, text)])

    def finish(self, error: "Optional[BaseException]" = None) -> None:
        """Take the call off the pool's books. error: why the items couldn't be put.

        Without one the caller ends the call, see above, and it isn't answered from here.
        """
        job = self.request.job
        if error is not None:
            job.fail(Cancelled(call_text(job), "", "its items couldn't be delivered: %s" % error))
        else:
            job.done = True
        if self.invoker.backlog is not None:
            self.invoker.backlog.finish(self.request)


class State:
    """What an Outflow is doing."""

    RUNNING = "running"  # a thread makes items
    PARKED = "parked"  # it waits for the caller to read, or for stop()
    DUE = "due"  # the pool has been asked for a thread


class Outflow(Items):
    """The items of one generator. One thread at a time makes them: the one that made it RUNNING."""

    def __init__(self, invoker: "Invoker", request: "Request", items: "Any") -> None:
        super().__init__(invoker, request)
        self._items = items
        self._parts = None  # type: Optional[Sequence[Buffer]]  # what is to be put next
        self._is_last = False
        self._state = State.RUNNING
        self._lock = Lock()
        # One for all parts, whatever thread runs them: a generator may hold a `with plasmid.timeout()` open.
        self._run = self._call if copy_context is None else copy_context().run  # type: Callable[..., Any]
        if copy_context is not None:
            self._run(request.job.running().__enter__)

    def go_on(self) -> None:
        """Make and put items for a while. Called by a pool thread that the pool gave to the request."""
        backlog = self.invoker.backlog
        sender = self.request.sender
        assert backlog is not None and sender is not None
        self._state = State.RUNNING
        until = monotonic() + SLICE_S
        while True:
            if not self.is_wanted():
                self._close()
                return
            if self._parts is None:
                self._make()
                continue  # it may have taken long
            # From here on release() may be called, and another thread be here before offer() has returned.
            self._state = State.PARKED
            try:
                if not sender.offer(self._parts, self):
                    return
            except PlasmidError as error:
                self._state = State.RUNNING
                self._close(error)
                return
            self._parts = None
            with self._lock:
                if self._state is State.DUE:
                    return  # stop() has come between
                self._state = State.RUNNING
            if self._is_last:
                self.finish()
                return
            if monotonic() >= until:
                self._state = State.DUE
                backlog.resume(self.request)
                return

    def release(self) -> None:
        """Go on, since the caller has read something, or never will. Called under the router lock."""
        with self._lock:
            if self._state is not State.PARKED:
                return
            self._state = State.DUE
        backlog = self.invoker.backlog
        assert backlog is not None
        backlog.resume(self.request)

    def stop(self) -> None:
        """Close the generator, on a pool thread, as soon as it doesn't run."""
        self.is_stopped = True
        self.release()

    def _make(self) -> None:
        """Get the next item out of the generator, or its end."""
        item, error = attempt(self._run, next, self._items)
        if error is None:
            self._parts, error = attempt(self.encode_item, item)
            if error is None:
                return
            self._run(attempt, self._items.close)
            error.__traceback__ = None
        self._is_last = True
        if isinstance(error, StopIteration):
            self._parts = self.encode_end(error.value, None)
        else:
            self._parts = self.encode_end(None, error)

    def _call(self, function: "Callable[..., Any]", *args: "Any") -> "Any":
        with self.request.job.running():
            return function(*args)

    def _close(self, reason: "Optional[BaseException]" = None) -> None:
        _, error = attempt(self._run, self._items.close)
        if error is not None:
            report("closing the generator of %s failed" % call_text(self.request.job), error)
        self.finish(reason)
