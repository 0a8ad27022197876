"""A whole tree of contexts on one thread, with everything that befalls it drawn from one seed.

    World(seed).run()    raises Violation where a promise was broken; .trace is the same for the same seed

See `machine.py` for a context, `network.py` for time and wires, `evil.py` for the twin that lies, `checks.py` for what
must be true at the end.
"""

import random
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from plasmid.core import address as addresses
from plasmid.core import calls, flow, relay, switch
from plasmid.core.flow import RECEIVE_QUOTA
from plasmid.core.switch import PARENT
from tests.sim import checks
from tests.sim.evil import Evil
from tests.sim.harms import BUSY_S, Harms
from tests.sim.machine import Machine
from tests.sim.network import Clock, Wire
from tests.sim.records import (
    ANSWER,
    ERROR,
    HEAD,
    NESTED,
    NEVER,
    NO_POOL,
    PLAIN,
    REFUSE,
    SERIAL,
    SHARED,
    CallRecord,
    StreamRecord,
    Violation,
)
from tests.sim.supervised import Supervised

# Then what was never to be answered is dropped, and silence has had the time to be noticed.
DROP_AT_S = 75.0
END_AT_S = 80.0

SIZES = (0, 1, 20, 20, 20, 20, 100, 100, 100, 1000, 5000, 30_000, 66_000, 200_000, 400_000)


@contextmanager
def small_outboxes(size_max: "int | None") -> "Iterator[None]":
    """Lower what may wait to be written to one link, so that a few calls reach it."""
    before = flow.OUTBOX_SIZE_MAX
    modules: tuple[Any, ...] = (flow, switch, relay, calls)  # each has the name
    try:
        for module in modules:
            module.OUTBOX_SIZE_MAX = size_max or before
        yield
    finally:
        for module in modules:
            module.OUTBOX_SIZE_MAX = before


class World(Harms):
    """One simulated world. calls: all that were made, by uid. trace: a sum over all that happened and when."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.clock = Clock()
        self.machines: dict[bytes, Machine | Evil] = {}
        self.wires: dict[bytes, Wire] = {}  # by the child's address; none is ever taken out
        self.calls: dict[int, CallRecord] = {}
        self.streams: dict[tuple[bytes, bytes, int], StreamRecord] = {}
        self.tokens: dict[tuple[bytes, int], bytes] = {}
        self.evil: Evil | None = None
        self.trace = 0
        self.draining = False  # what is never to be answered is dropped now
        rng = self.rng
        self.slow = rng.random() < 0.2
        self.quota = rng.choice((RECEIVE_QUOTA, RECEIVE_QUOTA, RECEIVE_QUOTA, 700_000, 300_000))
        self.outbox_max = rng.choice((None, None, None, None, 400_000))
        self.machines[b""] = Machine(self, b"")
        for _ in range(rng.choice((1, 2, 3, 5, 8, 12, 20, 29))):
            self._grow(0.0)
        for _ in range(rng.choice((0, 0, 1, 3))):
            if len(self.machines) < 30:
                self.clock.at(rng.uniform(0, BUSY_S), self._grow, BUSY_S)
        own = [address for address in self.machines if address]
        self.supervised = [Supervised(self, each) for each in rng.sample(own, min(len(own), rng.choice((0, 1, 3))))]
        if rng.random() < 0.35:
            self._plan_evil()
        self._plan_calls()
        self._plan_streams()
        self._plan_harm()

    def run(self) -> None:
        """Let everything happen, and check it. Raises Violation."""
        with small_outboxes(self.outbox_max):
            self.clock.run(DROP_AT_S)
            if self.evil is not None:
                self.evil.die()
            self.draining = True
            for each in self.supervised:
                each.check()
                each.stop()
            for machine in self._honest():
                machine.application.drop_jobs()
            self.clock.run(END_AT_S)
        checks.check_end(self)

    # -- the tree

    def _grow(self, latest: float) -> None:
        """Add a context below one that lives."""
        parents = [machine for machine in self._honest() if machine.alive and len(machine.address) < 32]
        # Sometimes a bush, sometimes a chain.
        parent = parents[-1] if self.rng.random() < 0.3 else self.rng.choice(parents)
        number = parent.node.new_child_number()
        self._join(parent, number, Machine(self, addresses.child(parent.address, number)))

    def _join(self, parent: Machine, number: int, child: "Machine | Evil") -> None:
        wire = Wire(self.clock, self.rng, self.slow)
        wire.join(parent, number, child)
        self.machines[child.address] = child
        self.wires[child.address] = wire
        child.attach(PARENT, wire)
        parent.attach(number, wire)

    def _plan_evil(self) -> None:
        parent = self.rng.choice(self._honest())
        number = parent.node.new_child_number()
        self.evil = Evil(self, addresses.child(parent.address, number))
        self._join(parent, number, self.evil)
        self.wires[self.evil.address].excuse_from_now("one of its ends is evil")

    def _honest(self) -> "list[Machine]":
        return [machine for machine in self.machines.values() if isinstance(machine, Machine)]

    def is_evil(self, address: bytes) -> bool:
        """Whether the context there lies."""
        return self.evil is not None and self.evil.address == address

    def path(self, one: bytes, other: bytes) -> "list[Wire]":
        """Return the wires between two contexts."""
        common = 0
        while one[common : common + 4] == other[common : common + 4] and common < min(len(one), len(other)):
            common += 4
        steps = [where[:size] for where in (one, other) for size in range(common + 4, len(where) + 1, 4)]
        return [self.wires[step] for step in steps if step in self.wires]

    # -- what is planned

    def _plan_calls(self) -> None:
        rng = self.rng
        for _ in range(rng.choice((20, 60, 120, 250))):
            # Bursts now and then: calls that are made at one moment compete for the same links.
            when = rng.choice((rng.uniform(0, BUSY_S), float(rng.randrange(1, int(BUSY_S)))))
            self.clock.at(when, self._make_call)

    def _make_call(self) -> None:
        callers = [machine for machine in self._honest() if machine.alive]
        caller = self.rng.choice(callers)
        record = self._new_call(caller.address, self._choose_target(caller.address))
        if record.behaviour == NESTED:
            inner = self._new_call(record.target, self._choose_target(record.target), (ANSWER, ERROR, REFUSE))
            inner.no_reply = False
            record.inner = inner.uid
            record.no_reply = False
        self.made(caller, record)
        if self.rng.random() < 0.1 and not record.no_reply:
            self.clock.after(self.rng.choice((0.0, 0.0, 0.01, 0.1, 1.0)), self._cancel, caller, record)

    def _cancel(self, caller: Machine, record: CallRecord) -> None:
        caller.application.cancel(record)

    def _choose_target(self, caller: bytes) -> bytes:
        rng = self.rng
        chance = rng.random()
        if chance < 0.15:
            return caller[: rng.randrange(0, len(caller) + 4, 4)]  # itself or above
        if chance < 0.18:
            return addresses.child(rng.choice(list(self.machines)), 1000)  # nobody
        return rng.choice(list(self.machines))  # dead ones too

    def _new_call(self, caller: bytes, target: bytes, behaviours: "tuple[int, ...]" = ()) -> CallRecord:
        rng = self.rng
        record = CallRecord(len(self.calls) + 1, caller, target, self.clock.now)
        self.calls[record.uid] = record
        choices = (ANSWER,) * 12 + (ERROR, ERROR, REFUSE, NEVER, NESTED, NESTED)
        record.behaviour = rng.choice(behaviours or choices)
        if not behaviours:
            # What is called in a pool doesn't wait for one itself: who waits for whom there is another test's.
            in_pool = rng.choice((NO_POOL, NO_POOL, NO_POOL, PLAIN, PLAIN, SERIAL, SHARED, SHARED))
            fits = record.behaviour in (ANSWER, ERROR, REFUSE) or (record.behaviour, in_pool) == (NESTED, PLAIN)
            record.service = in_pool if fits else NO_POOL
        if record.service == SHARED:
            record.key = rng.randrange(1, 6)
            record.behaviour = ERROR if record.key == 5 else ANSWER
        record.size = rng.choice(SIZES)
        record.result_size = rng.choice(SIZES)
        if rng.random() < 0.004:
            record.size = rng.choice((1_000_000, 5_000_000))
        if rng.random() < 0.004:
            record.result_size = rng.choice((1_000_000, 5_000_000))
        record.work_s = rng.choice((0.0, 0.0, 0.0, 0.001, 0.1, 2.0))
        record.no_reply = rng.random() < 0.06
        if rng.random() < 0.3:
            record.deadline = self.clock.now + rng.choice((0.0, 0.001, 0.05, 0.5, 5.0))
        record.target_honest = not self.is_evil(target)
        return record

    def _plan_streams(self) -> None:
        rng = self.rng
        for number in range(1, rng.choice((1, 2, 4, 6))):
            machines = self._honest()
            home = rng.choice(machines)
            token = rng.randbytes(16)
            opened_at = rng.uniform(0, 2)
            self.tokens[home.address, number] = token
            self.clock.at(opened_at, self._open_receiver, home, number, token)
            for source in rng.sample(machines, min(len(machines), rng.randrange(1, 4))):
                sizes = [rng.choice(SIZES) for _ in range(rng.choice((1, 5, 20, 40)))]
                if rng.random() < 0.03:
                    sizes[-1] = 2_000_000
                stream = StreamRecord(
                    len(self.streams) + 1, source.address, home.address, number, sizes, rng.random() < 0.6
                )
                self.streams[source.address, home.address, number] = stream
                self.clock.at(rng.uniform(opened_at, BUSY_S), self._put, source, stream, token)
            if rng.random() < 0.2:
                self.clock.at(rng.uniform(opened_at, BUSY_S), home.application.close_receiver, number)

    def _open_receiver(self, home: Machine, number: int, token: bytes) -> None:
        if home.alive:
            home.application.open_receiver(number, token)

    def _put(self, source: Machine, stream: StreamRecord, token: bytes) -> None:
        if source.alive:
            source.application.put_on(stream, token)

    def start_below(self, address: bytes) -> bytes:
        """Start a context below the one at `address`; return its own."""
        parent = self.machines[address]
        assert isinstance(parent, Machine)
        number = parent.node.new_child_number()
        self._join(parent, number, Machine(self, addresses.child(address, number)))
        return addresses.child(address, number)

    # -- what happens

    def note(self, *what: object) -> None:
        """Enter something into the trace."""
        self.trace = zlib.crc32(repr((round(self.clock.now, 9), *what)).encode(), self.trace)

    def made(self, caller: Machine, record: CallRecord) -> None:
        """Have a call made, now."""
        self.note("made", record.uid)
        if record.no_reply:
            record.ended_at, record.outcome = self.clock.now, "no reply"
        caller.application.call(record)

    def ended(self, record: CallRecord, outcome: str) -> None:
        """Note how a call ended, and check whether it may have ended so."""
        self.note("ended", record.uid, outcome)
        if record.no_reply:
            return
        record.end(outcome, self.clock.now)
        checks.check_call_ended(self, record)

    def record_of(self, head: bytes) -> "CallRecord | None":
        """Return the call whose head this is, None if it is none of ours."""
        if len(head) != HEAD.size:
            return None
        record = self.calls.get(HEAD.unpack(head)[0])
        return record if record is not None and record.head() == head else None

    def stream_from(self, source: bytes, target: bytes, number: int) -> "StreamRecord | None":
        """Return what is known of this stream."""
        return self.streams.get((source, target, number))

    def streams_to(self, target: bytes, number: int) -> "list[StreamRecord]":
        """Return the streams to one receiver."""
        return [stream for key, stream in self.streams.items() if key[1:] == (target, number)]

    def link_ended(self, machine: Machine, link_id: int, wire: Wire, reason: str) -> None:
        """Note that an end of a wire was cut by its owner."""
        self.note("link ended", machine.address, link_id, reason)
        if self.outbox_max is not None and "bytes more than the link to" in reason:
            wire.excuse_from_now("it was over a limit that this world has lowered")
        if not wire.excuse:
            raise Violation("a sound link of %s was cut: %s" % (addresses.text(machine.address), reason))
        if link_id != PARENT:
            gone = addresses.child(machine.address, link_id)
            waiting = [
                record
                for record in self.calls.values()
                if record.out is not None and record.ended_at is None and record.target.startswith(gone)
            ]
            self.clock.after(checks.LOSS_TOLD_S, checks.check_loss_told, self, machine.address, gone, waiting)
            for each in self.supervised:
                each.lost(gone)

    def died(self, machine: "Machine | Evil") -> None:
        """Note that a context is no more."""
        self.note("died", machine.address)
        for record in self.calls.values():
            if record.caller == machine.address and record.ended_at is None:
                record.caller_died = True
