"""How contexts end: in order, by accident, by force; and that nothing is left of them."""

import os
import signal
import threading
import time

import pytest

import plasmid
from tests.real import far, leftovers
from tests.real.conftest import connect, one_way, ways

TIMEOUT_S = 30
# What D11 promises.
GONE_TIMEOUT_S = 2


@ways
def test_shutdown_ends_a_context_with_its_processes(router: plasmid.Router, context: plasmid.Context) -> None:  # U7
    pids = context.call(far.process_ids)
    context.shutdown()
    assert leftovers.until_empty(lambda: leftovers.running(pids), GONE_TIMEOUT_S) == []
    with pytest.raises(plasmid.NotSent) as caught:
        context.call(far.add, 1)
    assert "The method was not started; it is safe to repeat the call." in str(caught.value)
    context.shutdown()
    assert router.local().call(far.add, 1) == 11


@ways
def test_shutdown_ends_what_is_below_too(router: plasmid.Router, context: plasmid.Context) -> None:  # U7
    below = router.local(via=context, name="below")
    pids = [*context.call(far.process_ids), *below.call(far.process_ids)]
    assert len(set(pids)) >= 3  # a child of the root on its own machine has no watchdog beside it
    context.shutdown()
    assert leftovers.until_empty(lambda: leftovers.running(pids), GONE_TIMEOUT_S) == []
    with pytest.raises(plasmid.NotSent):
        below.call(far.add, 1)


@one_way
def test_the_root_shuts_down_a_context_far_below(router: plasmid.Router, context: plasmid.Context) -> None:  # U7
    below = router.local(via=context, name="below")
    pids = below.call(far.process_ids)
    below.shutdown()
    assert leftovers.until_empty(lambda: leftovers.running(pids), GONE_TIMEOUT_S) == []
    assert context.call(far.add, 1) == 11
    with pytest.raises(plasmid.NotSent):
        below.call(far.add, 1)


@ways
def test_calls_to_a_killed_context_and_below_it_end_at_once_and_others_go_on(  # D4, D2, D3
    router: plasmid.Router, context: plasmid.Context
) -> None:
    other = router.local(name="other")
    below = router.local(via=context, name="below")
    pid = context.call(os.getpid)
    below_pids = below.call(far.process_ids)
    calls = [context.call_async(far.wait_at_gate), below.call_async(far.wait_at_gate)]
    calls.append(context.service(far.Work).hold.start())
    sideways = other.call_async(far.call_from_here, context, "add", 1)
    os.kill(pid, signal.SIGKILL)
    killed = time.monotonic()
    errors = [call.exception(TIMEOUT_S) for call in calls]
    assert time.monotonic() - killed < 1
    for error in errors:
        assert isinstance(error, plasmid.ContextLost)
        assert error.started is None
        assert "lost" in str(error)
        assert str(error).endswith("The call may have run; check before you repeat it.")
    assert str(errors[0]).startswith(f"tests.real.far.wait_at_gate on {context}: ")
    assert sideways.exception(TIMEOUT_S) is not None
    assert other.call(far.add, 1) == 11
    assert leftovers.until_empty(lambda: leftovers.running(below_pids), GONE_TIMEOUT_S) == []
    with pytest.raises(plasmid.NotSent):
        below.call(far.add, 1)


@one_way
def test_the_loss_of_a_context_below_a_living_one_is_told_without_waiting_for_that(  # D4
    router: plasmid.Router, context: plasmid.Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plasmid.router.EXPLAIN_WAIT_S", 1000.0)
    below = router.local(via=context, name="below")
    pid = below.call(os.getpid)
    call = below.call_async(far.wait_at_gate)
    os.kill(pid, signal.SIGKILL)
    assert isinstance(call.exception(TIMEOUT_S), plasmid.ContextLost)


@one_way
def test_a_loss_says_how_the_process_ended(  # D4
    router: plasmid.Router, context: plasmid.Context, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(plasmid.ContextLost) as caught:
        context.call(far.leave, 3)
    assert "exited with status 3" in str(caught.value)
    killed = router.local(name="killed")
    with pytest.raises(plasmid.ContextLost) as caught:
        killed.call(os.kill, killed.call(os.getpid), signal.SIGKILL)
    assert "was killed by signal 9 (SIGKILL)" in str(caught.value)
    router.close()
    lines = [record.getMessage() for record in caplog.records if record.name == "plasmid"]
    assert len(lines) == 2
    assert lines[0].startswith("far (/1) was lost: ")
    assert lines[1].startswith("killed (/2) was lost: ")


@one_way
def test_a_function_that_ends_its_process_in_order_is_a_loss_too(context: plasmid.Context) -> None:  # D4
    with pytest.raises(plasmid.ContextLost):
        context.call(far.kill_own_group)


@ways
def test_what_a_lost_context_had_started_goes_with_it(context: plasmid.Context) -> None:  # D11, U7
    pids = [*context.call(far.process_ids), context.call(far.start_sleeper)]
    assert len(leftovers.running(pids)) == len(pids)
    with pytest.raises(plasmid.ContextLost):
        context.call(far.leave, 0)
    assert leftovers.until_empty(lambda: leftovers.running(pids), GONE_TIMEOUT_S) == []


@ways
def test_close_ends_contexts_that_do_not_listen(request: pytest.FixtureRequest, way: str) -> None:  # D11, U7
    pids = []
    calls = []
    router = plasmid.Router()
    try:
        for busy in (far.hold_interpreter_lock, far.stop_myself, far.wait_at_gate):
            context = connect(request, router, way, busy.__name__)
            context.call(far.ignore_signals)
            pids += [*context.call(far.process_ids), context.call(far.start_sleeper)]
            calls.append(context.call_async(busy))
    finally:
        begun = time.monotonic()
        router.close(patience_s=0.5)
    assert time.monotonic() - begun < 5
    for call in calls:
        assert isinstance(call.exception(0), plasmid.ContextLost)
    assert leftovers.until_empty(lambda: leftovers.running(pids), GONE_TIMEOUT_S) == []


def test_close_ends_running_calls_and_refuses_new_ones() -> None:  # D2
    router = plasmid.Router()
    context = router.local(name="far")
    receiver = plasmid.Receiver(router)
    running = context.call_async(far.wait_at_gate)
    waiter: list[BaseException] = []

    def wait() -> None:
        try:
            receiver.get(TIMEOUT_S)
        except plasmid.ReceiverClosed as error:
            waiter.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    router.close(patience_s=0.2)
    thread.join(TIMEOUT_S)
    assert len(waiter) == 1
    assert isinstance(running.exception(0), plasmid.ContextLost)
    with pytest.raises(plasmid.NotSent):
        context.call(far.add, 1)
    with pytest.raises(plasmid.PlasmidError) as caught:
        router.local()
    assert str(caught.value) == "starting local: the router is closed"
    router.close()
    context.shutdown()


def test_two_routers_in_one_process_do_not_know_of_each_other() -> None:
    with plasmid.Router() as first, plasmid.Router() as second:
        one, two = first.local(name="one"), second.local(name="two")
        assert one.call(os.getpid) != two.call(os.getpid)
        assert one != two
        with plasmid.Pool(first, services=[far.Catalog(first)]):
            assert one.call(far.ask_catalog, "k") == ["k", "one"]
            with pytest.raises(plasmid.RemoteError, match="no service pool runs in this context"):
                two.call(far.ask_catalog, "k")
        first.close()
        assert two.call(far.add, 1) == 11


@one_way
def test_a_second_router_in_a_child_is_refused_and_says_what_to_use(context: plasmid.Context) -> None:
    with pytest.raises(plasmid.PlasmidError) as caught:
        context.call(far.make_second_router)
    assert str(caught.value) == (
        "this process was started by Plasmid and has a router already: take it with @plasmid.takes_router"
    )


@one_way
def test_a_child_starts_a_child_of_its_own(router: plasmid.Router, context: plasmid.Context) -> None:  # U1
    below = context.call(far.start_below, "below")
    assert (below.name, str(below)) == ("below", "below (/1/1)")
    assert below.call(far.own_place)[:2] == [below, context]
    assert router.connect("local:", via=below, name="lowest").call(far.add, 1) == 11


def test_many_contexts_at_once() -> None:
    with plasmid.Router() as router:
        contexts: list[plasmid.Context] = []

        def start(number: int) -> None:
            contexts.append(router.local(name=f"c{number}"))

        threads = [threading.Thread(target=start, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(TIMEOUT_S)
        assert sorted(context.name for context in contexts) == [f"c{n}" for n in range(8)]
        calls = [context.call_async(os.getpid) for context in contexts]
        assert len({call.result(TIMEOUT_S) for call in calls}) == 8
