"""What the raw child runs: one thread that reads a frame, answers it, and nothing else.

Its source, without prose, is all that is sent to it. It doubles as the wire of the near side. A frame:

    u32 body size | u8 what | u32 id | body
"""

import os
from struct import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Body = bytes | bytearray
    Frame = tuple[int, int, Body]
    Pack = Callable[[Any], bytes]
    Unpack = Callable[[Body], Any]

HEAD = Struct(">IBI")
CALL, ECHO, CALL_UP, TIMES = range(4)
READ_SIZE = 1 << 16


def frame(what: int, id: int, body: bytes) -> bytes:
    """Return a whole frame."""
    return HEAD.pack(len(body), what, id) + body


def small(key: str, n: int) -> "Any":
    """Return a small dict: the method that every subject runs."""
    return {"key": key, "n": n, "ok": True}


class Wire:
    """Frames over one descriptor. A large body is neither copied behind its head nor out of a buffer."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.held = b""

    def write(self, *buffers: "Body") -> None:
        """Write all of the buffers."""
        views = [memoryview(buffer) for buffer in buffers]
        while views:
            sent = os.writev(self.fd, views)
            while views and sent >= len(views[0]):
                sent -= len(views.pop(0))
            if sent:
                views[0] = views[0][sent:]

    def fill(self) -> bool:
        """Read once; what was left of the last read stays in front. False at the end."""
        data = os.read(self.fd, READ_SIZE)
        self.held = self.held + data if self.held else data
        return bool(data)

    def frames(self) -> "list[Frame] | None":
        """Return the frames of at least one read, None at the end."""
        found = []  # type: list[Frame]
        while not found:
            if not self.fill():
                return None
            at = 0
            have = len(self.held)
            while have - at >= 9:
                size, what, id = HEAD.unpack_from(self.held, at)
                end = at + 9 + size
                if end > have:
                    if size > READ_SIZE:
                        found.append((what, id, self.rest(self.held[at + 9 :], size)))
                        at = have
                    break
                found.append((what, id, self.held[at + 9 : end]))
                at = end
            self.held = self.held[at:]
        return found

    def next(self) -> "Body":
        """Return the body of the frame that comes next, where only one can."""
        came = self.frames()
        if came is None:
            raise EOFError
        return came[0][2]

    def rest(self, begun: bytes, size: int) -> bytearray:
        """Return a large body whose beginning has been read."""
        body = bytearray(size)
        view = memoryview(body)
        view[: len(begun)] = begun
        view = view[len(begun) :]
        while view:
            view = view[os.readv(self.fd, [view]) :]
        return body


def codec(folder: str) -> "tuple[Pack, Unpack]":
    """Return the C codec, from where the near side has it."""
    import sys

    sys.path.append(folder)
    import msgpack  # type: ignore[import-untyped]

    untyped: Any = msgpack
    return untyped.packb, untyped.unpackb


def answer(packb: "Pack", unpackb: "Unpack", body: "Body") -> bytes:
    """Run one call; return its encoded result."""
    return packb(small(**unpackb(body)[2]))


def call_up(wire: Wire, count: int, packb: "Pack", unpackb: "Unpack") -> "list[float]":
    """Call the other side `count` times; return the seconds that each call took."""
    from time import perf_counter

    times = []
    for n in range(count):
        start = perf_counter()
        wire.write(frame(CALL, n, packb(["probe", "small", {"key": "key", "n": n}])))
        unpackb(wire.next())
        times.append(perf_counter() - start)
    return times


def serve(fd: int, folder: str) -> None:
    """Answer what comes until the end; the answers to what came in one read leave in one write."""
    wire = Wire(fd)
    fns = None  # type: tuple[Pack, Unpack] | None
    while True:
        came = wire.frames()
        if came is None:
            return
        answers = []  # type: list[Body]
        for what, id, body in came:
            if what == ECHO:
                answers += [HEAD.pack(len(body), ECHO, id), body]
                continue
            packb, unpackb = fns = fns or codec(folder)
            if what == CALL:
                answers.append(frame(CALL, id, answer(packb, unpackb, body)))
            else:
                answers.append(frame(TIMES, id, packb(call_up(wire, id, packb, unpackb))))
        wire.write(*answers)


def relay(fd: int, other: int) -> None:
    """Pass on what comes by one descriptor to the other, both ways, until the end."""
    from select import poll

    ways = {fd: other, other: fd}
    poller = poll()
    for each in ways:
        poller.register(each, 1)
    while True:
        for ready, _ in poller.poll():
            data = os.read(ready, READ_SIZE)
            if not data:
                return
            os.write(ways[ready], data)
