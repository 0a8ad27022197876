"""How the cost of routing and of a loss grows with the tree: the pure core, 100,000 contexts, one process, no I/O.

    python bench/scale.py                        all of it, some minutes
    python bench/scale.py --quick                a smaller tree, to see that all works
    python bench/scale.py --write docs/scale.md  also write the page, and its plot beside it

The tree has a fan-out of 50. The root and the relays on one way down are whole nodes, with a link to each of their
children; the other contexts are their addresses: what they send is fed to those, as bytes, as a link would.
"""

import argparse
import datetime
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from math import log10
from pathlib import Path
from time import perf_counter

if __name__ == "__main__":
    root = Path(__file__).resolve().parent.parent
    sys.path[:1] = [str(root), str(root / "src")]

from bench import machine
from plasmid.core import address, express, frames, values
from plasmid.core.calls import CALL_HEAD, NO_DEADLINE
from plasmid.core.frames import Kind, Lane
from plasmid.core.node import Node
from plasmid.core.switch import PARENT

FAN_OUT = 50
CONTEXTS = 100_000
ROUTED = 20_000  # frames in each measurement
ROUNDS = 20  # that these are cut into; the quickest counts
DEPTHS = (1, 2, 4, 8, 16, 31)
IN_FLIGHT = (100, 1_000, 10_000, 100_000)
HELLO = values.pack({"versions": [frames.PROTOCOL_VERSION]})
BODY = CALL_HEAD.pack(NO_DEADLINE, 4) + b"head" + b"payload of a small call"

Series = list[tuple[int, float]]


def joined(here: bytes, children: int) -> Node:
    """Return a node with so many children, and a parent unless it is the root; all have said hello."""
    node = Node(here, 1000)
    ids = list(range(1, children + 1)) + ([] if here == address.ROOT else [PARENT])
    for id in ids:
        peer = address.parent(here) if id == PARENT else address.child(here, id)
        assert peer is not None
        node.add_link(id, 0.0)
        node.feed(id, frames.encode(Kind.HELLO, 0, 0, peer, b"", HELLO), 0.0)
    drain(node)
    express.install(node)
    return node


def drain(node: Node) -> int:
    """Take out what the node would write and tell; return how many bytes to write it was."""
    size = 0
    while node.dirty:
        id = node.dirty.pop()
        while buffers := node.next_buffers(id):
            size += sum(map(len, buffers))
    del node.events[:]
    return size


def leaves(count: int) -> "Iterator[bytes]":
    """Give the addresses of so many contexts of the tree, level by level."""
    level = [address.ROOT]
    while True:
        below = [address.child(each, number) for each in level for number in range(1, FAN_OUT + 1)]
        yield from below[:count]
        count -= len(below)
        if count <= 0:
            return
        level = below


def held_by(make: "Callable[[], object]") -> "tuple[int, object]":
    """Return how many bytes more are held after make(), and what it returned."""
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    made = make()
    size = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return size, made


def spoken_with(node: Node, contexts: "list[bytes]") -> None:
    """Have each of these contexts call the node, which answers, and be called by it, and answer."""
    start = len(node.address)
    for source in contexts:
        id = int.from_bytes(source[start : start + address.STEP_SIZE], "big")
        node.feed(id, frames.encode(Kind.CALL, 0, 7, source, node.address, BODY), 1.0)
        node.calls.answer(source, 7, [b"result"], False)
        call = node.calls.call(source, b"head", [b"payload"], 1.0, ref=None)
        assert call is not None
        node.feed(id, frames.encode(Kind.REPLY, Lane.REPLY, call.id, source, node.address, b"result"), 1.0)
        drain(node)


def time_routed(node: Node, ways: "list[tuple[int, bytes, bytes]]", count: int) -> float:
    """Return the seconds that one frame takes from link to outbox and out, by (link, source, target) in turns."""
    frames_in = [(id, frames.encode(Kind.CALL, 0, 7, source, target, BODY)) for id, source, target in ways]
    seconds = []
    for _ in range(ROUNDS):
        start = perf_counter()
        for number in range(count // ROUNDS):
            id, raw = frames_in[number % len(frames_in)]
            node.feed(id, raw, 1.0)
            node.next_buffers(node.dirty.pop())
        seconds.append((perf_counter() - start) / (count // ROUNDS))
    return min(seconds)  # what others do on the machine only adds to it


def by_contexts(contexts: int, routed: int) -> "tuple[Series, Series]":
    """Return what the root holds for each context it has spoken with, and what a frame costs there, as they grow."""
    memory, times = [], []
    count = FAN_OUT
    while True:
        known = list(leaves(count))
        size, node = held_by(lambda: joined(address.ROOT, FAN_OUT))
        assert isinstance(node, Node)
        more, _ = held_by(lambda node=node, known=known: spoken_with(node, known))  # type: ignore[misc]
        memory.append((count, (size + more) / count))
        ends = [(int.from_bytes(each[:4], "big"), each) for each in known]
        step = max(1, len(ends) // 997)
        pairs = list(zip(ends[::step], reversed(ends[::step]), strict=True))
        ways = [(id, source, target) for (id, source), (other, target) in pairs if id != other]
        times.append((count, time_routed(node, ways, routed)))
        if count >= contexts:
            return memory, times
        count = min(count * FAN_OUT, contexts)


def by_depth(routed: int) -> Series:
    """Return what a frame costs a relay so many steps below the root."""
    found = []
    for depth in DEPTHS:
        here = b"".join((1).to_bytes(4, "big") for _ in range(depth))
        node = joined(here, FAN_OUT if depth < address.DEPTH_MAX else 0)
        ways = [(number, address.child(here, number), address.ROOT) for number in range(1, FAN_OUT + 1)]
        found.append((depth, time_routed(node, ways, routed)))
    return found


def by_calls(sizes: "tuple[int, ...]") -> "tuple[Series, Series]":
    """Return how long the loss of a subtree takes to be told, by the calls in flight into it, and what each holds."""
    times, memory = [], []
    for count in sizes:
        node = joined(address.ROOT, FAN_OUT)
        inner = [each for each in leaves(FAN_OUT + FAN_OUT**2 + FAN_OUT**3) if each[:4] == b"\0\0\0\1"]

        def call_all(node: Node = node, inner: "list[bytes]" = inner, count: int = count) -> None:
            for number in range(count):
                node.calls.call(inner[number % len(inner)], b"head", [b"payload"], 1.0, ref=None)
                drain(node)

        size, _ = held_by(call_all)
        memory.append((count, size / count))
        start = perf_counter()
        node.link_closed(1, "it closed its end", 2.0)
        told = len(node.events)
        times.append((count, perf_counter() - start))
        assert told == count + 2, told  # each call has ended, the link has, and the context is gone
    return times, memory


def relay_memory() -> int:
    """Return what a relay with 50 children holds."""
    return held_by(lambda: joined(address.child(address.ROOT, 1), FAN_OUT))[0]


def plot(curves: "list[tuple[str, str, Series]]") -> str:
    """Return the curves as an SVG: one panel each, its horizontal axis logarithmic, its vertical one from zero."""
    width, height, gap = 300, 180, 70
    box = f"0 0 {2 * (width + gap) + 20} {(len(curves) + 1) // 2 * (height + gap) + 20}"
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}" font-family="sans-serif" font-size="11">']
    for index, (title, unit, series) in enumerate(curves):
        left, top = 60 + index % 2 * (width + gap), 30 + index // 2 * (height + gap)
        high = max(value for _, value in series) * 1.2
        first, last = log10(series[0][0]), log10(series[-1][0])
        points = [
            (left + (log10(x) - first) / (last - first) * width, top + height - value / high * height)
            for x, value in series
        ]
        line = " ".join(f"{x:.0f},{y:.0f}" for x, y in points)
        parts.append(f'<text x="{left}" y="{top - 10}">{title}</text>')
        parts.append(f'<rect x="{left}" y="{top}" width="{width}" height="{height}" fill="none" stroke="#999"/>')
        parts.append(f'<polyline points="{line}" fill="none" stroke="#06c" stroke-width="2"/>')
        for (x, y), (count, value) in zip(points, series, strict=True):
            parts.append(f'<circle cx="{x:.0f}" cy="{y:.0f}" r="3" fill="#06c"/>')
            parts.append(f'<text x="{x:.0f}" y="{y - 7:.0f}" text-anchor="middle">{shown(value)} {unit}</text>')
            parts.append(f'<text x="{x:.0f}" y="{top + height + 14}" text-anchor="middle">{count:,}</text>')
    return "\n".join([*parts, "</svg>", ""])


INTRODUCTION = """\
# How it grows

What a tree of {contexts:,} contexts with a fan-out of {fan_out} costs those who route in it, measured by
`make bench-scale`: the pure core alone, without links, threads and descriptors. The root and the relays are whole; the
others are addresses whose frames are fed to them. An address says its own way, so there is no table of contexts that
could grow: what grows with them is the list of ways that were looked up lately, and that has an end. A frame whose way
isn't in it costs a little more.

![the figures below, as curves](scale.svg)
"""


def shown(value: float) -> str:
    """Return a figure with three digits that say something."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def as_table(title: str, unit: str, series: Series) -> str:
    """Return one curve as a table."""
    lines = [f"| {title} | {unit} |", "| --: | --: |", *(f"| {x:,} | {shown(value)} |" for x, value in series)]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Measure, print, and write the page if asked."""
    parser = argparse.ArgumentParser(description="Measure how the pure core grows with the tree.")
    parser.add_argument("--quick", action="store_true", help="a smaller tree")
    parser.add_argument("--write", type=Path, metavar="FILE", help="also write the page there, and FILE.svg beside it")
    options = parser.parse_args()
    contexts, routed = (3_000, 500) if options.quick else (CONTEXTS, ROUTED)
    memory, routing = by_contexts(contexts, routed)
    depths = by_depth(routed)
    losses, calls = by_calls(IN_FLIGHT[:2] if options.quick else IN_FLIGHT)
    curves = [
        ("contexts spoken with: held by the root for each", "bytes", memory),
        ("contexts spoken with: one routed frame at the root", "µs", [(x, y * 1e6) for x, y in routing]),
        ("steps below the root: one routed frame at a relay", "µs", [(x, y * 1e6) for x, y in depths]),
        ("calls in flight: their subtree's loss, till all are told", "ms", [(x, y * 1e3) for x, y in losses]),
        ("calls in flight: held by the caller for each", "bytes", calls),
    ]
    tables = [as_table(*curve) for curve in curves]
    facts = [
        f"A relay with {FAN_OUT} children holds {relay_memory() >> 10} KiB for its links, however many are below them.",
        *machine.description(),
        datetime.date.today().isoformat(),
    ]
    print("\n".join(tables) + "\n" + "\n".join(facts))
    if options.write:
        head = INTRODUCTION.format(contexts=contexts, fan_out=FAN_OUT)
        options.write.write_text("\n".join([head, *tables, "\n".join("- " + fact for fact in facts) + "\n"]))
        options.write.with_suffix(".svg").write_text(plot(curves))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
