"""What goes wrong in a simulated world: links that are cut, stall or fall silent, contexts that end in every way."""

import random
from typing import TYPE_CHECKING

from tests.sim import checks
from tests.sim.machine import Machine
from tests.sim.network import Clock, Wire

if TYPE_CHECKING:
    from tests.sim.evil import Evil

# While things happen.
BUSY_S = 12.0


class Harms:
    """The part of a World that does harm."""

    if TYPE_CHECKING:
        rng: random.Random
        clock: Clock
        machines: dict[bytes, Machine | Evil]
        wires: dict[bytes, Wire]

        def is_evil(self, address: bytes) -> bool: ...

        def note(self, *what: object) -> None: ...

        def start_below(self, address: bytes) -> bytes: ...

    def _plan_harm(self) -> None:
        rng = self.rng
        harms = (self._cut, self._stall_briefly, self._silence, self._deafen)
        harms_to_contexts = (self._kill, self._restart, self._end_child, self._leave, self._close_pool)
        for _ in range(rng.choice((0, 1, 2, 4))):
            self.clock.at(rng.uniform(0, BUSY_S), self._harm, rng.choice(harms + harms_to_contexts))

    def _harm(self, harm: "object") -> None:
        children = [address for address in self.wires if not self.is_evil(address)]
        if children:
            harm(self.rng.choice(children))  # type: ignore[operator]

    def _cut(self, address: bytes) -> None:
        wire = self.wires[address]
        wire.excuse_from_now("cut")
        for pipe in wire.down, wire.up:
            pipe.close(False)

    def _stall_briefly(self, address: bytes) -> None:
        """The link must live through this."""
        wire = self.wires[address]
        self.rng.choice((wire.down, wire.up)).stall(self.rng.uniform(0.1, 20.0))

    def _silence(self, address: bytes) -> None:
        wire = self.wires[address]
        if not wire.excuse:
            wire.excuse_from_now("silent both ways")
            self.clock.after(checks.SILENCE_NOTICED_S, checks.check_silence_noticed, self, address, (True, True))
        wire.down.stall(float("inf"))
        wire.up.stall(float("inf"))

    def _deafen(self, address: bytes) -> None:
        wire = self.wires[address]
        to_child = self.rng.random() < 0.5
        if not wire.excuse:
            wire.excuse_from_now("silent one way")
            sides = (not to_child, to_child)
            self.clock.after(checks.SILENCE_NOTICED_S, checks.check_silence_noticed, self, address, sides)
        (wire.down if to_child else wire.up).stall(float("inf"))

    def _kill(self, address: bytes) -> None:
        self.machines[address].die()

    def _restart(self, address: bytes) -> None:
        """Kill a context, and have its parent start another one in its place a while later."""
        self.machines[address].die()
        self.clock.after(self.rng.uniform(0.0, 2.0), self._replace, address[:-4])

    def _replace(self, address: bytes) -> None:
        parent = self.machines[address]
        if parent.alive and len(address) < 32:
            self.start_below(address)

    def _end_child(self, address: bytes) -> None:
        parent = self.machines[address[:-4]]
        if isinstance(parent, Machine):
            parent.end_child(int.from_bytes(address[-4:], "big"))

    def _close_pool(self, address: bytes) -> None:
        machine = self.machines[address]
        if isinstance(machine, Machine):
            self.note("pool closed", address)
            machine.application.pool.close()

    def _leave(self, address: bytes) -> None:
        child = self.machines[address]
        if isinstance(child, Machine):
            child.leave()
