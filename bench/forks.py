"""Measures clones beside new local contexts, in turns, round after round.

    python bench/forks.py                    nine rounds
    python bench/forks.py --rounds 15        more of them
    python bench/forks.py --quick            one round: to see that all works

Each way ends with a context that has imported the same modules of the standard library and has answered a call.
"""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter

if __name__ == "__main__":
    root = Path(__file__).resolve().parent.parent
    sys.path[:1] = [str(root), str(root / "src")]

import plasmid

ROUNDS = 9
# What takes a context a while to import, and some memory.
MODULES = ("asyncio", "decimal", "email.message", "http.client", "json", "sqlite3", "ssl", "xml.etree.ElementTree")


def warm_up(names: "list[str]") -> int:
    """Import these modules; return the process id."""
    for name in names:
        __import__(name)
    return os.getpid()


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, metavar="N", help=f"how often each is measured; {ROUNDS} unless told")
    parser.add_argument("--quick", action="store_true", help="one round: to see that all works")
    options = parser.parse_args()
    rounds = options.rounds or (1 if options.quick else ROUNDS)
    samples: dict[str, list[float]] = {}
    memory: dict[str, list[float]] = {}
    with plasmid.Router() as router:
        warm = router.local(name="warm")
        warm.call(warm_up, MODULES)
        router.fork(warm).shutdown()  # the first one has the code for clones sent
        ways: dict[str, Callable[[], plasmid.Context]] = {
            "a new local context": router.local,
            "the same by way of the warm one": lambda: router.local(via=warm),
            "a clone of the warm one": lambda: router.fork(warm),
        }
        for number in range(rounds):
            for name in list(ways) if number % 2 else list(ways)[::-1]:
                begun = perf_counter()
                context = ways[name]()
                pid = context.call(warm_up, MODULES)
                samples.setdefault(name, []).append((perf_counter() - begun) * 1000)
                memory.setdefault(name, []).append(pss_mib(pid))
                context.shutdown()
    least = median(samples["a new local context"])
    print(f"{'':34} {'ms':>7} {'ratio':>6} {'PSS MiB':>8}")
    for name in ways:
        values = samples[name]
        print(f"{name:34} {median(values):7.1f} {median(values) / least:6.3f} {median(memory[name]):8.1f}")
    print(f"{rounds} rounds; the machine's load is {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    return 0


def pss_mib(pid: int) -> float:
    """Return the memory of a process, with its share of what it shares with others."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("Pss:")).split()[1]) / 1024


if __name__ == "__main__":
    sys.exit(main())
