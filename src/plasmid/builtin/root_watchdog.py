"""The watchdog that a context starts later on, when it has none of its own and there is something to guard.

The root, which is the user's own process, gets one with its first child on this machine, or with the first program that
it is to run itself. What it guards ends GRACE_S after the root, however that ended. So children of the root on its own
machine need no watchdog beside them, which would take two thirds of an idle one's memory once more. Such a child gets
one of this kind in its turn with the first program that it runs.

It is an interpreter of its own, not a fork: there are threads by then. It ends with the last user of it.
"""

import os
import sys
import threading

from plasmid.runtime import importer, watchdog

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess
    from typing import Optional

# Behind the source of watchdog.py. A pipe of which both ends are here stands for the link, which the root hasn't.
TAIL = """
import sys
context = int(sys.argv[1])
link = os.pipe()
try:
    ended = os.pidfd_open(context)
except (AttributeError, OSError):
    ended, _life_fd = os.pipe()
doomed = _watch(context, link[0], ended, 0)[1:]
time.sleep(float(sys.argv[2]))
for group in doomed:
    try:
        os.killpg(group, 9)
    except OSError:
        pass
"""

_lock = threading.Lock()
_users = set()  # type: set[int]  # their ids
_process = None  # type: Optional[subprocess.Popen[bytes]]
_guarded = 0  # the process that it is for; a fork of that has none


def use(user: object) -> None:
    """Have the process groups that guard() names end with this process, until leave(). OSError if that can't be."""
    global _process, _guarded
    with _lock:
        if _guarded != os.getpid():
            _guarded = os.getpid()
            _users.clear()
            _process = None
        if _process is None:
            import subprocess

            # Programs need none, and only the root guards contexts.
            grace_s = watchdog.GRACE_S if importer.current is None else 0.0
            _process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _source() + TAIL, str(_guarded), str(grace_s)],
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,
            )
            assert _process.stdin is not None
            watchdog._groups_fd = _process.stdin.fileno()
        _users.add(id(user))


def leave(user: object) -> None:
    """Undo use(), if there was one."""
    global _process
    with _lock:
        _users.discard(id(user))
        if _users or _process is None or _guarded != os.getpid():
            return
        watchdog._groups_fd = -1
        _process.kill()
        _process.communicate()
        _process = None


def _source() -> str:
    sent = importer.current.modules if importer.current is not None else {}
    loader = sent.get(watchdog.__name__) or watchdog.__loader__
    return loader.get_source(watchdog.__name__)  # type: ignore[union-attr]
