"""The tiny process that kills this context's process group when its link hangs up.

It is forked before the first thread, holds only the link and one descriptor that tells of the context's end, and
never reads from the link. It works while the context is stopped, holds the interpreter lock in native code or
ignores signals, which is why it is a process and not a thread.

    link hung up   ->  the context has grace_s to leave by itself, then SIGKILL to its process group
    context gone   ->  SIGKILL to what is left of its process group, and of the other groups that it named in guard()

It is a child of the context: `os.wait()` there sees it, as it would see a resource tracker of multiprocessing.
"""

import os
import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List

# What this context has, as its parent told it; see connect/process.py. None in the root.
grace_s = 0.0

# By which a context names the further process groups that are to end with it; none in the root. And whose end tells of
# the context's, where nothing better does.
_groups_fd = _life_fd = -1

# The watchdog of this context, once it has one; -1: it is its parent's, see builtin/root_watchdog.py.
pid = 0


def guard(group: int) -> None:
    """Have this process group end with the context; no more, if the number is given negated: before it is reaped."""
    if _groups_fd >= 0:
        # A line, for the shell of builtin/root_watchdog.py, of a length that divides 4096: none is read in pieces.
        os.write(_groups_fd, b"%15d\n" % group)


def start(link_fd: int, care: int) -> int:
    """Make this process the leader of its group, start its watchdog, and return the watchdog's process id.

    link_fd: the descriptor that link data is read from, a socket or the read end of a pipe; only those see a
    hang-up. care: the byte with which the configuration begins, see builtin/first_words.py. Its second bit: what the
    parent started is in its watchdog's care; if that is this process, it needs no other. Above the third: the grace in
    tenths of a second.
    Must be called before any thread is started.
    """
    global _groups_fd, _life_fd, grace_s, pid
    grace_s = (care >> 3) / 10
    context = os.getpid()
    pid = -1
    if os.getpgrp() != context:
        os.setpgid(0, 0)
    elif care & 2:
        return pid
    try:
        ended = os.pidfd_open(context)
    except (AttributeError, OSError):
        ended, _life_fd = os.pipe()  # the other end stays open for as long as the context lives
    groups, _groups_fd = os.pipe()
    pid = os.fork()
    if pid:
        os.close(ended)
        os.close(groups)
        return pid
    try:
        os.setsid()  # signals to the context's group, Ctrl-C and a hang-up of the terminal aren't for us
        _let_go(link_fd, ended, groups)
        for group in _watch(context, link_fd, ended, groups):
            try:
                os.killpg(group, 9)
            except OSError:
                pass  # nothing is left of it
    finally:
        os._exit(0)


def _let_go(*kept: int) -> None:
    # What we hold open, others wait for: the near side for the end of stdout, programs for the end of their pipes.
    # Descriptors above 4096 don't occur this early, and a higher bound would cost where close_range is missing.
    start = 0
    for end in sorted(kept) + [4096]:
        if start < end:  # closerange(0, 0) closes everything on Python 3.10 and later
            os.closerange(start, end)
        start = end + 1
    os.chdir("/")
    try:
        with open("/proc/self/comm", "wb", 0) as title:
            title.write(b"plasmid-watch")
    except OSError:
        pass


def _watch(context: int, link_fd: int, ended: int, groups: int) -> "List[int]":
    """Return what to kill when the context is gone, or when its link has hung up and its grace is over."""
    doomed = [context]
    poller = select.poll()
    # Linux reports a hang-up unasked, whatever data is still unread. macOS does when POLLHUP is asked for.
    poller.register(link_fd, select.POLLHUP | getattr(select, "POLLRDHUP", 0))
    for fd in ended, groups:
        poller.register(fd, select.POLLIN)
    # How often the context is looked for where no descriptor tells of its end reliably: Python before 3.9, macOS, a
    # sandbox without pidfd_open. There the pipe can be held open by processes that the context forked.
    look_ms = None if _life_fd < 0 else 500
    leave_by = float("inf")
    alive = True
    while alive and time.monotonic() < leave_by:
        # Asked before the last look at what it wrote.
        alive = os.getppid() == context
        found = [fd for fd, _ in poller.poll(look_ms if alive else 0)]
        if groups in found:
            words = os.read(groups, 4096).split()
            for group in map(int, words):
                doomed.append(group) if group > 0 else doomed.remove(-group)
            if words:
                found.remove(groups)
        for fd in found:
            poller.unregister(fd)
            look_ms = 20  # the pipe says only that the end is near; and a grace has its end
        if link_fd in found:
            leave_by = time.monotonic() + grace_s
        if not found:
            time.sleep(0.02)  # macOS wakes us for unread data as well: not more often than this
    return doomed
