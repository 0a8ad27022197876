"""Why a figure that must be reached isn't: kept by hand in reasons.txt, and put into the page beside the figure.

call_down: a line that begins with the name of a figure and a colon,
  and further lines of the same reason, which begin with a space.
"""

from pathlib import Path

from bench.figures import FIGURES

REASONS = Path(__file__).with_name("reasons.txt")
NONE_YET = "no reason is written down yet, in `bench/reasons.txt`"


def read(text: str) -> "dict[str, str]":
    """Return the reasons by the names of their figures. ValueError on a line of neither kind."""
    found: dict[str, str] = {}
    name = ""
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith(" ") and name:
            found[name] += " " + line.strip()
        elif line.strip():
            name, colon, reason = line.partition(":")
            if not colon or name in found or name not in {figure.name for figure in FIGURES}:
                raise ValueError(f"line {number} begins with no figure, or with one that has a reason: {line[:40]}")
            found[name] = reason.strip()
    return found


def known() -> "dict[str, str]":
    """Return those that are written down."""
    return read(REASONS.read_text())
