"""A program that uses everything for a while, and whether it holds more and more.

    python -m tests.trials.soak [SECONDS]      600 by default; make soak SECONDS=600

Calls of functions and services, calls up, streams, generators, commands, calls that are cancelled or run out of time,
and contexts that are made and shut down or killed. Once a second it looks at its own memory, descriptors and threads,
at the processes below it, and at the memory of a context that stays; at the end it prints their slopes over the second
half. Ends with status 1 if a count grows, or memory by more than is allowed.
"""

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
COUNT_SLOPE_MAX = 0.5  # a minute


class Sample(NamedTuple):
    """What is held at one moment."""

    second: float
    memory: int
    descriptors: int
    threads: int
    processes: int
    far_memory: int


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
        self.samples: list[Sample] = []

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
        held = len(leftovers.descriptors()), threading.active_count(), below
        self.samples.append(Sample(second, resident(os.getpid()), *held, resident(self.far_pid)))

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
    hours = [sample.second / 60 for sample in samples]
    values = [float(getattr(sample, field)) for sample in samples]
    middle, mean = sum(hours) / len(hours), sum(values) / len(values)
    spread = sum((hour - middle) ** 2 for hour in hours)
    return sum((hour - middle) * (value - mean) for hour, value in zip(hours, values, strict=True)) / spread


def main() -> int:
    """Run it, and print what grew."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    with plasmid.Router() as router, plasmid.Pool(router, services=[far.Catalog(router)], size=4):
        soak = Soak(router)
        soak.run(seconds)
    later = soak.samples[len(soak.samples) // 2 :]
    print(f"{seconds:.0f} s: " + ", ".join(f"{count} {name}" for name, count in sorted(soak.counts.items())))
    print("\n| held | at half time | at the end | a minute |\n|---|--:|--:|--:|")
    failed = False
    for field in Sample._fields[1:]:
        grows = slope(later, field)
        is_memory = "memory" in field
        failed = failed or grows > (MEMORY_SLOPE_MAX if is_memory else COUNT_SLOPE_MAX)
        unit = 1 << 20 if is_memory else 1
        first, last = (getattr(sample, field) / unit for sample in (later[0], later[-1]))
        text = "MiB" if is_memory else ""
        print(f"| {field.replace('_', ' ')} | {first:.1f} {text} | {last:.1f} {text} | {grows / unit:+.3f} {text} |")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
