"""Many contexts at once, with real processes: failures apart, trees of relays, and nothing left of what is given up."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import plasmid
from tests.real import far, leftovers, sshd

GONE_TIMEOUT_S = 2


def local(*names: str) -> "list[Any]":
    """Return a target on this machine for each name."""
    return [{"url": "local:", "name": name} for name in names]


def silent_python(folder: Path) -> str:
    """Return a program that never says a word, and whose command line is like no other."""
    path = folder / "silent-python"
    path.write_text("#!/bin/sh\nwhile read line; do :; done\n")
    path.chmod(0o755)
    return str(path)


def running(command: str) -> "list[str]":
    """Return a line for each process with this in its command line."""
    return [str(one) for one in leftovers.processes() if command in one.command and one.state != "Z"]


def test_those_that_can_be_made_are_there_and_each_of_the_others_has_its_own_error(
    router: plasmid.Router,
) -> None:  # U1
    missing = {"url": "local:", "name": "missing", "python_path": "/nonexistent/python3"}
    failing = {"url": "local:", "name": "failing", "python_path": ["sh", "-c", "echo no Python today >&2; exit 3"]}
    result = router.connect_all([*local("a", "b"), missing, failing, *local("c")])
    assert [context.name for context in result] == ["a", "b", "c"]
    assert [context.call(far.add, 1) for context in result] == [11, 11, 11]
    assert {name: error.found for name, error in result.failures.items()} == {
        "missing": "there is no program /nonexistent/python3 here",
        "failing": "sh exited with status 3",
    }
    assert result.failures["failing"].output == "no Python today"


def test_many_by_way_of_another_context(router: plasmid.Router) -> None:  # U1
    between = router.local(name="between")
    bad = {"url": "local:", "name": "bad", "python_path": "nopython"}
    result = router.connect_all([*local("a", "b"), bad], via=between)
    assert [context.address[:-4] for context in result] == [between.address] * 2
    assert [context.call(os.getppid) for context in result] == [between.call(os.getpid)] * 2
    assert result.failures["bad"].found == "there is no program nopython here"


def test_hosts_over_ssh_take_the_options_that_are_for_all(
    router: plasmid.Router, ssh_client: sshd.Client
) -> None:  # U1
    result = router.connect_all(["web1", "web2", "ssh://web3"], limit=2, ssh_args=ssh_client.ssh_args)
    assert result.failures == {}
    assert [context.name for context in result] == ["web1", "web2", "web3"]
    assert [context.call(far.add, 1) for context in result] == [11, 11, 11]


@pytest.mark.parametrize("is_via", [False, True])  # U1
def test_what_is_being_made_when_it_is_cancelled_leaves_no_process(
    router: plasmid.Router, tmp_path: Path, is_via: bool
) -> None:
    silent = silent_python(tmp_path)
    via = router.local(name="between") if is_via else None
    cancel = threading.Event()
    progress_seen: list[Any] = []

    def progress(done: int, count: int, name: str, outcome: Any) -> None:
        assert name == "a"
        progress_seen.append(running(silent))
        cancel.set()

    targets = [{"url": "local:", "name": "b", "python_path": silent}, *local("a")]
    with pytest.raises(AssertionError):
        # `b` is told of as well, given up; that is one too many for progress(), and all is undone.
        router.connect_all(targets, via=via, cancel=cancel, progress=progress)
    assert len(progress_seen) == 1
    assert leftovers.until_empty(lambda: running(silent), GONE_TIMEOUT_S) == []
    result = router.connect_all(targets[:1], via=via, cancel=cancel)
    assert result.failures["b"].found == "it was given up, because connect_all() was cancelled"


def crossings(router: plasmid.Router, relay: plasmid.Context) -> "dict[str, int]":
    """Return how often the root has sent each module over the link to a child of its, for whomever below it."""
    count: dict[str, int] = {}
    for address, names in router.modules._sent.items():
        for name, size in names.items():
            if address.startswith(relay.address) and size:
                count[name] = count.get(name, 0) + 1
    return count


def test_a_tree_of_relays_keeps_few_processes_at_each_and_a_module_crosses_each_link_once(  # U1, U4
    router: plasmid.Router,
) -> None:
    names = [f"n{number}" for number in range(9)]
    result = router.connect_all(local(*names), fan_out=3)
    assert result.failures == {}
    assert len(router.children) == 3
    parents = [context.address[:-4] for context in result]
    assert max(parents.count(parent) for parent in parents) == 3
    # One after the other below each relay, so that each question comes when the one before has been answered.
    assert [context.call(far.add, number) for number, context in enumerate(result)] == [10 + n for n in range(9)]
    for child in router.children.values():
        crossed = crossings(router, child.context)
        assert crossed["tests.real.far"] == 1
        assert {name: times for name, times in crossed.items() if times > 1} == {}


def test_ctrl_c_leaves_nothing_of_what_was_made_or_was_being_made(tmp_path: Path) -> None:
    silent = silent_python(tmp_path)
    program = tmp_path / "program.py"
    program.write_text(
        "import os, sys, plasmid\n"
        "def progress(done, count, name, outcome):\n"
        "    print(outcome.call(os.getpid), flush=True)\n"
        "with plasmid.Router() as router:\n"
        "    targets = [{'url': 'local:', 'name': 'a'}, {'url': 'local:', 'name': 'b', 'python_path': sys.argv[1]}]\n"
        "    try:\n"
        "        router.connect_all(targets, progress=progress)\n"
        "    except KeyboardInterrupt:\n"
        "        print('interrupted', len(router.children), flush=True)\n"
    )
    with subprocess.Popen([sys.executable, str(program), silent], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        far_pid = int(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline().startswith("interrupted")
        assert process.wait(30) == 0
    assert leftovers.until_empty(lambda: [*leftovers.running([far_pid]), *running(silent)], GONE_TIMEOUT_S) == []


def test_a_host_that_says_nothing_holds_up_neither_the_others_nor_what_a_relay_serves(
    router: plasmid.Router, tmp_path: Path
) -> None:
    silent = silent_python(tmp_path)
    between = router.local(name="between")
    # More than a relay has threads for everything else.
    targets = [{"url": "local:", "name": f"s{number}", "python_path": silent} for number in range(12)]
    cancel = threading.Event()
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(router.connect_all(targets, via=between, cancel=cancel)))
    thread.start()
    try:
        deadline = time.monotonic() + 30
        while len(running(silent)) < len(targets) and time.monotonic() < deadline:
            threading.Event().wait(0.02)
        below = router.local(via=between)
        assert below.call(far.add, 1) == 11
    finally:
        cancel.set()
        thread.join(30)
    assert len(results[0].failures) == len(targets)
    assert leftovers.until_empty(lambda: running(silent), GONE_TIMEOUT_S) == []
