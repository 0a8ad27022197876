"""A program that uses everything for a while, and whether it holds more and more.

    python -m tests.trials.soak [SECONDS]      600 by default; make soak SECONDS=600

Calls of functions and services, calls up, streams, generators, commands, calls that are cancelled or run out of time,
and contexts that are made and shut down or killed. Once a second it looks at its own memory, descriptors and threads,
at the processes below it, and at the memory of a context that stays; at the end it prints what was held after each
quarter of the time, and the slopes over the second half and the last quarter. Blocks are what Python has given out and
not got back: memory that grows while they don't is the allocator's. Ends with status 1 if a count grows, or memory by
more than is allowed.
"""

import array
import gc
import os
import random
import signal
import sys
import threading
import time
from typing import NamedTuple

import plasmid
from tests.real import far, far_kinds, leftovers

SECONDS = 600.0
PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")
# What may be found by chance in so short a time; a leak of one small object a call is far above it.
MEMORY_SLOPE_MAX = 2 << 20  # bytes a minute
BLOCKS_SLOPE_MAX = 2000  # a minute
COUNT_SLOPE_MAX = 0.5  # a minute


class Sample(NamedTuple):
    """What is held at one moment."""

    second: float
    memory: float
    descriptors: float
    threads: float
    processes: float
    blocks: float
    far_memory: float
    far_blocks: float


def resident(pid: int) -> int:
    """Return how many bytes of memory a process takes."""
    with open(f"/proc/{pid}/statm") as statm:
        return int(statm.read().split()[1]) * PAGE_SIZE


class Soak:
    """The program. counts: what was done, by its name."""

    def __init__(self, router: plasmid.Router) -> None:
        self.router = router
        self.stays = router.local(name="stays")
        self.counts: dict[str, int] = {}
        self.random = random.Random(1)
        self.far_pid = self.stays.call(os.getpid)
        self._numbers = array.array("d")  # of all samples, one after the other; as objects they would be seen to grow

    def run(self, seconds: float) -> None:
        """Do everything in turn until the time is over."""
        begun = time.monotonic()
        acts = [self.calls, self.calls, self.streams, self.generators, self.commands, self.given_up, self.contexts]
        next_look = begun
        while (now := time.monotonic()) < begun + seconds:
            act = self.random.choice(acts)
            act()
            self.counts[act.__name__] = self.counts.get(act.__name__, 0) + 1
            if now >= next_look:
                next_look = now + 1.0
                self.look(now - begun)

    def look(self, second: float) -> None:
        """Take a sample."""
        gc.collect()
        below = len(leftovers.descendants(os.getpid()))
        held = len(leftovers.descriptors()), threading.active_count(), below, sys.getallocatedblocks()
        far_blocks = self.stays.call(far.allocated_blocks)
        self._numbers.extend(Sample(second, resident(os.getpid()), *held, resident(self.far_pid), far_blocks))

    @property
    def samples(self) -> "list[Sample]":
        """What was held, from look to look."""
        size = len(Sample._fields)
        return [Sample(*self._numbers[at : at + size]) for at in range(0, len(self._numbers), size)]

    def calls(self) -> None:
        """Call functions and services, small and large, down and up."""
        work = self.stays.service(far.Work)
        for number in range(50):
            assert self.stays.call(far.add, number) == number + 10
            assert work.takes_path(path="x") == "x"
        data = os.urandom(300_000)
        assert self.stays.call(far.echo, data) == data
        assert self.stays.call(far.ask_catalog, "key") == ["key", "stays"]

    def streams(self) -> None:
        """Put values up and down."""
        receiver = plasmid.Receiver(self.router)
        self.stays.call_no_reply(far.put_all, receiver.to_sender(), list(range(200)), True)
        assert len(list(receiver)) == 200
        receiver.close()

    def generators(self) -> None:
        """Read some of a generator's items, and drop it."""
        with plasmid.service.stream(self.stays, far_kinds.Kinds, "count", to=10_000) as items:
            assert [next(items) for _ in range(100)] == list(range(100))

    def commands(self) -> None:
        """Run programs: one to its end, one that is stopped."""
        assert plasmid.commands.run(self.stays, ["cat"], input=b"x" * 100_000).status == 0
        with plasmid.commands.start(self.stays, ["yes"]) as command:
            next(command)

    def given_up(self) -> None:
        """Make calls that are cancelled, or run out of time."""
        call = self.stays.call_service_async(far.Work, "run_until_cancelled")
        call.cancel()
        try:
            with plasmid.timeout(0.01):
                self.stays.call_service(far.Work, "run_until_cancelled")
        except plasmid.DeadlineExceeded:
            pass

    def contexts(self) -> None:
        """Make contexts, one below the other, and end them in one of three ways."""
        context = self.router.local(name="comes and goes")
        below = self.router.local(via=context, name="below")
        assert below.call(far.add, 1) == 11
        how = self.random.choice(("shut down", "killed", "lost with its calls"))
        if how == "shut down":
            context.shutdown()
            return
        waiting = below.call_async(far.wait_at_gate) if how == "lost with its calls" else None
        child = self.router.child(context)
        assert child is not None
        os.kill(child.info["pid"], signal.SIGKILL)
        child.gone.wait()
        if waiting is not None:
            assert isinstance(waiting.exception(30), plasmid.ContextLost)


def slope(samples: "list[Sample]", field: str) -> float:
    """Return by how much a field grows in a minute, by least squares."""
    minutes = [sample.second / 60 for sample in samples]
    values = [float(getattr(sample, field)) for sample in samples]
    middle, mean = sum(minutes) / len(minutes), sum(values) / len(values)
    spread = sum((minute - middle) ** 2 for minute in minutes)
    return sum((minute - middle) * (value - mean) for minute, value in zip(minutes, values, strict=True)) / (
        spread or 1
    )


def main() -> int:
    """Run it, and print what grew."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    with plasmid.Router() as router, plasmid.Pool(router, services=[far.Catalog(router)], size=4):
        soak = Soak(router)
        soak.run(seconds)
    print(f"{seconds:.0f} s: " + ", ".join(f"{count} {name}" for name, count in sorted(soak.counts.items())))
    print(
        "\n| held after | 1/4 | 1/2 | 3/4 | all | a minute, second half | last quarter |\n|---|--:|--:|--:|--:|--:|--:|"
    )
    grown = [report(field, soak.samples) for field in Sample._fields[1:]]
    return 1 if any(grown) else 0


def report(field: str, samples: "list[Sample]") -> bool:
    """Print a row of the table; return whether more and more of it is held."""
    half, three = len(samples) // 2, len(samples) * 3 // 4
    grows, grows_late = slope(samples[half:], field), slope(samples[three:], field)
    is_memory, text = "memory" in field, ""
    unit, most = 1.0, BLOCKS_SLOPE_MAX if "blocks" in field else COUNT_SLOPE_MAX
    if is_memory:
        unit, most, text = float(1 << 20), MEMORY_SLOPE_MAX, " MiB"
    held = [getattr(samples[at], field) / unit for at in (len(samples) // 4, half, three, -1)]
    cells = [f"{value:.1f}{text}" for value in held] + [f"{value / unit:+.3f}{text}" for value in (grows, grows_late)]
    print(f"| {field.replace('_', ' ')} | " + " | ".join(cells) + " |", flush=True)
    return grows > most


if __name__ == "__main__":
    sys.exit(main())
