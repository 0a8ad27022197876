"""The twin that lies: a child that says whatever bytes it likes on its link.

It knows what no real attacker could: the ids of the calls in flight and the numbers of the receivers. What it may do
is to lose its own link and to spoil the calls made to itself; the world checks that nothing else comes of it.
"""

from typing import TYPE_CHECKING

from plasmid.core import values
from plasmid.core.calls import CALL_HEAD
from plasmid.core.errors import FrameError
from plasmid.core.frames import FLAGS_MASK, KINDS, MORE, PROTOCOL_VERSION, FrameDecoder, Kind, Lane, encode
from tests.sim.network import Buffer, Wire

if TYPE_CHECKING:
    from tests.sim.world import World


class Evil:
    """A context at `address` that isn't what it should be."""

    def __init__(self, world: "World", address: bytes) -> None:
        self.world = world
        self.address = address
        self.alive = True
        self.wires: dict[int, Wire] = {}
        self._decoder = FrameDecoder(b"")
        self._asked: list[tuple[bytes, int]] = []  # calls made to it: source, id
        self._unwritten: list[Buffer] = []

    def attach(self, link_id: int, wire: Wire) -> None:
        """Take the end of a wire, say hello and plan the attacks."""
        rng, clock = self.world.rng, self.world.clock
        self.wires[link_id] = wire
        if rng.random() < 0.95:
            hello = values.pack({"versions": [PROTOCOL_VERSION], "python": "9.9.9"})
            self._write(encode(Kind.HELLO, 0, 0, self.address, b"", hello))
        attacks = [self._random_frame] * 6 + [self._forged_answer] * 4 + [self._put, self._answer, self._answer]
        attacks += [self._broken_body, self._call, self._call, self._lost, self._credit]
        for _ in range(rng.choice((10, 60, 200))):
            clock.after(rng.uniform(0.01, 12.0), self._attack, rng.choice(attacks))
        last = rng.choice((self._garbage, self._forged_source, self._again_hello, self._unfinished, None))
        if last is not None:
            clock.after(rng.uniform(0.5, 12.0), self._attack, last)

    # -- an Endpoint

    def receive(self, link_id: int, data: bytes) -> None:
        self._decoder.feed(data)
        try:
            while self.alive:
                frame = self._decoder.next_frame()
                if frame is None:
                    return
                if frame.kind == Kind.CALL:
                    self._asked.append((frame.source, frame.id))
                elif frame.kind == Kind.PING:
                    self._write(encode(Kind.PONG, 0, 0, self.address, b""))
        except FrameError as error:
            raise AssertionError("an honest parent sent what is no frame") from error

    def hung_up(self, link_id: int) -> None:
        self.die()

    def has_room(self, link_id: int) -> None:
        waiting, self._unwritten = self._unwritten, []
        for data in waiting:
            self._write(data)

    def die(self) -> None:
        """Go without a word."""
        if self.alive:
            self.alive = False
            self.world.died(self)
            for link_id, wire in self.wires.items():
                wire.close_from(link_id)
            self.wires.clear()

    def _write(self, data: Buffer) -> None:
        if not self.alive or 0 not in self.wires:
            return
        sent = 0 if self._unwritten else self.wires[0].pipe_from(0).write([data])
        if sent < len(data):
            self._unwritten.append(data[sent:])

    # -- attacks

    def _attack(self, attack: "object") -> None:
        if self.alive:
            attack()  # type: ignore[operator]

    def _someone(self) -> bytes:
        rng = self.world.rng
        others = [address for address in self.world.machines if address != self.address]
        return rng.choice(others) if rng.random() < 0.9 else rng.randbytes(4 * rng.randrange(0, 5))

    def _some_id(self) -> int:
        """Return the id of a call in flight, of a receiver, or any."""
        rng = self.world.rng
        flying = [call.out.id for call in self.world.calls.values() if call.out is not None and call.ended_at is None]
        choices = [rng.randrange(8), rng.getrandbits(64)]
        if flying:
            choices += [rng.choice(flying)] * 3
        return rng.choice(choices)

    def _body(self) -> bytes:
        rng = self.world.rng
        size = rng.choice((0, 1, 7, 8, 16, 40, 300, 3000))
        return rng.randbytes(size)

    def _frame(self, kind: int, flags: int, id: int, target: bytes, body: bytes) -> None:
        self._write(encode(kind, flags, id, self.address, target, body))

    def _random_frame(self) -> None:
        rng = self.world.rng
        kind = rng.choice(sorted(KINDS - {Kind.HELLO, Kind.GOODBYE}))
        self._frame(kind, rng.randrange(FLAGS_MASK + 1), self._some_id(), self._someone(), self._body())

    def _forged_answer(self) -> None:
        """Answer a call that was made to somebody else."""
        rng = self.world.rng
        flying = [call for call in self.world.calls.values() if call.out is not None and call.ended_at is None]
        if not flying:
            return
        call = rng.choice(flying)
        assert call.out is not None
        kind = rng.choice((Kind.REPLY, Kind.ERROR, Kind.CANCEL, Kind.CREDIT, Kind.DATA))
        body = b"".join(values.encode(["Refused", "no", False, "", [], ""])) if kind == Kind.ERROR else self._body()
        target = rng.choice((call.caller, call.target))
        self._frame(kind, rng.choice((Lane.REPLY, Lane.CALL)), call.out.id, target, body)

    def _answer(self) -> None:
        """Answer a call that was made to this context, in a way that it shouldn't be."""
        rng = self.world.rng
        if not self._asked:
            return
        source, id = rng.choice(self._asked)
        kind = rng.choice((Kind.REPLY, Kind.ERROR))
        if rng.random() < 0.4:
            total = rng.choice((0, 1, 100, 70_000, 1 << 20, 1 << 29, 1 << 62))
            self._frame(kind, Lane.REPLY | MORE, id, source, total.to_bytes(8, "big") + self._body())
            for _ in range(rng.randrange(3)):
                self._frame(Kind.DATA, Lane.REPLY | rng.choice((0, MORE)), id, source, self._body())
        else:
            self._frame(kind, Lane.REPLY, id, source, self._body())

    def _broken_body(self) -> None:
        rng = self.world.rng
        target, id = self._someone(), rng.getrandbits(64)
        total = rng.choice((0, 1, 100, 70_000, 1 << 20, 1 << 29, 1 << 62))
        self._frame(rng.choice((Kind.CALL, Kind.PUT)), MORE, id, target, total.to_bytes(8, "big") + self._body())
        for _ in range(rng.randrange(4)):
            self._frame(Kind.DATA, rng.choice((0, 1, 2, 3)) | rng.choice((0, MORE)), id, target, self._body())

    def _call(self) -> None:
        rng = self.world.rng
        head = self._body()
        body = CALL_HEAD.pack(rng.choice((0, 50, 0xFFFFFFFF)), len(head)) + head + self._body()
        id, target = rng.choice((7, rng.getrandbits(64))), self._someone()
        for _ in range(rng.choice((1, 1, 1, 30))):
            self._frame(Kind.CALL, 0, id, target, body)

    def _put(self) -> None:
        rng = self.world.rng
        numbers = list(self.world.tokens)
        if numbers:
            home, number = rng.choice(numbers)
            kind, flags = rng.choice(((Kind.PUT, Lane.ITEM), (Kind.CLOSE, 0), (Kind.ERROR, Lane.STREAM)))
            self._frame(kind, flags, number, home, rng.randbytes(16) + self._body())

    def _credit(self) -> None:
        rng = self.world.rng
        granted = rng.choice((0, 1, 1 << 40, (1 << 64) - 1)).to_bytes(8, "big")
        self._frame(Kind.CREDIT, rng.randrange(4), self._some_id(), self._someone(), granted)

    def _lost(self) -> None:
        below = self.address + self.world.rng.randbytes(4)
        source = self.world.rng.choice((self.address, below))
        self._write(encode(Kind.LOST, 0, 0, source, self._someone(), b"it says so"))

    # -- those that must cost it its link

    def _garbage(self) -> None:
        self._write(b"\xff" + self.world.rng.randbytes(200))

    def _forged_source(self) -> None:
        flying = [call for call in self.world.calls.values() if call.out is not None and call.ended_at is None]
        source = self.world.rng.choice(flying).target if flying else b""
        if not source.startswith(self.address):
            for call in flying:
                assert call.out is not None
                self._write(encode(Kind.REPLY, Lane.REPLY, call.out.id, source, call.caller, b"forged"))

    def _again_hello(self) -> None:
        hello = values.pack({"versions": [PROTOCOL_VERSION]})
        self._write(encode(Kind.HELLO, 0, 0, self.address, b"", hello))

    def _unfinished(self) -> None:
        self._write(encode(Kind.CALL, 0, 1, self.address, b"", bytes(100))[:-50])
