"""Uses up the descriptors of a process, and gives them back. Sent to far sides, so it runs on Python 3.6 too."""

import os
import resource

import plasmid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from plasmid.router import Router

_held = []  # type: list[int]
_limits = []  # type: list[tuple[int, int]]


def open_descriptors() -> "list[int]":
    """Return the open descriptors of this process, without the one that looking takes."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            os.fstat(int(name))
        except OSError:
            continue
        found.append(int(name))
    return sorted(found)


def take_all_but(spare: int) -> None:
    """Leave room for so many more descriptors in this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    _limits.append((soft, hard))
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, open_descriptors()[-1] + 1 + spare), hard))
    try:
        while True:
            _held.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        pass
    for fd in _held[len(_held) - spare :]:
        os.close(fd)
    del _held[len(_held) - spare :]


def give_back() -> None:
    """Undo take_all_but()."""
    for fd in _held:
        os.close(fd)
    del _held[:]
    resource.setrlimit(resource.RLIMIT_NOFILE, _limits.pop())


def import_something() -> str:
    """Import what lies on disk, and what is sent."""
    import wave

    return wave.__name__


@plasmid.takes_router
def start_and_end_below(router: "Router") -> int:
    """Start a context from here and end it; return its process id."""
    below = router.local(name="below")
    pid = below.call(os.getpid)
    below.shutdown()
    return pid


def import_asyncio() -> None:
    """Import what async methods run by."""
    __import__("plasmid.service.coroutines")
