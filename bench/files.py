"""Measures files on their way beside the programs that one would use otherwise, in turns, round after round.

    python bench/files.py                    five rounds of everything
    python bench/files.py --rounds 9         more of them
    python bench/files.py --quick            one round of small files: to see that all works

What counts is the ratio within a round. Plasmid's figures include that all is verified, which the others don't do.
"""

import argparse
import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

if __name__ == "__main__":
    root = Path(__file__).resolve().parent.parent
    sys.path[:1] = [str(root), str(root / "src")]

import plasmid
from bench import moves, sshd
from bench.moves import MIB, SMALL_SIZE, cat_or_tar
from bench.subject import NotOffered

ROUNDS = 5
FULL_FILE_MIB = 256
FULL_COUNT = 2000
QUICK_FILE_MIB = 2
QUICK_COUNT = 50


class Way(NamedTuple):
    """One way to move it. name: as shown. move: does it, to a destination that isn't there yet."""

    name: str
    move: "Callable[[Path], object]"


class Race(NamedTuple):
    """Several ways to move the same. amount: of `unit`, which is divided by the seconds. The first is the measure."""

    title: str
    amount: float
    unit: str
    ways: "list[Way]"


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, metavar="N", help=f"how often each is measured; {ROUNDS} unless told")
    parser.add_argument("--quick", action="store_true", help="one round of small files: to see that all works")
    options = parser.parse_args()
    rounds = options.rounds or (1 if options.quick else ROUNDS)
    with tempfile.TemporaryDirectory(prefix="plasmid-bench-files-") as name, contextlib.ExitStack() as held:
        folder = Path(name)
        file, tree = sources(folder, options.quick)
        router = held.enter_context(plasmid.Router())
        races = [*local_races(router, file, tree), *ssh_races(router, held, file)]
        samples: dict[tuple[str, str], list[float]] = {}
        for number in range(rounds):
            for race in races:
                for way in race.ways if number % 2 else reversed(race.ways):
                    there = Path(tempfile.mkdtemp(dir=folder)) / "there"
                    samples.setdefault((race.title, way.name), []).append(race.amount / timed(way, there))
    for race in races:
        print_race(race, samples)
    print(f"{rounds} rounds; the machine's load is {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    return 0


def sources(folder: Path, quick: bool) -> "tuple[Path, Path]":
    """Make the large file and the folder of small ones."""
    file = moves.large_file(folder / "file", QUICK_FILE_MIB if quick else FULL_FILE_MIB)
    return file, moves.tree(folder / "tree", QUICK_COUNT if quick else FULL_COUNT)


def local_races(router: plasmid.Router, file: Path, tree: Path) -> "Iterator[Race]":
    """Give what is moved on this machine."""
    child = router.local(name="local")
    plasmid.files.fetch(child, "/etc/passwd", file.with_name("first"))  # the modules have gone there afterwards
    size = file.stat().st_size // MIB
    count = sum(1 for path in tree.glob("*/*"))
    yield Race(
        f"one file of {size} MiB, local",
        size,
        "MiB/s",
        [
            Way("cat", lambda there: cat_or_tar(file, there)),
            Way("fetch", lambda there: plasmid.files.fetch(child, file, there)),
            Way("put", lambda there: plasmid.files.put(child, file, there)),
        ],
    )
    yield Race(
        f"{count} files of {SMALL_SIZE // 1024} KiB, local",
        count,
        "files/s",
        [
            Way("tar", lambda there: cat_or_tar(tree, there)),
            Way("fetch", lambda there: plasmid.files.fetch(child, tree, there)),
            Way("put", lambda there: plasmid.files.put(child, tree, there)),
        ],
    )


def ssh_races(router: plasmid.Router, held: contextlib.ExitStack, file: Path) -> "Iterator[Race]":
    """Give what is moved over a private ssh server, if there can be one."""
    try:
        arguments = held.enter_context(sshd.running())
    except NotOffered as reason:
        print(f"nothing over ssh: {reason}", file=sys.stderr)
        return
    far = router.ssh("bench", ssh_args=arguments, name="far")
    held.callback(far.shutdown)
    plasmid.files.fetch(far, "/etc/passwd", file.with_name("first"))
    size = file.stat().st_size // MIB
    # Neither logs in while it is measured: scp goes by a connection that is there, as fetch and put do.
    scp = held.enter_context(moves.scp(arguments, file.parent))
    yield Race(
        f"one file of {size} MiB over ssh",
        size,
        "MiB/s",
        [
            Way("scp", lambda there: scp.fetch(file, there)),
            Way("fetch", lambda there: plasmid.files.fetch(far, file, there)),
            Way("put", lambda there: plasmid.files.put(far, file, there)),
        ],
    )


def timed(way: Way, there: Path) -> float:
    """Return the seconds that it takes. A folder stays, see moves.TREE_TIMES."""
    start = perf_counter()
    way.move(there)
    seconds = perf_counter() - start
    if there.is_file():
        there.unlink()
    return seconds


def print_race(race: Race, samples: "dict[tuple[str, str], list[float]]") -> None:
    """Print the medians, and the medians of the ratios within a round."""
    print(race.title)
    measure = samples[race.title, race.ways[0].name]
    for way in race.ways:
        own: list[Any] = samples[race.title, way.name]
        ratio = median(mine / others for mine, others in zip(own, measure, strict=True))
        print(f"    {way.name:6} {median(own):8.0f} {race.unit:8} {ratio:5.2f} x {race.ways[0].name}")


if __name__ == "__main__":
    sys.exit(main())
