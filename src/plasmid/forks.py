"""What becomes of a context when its program forks: the parent process goes on, the child process has no part in it.

The child gets copies of everything: locks that other threads held, descriptors of links, numbers of child processes
that aren't its own. So the locks are taken before the fork, and in the child the context is closed, without a word on
any link: calls that were in flight end there with ContextLost, new ones are NotSent, and each says why. In a child a
new Router may be made. What is started by subprocess isn't concerned. Python 3.6 tells nobody of a fork.
"""

import os
import select
import sys
from time import monotonic

from plasmid.core.errors import NotSent
from plasmid.runtime import main as far_main
from plasmid.runtime import ports

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, List, NoReturn

    from plasmid.runtime.runtime import Runtime

FOUND = "this process was forked from the one that has the links; make a Router of its own here"

_runtimes = []  # type: List[Runtime]
_taken = []  # type: List[Any]
_registered = []  # type: List[bool]


def watch(runtime: "Runtime") -> None:
    """Have this context survive forks, until forget()."""
    if not _registered and hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
        _registered.append(True)
    _runtimes.append(runtime)


def forget(runtime: "Runtime") -> None:
    """Undo watch()."""
    if runtime in _runtimes:
        _runtimes.remove(runtime)


def first_fork(runtime: "Runtime") -> None:
    """Watch the context of a far side, which was sent this only now that its program is about to fork."""
    if runtime not in _runtimes:
        watch(runtime)
        _before()  # it was registered too late for this fork


def _before() -> None:
    """Take all locks, in their order. A thread that forks holds none of them: it runs code of the program's own."""
    pools = [runtime.jobs.pool for runtime in _runtimes if runtime.jobs.pool is not None]
    for lock in [runtime.lock for runtime in _runtimes] + [ports.guard] + [pool._lock for pool in pools]:
        lock.acquire()
        _taken.append(lock)


def _after_in_parent() -> None:
    while _taken:
        _taken.pop().release()


def _after_in_child() -> None:
    runtimes = _runtimes[:]
    del _runtimes[:]
    _after_in_parent()
    for runtime in runtimes:
        _close_here(runtime)
    far_main.runtime = None  # so that a Router can be made
    if "logging" in sys.modules:
        _log_to_stderr()


def _log_to_stderr() -> None:
    """Have records printed, to the pipes as before: else they would wait for a thread that isn't here."""
    import logging

    root = logging.getLogger()
    for handler in root.handlers[:]:
        if type(handler).__name__ == "ToRoot":
            root.removeHandler(handler)
            root.addHandler(logging.StreamHandler())


def _close_here(runtime: "Runtime") -> None:
    """Close a context in this process alone, which has no other thread than this."""
    for closer in runtime.closers:
        owner = getattr(closer, "__self__", None)  # type: Any
        if hasattr(owner, "start_child"):
            # Its Router: the children are the other process's, and nothing is to be closed at this one's exit.
            owner.children.clear()
            owner._closed = True
    pool = runtime.jobs.pool
    if pool is not None:
        pool.is_closed = True
        pool._settled.set()
    if runtime.jobs.helpers is not None:
        runtime.jobs.helpers._closed = True
    loop = runtime.loop
    ios = list(loop.ios.values())
    loop.ios.clear()
    loop._by_fd.clear()
    # Nothing is unregistered: the poller is one and the same for both processes.
    if hasattr(loop.poller, "close"):
        loop.poller.close()
    loop.poller = select.poll()
    loop.leader = None  # whoever it was isn't here
    loop.closed = True
    with runtime.lock:
        for io in ios:
            io.ended = True
            io.close()
            runtime.node.link_closed(io.link.id, FOUND, monotonic())
        loop.settle()
        runtime.node.switch.way_out = _no_way_out  # type: ignore[method-assign]


def _no_way_out(target: bytes) -> "NoReturn":
    raise NotSent("", "", FOUND)
