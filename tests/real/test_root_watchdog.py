"""The root's watchdog: one process for all children on the root's own machine, which need none beside them then.

That they end with the root, however it ends, is said of contexts of every kind elsewhere; here is what is its own.
"""

import os
import sys
from pathlib import Path

import pytest

import plasmid
from plasmid.builtin import root_watchdog
from tests.real import far, leftovers
from tests.real.sshd import Client

TIMEOUT_S = 30
GONE_TIMEOUT_S = 2

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


def test_a_context_gets_on_without_the_root_s_watchdog(router: plasmid.Router) -> None:
    first = router.local(name="first")
    assert root_watchdog._process is not None
    root_watchdog._process.kill()
    root_watchdog._process.wait()
    second = router.local(name="second")
    assert [len(each.call(far.process_ids)) for each in (first, second)] == [1, 2]
    for each in (first, second):
        each.shutdown()
