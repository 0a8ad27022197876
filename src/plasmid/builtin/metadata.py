"""Far side: the metadata of distributions whose packages are sent here, for importlib.metadata.

Imported when somebody asks importlib.metadata for a distribution that this machine lacks.
"""

import importlib.metadata
import pathlib
import re
from time import monotonic

from plasmid.builtin.resources import ask

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterator, Optional, Tuple

# As long as a missing module is taken for missing.
ABSENT_MAX_AGE_S = 5.0


class SentDistribution(importlib.metadata.Distribution):
    """A distribution's metadata, in memory."""

    def __init__(self, texts: "Dict[str, str]") -> None:
        self._texts = texts

    def read_text(self, filename: "Any") -> "Optional[str]":
        """Return one of its files, None if there is none."""
        return self._texts.get(str(filename))

    def locate_file(self, path: "Any") -> "Any":
        """Return where a file of it would be: nowhere on this machine."""
        return pathlib.PurePosixPath("/<sent>") / path


class DistributionNotSent(importlib.metadata.PackageNotFoundError):
    """A distribution that the parent doesn't send; says why."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(name)
        self.why = why

    def __str__(self) -> str:
        return "No package metadata was found for %s: %s" % (self.args[0], self.why)


_kept = {}  # type: Dict[str, Tuple[float, Dict[str, Any]]]


def find(context: "Any") -> "Iterator[importlib.metadata.Distribution]":
    """Return what the parent has of the distribution that is looked for, of all if none is named.

    Raises DistributionNotSent, which is a PackageNotFoundError, if it has one and this context may not have that.
    """
    if "path" in vars(context):
        return iter(())  # in certain folders of this machine
    name = context.name
    key = re.sub(r"[-_.]+", "-", name).lower() if name else ""
    until, reply = _kept.get(key, (0.0, {}))
    if until < monotonic():
        reply = ask("distributions", names=[name] if name else None)
        is_final = bool(key) and bool(reply["found"])
        _kept[key] = float("inf") if is_final else monotonic() + ABSENT_MAX_AGE_S, reply
    for refused, why in reply["refused"].items():
        raise DistributionNotSent(refused, why)
    return iter([SentDistribution(texts) for texts in reply["found"].values()])
