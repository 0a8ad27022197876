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
    from plasmid.runtime.context import Call

    Buffer = Union[bytes, bytearray, memoryview]

# Below malloc's threshold for pages of its own, so that a read takes no page faults.
READ_SIZE = 96 * 1024

# The same numbers as select.POLLIN and select.POLLOUT, wherever those exist.
READ, WRITE = 1, 4
IOV_MAX = 64


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
        self._borrowings = []  # type: List[Borrowing]
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
        """Call `callback` on the loop's thread, without the lock, whenever `fd` can be read."""
        with self.lock:
            self._watched[fd] = callback
            self._poller.register(fd, READ)
            self.wake()

    def flushed(self, id: int, until: float) -> bool:
        """Wait until all that is queued for link `id` has been written; False if it can't be, or not until then."""
        while monotonic() < until:
            with self.lock:
                io = self._ios.get(id)
                if io is None:
                    return False
                self.settle()
                if not io.pending and not io.link.outbox:
                    return True
            select.select([], [io.write_fd], [], max(0.0, min(until - monotonic(), 0.1)))
        return False

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
            for borrowing in self._borrowings:
                borrowing.close()
            self._borrowings = []
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
            except OSError as error:
                io.pending = []
                self.node.link_closed(id, _why(error), monotonic())
                return
        self.node.wrote(id, monotonic(), some, blocked)
        self._set_mask(io, (io.mask & READ) | (WRITE if blocked else 0))

    def _set_mask(self, io: LinkIO, mask: int) -> None:
        """Say what the loop waits for on this link."""
        if mask == io.mask or io.ended:
            return
        if io.read_fd == io.write_fd:
            self._poller.modify(io.read_fd, mask)
        else:
            if (mask ^ io.mask) & READ:
                self._poller.modify(io.read_fd, mask & READ)
            if (mask ^ io.mask) & WRITE:
                if mask & WRITE:
                    self._poller.register(io.write_fd, WRITE)
                else:
                    self._poller.unregister(io.write_fd)
        io.mask = mask
        if not self._can_borrow:
            self.wake()

    def _link_ended(self, event: "events.LinkEnded") -> None:
        """Close the descriptors of a link, unless a borrower still waits on them: then it does so."""
        io = self._ios.pop(event.link.id, None)
        if io is None:
            return
        self._poller.unregister(io.read_fd)
        if io.mask & WRITE and io.write_fd != io.read_fd:
            self._poller.unregister(io.write_fd)
        io.ended = True
        for fd in {io.read_fd, io.write_fd}:
            del self._by_fd[fd]
        if not io.borrowed:
            self._close_fds(io)
        if self.on_link_ended is not None:
            self.on_link_ended(event)

    @staticmethod
    def _close_fds(io: LinkIO) -> None:
        for fd in {io.read_fd, io.write_fd}:
            os.close(fd)

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

    # -- waiting for a call

    def wait_for(self, call: "Call", until: "Optional[float]") -> None:
        """Return when the call has ended, or at `until`."""
        with self.lock:
            if call.ended:
                return
            io = self._ios.get(call.link_id)
            borrowing = None
            if io is not None and not io.borrowed and self._can_borrow and threading.current_thread() != self._thread:
                borrowing = self._borrowings.pop() if self._borrowings else Borrowing()
                borrowing.thread_id = threading.get_ident()
                call.waker = borrowing
                io.borrowed = True
                self._set_mask(io, io.mask & ~READ)
        if io is None or borrowing is None:
            call.wait_ended(None if until is None else max(0.0, until - monotonic()))
            return
        try:
            borrowing.poller.register(io.read_fd, READ)
            while not call.ended:
                left = -1.0 if until is None else (until - monotonic()) * 1000
                if until is not None and left <= 0:
                    return
                for fd, _ in borrowing.poller.poll(left):
                    if fd == io.read_fd:
                        self._read(io)
                    else:
                        os.read(fd, 4096)
        finally:
            self._give_back(call, io, borrowing)

    def _give_back(self, call: "Call", io: LinkIO, borrowing: "Borrowing") -> None:
        with self.lock:
            call.waker = None
            io.borrowed = False
            borrowing.poller.unregister(io.read_fd)
            if io.ended:
                self._close_fds(io)
            else:
                self._set_mask(io, io.mask | READ)
            if self.closed or len(self._borrowings) >= 16:
                borrowing.close()
            else:
                self._borrowings.append(borrowing)


class Borrowing:
    """What a thread waits with while it reads a link itself; wake() makes it look whether its call has ended."""

    def __init__(self) -> None:
        self._read_fd, self._write_fd = _pipe()
        self.thread_id = 0
        self.poller = select.poll()
        self.poller.register(self._read_fd, READ)

    def wake(self) -> None:
        """Make the thread look, if it isn't the one that calls this. Under the router lock."""
        if self.thread_id != threading.get_ident():
            os.write(self._write_fd, b"\0")

    def close(self) -> None:
        """Close the pipe."""
        os.close(self._read_fd)
        os.close(self._write_fd)


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
