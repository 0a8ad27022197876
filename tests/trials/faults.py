"""How long a caller takes to know: what happens to a context with a call in flight, and how and when that call ends.

    python -m tests.trials.faults [TRIALS]      50 trials of each fault

Prints a table in Markdown, and what 20 stopped children cost that are owed 1 GiB each. Ends with status 1 if a call
ended otherwise than it should.
"""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import plasmid
from tests.real import far

BATCH = 10
WAIT_MAX_S = 60.0
OWED = 1 << 30
STOPPED = 20


def kill(context: plasmid.Context, pid: int) -> None:
    """End the far side by force."""
    os.kill(pid, signal.SIGKILL)


def stop(context: plasmid.Context, pid: int) -> None:
    """Stop the far side: it falls silent, and its link stays."""
    os.kill(pid, signal.SIGSTOP)


def speak_garbage(context: plasmid.Context, pid: int) -> None:
    """Have the far side break the protocol in the middle of a frame."""
    with contextlib.suppress(plasmid.CallError):
        context.service(far.Breaker).write_garbage()


def nothing(context: plasmid.Context, pid: int) -> None:
    """Let the deadline pass."""


FAULTS: "dict[str, tuple[Callable[[plasmid.Context, int], None], bool, float | None, str]]" = {
    "killed": (kill, False, None, "ContextLost"),
    "killed, two links away": (kill, True, None, "ContextLost"),
    "a broken frame on its link": (speak_garbage, False, None, "ContextLost"),
    "blocked, past the deadline of 1 s": (nothing, False, 1.0, "DeadlineExceeded"),
    "stopped, its link silent": (stop, False, None, "ContextLost"),
}


def batch(fault: str) -> "list[tuple[str, float]]":
    """Return how each of some calls ended, and after how many seconds."""
    act, is_below, timeout_s, _ = FAULTS[fault]
    with plasmid.Router() as router:
        above = [router.local(name="above") if is_below else None for _ in range(BATCH)]
        contexts = [router.local(name="far", via=each) for each in above]
        pids = [context.call(os.getpid) for context in contexts]
        begun = time.monotonic()
        with plasmid.timeout(timeout_s):
            calls = [context.service(far.Work).hold.start() for context in contexts]
        if timeout_s is None:
            begun = time.monotonic()
        for context, pid in zip(contexts, pids, strict=True):
            act(context, pid)
        found = []
        for call in calls:
            error = call.exception(WAIT_MAX_S)
            found.append((type(error).__name__, time.monotonic() - begun))
        router.close(patience_s=0.2)
    return found


def resident() -> int:
    """Return how many bytes of memory this process takes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def owe() -> None:
    """Print what it costs to owe stopped children much, and what their sibling notices of it."""
    with plasmid.Router() as router:
        sibling = router.local(name="sibling")
        children = [router.local(name=f"c{number}") for number in range(STOPPED)]
        for child in children:
            os.kill(child.call(os.getpid), signal.SIGSTOP)
        data = bytes(OWED)  # of no memory until it is written to
        before = resident()
        calls = [child.call_async(far.echo, data) for child in children]
        times = []
        for _ in range(2000):
            begun = time.monotonic()
            sibling.call(far.add, 1)
            times.append(time.monotonic() - begun)
        after = resident()
        times.sort()
        print(
            f"\n{STOPPED} stopped children, each owed {OWED >> 20} MiB: {(after - before) / (1 << 20):.1f} MiB more in"
            f" the root; a sibling's call meanwhile: p50 {times[1000] * 1e3:.2f} ms, p99 {times[1980] * 1e3:.2f} ms"
        )
        for call in calls:
            call.cancel()
        router.close(patience_s=0.1)


def main() -> int:
    """Try all faults."""
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    wrong = False
    print("| fault | trials | outcome | the caller knew after, at most |\n|---|--:|---|--:|")
    for fault, (*_, expected) in FAULTS.items():
        found = [one for _ in range(max(1, trials // BATCH)) for one in batch(fault)]
        outcomes = sorted({name for name, _ in found})
        wrong = wrong or outcomes != [expected]
        print(f"| {fault} | {len(found)} | {', '.join(outcomes)} | {max(s for _, s in found):.2f} s |", flush=True)
    owe()
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
