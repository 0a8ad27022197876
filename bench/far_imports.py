"""What bench/imports.py runs on far sides."""

import os
import sys
from time import perf_counter


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

    own = importer.current
    assert own is not None
    plain = own.ask
    assert plain is not None
    held = set(own.modules)
    questions = 0

    def ask(names: "list[str]") -> "dict[str, object]":
        nonlocal questions
        questions += 1
        return plain(names)

    own.ask = ask
    before = set(sys.modules)
    start = perf_counter()
    __import__(name)
    seconds = perf_counter() - start
    own.ask = plain
    standard = {"plasmid", *getattr(sys, "stdlib_module_names", ())}
    modules = [module for module in set(sys.modules) - before if module.partition(".")[0] not in standard]
    came = [loader for known, loader in own.modules.items() if known not in held]
    return [seconds, len(modules), questions, sum(len(loader.data or b"") + len(loader.code) for loader in came)]
