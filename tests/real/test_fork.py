"""Clones of warmed contexts: what they have, what they don't share, when there can be none, and how they end."""

import itertools
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import plasmid
from tests.real import far, far_detach, far_fleet, far_fork, interpreters, leftovers
from tests.real.conftest import one_way, ways
from tests.real.test_logs import Records, records

__all__ = ["records"]

pytestmark = pytest.mark.connector("fork")

TIMEOUT_S = 30
GONE_TIMEOUT_S = 10
ROOT = Path(__file__).parents[2]


@ways
def test_a_clone_has_what_was_imported_and_is_a_context_of_its_own(  # U1, U7
    router: plasmid.Router, context: plasmid.Context
) -> None:
    warm_pid = context.call(far_fork.warm_up)
    clone = router.fork(context, name="clone")
    assert (clone.name, clone.address) == ("clone", context.address + (1).to_bytes(4, "big"))
    assert clone.call(far_fork.warmed_by) == warm_pid
    assert clone.call(os.getpid) not in (warm_pid, os.getpid())
    assert clone.call(far.own_place)[:2] == [clone, context]
    clone.call(far_fork.keep, "own", "clone's")
    assert "own" not in context.call(far_fork.keep, "other", "warm one's")
    assert "other" not in clone.call(far_fork.keep, "again", 1)
    assert clone.service(far.Counter).add(1) == context.service(far.Counter).add(1)
    assert {clone.call(far_fork.random_number) != context.call(far_fork.random_number) for _ in range(3)} == {True}


@pytest.mark.features("clones")
@pytest.mark.parametrize("version", interpreters.SUPPORTED)
def test_a_clone_does_what_every_context_does_on_every_supported_python(  # U1, U2
    router: plasmid.Router, records: Records, version: str
) -> None:
    warm = router.local(python_path=interpreters.interpreter(version), name="warm", prefer="near")
    warm_pid = warm.call(far_fork.warm_up)
    assert warm.service(far.Counter).add(5) == 5
    clone = router.connect("fork:", via=warm, name="far")
    assert clone.call(far_fork.warmed_by) == warm_pid
    # Services begin anew, and a module that the warm one hasn't is sent.
    assert [clone.service(far.Counter).add(2), warm.service(far.Counter).add(1)] == [2, 6]
    assert clone.call(far_fleet.fail_on, 0) == clone.call(os.getpid)
    with plasmid.Pool(router, services=[far.Catalog(router)]):
        assert clone.call(far.ask_catalog, "k") == ["k", "far"]
    receiver = plasmid.Receiver(router)
    clone.call_no_reply(far.put_all, receiver.to_sender(), list(range(100)))
    assert [receiver.get(TIMEOUT_S) for _ in range(100)] == list(range(100))
    assert list(clone.service(far_fork.Slow).count(100)) == list(range(100))
    with pytest.raises(KeyError):
        clone.call(far.fail, "KeyError", "k")
    below = router.fork(clone, name="below")
    assert below.call(far_fork.warmed_by) == warm_pid
    beside = router.local(via=clone, python_path=interpreters.interpreter(version), name="beside")
    assert beside.call(far.python_version) == below.call(far.python_version)
    pids = [*below.call(far.process_ids), *clone.call(far.process_ids), *beside.call(far.process_ids)]
    clone.call(far_fork.say, "clone")
    clone.shutdown()
    assert leftovers.until_empty(lambda: leftovers.running(pids), GONE_TIMEOUT_S) == []
    assert warm.call(far_fork.ends) == ["the clone exited with status 0"]
    # Each once: the warm one's pipes and handlers have no part in it.
    records.wait_until(lambda: "clone logged" in records.texts())
    assert sorted(records.texts()) == ["clone from a process", "clone logged", "clone printed"]
    assert warm.call(far.add, 1) == 11
    assert router.fork(warm).call(far_fork.warmed_by) == warm_pid


# 3.6 and 3.8 have no descriptor that tells of a process's end, and the watchdog a pipe instead.
@pytest.mark.parametrize("version", ["3.6", "3.8", "3.13"])
def test_a_clone_holds_no_descriptor_of_the_context_that_it_was_cloned_from(
    router: plasmid.Router, version: str
) -> None:
    path = interpreters.interpreter(version)
    warm = router.local(python_path=path)
    warm.service(far.Counter).add(1)
    fresh = router.local(python_path=path, via=warm)
    clones = [router.fork(warm) for _ in range(2)]
    held = [set(one.call(far_fork.held_descriptors).values()) for one in (warm, *clones)]
    # Those have a number each; of what is only called `[eventpoll]` each has one.
    numbered = [{what for what in each if what.startswith(("socket:", "pipe:"))} for each in held]
    assert [one & other for one, other in itertools.combinations(numbered, 2)] == [set(), set(), set()]
    # Whose link has a descriptor for each direction.
    fresh_count = len(fresh.call(far_fork.held_descriptors)) - 1
    assert [len(one.call(far_fork.held_descriptors)) for one in clones] == [fresh_count] * 2


def test_what_a_process_does_at_its_exit_is_its_own(router: plasmid.Router, tmp_path: Path) -> None:
    warm = router.local(name="warm")
    warm.call(far_fork.leave_traces, str(tmp_path), "warm")
    clone = router.fork(warm)
    clone.call(far_fork.leave_traces, str(tmp_path), "clone")
    warm_pid, clone_pid = warm.call(os.getpid), clone.call(os.getpid)
    clone.shutdown()
    assert sorted(path.name.partition("-temporary")[0] for path in tmp_path.iterdir()) == [
        f"clone-atexit-{clone_pid}",
        f"clone-finalize-{clone_pid}",
        "warm",
    ]
    warm.shutdown()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"clone-atexit-{clone_pid}",
        f"clone-finalize-{clone_pid}",
        f"warm-atexit-{warm_pid}",
        f"warm-finalize-{warm_pid}",
    ]


def test_many_clones_at_once_while_the_warm_one_is_busy_are_all_whole(router: plasmid.Router) -> None:
    warm = router.local(name="warm")
    warm_pid = warm.call(far_fork.warm_up)
    stopped = threading.Event()
    wrong: list[BaseException] = []

    def keep_calling() -> None:
        try:
            while not stopped.is_set():
                assert warm.service(far.Work).takes_path("x") == "x"
        except BaseException as error:  # noqa: BLE001 - told below
            wrong.append(error)

    threads = [threading.Thread(target=keep_calling) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        targets = [{"url": "fork:", "name": f"clone{number}"} for number in range(12)]
        connected = router.connect_all(targets, via=warm, limit=6)
    finally:
        stopped.set()
        for thread in threads:
            thread.join(TIMEOUT_S)
    assert (wrong, connected.failures) == ([], {})
    # Each imports a module that none had: no lock of an import was copied while it was held.
    calls = [clone.call_async(far_fleet.fail_on, warm_pid) for clone in connected]
    assert len({call.result(TIMEOUT_S) for call in calls}) == 12
    assert {clone.call(far_fork.warmed_by) for clone in connected} == {warm_pid}


# ---------------------------------------------------------------- when there can be none


def refusal(router: plasmid.Router, via: "plasmid.Context | None", **options: float) -> plasmid.ConnectError:
    """Return why there is no clone."""
    with pytest.raises(plasmid.ConnectError) as caught:
        router.connect("fork:", via=via, **options)
    assert (caught.value.target, caught.value.step) == ("fork", "clone the process")
    return caught.value


def test_the_root_is_not_cloned(router: plasmid.Router) -> None:
    for via in None, router.myself():
        error = refusal(router, via)
        assert error.found == "the root can't be cloned: its main thread, and its other ones, are its program's own"
        assert error.advice == "Clone a context that was started for it: router.fork(via=...)."


@one_way
def test_a_python_without_fork_says_so(router: plasmid.Router, context: plasmid.Context) -> None:
    context.call(far_fork.lack_fork)
    assert refusal(router, context).found == "Python has no os.fork() there"
    assert context.call(far.add, 1) == 11


@one_way
def test_what_the_system_does_not_allow_is_said_and_leaves_nothing_open(
    router: plasmid.Router, context: plasmid.Context
) -> None:
    router.fork(context).shutdown()  # what it takes is there now
    held = context.call(far_fork.held_descriptors)
    context.call(far_fork.allow_no_more_descriptors)
    assert refusal(router, context).found == "OSError: [Errno 24] Too many open files"
    context.call(far_fork.allow_descriptors_again)
    assert context.call(far_fork.held_descriptors) == held
    assert router.fork(context).call(far.add, 1) == 11


@one_way
def test_a_context_with_threads_of_the_programs_own_is_not_cloned_until_they_have_ended(
    router: plasmid.Router, context: plasmid.Context
) -> None:
    context.call(far_fork.start_thread)
    error = refusal(router, context)
    assert error.found == (
        "a thread of the program's own runs there, 'poller', and what it holds would stay held in the clone"
    )
    assert error.advice == "Clone before that thread is started, or after it has ended."
    context.call(far_fork.stop_thread)
    assert router.fork(context).call(far.add, 1) == 11


@one_way
def test_a_context_with_an_event_loop_is_not_cloned(router: plasmid.Router, context: plasmid.Context) -> None:
    context.service(far_fork.Slow).wait.start().result(TIMEOUT_S)
    assert refusal(router, context).found == (
        "its services have async methods, and run an event loop for them, which can't be copied"
    )


@one_way
def test_a_clone_waits_until_services_and_functions_have_ended_and_has_no_lock_of_theirs(
    router: plasmid.Router, context: plasmid.Context
) -> None:
    slow = context.service(far_fork.Slow)
    held = slow.hold.start()
    context.call(far_fork.await_entry)
    error = refusal(router, context, connect_timeout=1)
    assert error.found.startswith("its thread 'plasmid-pool-1' is still in threading.") or (
        error.found == "its thread 'plasmid-pool-1' is still in tests.real.far_fork.hold()"
    )
    busy = context.call_async(far.wait_at_gate)
    error = refusal(router, context, connect_timeout=1)
    assert error.found == ("its main thread didn't come to it in time: it runs function calls one after the other")
    connected: list[plasmid.Context] = []
    thread = threading.Thread(target=lambda: connected.append(router.fork(context)))
    thread.start()
    context.service(far.Gate).open()
    thread.join(TIMEOUT_S)
    assert (busy.done(), held.done()) == (True, True)
    assert connected[0].service(far_fork.Slow).take() == connected[0].call(os.getpid)


@one_way
def test_a_clone_waits_for_generators_that_are_between_two_items(
    router: plasmid.Router, context: plasmid.Context
) -> None:
    items = context.service(far_fork.Slow).count(1_000_000)
    assert next(items) == 0
    error = refusal(router, context, connect_timeout=1)
    assert "has begun hasn't ended" in error.found or "is still in" in error.found
    items.close()
    assert router.fork(context).call(far.add, 1) == 11


@one_way
def test_who_runs_in_a_context_cannot_have_it_cloned_nor_can_its_children(
    router: plasmid.Router, context: plasmid.Context
) -> None:
    with pytest.raises(plasmid.ConnectError) as caught:
        context.call(far_fork.fork_myself)
    assert caught.value.found == (
        "what asks for it runs in the very context that is to be cloned, which would copy it half done"
    )
    below = router.local(via=context, name="below")
    with pytest.raises(plasmid.RemoteError, match="only a parent may start or end the children of a context"):
        below.call(far_fork.fork_parent)
    assert router.fork(context).call(far.add, 1) == 11


@one_way
def test_a_handle_that_was_copied_says_what_to_do(router: plasmid.Router, context: plasmid.Context) -> None:
    other = router.local(name="other")
    assert other.service(far.Work).takes_path("activated") == "activated"
    assert context.call(far_fork.call_by_handle, other, "1") == "1"
    clone = router.fork(context, name="clone")
    with pytest.raises(plasmid.RemoteError) as caught:
        clone.call(far_fork.call_by_handle, None, "1")
    assert caught.value.text == (
        "tests.real.far.Work.takes_path on other (/2): it belongs to the context that this one was cloned from; "
        "ask for it anew here. The method was not started; it is safe to repeat the call."
    )
    assert clone.call(far_fork.call_by_handle, other, "2") == "2"
    assert context.call(far_fork.call_by_handle, None, "3") == "3"


# ---------------------------------------------------------------- the end


@ways
def test_the_end_of_a_warm_context_is_the_end_of_its_clones(  # D11, U7
    router: plasmid.Router, context: plasmid.Context
) -> None:
    clones = [router.fork(context) for _ in range(3)]
    below = router.fork(clones[0])
    pids = [pid for one in (context, *clones, below) for pid in one.call(far.process_ids)]
    pids += [clones[1].call(far.start_sleeper)]
    clones[2].call_no_reply(far.hold_interpreter_lock)
    os.kill(context.call(os.getpid), signal.SIGKILL)
    assert leftovers.until_empty(lambda: leftovers.running(pids), GONE_TIMEOUT_S) == []
    with pytest.raises(plasmid.NotSent):
        below.call(far.add, 1)


@one_way
def test_the_loss_of_a_clone_says_how_it_ended_and_costs_the_others_nothing(  # D4, U7
    router: plasmid.Router, context: plasmid.Context
) -> None:
    clones = [router.fork(context) for _ in range(2)]
    pid = clones[0].call(os.getpid)
    call = clones[0].call_async(far.wait_at_gate)
    os.kill(pid, signal.SIGKILL)
    assert isinstance(call.exception(TIMEOUT_S), plasmid.ContextLost)
    assert [one.call(far.add, 1) for one in (context, clones[1])] == [11, 11]


ORPHANS = """
import os, sys
import plasmid
from tests.real import far

router = plasmid.Router()
warm = router.local()
clones = [router.fork(warm) for _ in range(3)]
print(*(pid for one in [warm, *clones] for pid in one.call(far.process_ids)), flush=True)
sys.stdin.read()
"""


def test_clones_are_gone_after_their_root_was_killed() -> None:  # D11, U7
    root = subprocess.Popen([sys.executable, "-c", ORPHANS], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert root.stdout is not None
    assert root.stdin is not None
    with root, root.stdin, root.stdout:
        pids = [int(word) for word in root.stdout.readline().split()]
        assert len(leftovers.running(pids)) == 7  # the warm one has no watchdog beside it, the clones have
        root.kill()
        assert leftovers.until_empty(lambda: leftovers.running(pids), GONE_TIMEOUT_S) == []


@one_way
def test_a_clone_goes_on_by_itself_when_it_is_detached(  # U7
    router: plasmid.Router, context: plasmid.Context, tmp_path: Path
) -> None:
    came, went = tmp_path / "came", tmp_path / "went"
    os.mkfifo(came)
    clone = router.fork(context)
    clone.call_no_reply(far_detach.pass_on, str(came), str(went))
    pid = clone.detach()
    router.close()
    assert len(leftovers.running([pid])) == 1
    came.write_text("on\n")
    assert leftovers.until_empty(lambda: leftovers.running([pid]), GONE_TIMEOUT_S) == []
    assert went.read_text() == f"on {pid}"


@one_way
def test_what_a_clone_forks_itself_has_no_part_in_it(router: plasmid.Router, context: plasmid.Context) -> None:
    clone = router.fork(context)
    status, text = clone.call(far.fork_and_call)
    assert (status, text.partition(":")[0]) == (0, "NotSent")
    assert clone.call(far.add, 1) == 11
