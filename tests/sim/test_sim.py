"""Random trees of contexts under a fake clock and network: every call ends once, as it should; nothing is left over.

A seed is a world. When one fails, the message says how to see it again. See `world.py` for what happens in a world,
`records.py` and `checks.py` for what is checked.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.sim.conftest import SEED_VARIABLE
from tests.sim.records import Violation
from tests.sim.world import World

SEEDS = 500
BATCH = 10

# Seeds that failed once, and what they showed. They mean other worlds whenever the simulation itself changes, so each
# fault has a test of its own as well where it is fixed.
FAILED_ONCE = (
    1,  # a long call without reply was refused, and its sender waited for credit for ever
    3,  # a value overtook the end of a long one at a relay
    14,  # the end of a stream overtook its last, long value
    47,  # contexts that two others had merely overloaded were taken for lost
    60,  # (of the simulation itself) a stream that a lowered limit had broken was missed
    119,  # what 47 showed, for a stream
    125,  # the loss of a context above the caller was told to nobody
    191,  # what 47 showed, for a call below another one
)


def simulate(seed: int) -> World:
    """Run one world; a failure says how to run it again."""
    world = World(seed)
    try:
        world.run()
    except Exception as error:
        raise Violation(
            "seed %d at %.6f s: %s: %s\nto see it again: python -m pytest tests/sim --seed %d"
            % (seed, world.clock.now, type(error).__name__, error, seed)
        ) from error
    return world


def seeds_of(batch: int) -> "list[int]":
    """Return the seeds of one batch; the one that was asked for, if any, is all there is."""
    chosen = os.environ.get(SEED_VARIABLE)
    if chosen is not None:
        return [int(chosen)] if batch == 0 else []
    return list(range(batch * BATCH, (batch + 1) * BATCH))


# D1, D2, D3, D4, D5, D6, D7, D12
@pytest.mark.parametrize("batch", range(SEEDS // BATCH))
def test_every_call_in_a_random_world_ends_once_and_as_it_should(
    batch: int, record_property: "Callable[[str, object], None]"
) -> None:
    seeds = seeds_of(batch)
    worlds = [simulate(seed) for seed in seeds]
    record_property("seeds", len(worlds))
    record_property("calls", sum(len(world.calls) for world in worlds))


@pytest.mark.parametrize("seed", FAILED_ONCE)
def test_a_world_that_once_failed_holds(seed: int) -> None:
    simulate(seed)


def test_a_seed_means_the_same_world_each_time_and_in_every_process() -> None:
    seeds = (0, 7, 11)
    here = [simulate(seed).trace for seed in seeds]
    program = "import sys; from tests.sim.test_sim import simulate; "
    program += "print([simulate(int(seed)).trace for seed in sys.argv[1:]])"
    root = Path(__file__).parents[2]
    result = subprocess.run(
        [sys.executable, "-c", program, *map(str, seeds)],
        cwd=root,
        env=dict(os.environ, PYTHONPATH=os.pathsep.join([str(root / "src"), str(root)]), PYTHONHASHSEED="12345"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.stdout, result.stderr) == ("%s\n" % here, "")
    assert [simulate(seed).trace for seed in seeds] == here


def test_two_seeds_are_two_worlds() -> None:
    assert simulate(5).trace != simulate(6).trace
