"""The router lock, the clock, and the descriptors of links: the only place that touches them.

One thread waits for whatever comes. A thread that makes a call runs the protocol itself, under the lock, and writes to
the link itself when nothing is queued ahead; only what would block is left to the loop. And a thread that waits for
an answer borrows the link it will come by: it reads there itself until its call has ended, so that no other thread
must be woken between the wire and the waiter. Each hand-off between threads costs more than the whole protocol.

    lock      guards the node, the links and all that the handlers of events touch. Handlers run under it: they queue
              and wake, and never block, call user code, or take it again.
"""

import errno
import os
import select
import threading
from time import monotonic

from plasmid.core import events
from plasmid.core.node import Node

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional, Tuple, Union

    from plasmid.core.link import Link
    from plasmid.runtime.ports import Parking

    Buffer = Union[bytes, bytearray, memoryview]

# Below malloc's threshold for pages of its own, so that a read takes no page faults.
READ_SIZE = 96 * 1024

# The same numbers as select.POLLIN and select.POLLOUT, wherever those exist.
READ, WRITE = 1, 4


class LinkIO:
    """The descriptors of one link. `pending` is what was taken from its node and couldn't be written yet."""

    __slots__ = "link", "read_fd", "write_fd", "pending", "mask", "borrowed", "ended"

    def __init__(self, link: "Link", read_fd: int, write_fd: int) -> None:
        self.link = link
        self.read_fd = read_fd
        self.write_fd = write_fd
        self.pending = []  # type: List[Buffer]
        self.mask = READ
        self.borrowed = False
        self.ended = False

    def wait_for(self, poller: "Any", mask: int) -> None:
        """Have the poller wait for these."""
        if self.read_fd == self.write_fd:
            poller.modify(self.read_fd, mask)
        else:
            poller.modify(self.read_fd, mask & READ)
            if mask & WRITE & ~self.mask:
                poller.register(self.write_fd, WRITE)
            elif self.mask & WRITE & ~mask:
                poller.unregister(self.write_fd)
        self.mask = mask

    def close(self) -> None:
        """Close the descriptors."""
        for fd in {self.read_fd, self.write_fd}:
            os.close(fd)


class Loop:
    """The running side of one context.

    on: what to do for each class of event, called under the lock.
    """

    def __init__(self, node: Node) -> None:
        self.node = node
        self.lock = threading.Lock()
        self.on = {}  # type: Dict[type, Callable[[Any], None]]
        self.on[events.LinkEnded] = self._link_ended
        self.on_link_ended = None  # type: Optional[Callable[[events.LinkEnded], None]]
        self.closed = False
        self.before_wait = None  # type: Optional[Callable[[], None]]  # called under the lock, each time round
        self._ios = {}  # type: Dict[int, LinkIO]
        self._by_fd = {}  # type: Dict[int, LinkIO]
        self._watched = {}  # type: Dict[int, Callable[[], None]]
        self._can_borrow = hasattr(select, "epoll")
        self._poller = select.epoll() if self._can_borrow else select.poll()  # type: Any
        self._wake_read, self._wake_write = _pipe()
        self._poller.register(self._wake_read, READ)
        self._wake_at = 0.0  # when the loop will look at the clock by itself
        self._pollers = []  # type: List[BorrowPoller]  # as many as threads ever waited at once
        self._thread = None  # type: Optional[threading.Thread]
        self._settling = False

    # -- life

    def start(self) -> None:
        """Start the thread of the loop."""
        self._thread = threading.Thread(target=self._run, name="plasmid-loop", daemon=True)
        self._thread.start()

    def attach(self, id: int, read_fd: int, write_fd: int, leftover: bytes = b"") -> "Link":
        """Return the new link `id` on these descriptors, which are the loop's from now on."""
        os.set_blocking(read_fd, False)
        os.set_blocking(write_fd, False)
        with self.lock:
            now = monotonic()
            link = self.node.add_link(id, now)
            io = self._ios[id] = LinkIO(link, read_fd, write_fd)
            self._by_fd[read_fd] = self._by_fd[write_fd] = io
            self._poller.register(read_fd, READ)
            if leftover:
                self.node.feed(id, leftover, now)
            self.settle()
            self.wake()
        return link

    def watch(self, fd: int, callback: "Callable[[], None]") -> None:
        """Call `callback` on the loop's thread, without the lock, whenever `fd` can be read; -1 never can."""
        if fd < 0:
            return
        with self.lock:
            self._watched[fd] = callback
            self._poller.register(fd, READ)
            self.wake()

    def unwatch(self, fd: int) -> None:
        """Undo watch(). The descriptor stays the caller's."""
        with self.lock:
            if self._watched.pop(fd, None) is not None:
                self._poller.unregister(fd)

    def close(self, reason: str) -> None:
        """End every link, and the thread. All that waits on a link is told `reason`."""
        with self.lock:
            if self.closed:
                return
            self.closed = True
            for id in list(self._ios):
                self.node.link_closed(id, reason, monotonic())
            self.settle()
            self.wake()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        with self.lock:
            for fd in self._wake_read, self._wake_write:
                os.close(fd)
            self._wake_read = self._wake_write = -1
            while self._pollers:
                self._pollers.pop().close()
            if self._can_borrow:
                self._poller.close()

    # -- under the lock

    def settle(self) -> None:
        """Do what the node wants done: write, and hand out events. With the lock held, after each use of the node."""
        if self._settling:
            return  # a handler of an event used the node; the loop below takes care of it
        self._settling = True
        node = self.node
        try:
            while node.dirty or node.events:
                while node.dirty:
                    io = self._ios.get(node.dirty.pop())
                    if io is not None and not io.mask & WRITE:
                        self._flush(io)
                happened = node.events[:]
                del node.events[:]
                for event in happened:
                    handler = self.on.get(type(event))
                    if handler is not None:
                        handler(event)
        finally:
            self._settling = False
        due = node.deadline()
        if due is not None and due < self._wake_at:
            self.wake()

    def wake(self) -> None:
        """Make the loop look at everything anew."""
        if self._wake_write < 0:
            return
        try:
            os.write(self._wake_write, b"\0")
        except OSError:
            pass  # the pipe is full: it's awake

    def _flush(self, io: LinkIO) -> None:
        """Write what may be written without waiting."""
        id = io.link.id
        some = blocked = False
        while True:
            buffers = io.pending or self.node.next_buffers(id)
            if not buffers:
                break
            try:
                sent = os.write(io.write_fd, buffers[0]) if len(buffers) == 1 else os.writev(io.write_fd, buffers)
                some = True
                io.pending = _rest(buffers, sent)
            except BlockingIOError:
                io.pending = buffers
                blocked = True
                break
            except OSError:
                # Nobody reads there any more. What the peer sent before may still be unread here, an answer perhaps:
                # the link ends when that has been read.
                io.pending = []
                some = True
        self.node.wrote(id, monotonic(), some, blocked)
        self._wait_for(io, (io.mask & READ) | (WRITE if blocked else 0))

    def _wait_for(self, io: LinkIO, mask: int) -> None:
        if mask != io.mask and not io.ended:
            io.wait_for(self._poller, mask)
            if not self._can_borrow:
                self.wake()

    def _link_ended(self, event: "events.LinkEnded") -> None:
        """Close the descriptors of a link, unless a borrower still waits on them: then it does so."""
        io = self._ios.pop(event.link.id, None)
        if io is None:
            return
        io.wait_for(self._poller, READ)
        self._poller.unregister(io.read_fd)
        io.ended = True
        for fd in {io.read_fd, io.write_fd}:
            del self._by_fd[fd]
        if not io.borrowed:
            io.close()
        if self.on_link_ended is not None:
            self.on_link_ended(event)

    # -- the loop's thread

    def _run(self) -> None:
        while True:
            with self.lock:
                if self.closed:
                    return
                if self.before_wait is not None:
                    self.before_wait()
                    self.settle()
                due = self.node.deadline()
                now = monotonic()
                if due is not None and due <= now:
                    self.node.expire(now)
                    self.settle()
                    continue
                self._wake_at = float("inf") if due is None else due
            ready = self._wait(None if due is None else due - now)
            self._wake_at = 0.0
            for fd, mask in ready:
                self._ready(fd, mask)

    def _wait(self, timeout_s: "Optional[float]") -> "List[Tuple[int, int]]":
        """Return (descriptor, mask) of what is ready."""
        if self._can_borrow:
            # A millisecond late rather than early: epoll rounds up, and early would spin.
            return self._poller.poll(-1 if timeout_s is None else timeout_s + 0.001)  # type: ignore[no-any-return]
        return self._poller.poll(None if timeout_s is None else timeout_s * 1000 + 1)  # type: ignore[no-any-return]

    def _ready(self, fd: int, mask: int) -> None:
        if fd == self._wake_read:
            os.read(fd, 4096)
            return
        io = self._by_fd.get(fd)
        if io is None:
            callback = self._watched.get(fd)
            if callback is not None:
                callback()
            return
        if mask & WRITE:
            with self.lock:
                if not io.ended:
                    self._flush(io)
                    self.settle()
        if fd == io.read_fd and mask & ~WRITE and not io.borrowed:
            self._read(io)
        elif fd != io.read_fd and mask & ~WRITE:
            with self.lock:
                self.node.link_closed(io.link.id, "it closed its end", monotonic())
                self.settle()

    def _read(self, io: LinkIO) -> None:
        """Take in what has come by a link."""
        with self.lock:
            if io.ended:
                return
            # Under the lock, though it could be done without: two threads that read one link in turn must also feed
            # what they read in that order.
            try:
                data = os.read(io.read_fd, READ_SIZE)
                reason = "it closed its end"
            except BlockingIOError:
                return
            except OSError as error:
                data, reason = b"", _why(error)
            if data:
                self.node.feed(io.link.id, data, monotonic())
            else:
                self.node.link_closed(io.link.id, reason, monotonic())
            self.settle()

    # -- waiting

    def park(self, parking: "Parking", id: int, until: "Optional[float]", stay: bool) -> None:
        """Wait for parking.release(), or until that time, reading link `id` meanwhile if nobody else does.

        stay: go on reading though what comes is for others. A thread that serves calls doesn't: the link then falls
        to the one that those calls are for, once that has nothing to do.
        """
        poller = None
        with self.lock:
            io = self._ios.get(id)
            if io is not None and not io.borrowed and self._can_borrow and not parking.released():
                poller = self._pollers.pop() if self._pollers else BorrowPoller()
                poller.register(io.read_fd, READ)
                io.borrowed = True
                self._wait_for(io, io.mask & ~READ)
                parking.wake_fd = poller.wake_fd
        if poller is not None and io is not None:
            try:
                self._read_until(parking, io, poller, until, stay)
            finally:
                self._give_back(parking, io, poller)
        parking.wait(until)

    def _read_until(
        self, parking: "Parking", io: LinkIO, poller: "BorrowPoller", until: "Optional[float]", stay: bool
    ) -> None:
        while not parking.released():
            left = None if until is None else (until - monotonic()) * 1000
            if left is not None and left <= 0:
                return
            if poller.wait(io.read_fd, left):
                self._read(io)
                if not stay or io.ended:
                    return

    def _give_back(self, parking: "Parking", io: LinkIO, poller: "BorrowPoller") -> None:
        with self.lock:
            parking.wake_fd = -1
            io.borrowed = False
            poller.unregister(io.read_fd)
            if io.ended:
                io.close()
            else:
                self._wait_for(io, io.mask | READ)
            if self.closed:
                poller.close()
            else:
                self._pollers.append(poller)


class BorrowPoller:
    """What a thread waits with that reads a link itself: that link, and a pipe by which it is woken."""

    def __init__(self) -> None:
        self._wake_read, self.wake_fd = _pipe()
        self._poll = select.poll()
        self._poll.register(self._wake_read, READ)
        self.register = self._poll.register
        self.unregister = self._poll.unregister

    def wait(self, fd: int, timeout_ms: "Optional[float]") -> bool:
        """Wait for either; return whether `fd` can be read."""
        ready = [each for each, _ in self._poll.poll(timeout_ms)]
        if self._wake_read in ready:
            os.read(self._wake_read, 4096)
        return fd in ready

    def close(self) -> None:
        """Close the pipe."""
        os.close(self._wake_read)
        os.close(self.wake_fd)


def _pipe() -> "Tuple[int, int]":
    """Return a pipe neither end of which ever blocks."""
    ends = os.pipe()
    for fd in ends:
        os.set_blocking(fd, False)
    return ends


def _rest(buffers: "List[Buffer]", sent: int) -> "List[Buffer]":
    """Return what is left of the buffers after `sent` bytes of them."""
    for index, buffer in enumerate(buffers):
        size = len(buffer)
        if sent < size:
            return [memoryview(buffer)[sent:]] + buffers[index + 1 :]
        sent -= size
    return []


def _why(error: OSError) -> str:
    """Return why a link broke, as a person would say it."""
    if error.errno in (errno.EPIPE, errno.ECONNRESET):
        return "it closed its end"
    return error.strerror or str(error)
