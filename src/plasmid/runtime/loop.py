"""The router lock, the clock, and the descriptors of links: the only place that touches them.

Somebody waits for whatever comes: the leader. A thread that makes a call runs the protocol itself, under the lock, and
writes to the link itself when nothing is queued ahead; only what would block is left to the leader. And a thread that
waits, for an answer or for work, leads meanwhile: it takes in what comes until what it waits for is there, so that no
other thread must be woken between the wire and the waiter. Each hand-off between threads costs more than the whole
protocol. So does taking the lead back for a moment: a thread that has what it waited for just leaves, and the next to
wait leads. Only when none does for a while, the loop's own thread takes over.

    lock      guards the node, the links, the lead, and all that the handlers of events touch. Handlers run under it:
              they queue and wake, and never block, call user code, or take it again.
"""

import os
import select
import threading
from time import monotonic

from plasmid.core import events
from plasmid.core.link import LinkState
from plasmid.core.node import Node
from plasmid.runtime.ports import Parking

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional, Sequence, Set, Tuple, Union

    from plasmid.core.link import Link
    from plasmid.runtime.standby import Standby

    Buffer = Union[bytes, bytearray, memoryview]

# Below malloc's threshold for pages of its own, so that a read takes no page faults.
READ_SIZE = 96 * 1024

# How many descriptors are looked at between two waits. For each, room is made at each wait.
READY_MAX = 64

_OPEN = LinkState.OPEN

# The same numbers as select.POLLIN and select.POLLOUT, wherever those exist.
READ, WRITE = 1, 4


class LinkIO:
    """The descriptors of one link. `pending` is what was taken from its node and couldn't be written yet.

    dirty: the node's, for what write() leaves.
    """

    __slots__ = "link", "read_fd", "write_fd", "pending", "mask", "ended", "dirty"

    def __init__(self, link: "Link", read_fd: int, write_fd: int, dirty: "Set[int]") -> None:
        self.link = link
        self.dirty = dirty
        self.read_fd = read_fd
        self.write_fd = write_fd
        self.pending = []  # type: List[Buffer]
        self.mask = READ
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

    def write(self, frame: bytes) -> bool:
        """Write a frame that nothing in the outbox waits before. False, and nothing is written, if it can't be now.

        Only while the link is open.
        """
        if self.pending:
            return False
        try:
            sent = os.write(self.write_fd, frame)
        except OSError:
            return False  # which is said again when it is flushed
        if sent < len(frame):
            self.pending = [memoryview(frame)[sent:]]
            self.dirty.add(self.link.id)
        return True

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
        self._errands = []  # type: List[Callable[[], object]]
        self.ios = {}  # type: Dict[int, LinkIO]
        self._by_fd = {}  # type: Dict[int, LinkIO]
        self.watched = {}  # type: Dict[int, Callable[[], None]]
        # Only epoll can be waited in by one thread while another one leaves it, or changes what it waits for.
        self._has_epoll = hasattr(select, "epoll")
        self.poller = select.epoll() if self._has_epoll else select.poll()  # type: Any
        self.wake_read, self.wake_write = pipe()
        self.poller.register(self.wake_read, READ)
        self._wake_at = 0.0  # when the leader will look at the clock by itself
        self.standby = None  # type: Optional[Standby]
        self.leader = None  # type: Optional[Parking]
        self.leads = 0  # how often the lead was taken
        self.woken = []  # type: List[Parking]  # whose threads go on one after the other, see Standby.release_in_turn()
        self.release = Parking.release  # type: Callable[[Parking], None]  # ends a caller's wait, see there
        self._closings = 0  # how many descriptors were closed
        self.read_rest = os.read  # type: Callable[[int, int], Optional[bytes]]
        self.passed_on = False  # what came was given to another thread, which will lead once it's done with that
        self._settling = False

    # -- life

    def start(self) -> None:
        """Start the thread of the loop."""
        from plasmid.core import bulk
        from plasmid.runtime.standby import Standby

        bulk.install()
        Standby(self).start()

    def attach(self, id: int, read_fd: int, write_fd: int, leftover: bytes = b"") -> "Link":
        """Return the new link `id` on these descriptors, which are the loop's from now on."""
        os.set_blocking(read_fd, False)
        os.set_blocking(write_fd, False)
        with self.lock:
            now = monotonic()
            link = self.node.add_link(id, now)
            io = self.ios[id] = LinkIO(link, read_fd, write_fd, self.node.dirty)
            link.write = io.write
            self._by_fd[read_fd] = self._by_fd[write_fd] = io
            self.poller.register(read_fd, READ)
            if leftover:
                self.node.feed(id, leftover, now)
            self.settle()
            self.wake()
        return link

    def run_soon(self, fn: "Callable[[], object]") -> None:
        """Have whoever leads call fn() under the lock, as a handler. Takes no lock, for collectors."""
        self._errands.append(fn)
        self.wake()

    # -- under the lock

    def settle(self) -> None:
        """Do what the node wants done: write, and hand out events. With the lock held, after each use of the node."""
        if self._settling:
            return  # a handler of an event used the node; the loop below takes care of it
        node, ios = self.node, self.ios
        dirty, happened = node.dirty, node.events
        while dirty or happened:
            while dirty:
                io = ios.get(dirty.pop())
                if io is not None and not io.mask & WRITE:
                    self._flush(io)
            if happened:
                self._hand_out(happened)
        if self.leader is not None:
            due = node.deadline()
            if due is not None and due < self._wake_at:
                self.wake()

    def _hand_out(self, happened: "List[Any]") -> None:
        """Give events to their handlers."""
        on = self.on
        self._settling = True
        try:
            batch = happened[:]
            del happened[:]
            for event in batch:
                handler = on.get(type(event))
                if handler is not None:
                    handler(event)
        finally:
            self._settling = False

    def wake(self) -> None:
        """Make the leader look at everything anew."""
        if self.leader is None or self.wake_write < 0:
            return  # whoever leads next does so anyway
        if self.standby is not None and self.leader is self.standby.parking:
            self.standby.wake()
        else:
            write_byte(self.wake_write)

    def _flush(self, io: LinkIO) -> None:
        """Write what may be written without waiting."""
        link = io.link
        outbox = link.outbox
        lone = outbox.lone
        if lone and link.state is _OPEN and not (outbox.turns or outbox.urgent or outbox.finished) and io.write(lone):
            outbox.lone, outbox.lone_again = b"", None
            if not io.pending:
                return
        some = blocked = False
        while True:
            buffers = io.pending or self.node.next_buffers(link.id)
            if not buffers:
                break
            try:
                sent = os.writev(io.write_fd, buffers)
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
        if blocked or io.mask & WRITE:
            self.node.wrote(link.id, monotonic(), some, blocked)
            self._wait_for(io, (io.mask & READ) | (WRITE if blocked else 0))

    def _wait_for(self, io: LinkIO, mask: int) -> None:
        if mask != io.mask and not io.ended:
            io.wait_for(self.poller, mask)
            if not self._has_epoll:
                self.wake()

    def _link_ended(self, event: "events.LinkEnded") -> None:
        """Close the descriptors of a link."""
        io = self.ios.pop(event.link.id, None)
        if io is None:
            return
        io.wait_for(self.poller, READ)
        self.poller.unregister(io.read_fd)
        io.ended = True
        for fd in {io.read_fd, io.write_fd}:
            del self._by_fd[fd]
        io.close()
        self._closings += 1
        if self.on_link_ended is not None:
            self.on_link_ended(event)

    # -- the lead

    def park(
        self, parking: "Parking", until: "Optional[float]" = None, wait: "Optional[Callable[..., Any]]" = None
    ) -> None:
        """Wait until parking.release(), or until that time; lead meanwhile unless another thread does.

        The lead ends when what came was given to another thread to be run: that one leads once it has nothing to do.
        But for the loop's own thread, which waits by `wait` until another one leads, and before that thread is there.
        """
        lock = self.lock
        try:
            with lock:
                wait_s = self._take_lead(parking, until)
                closings = self._closings
            while wait_s != 0:
                ready = (wait or self.poll)(wait_s)
                with lock:
                    if self.leader is not parking:
                        break
                    # What was closed meanwhile may have given its number to another descriptor: look again then.
                    callbacks = self._handle(ready) if closings == self._closings else ()
                    is_over = parking.is_released or (self.passed_on and wait is None and self.standby is not None)
                    if is_over and not callbacks:
                        self._leave_lead(parking)
                        break
                    wait_s = 0 if is_over else self._time_to_wait(parking, until)
                    closings = self._closings
                    if wait_s == 0:
                        self._leave_lead(parking)
                for callback in callbacks:
                    callback()
        except BaseException:  # Ctrl-C, in the main thread
            with lock:
                if self.leader is parking:
                    self._leave_lead(parking)
            raise
        if wait is None and not parking.is_released:
            parking.wait(until)

    def poll(self, wait_s: "Optional[float]") -> "Any":
        """Return (descriptor, mask) of what is ready, waiting for it so long, None for ever."""
        return self.poller.poll(wait_s, READY_MAX) if self._has_epoll else self.poller.poll(wait_s and wait_s * 1000)

    def _take_lead(self, parking: "Parking", until: "Optional[float]") -> "Optional[float]":
        """Have this thread lead, unless another than the loop's own does. Return how long to wait, 0 if it doesn't."""
        if self.closed or parking.is_released:
            return 0
        if self.leader is not None or not self._has_epoll:
            standby = self.standby
            if self.leader is not None if standby is None else not standby.makes_way(parking):
                if self.woken:
                    self.woken.pop(0).release()
                return 0
        self.leader = parking
        self.leads += 1
        parking.thread = threading.get_ident()
        parking.wake_fd = self.wake_write
        wait_s = self._time_to_wait(parking, until)
        if wait_s == 0:
            self._leave_lead(parking)
        return wait_s

    def _leave_lead(self, parking: "Parking") -> None:
        parking.wake_fd = -1
        self.leader = None
        standby = self.standby
        if standby is not None and (self.closed or not standby.looks):
            standby.left()

    def _time_to_wait(self, parking: "Parking", until: "Optional[float]") -> "Optional[float]":
        """Do what is due. Return for how many seconds nothing will be, None for ever, 0 if the wait is over."""
        if self.woken:
            self.woken.pop(0).release()
        node = self.node
        now = monotonic()
        due = node.tick_at
        if due is None or due <= now or until is not None or node.calls.made.deadlines or self._errands or self.closed:
            while self._errands:
                self._errands.pop()()
                self.settle()
            due = node.deadline()
            if due is not None and due <= now:
                node.expire(now)
                self.settle()
                due = node.deadline()
            if self.closed or parking.is_released or (until is not None and until <= now):
                return 0
            if until is not None and (due is None or until < due):
                due = until
            if due is None:
                self._wake_at = float("inf")
                return None
            if due <= now:
                return 0.001
        self._wake_at = due
        # A millisecond late rather than early: epoll rounds up, and early would spin.
        return due - now + 0.001

    def _handle(self, ready: "List[Tuple[int, int]]") -> "Sequence[Callable[[], None]]":
        """Take in what the poller found; return the callbacks of watched descriptors, to be called without the lock."""
        callbacks = ()  # type: Tuple[Callable[[], None], ...]
        node = self.node
        self.passed_on = False
        for fd, mask in ready:
            io = self._by_fd.get(fd)
            if io is not None:
                if mask & WRITE:
                    self._flush(io)
                    self.settle()
                    if mask == WRITE or io.ended:
                        continue
                link = io.link
                reason = "it closed its end"
                try:
                    # To the end of a frame that has begun, and no further: so it needn't be cut out of what follows it.
                    left = link.decoder.left
                    data = (self.read_rest if left else os.read)(fd, left or READ_SIZE) if fd == io.read_fd else b""
                except BlockingIOError:
                    continue
                except OSError as error:
                    data, reason = b"", _why(error)
                # Under the lock: two threads that read one link in turn must also feed what they read in that order.
                if data:
                    node.feed(link.id, data, monotonic())
                elif data is not None:
                    node.link_closed(link.id, reason, monotonic())
                if node.events or node.dirty:
                    self.settle()
            elif fd == self.wake_read:
                os.read(fd, 4096)
            elif fd in self.watched:
                callbacks += (self.watched[fd],)
        return callbacks


def write_byte(fd: int) -> None:
    """Write something into a pipe, to wake whoever waits for it."""
    try:
        os.write(fd, b"\0")
    except OSError:
        pass  # the pipe is full: who reads it will wake


def pipe() -> "Tuple[int, int]":
    """Return a pipe neither end of which ever blocks."""
    ends = os.pipe()
    for fd in ends:
        os.set_blocking(fd, False)
    return ends


def _rest(buffers: "List[Buffer]", sent: int) -> "List[Buffer]":
    """Return what is left of the buffers after `sent` bytes of them."""
    if sent == sum(map(len, buffers)):
        return []
    for index, buffer in enumerate(buffers):
        size = len(buffer)
        if sent < size:
            return [memoryview(buffer)[sent:]] + buffers[index + 1 :]
        sent -= size
    return []


def _why(error: OSError) -> str:
    """Return why a link broke, as a person would say it."""
    return "it closed its end" if isinstance(error, ConnectionError) else error.strerror or str(error)
