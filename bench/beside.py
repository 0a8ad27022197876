"""Measures small calls beside large transfers: on the same link, both ways, and where somebody reads nothing.

    python bench/beside.py [--mib 1024] [--rounds 3]
    python bench/beside.py --write docs/beside.md    also write the page

Each round measures every row in turn; the table has the medians over the rounds. What must be reached is printed with
it: 20 ms for the 99th percentile beside a transfer of 1 GiB. On a machine that has other work to do the first row, with
nothing beside it, says how much of that isn't ours.
"""

import argparse
import datetime
import os
import signal
import statistics
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

if __name__ == "__main__":
    root = Path(__file__).resolve().parent.parent
    sys.path[:1] = [str(root), str(root / "src")]

import plasmid
from bench import machine
from tests.real import far

INTRODUCTION = """\
# Small calls beside large transfers

How long a call of a service takes, one after the other from one thread, while something large is on its way, measured
by `make bench`. The first row has nothing beside it. The rows take turns; the figures are medians over the rounds.

"""
MUST_P99_S = 0.020
ALONE_CALLS = 2000
MIB = 1 << 20

Call = Callable[[], object]


def timed(call: Call, goes_on: "Callable[[int], bool]") -> "list[float]":
    """Return the seconds that each call takes, for as long as goes_on(how many were made)."""
    times: list[float] = []
    while goes_on(len(times)):
        begun = perf_counter()
        call()
        times.append(perf_counter() - begun)
    return times


@contextmanager
def running(work: Call) -> "Iterator[threading.Thread]":
    """Do this on another thread meanwhile."""
    thread = threading.Thread(target=work)
    thread.start()
    yield thread
    thread.join()


def alone(router: plasmid.Router, context: plasmid.Context, mib: int) -> "list[float]":
    """Measure with nothing beside it."""
    counter = context.service(far.Counter)
    return timed(counter.add, lambda count: count < ALONE_CALLS)


def beside_a_stream_up(router: plasmid.Router, context: plasmid.Context, mib: int) -> "list[float]":
    """Measure while a generator's items come, piece by piece."""
    counter = context.service(far.Counter)

    def take() -> None:
        for _ in context.service(far.Beside).pour(mib):
            pass

    with running(take) as thread:
        return timed(counter.add, lambda count: thread.is_alive())


def beside_a_body_down(router: plasmid.Router, context: plasmid.Context, mib: int) -> "list[float]":
    """Measure while one argument goes there, whole."""
    counter = context.service(far.Counter)
    call = context.call_async(len, bytes(mib * MIB - 1024))
    return timed(counter.add, lambda count: not call.done())


def beside_a_stream_that_nobody_reads(router: plasmid.Router, context: plasmid.Context, mib: int) -> "list[float]":
    """Measure while a generator waits for its reader, on the same link."""
    counter = context.service(far.Counter)
    stopped = context.service(far.Beside).pour.start(mib)
    try:
        return timed(counter.add, lambda count: count < ALONE_CALLS)
    finally:
        stopped.close()


def beside_a_stopped_child(router: plasmid.Router, context: plasmid.Context, mib: int) -> "list[float]":
    """Measure while a sibling that is owed as much is stopped."""
    counter = context.service(far.Counter)
    stopped = router.local(name="stopped")
    pid = stopped.call(os.getpid)
    os.kill(pid, signal.SIGSTOP)
    call = stopped.call_async(len, bytes(mib * MIB - 1024))
    try:
        return timed(counter.add, lambda count: count < ALONE_CALLS)
    finally:
        call.cancel()
        os.kill(pid, signal.SIGKILL)


ROWS = {
    "alone": alone,
    "beside a stream of that size that comes": beside_a_stream_up,
    "beside one argument of that size that goes": beside_a_body_down,
    "beside a stream that nobody reads, on the same link": beside_a_stream_that_nobody_reads,
    "beside a stopped child that is owed that size": beside_a_stopped_child,
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Measure small calls beside large transfers.")
    parser.add_argument("--mib", type=int, default=1024, help="how much is transferred")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured")
    parser.add_argument("--write", type=Path, metavar="FILE", help="also write the page there")
    options = parser.parse_args()
    found: dict[str, list[tuple[int, float, float]]] = {name: [] for name in ROWS}
    for _ in range(options.rounds):
        with plasmid.Router() as router:
            context = router.local(name="beside")
            alone(router, context, 0)
            for name, measure in ROWS.items():
                times = measure(router, context, options.mib)
                cuts = statistics.quantiles(times, n=100)
                found[name].append((len(times), cuts[49], cuts[98]))
    lines = [f"| a small call, {options.mib} MiB | calls | p50 | p99 |", "|---|--:|--:|--:|"]
    is_over = False
    for name, rounds in found.items():
        count, p50_s, p99_s = (statistics.median(column) for column in zip(*rounds, strict=True))
        is_over = is_over or p99_s > MUST_P99_S
        lines.append(f"| {name} | {count:.0f} | {p50_s * 1e3:.2f} ms | {p99_s * 1e3:.2f} ms |")
    lines += ["", f"A p99 of at most {MUST_P99_S * 1e3:.0f} ms must be reached: {'**no**' if is_over else 'yes'}.", ""]
    lines += [f"- {line}" for line in machine.description()[:2]]
    lines.append(f"- {options.rounds} rounds on {datetime.date.today().isoformat()}")
    lines.append(f"- the load was {os.getloadavg()[0]:.1f} at their end")
    print("\n".join(lines))
    if options.write:
        options.write.write_text(INTRODUCTION + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
