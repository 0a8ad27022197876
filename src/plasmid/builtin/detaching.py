"""A context that goes on without its parent: what that means at each of the two ends.

The context itself (`go_on`, a method of `plasmid.children`) imports what the function calls that have reached it will
run, which may have to come from its parent. It ends its watchdog, which would end it, and takes the calls that it
serves off the books, so that the loss of their callers doesn't cancel them. When the link then ends, its main thread
runs the function calls that have arrived, and the context ends in order as after any other goodbye: services, what is
below it, the process. Whoever started it (`detach`) ends the link and the program that led there, but not the
context.
"""

import os
import signal

from plasmid.core.errors import PlasmidError, Refused
from plasmid.runtime import main as far_main
from plasmid.runtime import watchdog
from plasmid.runtime.context import resolve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from plasmid.router import Router
    from plasmid.runtime.context import Context
    from plasmid.runtime.jobs import Job
    from plasmid.runtime.runtime import Runtime

DETACHED = "it was detached, and goes on by itself"


def go_on(runtime: "Runtime", job: "Job") -> None:
    """Have this context outlive its parent. The answer is its process id."""
    if far_main.runtime is None:
        raise Refused("", "", "the root has no parent to be detached from")
    with runtime.lock:
        held = [reference() for reference in runtime.jobs.running.values()]
    for one in held:
        if one is not None and one.what == "f":
            _bring_module(str(one.name), str(one.method))
    pid, watchdog.pid = watchdog.pid, 0
    if pid > 0:  # else the parent's watchdog is told, by the parent
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    with runtime.lock:
        # Nobody will wait for these, and they are to go on all the same.
        runtime.jobs.running.clear()
    job.reply(os.getpid())


def _bring_module(module: str, qualname: str) -> None:
    """Import what a call will run while there is a parent to have it from. Waits for a thread that is at it already."""
    try:
        resolve(module, qualname)
    except Exception:  # noqa: BLE001 - the call itself will fail with it
        pass


def detach(context: "Context", router: "Router") -> int:
    """Detach a child of this context; return its process id over there."""
    child = router.child(context)
    if child is None:
        raise PlasmidError("%s can't be detached: it isn't there any more" % context)
    if child.process.terminal_fd >= 0:
        raise PlasmidError(
            "%s can't be detached: it was reached by a program with a terminal, whose end would end it" % context
        )
    call = context.call_service_async("plasmid.children", "go_on")
    pid = call.result()  # type: int
    with router.runtime.lock:
        child.leaving = child.is_detached = True
        router.runtime.node.link_closed(child.number, DETACHED)
        router.runtime.loop.settle()
    child.gone.wait()
    return pid
