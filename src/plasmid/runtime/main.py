"""Where a far side begins, once the boot loader has made the bundle importable.

What it does and in which order: its own process group and watchdog, before any thread; the link off descriptors 0 and
1, so that no print can corrupt it; hello. From then on it takes calls. The console comes before any user code runs; it
is asked for together with the hello, to keep what is sent at boot small.
The main thread runs function calls, one after the other, until the parent says goodbye or the link ends.
"""

import os
import sys
from time import monotonic

from plasmid.core import values
from plasmid.core.events import LinkEnded, LinkLeft
from plasmid.core.switch import PARENT
from plasmid.runtime import importer, watchdog
from plasmid.runtime.context import Context
from plasmid.runtime.runtime import Runtime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional, Tuple

# What this far side was booted with, for booting children of its own.
BOOT_BUNDLE = b""

# The running context of this process if it is a far side.
runtime = None  # type: Optional[Runtime]

# How long an orderly end may take; the watchdog's patience is the bound once the link has gone.
END_MAX_S = 5.0

# Needed before any user code runs, or sure to be needed soon, but not for saying hello.
AFTER_HELLO = [
    "plasmid.runtime.console",
    "plasmid.runtime.missing",
    "plasmid.core.extensions",
    "plasmid.core.remote",
]
IMPORT_TIMEOUT_S = 60.0


def main(config: bytes, bundle: bytes) -> None:
    """Run this process as the context that `config` describes, until its end.

    config: a packed dict with address, name, root (the root's name), debug.
    """
    global BOOT_BUNDLE, runtime
    BOOT_BUNDLE = bundle
    settings = values.unpack(config)
    read_fd, write_fd = _take_link()
    watchdog.start(read_fd)
    facts = {"pid": os.getpid(), "python": "%d.%d.%d" % sys.version_info[:3], "host": os.uname().nodename}
    runtime = Runtime(settings["address"], settings["name"], facts)
    runtime.names[b""] = settings["root"]
    ended = []  # type: List[Any]

    def on_link(event: "Any") -> None:
        if event.link.id == PARENT and isinstance(event, (LinkLeft, LinkEnded)):
            ended.append(event)
            runtime.jobs.stop_functions()

    runtime.on_link.append(on_link)
    runtime.loop.attach(PARENT, read_fd, write_fd)
    found = importer.current
    assert found is not None
    found.ask = _ask_parent(runtime)
    # The question leaves along with the hello, so the answer is here by the time the first call can be.
    found.take(found.ask(AFTER_HELLO))
    from plasmid.runtime.console import Console
    from plasmid.runtime.missing import Missing

    missing = Missing(found)
    console = Console(_send_records(runtime), runtime.loop.watch)
    missing.after_import("logging", console.attach)
    runtime.loop.start()
    runtime.ready.set()
    runtime.defer(missing.run_site)
    runtime.jobs.serve_functions()
    _end(runtime, console.flush)


def _take_link() -> "Tuple[int, int]":
    """Move the link to descriptors of its own; leave nothing to read on 0 and, for now, errors on 1."""
    read_fd, write_fd = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    return read_fd, write_fd


def _send_records(runtime: Runtime) -> "Callable[[List[Any]], None]":
    root = Context(runtime, b"")

    def send(records: "List[Any]") -> None:
        try:
            root.send_call("s", "plasmid.console", "records", {"records": records}, no_reply=True)
        except Exception:  # noqa: BLE001 - nobody is left to tell; the link's own end says why
            pass

    return send


def _ask_parent(runtime: Runtime) -> "Callable[[List[str]], Dict[str, Any]]":
    parent = Context(runtime, runtime.node.address[:-4])

    def ask(names: "List[str]") -> "Dict[str, Any]":
        # Not the deadline of the call that happens to import: a module half brought in helps nobody.
        deadline = monotonic() + IMPORT_TIMEOUT_S
        call = parent.send_call("s", "plasmid.modules", "find", {"names": names}, deadline=deadline)
        assert call is not None
        return call.result()  # type: ignore[no-any-return]

    return ask


def _end(runtime: Runtime, flush: "Callable[[], None]") -> None:
    """Leave in order: children and services first, then what was printed, then the goodbye."""
    until = monotonic() + END_MAX_S
    for closer in reversed(runtime.closers):
        closer()
    flush()
    with runtime.lock:
        runtime.node.say_goodbye(PARENT, "it ended")
        runtime.loop.settle()
    runtime.loop.flushed(PARENT, until)
    runtime.close("the context has ended")
