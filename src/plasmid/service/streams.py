"""Stream: the items of a generator method, for its caller.

Iterate over it, or use `async for`; close() it, or drop it, to stop the generator on the far side, as one does with a
generator of one's own. It holds a receiver, to which the far side puts the items under credit, and the call, which
stands until all was read: see outflow.py for what is sent. If the far side is lost, or the deadline passes, the call
ends, and the items that came before it are still given.
"""

from plasmid.core import remote
from plasmid.core.errors import Cancelled, ProtocolError, ReceiverClosed
from plasmid.runtime.ports import Port, TimedOut, guard
from plasmid.runtime.receivers import Receiver
from plasmid.service.methods import STREAM_KEY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Optional, Type

    from plasmid.runtime.context import Call, Context
    from plasmid.service.interfaces import Classes


class StreamEnded(ReceiverClosed):
    """All items of a stream were read. value: what the generator returned."""

    def __init__(self, value: "Any" = None) -> None:
        super().__init__("the stream has ended")
        self.value = value


class Inflow(Receiver):
    """What a Stream reads from: a receiver that also wakes its reader when the call has ended."""

    def __init__(self, context: "Context", classes: "Optional[Classes]") -> None:
        super().__init__(context, classes)
        self.classes = classes
        self.call = None  # type: Optional[Call]
        self.reason = None  # type: Optional[BaseException]  # why there is nothing more, once that is known

    def follow(self, call: "Call") -> None:
        """Wake who reads when the call ends."""
        self.call = call
        call.when_ended(self._call_ended)

    def _call_ended(self) -> None:
        with guard:
            self.wake(everyone=True)

    def has(self) -> bool:
        """Whether there is an item, or the reason why there is none."""
        return super().has() or self.reason is not None or (self.call is not None and self.call.ended)

    def take(self) -> "Any":
        """Return the oldest item as it came, or None for the end."""
        return self._items.popleft() if self._items and self.reason is None else None

    def finish(self, item: "Any") -> "Any":
        """Return the item; raise StreamEnded, or what ended the stream otherwise."""
        if item is None:
            raise self.end(self.reason or self._lost())
        try:
            found = super().finish(item)
        except ValueError as error:
            raise self.end(error) from None
        if type(found) is list and len(found) == 1:
            return found[0]
        raise self.end(self._reason_in(found))

    def _lost(self) -> BaseException:
        """Return why no more comes, if the far side didn't say so."""
        assert self.call is not None
        if self.call.ended:
            error = self.call.exception()
            return error or ProtocolError(self.call.what, str(self.call.context), "it was answered, but isn't to be")
        if self._losses:
            return ReceiverClosed(self._losses.popleft())
        return ReceiverClosed("the stream was closed")

    def _reason_in(self, found: "Any") -> BaseException:
        """Return the reason that stands in what the far side put last. It may be anything."""
        assert self.call is not None
        what, where = self.call.what, str(self.call.context)
        if type(found) is list and len(found) == 2:
            return StreamEnded(found[1])
        if type(found) is list and len(found) == 3:
            return remote.rebuild_error(found[2], what, where, self.classes or self._runtime.find_class)
        return ProtocolError(what, where, "it has put what isn't an item of a stream")

    def end(self, reason: BaseException) -> BaseException:
        """Let go of the far side. Returns the reason, which stays."""
        if self.reason is None:
            self.reason = reason
        self.close()
        with guard:
            self._items.clear()
        if self.call is not None:
            self.call.cancel()
        return self.reason

    def abandon(self) -> None:
        """Let go of the far side, as nobody holds the stream any more. Under the router lock."""
        self._plumbing.streams.close_receiver(self.number, "the receiver was closed")
        if self.call is not None and self.call._out is not None and not self.call.ended:
            self._runtime.node.calls.cancel(self.call._out, Cancelled("", "", "its stream was dropped"))

    def park(self, parking: "Any", until: "Optional[float]") -> None:
        """Wait, and lead meanwhile."""
        self._runtime.loop.park(parking, until)


class Stream:
    """The items of a generator method as they come: an iterator, and an asynchronous one.

    interfaces.ItemStream is the same to checkers, with the type of the items.
    """

    def __init__(self, inflow: Inflow) -> None:
        self._inflow = inflow

    def __iter__(self) -> "Stream":
        return self

    def __next__(self) -> "Any":
        try:
            return self.get()
        except StreamEnded as end:
            raise StopIteration(end.value) from None

    def get(self, timeout: "Optional[float]" = None) -> "Any":
        """Return the next item, waiting up to `timeout` seconds for it; TimedOut then, and the stream goes on.

        Raises StreamEnded after the last, and what the generator raised, or how else the call ended.
        """
        return self._inflow.get(timeout)

    def __aiter__(self) -> "Stream":
        return self

    async def __anext__(self) -> "Any":
        while True:
            try:
                return self.get(0)
            except StreamEnded:
                raise StopAsyncIteration from None
            except TimedOut:
                await ready(self._inflow)

    def check(self) -> None:
        """Raise how the call has ended, if it has: the far side is lost, or the time is over."""
        if self._inflow.call is not None and self._inflow.call.ended:
            raise self._inflow.call.exception() or ReceiverClosed("the stream was closed")

    def close(self) -> None:
        """Stop the generator on the far side, if it hasn't ended. Nothing more is given."""
        self._inflow.end(ReceiverClosed("the stream was closed"))

    async def aclose(self) -> None:
        """The same, for asynchronous code."""
        self.close()

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    async def __aenter__(self) -> "Stream":
        return self

    async def __aexit__(self, *error: object) -> None:
        self.close()

    def __del__(self) -> None:
        # Not here: a collector may run this anywhere, the router lock held.
        inflow = getattr(self, "_inflow", None)
        if inflow is not None and inflow.reason is None:
            inflow._runtime.loop.run_soon(inflow.abandon)

    def __repr__(self) -> str:
        call = self._inflow.call
        return "<Stream of %s on %s>" % (call and call.what, call and call.context)


def open_stream(
    context: "Any",
    name: "Any",
    method_name: str,
    args: "Dict[str, Any]",
    deadline: "Optional[float]" = None,
    classes: "Optional[Classes]" = None,
    inflow_class: "Type[Inflow]" = Inflow,
) -> "Stream":
    """Call a generator method, and return the stream of its items."""
    inflow = inflow_class(context, classes)
    args = dict(args)
    args[STREAM_KEY] = inflow.to_sender()
    try:
        call = context.send_call("s", name, method_name, args, deadline=deadline, classes=classes)
    except BaseException:
        inflow.close()
        raise
    inflow.follow(call)
    return Stream(inflow)


def stream(context: "Any", service: "Any", method: str, **kwargs: "Any") -> "Stream":
    """Call a generator method of a service by name, and return the stream of its items.

    service: its class, or the name or number that it goes by. Where the class is at hand, context.service() is shorter.
    """
    return open_stream(context, context.service_name(service), method, kwargs)


class _Watcher:
    """Stands among the selects of a port, and wakes a coroutine."""

    def __init__(self, loop: "Any", future: "Any") -> None:
        self._loop = loop
        self._future = future

    def source_ready(self, source: object) -> None:
        """Wake it. With the guard held."""
        try:
            self._loop.call_soon_threadsafe(self._settle)
        except RuntimeError:
            pass  # the event loop was closed; nobody awaits any more

    def _settle(self) -> None:
        if not self._future.done():
            self._future.set_result(None)


async def ready(port: Port) -> None:
    """Wait until a port has something, in a coroutine."""
    import asyncio

    from plasmid.runtime.select import unwatch, watch

    loop = asyncio.get_event_loop()
    watcher = _Watcher(loop, loop.create_future())
    with guard:
        if port.has():
            return
        watch(port, watcher)
    try:
        await watcher._future
    finally:
        with guard:
            unwatch(port, watcher)
