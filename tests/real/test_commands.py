"""Commands: programs that run where a context is, what they print and read, and that none outlives who wanted it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import plasmid
from plasmid import commands
from plasmid.builtin.commands import RUNNING_MAX
from tests.real import far, leftovers
from tests.real.conftest import one_way, ways
from tests.real.interpreters import interpreter

TIMEOUT_S = 30
# What D11 promises.
GONE_TIMEOUT_S = 2
# Tells its number and that of a process that it started, and ignores what it can.
STUBBORN = "trap '' TERM INT HUP; sleep 600 & echo $$ $!; while :; do sleep 0.1; done"


def pids_of(command: commands.Command) -> "list[int]":
    """Return the numbers that STUBBORN tells."""
    name, data = next(command)
    assert name == "stdout"
    return [int(word) for word in data.split()]


def gone(pids: "list[int]") -> "list[str]":
    """Return which of these processes are still there after the time that is promised."""
    return leftovers.until_empty(lambda: leftovers.running(pids), GONE_TIMEOUT_S)


@one_way
def test_a_program_runs_there_with_its_input_and_tells_its_status(context: plasmid.Context) -> None:
    script = "cat; echo $PWD $A ${HOME-none} >&2; exit 7"
    env = {"A": "1", "HOME": None}
    done = commands.run(context, ["sh", "-c", script], cwd="/usr", env=env, input=b"to be read", timeout=TIMEOUT_S)
    assert (done.status, done.text, done.stderr, done.dropped) == (7, "to be read", b"/usr 1 none\n", 0)
    assert commands.run(context, ["sh", "-c", "kill -9 $$"]).status == -9
    assert commands.run(context, ["cat"]).stdout == b""


@one_way
def test_much_goes_in_and_comes_out_in_order(context: plasmid.Context) -> None:
    data = os.urandom(3_000_000)
    done = commands.run(context, ["cat"], input=(data[at : at + 100_000] for at in range(0, len(data), 100_000)))
    assert done.stdout == data
    short = commands.run(context, ["cat"], input=data, held_max=1000)
    assert (short.stdout, short.dropped) == (data[:1000], len(data) - 1000)


@pytest.mark.parametrize("version", ["3.6", "3.8"])
def test_commands_run_on_an_older_python_too(router: plasmid.Router, version: str) -> None:
    context = router.local(python_path=interpreter(version))
    assert commands.run(context, ["sh", "-c", "cat; exit 3"], input=b"x" * 200_000).status == 3
    with commands.start(context, ["sh", "-c", STUBBORN]) as command:
        pids = pids_of(command)
    assert gone(pids) == []


@one_way
def test_what_a_program_prints_comes_while_it_runs(context: plasmid.Context) -> None:
    with commands.start(context, ["sh", "-c", "echo ready; read line; echo got $line"], feed=True) as command:
        assert next(command) == ("stdout", b"ready\n")
        command.write(b"this\n")
        assert next(command) == ("stdout", b"got this\n")
        assert command.status is None
        assert command.wait() == 0
        command.close_stdin()
    assert command.status == 0


@one_way
def test_what_can_not_be_run_is_an_error_that_names_it(context: plasmid.Context, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as missing:
        commands.run(context, ["no-such-program"])
    assert str(missing.value) == "[Errno 2] No such file or directory: no-such-program"
    plain = tmp_path / "plain"
    plain.write_text("text")
    with pytest.raises(PermissionError) as forbidden:
        commands.run(context, [str(plain)])
    assert str(forbidden.value) == f"[Errno 13] Permission denied: {plain}"
    with pytest.raises(FileNotFoundError):
        commands.run(context, ["true"], cwd="/no/such/folder")
    with pytest.raises(TypeError, match="given as a list of texts, not as 'ls -l'"):
        commands.run(context, "ls -l")
    command = commands.start(context, ["true"])
    with pytest.raises(ValueError, match="true was started without a stdin; start it with feed=True"):
        command.write(b"x")
    assert command.wait() == 0
    with pytest.raises(commands.CommandFailed) as failed:
        commands.run(context, ["sh", "-c", "echo oh no >&2; exit 9"], check=True)
    assert str(failed.value) == "sh -c echo oh no >&2; exit 9 on far (/1) exited with status 9: oh no"
    assert failed.value.done.stderr == b"oh no\n"


@one_way
def test_a_program_that_reads_no_more_than_it_wants_ends_in_order(context: plasmid.Context) -> None:
    assert commands.run(context, ["head", "-c", "3"], input=b"abc" * 1_000_000).stdout == b"abc"


@one_way
def test_what_a_program_leaves_running_in_its_group_ends_with_it(context: plasmid.Context) -> None:
    done = commands.run(context, ["sh", "-c", "sleep 600 & echo $!; exit 0"])
    assert gone([int(done.stdout)]) == []


@one_way
def test_a_program_that_nobody_waits_for_ends_with_its_group(context: plasmid.Context) -> None:  # D7
    with commands.start(context, ["sh", "-c", STUBBORN]) as command:
        pids = pids_of(command)
        assert len(leftovers.running(pids)) == 2
    assert gone(pids) == []
    with pytest.raises(plasmid.DeadlineExceeded):
        commands.run(context, ["sleep", "600"], timeout=0.3)


@one_way
def test_a_program_whose_output_nobody_reads_waits_and_is_ended_all_the_same(context: plasmid.Context) -> None:  # D9
    with commands.start(context, ["sh", "-c", "echo $$; exec yes"]) as command:
        pid = int(next(command)[1].split()[0])
        waiting = f"/proc/{pid}/wchan"
        until = time.monotonic() + TIMEOUT_S
        while "pipe" not in Path(waiting).read_text() and Path(waiting).read_text() not in ("0", ""):
            assert time.monotonic() < until
    assert gone([pid]) == []


@ways
def test_a_program_ends_with_the_call_that_waits_for_it_however_far_away(  # D7
    router: plasmid.Router, context: plasmid.Context
) -> None:
    receiver = plasmid.Receiver(router)
    below = router.local(via=context, name="below")
    call = context.call_async(far.run_stubborn, below, STUBBORN, receiver.to_sender())
    first = plasmid.Select([receiver, call]).get(TIMEOUT_S)
    assert first.source is receiver, call.exception()
    pids = [int(word) for word in first.data.split()]
    assert len(leftovers.running(pids)) == 2
    call.cancel()
    assert gone(pids) == []


@ways
@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGSTOP])
def test_a_program_ends_with_its_context_even_if_that_is_killed_or_stopped(  # D11
    router: plasmid.Router, context: plasmid.Context, blow: int
) -> None:
    command = commands.start(context, ["sh", "-c", STUBBORN])
    pids = pids_of(command)
    os.kill(context.call(os.getpid), blow)
    if blow == signal.SIGSTOP:
        router.close(patience_s=0.1)
    assert gone(pids) == []
    with pytest.raises(plasmid.ContextLost):
        command.wait()


ROOT_PROGRAM = """
import os, signal, sys
import plasmid

router = plasmid.Router()
plasmid.Pool(router, size=2)
command = plasmid.commands.start(router.myself(), ["sh", "-c", sys.argv[1]])
print(next(command)[1].decode(), flush=True)
if sys.argv[2] == "forks":
    pid = os.fork()  # which keeps all that isn't closed
    if pid == 0:
        signal.pause()
    print(pid, flush=True)
sys.stdin.readline()
if sys.argv[2] == "leaves":
    os._exit(0)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("ending", ["is killed", "leaves", "forks"])
def test_a_program_that_the_root_runs_itself_ends_with_the_root_however_it_ends(ending: str) -> None:  # D11
    with subprocess.Popen(
        [sys.executable, "-c", ROOT_PROGRAM, STUBBORN, ending], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as root:
        assert root.stdin is not None
        assert root.stdout is not None
        pids = [int(word) for word in root.stdout.readline().split()]
        root.stdout.readline()
        forked = [int(root.stdout.readline())] if ending == "forks" else []
        assert len(leftovers.running(pids)) == 2
        root.stdin.write(b"\n")
        root.stdin.flush()
        root.wait(TIMEOUT_S)
        assert gone(pids) == []
        for pid in forked:
            os.kill(pid, signal.SIGKILL)


def test_a_root_that_runs_programs_itself_leaves_nothing_when_its_routers_close() -> None:
    before = set(map(str, leftovers.descendants(os.getpid())))
    with plasmid.Router() as first, plasmid.Router() as second:
        with plasmid.Pool(first), plasmid.Pool(second):
            for router in (first, second, first):
                assert commands.run(router.myself(), ["sh", "-c", "exit 5"]).status == 5
        with plasmid.Pool(first):
            assert commands.run(first.myself(), ["sh", "-c", "exit 6"]).status == 6
    assert set(map(str, leftovers.descendants(os.getpid()))) == before


@one_way
def test_a_program_ends_at_once_when_its_context_is_shut_down(context: plasmid.Context) -> None:
    command = commands.start(context, ["sh", "-c", STUBBORN])
    pids = pids_of(command)
    begun = time.monotonic()
    context.shutdown()
    assert time.monotonic() - begun < 4
    assert gone(pids) == []


@one_way
def test_commands_are_for_parents_and_not_without_number(
    router: plasmid.Router, context: plasmid.Context
) -> None:  # D9
    running = [commands.start(context, ["sh", "-c", "echo; exec sleep 600"]) for _ in range(RUNNING_MAX)]
    for command in running:
        assert next(command) == ("stdout", b"\n")
    with pytest.raises(plasmid.Overloaded, match=f"{RUNNING_MAX} programs run there already"):
        commands.run(context, ["true"])
    sibling = router.local(name="sibling")
    with pytest.raises((plasmid.Refused, plasmid.RemoteError), match="AllowParents"):
        sibling.call(far.run_there, context)
    for command in running:
        command.stop()
    while True:
        try:
            assert commands.run(context, ["true"]).status == 0
            return
        except plasmid.Overloaded:
            continue  # stop() doesn't wait
