"""Supervised contexts of a simulated world: lost ones are started again, after the pauses that restarts.py decides."""

from typing import TYPE_CHECKING

from plasmid.connect.restarts import Restart, Restarts, State
from plasmid.core import address as addresses
from tests.sim.records import Violation

if TYPE_CHECKING:
    from tests.sim.world import World

LONGEST_S = 3.0
FAILS = 0.4  # of all starts


class Supervised:
    """One of them. address: of the context that is there now, or was the last one."""

    def __init__(self, world: "World", address: bytes) -> None:
        self.world = world
        self.address = address
        self.parent = world.machines[address[:-4]]
        tries = world.rng.choice((None, None, 4))
        self.restarts = Restarts(Restart(0.2, LONGEST_S, tries, sound_s=2.0))
        self.restarts.started(world.clock.now)

    def lost(self, gone: bytes) -> None:
        """Take note that the parent has lost a context."""
        if gone == self.address:
            if self.restarts.state not in (State.UP, State.STOPPED):
                raise Violation("%s was lost, and it was %s" % (addresses.text(gone), self.restarts.state))
            self.restarts.lost(self.world.clock.now, self.world.rng.random())
            self._plan()

    def stop(self) -> None:
        """Start it no more."""
        self.restarts.stop()

    def _plan(self) -> None:
        due = self.restarts.deadline()
        if due is not None:
            if not 0.1 <= due - self.world.clock.now <= LONGEST_S:
                raise Violation("a pause of %f s" % (due - self.world.clock.now))
            self.world.clock.at(due, self._start)

    def _start(self) -> None:
        world = self.world
        if not self.parent.alive:
            self.stop()
        if not self.restarts.expire(world.clock.now):
            return  # it was stopped
        world.note("started again", self.address)
        if world.rng.random() < FAILS:
            self.restarts.failed(world.clock.now, world.rng.random())
            self._plan()
            return
        self.address = world.start_below(self.address[:-4])
        self.restarts.started(world.clock.now)

    def check(self) -> None:
        """Check, at the end, that what is up is there, and nothing else."""
        number = int.from_bytes(self.address[-4:], "big")
        is_there = self.parent.alive and number in self.parent.wires
        if self.restarts.state == State.UP and self.parent.alive and not is_there:
            raise Violation("%s is taken to be up, and isn't there" % addresses.text(self.address))
        if is_there and self.restarts.state in (State.WAITING, State.GIVEN_UP, State.STARTING):
            raise Violation("%s is there, and is %s" % (addresses.text(self.address), self.restarts.state))
