"""The table: medians over the rounds, ratios within each round, how far they spread, and what must be reached."""

import datetime
from statistics import median, quantiles
from typing import NamedTuple

from bench import machine
from bench.figures import Figure, Target
from bench.pythons import Python
from bench.reasons import NONE_YET, known

INTRODUCTION = """\
# Performance

How Plasmid compares with what the machine allows{and_peers}, measured by `make bench`.

*raw* is the limit: two processes and a socketpair, one frame each way, a small dict through the C codec at both ends,
and nothing else; for a boot, a child that gets less than 2 KiB of source, and that codec. A service call of Plasmid
does all of that, and is routed, checked, authorised and given to a pool. For files it is `cat`, `scp` and `tar`, which
don't verify what came, as Plasmid does. *x raw* is the median of the ratios within
each round: absolute figures move with whatever else the machine does, ratios far less. *spread* is half the distance
between the quartiles of that ratio, or of the figure itself where there is none, in percent of the median.

Latencies are taken with all processes pinned to one core, since what it costs to hand over between threads varies
with their places; rates and the start of many children are taken on all cores. All figures take turns, one process
for each, in {rounds} rounds. Both sides run the system's own Python, as far machines have it, where that is of the
version that the environment of `make bench` has.

Memory is looked at beside eight other interpreters: what processes share counts by their parts in it. No file of a
folder of small ones is removed before all is measured: ext4 would look at each freed inode again whenever one is made.
"""


FURTHER = """\
How the cost of a frame, and of a loss, grows with the tree is told in [scale](scale.md), and what a large
transfer costs the small calls beside it in [beside](beside.md).
"""
ANOTHER = """\
## With an interpreter whose code lies elsewhere in each process

An interpreter that is a program by itself, as Debian's is, may have its code at the same address in each of its
processes. One that is a shared library (`--enable-shared`) has it at another address each time, as the system's
randomization of addresses has it. Processes that take turns on one core then find little of what the processor has
learnt of their branches, and Python is mostly branches: with all else equal a call takes 40 percent longer, see
docs/design/0021. Whoever chooses an interpreter can choose; Plasmid can't.
"""


class Samples:
    """What was measured with one interpreter: by figure and subject, a value for each round that gave one."""

    def __init__(self, python: Python, figures: "list[Figure]", subjects: "dict[str, str]") -> None:
        self.python = python
        self.figures = figures
        self.subjects = subjects  # name and version, in the order of the columns
        self.values: dict[tuple[str, str], dict[int, float]] = {}
        self.failures: dict[tuple[str, str], str] = {}
        self.busy: list[float] = []

    def add(self, figure: str, subject: str, round_number: int, value: float) -> None:
        """Take a value in."""
        self.values.setdefault((figure, subject), {})[round_number] = value

    def of(self, figure: str, subject: str) -> "list[float]":
        """Return the values of all rounds."""
        return list(self.values.get((figure, subject), {}).values())

    def ratios(self, figure: str, subject: str, to: str) -> "list[float]":
        """Return, for each round that has both, how many times the figure of `to` that of `subject` is."""
        others = self.values.get((figure, to), {})
        mine = self.values.get((figure, subject), {})
        return [value / others[number] for number, value in mine.items() if others.get(number)]


class Row(NamedTuple):
    """One figure, worked out."""

    figure: Figure
    medians: "dict[str, float]"
    ratio: "float | None"
    spread_percent: "float | None"
    must: "bool | None"
    goal: "bool | None"


def rows(samples: Samples) -> "list[Row]":
    """Return a row for each figure that has a value."""
    found = []
    for figure in samples.figures:
        medians = {name: median(values) for name in samples.subjects if (values := samples.of(figure.name, name))}
        if not medians:
            continue
        ratios = samples.ratios(figure.name, "plasmid", "raw")
        spread_of = ratios or samples.of(figure.name, "plasmid") or samples.of(figure.name, "raw")
        found.append(
            Row(
                figure,
                medians,
                median(ratios) if ratios else None,
                spread_percent(spread_of),
                is_met(samples, figure, figure.must),
                is_met(samples, figure, figure.goal),
            )
        )
    return found


def is_met(samples: Samples, figure: Figure, target: "Target | None") -> "bool | None":
    """Return whether Plasmid reaches it; None where that can't be told."""
    if target is None:
        return None
    if target.to:
        values = samples.ratios(figure.name, "plasmid", target.to)
    else:
        values = [figure.in_unit(value) for value in samples.of(figure.name, "plasmid")]
    return target.is_met(median(values)) if values else None


def spread_percent(values: "list[float]") -> "float | None":
    """Return half the distance between the quartiles, in percent of the median."""
    if len(values) < 3 or not median(values):
        return None
    low, _, high = quantiles(values, n=4, method="inclusive")
    return abs(50 * (high - low) / median(values))


def cells(samples: Samples) -> "list[list[str]]":
    """Return the table with its heading."""
    peers = [name for name in samples.subjects if name not in ("raw", "plasmid")]
    table = [["figure", "unit", "raw", "Plasmid", "x raw", "spread", "must", "goal", *peers]]
    for row in rows(samples):
        figure = row.figure
        table.append(
            [
                figure.title,
                figure.unit,
                *(shown(figure, row, name) for name in ("raw", "plasmid")),
                "" if row.ratio is None else f"{row.ratio:.2f}",
                "" if row.spread_percent is None else f"{row.spread_percent:.0f} %",
                with_mark(figure, figure.must, row.must),
                with_mark(figure, figure.goal, row.goal),
                *(shown(figure, row, name) for name in peers),
            ]
        )
    return table


def shown(figure: Figure, row: Row, name: str) -> str:
    """Return one subject's value, – for none."""
    return figure.shown(row.medians[name]) if name in row.medians else "–"


def with_mark(figure: Figure, target: "Target | None", met: "bool | None") -> str:
    """Return a target and whether it is reached."""
    if target is None:
        return ""
    return target.text(figure.unit) + {None: "", True: ": yes", False: ": **no**"}[met]


def as_text(table: "list[list[str]]") -> str:
    """Return the table for a terminal."""
    table = [[cell.replace("**", "") for cell in line] for line in table]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = []
    for line in table:
        first, *others = (cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        lines.append("  ".join([line[0].ljust(len(first)), *others]).rstrip())
    return "\n".join(lines)


def as_markdown(table: "list[list[str]]") -> str:
    """Return the table for the page."""
    heading, *lines = table
    right = ["---", "---", *["--:"] * (len(heading) - 2)]
    return "\n".join("| " + " | ".join(line) + " |" for line in [heading, right, *lines])


def unmet(samples: Samples, reasons: "dict[str, str]") -> "list[str]":
    """Return a line for each figure that must be reached and isn't, with the reason."""
    return [
        f"{row.figure.title}, {row.figure.must.text(row.figure.unit)}: {reasons.get(row.figure.name, NONE_YET)}"
        for row in rows(samples)
        if row.must is False and row.figure.must is not None
    ]


def surroundings(samples: Samples, rounds: int) -> "list[str]":
    """Return what to know beside the figures: the machine, versions, the noise, the date."""
    versions = ", ".join(f"{name} {version}" for name, version in samples.subjects.items() if name != "raw")
    raw_calls = samples.of("call_down", "raw")
    noise = f"{median(samples.busy):.0%} of all cores was taken by others" if samples.busy else "not looked at"
    if len(raw_calls) > 1:
        low, high = min(raw_calls) * 1e6, max(raw_calls) * 1e6
        noise += f"; the raw call took from {low:.1f} to {high:.1f} µs over the rounds"
    return [
        *machine.description(samples.python.description()),
        versions,
        f"{rounds} rounds on {datetime.date.today().isoformat()}",
        f"Noise: {noise}",
        *failures(samples),
    ]


def failures(samples: Samples) -> "list[str]":
    """Return a line for each measurement that ended without figures."""
    return [f"{name} gave no {figure}: {why}" for (figure, name), why in samples.failures.items()]


def page(samples: Samples, others: "list[Samples]", rounds: int) -> str:
    """Return docs/performance.md."""
    and_peers = " and with its peers" if len(samples.subjects) > 2 else ""
    return "\n".join(
        [
            INTRODUCTION.format(and_peers=and_peers, rounds=rounds),
            *table_with_reasons(samples, "## What isn't reached, and why\n", rounds),
            FURTHER,
            *(part for one in others if one.figures for part in [ANOTHER, *table_with_reasons(one, "", rounds)]),
        ]
    )


def table_with_reasons(samples: Samples, heading: str, rounds: int) -> "list[str]":
    """Return the table, what to know beside it, and what it says that isn't reached."""
    parts = [
        as_markdown(cells(samples)) + "\n",
        "\n".join("- " + line for line in surroundings(samples, rounds)) + "\n",
    ]
    missed = unmet(samples, known())
    if missed:
        parts += [*([heading] if heading else []), "\n".join("- " + line for line in missed) + "\n"]
    return parts


def as_values(samples: Samples, rounds: int) -> "dict[str, object]":
    """Return all of it for programs."""
    return {
        "surroundings": surroundings(samples, rounds),
        "figures": {
            row.figure.name: {
                "unit": row.figure.unit,
                "medians": {name: row.figure.in_unit(value) for name, value in row.medians.items()},
                "ratio": row.ratio,
                "spread_percent": row.spread_percent,
                "must": row.must,
                "goal": row.goal,
            }
            for row in rows(samples)
        },
        "failures": failures(samples),
    }
