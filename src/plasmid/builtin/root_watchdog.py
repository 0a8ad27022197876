"""The watchdog of the root. Each far side has had its own since its boot; the root, which is the user's own process and
needs none otherwise, gets one with the first program that it is to run itself.

It is an interpreter of its own, not a fork: the root has threads by then. It ends with the last service that uses it.
"""

import os
import subprocess
import sys
import threading

from plasmid.runtime import watchdog

TYPE_CHECKING = False
if TYPE_CHECKING:
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
for group in _watch(context, link[0], ended, 0)[1:]:
    try:
        os.killpg(group, 9)
    except OSError:
        pass
"""

_lock = threading.Lock()
_users = 0
_process = None  # type: Optional[subprocess.Popen[bytes]]


def use() -> None:
    """Have the process groups that guard() names end with this process, until as many leave() as use()."""
    global _users, _process
    with _lock:
        if _process is None:
            source = watchdog.__loader__.get_source(watchdog.__name__)  # type: ignore[union-attr]
            _process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", source + TAIL, str(os.getpid())],
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,
            )
            assert _process.stdin is not None
            watchdog._groups_fd = _process.stdin.fileno()
        _users += 1


def leave() -> None:
    """Undo one use()."""
    global _users, _process
    with _lock:
        _users -= 1
        if _users or _process is None:
            return
        watchdog._groups_fd = -1
        _process.kill()
        _process.communicate()
        _process = None
