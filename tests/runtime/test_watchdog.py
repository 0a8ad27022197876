"""watchdog.py with real processes: whatever the context does, it and its group are gone 2 s after the hang-up.

Each test runs its context with the link as a socketpair and as two pipes (a ssh server may give either), on this
Python, which has pidfd_open, and on the oldest, which hasn't.
"""

import contextlib
import itertools
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import plasmid.runtime
from plasmid.connect.process import GRACE_S
from tests.real.interpreters import SUPPORTED, interpreter
from tests.real.parts import require_linux

pytestmark = pytest.mark.real

SOURCES = str(Path(plasmid.runtime.__file__).parents[2])
START_TIMEOUT_S = 20
GONE_MAX_S = 2.0  # promised

# Starts the watchdog, and a grandchild in the same group that ignores what can be ignored; tells their numbers.
CONTEXT = f"""
import os, signal, sys, time
sys.path.insert(0, {SOURCES!r})
from plasmid.runtime import watchdog
watchdog_pid = watchdog.start(0, 8 << 3)  # 0.8 s
grandchild_pid = os.fork()
if grandchild_pid == 0:
    for number in range(1, 32):
        if number not in (9, 17, 19):
            signal.signal(number, signal.SIG_IGN)
    os.write(2, b"%d %d %d\\n" % (os.getppid(), watchdog_pid, os.getpid()))
    os.close(2)
    while True:
        time.sleep(600)
os.close(2)
"""

BUSY = "sum(iter(int, 1))"  # never ends, and never lets go of the interpreter lock
STOPPED = "os.kill(os.getpid(), signal.SIGSTOP)"
IGNORING = """
for number in range(1, 32):
    if number not in (9, 17, 19):
        signal.signal(number, signal.SIG_IGN)
while True:
    time.sleep(600)
"""
IDLE = "time.sleep(600)"


class Running(NamedTuple):
    """A context under test. near: our ends of its link. pids: its own, its watchdog's, its grandchild's."""

    process: "subprocess.Popen[bytes]"
    near_read: int
    near_write: int
    pids: "tuple[int, int, int]"

    def hang_up(self) -> None:
        """Close our ends of the link."""
        for fd in {self.near_read, self.near_write}:
            os.close(fd)


@contextlib.contextmanager
def running(code: str, python: str, link: str) -> "Iterator[Running]":
    """Start a context that does this after its watchdog has been started; close the link yourself."""
    if link == "pipes":
        far_read, near_write = os.pipe()
        near_read, far_write = os.pipe()
    else:
        near, far = socket.socketpair()
        near_read = near_write = near.detach()
        far_read = far_write = far.detach()
    with subprocess.Popen(
        [python, "-S", "-c", CONTEXT + code],
        stdin=far_read,
        stdout=far_write,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        for fd in {far_read, far_write}:
            os.close(fd)
        assert process.stderr is not None
        assert select.select([process.stderr], [], [], START_TIMEOUT_S)[0], "the context doesn't start"
        words = process.stderr.readline().split()
        assert len(words) == 3, process.stderr.read().decode()
        pids = int(words[0]), int(words[1]), int(words[2])
        try:
            yield Running(process, near_read, near_write, pids)
        finally:
            # Only what a failed test leaves. The group still is the context's: it hasn't been reaped yet.
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)


@contextlib.contextmanager
def all_running(code: str) -> "Iterator[list[Running]]":
    """Start such a context with each kind of link and on each of the two Pythons."""
    pythons = (sys.executable, interpreter(SUPPORTED[0]))
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(running(code, python, link))
            for python, link in itertools.product(pythons, ("socketpair", "pipes"))
        ]


@contextlib.contextmanager
def watched(contexts: "list[Running]") -> "Iterator[dict[int, str]]":
    """Give a descriptor for each process of these contexts; it's readable when the process has ended."""
    fds = {}
    try:
        for context in contexts:
            for pid, role in zip(context.pids, ("context", "watchdog", "grandchild"), strict=True):
                fds[os.pidfd_open(pid)] = role
        yield fds
    finally:
        for fd in fds:
            os.close(fd)


def wait_gone(fds: "dict[int, str]", seconds: float) -> None:
    """Return when all of these have ended, which must be within the time."""
    deadline = time.monotonic() + seconds
    left = dict(fds)
    while left:
        ended = select.select(list(left), [], [], max(0.0, deadline - time.monotonic()))[0]
        assert ended, f"still there after {seconds} s: {sorted(left.values())}"
        for fd in ended:
            del left[fd]


# D11
@pytest.mark.parametrize("code", [BUSY, STOPPED, IGNORING, IDLE], ids=["busy", "stopped", "ignoring", "idle"])
def test_all_are_gone_after_the_hang_up_though_data_is_unread(code: str) -> None:
    require_linux()
    with all_running(code) as contexts, watched(contexts) as fds:
        for context in contexts:
            os.write(context.near_write, b"x" * 1000)
        assert select.select(list(fds), [], [], 0.1)[0] == []
        for context in contexts:
            context.hang_up()
        wait_gone(fds, GONE_MAX_S)
        assert [context.process.wait() for context in contexts] == [-signal.SIGKILL] * len(contexts)


def test_a_context_that_leaves_by_itself_has_the_time_for_it() -> None:
    require_linux()
    with all_running("while os.read(0, 100): pass\ntime.sleep(0.3)\nos._exit(7)") as contexts, watched(contexts) as fds:
        for context in contexts:
            context.hang_up()
        wait_gone(fds, GONE_MAX_S)
        assert [context.process.wait() for context in contexts] == [7] * len(contexts)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("os.read(0, 1)\nsys.exit(5)", 5),
        ("os.read(0, 1)\nos.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
        ("os.closerange(3, 4096)\nos.read(0, 1)\nos._exit(6)", 6),
    ],
    ids=["exit", "killed", "descriptors-closed"],
)
def test_the_end_of_the_context_is_the_end_of_its_group_and_of_the_watchdog(code: str, status: int) -> None:
    require_linux()
    with all_running(code) as contexts, watched(contexts) as fds:
        # With its link up a context lives for longer than it would after a hang-up.
        assert select.select(list(fds), [], [], GRACE_S + 0.3)[0] == []
        for context in contexts:
            os.write(context.near_write, b"x")
        wait_gone(fds, GONE_MAX_S)
        assert [context.process.wait() for context in contexts] == [status] * len(contexts)
        for context in contexts:
            # Nobody holds the link open any more, so the near side sees its end.
            assert os.read(context.near_read, 1) == b""
            context.hang_up()


def test_signals_to_the_group_do_not_reach_the_watchdog_and_the_link_is_untouched() -> None:
    require_linux()
    echo = "signal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: os.write(1, os.read(0, 100))"
    with all_running(echo) as contexts, watched(contexts) as fds:
        for context in contexts:
            # Its echo says that the signal is ignored by then.
            for number in range(200):
                os.write(context.near_write, b"%8d" % number)
                assert os.read(context.near_read, 8) == b"%8d" % number
            os.killpg(context.process.pid, signal.SIGINT)
            os.write(context.near_write, b"after it")
            assert os.read(context.near_read, 8) == b"after it"
        assert select.select(list(fds), [], [], 0)[0] == []
        for context in contexts:
            context.hang_up()
        wait_gone(fds, GONE_MAX_S)


def held_by(pid: int) -> "tuple[str, str, dict[str, str]]":
    """Return a process's name, the folder that it is in, and its descriptors."""
    held = {}
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            held[fd] = os.readlink(f"/proc/{pid}/fd/{fd}")
    return Path(f"/proc/{pid}/comm").read_text(), os.readlink(f"/proc/{pid}/cwd"), held


def test_the_watchdog_holds_the_link_and_two_descriptors_more_and_leads_a_session() -> None:
    require_linux()
    with all_running(IDLE) as contexts, watched(contexts) as fds:
        for context in contexts:
            pid, watchdog, grandchild = context.pids
            # Its name is the last thing it sets, by a descriptor that is open then; nothing waits for that.
            deadline = time.monotonic() + START_TIMEOUT_S
            name, folder, held = held_by(watchdog)
            while (name, len(held)) != ("plasmid-watch\n", 3) and time.monotonic() < deadline:
                os.sched_yield()
                name, folder, held = held_by(watchdog)
            assert (name, folder, len(held), "0" in held) == ("plasmid-watch\n", "/", 3, True), held
            assert [os.getpgid(one) for one in (pid, watchdog, grandchild)] == [pid, watchdog, pid]
            assert os.getsid(watchdog) == watchdog
            context.hang_up()
        wait_gone(fds, GONE_MAX_S)
