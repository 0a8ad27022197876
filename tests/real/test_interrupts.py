"""Ctrl-C, at any point: no frame is lost by it, the far method hears of it, and nothing is left."""

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.real import leftovers

TIMEOUT_S = 50
GONE_TIMEOUT_S = 2
ROOT = Path(__file__).parents[2]

# One Ctrl-C each round, at some moment while calls are made; after all of them everything must work as before.
MANY = """
import os, random, signal, sys, threading, zlib
import plasmid
from tests.real import far

armed = threading.Semaphore(0)
data = bytes(4_000_000)

def interrupt():
    while True:
        armed.acquire()
        if random.random() < 0.5:
            for _ in range(random.randrange(20_000)):
                pass
        else:
            # Without the interpreter lock: meanwhile calls are made.
            zlib.crc32(memoryview(data)[: random.randrange(len(data))])
        os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=interrupt, daemon=True).start()
rounds = calls = 0
with plasmid.Router(timeout=20) as router:
    context = router.local()
    work = context.service(far.Work)
    while rounds < 150:
        # One that isn't interrupted: what was left by the last round must serve it.
        assert context.call(far.add, calls) == calls + 10
        try:
            armed.release()
            while True:
                assert work.takes_path("x") == "x"
                assert context.call(far.add, calls) == calls + 10
                calls += 1
        except KeyboardInterrupt:
            rounds += 1
    assert context.call(far.echo, b"x" * 300_000) == b"x" * 300_000
    assert (len(router.runtime.node.calls.made), router.runtime.lock.locked()) == (0, False)
print("rounds", rounds)
"""

WAITING = """
import os, signal, threading
import plasmid
from tests.real import far

with plasmid.Router() as router:
    context = router.local()
    work = context.service(far.Work)
    work.release("")

    def interrupt():
        work.is_running()
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    try:
        work.run_until_cancelled()
    except KeyboardInterrupt:
        print("cancelled there:", work.was_cancelled())
"""

# Python lets go of what is raised in a destructor, or when a weak reference ends; and what comes amid the protocol is
# put off, until after the program has begun to wait for something else.
UNHEARD = """
import signal, sys, time, weakref
import plasmid

class Ending:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)

class Referred:
    pass

def destroy():
    Ending()

def end_reference():
    referred = Referred()
    reference = weakref.ref(referred, lambda _: signal.raise_signal(signal.SIGINT))
    del referred

def pass_protocol():
    names = {"__name__": "plasmid.core.node", "signal": signal}
    exec("def feed(): signal.raise_signal(signal.SIGINT)", names)
    names["feed"]()

for number in range(3):
    with plasmid.Router():
        try:
            globals()[sys.argv[1]]()
            time.sleep(40)
        except KeyboardInterrupt:
            print("heard")
"""

# Tells all processes as they are started, and is interrupted whenever.
ENDING = """
import json, os, sys, threading
import plasmid
from tests.real import far

def main():
    with plasmid.Router() as router:
        print("begun", flush=True)
        contexts = []
        for number in range(3):
            contexts.append(router.local(via=contexts[-1] if contexts else None))
            command = plasmid.commands.start(contexts[-1], ["sleep", "600"])
            print(json.dumps(contexts[-1].call(far.process_ids)), flush=True)
        print("ready", flush=True)
        contexts[-1].call(far.wait_at_gate)

main()
"""


def run(program: str, *args: str) -> "subprocess.CompletedProcess[str]":
    """Run a program to its end."""
    return subprocess.run(
        [sys.executable, "-c", program, *args],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def test_no_frame_is_lost_by_ctrl_c_at_any_point() -> None:  # D2
    done = run(MANY)
    assert (done.stdout, done.returncode) == ("rounds 150\n", 0), done.stderr


def test_ctrl_c_while_a_result_is_waited_for_reaches_the_method() -> None:  # D7
    done = run(WAITING)
    assert (done.stdout, done.stderr, done.returncode) == ("cancelled there: True\n", "", 0)


@pytest.mark.parametrize("function", ["destroy", "end_reference", "pass_protocol"])
def test_ctrl_c_is_heard_where_nobody_would_hear_it(function: str) -> None:
    done = run(UNHEARD, function)
    assert (done.stdout, done.stderr, done.returncode) == ("heard\n" * 3, "", 0)


@pytest.mark.parametrize("seed", range(6))
def test_ctrl_c_at_any_point_of_a_program_leaves_nothing(seed: int) -> None:  # D11
    mark = f"plasmid-interrupt-{os.getpid()}-{seed}"
    program = subprocess.Popen(
        [sys.executable, "-c", ENDING],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, leftovers.MARK_NAME: mark},
    )
    assert program.stdout is not None
    with program:
        # After so many lines, which is as good as after so much time, and can be repeated.
        lines = [program.stdout.readline() for _ in range(random.Random(seed).randrange(1, 6))]
        program.send_signal(signal.SIGINT)
        rest, errors = program.communicate(timeout=TIMEOUT_S)
    assert lines[0] == "begun\n"
    assert errors.rstrip().endswith("KeyboardInterrupt"), errors
    told = [pid for line in [*lines, *rest.splitlines()] if line.startswith("[") for pid in json.loads(line)]
    assert leftovers.until_empty(lambda: leftovers.running(told), GONE_TIMEOUT_S) == []
    assert leftovers.until_empty(lambda: [str(one) for one in leftovers.marked(mark)], GONE_TIMEOUT_S) == []
