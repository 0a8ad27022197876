"""Where a far side begins, once the boot loader has made the bundle importable.

The loader has given it a process group of its own and its watchdog, before any thread. What it does and in which order:
the link off descriptors 0 and 1, so that no print can corrupt it; hello. From then on it takes calls. What it needs
beyond that is asked for together with the hello, to keep what is sent at boot small; the rest of its life is in
life.py.
"""

import os
import sys
from time import monotonic

from plasmid.core import values
from plasmid.core.switch import PARENT
from plasmid.runtime import importer
from plasmid.runtime.context import Context
from plasmid.runtime.runtime import Runtime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional, Tuple

# What this far side was booted with, for booting children of its own.
BOOT_BUNDLE = b""

# The running context of this process if it is a far side.
runtime = None  # type: Optional[Runtime]

# Needed before any user code runs, or sure to be needed soon, but not for saying hello.
AFTER_HELLO = [
    *("plasmid.runtime.life", "plasmid.runtime.standby", "plasmid.runtime.helpers", "plasmid.runtime.functions"),
    *("plasmid.runtime.console", "plasmid.runtime.missing", "plasmid.public"),
    *("plasmid.core.extensions", "plasmid.core.bulk", "plasmid.core.remote"),
    *("plasmid.core.short_values", "plasmid.core.express"),
]
IMPORT_TIMEOUT_S = 60.0


def main(config: bytes, bundle: bytes, ahead: bytes) -> None:
    """Run this process as the context that `config` describes, until its end.

    config: what is for the loader, and a packed dict with address, name, root (the root's name). ahead: the answer to
    the first question, packed, if it was there unasked.
    """
    global BOOT_BUNDLE, runtime
    BOOT_BUNDLE = bundle
    settings = values.unpack(config[21 if config[0] & 1 else 1 :])
    read_fd, write_fd = _take_link()
    facts = {"pid": os.getpid(), "python": "%d.%d.%d" % sys.version_info[:3], "host": os.uname().nodename}
    runtime = Runtime(settings["address"], settings["name"], facts)
    runtime.names[b""] = settings["root"]
    runtime.loop.attach(PARENT, read_fd, write_fd)
    found = importer.current
    assert found is not None
    found.ask = _ask_parent(runtime)
    # The question leaves along with the hello, so the answer is here by the time the first call can be.
    found.take(values.unpack(ahead) if ahead else found.ask(AFTER_HELLO))
    from plasmid.runtime.life import live

    live(runtime, found)


def _take_link() -> "Tuple[int, int]":
    """Move the link to descriptors of its own; leave nothing to read on 0 and, for now, errors on 1."""
    read_fd, write_fd = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    return read_fd, write_fd


def _ask_parent(runtime: Runtime) -> "Callable[[List[str]], Dict[str, Any]]":
    parent = Context(runtime, runtime.node.address[:-4])

    def ask(names: "List[str]") -> "Dict[str, Any]":
        # Not the deadline of the call that happens to import: a module half brought in helps nobody.
        deadline = monotonic() + IMPORT_TIMEOUT_S
        call = parent.send_call("s", "plasmid.modules", "find", {"names": names}, deadline=deadline)
        assert call is not None
        return call.result()  # type: ignore[no-any-return]

    return ask
