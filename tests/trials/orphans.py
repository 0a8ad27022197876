"""How long processes outlive the program that started them: by what they do, and by how the program ends.

    python -m tests.trials.orphans [TRIALS [WAY...]]      100 trials of each kind; one trial is one context

The ways are those of WAYS; all of them where none is named. Those beyond local and ssh need root, and make users or
engines of their own. Prints a table in Markdown. Ends with status 1 if any process was still there after what is
promised, 2 s.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.real import leftovers, sshd, users
from tests.real.lab import engines, rootfs

GONE_MAX_S = 2.0
WAIT_MAX_S = 15.0
BATCH = 10  # contexts of one program
PROGRAM = "tests.trials.orphan_root"
KINDS = ("idle", "native code", "stopped", "ignores signals", "grandchildren", "a command")
# Besides, where a program stays here that leads there, and that isn't another user's.
KINDS_OF_CLIENTS = {"ssh": ("client stopped",), "docker": ("client stopped",), "podman": ("client stopped",)}
ENDINGS = ("exits", "raises", "exits-in-thread", "exits-at-once", "interrupted")


class Outcome(NamedTuple):
    """What came of some trials. left: processes that were there for longer than is promised."""

    what: str
    trials: int
    processes: int
    left: int
    slowest_s: float


class Place(NamedTuple):
    """Where the contexts of a program are."""

    url: str
    options: "dict[str, Any]"


def namespace_of(pid: int) -> "tuple[str, int]":
    """Return in which space of process numbers a process is, and its number there."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        return os.readlink(f"/proc/{pid}/ns/pid"), int(status.partition("NSpid:")[2].splitlines()[0].split()[-1])
    except OSError:
        return "", 0  # it has ended


def numbers_here(told: "set[int]", name: str) -> "set[int]":
    """Return what the processes are called here that contexts of this name, in a container perhaps, told of."""
    processes = leftovers.processes()
    everything = {process.pid: namespace_of(process.pid) for process in processes}
    mine = [one.pid for one in processes if one.command.rpartition(" ")[2].startswith(f"plasmid:{name}")]
    spaces = {everything[pid][0] for pid in mine}
    # The programs that lead into a container bear the name as well, and are here.
    spaces = spaces - {namespace_of(os.getpid())[0]} or spaces
    return {pid for pid, (space, number) in everything.items() if space in spaces and number in told}


def try_once(kind: str, ending: str, place: Place) -> "tuple[int, int, float]":
    """Run one program to its end; return how many processes it had, how many stayed, and for how long."""
    mark = f"plasmid-orphans-{os.getpid()}-{time.monotonic_ns()}"
    program = subprocess.Popen(
        [sys.executable, "-m", PROGRAM, kind, ending, str(BATCH), f"{mark}-", place.url, json.dumps(place.options)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=Path(__file__).parents[2],
        env={**os.environ, leftovers.MARK_NAME: mark},
    )
    assert program.stdin is not None
    assert program.stdout is not None
    with program, killed_at_last(program):
        line = program.stdout.readline()
        near = [process.pid for process in leftovers.marked(mark) if process.pid != program.pid]
        told = json.loads(line)
        pids = numbers_here(set(told), f"{mark}-")
        assert len(pids) == len(told), "not all processes were there that the program told of"
        pids |= set(near)
        watched = {os.pidfd_open(pid): pid for pid in pids if os.path.exists(f"/proc/{pid}")}
        if ending == "killed":
            program.kill()
        else:
            program.stdin.write(b"\n")
            program.stdin.flush()
        program.wait()
        slowest_s = wait_gone(set(watched), time.monotonic())
        left = [pid for fd, pid in watched.items() if not select.select([fd], [], [], 0)[0]]
        for fd in watched:
            os.close(fd)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    return len(pids), len(left), slowest_s


@contextlib.contextmanager
def killed_at_last(program: "subprocess.Popen[bytes]") -> "Iterator[None]":
    """Have the program end, and not be waited for, whatever goes wrong here."""
    try:
        yield
    finally:
        program.kill()


def wait_gone(fds: "set[int]", since: float) -> float:
    """Wait until all these processes have ended; return how long the last of them took."""
    last_s = 0.0
    while fds and time.monotonic() - since < WAIT_MAX_S:
        ended = select.select(list(fds), [], [], 0.5)[0]
        if ended:
            last_s = time.monotonic() - since
        fds -= set(ended)
    return WAIT_MAX_S if fds else last_s


def try_many(what: str, kind: str, ending: str, place: Place, trials: int) -> Outcome:
    """Repeat, until there were that many contexts."""
    found = [try_once(kind, ending, place) for _ in range(max(1, trials // BATCH))]
    late = sum(1 for _, left, slowest_s in found if left or slowest_s > GONE_MAX_S)
    outcome = Outcome(what, len(found) * BATCH, sum(one[0] for one in found), late, max(one[2] for one in found))
    print(f"| {outcome.what} | {outcome.trials} | {outcome.processes} | {outcome.left} | {outcome.slowest_s:.2f} s |")
    sys.stdout.flush()
    return outcome


@contextlib.contextmanager
def local_place(folder: Path) -> "Iterator[Place]":
    """Give this machine."""
    yield Place("local:", {})


@contextlib.contextmanager
def ssh_place(folder: Path) -> "Iterator[Place]":
    """Give a private ssh server."""
    with sshd.running_server(folder / "sshd") as server:
        client = server.client()
        yield Place(f"ssh://{client.hostname}", {"ssh_args": list(client.ssh_args)})


@contextlib.contextmanager
def sudo_place(folder: Path) -> "Iterator[Place]":
    """Give another user of this machine."""
    with users.made_users() as made:
        yield Place(f"sudo://{made.target.name}@", {"python_path": users.PYTHON})


@contextlib.contextmanager
def container_place(folder: Path, scheme: str) -> "Iterator[Place]":
    """Give a container of a private engine."""
    archive = rootfs.archive(rootfs.make(folder / "root"), folder / "root.tar")
    running = {"docker": engines.running_docker, "podman": engines.running_podman}[scheme]
    with running(folder / scheme, archive) as engine:
        yield Place(f"{scheme}://{engine.start_container('web')}", engine.options)


WAYS: "dict[str, Callable[[Path], contextlib.AbstractContextManager[Place]]]" = {
    "local": local_place,
    "ssh": ssh_place,
    "sudo": sudo_place,
    "docker": lambda folder: container_place(folder, "docker"),
    "podman": lambda folder: container_place(folder, "podman"),
}


def main() -> int:
    """Run all kinds, and print what came of them."""
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    ways = sys.argv[2:] or list(WAYS)
    print("| what | trials | processes | later than 2 s | the last gone after |")
    print("|---|--:|--:|--:|--:|")
    outcomes = []
    for way in ways:
        with tempfile.TemporaryDirectory(prefix="plasmid-orphans-") as folder, WAYS[way](Path(folder)) as place:
            for kind in KINDS + KINDS_OF_CLIENTS.get(way, ()):
                outcomes.append(try_many(f"root killed, far side: {kind}, {way}", kind, "killed", place, trials))
    if "local" in ways:
        here = Place("local:", {})
        for ending in ENDINGS:
            outcomes.append(try_many(f"root {ending}, without close(), local", "grandchildren", ending, here, trials))
    return 1 if any(outcome.left for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
