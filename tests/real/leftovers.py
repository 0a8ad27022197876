"""What a test run left behind: processes, descriptors, threads, control groups, mounts, temporary files.

A process belongs to a run if it descends from it, or if the run's mark is in the environment it was started with.
The mark is what finds an orphan, which descends from nobody any more; the private ssh servers hand it on to what
they start. Reads /proc, so elsewhere than on Linux it finds no processes and no descriptors.
"""

import gc
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

MARK_NAME = "PLASMID_TEST_SESSION"
# How often a condition is looked at again. There is no event to wait for that covers all of them.
POLL_INTERVAL_S = 0.02


class Process(NamedTuple):
    """One running process, as /proc shows it."""

    pid: int
    parent_pid: int
    state: str  # one letter, Z for a zombie
    command: str

    def __str__(self) -> str:
        state = "zombie" if self.state == "Z" else "running"
        return f"process {self.pid} ({state}): {self.command}"


def processes() -> "list[Process]":
    """Return every process of this machine that can be read."""
    found = (_read_process(name) for name in _numbers_in("/proc"))
    return [process for process in found if process is not None]


def descendants(pid: int) -> "list[Process]":
    """Return the children of a process, their children, and so on."""
    by_parent: dict[int, list[Process]] = {}
    for process in processes():
        by_parent.setdefault(process.parent_pid, []).append(process)
    found: list[Process] = []
    to_visit = [pid]
    while to_visit:
        children = by_parent.get(to_visit.pop(), [])
        found += children
        to_visit += [child.pid for child in children]
    return found


def running(pids: "Sequence[int]") -> "list[str]":
    """Return a line for each of these processes that is still there and isn't a zombie."""
    return [str(one) for one in processes() if one.pid in pids and one.state != "Z"]


def marked(mark: str) -> "list[Process]":
    """Return the processes that were started with this mark in their environment, except the caller's own."""
    wanted = f"{MARK_NAME}={mark}".encode()
    return [one for one in processes() if one.pid != os.getpid() and wanted in _environment(one.pid)]


def of_session(mark: str) -> "list[Process]":
    """Return the processes of this test run: descendants, and orphans that carry its mark."""
    found = {process.pid: process for process in [*descendants(os.getpid()), *marked(mark)]}
    return [found[pid] for pid in sorted(found)]


def kill(left: "Sequence[Process]") -> None:
    """End these processes at once."""
    for process in left:
        try:
            os.kill(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def cgroups(mark: str) -> "list[Path]":
    """Return the control groups with this in their name and those below them, the innermost first."""
    return [Path(folder) for folder, _, _ in os.walk("/sys/fs/cgroup", topdown=False) if mark in folder]


def mounts(folder: Path) -> "list[str]":
    """Return where something is mounted below a folder, as this process sees it."""
    try:
        lines = Path("/proc/self/mounts").read_text(errors="replace").splitlines()
    except OSError:
        return []
    return [line.split()[1] for line in lines if line.split()[1].startswith(f"{folder}/")]


def descriptors() -> "dict[int, str]":
    """Return this process's open descriptors and what each is open on, "socket:[1234]"."""
    found = {}
    for number in _numbers_in("/proc/self/fd"):
        try:
            found[number] = os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            continue  # the one that listing the folder took
    return found


class Holdings:
    """What this process holds at one moment, to be compared with what it holds later."""

    def __init__(self) -> None:
        self._threads = set(threading.enumerate())
        self._descriptors = set(descriptors().items())

    def added(self) -> "list[str]":
        """Return a line for each thread and descriptor that is there now and wasn't then."""
        threads = [thread for thread in threading.enumerate() if thread not in self._threads]
        opened = sorted(set(descriptors().items()) - self._descriptors)
        return [f"thread {thread.name}" for thread in threads] + [f"descriptor {n} on {on}" for n, on in opened]

    def still_added(self, timeout_s: float) -> "list[str]":
        """Return what added() still has to say after at most this long."""
        if not self.added():
            return []
        # A failed assertion's traceback holds on to the frames it went through; nothing else needs the collector.
        gc.collect()
        return until_empty(self.added, timeout_s)


def until_empty(look: "Callable[[], list[str]]", timeout_s: float) -> "list[str]":
    """Return what look() answers once that is nothing, or what it answers when the time is over."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = look()
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(POLL_INTERVAL_S)


def wait_until(holds: "Callable[[], bool]", timeout_s: float = 30) -> None:
    """Return as soon as holds() is true; fail if it isn't in time."""
    assert until_empty(lambda: [] if holds() else ["it isn't so yet"], timeout_s) == []


class Session:
    """One test process's run: its mark, and a folder that every temporary file made during it lands in.

    start() changes this process's environment, left() says what is still there, stop() puts the environment back.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="plasmid-test-"))
        self.mark = self.folder.name
        self._before: dict[str, str | None] = {}
        self._tempdir_before: str | None = None

    def start(self) -> None:
        """Make children carry the mark and temporary files go to the folder."""
        # pytest keeps its own tmp_path folders for a while after the run, on purpose; they stay where they were.
        self._set("PYTEST_DEBUG_TEMPROOT", os.environ.get("PYTEST_DEBUG_TEMPROOT") or tempfile.gettempdir())
        self._set(MARK_NAME, self.mark)
        self._set("TMPDIR", str(self.folder))
        self._tempdir_before = tempfile.tempdir
        tempfile.tempdir = str(self.folder)

    def left(self) -> "list[str]":
        """Return a line for each process, control group, mount and temporary file of this run that is there now."""
        files = [f"temporary file {path}" for path in sorted(self.folder.iterdir())]
        groups = [f"control group {path}" for path in cgroups(self.mark)]
        mounted = [f"mount on {path}" for path in mounts(self.folder)]
        return [str(process) for process in of_session(self.mark)] + groups + mounted + files

    def stop(self) -> None:
        """Put the environment back as it was. The folder goes too, unless there is something in it to look at."""
        tempfile.tempdir = self._tempdir_before
        for name, value in self._before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        if not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _set(self, name: str, value: str) -> None:
        self._before[name] = os.environ.get(name)
        os.environ[name] = value


def _numbers_in(folder: str) -> "Iterator[int]":
    try:
        names = os.listdir(folder)
    except OSError:
        return iter(())
    return (int(name) for name in names if name.isdigit())


def _read_process(pid: int) -> "Process | None":
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return None
    # The name stands in brackets and may itself contain some.
    name, _, rest = stat.partition("(")[2].rpartition(")")
    state, parent_pid = rest.split()[:2]
    return Process(pid, int(parent_pid), state, command or f"[{name}]")


def _environment(pid: int) -> "list[bytes]":
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []
