"""Supervised contexts: killed, cut off, refused, given up; and what those hear who call meanwhile."""

import os
import signal
import threading
from pathlib import Path

import pytest

import plasmid
from plasmid.connect import parse
from plasmid.connect.restarts import State
from plasmid.connect.ssh import Ssh
from plasmid.connect.supervised import Status
from tests.real import far, far_modules, leftovers, sshd
from tests.real.conftest import one_way

TIMEOUT_S = 30
QUICK = plasmid.Restart(first_s=0.05, longest_s=0.2)
# So long that it doesn't end within a test.
PATIENT = plasmid.Restart(first_s=1000.0, longest_s=1000.0)


def kill(context: plasmid.Supervised) -> None:
    """Kill the process of the context that is there, and return once the loss is known."""
    known = plasmid.Latch()
    context.on_lost(lambda lost, reason: known.put())
    os.kill(context.call(os.getpid), signal.SIGKILL)
    known.get(TIMEOUT_S)


def kill_ssh(router: plasmid.Router, context: plasmid.Supervised) -> None:
    """Cut the link: end the ssh that leads there."""
    child = router.child(context.now())
    assert child is not None
    known = plasmid.Latch()
    context.on_lost(lambda lost, reason: known.put())
    os.kill(child.process.pid, signal.SIGKILL)
    known.get(TIMEOUT_S)


def until(context: plasmid.Supervised, state: str) -> Status:
    """Return its status once it is in that state."""

    def differs() -> "list[str]":
        return [] if context.status.state == state else [context.status.state]

    assert leftovers.until_empty(differs, TIMEOUT_S) == []
    return context.status


def test_a_killed_context_is_there_again_with_its_services_and_clients_of_it_stay_good(  # U7, D1, D13, S4
    router: plasmid.Router,
) -> None:
    seen: list[plasmid.Context] = []
    far_side = router.supervise("local:", name="far", restart=QUICK, services=[far.Work], prepare=seen.append)
    counter = far_side.service(far.Counter)
    assert [counter.add(), counter.add()] == [1, 2]
    before, pid = far_side.now(), far_side.call(os.getpid)
    kill(far_side)
    assert far_side.wait(TIMEOUT_S) != before
    assert far_side.call(os.getpid) != pid
    # Its memory is a new one, and nothing that was called before was called again.
    assert counter.add(0) == 0
    # Both services are active before anybody calls them, so that others than parents may: the one that was named, and
    # the one that was called before.
    names = [name for info in far_side.services() for name in info.names]
    assert names == ["tests.real.far.Work", "tests.real.far.Counter"]
    assert router.local(name="sibling").call(far.use_counter, far_side, 1) == 1
    assert seen == [before, far_side.now()]
    status = far_side.status
    assert (status.state, status.starts, status.failures, status.retry_after) == ("up", 2, 1, None)
    assert str(status.error).startswith("keeping it on far (/1): it closed its end")


def test_who_calls_meanwhile_is_told_when_to_try_again_and_that_nothing_was_started(  # D3, D13
    router: plasmid.Router,
) -> None:
    far_side = router.supervise("local:", name="far", restart=PATIENT)
    client = far_side.service(far.Counter)
    in_flight = far_side.service(far.Work).hold.start()
    kill(far_side)
    lost = in_flight.exception(TIMEOUT_S)
    assert isinstance(lost, plasmid.ContextLost)
    assert (lost.started, lost.retry_after) == (None, None)
    for attempt in (
        lambda: far_side.call(far.note, 1),
        lambda: far_side.call_async(far.note, 1),
        lambda: far_side.call_no_reply(far.note, 1),
        client.add,
        client.add.start,
        lambda: far_side.call_service(far.Counter, "add"),
        lambda: far_side.service(far.Work).fail("ValueError", "x"),
        lambda: plasmid.commands.run(far_side, ["true"]),
        far_side.services,
        lambda: far_side.wait(0.01),
    ):
        with pytest.raises(plasmid.ContextLost) as caught:
            attempt()
        assert caught.value.started is False
        assert caught.value.retry_after is not None
        assert 400.0 < caught.value.retry_after <= 1000.0
    with pytest.raises(plasmid.ContextLost) as caught:
        far_side.call(far.note, 1)
    text = str(caught.value)
    assert text.startswith("tests.real.far.note on far: it is to be started again in ")
    assert " s. The last that was heard of it: keeping it on far (/1): it closed its end (" in text
    assert text.endswith(". The method was not started; it is safe to repeat the call.")
    far_side.retry()
    assert far_side.wait(TIMEOUT_S).call(far.notes) == []


def test_a_call_of_an_idempotent_method_is_sent_again_when_the_context_is_back(  # D1
    router: plasmid.Router, tmp_path: Path
) -> None:
    far_side = router.supervise("local:", name="far", restart=QUICK)
    mortal = far_side.service(far.Mortal, timeout=TIMEOUT_S)
    assert mortal.survive(str(tmp_path / "twice"), 2) == 3
    kill(far_side)
    assert mortal.survive(str(tmp_path / "absent"), 0) == 1
    # Three times at most, in case it is what the context dies of.
    with pytest.raises(plasmid.ContextLost) as caught:
        mortal.survive(str(tmp_path / "always"), 1000)
    assert caught.value.started is None
    assert (tmp_path / "always").read_text() == "xxx"


def test_only_who_waits_at_a_supervised_context_has_an_idempotent_method_sent_again(  # D1
    router: plasmid.Router, tmp_path: Path
) -> None:
    first, second = (router.supervise("local:", restart=QUICK) for _ in range(2))
    started = first.service(far.Mortal).survive.start(str(tmp_path / "started"), 1)
    assert isinstance(started.exception(TIMEOUT_S), plasmid.ContextLost)
    with pytest.raises(plasmid.ContextLost):
        second.call_service(far.Mortal, "survive", path=str(tmp_path / "by name"), deaths=1)
    with pytest.raises(plasmid.ContextLost):
        router.local(name="other").service(far.Mortal).survive(str(tmp_path / "elsewhere"), 1)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["x"] * 3


def test_an_idempotent_call_waits_for_the_context_no_longer_than_its_deadline_or_the_supervision(  # D1, D6
    router: plasmid.Router, tmp_path: Path
) -> None:
    far_side = router.supervise("local:", name="far", restart=PATIENT)
    far_side.service(far.Mortal).survive(str(tmp_path / "warm"), 0)  # what it takes is there
    with pytest.raises(plasmid.ContextLost) as caught:
        far_side.service(far.Mortal, timeout=1).survive(str(tmp_path / "own"), 1)
    assert caught.value.started is None
    with plasmid.timeout(0.01), pytest.raises(plasmid.ContextLost) as caught:
        far_side.service(far.Mortal).survive(str(tmp_path / "around"), 1)
    assert caught.value.started is False
    waits = threading.Timer(0.1, far_side.shutdown)
    waits.start()
    with pytest.raises(plasmid.ContextLost):
        far_side.service(far.Mortal).survive(str(tmp_path / "stopped"), 1)
    waits.join()
    assert far_side.status.state == State.STOPPED


def test_what_is_started_by_way_of_a_lost_context_comes_back_once_that_is_back(  # U1
    router: plasmid.Router,
) -> None:
    relay = router.supervise("local:", name="relay", restart=PATIENT)
    below = router.supervise("local:", name="below", via=relay, restart=QUICK)
    first = below.call(os.getpid)
    kill(relay)
    status = until(below, State.HELD)
    assert (status.starts, status.failures) == (1, 1)
    with pytest.raises(plasmid.ContextLost) as caught:
        below.call(far.add, 1)
    assert str(caught.value).startswith(
        "tests.real.far.add on below: it is started again once relay (waiting) is there. The last that was heard"
    )
    assert caught.value.retry_after is not None
    assert caught.value.retry_after > 400.0
    relay.retry()
    assert below.wait(TIMEOUT_S).call(os.getpid) != first
    assert str(below.now()).startswith(f"below ({str(relay.now())[7:-1]}/")
    relay.shutdown()
    assert until(below, State.GIVEN_UP).retry_after is None


def test_below_a_context_that_is_not_supervised_it_is_given_up_with_that(router: plasmid.Router) -> None:
    relay = router.local(name="relay")
    below = router.supervise("local:", name="below", via=relay, restart=QUICK)
    os.kill(relay.call(os.getpid), signal.SIGKILL)
    status = until(below, State.GIVEN_UP)
    assert isinstance(status.error, plasmid.NotSent)
    with pytest.raises(plasmid.ContextLost, match="it was given up; retry"):
        below.wait()


def test_a_context_that_is_lost_again_and_again_is_given_up_and_says_so(
    router: plasmid.Router, caplog: pytest.LogCaptureFixture
) -> None:
    restart = plasmid.Restart(first_s=0.01, longest_s=0.01, tries=3)
    far_side = router.supervise("local:", name="far", restart=restart)
    for _ in range(3):
        kill(far_side)
        if far_side.status.state != State.GIVEN_UP:
            far_side.wait(TIMEOUT_S)
    status = until(far_side, State.GIVEN_UP)
    assert (status.starts, status.failures, status.retry_after) == (3, 3, None)
    with pytest.raises(plasmid.ContextLost) as caught:
        far_side.call(far.add, 1)
    assert caught.value.retry_after is None
    assert "far: it was given up; retry() starts it anew. The last" in str(caught.value)
    assert any("far was given up: keeping it on far" in record.getMessage() for record in caplog.records)
    far_side.retry()
    assert far_side.wait(TIMEOUT_S).call(far.add, 1) == 11
    assert far_side.status.failures == 0


def test_a_service_that_can_not_be_started_any_more_is_a_failed_start(router: plasmid.Router) -> None:
    with pytest.raises(plasmid.PlasmidError) as caught:
        router.supervise("local:", name="far", services=["no_such.Service"])
    assert str(caught.value) == "the service no_such.Service isn't active on far (/1) after it was called"
    assert leftovers.until_empty(lambda: list(map(str, router.children)), TIMEOUT_S) == []


def test_a_first_start_that_fails_is_an_error_unless_nobody_waits_for_it(router: plasmid.Router) -> None:
    with pytest.raises(plasmid.ConnectError):
        router.supervise("local:", python_path="/no/such/python")
    with pytest.raises(ValueError, match="'x' is no port number"):
        router.supervise("local:x")
    with pytest.raises(TypeError, match="a connector has its parameters already; name came besides"):
        router.supervise(parse("local:"), name="x")
    folder = Path(os.environ["TMPDIR"] if "TMPDIR" in os.environ else "/tmp")
    later = folder / f"python-{os.getpid()}-later"
    far_side = router.supervise("local:", name="far", python_path=str(later), restart=QUICK, wait=False)
    assert str(far_side) in ("far (starting)", "far (waiting)")
    try:
        until(far_side, State.WAITING)
        later.symlink_to(sshd.OWN_PYTHON)
        assert far_side.wait(TIMEOUT_S).call(far.add, 1) == 11
    finally:
        later.unlink(missing_ok=True)
    assert isinstance(far_side.status.error, plasmid.ConnectError)


@pytest.mark.parametrize("way", ["close", "shutdown"])
def test_who_is_stopped_in_a_pause_or_a_start_is_not_started_again(way: str) -> None:  # U7
    before = [one.pid for one in leftovers.descendants(os.getpid())]
    with plasmid.Router() as router:
        waiting = router.supervise("local:", name="waiting", restart=PATIENT)
        starting = router.supervise("local:", name="starting", restart=PATIENT)
        begun = threading.Event()

        def prepare(context: plasmid.Context) -> None:
            begun.set()
            context.call(far.wait_at_gate)  # until the context ends

        starting._prepare = prepare
        for each in (waiting, starting):
            kill(each)
        starting.retry()
        assert begun.wait(TIMEOUT_S)
        if way == "close":
            router.close(patience_s=0.1)
        else:
            waiting.shutdown()
            starting.shutdown(wait=False)
            router.close(patience_s=0.1)
        for each in (waiting, starting):
            assert each.status.state == State.STOPPED
            with pytest.raises(plasmid.ContextLost, match="it isn't supervised any more"):
                each.call(far.add, 1)
            with pytest.raises(plasmid.ContextLost):
                each.wait()

    def left() -> "list[str]":
        return [str(one) for one in leftovers.descendants(os.getpid()) if one.pid not in before]

    assert leftovers.until_empty(left, TIMEOUT_S) == []


def test_a_fleet_of_supervised_contexts_goes_on_with_those_that_are_back(router: plasmid.Router) -> None:
    hosts = [router.supervise("local:", name=f"web{number}", restart=PATIENT) for number in range(3)]
    fleet = plasmid.Fleet(hosts)
    assert fleet.call(far.add, 1).values() == [11] * 3
    kill(hosts[1])
    answers = fleet.call(far.add, 1)
    assert list(answers.results.values()) == [11, 11]
    (error,) = answers.failures.values()
    assert isinstance(error, plasmid.ContextLost)
    assert error.retry_after is not None
    hosts[1].retry()
    hosts[1].wait(TIMEOUT_S)
    assert fleet.service(far.Counter).add(1).values() == [1] * 3
    fleet.shutdown()
    assert {host.status.state for host in hosts} == {State.STOPPED}


def test_modules_are_sent_ahead_again_and_names_stay(router: plasmid.Router) -> None:  # U4
    far_side = router.supervise("local:", name="far", restart=QUICK)
    far_side.preload("tests.real.far_kinds")
    kill(far_side)
    there = far_side.wait(TIMEOUT_S)
    held = [there.call(far_modules.is_held, f"tests.real.{name}") for name in ("far_kinds", "far_fleet")]
    assert held == [True, False]
    assert (there.name, far_side.name) == ("far", "far")
    assert there.call(far.own_place)[0] == there


def test_a_supervised_context_can_be_let_go(router: plasmid.Router) -> None:
    far_side = router.supervise("local:", name="far", restart=QUICK)
    far_side.call_no_reply(far.note, 1)
    pid = far_side.detach()
    assert leftovers.until_empty(lambda: leftovers.running([pid]), TIMEOUT_S) == []
    assert (far_side.status.state, far_side.status.starts) == (State.STOPPED, 1)


def test_a_cut_ssh_link_is_made_anew_and_each_hop_of_a_chain_by_itself(  # U7, D1
    router: plasmid.Router, ssh_client: sshd.Client
) -> None:
    connector = Ssh(ssh_client.hostname, ssh_args=ssh_client.ssh_args, name="web")
    web = router.supervise(connector, restart=QUICK)
    pid = web.call(os.getpid)
    kill_ssh(router, web)
    assert web.wait(TIMEOUT_S).call(os.getpid) != pid
    assert "was killed by signal 9" in str(web.status.error)
    last = router.supervise("local:|local:|local:", name="last", restart=QUICK)
    place, first = str(last.now()), last.call(os.getpid)
    kill(last)
    assert str(last.wait(TIMEOUT_S)).rpartition("/")[0] == place.rpartition("/")[0]
    assert last.call(os.getpid) != first
    assert len(router.children) == 2
    last.shutdown()
    assert len(router.children) == 1


def test_a_server_that_was_stopped_and_started_again_is_found_again(  # U7
    router: plasmid.Router, tmp_path: Path
) -> None:
    with sshd.running_server(tmp_path / "sshd") as server:
        client = server.client()
        connector = Ssh(client.hostname, ssh_args=client.ssh_args, name="web")
        web = router.supervise(connector, restart=QUICK)
        counter = web.service(far.Counter)
        assert counter.add() == 1
        known = plasmid.Latch()
        web.on_lost(lambda context, reason: known.put())
        server.stop(0)
        known.get(TIMEOUT_S)

        def waits_longer() -> "list[str]":
            return [] if web.status.failures >= 3 else [str(web.status)]

        assert leftovers.until_empty(waits_longer, TIMEOUT_S) == []
        assert "Connection refused" in str(web.status.error)
        server.start_again()
        web.wait(TIMEOUT_S)
        assert counter.add() == 1
        web.shutdown()


def test_who_is_refused_is_given_up_at_once_and_does_not_try_again(  # U7
    router: plasmid.Router, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with sshd.running_server(tmp_path / "sshd") as server:
        client = server.client()
        connector = Ssh(client.hostname, ssh_args=client.ssh_args, name="web")
        web = router.supervise(connector, restart=QUICK)
        keys = server.folder / "authorized_keys"
        allowed = keys.read_text()
        keys.write_text("")
        before = server.log_path.read_text().count("Failed publickey")
        kill_ssh(router, web)
        status = until(web, State.GIVEN_UP)
        # The first of the two is the loss, so soon after the start.
        assert (status.starts, status.failures, status.retry_after) == (1, 2, None)
        assert isinstance(status.error, plasmid.ConnectError)
        assert "Permission denied (" in str(status.error)
        assert server.log_path.read_text().count("Failed publickey") <= before + 1
        with pytest.raises(plasmid.ContextLost, match="it was given up; retry"):
            web.call(far.add, 1)
        # It is said by the thread that gave it up, after it is so.
        leftovers.wait_until(
            lambda: any("web was given up: connecting to" in one.getMessage() for one in caplog.records)
        )
        keys.write_text(allowed)
        web.retry()
        assert web.wait(TIMEOUT_S).call(far.add, 1) == 11
        web.shutdown()


@one_way
def test_a_child_supervises_children_of_its_own(context: plasmid.Context) -> None:
    first, second = context.call(far.supervise_and_kill)
    assert first != second
