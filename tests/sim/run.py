"""Simulate many worlds: python -m tests.sim.run [SEEDS] [FIRST]; make sim SEEDS=5000.

Prints each failure with what it takes to see it again, and one number for all that happened: the same for the same
seeds.
Ends with status 1 if a world broke a promise.
"""

import sys
import zlib

from tests.sim.records import Violation
from tests.sim.test_sim import SEEDS, simulate


def main() -> int:
    """Simulate them."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else SEEDS
    first = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    trace = calls = failed = 0
    for seed in range(first, first + count):
        try:
            world = simulate(seed)
        except Violation as error:
            failed += 1
            print(error)
            continue
        calls += len(world.calls)
        trace = zlib.crc32(world.trace.to_bytes(4, "big"), trace)
    print(f"{count} seeds from {first}, {calls} calls, {failed} failed, trace {trace:08x}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
