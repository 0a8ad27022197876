"""The figures, in the order of the table, with what each must be and what is aimed at."""

from typing import NamedTuple

KIB = 1024
MIB = KIB * KIB

# What a figure is divided by when it is shown.
UNITS = {"µs": 1e-6, "ms": 1e-3, "s": 1.0, "/s": 1.0, "MiB/s": 1.0, "KiB": KIB, "MiB": MIB, "": 1.0}


class Target(NamedTuple):
    """A limit: of the figure itself, in its unit, or of its ratio to that of the subject `to`."""

    limit: float
    to: str = ""
    at_least: bool = False

    def text(self, unit: str) -> str:
        """Return it as it stands in the table."""
        sign = "≥" if self.at_least else "≤"
        return f"{sign} {self.limit:g}" + (f" × {self.to}" if self.to else f" {unit}".rstrip())

    def is_met(self, value: float) -> bool:
        """Return whether the figure, or the ratio, is within it."""
        return value >= self.limit if self.at_least else value <= self.limit


class Figure(NamedTuple):
    """One row of the table. measurement: what yields it, of `measurements.MEASUREMENTS`."""

    name: str
    title: str
    unit: str
    measurement: str
    must: "Target | None" = None
    goal: "Target | None" = None

    def in_unit(self, value: float) -> float:
        """Return a value in the figure's unit."""
        return value / UNITS[self.unit]

    def shown(self, value: float) -> str:
        """Return a value in the figure's unit, with three digits that say something."""
        scaled = self.in_unit(value)
        return f"{scaled:,.0f}" if scaled >= 100 else f"{scaled:.1f}" if scaled >= 10 else f"{scaled:.2f}"


def at_most(limit: float, to: str = "") -> Target:
    """Return an upper limit."""
    return Target(limit, to)


def at_least(limit: float, to: str) -> Target:
    """Return a lower limit."""
    return Target(limit, to, at_least=True)


FIGURES = (
    Figure("interpreter_start", "start of a bare interpreter", "ms", "interpreter"),
    Figure("first_answer", "first answer of a new local child", "ms", "boot", at_most(2.2, "raw"), at_most(1.4, "raw")),
    Figure("first_answer_fresh", "the same, as the first act of a program", "ms", "boot"),
    Figure(
        "first_service", "first service call after that, its class not there yet", "ms", "boot", at_most(15), at_most(4)
    ),
    Figure("boot_bytes", "sent at boot, arguments included", "KiB", "boot", at_most(24), at_most(16)),
    Figure("memory", "an idle child and its watchdog (PSS)", "MiB", "memory", at_most(8), at_most(6)),
    Figure("memory_more", "one more, with its part of what they share", "MiB", "memory", at_most(8), at_most(6)),
    Figure("many", "20 children at once, until all have answered", "s", "many", at_most(2, "raw"), at_most(1.3, "raw")),
    Figure(
        "crowd",
        "200 children, 16 at a time, until all have answered",
        "s",
        "crowd",
        at_most(2.5, "raw"),
        at_most(1.5, "raw"),
    ),
    Figure("crowd_call", "one call to each of these 200", "ms", "crowd", at_most(30), at_most(18)),
    Figure("ssh_bare", "`ssh host python3 -ISc pass`", "ms", "ssh"),
    Figure("ssh_extra", "first answer over ssh, less that", "ms", "ssh", at_most(40), at_most(20)),
    Figure(
        "call_down", "service call, parent to child, p50", "µs", "calls_down", at_most(2.5, "raw"), at_most(1.5, "raw")
    ),
    Figure("call_down_p99", "the same, p99", "µs", "calls_down"),
    Figure("switches_down", "context switches for it, both sides", "", "calls_down", at_most(4), at_most(2)),
    Figure("cpu_down", "processor time for it, both sides", "µs", "calls_down"),
    Figure("call_up", "service call, child to parent, p50", "µs", "calls_up", at_most(3, "raw"), at_most(1.7, "raw")),
    Figure("switches_up", "context switches for it, both sides", "", "calls_up", at_most(4), at_most(2)),
    Figure("cpu_up", "processor time for it, both sides", "µs", "calls_up"),
    Figure("hop", "each further hop of a call", "µs", "hops", at_most(40), at_most(25)),
    Figure(
        "pipeline",
        "calls per second, one caller, 1,000 in flight",
        "/s",
        "pipeline",
        at_least(0.3, "raw"),
        at_least(0.6, "raw"),
    ),
    Figure(
        "threads",
        "calls per second, 8 caller threads",
        "/s",
        "threads",
        at_least(2.5, "mitogen"),
        at_least(4, "mitogen"),
    ),
    Figure(
        "fan_in",
        "calls per second, 20 children to one service of their parent",
        "/s",
        "fan_in",
        at_least(4, "mitogen"),
        at_least(0.7, "raw"),
    ),
    Figure("shared_key", "64 callers of one deduplicated key that takes 200 ms", "ms", "shared_key", at_most(210)),
    Figure("shared_key_runs", "how often it ran for them", "", "shared_key", at_most(1), at_most(1)),
    Figure("echo_1", "echo of 1 MiB", "MiB/s", "echo_1", at_least(0.5, "raw"), at_least(0.9, "raw")),
    Figure("echo_64", "echo of 64 MiB", "MiB/s", "echo_64", at_least(0.5, "raw"), at_least(0.9, "raw")),
    Figure(
        "file_local",
        "a file of 256 MiB there and back on one machine; raw is `cat`",
        "MiB/s",
        "file_local",
        at_least(0.5, "raw"),
        at_least(0.9, "raw"),
    ),
    Figure(
        "file_ssh",
        "the same over ssh; raw is `scp`",
        "MiB/s",
        "file_ssh",
        at_least(0.9, "raw"),
        at_least(1, "raw"),
    ),
    Figure(
        "small_files",
        "2,000 files of 4 KiB there and back on one machine; raw is `tar`",
        "/s",
        "small_files",
        at_least(0.9, "raw"),
        at_least(1, "raw"),
    ),
)

# What is measured with one more interpreter: what processes that take turns on a core spoil for each other.
COMPARED = ("crowd_call", "call_down", "call_up", "hop", "threads", "fan_in")
