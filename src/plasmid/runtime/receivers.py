"""Receiver, a queue in this context, and Sender, the handle with which others put values into it.

A Sender is a small value that can be sent anywhere in the tree; whoever holds it may put. What has arrived and hasn't
been taken is bounded by the credit that the receiver gave each context.

Far sides get this file, and the protocol beneath it, when they first need it.
"""

import os
import threading
from time import monotonic

from plasmid.core import address as addresses
from plasmid.core import events, values
from plasmid.core.errors import Overloaded, ReceiverClosed
from plasmid.core.streams import ITEM_SIZE_MAX, STREAM_WINDOW, Streams
from plasmid.runtime import ports
from plasmid.runtime.ports import Port, guard

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import deque
    from typing import Any, Callable, Deque, Dict, Iterator, List, Optional, Sequence, Tuple, Union

    from plasmid.core.values import Payload
    from plasmid.runtime.runtime import Runtime

    Buffer = Union[bytes, bytearray, memoryview]
else:
    from _collections import deque

ENDED_MAX = 1024


class Plumbing:
    """What joins the receivers and senders of one context to its node. Under the router lock, but for its making."""

    def __init__(self, runtime: "Runtime") -> None:
        self.runtime = runtime
        self.lock = runtime.lock
        self.ended = {}  # type: Dict[Tuple[bytes, int], str]  # streams of ours that take no more, and why
        self.blocked = {}  # type: Dict[Tuple[bytes, int], List[Any]]  # a held lock for each thread that waits to put
        self._numbers = 0
        with self.lock:
            self.streams = runtime.node.use_streams(Streams)
            runtime.loop.on[events.ItemArrived] = lambda event: event.ref.arrived(event)
            runtime.loop.on[events.SourceClosed] = lambda event: event.ref.source_closed(event)
            runtime.loop.on[events.StreamChanged] = self._stream_changed

    def new_number(self) -> int:
        """Return a number that no receiver had before."""
        self._numbers += 1
        return self._numbers

    def close(self) -> None:
        """Close every receiver. Without the lock."""
        with self.lock:
            receivers = [state.ref for state in self.streams.receivers.values()]
        for receiver in receivers:
            receiver.close()

    def _stream_changed(self, event: "events.StreamChanged") -> None:
        key = event.target, event.number
        if event.error:
            if len(self.ended) >= ENDED_MAX:
                del self.ended[next(iter(self.ended))]
            self.ended[key] = event.error
        for lock in self.blocked.pop(key, ()):
            lock.release()


class Receiver(Port):
    """A queue here, into which holders of its Sender put values from anywhere in the tree.

    router: a Router. classes: looks up the classes that values may name, see plasmid.declare().
    """

    # Bytes: what may be on its way from one context, once something of it was taken, and what one value may be.
    window = STREAM_WINDOW
    item_size_max = ITEM_SIZE_MAX

    def __init__(self, router: "Any", classes: "Optional[Callable[[str], Optional[type]]]" = None) -> None:
        super().__init__()
        self._runtime = router.runtime  # type: Runtime
        self._plumbing = self._runtime.plumbing()
        self._classes = classes
        self._token = os.urandom(16)
        self._items = deque()  # type: Deque[Tuple[bytes, Payload]]
        self._losses = deque()  # type: Deque[str]
        self._closed = False
        with self._runtime.lock:
            self.number = self._plumbing.new_number()
            self._plumbing.streams.open_receiver(self.number, self._token, self, self.window, self.item_size_max)

    def to_sender(self) -> "Sender":
        """Return the handle by which values are put here. It can be sent as part of any value."""
        return Sender(self._runtime, self._runtime.node.address, self.number, self._token)

    @property
    def closed(self) -> bool:
        """Whether close() was called, or the context has ended."""
        return self._closed

    def has(self) -> bool:
        """Whether a value is there, or the reason why none comes."""
        return bool(self._items or self._losses or self._closed)

    def take(self) -> "Any":
        """Return the oldest item as it came."""
        if self._items:
            return self._items.popleft()
        if self._losses:
            raise ReceiverClosed(self._losses.popleft())
        raise ReceiverClosed("the receiver was closed")

    def finish(self, item: "Any") -> "Any":
        """Give its sender credit for the item, and decode it."""
        source, payload = item
        with self._runtime.lock:
            self._plumbing.streams.taken(self.number, source, len(payload))
            self._runtime.loop.settle()
        return values.decode(payload, self._classes or self._runtime.find_class, self._runtime.handle)

    def __iter__(self) -> "Iterator[Any]":
        """Give values until there are none and this is closed, or one of those who put some has closed or is lost.

        With several senders use get(): it raises ReceiverClosed once for each.
        """
        while True:
            try:
                yield self.get()
            except ReceiverClosed:
                return

    def close(self) -> None:
        """Take no more values. Who waits here, or puts from afar, is told so."""
        with self._runtime.lock:
            self._plumbing.streams.close_receiver(self.number, "the receiver was closed")
            self._runtime.loop.settle()
            self.shut()

    def shut(self) -> None:
        """Wake everyone: no more values come."""
        with guard:
            self._closed = True
            self.wake(everyone=True)

    def arrived(self, event: "events.ItemArrived") -> None:
        """Take an item in. A handler of the loop."""
        with guard:
            self._items.append((event.source, event.payload))
            self.wake()

    def source_closed(self, event: "events.SourceClosed") -> None:
        """Take note that a context puts no more. A handler of the loop."""
        with guard:
            self._losses.append(event.lost or "%s puts no more" % self._runtime.name_of(event.source))
            self.wake()


class Sender:
    """The handle with which values are put into a Receiver, wherever that is."""

    def __init__(self, runtime: "Runtime", address: bytes, number: int, token: bytes) -> None:
        self._runtime = runtime
        self._plumbing = runtime.plumbing()
        self.address = address
        self.number = number
        self._token = token

    def plasmid_handle(self) -> "Tuple[int, bytes]":
        """Return what travels of it."""
        return values.HANDLE_SENDER, self.number.to_bytes(8, "big") + self._token + self.address

    def put(self, value: "Any", timeout: "Optional[float]" = None) -> None:
        """Put a value. Waits while the receiver is behind, up to `timeout` seconds, None for ever.

        Raises Overloaded when the time is over, ReceiverClosed if it takes no more, NotSent if there is no way to it.
        """
        parts = values.encode(value, "value")
        until = None if timeout is None else monotonic() + timeout
        while True:
            lock = threading.Lock()
            lock.acquire()
            if self.offer(parts, lock):
                return
            waited = ports.about_to_wait and ports.about_to_wait(self)
            try:
                woken = lock.acquire(True, -1 if until is None else max(0.0, until - monotonic()))
            finally:
                if waited:
                    waited()
            if not woken:
                self.forget(lock)
                raise Overloaded("put", str(self), "its receiver took nothing for %s s" % timeout)

    def offer(self, parts: "Sequence[Buffer]", waiter: "Any") -> bool:
        """Put an encoded value if there is room. If not, waiter.release() is called once it's worth another try.

        It is called under the router lock: it must only queue and wake. Raises what put() raises.
        """
        key = self.address, self.number
        with self._runtime.lock:
            reason = self._plumbing.ended.get(key)
            if reason is not None:
                raise ReceiverClosed("putting to %s: %s" % (self, reason))
            if not self._plumbing.streams.put(self.address, self.number, self._token, parts):
                self._plumbing.blocked.setdefault(key, []).append(waiter)
                return False
            self._runtime.loop.settle()
            return True

    def forget(self, waiter: "Any") -> None:
        """Take back what offer() was given to release."""
        with self._runtime.lock:
            waiting = self._plumbing.blocked.get((self.address, self.number), [])
            if waiter in waiting:
                waiting.remove(waiter)

    def put_nowait(self, value: "Any") -> None:
        """Put a value if there is room; else Overloaded."""
        self.put(value, 0)

    def close(self) -> None:
        """Say that this context puts no more."""
        with self._runtime.lock:
            self._plumbing.streams.close(self.address, self.number, self._token)
            self._runtime.loop.settle()

    def __repr__(self) -> str:
        return "<Sender to receiver %d of %s>" % (self.number, addresses.text(self.address))
