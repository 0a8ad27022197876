"""The watchdog that a context starts later on, when it has none of its own and there is something to guard.

The root, which is the user's own process, gets one with its first child on this machine, or with the first program that
it is to run itself. What it guards ends GRACE_S after the root, however that ended. So children of the root on its own
machine need no watchdog beside them, which would take two thirds of an idle one's memory once more. Such a child gets
one of this kind in its turn with the first program that it runs.

It is a program of its own, not a fork: there are threads by then. It reads on its stdin what watchdog.guard() writes,
and ends with the last user of it. Two do the same: bash, which takes a tenth of an interpreter's memory and can wait
for a line and a time at once, as POSIX asks of no shell; and Python where that isn't there. See docs/design/0025.

    stdin has ended  ->  so has the context, or it became another program: the grace, then SIGKILL to the groups
    another parent   ->  the context has ended, and a fork beneath Python holds the pipe and the links: SIGKILL at once

It looks for its parent each second. Unlike a number that is asked for, that can't be another process meanwhile.
"""

import os
import sys
import threading

from plasmid.connect.process import GRACE_S
from plasmid.runtime import importer, watchdog

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess
    from typing import List, Optional

NAME = "plasmid-watchdog"
BASH = "/bin/bash"
# Each is given the context's number and the grace. Before the context is taken for ended, the pipe is looked at once
# more. From version 4 on a status over 128 says that the time was up.
FOR_BASH = """
trap '' HUP INT QUIT TERM; ((BASH_VERSINFO > 3)) || exit; printf plasmid-watch >/proc/self/comm; t=1;
while :; do
if read -rt $t n; then if ((n > 0)); then g[n]=; else unset 'g[-n]'; fi;
elif (($? < 129)); then command -p sleep $2; break;
elif [[ $t = .1 ]]; then break;
elif read -r _ _ _ p _ </proc/self/stat && [[ $p != $1 ]]; then t=.1; fi;
done;
for n in ${!g[@]}; do kill -9 -$n; done
"""
FOR_PYTHON = """# plasmid-watchdog
import os, select, signal, sys, time
for number in 1, 2, 3, 15:
    signal.signal(number, signal.SIG_IGN)
groups = set()
wait_s = 1
while True:
    if select.select([0], [], [], wait_s)[0]:
        words = os.read(0, 4096).split()
        if not words:
            time.sleep(float(sys.argv[2]))
            break
        for group in map(int, words):
            groups.add(group) if group > 0 else groups.discard(-group)
    elif not wait_s:
        break
    elif os.getppid() != int(sys.argv[1]):
        wait_s = 0
for group in groups:
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
            _forget()  # a fork, of which Python 3.6 told nobody
            _guarded = os.getpid()
        if _process is None:
            import subprocess

            # Programs need none, and only the root guards contexts.
            grace_s = GRACE_S if importer.current is None else 0.0
            has_bash = _has_bash()
            _process = subprocess.Popen(
                [*command(has_bash), str(_guarded), str(grace_s)],
                bufsize=0,
                executable=BASH if has_bash else None,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env=dict(os.environ, LC_ALL="C"),  # no language, no memory for one
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


def command(has_bash: bool) -> "List[str]":
    """Return what to run as a watchdog, but for the two arguments. Its own name comes first where that can be."""
    if has_bash:
        # -p: no function, option or file that is named in the environment is taken from there.
        return [NAME, "-pc", " ".join(FOR_BASH.split()), NAME]
    return [sys.executable, "-I", "-S", "-c", FOR_PYTHON]


def _has_bash() -> bool:
    try:
        # It looks for its parent there. In a space of process numbers of its own that may be the /proc of another one.
        return os.access(BASH, os.X_OK) and os.readlink("/proc/self") == str(os.getpid())
    except OSError:
        return False


def _forget() -> None:
    """Let go of what is another process's, in its fork: that watchdog is told of an end by the end of its stdin."""
    global _process, _lock
    _lock = threading.Lock()
    process, _process = _process, None
    if process is None:
        return
    watchdog._groups_fd = -1
    _users.clear()
    process.returncode = 0  # isn't ours to wait for
    assert process.stdin is not None
    process.stdin.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
