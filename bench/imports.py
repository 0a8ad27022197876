"""Measures how long an import takes on a far side, from memory, beside an import from its own disk.

    python bench/imports.py                  25 rounds, a minute
    python bench/imports.py --rounds 5       fewer of them
    python bench/imports.py --quick          one round of ten modules: to see that all works
    python bench/imports.py --write FILE     also write the page there

Every round is a program of its own, in which each way takes its turn with a new child: the import is timed in that
child, by itself. What counts is the ratio to the import from disk with .pyc within a round.
"""

import argparse
import datetime
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

if __name__ == "__main__":
    root = Path(__file__).resolve().parent.parent
    sys.path[:1] = [str(root), str(root / "src")]

import plasmid
from bench import far_imports, machine, pythons

ROUNDS = 25
MODULES = 100
QUICK_MODULES = 10
HUNDRED = "bench_hundred"


class Case(NamedTuple):
    """Something to import. packages: the top-level names that it consists of. must: its limit, as a ratio."""

    title: str
    name: str
    packages: "tuple[str, ...]"
    must: float


CASES = (
    Case("{count} modules made for this", HUNDRED, (HUNDRED,), 1.5),
    Case("`rich.console`", "rich.console", ("rich", "pygments", "markdown_it", "mdurl", "typing_extensions"), 1.9),
    Case("`jinja2`", "jinja2", ("jinja2", "markupsafe"), 1.9),
)


class Way(NamedTuple):
    """One way for modules to reach a child."""

    key: str
    title: str


DISK_COMPILED = Way("compiled", "from its disk, with .pyc")
DISK_SOURCE = Way("source", "from its disk, without .pyc")
FIRST = Way("first", "sent to the first child that wants it")
NEXT = Way("next", "sent to the next child")
PRELOADED = Way("preloaded", "sent ahead by `preload()`")
WAYS = (DISK_COMPILED, DISK_SOURCE, FIRST, NEXT, PRELOADED)

INTRODUCTION = """\
# How long an import takes

What it takes to import modules on a far side that has none of them, beside an import from a disk of its own, measured
by `make bench-imports`.

Every round is a program of its own, in which each way takes its turn with a new local child. That child times the
import and counts what it asks its parent meanwhile. *ratio* is the median of the ratios to the import from disk with
`.pyc` within each round; *must* is how large it may be. What of the standard library the modules import comes from the
disk each time. For the first child that wants a module the near side has to find, read and pack it, and what it
imports; the child loads the first of them meanwhile. For later children that is done.

"""


def main() -> int:
    """Run the command line; return the exit status: 1 where a limit isn't kept."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, metavar="N", help=f"how often each is measured; {ROUNDS} unless told")
    parser.add_argument("--quick", action="store_true", help="one round of few modules: to see that all works")
    parser.add_argument("--write", type=Path, metavar="FILE", help="also write the page there")
    parser.add_argument("--worker", nargs=2, metavar=("FOLDER", "ROUND"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(list(measured(Path(options.worker[0]), int(options.worker[1])))))
        return 0
    rounds = options.rounds or (1 if options.quick else ROUNDS)
    count = QUICK_MODULES if options.quick else MODULES
    with tempfile.TemporaryDirectory(prefix="plasmid-bench-imports-") as name:
        folder = Path(name)
        make_folders(folder, count)
        samples = [sample for number in range(rounds) for sample in one_round(folder, number)]
    lines = [line.replace("{count}", str(count)) for line in table(samples)]
    print("\n".join([*lines, "", *surroundings(rounds)]))
    if options.write:
        options.write.write_text(INTRODUCTION + "\n".join([*lines, "", *surroundings(rounds)]) + "\n")
    return 0


def make_folders(folder: Path, count: int) -> None:
    """Put all that is imported below `folder` three times: compiled, as source alone, and as the near side has it."""
    near = folder / "near"
    write_hundred(near / HUNDRED, count)
    for case in CASES:
        for package in case.packages:
            copy_package(package, near)
    for way in (DISK_COMPILED, DISK_SOURCE):
        shutil.copytree(near, folder / way.key)
    for compiled in (near, folder / DISK_COMPILED.key):
        argv = [pythons.BARE_PYTHON, "-m", "compileall", "-q", str(compiled)]
        subprocess.run(argv, stdin=subprocess.DEVNULL, check=True)


def write_hundred(folder: Path, count: int) -> None:
    """Write a package of so many modules, each of which but the last ones imports two others."""
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(f"from {HUNDRED} import part0\n")
    for number in range(count - 1):
        below = [one for one in (2 * number + 1, 2 * number + 2) if one < count - 1]
        after = "".join(f"from {HUNDRED} import part{one}\n" for one in below)
        functions = "".join(
            f'\n\ndef total_{one}(prices, rate={one}):\n    """Return the sum of `prices` with {one} percent more."""\n'
            "    found = []\n    for price in prices:\n        if price < 0:\n"
            '            raise ValueError("a price below nothing: %r" % (price,))\n'
            "        found.append(price * (100 + rate) / 100)\n    return sum(found)\n"
            for one in range(8)
        )
        (folder / f"part{number}.py").write_text(
            f'"""Part {number} of a program in many modules."""\n\n{after}{functions}'
        )


def copy_package(package: str, folder: Path) -> None:
    """Copy an installed package, or module, without what Python keeps compiled."""
    if (folder / package).exists():
        return
    sites = [Path(path) for path in sys.path if path]
    for site in sites:
        if (site / package / "__init__.py").is_file():
            shutil.copytree(site / package, folder / package, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
            return
        if (site / f"{package}.py").is_file():
            shutil.copy(site / f"{package}.py", folder)
            return
    if package != "typing_extensions":  # which newer Pythons do without
        raise SystemExit(f"{package} isn't installed; `make bench-imports` does that")


def one_round(folder: Path, number: int) -> "list[dict[str, Any]]":
    """Return what a fresh program measures."""
    argv = [sys.executable, __file__, "--worker", str(folder), str(number)]
    # The folders are on the near side's path alone, and nothing is compiled where it is to be without.
    environment = dict(os.environ, PYTHONDONTWRITEBYTECODE="1")
    run = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=environment, check=True)
    found: list[dict[str, Any]] = json.loads(run.stdout)
    return [dict(sample, round=number) for sample in found]


def measured(folder: Path, number: int) -> "Iterator[dict[str, Any]]":
    """Measure each case in each way; the order of both moves on with each round."""
    sys.path.insert(0, str(folder / "near"))
    for case in turned(CASES, number):
        # A server of modules of its own, which has read and packed nothing yet.
        with plasmid.Router(allow_modules=list(case.packages)) as router:
            for way in turned(WAYS, number):
                if way is NEXT:
                    continue  # it follows the first
                for one in (FIRST, NEXT) if way is FIRST else (way,):
                    yield {"case": case.name, "way": one.key, **measure(router, case, one, folder)}


def turned(items: "tuple[Any, ...]", number: int) -> "tuple[Any, ...]":
    """Return the items, beginning with another one in each round."""
    start = number % len(items)
    return items[start:] + items[:start]


def measure(router: plasmid.Router, case: Case, way: Way, folder: Path) -> "dict[str, Any]":
    """Have a new child import it; return how long that took and what it asked for."""
    child = router.local(python_path=pythons.BARE_PYTHON)
    on_disk = way in (DISK_COMPILED, DISK_SOURCE)
    child.call(far_imports.get_ready, str(folder / way.key) if on_disk else "")
    if way is PRELOADED:
        child.preload(case.name)
    seconds, modules, questions, size = child.call(far_imports.time_import, case.name)
    child.shutdown()
    return {"seconds": seconds, "modules": modules, "questions": questions, "size": size}


def table(samples: "list[dict[str, Any]]") -> "list[str]":
    """Return the lines of the table."""
    lines = ["| import | modules | way | ms | ratio | must | round trips | KiB |", "|---|--:|---|--:|--:|---|--:|--:|"]
    for case in CASES:
        own = [sample for sample in samples if sample["case"] == case.name]
        base = {sample["round"]: sample["seconds"] for sample in own if sample["way"] == DISK_COMPILED.key}
        for way in WAYS:
            of_way = [sample for sample in own if sample["way"] == way.key]
            ratio = median(sample["seconds"] / base[sample["round"]] for sample in of_way)
            sent = max(sample["modules"] for sample in own)
            must = f"≤ {case.must:g}: {'yes' if ratio <= case.must else '**no**'}" if way in (FIRST, NEXT) else ""
            trips, size = (median(sample[key] for sample in of_way) for key in ("questions", "size"))
            asked = f"{trips:.0f} | {size / 1024:.0f}" if way not in (DISK_COMPILED, DISK_SOURCE) else "– | –"
            lines.append(
                f"| {case.title} | {sent} | {way.title} | {1000 * median(s['seconds'] for s in of_way):.1f} "
                f"| {ratio:.2f} | {must} | {asked} |"
            )
    return lines


def surroundings(rounds: int) -> "list[str]":
    """Return what to say beside the figures."""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("rich", "jinja2"))
    return [
        *(f"- {line}" for line in machine.description()[:2]),
        f"- plasmid {metadata.version('plasmid')}, {versions}",
        f"- {rounds} rounds on {datetime.date.today().isoformat()}; the load was {os.getloadavg()[0]:.1f} at their end",
    ]


if __name__ == "__main__":
    sys.exit(main())
