"""The command line, and the order of things: all figures and subjects take turns, round after round."""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from bench import machine, pythons, report
from bench.figures import COMPARED, FIGURES, Figure
from bench.reasons import known
from bench.worker import ADAPTERS, OWN, PEERS, Failed, adapter, measure, work

ROUNDS = 5
QUIET_LOOK_S = 0.2


def main() -> int:
    """Run the command line; return the exit status: 1 where Plasmid or the limit gave no figure."""
    options = parse()
    if options.worker:
        subject, measurement = options.worker
        work(subject, measurement, options.quick)
        return 0
    figures = wanted(options.only)
    subjects = installed(dict(OWN, **PEERS) if options.peers else OWN)
    rounds = options.rounds or (1 if options.quick else ROUNDS)
    with tempfile.TemporaryDirectory(prefix="plasmid-bench-") as folder:
        samples, *others = [
            report.Samples(python, *(compared(figures, subjects) if number else (figures, subjects)))
            for number, python in enumerate(pythons.measured(Path(folder)))
        ]
        run([samples, *others], rounds, options.quick, Path(folder))
    if options.json:
        print(json.dumps(report.as_values(samples, rounds)))
    else:
        for one in (samples, *others):
            print(report.as_text(report.cells(one)), end="\n\n")
            print("\n".join(report.surroundings(one, rounds)))
            for line in report.unmet(one, known()):
                print("not reached:", line)
    if options.write:
        options.write.write_text(report.page(samples, others, rounds))
    return 1 if any(name in OWN for one in (samples, *others) for _, name in one.failures) else 0


def parse() -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(description="Measure Plasmid against the raw limit and its peers.")
    parser.add_argument("--only", metavar="FIGURES", default="", help="figures or measurements, comma-separated")
    parser.add_argument("--rounds", type=int, metavar="N", help=f"how often each is measured; {ROUNDS} unless told")
    parser.add_argument("--quick", action="store_true", help="one short round: to see that all works")
    parser.add_argument("--peers", action="store_true", help=f"also those installed of {', '.join(PEERS)}")
    parser.add_argument("--write", type=Path, metavar="FILE", help="also write the page there")
    parser.add_argument("--json", action="store_true", help="print the figures for programs")
    parser.add_argument("--worker", nargs=2, metavar=("SUBJECT", "MEASUREMENT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    known = {figure.name for figure in FIGURES} | {figure.measurement for figure in FIGURES}
    unknown = [name for name in options.only.split(",") if name and name not in known]
    if unknown:
        parser.error(f"there is no figure {unknown[0]}; there are {', '.join(figure.name for figure in FIGURES)}")
    if options.rounds is not None and options.rounds < 1:
        parser.error("--rounds must be at least 1")
    return options


def wanted(only: str) -> "list[Figure]":
    """Return the figures that were asked for, all where none was."""
    names = [name for name in only.split(",") if name]
    return [one for one in FIGURES if not names or one.name in names or one.measurement in names]


def installed(names: "dict[str, str]") -> "dict[str, str]":
    """Return the versions of those subjects whose libraries are there."""
    found = {}
    for name in names:
        try:
            found[name] = adapter(name).version
        except ImportError:
            print(f"{name} isn't installed", file=sys.stderr)
    return found


def compared(figures: "list[Figure]", subjects: "dict[str, str]") -> "tuple[list[Figure], dict[str, str]]":
    """Return what is measured with one more interpreter: the figures, and those that they must be compared with."""
    figures = [figure for figure in figures if figure.name in COMPARED]
    names = {*OWN, *(figure.must.to for figure in figures if figure.must)}
    return figures, {name: version for name, version in subjects.items() if name in names}


def run(all_samples: "list[report.Samples]", rounds: int, quick: bool, folder: Path) -> None:
    """Measure; the subjects of one measurement directly follow one another. folder: for temporary files."""
    for number in range(rounds):
        for samples in all_samples:
            samples.busy.append(busy())
        for measurement in dict.fromkeys(figure.measurement for figure in all_samples[0].figures):
            print(f"round {number + 1} of {rounds}: {measurement}", file=sys.stderr)
            for samples in all_samples:
                # Every other round in the other order, so that none always has the better place.
                for subject in sorted(samples.subjects, key=list(ADAPTERS).index, reverse=bool(number % 2)):
                    take(samples, measurement, subject, number, quick, folder)


def take(samples: report.Samples, measurement: str, subject: str, number: int, quick: bool, folder: Path) -> None:
    """Measure one subject in one round, if any of these figures come of that."""
    names = {figure.name for figure in samples.figures if figure.measurement == measurement}
    if not names:
        return
    try:
        values = measure(subject, measurement, quick, samples.python.executable, folder)
    except Failed as error:
        samples.failures[measurement, subject] = str(error)
        return
    for name in names & values.keys():
        samples.add(name, subject, number, values[name])


def busy() -> float:
    """Return what part of all cores is in use while nothing is measured."""
    busy_before, all_before = machine.ticks()
    time.sleep(QUIET_LOOK_S)
    busy_after, all_after = machine.ticks()
    return (busy_after - busy_before) / max(1, all_after - all_before)
