"""Programs that fork: the parent's contexts go on, and the child is told clearly that it has none."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import plasmid
from tests.real import far
from tests.real.conftest import one_way
from tests.real.interpreters import SUPPORTED, interpreter

TIMEOUT_S = 30
ROOT = Path(__file__).parents[2]
FOUND = "this process was forked from the one that has the links; make a Router of its own here"

PROGRAM = """
import os, sys
import plasmid
from tests.real import far

router = plasmid.Router()
context = router.local(name="far")
held = context.service(far.Work)
held.release("")
flying = context.call_service_async(far.Work, "hold")
pid = os.fork()
if pid == 0:
    for attempt in (lambda: context.call(far.add, 1), lambda: flying.result(), lambda: router.local()):
        try:
            attempt()
        except Exception as error:
            print(type(error).__name__, error, flush=True)
    with plasmid.Router() as other:
        print("own:", other.local(name="own").call(far.add, 1), flush=True)
    sys.exit(7)
print("child:", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
print("goes on:", context.call(far.add, 2), held.release("done"), flying.result(), flush=True)
router.close()
"""


def test_after_a_fork_the_parent_goes_on_and_the_child_hears_what_to_do() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout.splitlines() == [
        f"NotSent tests.real.far.add on far (/1): {FOUND}. The method was not started; it is safe to repeat the call.",
        f"ContextLost tests.real.far.Work.hold on far (/1): /1 was lost: {FOUND}. "
        "The call may have run; check before you repeat it.",
        "PlasmidError starting local: the router is closed",
        "own: 11",
        "child: 7",
        "goes on: 12 1 done",
    ]


@pytest.mark.parametrize("version", SUPPORTED)
def test_a_far_side_forks_and_goes_on(router: plasmid.Router, version: str) -> None:
    context = router.local(python_path=interpreter(version))
    for _ in range(2):
        status, text = context.call(far.fork_and_call)
        assert (status, text) == (0, f"NotSent: call: {FOUND}")
    assert context.call(far.add, 1) == 11
    assert context.call(far.fork_on_a_terminal) == "in the child: NotSent"
    assert context.call(far.add, 1) == 11


@one_way
def test_forks_while_other_threads_call_break_nothing(context: plasmid.Context) -> None:
    stopped = threading.Event()
    wrong: list[BaseException] = []

    def keep_calling() -> None:
        try:
            while not stopped.is_set():
                assert context.service(far.Work).takes_path("x") == "x"
        except BaseException as error:  # noqa: BLE001 - told below
            wrong.append(error)

    threads = [threading.Thread(target=keep_calling) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(30):
            pid = os.fork()
            if pid == 0:
                try:
                    context.call(far.add, 1)
                except plasmid.NotSent:
                    os._exit(0)
                finally:
                    os._exit(1)
            assert os.waitpid(pid, 0)[1] == 0
    finally:
        stopped.set()
        for thread in threads:
            thread.join(TIMEOUT_S)
    assert wrong == []


def test_a_forked_child_does_not_keep_the_parents_far_sides_alive() -> None:
    with plasmid.Router() as router:
        context = router.local(name="far")
        child = router.child(context)
        assert child is not None
        ready, release = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(release)
            os.read(ready, 1)
            os._exit(0)
        try:
            context.shutdown()
            assert child.gone.is_set()
        finally:
            os.close(release)
            os.close(ready)
            os.waitpid(pid, 0)
    with pytest.raises(plasmid.NotSent, match="no link leads to"):
        context.call(far.add, 1)
