"""One simulated context: a real Node, with a stand-in for its loop and a small application that lives on it.

Machine does what runtime/loop.py does, on wires of the simulated network. Application makes and serves calls, puts
and takes streams, and checks what it can see.
"""

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from plasmid.core import address as addresses
from plasmid.core import bulk, events, values
from plasmid.core.errors import Cancelled, DeadlineExceeded, NotSent, Overloaded, Refused
from plasmid.core.node import Node
from plasmid.core.streams import ITEM_SIZE_MAX, STREAM_WINDOW, Streams
from plasmid.core.switch import PARENT
from tests.sim.network import Buffer, Wire
from tests.sim.pool import Pool
from tests.sim.records import ERROR, NESTED, NEVER, REFUSE, CallRecord, StreamRecord, Violation, pattern

if TYPE_CHECKING:
    from tests.sim.world import World

bulk.install()  # as in a running context

# How long a context lives on after it has lost its parent: the watchdog's grace, at its longest.
ORPHAN_S = 0.8

# Of some receivers; above what any value there takes twice.
WIDE_WINDOW = 4 * 1024 * 1024


class Machine:
    """A context at `address` in the world."""

    def __init__(self, world: "World", address: bytes) -> None:
        self.world = world
        self.clock = world.clock
        self.address = address
        self.node = Node(address, world.rng.getrandbits(64), {"python": "3.6.0"})
        self.alive = True
        self.honest = True
        self.wires: dict[int, Wire] = {}
        self.application = Application(self)
        self._pending: dict[int, list[Buffer]] = {}
        self._blocked: set[int] = set()
        self._settling = False
        self._due = float("inf")

    def attach(self, link_id: int, wire: Wire) -> None:
        """Take the end of a wire as a link."""
        self.wires[link_id] = wire
        self._pending[link_id] = []
        link = self.node.add_link(link_id, self.clock.now)
        link.inbox.quota = link.replies.quota = self.world.quota
        self.settle()

    # -- an Endpoint

    def receive(self, link_id: int, data: bytes) -> None:
        if self.alive and link_id in self.wires:
            self.world.note(self.address, link_id, len(data))
            self.node.feed(link_id, data, self.clock.now)
            self.settle()

    def hung_up(self, link_id: int) -> None:
        if self.alive and link_id in self.wires:
            self.node.link_closed(link_id, "it closed its end", self.clock.now)
            self.settle()

    def has_room(self, link_id: int) -> None:
        if self.alive and link_id in self.wires:
            self._blocked.discard(link_id)
            self._flush(link_id)
            self.settle()

    # -- what the loop does

    def settle(self) -> None:
        """Write what may be written, and hand out the events."""
        if self._settling:
            return
        self._settling = True
        node = self.node
        while node.dirty or node.events:
            while node.dirty:
                link_id = node.dirty.pop()
                if link_id in self.wires and link_id not in self._blocked:
                    self._flush(link_id)
            happened = node.events[:]
            del node.events[:]
            for event in happened:
                if self.alive:
                    self._handle(event)
        self._settling = False
        due = node.deadline()
        if due is not None and due < self._due:
            self._due = due
            self.clock.at(due, self._expire, due)

    def _expire(self, planned: float) -> None:
        if planned != self._due or not self.alive:
            return
        self._due = float("inf")
        self.node.expire(self.clock.now)
        self.settle()

    def _flush(self, link_id: int) -> None:
        pipe = self.wires[link_id].pipe_from(link_id)
        some = blocked = False
        while not blocked:
            buffers = self._pending[link_id] or self.node.next_buffers(link_id)
            if not buffers:
                break
            sent = pipe.write(buffers)
            some = some or sent > 0
            rest = b"".join(buffers)[sent:] if sent < sum(map(len, buffers)) else b""
            self._pending[link_id] = [rest] if rest else []
            blocked = bool(rest)
        if blocked:
            self._blocked.add(link_id)
        self.node.wrote(link_id, self.clock.now, some, blocked)

    def _handle(self, event: Any) -> None:
        if isinstance(event, events.LinkEnded):
            self._link_ended(event)
        elif isinstance(event, events.LinkLeft):
            self._link_left(event.link.id)
        else:
            self.application.handle(event)

    # -- life

    def _link_ended(self, event: events.LinkEnded) -> None:
        link_id = event.link.id
        wire = self.wires.pop(link_id)
        self.world.link_ended(self, link_id, wire, event.reason)
        wire.close_from(link_id)
        if link_id == PARENT:
            self.clock.after(self.world.rng.uniform(0, ORPHAN_S), self.die)

    def _link_left(self, link_id: int) -> None:
        if link_id == PARENT:
            self.clock.after(self.world.rng.uniform(0, 0.3), self.leave)
        else:
            self.wires[link_id].excuse_from_now("the child left")
            self.node.say_goodbye(link_id, "goodbye")

    def leave(self) -> None:
        """End in order: children first, then the goodbye to the parent."""
        if not self.alive:
            return
        for link_id in list(self.wires):
            if link_id != PARENT:
                self.end_child(link_id)
        self.clock.after(0.2, self._say_goodbye)

    def _say_goodbye(self) -> None:
        if self.alive and PARENT in self.wires:
            self.wires[PARENT].excuse_from_now("goodbye")
            self.node.say_goodbye(PARENT, "it ended")
            self.settle()

    def end_child(self, number: int) -> None:
        """Say goodbye to a child."""
        if self.alive and number in self.wires:
            self.wires[number].excuse_from_now("goodbye")
            self.node.say_goodbye(number, "its parent shut it down")
            self.settle()

    def die(self) -> None:
        """End without a word, as a process does that is killed."""
        if not self.alive:
            return
        self.alive = False
        self.world.died(self)
        for link_id, wire in self.wires.items():
            wire.close_from(link_id)
        self.wires.clear()


class Job:
    """A call that the application serves."""

    __slots__ = ("source", "id", "record", "deadline", "no_reply", "cancelled", "done", "then", "share")

    def __init__(self, event: events.CallArrived, record: CallRecord) -> None:
        self.source = event.source
        self.id = event.id
        self.record = record
        self.deadline = event.deadline
        self.no_reply = event.no_reply
        self.cancelled = False
        self.done = False
        self.then: Callable[[], None] | None = None  # called once it has been answered
        self.share: Callable[[list[Any], bool], None] | None = None  # takes what comes of it, for all who wait


class Application:
    """What lives on a Machine."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.world = machine.world
        self.clock = machine.clock
        self.rng: random.Random = machine.world.rng
        self.node = machine.node
        rng = self.rng
        self.pool = Pool(self, rng.choice((1, 1, 2, 4)), rng.choice((1000, 1000, 3)), rng.choice((0, 100)))
        self.jobs: dict[tuple[bytes, int], Job] = {}
        self.arrived: set[tuple[bytes, int]] = set()
        self.streams: dict[tuple[bytes, int], StreamRecord] = {}  # what is put here
        self.open_receivers: set[int] = set()
        self.waiting: set[tuple[bytes, int]] = set()  # streams that wait for credit
        self._handlers: dict[type, Callable[[Any], None]] = {
            events.CallArrived: self._arrived,
            events.CallCancelled: self._cancelled,
            events.CallEnded: self._ended,
            events.ItemArrived: self._item,
            events.SourceClosed: self._source_closed,
            events.StreamChanged: self._stream_changed,
        }

    def handle(self, event: Any) -> None:
        """Take an event of the node."""
        handler = self._handlers.get(type(event))
        if handler is not None:
            handler(event)

    # -- calling

    def call(self, record: CallRecord) -> None:
        """Make a call."""
        node = self.node
        data = pattern(record.uid, record.size)
        middle = self.rng.randrange(len(data) + 1)
        parts: list[Buffer] = [data[:middle], memoryview(data)[middle:]] if self.rng.random() < 0.5 else [data]
        now = self.clock.now
        try:
            record.out = node.calls.call(
                record.target, record.head(), parts, now, record.deadline, record.no_reply, record
            )
        except (NotSent, Overloaded) as error:
            record.found = error.found
            self.world.ended(record, error.code)
        self.machine.settle()

    def cancel(self, record: CallRecord) -> None:
        """Cancel a call, wherever it stands."""
        if self.machine.alive and record.out is not None:
            record.cancel_asked = True
            self.node.calls.cancel(record.out, Cancelled("", "", "it was cancelled here"))
            self.machine.settle()

    def _ended(self, event: events.CallEnded) -> None:
        record: CallRecord = event.ref
        self.world.ended(record, record.take(event))

    # -- serving

    def _arrived(self, event: events.CallArrived) -> None:
        record = self.world.record_of(event.head)
        if record is None:
            if not self.world.is_evil(event.source):
                raise Violation("an honest context's call arrived broken")
            self._answer_stranger(event)
            return
        if (record.caller, record.target) != (event.source, self.node.address):
            raise Violation("%s arrived from %s" % (record, event.source.hex()))
        record.arrived += 1
        if bytes(event.payload) != pattern(record.uid, record.size):
            raise Violation("%s arrived with wrong arguments of %d bytes" % (record, len(event.payload)))
        if (event.deadline is None) != (record.deadline is None):
            raise Violation("%s arrived with the deadline %s" % (record, event.deadline))
        job = Job(event, record)
        self.jobs[job.source, job.id] = job
        self.arrived.add((job.source, job.id))
        if record.service:
            self.pool.offer(job)
            return
        queue_s = self.rng.choice((0.0, 0.0, 0.0, 0.002, 0.05))
        if queue_s:
            self.clock.after(queue_s, self.start, job)
        else:
            self.start(job)

    def _answer_stranger(self, event: events.CallArrived) -> None:
        answer = values.encode(["Refused", "who are you?", False, "", [], ""])
        self.node.calls.answer(event.source, event.id, answer, True)

    def start(self, job: Job) -> None:
        """Run a call, unless nobody waits for it any more."""
        if not self.machine.alive or job.cancelled:
            return
        record = job.record
        if job.deadline is not None and self.clock.now >= job.deadline:
            self.fail(job, DeadlineExceeded("", "", "its deadline passed before it started", False))
        elif record.behaviour == REFUSE:
            self.fail(job, Refused("", "", "not for you"))
        else:
            record.start()
            if record.behaviour == NESTED:
                self._start_nested(job)
            elif record.work_s:
                self.clock.after(record.work_s, self._finish, job)
            else:
                self._finish(job)

    def _start_nested(self, job: Job) -> None:
        inner = self.world.calls[job.record.inner]
        inner.made_at = self.clock.now
        inner.deadline = job.deadline
        inner.then = lambda inner: self._finish(job)
        self.world.made(self.machine, inner)

    def _finish(self, job: Job) -> None:
        if not self.machine.alive or job.done:
            return
        if job.record.behaviour == NEVER:
            if self.world.draining:
                self._drop(job)
            return
        is_error = job.record.behaviour == ERROR
        parts: list[Any] = [job.record.result]
        if is_error:
            parts = list(values.encode(["Remote", job.record.error_text, None, "tests:Broken", [], "a traceback"]))
        if job.share is not None:
            job.share(parts, is_error)
        else:
            self.answer(job, parts, is_error)

    def fail(self, job: Job, error: Any) -> None:
        """Answer a call with an error of the protocol's own."""
        self.answer(job, values.encode([error.code, error.found, error.started, "", [], ""]), True)

    def answer(self, job: Job, parts: Any, is_error: bool) -> None:
        """Answer a call."""
        job.done = True
        if self.jobs.get((job.source, job.id)) is job:
            del self.jobs[job.source, job.id]
        self.node.calls.answer(job.source, job.id, parts, is_error)
        then, job.then = job.then, None
        if then is not None:
            then()
        self.machine.settle()

    def _cancelled(self, event: events.CallCancelled) -> None:
        job = self.jobs.pop((event.source, event.id), None)
        if job is not None:
            job.cancelled = True
            inner = self.world.calls.get(job.record.inner)
            if inner is not None and job.record.started and inner.ended_at is None:
                self.cancel(inner)  # as the runtime does with what a method waits for
        elif (event.source, event.id) not in self.arrived and not self.world.is_evil(event.source):
            raise Violation("a call that never arrived was cancelled")

    def drop_jobs(self) -> None:
        """Answer what was never to be answered."""
        for job in list(self.jobs.values()):
            if self.machine.alive and job.record.behaviour == NEVER and job.record.started and not job.done:
                self._drop(job)

    def _drop(self, job: Job) -> None:
        self.fail(job, Cancelled("", "", "the request was dropped without an answer"))

    # -- putting

    def put_on(self, stream: StreamRecord, token: bytes) -> None:
        """Put as many values of a stream as credit allows, then wait for more."""
        streams = self.node.use_streams(Streams)
        key = stream.target, stream.number
        while self.machine.alive and stream.state == "open" and key not in self.waiting:
            if stream.put == len(stream.sizes):
                stream.state = "done"
                if stream.closes:
                    streams.close(stream.target, stream.number, token)
                break
            try:
                # Counted before: one to this context itself arrives at once.
                stream.put += 1
                if not streams.put(stream.target, stream.number, token, [stream.item(stream.put - 1)]):
                    stream.put -= 1
                    self.waiting.add(key)
            except (NotSent, Overloaded) as error:
                stream.put -= 1
                stream.state = error.code
            if self.rng.random() < 0.3:
                self.clock.after(self.rng.uniform(0, 0.05), self.put_on, stream, token)
                break
        self.machine.settle()

    def _stream_changed(self, event: events.StreamChanged) -> None:
        stream = self.world.stream_from(self.node.address, event.target, event.number)
        if stream is None:
            raise Violation("a stream changed that nobody puts")
        self.waiting.discard((event.target, event.number))
        if event.error:
            # What was put before stays on its way all the same.
            stream.state = "ended: " + event.error if stream.state == "open" else stream.state
        else:
            self.put_on(stream, self.world.tokens[event.target, event.number])

    # -- taking

    def open_receiver(self, number: int, token: bytes) -> None:
        """Take values from now on."""
        # Half of them have a window of their own, for which room is kept.
        window = WIDE_WINDOW if number % 2 else STREAM_WINDOW
        size_max = WIDE_WINDOW // 2 if number % 2 else ITEM_SIZE_MAX
        self.node.use_streams(Streams).open_receiver(number, token, number, window, size_max)
        self.open_receivers.add(number)

    def close_receiver(self, number: int) -> None:
        """Take no more."""
        if self.machine.alive and number in self.open_receivers:
            assert self.node.streams is not None
            self.open_receivers.discard(number)
            for stream in self.world.streams_to(self.node.address, number):
                stream.over = True
            self.node.streams.close_receiver(number, "the receiver was closed")
            self.machine.settle()

    def _item(self, event: events.ItemArrived) -> None:
        stream = self.world.stream_from(event.source, self.node.address, event.ref)
        if stream is None:
            raise Violation("%s put what it may not" % addresses.text(event.source))
        stream.arrive(memoryview(bytes(event.payload)))
        pause_s = self.rng.choice((0.0, 0.0, 0.01, 0.2))
        self.clock.after(pause_s, self._take, event.ref, event.source, len(event.payload))

    def _take(self, number: int, source: bytes, size: int) -> None:
        if self.machine.alive and self.node.streams is not None:
            self.node.streams.taken(number, source, size)
            self.machine.settle()

    def _source_closed(self, event: events.SourceClosed) -> None:
        stream = self.world.stream_from(event.source, self.node.address, event.ref)
        if stream is None:
            raise Violation("a source closed that never put")
        stream.seen = "lost" if event.lost else "closed"
        if not event.lost and (stream.state, stream.arrived) != ("done", len(stream.sizes)):
            raise Violation("%s: its end came too early" % stream)
