"""Nodes joined by a fake wire: bytes are moved by hand, events are collected, time is a number.

    tree = Tree("/", "/1", "/1/1")
    tree.call("/", "/1/1")
    tree.run()
    assert tree.told("/1/1") == [...]

Events and frames are compared as plain tuples, so that a test asserts whole values. Call ids of the context at address
A begin at ID_STARTS + the number of contexts before it in the tree, times 1000.
"""

import zlib
from typing import Any

from plasmid.core import address as addresses
from plasmid.core import bulk, events, frames
from plasmid.core.address_text import parse
from plasmid.core.calls import CALL_HEAD, OutCall
from plasmid.core.errors import CallError
from plasmid.core.flow import U64
from plasmid.core.frames import Frame, FrameDecoder, Kind
from plasmid.core.link import Link
from plasmid.core.node import Node
from plasmid.core.streams import Streams
from plasmid.core.switch import PARENT

ID_STARTS = 1000
TOKEN = b"a token of 16 by"
KIND_NAMES = {value: name for name, value in vars(Kind).items() if name.isupper()}

bulk.install()  # as in a running context; what has just said hello takes bodies into a bytearray

at = parse
PlainEvent = tuple[Any, ...]
PlainFrame = tuple[str, int, int, str, str, bytes]


class Long(bytes):
    """Bytes that don't fill the screen when a test fails."""

    def __repr__(self) -> str:
        return "<%d bytes, CRC %08x>" % (len(self), zlib.crc32(self)) if len(self) > 200 else super().__repr__()

    def __getitem__(self, which: Any) -> Any:
        found = super().__getitem__(which)
        return Long(found) if isinstance(found, bytes) else found


class Clock:
    """The hour, moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0


class Tree:
    """Contexts at these addresses, each parent joined to its children, all hellos said.

    held: directions (from, to) in which no bytes are moved. Those that were written wait in `pending`.
    """

    def __init__(self, *contexts: str, hellos: bool = True) -> None:
        self.clock = Clock()
        self.nodes: dict[str, Node] = {}
        self.held: set[tuple[str, str]] = set()
        self.pending: dict[tuple[str, str], bytes] = {}
        self.moved: dict[tuple[str, str], list[bytes]] = {}
        self._events: dict[str, list[Any]] = {}
        self._ways: list[tuple[str, int, str, int]] = []
        for index, context in enumerate(contexts):
            self.add(context, ID_STARTS + 1000 * index)
        if hellos:
            self.run()
            for context in contexts:
                self.told(context)
            self.moved.clear()

    def add(self, context: str, id_start: int) -> Node:
        """Return a new node, joined to its parent's if that is in the tree."""
        address = at(context)
        node = self.nodes[context] = Node(address, id_start, {"name": context})
        self._events[context] = []
        above = addresses.parent(address)
        parent = None if above is None else addresses.text(above)
        if parent in self.nodes:
            number = addresses.number_below(above or b"", address)
            self.nodes[parent].add_link(number, self.clock.now)
            node.add_link(PARENT, self.clock.now)
            self._ways += [(parent, number, context, PARENT), (context, PARENT, parent, number)]
        return node

    def streams(self, context: str) -> Streams:
        """Return the streams of that context."""
        return self.nodes[context].use_streams(Streams)

    def link(self, context: str, other: str) -> Link:
        """Return the end at `context` of its link to `other`."""
        return self.nodes[context].links[self._way(context, other)[1]]

    # -- moving

    def write(self, context: str, other: str) -> bytes:
        """Let `context` write all it may to its link to `other`, and return what waits to be moved."""
        self._write(self._way(context, other))
        return self.pending.get((context, other), b"")

    def _way(self, context: str, other: str) -> "tuple[str, int, str, int]":
        return next(way for way in self._ways if (way[0], way[2]) == (context, other))

    def _write(self, way: "tuple[str, int, str, int]") -> None:
        here, id, there, _ = way
        written = self.pending.get((here, there), b"")
        while True:
            buffers = self.nodes[here].next_buffers(id)
            if not buffers:
                break
            written += b"".join(buffers)
        if written:
            self.pending[here, there] = written

    def run(self) -> None:
        """Move bytes until none are left to move."""
        moving = True
        while moving:
            moving = False
            for way in self._ways:
                here, _, there, back = way
                if (here, there) in self.held:
                    continue
                self._write(way)
                data = self.pending.pop((here, there), b"")
                if data:
                    moving = True
                    self.moved.setdefault((here, there), []).append(data)
                    self.nodes[there].feed(back, data, self.clock.now)

    def hold(self, context: str, other: str) -> None:
        """Move no more from `context` to `other`."""
        self.held.add((context, other))

    def let(self, context: str, other: str) -> None:
        """Undo hold(), and run."""
        self.held.discard((context, other))
        self.run()

    def feed(self, context: str, other: str, data: bytes) -> None:
        """Have `context` take these bytes as if `other` had sent them."""
        self.nodes[context].feed(self._way(context, other)[1], data, self.clock.now)

    def cut(self, context: str, other: str) -> None:
        """End the link between the two, at both ends."""
        for here, id, there, _ in self._ways:
            if {here, there} == {context, other}:
                self.nodes[here].link_closed(id, "it closed its end", self.clock.now)

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and each node do what is due."""
        self.clock.now += seconds
        for node in self.nodes.values():
            node.expire(self.clock.now)

    # -- looking

    def told(self, context: str) -> "list[PlainEvent]":
        """Return what happened at that context since last asked."""
        happened = self.nodes[context].events
        plain = [plain_event(event) for event in happened]
        del happened[:]
        return plain

    def sent(self, context: str, other: str) -> "list[PlainFrame]":
        """Return the frames that were moved from `context` to `other` since last asked."""
        return plain_frames(b"".join(self.moved.pop((context, other), [])))

    # -- doing

    def call(self, context: str, target: str, payload: bytes = b"payload", **options: Any) -> OutCall:
        """Make a call from one context to the other. Its ref is `target`."""
        call = self.nodes[context].calls.call(
            at(target), b"head", [payload], self.clock.now, options.get("deadline"), False, target
        )
        assert call is not None
        return call

    def answer(self, context: str, source: str, id: int, payload: bytes = b"result", is_error: bool = False) -> None:
        """Answer a call at `context`."""
        self.nodes[context].calls.answer(at(source), id, [payload], is_error)


def plain_event(event: Any) -> PlainEvent:
    """Return an event as a tuple of its class's name and its fields, addresses as text and links by their ids."""
    fields = []
    for name in type(event).__slots__:
        value = getattr(event, name)
        if name in ("source", "target", "address"):
            value = addresses.text(value)
        elif isinstance(value, Link):
            value = value.id
        elif isinstance(value, (bytes, memoryview, bytearray, bulk.Body)):
            value = Long(bytes(value))
        elif isinstance(value, CallError):
            value = (type(value).__name__, value.found, value.started)
        fields.append(value)
    return (type(event).__name__, *fields)


def plain_frame(frame: Frame) -> PlainFrame:
    """Return a frame as a tuple of its fields, addresses as text."""
    source, target = addresses.text(frame.source), addresses.text(frame.target)
    return KIND_NAMES[frame.kind], frame.flags, frame.id, source, target, Long(frame.body)


def plain_frames(data: bytes, peer: bytes = b"") -> "list[PlainFrame]":
    """Return whole frames as tuples; they must be all there is."""
    decoder = FrameDecoder(peer)
    decoder.feed(data)
    found = []
    size = 0
    while (frame := decoder.next_frame()) is not None:
        found.append(plain_frame(frame))
        size += len(frame.raw)
    assert size == len(data), "an unfinished frame"
    return found


def frame(kind: int, flags: int, id: int, source: str, target: str, body: bytes = b"") -> bytes:
    """Return a frame as anybody could write it."""
    return frames.encode(kind, flags, id, at(source), at(target), body)


def read_frame(raw: bytes, peer: bytes = b"") -> Frame:
    """Return the one frame that `raw` is."""
    decoder = FrameDecoder(peer)
    decoder.feed(raw)
    found = decoder.next_frame()
    assert found is not None
    assert found.raw == raw
    return found


def call_body(payload: bytes = b"payload", left_ms: int = 0xFFFFFFFF, head: bytes = b"head") -> bytes:
    """Return the body of a CALL."""
    return CALL_HEAD.pack(left_ms, len(head)) + head + payload


def first_body(total: int, beginning: bytes) -> bytes:
    """Return the body of a frame that begins a long one."""
    return U64.pack(total) + beginning


def error_name(event: Any) -> str:
    """Return the name of the class of the error that a call ended with."""
    assert isinstance(event, events.CallEnded)
    return type(event.error).__name__
