"""What a far side does from its hello to its end.

Its main thread runs function calls, one after the other, until the parent says goodbye or the link ends. The console
comes first, so that nothing user code prints is lost. An end in order goes: children and services, what was printed,
the goodbye. Where the link has simply ended, the watchdog's patience is the bound of all that.
"""

import os
import threading
import time

from plasmid.core import short_values
from plasmid.core.events import LinkEnded, LinkLeft
from plasmid.core.link import LinkState
from plasmid.core.switch import PARENT
from plasmid.runtime import functions, main, standby, watchdog
from plasmid.runtime.console import Console
from plasmid.runtime.context import Context, resolve
from plasmid.runtime.missing import Missing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, List, Optional

    from plasmid.runtime.importer import Importer
    from plasmid.runtime.runtime import Runtime

# How long the parent may take to answer the goodbye.
END_MAX_S = 5.0


# What prints of this process go to, once there is one.
console = None  # type: Optional[Console]


def live(runtime: "Runtime", importer: "Importer") -> None:
    """Serve this context, on its main thread, until its end."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_before_fork)
    else:  # Python 3.6 tells nobody
        for name in "fork", "forkpty":
            setattr(os, name, _forking_by(getattr(os, name)))
    short_values.install()
    importer.ask = lambda names: resolve("plasmid.builtin.pieces", "ask")(runtime, names)
    missing = Missing(importer)
    # Site-packages are added when a module isn't found, or, by way of these, looked for without importing it. Not
    # before: what their .pth files import would take milliseconds and megabytes of every context.
    for name in "importlib.metadata", "pkgutil":
        missing.after_import(name, lambda module: missing.run_site())
    spend(runtime, missing)


def spend(runtime: "Runtime", missing: Missing) -> None:
    """Serve a context until its end, on the main thread of a process that finds modules already."""
    global console
    gone = threading.Event()

    def on_link(event: "Any") -> None:
        if event.link.id == PARENT and isinstance(event, (LinkLeft, LinkEnded)):
            runtime.jobs.functions.put(None)
            if isinstance(event, LinkEnded):
                gone.set()
                # A context that was detached has no watchdog, and goes on.
                if watchdog.pid:
                    threading.Thread(target=_leave_or_be_killed, daemon=True).start()

    with runtime.lock:
        runtime.on_link.append(on_link)
        link = runtime.node.links.get(PARENT)
        if link is None or link.state not in (LinkState.OPENING, LinkState.OPEN):
            runtime.jobs.functions.put(None)  # it left before we came here
    console = Console(records_to_root(runtime), lambda fd, callback: standby.watch(runtime.loop, fd, callback))
    console.keep_last_words()
    missing.after_import("logging", console.attach)
    runtime.start()
    functions.serve(runtime)

    for closer in reversed(runtime.closers):
        closer()
    console.flush()
    with runtime.lock:
        runtime.node.say_goodbye(PARENT, "it ended")
        runtime.loop.settle()
    gone.wait(END_MAX_S)
    runtime.close("the context has ended")


def _before_fork() -> None:
    if main.runtime is not None:  # else this is a fork itself, and has no context
        main.runtime.hook("fork")(main.runtime)


def _leave_or_be_killed() -> None:
    """End this process after the grace that the watchdog gives, which ends what it started.

    The watchdog sees a hang-up, but not that a link was given up whose other end is still held: by the sshd of a
    network that has fallen silent. And the main thread may be busy for ever.
    """
    time.sleep(watchdog.grace_s)
    os.kill(os.getpid(), 9)


def _forking_by(fork: "Callable[[], Any]") -> "Callable[[], Any]":
    """Return what stands for os.fork or os.forkpty here."""
    return lambda: fork() if main.runtime is None else main.runtime.hook("fork_by")(main.runtime, fork)


def records_to_root(runtime: "Runtime") -> "Callable[[List[Any]], None]":
    """Return what sends log records to the root."""
    root = Context(runtime, b"")

    def send(records: "List[Any]") -> None:
        try:
            root.send_call("s", "plasmid.console", "records", {"records": records}, no_reply=True)
        except Exception:  # noqa: BLE001 - nobody is left to tell; the link's own end says why
            pass

    return send
