"""What the tests of clones run on far sides; so it runs on Python 3.6 too."""

import atexit
import logging
import os
import random
import tempfile
import threading
import weakref

import plasmid
from tests.real import far

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from plasmid.router import Router
    from plasmid.surroundings import ExternalContext

kept = {"warmed_by": 0}  # type: dict[str, Any]
logger = logging.getLogger("warm")
entered = threading.Event()


def warm_up() -> int:
    """Make this module differ from one that was just imported; return the process id."""
    kept["warmed_by"] = os.getpid()
    logger.warning("warm in %d", os.getpid())
    return os.getpid()


def warmed_by() -> int:
    """Return which process warmed this module up."""
    return kept["warmed_by"]  # type: ignore[no-any-return]


def keep(name: str, value: "Any") -> "dict[str, Any]":
    """Keep a value; return all of them."""
    kept[name] = value
    return kept


def say(text: str) -> None:
    """Say it on all the ways there are."""
    print(text, "printed")
    logger.warning("%s logged", text)
    os.system("echo %s from a process" % text)


def held_descriptors() -> "dict[str, str]":
    """Return what this process holds open, by number."""
    found = {}
    for number in os.listdir("/proc/self/fd"):
        try:
            found[number] = os.readlink("/proc/self/fd/" + number)
        except OSError:
            continue  # the one that listing the folder took
    return found


def random_number() -> float:
    """Return what should differ."""
    return random.random()


def start_thread() -> None:
    """Start a thread of the program's own, which ends with stop_thread()."""
    kept["thread"] = threading.Thread(target=far.gate.wait, name="poller", daemon=True)
    kept["thread"].start()


def stop_thread() -> None:
    """End it."""
    far.gate.set()
    kept["thread"].join()
    far.gate.clear()


def allow_no_more_descriptors() -> None:
    """Have whatever would open one more fail, but for one."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, held_descriptors())) + 3, hard))


def allow_descriptors_again() -> None:
    """Undo that."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def lack_fork() -> None:
    """Have this Python be one without os.fork()."""
    del os.fork


def fork_myself(router: "Router", econtext: "ExternalContext") -> None:
    """Ask for a clone of the context that this runs in."""
    router.fork(econtext.myself)


fork_myself = plasmid.takes_router(plasmid.takes_econtext(fork_myself))


@plasmid.takes_econtext
def fork_parent(econtext: "ExternalContext") -> None:
    """Ask for a clone of the context above, which isn't for a child to ask."""
    econtext.router.fork(econtext.parent)  # type: ignore[arg-type]


def leave_traces(folder: str, name: str) -> None:
    """Have something done at the exit of this process, in each of the usual ways."""
    atexit.register(touch, folder, name + "-atexit-", "")
    kept[name] = Thing()
    weakref.finalize(kept[name], touch, folder, name + "-finalize-", "")
    kept[name + " folder"] = tempfile.TemporaryDirectory(prefix=name + "-temporary-", dir=folder)


class Thing:
    """Something that is finalized."""


def touch(folder: str, name: str, text: str) -> None:
    """Write a file with this process's number in its name."""
    with open(os.path.join(folder, name + str(os.getpid())), "w") as file:
        file.write(text)


def call_by_handle(context: "Any", path: str) -> str:
    """Keep a handle, if one is given, and call a service by the one that is kept."""
    if context is not None:
        kept["context"] = context
    return kept["context"].service(far.Work).takes_path(path)  # type: ignore[no-any-return]


class Slow(plasmid.Service):
    """Has a method that takes until it is let go on, and a generator."""

    def __init__(self, router: "Any" = None) -> None:
        super().__init__(router)
        self.lock = threading.Lock()

    @plasmid.expose(plasmid.AllowParents())
    def hold(self) -> int:
        """Hold a lock until the gate opens."""
        with self.lock:
            entered.set()
            far.gate.wait(far.GATE_TIMEOUT_S)
        return os.getpid()

    @plasmid.expose(plasmid.AllowParents())
    def take(self) -> int:
        """Take the lock that hold() and count() hold."""
        with self.lock:
            return os.getpid()

    @plasmid.expose(plasmid.AllowParents())
    def count(self, size: int) -> "Any":
        """Hold the lock while items are taken."""
        with self.lock:
            yield from range(size)

    @plasmid.expose(plasmid.AllowParents())
    async def wait(self) -> int:
        """Do nothing, on the event loop."""
        return os.getpid()


def await_entry() -> None:
    """Wait until Slow.hold() holds its lock."""
    assert entered.wait(far.GATE_TIMEOUT_S)


@plasmid.takes_router
def ends(router: "Router") -> "list[str]":
    """Return how the children of this context ended."""
    return [child.end for child in router._ended.values()]
