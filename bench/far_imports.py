"""What bench/imports.py runs on far sides."""

import os
import sys
from time import perf_counter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def get_ready(folder: str) -> None:
    """Do what the first import of a missing module costs once, which is to add site-packages; and do without those."""
    from plasmid.runtime import missing

    assert missing.current is not None
    missing.current.run_site()
    sys.path[:] = [path for path in sys.path if os.path.basename(path) not in ("site-packages", "dist-packages")]
    if folder:
        sys.path.insert(0, folder)
        sys.dont_write_bytecode = True


def time_import(name: str) -> "list[float]":
    """Import it; return the seconds, and how many modules of ours, questions to the parent and bytes that took."""
    from plasmid.runtime import importer
    from plasmid.runtime.context import Context

    own = importer.current
    assert own is not None
    held = set(own.modules)
    plain = Context.send_call
    questions = 0

    def send_call(self: Context, what: str, name: "Any", *args: "Any", **kwargs: "Any") -> "Any":
        nonlocal questions
        questions += name == "plasmid.modules"
        return plain(self, what, name, *args, **kwargs)

    Context.send_call = send_call  # type: ignore[method-assign]
    before = set(sys.modules)
    start = perf_counter()
    __import__(name)
    seconds = perf_counter() - start
    Context.send_call = plain  # type: ignore[method-assign]
    standard = {"plasmid", *getattr(sys, "stdlib_module_names", ())}
    modules = [module for module in set(sys.modules) - before if module.partition(".")[0] not in standard]
    came = [loader for known, loader in own.modules.items() if known not in held]
    return [seconds, len(modules), questions, sum(len(loader.data or b"") + len(loader.code) for loader in came)]
