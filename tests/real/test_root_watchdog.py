"""The root's watchdog: one process for all children on the root's own machine, which need none beside them then.

That they end with the root, however it ends, is said of contexts of every kind elsewhere; here is what is its own.
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import plasmid
from plasmid.builtin import root_watchdog
from tests.real import far, leftovers
from tests.real.parts import require_linux
from tests.real.sshd import Client

TIMEOUT_S = 30
GONE_TIMEOUT_S = 2

BOTH = pytest.mark.parametrize("has_bash", [True, False], ids=["bash", "python"])

# A root that has its child stopped, tells all their numbers, and ends in a way of which its pipe to the watchdog may
# tell nothing: with a fork that has copies of all descriptors and stays, be it one that Python knows of or not.
ROOT = """
import ctypes, os, signal, sys
import plasmid
from plasmid.builtin import root_watchdog
from tests.real import far

has_bash, ending = sys.argv[1:]
if not int(has_bash):
    root_watchdog.BASH = "/nowhere"
context = plasmid.Router().local()
context.call(far.start_sleeper)
pids = [root_watchdog._process.pid, *context.call(far.process_ids)]
context.call_no_reply(far.stop_myself)
fork = {"forks": os.fork, "C forks": ctypes.PyDLL(None).fork}.get(ending)
forked = fork() if fork else os.getpid()
if not forked:
    ctypes.PyDLL(None).pause()
print(forked, *pids, flush=True)
sys.stdin.readline()
if ending == "becomes another":
    os.execv("/bin/sleep", ["sleep", "600"])
os.kill(os.getpid(), signal.SIGKILL)
"""

# A program that stays between the near side and the interpreter, which so isn't what was started.
IN_BETWEEN = '#!/bin/sh\n"{python}" "$@"\nexit $?\n'


def test_children_of_the_root_on_its_machine_have_no_process_beside_them_and_share_one(router: plasmid.Router) -> None:
    before = set(map(str, leftovers.descendants(os.getpid())))
    children = [router.local(name=f"child{number}") for number in range(3)]
    pids = [child.call(far.process_ids) for child in children]
    assert [len(found) for found in pids] == [1, 1, 1]
    below = router.local(via=children[0])
    assert len(below.call(far.process_ids)) == 2, "a child's child has one of its own"
    for child in children:
        child.shutdown()
    assert len(set(map(str, leftovers.descendants(os.getpid()))) - before) == 1, "it stays for the next child"
    router.close()
    assert set(map(str, leftovers.descendants(os.getpid()))) == before


def test_a_context_behind_another_program_or_elsewhere_has_its_own(
    router: plasmid.Router, ssh_client: Client, tmp_path: Path
) -> None:
    script = tmp_path / "python"
    script.write_text(IN_BETWEEN.format(python=sys.executable))
    script.chmod(0o755)
    contexts = [
        router.local(python_path=str(script)),
        router.ssh(hostname=ssh_client.hostname, ssh_args=ssh_client.ssh_args),
    ]
    assert [len(context.call(far.process_ids)) for context in contexts] == [2, 2]


@pytest.mark.parametrize("busy", [far.hold_interpreter_lock, far.stop_myself])
def test_a_child_whose_link_is_cut_is_gone_in_two_seconds_whatever_it_does(  # D11
    router: plasmid.Router, busy: "object"
) -> None:
    context = router.local()
    pids = [*context.call(far.process_ids), context.call(far.start_sleeper)]
    context.call(far.ignore_signals)
    call = context.call_async(busy)  # type: ignore[arg-type]
    with router.runtime.lock:
        router.runtime.node.link_closed(1, "it was cut for the test")
        router.runtime.loop.settle()
    assert isinstance(call.exception(TIMEOUT_S), plasmid.ContextLost)
    assert leftovers.until_empty(lambda: leftovers.running(pids), GONE_TIMEOUT_S) == []


def test_a_fork_of_the_root_has_a_watchdog_of_its_own_and_leaves_the_root_s_alone(router: plasmid.Router) -> None:
    context = router.local()
    before = root_watchdog._process
    read_fd, write_fd = os.pipe()
    pid = os.fork()
    if pid == 0:
        found = b"failed"
        try:
            with plasmid.Router() as own:
                own.local().call(far.add, 1)
                found = b"another" if root_watchdog._process is not before else b"the same"
        finally:
            os.write(write_fd, found)
            os._exit(0)
    os.close(write_fd)
    with open(read_fd, "rb") as said:
        assert said.read() == b"another"
    os.waitpid(pid, 0)
    assert root_watchdog._process is before
    assert before is not None
    assert before.poll() is None
    assert context.call(far.add, 1) == 11


def test_a_fork_of_the_root_lets_go_of_the_pipe_by_whose_end_the_watchdog_knows(router: plasmid.Router) -> None:
    router.local()
    assert root_watchdog._process is not None
    assert root_watchdog._process.stdin is not None
    pipe = leftovers.descriptors()[root_watchdog._process.stdin.fileno()]
    pid = os.fork()
    if pid == 0:
        os._exit(pipe in leftovers.descriptors().values())
    assert os.waitpid(pid, 0)[1] == 0


def test_a_context_gets_on_without_the_root_s_watchdog(router: plasmid.Router) -> None:
    first = router.local(name="first")
    assert root_watchdog._process is not None
    root_watchdog._process.kill()
    root_watchdog._process.wait()
    second = router.local(name="second")
    assert [len(each.call(far.process_ids)) for each in (first, second)] == [1, 2]
    for each in (first, second):
        each.shutdown()


@contextlib.contextmanager
def root_program(has_bash: bool, ending: str) -> "Iterator[tuple[subprocess.Popen[bytes], int, list[int]]]":
    """Start a root; give it, who stays after it, and who has to go: its watchdog, its child, what that started."""
    argv = [sys.executable, "-c", ROOT, str(int(has_bash)), ending]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        try:
            stays, *pids = map(int, program.stdout.readline().split())
            try:
                yield program, stays, pids
            finally:
                os.kill(stays, signal.SIGKILL)
        finally:
            program.kill()


@BOTH
@pytest.mark.parametrize("ending", ["forks", "C forks", "becomes another"])
def test_children_end_with_the_root_though_a_fork_has_its_descriptors_or_it_becomes_another_program(  # D11
    has_bash: bool, ending: str
) -> None:
    require_linux()
    with root_program(has_bash, ending) as (program, stays, pids):
        assert len(leftovers.running(pids)) == 3
        assert program.stdin is not None
        program.stdin.write(b"\n")
        program.stdin.flush()
        assert leftovers.until_empty(lambda: leftovers.running(pids), GONE_TIMEOUT_S) == []
        assert len(leftovers.running([stays])) == 1


# ---------------------------------------------------------------- the program itself, told of groups by a pipe


class Watched:
    """A watchdog, and groups that it may be told of. This process is the context for it."""

    def __init__(self, has_bash: bool, grace_s: float, environment: "dict[str, str]") -> None:
        self.groups = [subprocess.Popen(["sleep", "600"], start_new_session=True) for _ in range(3)]
        self.process = subprocess.Popen(
            [*root_watchdog.command(has_bash), str(os.getpid()), str(grace_s)],
            executable=root_watchdog.BASH if has_bash else None,
            bufsize=0,
            stdin=subprocess.PIPE,
            env={**os.environ, **environment},
            start_new_session=True,
        )

    def tell(self, *groups: int) -> None:
        """Say what guard() says."""
        assert self.process.stdin is not None
        for group in groups:
            self.process.stdin.write(b"%15d\n" % group)

    def wait_for_looks(self, looks: int) -> None:
        """Return when it has waited for its stdin so many times more."""
        until = self._waits() + looks
        leftovers.wait_until(lambda: self._waits() >= until)

    def _waits(self) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])

    def statuses(self) -> "list[int | None]":
        """Return how the groups ended, None for those that run."""
        return [group.poll() for group in self.groups]


@contextlib.contextmanager
def watched(has_bash: bool, grace_s: float = 0.0, environment: "dict[str, str] | None" = None) -> "Iterator[Watched]":
    """Start a watchdog and three groups; end what is left of them."""
    found = Watched(has_bash, grace_s, environment or {})
    try:
        yield found
    finally:
        for process in [found.process, *found.groups]:
            process.kill()
            process.communicate()


@BOTH
def test_it_ends_the_groups_that_it_was_told_of_and_not_told_to_forget_though_they_are_stopped(has_bash: bool) -> None:
    require_linux()
    with watched(has_bash) as one:
        first, second, third = (group.pid for group in one.groups)
        one.tell(first, second, -second, third, -first)
        one.tell(first)
        one.groups[2].send_signal(signal.SIGSTOP)
        # It looks for its parent meanwhile, and there is no end to be seen.
        one.wait_for_looks(3)
        assert one.statuses() == [None, None, None]
        one.process.communicate()
        assert one.process.returncode == 0
        assert [one.groups[0].wait(TIMEOUT_S), one.groups[2].wait(TIMEOUT_S)] == [-signal.SIGKILL, -signal.SIGKILL]
        assert one.groups[1].poll() is None


@BOTH
def test_a_group_that_is_gone_is_no_hindrance_and_those_that_leave_in_the_grace_are_not_killed(has_bash: bool) -> None:
    require_linux()
    with watched(has_bash, grace_s=0.5) as one:
        first, second, third = (group.pid for group in one.groups)
        one.groups[0].kill()
        one.groups[0].wait()
        one.tell(first, second, third)
        assert one.process.stdin is not None
        one.process.stdin.close()
        one.groups[1].terminate()
        assert [one.groups[1].wait(TIMEOUT_S), one.groups[2].wait(TIMEOUT_S)] == [-signal.SIGTERM, -signal.SIGKILL]
        one.process.wait(TIMEOUT_S)


@BOTH
def test_signals_that_ask_to_leave_do_not_end_it(has_bash: bool) -> None:
    require_linux()
    with watched(has_bash) as one:
        one.tell(one.groups[0].pid)
        one.wait_for_looks(1)  # it has got so far as to ignore them
        for number in signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT:
            one.process.send_signal(number)
        one.wait_for_looks(2)
        assert one.process.poll() is None
        one.process.communicate()
        assert one.groups[0].wait(TIMEOUT_S) == -signal.SIGKILL


def test_nothing_in_the_environment_changes_what_the_shell_does(tmp_path: Path) -> None:
    require_linux()
    script = tmp_path / "script"
    script.write_text("exit 3\n")
    functions = {f"BASH_FUNC_{name}%%": "() { exit 4; }" for name in ("kill", "read", "trap", "command")}
    files = {"BASH_ENV": str(script), "ENV": str(script)}
    options = {"SHELLOPTS": "noexec:errexit", "PATH": "/nowhere", "IFS": "0"}
    with watched(True, 0.0, {**functions, **files, **options}) as one:
        one.tell(one.groups[0].pid)
        one.process.communicate()
        assert (one.process.returncode, one.groups[0].wait(TIMEOUT_S)) == (0, -signal.SIGKILL)


def test_it_is_small_and_says_what_it_is_in_a_list_of_processes(router: plasmid.Router) -> None:
    require_linux()
    router.local()
    assert root_watchdog._process is not None
    folder = Path(f"/proc/{root_watchdog._process.pid}")
    leftovers.wait_until(lambda: (folder / "comm").read_text() == "plasmid-watch\n")
    words = (folder / "cmdline").read_text().split("\0")
    assert (words[0], words[-3:]) == ("plasmid-watchdog", [str(os.getpid()), "0.8", ""])
    assert "\n" not in words[2]
    assert len(words[2]) < 500
    pss_kib = (folder / "smaps_rollup").read_text().partition("\nPss:")[2].split()[0]
    assert int(pss_kib) < 2048
