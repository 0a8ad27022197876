"""The metadata of distributions installed on this machine, for contexts that may have one of their packages."""

import os
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Iterator, List, Optional

    # Says why a context may not have a module, None if it may.
    WhyNot = Callable[[str], Optional[str]]

# The files that importlib.metadata reads. Others may say more of this machine than of the distribution.
FILES = ("METADATA", "PKG-INFO", "entry_points.txt", "top_level.txt", "requires.txt", "RECORD", "WHEEL")
TEXT_SIZE_MAX = 1 << 20

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?\Z")
_NOT_ALLOWED = (
    "this context may have none of its packages (%s); to send it nevertheless, "
    "name one in allow_modules= of the Router: allow_modules=[%r]"
)


def find(names: "Optional[List[str]]", why_not: "WhyNot") -> "Dict[str, Any]":
    """Return {"found": {name: {file: text}}, "refused": {name: why}} for these distributions, for all if it's None."""
    found: "Dict[str, Dict[str, str]]" = {}
    refused: "Dict[str, str]" = {}
    for name, distribution in _distributions(names):
        packages = packages_of(distribution, name)
        if all(why_not(package) for package in packages):
            refused[name] = _NOT_ALLOWED % (", ".join(packages), packages[0])
        elif name not in found:  # the first on the path is the one that counts
            texts = {file: distribution.read_text(file) for file in FILES}
            found[name] = {file: text for file, text in texts.items() if text and len(text) <= TEXT_SIZE_MAX}
    return {"found": found, "refused": refused if names is not None else {}}


def _distributions(names: "Optional[List[str]]") -> "Iterator[Any]":
    try:
        # Costs 30 ms and more, and few programs ask.
        from importlib import metadata
    except ImportError:  # a relay's Python, before 3.8
        return
    if names is None:
        for distribution in metadata.distributions():
            name = distribution.metadata["Name"]
            if name:
                yield name, distribution
        return
    for name in names:
        if len(name) < 200 and _NAME.match(name):
            try:
                yield name, metadata.distribution(name)
            except metadata.PackageNotFoundError:
                pass


def packages_of(distribution: "Any", name: str) -> "List[str]":
    """Return the top-level names that a distribution installs, at least one."""
    tops = set((distribution.read_text("top_level.txt") or "").split())
    if not tops:
        for path in distribution.files or ():
            top = path.parts[0]
            if len(path.parts) == 1:
                top = os.path.splitext(top)[0] if top.endswith(".py") else ""
            tops.add(top)
    # An editable install may list nothing of its packages.
    return sorted(top for top in tops if top.isidentifier()) or [re.sub(r"[-.]+", "_", name).lower()]
