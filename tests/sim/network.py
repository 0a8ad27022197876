"""A clock that only moves when told, and wires that carry bytes late, cut anywhere, slowly, or not at all.

A Wire is two Pipes. A Pipe takes as much as it has room for, as a socket does, and gives the bytes out later in the
same order, in pieces that have nothing to do with how they were written. Nothing here knows of frames.
"""

import heapq
import random
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

Buffer = bytes | bytearray | memoryview


class Clock:
    """What time it is, and what happens when. What was planned for one moment happens in the order of planning."""

    def __init__(self) -> None:
        self.now = 0.0
        self._planned: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []
        self._count = 0

    def at(self, when: float, fn: Callable[..., object], *args: Any) -> None:
        """Have fn(*args) called at that time, or now if it's over."""
        self._count += 1
        heapq.heappush(self._planned, (max(when, self.now), self._count, fn, args))

    def after(self, seconds: float, fn: Callable[..., object], *args: Any) -> None:
        """Have fn(*args) called so much later."""
        self.at(self.now + seconds, fn, *args)

    def run(self, until: float) -> None:
        """Let time pass until then."""
        while self._planned and self._planned[0][0] <= until:
            self.now, _, fn, args = heapq.heappop(self._planned)
            fn(*args)
        self.now = until


class Endpoint(Protocol):
    """Who stands at the end of a wire."""

    def receive(self, link_id: int, data: bytes) -> None:
        """Take bytes in."""

    def hung_up(self, link_id: int) -> None:
        """Learn that the other end is gone."""

    def has_room(self, link_id: int) -> None:
        """Learn that bytes can be written again."""


class Pipe:
    """One direction of a wire, to `reader`, who knows it as `reader_id`."""

    def __init__(self, clock: Clock, rng: random.Random, delay_s: float, bytes_per_s: float, room_max: int) -> None:
        self.clock = clock
        self.rng = rng
        self.delay_s = delay_s
        self.bytes_per_s = bytes_per_s
        self.room = room_max
        self.reader: Endpoint
        self.reader_id = 0
        self.writer: Endpoint
        self.writer_id = 0
        self.closed = False  # nothing more can be written
        self.ended = False  # nothing more comes out
        self.stalled_until = 0.0
        self._free_at = 0.0
        self._pieces: deque[tuple[float, bytes]] = deque()
        self._pump_planned = False
        self._writer_waits = False

    def write(self, buffers: Sequence[Buffer]) -> int:
        """Take what there's room for, and return how many bytes that was."""
        if self.closed:
            return sum(map(len, buffers))
        data = b"".join(buffers)[: self.room] if len(buffers) > 1 else bytes(buffers[0][: self.room])
        self._writer_waits = len(data) < sum(map(len, buffers))
        if data:
            self.room -= len(data)
            self._free_at = max(self._free_at, self.clock.now) + len(data) / self.bytes_per_s
            for piece in self._cut(data):
                self._pieces.append((self._free_at + self.delay_s, piece))
            self._plan()
        return len(data)

    def _cut(self, data: bytes) -> list[bytes]:
        chance = self.rng.random()
        if chance < 0.8 or len(data) < 2:
            return [data]
        if chance < 0.85 and len(data) < 120:
            return [data[i : i + 1] for i in range(len(data))]
        places = sorted(self.rng.randrange(1, len(data)) for _ in range(self.rng.randrange(1, 4)))
        return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True) if start < end]

    def stall(self, seconds: float) -> None:
        """Give nothing out for so long. What was written waits, and then there's no more room."""
        self.stalled_until = max(self.stalled_until, self.clock.now + seconds)
        if seconds != float("inf"):
            self.clock.after(seconds, self._plan)

    def close(self, keep: bool) -> None:
        """Let the reader learn of the end, after what was written if `keep`, else after some part of it."""
        if self.closed:
            return
        self.closed = True
        if not keep and self._pieces:
            for _ in range(self.rng.randrange(len(self._pieces)) + 1):
                due, piece = self._pieces.pop()
            self._pieces.append((due, piece[: self.rng.randrange(len(piece))]))
        end = max([self.clock.now + self.delay_s] + [due for due, _ in self._pieces])
        self._pieces.append((end, b""))
        self._plan()

    def _plan(self) -> None:
        if self._pieces and not self.ended and not self._pump_planned and self.stalled_until != float("inf"):
            self._pump_planned = True
            self.clock.at(max(self._pieces[0][0], self.stalled_until), self._pump)

    def _pump(self) -> None:
        self._pump_planned = False
        if self.stalled_until > self.clock.now:
            self._plan()
            return
        while self._pieces and self._pieces[0][0] <= self.clock.now and not self.ended:
            _, piece = self._pieces.popleft()
            self.room += len(piece)
            if piece:
                self.reader.receive(self.reader_id, piece)
            elif self.closed and not self._pieces:
                self.ended = True
                self.reader.hung_up(self.reader_id)
        if self._writer_waits and not self.closed and self.room:
            self._writer_waits = False
            self.writer.has_room(self.writer_id)
        self._plan()


class Wire:
    """What joins a parent, who knows it by the child's number, with that child, who knows it as link 0.

    excuse: why either end may cut it, "" as long as it has to hold. excused_at: since when.
    """

    def __init__(self, clock: Clock, rng: random.Random, slow: bool) -> None:
        delay_s = rng.choice((0.0, 0.0002, 0.003, 0.02, 0.04))
        rate = rng.choice((1e6, 4e6)) if slow else rng.choice((40e6, 200e6, 1e9))
        # Bytes under way take room as well: less of it than this would make a fast wire slow.
        room = max(rng.choice((4096, 65536, 262144)), int(2 * delay_s * rate))
        self.clock = clock
        self.down = Pipe(clock, rng, delay_s, rate, room)
        self.up = Pipe(clock, rng, delay_s, rate, room)
        self.excuse = ""
        self.excused_at = float("inf")

    def join(self, parent: Endpoint, number: int, child: Endpoint) -> None:
        """Say who stands at its ends."""
        self.down.reader, self.down.reader_id = child, 0
        self.down.writer, self.down.writer_id = parent, number
        self.up.reader, self.up.reader_id = parent, number
        self.up.writer, self.up.writer_id = child, 0

    def pipe_from(self, link_id: int) -> Pipe:
        """Return the direction into which the end writes that knows the wire by this id."""
        return self.up if link_id == 0 else self.down

    def excuse_from_now(self, why: str) -> None:
        """Allow the ends to cut it."""
        if not self.excuse:
            self.excuse = why
            self.excused_at = self.clock.now

    def close_from(self, link_id: int) -> None:
        """Let the end with this id leave: what it wrote still arrives, what comes to it is nobody's."""
        self.excuse_from_now("the other end closed it")
        self.pipe_from(link_id).close(True)
        other = self.down if link_id == 0 else self.up
        other.closed = other.ended = True
