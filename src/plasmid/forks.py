"""What becomes of a context when its program forks: the parent process goes on, the child process has no part in it.

The child gets copies of everything: locks that other threads held, descriptors of links, numbers of child processes
that aren't its own. So the locks are taken before the fork, and in the child the context is closed, without a word on
any link: calls that were in flight end there with ContextLost, new ones are NotSent, and each says why. In a child a
new Router may be made. What is started by subprocess isn't concerned. Python 3.6 tells nobody of a fork: there
os.fork() itself goes by way of this file.
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
    from typing import Any, Callable, List, NoReturn

    from plasmid.runtime.runtime import Runtime

FOUND = "this process was forked from the one that has the links; make a Router of its own here"

_runtimes = []  # type: List[Runtime]
_taken = []  # type: List[Any]
_registered = []  # type: List[bool]

# Set while this process is being cloned, with all locks taken: that fork is none of its program's.
is_cloning = False


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
    if runtime not in _runtimes and not is_cloning:
        watch(runtime)
        _before()  # it was registered too late for this fork


def fork_by(runtime: "Runtime", fork: "Callable[[], Any]") -> "Any":
    """Return what fork() returns, which is os.fork or os.forkpty of a far side with Python 3.6."""
    if is_cloning:
        return fork()
    if runtime not in _runtimes and not runtime.loop.closed:
        _runtimes.append(runtime)
    _before()
    found = None
    try:
        found = fork()
    finally:
        if found == 0 or (isinstance(found, tuple) and found[0] == 0):
            _after_in_child()
        else:
            _after_in_parent()
    return found


def take_locks(runtimes: "List[Runtime]") -> None:
    """Take all locks, in their order. A thread that forks holds none of them: it runs code of the program's own."""
    pools = [runtime.jobs.pool for runtime in runtimes if runtime.jobs.pool is not None]
    for lock in [runtime.lock for runtime in runtimes] + [ports.guard] + [pool._lock for pool in pools]:
        lock.acquire()
        _taken.append(lock)


def release_locks() -> None:
    """Undo take_locks()."""
    while _taken:
        _taken.pop().release()


def _before() -> None:
    if not is_cloning:
        take_locks(_runtimes)


def _after_in_parent() -> None:
    if not is_cloning:
        release_locks()


def _after_in_child() -> None:
    if is_cloning:
        return
    runtimes = _runtimes[:]
    del _runtimes[:]
    release_locks()
    for runtime in runtimes:
        close_here(runtime, FOUND)
    far_main.runtime = None  # so that a Router can be made
    if drop_handlers():
        # They are printed then, to the pipes as before.
        import logging

        logging.getLogger().addHandler(logging.StreamHandler())


def drop_handlers() -> bool:
    """Have no record sent to the root from here: it would wait for a thread that isn't here. Say if any were."""
    logging = sys.modules.get("logging")  # type: Any
    root = logging and logging.getLogger()
    dropped = [handler for handler in root.handlers if type(handler).__name__ == "ToRoot"] if root else []
    for handler in dropped:
        root.removeHandler(handler)
    return bool(dropped)


def close_here(runtime: "Runtime", found: str) -> None:
    """Close a context in this process alone, which has no other thread than this. found: why, for its calls."""
    for closer in runtime.closers:
        owner = getattr(closer, "__self__", None)  # type: Any
        if hasattr(owner, "start_child"):
            # Its Router: the children are the other process's, and nothing is to be closed at this one's exit.
            owner.children.clear()
            owner._closed = True
            owner.shared_code.close()
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
    pollers = [loop.poller] + ([] if loop.standby is None else [loop.standby.sleeper])  # type: List[Any]
    for poller in pollers:
        if hasattr(poller, "close"):
            poller.close()
    loop.poller = select.poll()
    if loop.leader is not None:
        loop.leader.wake_fd = -1
        loop.leader = None  # whoever it was isn't here
    loop.closed = True
    with runtime.lock:
        for io in ios:
            io.ended = True
            io.close()
            runtime.node.link_closed(io.link.id, found, monotonic())
        loop.settle()

        def no_way_out(target: bytes) -> "NoReturn":
            raise NotSent("", "", found)

        runtime.node.switch.way_out = no_way_out  # type: ignore[method-assign]
