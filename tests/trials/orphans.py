"""How long processes outlive the program that started them: by what they do, and by how the program ends.

    python -m tests.trials.orphans [TRIALS]      100 trials of each kind; one trial is one context

Prints a table in Markdown. Ends with status 1 if any process was still there after what is promised, 2 s.
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
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.real import leftovers, sshd

GONE_MAX_S = 2.0
WAIT_MAX_S = 15.0
BATCH = 10  # contexts of one program
PROGRAM = "tests.trials.orphan_root"
KINDS = ("idle", "native code", "stopped", "ignores signals", "grandchildren", "a command")
ENDINGS = ("exits", "raises", "exits-in-thread", "exits-at-once", "interrupted")


class Outcome(NamedTuple):
    """What came of some trials. left: processes that were there for longer than is promised."""

    what: str
    trials: int
    processes: int
    left: int
    slowest_s: float


def try_once(kind: str, ending: str, place: "list[str]") -> "tuple[int, int, float]":
    """Run one program to its end; return how many processes it had, how many stayed, and for how long."""
    mark = f"plasmid-orphans-{os.getpid()}-{time.monotonic_ns()}"
    program = subprocess.Popen(
        [sys.executable, "-m", PROGRAM, kind, ending, str(BATCH), *place],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=Path(__file__).parents[2],
        env={**os.environ, leftovers.MARK_NAME: mark},
    )
    assert program.stdin is not None
    assert program.stdout is not None
    with program:
        line = program.stdout.readline()
        near = [process.pid for process in leftovers.marked(mark) if process.pid != program.pid]
        pids = set(json.loads(line)) | set(near)
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


def wait_gone(fds: "set[int]", since: float) -> float:
    """Wait until all these processes have ended; return how long the last of them took."""
    last_s = 0.0
    while fds and time.monotonic() - since < WAIT_MAX_S:
        ended = select.select(list(fds), [], [], 0.5)[0]
        if ended:
            last_s = time.monotonic() - since
        fds -= set(ended)
    return WAIT_MAX_S if fds else last_s


def try_many(what: str, kind: str, ending: str, place: "list[str]", trials: int) -> Outcome:
    """Repeat, until there were that many contexts."""
    found = [try_once(kind, ending, place) for _ in range(max(1, trials // BATCH))]
    late = sum(1 for _, left, slowest_s in found if left or slowest_s > GONE_MAX_S)
    outcome = Outcome(what, len(found) * BATCH, sum(one[0] for one in found), late, max(one[2] for one in found))
    print(f"| {outcome.what} | {outcome.trials} | {outcome.processes} | {outcome.left} | {outcome.slowest_s:.2f} s |")
    sys.stdout.flush()
    return outcome


@contextlib.contextmanager
def ssh_place() -> "Iterator[list[str]]":
    """Give what orphan_root.py needs to use ssh."""
    with tempfile.TemporaryDirectory(prefix="plasmid-orphans-") as folder:
        with sshd.running_server(Path(folder) / "sshd") as server:
            client = server.client()
            yield [client.hostname, json.dumps(list(client.ssh_args))]


def main() -> int:
    """Run all kinds, and print what came of them."""
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    print("| what | trials | processes | later than 2 s | the last gone after |")
    print("|---|--:|--:|--:|--:|")
    outcomes = []
    with ssh_place() as place:
        for way, where in ("local", []), ("ssh", place):
            for kind in KINDS:
                outcomes.append(try_many(f"root killed, far side: {kind}, {way}", kind, "killed", where, trials))
        for ending in ENDINGS:
            outcomes.append(try_many(f"root {ending}, without close(), local", "grandchildren", ending, [], trials))
    return 1 if any(outcome.left for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
