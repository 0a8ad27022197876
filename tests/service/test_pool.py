"""The pool: threads shared fairly, every call answered, an end that is bounded and complete. Real threads, no clock."""

import logging
import threading
import time
from typing import Any

import pytest

from plasmid.core.errors import Cancelled, NotSent, Overloaded, PlasmidError, Refused
from plasmid.service import (
    Pool,
)
from plasmid.service.queues import ServiceQueue
from plasmid.testing import ANSWER_TIMEOUT_S, FakeRouter
from tests.service.stage import Older, Serial, Worker, acquire


# S7
@pytest.mark.parametrize("size", [1, 3])
def test_as_many_calls_run_at_once_as_there_are_threads(new_stage: Any, size: int) -> None:
    stage = new_stage(size)
    calls = [stage.submit("hold", number=number) for number in range(2 * size)]
    for _ in range(size):
        acquire(stage[0].begun)
    assert not stage[0].begun.acquire(blocking=False)
    stage[0].go.release(2 * size)
    assert [call.result() for call in calls] == list(range(2 * size))
    assert stage[0].most_running == size


# S8
def test_a_serialized_service_runs_one_call_at_a_time_in_order_on_one_thread(new_stage: Any) -> None:
    stage = new_stage(4, Serial)
    calls = [stage.submit("hold", Serial, number=number) for number in range(200)]
    calls.insert(100, stage.submit("fail", Serial, kind="value"))
    stage[0].go.release(200)
    for call in calls:
        call.wait()
    assert stage[0].order == list(range(200))
    assert stage[0].most_running == 1
    assert len(stage[0].threads) == 1
    assert repr(calls[100].exception()) == "ValueError('bad')"


# S8
def test_a_serialized_service_gives_its_thread_back(new_stage: Any) -> None:
    stage = new_stage(1, Serial, Worker)
    held = stage.submit("hold", Serial)
    acquire(stage[0].begun)
    behind = [stage.submit("hold", Serial, number=number) for number in (1, 2)]
    other = stage.submit("echo", value="other")
    stage[0].go.release()
    # The pool's only thread serves the other service before the rest of the queue.
    assert other.result() == "other"
    stage[0].go.release(2)
    assert [call.result() for call in [held, *behind]] == [0, 1, 2]


# S21
def test_a_flood_on_one_service_does_not_starve_another(new_stage: Any) -> None:
    stage = new_stage(1, Serial, Worker)
    held = stage.submit("hold")
    acquire(stage[1].begun)
    flood = [stage.submit("hold", Serial, number=number) for number in range(900)]
    quiet = [stage.submit("hold", number=number) for number in (1, 2, 3)]
    order: list[str] = []
    for service, name in ((stage[0], "flood"), (stage[1], "quiet")):
        service.order = _Tagged(order, name)
    stage[0].go.release(900)
    stage[1].go.release(4)
    assert [call.result() for call in [held, *quiet]] == [0, 1, 2, 3]
    assert order[:6] == ["flood", "quiet", "flood", "quiet", "flood", "quiet"]
    assert flood[-1].result() == 899


# S21
def test_a_flood_of_one_caller_does_not_starve_another_whatever_addresses_it_claims(new_stage: Any) -> None:
    stage = new_stage(1)
    held = stage.submit("hold")
    acquire(stage[0].begun)
    flood = [
        stage.router.submit(Worker, "hold", {"number": number}, source=f"/3/{number}/1") for number in range(1, 901)
    ]
    quiet = [stage.router.submit(Worker, "hold", {"number": -number}, source="/2") for number in (1, 2, 3)]
    stage[0].go.release(1000)
    assert [call.result() for call in [held, *quiet]] == [0, -1, -2, -3]
    assert stage[0].order[:7] == [0, 1, -1, 2, -2, 3, -3]
    assert flood[-1].result() == 900


# S21
def test_who_floods_a_queue_makes_room_for_others_and_the_order_of_a_serialized_service_stays(new_stage: Any) -> None:
    stage = new_stage(1, Serial)
    stage[0].invoker.max_queued = 4
    held = stage.submit("hold", Serial)
    acquire(stage[0].begun)

    def submit(number: int, source: str) -> Any:
        return stage.router.submit(Serial, "hold", {"number": number}, source=source)

    flood = [submit(number, "/3") for number in (1, 2, 3, 4)]
    quiet = [submit(number, "/2") for number in (5, 6)]
    refused = [flood[3].exception(), flood[2].exception(), submit(7, "/3").exception(), submit(8, "/2").exception()]
    assert [type(error) for error in refused] == [Overloaded] * 4
    stage[0].go.release(9)
    assert [call.result() for call in [held, *flood[:2], *quiet]] == [0, 1, 2, 5, 6]
    assert stage[0].order == [0, 1, 2, 5, 6]


class _Tagged:
    """A list's append() that notes whose turn it was."""

    def __init__(self, order: "list[str]", name: str) -> None:
        self._order = order
        self._name = name

    def append(self, number: int) -> None:
        self._order.append(self._name)


def test_a_full_queue_says_so_at_once(new_stage: Any) -> None:
    stage = new_stage(1)
    stage[0].invoker.max_queued = 3
    calls = [stage.submit("hold")]
    acquire(stage[0].begun)
    calls += [stage.submit("hold") for _ in range(3)]
    error = stage.submit("hold").exception()
    assert isinstance(error, Overloaded)
    assert str(error) == (
        "Worker.hold: as many calls as may wait for this service wait already."
        " Nothing was started; try again later or slow down."
    )
    stage[0].go.release(4)
    assert [call.result() for call in calls] == [0] * 4


# S22
def test_deferred_functions_run_on_a_pool_thread_and_their_errors_are_reported(new_stage: Any, caplog: Any) -> None:
    stage = new_stage()
    done: list[Any] = []
    ran = threading.Event()

    def function(*args: int, **kwargs: int) -> None:
        done.append((args, kwargs, threading.current_thread().name))
        ran.set()

    def failing() -> None:
        raise SystemExit("stop")

    with caplog.at_level(logging.ERROR, "plasmid.service"):
        stage.pool.defer(failing)
        stage.pool.defer(function, 1, b=2)
        assert ran.wait(ANSWER_TIMEOUT_S)
    assert done == [((1,), {"b": 2}, "plasmid-pool-1")]
    assert [record.getMessage() for record in caplog.records] == [
        f"a function given to Pool.defer() failed: {failing!r}"
    ]
    stage.pool.close()
    with pytest.raises(Refused) as error:
        stage.pool.defer(function)
    assert str(error.value) == "Pool.defer: the pool is closed"


# S22, S15
def test_deferred_functions_run_before_the_pool_is_closed_unless_its_time_is_over(new_stage: Any, caplog: Any) -> None:
    stage = new_stage()
    done: list[Any] = []
    held = stage.submit("hold")
    acquire(stage[0].begun)
    for number in range(20):
        stage.pool.defer(done.append, number)
    stage.pool.stop(join=False)
    stage[0].go.release()
    stage.pool.close()
    assert (held.result(), done, stage[0].shutdowns) == (0, list(range(20)), ["plasmid-pool-end"])
    assert caplog.records == []

    late = new_stage()
    late.submit("hold")
    acquire(late[0].begun)
    late.pool.defer(done.append, "too late")
    late.pool.close(timeout_s=0.05)
    late[0].go.release()
    late.pool.close()
    assert done == list(range(20))
    assert [record.getMessage() for record in caplog.records] == [
        "the pool was closed before 1 deferred functions were called"
    ]


# S15
def test_close_answers_all_who_wait_lets_the_running_finish_and_ends_the_threads(new_stage: Any) -> None:
    stage = new_stage(2, Worker, Serial)
    running = [stage.submit("hold"), stage.submit("hold", Serial)]
    acquire(stage[0].begun)
    acquire(stage[1].begun)
    waiting = [stage.submit("hold", cls) for cls in (Worker, Serial) for _ in range(400)]
    closing = threading.Thread(target=stage.pool.close)
    closing.start()
    for call in waiting:
        error = call.exception()
        assert isinstance(error, NotSent)
        assert error.started is False
    assert [call.done() for call in running] == [False, False]
    assert (stage[0].shutdowns, stage[1].shutdowns) == ([], [])
    stage[0].go.release()
    stage[1].go.release()
    assert [call.result() for call in running] == [0, 0]
    closing.join(ANSWER_TIMEOUT_S)
    # S20
    assert (stage[0].shutdowns, stage[1].shutdowns) == (["plasmid-pool-end"], ["plasmid-pool-end"])
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("plasmid-pool-")] in (
        [],
        ["plasmid-pool-end"],
    )
    error = stage.submit("echo").exception()
    assert isinstance(error, NotSent)
    assert str(error) == (
        "Worker.echo: the pool there was closed before the call was started."
        " The method was not started; it is safe to repeat the call."
    )


# S15, S20
def test_close_may_be_called_again_by_anyone_and_by_a_thread_of_the_pool(new_stage: Any) -> None:
    stage = new_stage(2)
    assert stage.submit("close_pool").result() == "closed"
    closers = [threading.Thread(target=stage.pool.close) for _ in range(4)]
    for closer in closers:
        closer.start()
    for closer in closers:
        closer.join(ANSWER_TIMEOUT_S)
    stage.pool.close()
    assert stage[0].shutdowns == ["plasmid-pool-end"]


# S15, S20
def test_close_is_bounded_and_what_runs_too_long_has_its_shutdown_when_it_ends(new_stage: Any) -> None:
    stage = new_stage()
    call = stage.submit("hold")
    acquire(stage[0].begun)
    shut = threading.Event()
    stage[0].on_shutdown = shut.set
    before = time.monotonic()
    stage.pool.close(timeout_s=0.05)
    assert time.monotonic() - before < 2
    assert not shut.is_set()
    error = call.exception()
    assert isinstance(error, Cancelled)
    assert str(error) == "Worker.hold: the pool there was closed before it had ended"
    stage[0].go.release()
    stage.pool.close()
    assert shut.is_set()


# S20
def test_an_error_in_one_shutdown_does_not_stop_the_next(new_stage: Any, caplog: Any) -> None:
    class Rude(Worker):
        def on_shutdown(self) -> None:
            raise SystemExit("no")

    stage = new_stage(1, Rude, Worker)
    stage.pool.close()
    assert stage[1].shutdowns == ["plasmid-pool-end"]
    assert "Rude.on_shutdown() failed" in caplog.text


# S15
def test_a_name_is_served_once(new_stage: Any) -> None:
    stage = new_stage()
    with pytest.raises(PlasmidError) as error:
        stage.pool.add(Worker(stage.router))
    assert str(error.value) == f"the pool serves {Worker.name()!r} already"
    second = Worker(stage.router)
    stage.pool.add(second, name="second")
    stage.pool.add(Older(stage.router))
    with pytest.raises(PlasmidError, match="the pool serves 500 already"):
        stage.pool.add(second, name=500)
    stage.pool.add(second, name="alias")
    assert second.invoker.backlog._queue is stage.pool._queues["alias"] is stage.pool._queues["second"]
    assert stage.router.submit("alias", "echo", {"value": 1}).result() == 1


@pytest.mark.parametrize("thing", [Worker, object(), None])
def test_what_is_no_service_object_cannot_be_added(new_stage: Any, thing: Any) -> None:
    with pytest.raises(TypeError, match=r"a pool serves objects of classes derived from plasmid\.Service, not"):
        new_stage().pool.add(thing)


# S21
def test_a_second_pool_of_a_router_is_an_error_unless_it_is_to_replace_the_first_or_that_is_closed(
    new_stage: Any,
) -> None:
    stage = new_stage()
    with pytest.raises(PlasmidError) as error:
        Pool(stage.router)
    assert str(error.value) == "this router has a pool already; add() services to it, or pass overwrite=True"
    second = Pool(stage.router, overwrite=True)
    assert stage.router.jobs.pool is second
    stage.pool.close()
    assert stage[0].shutdowns == ["plasmid-pool-end"]
    second.close()
    Pool(stage.router).close()
    with pytest.raises(ValueError, match="a pool needs at least one thread, not 0"):
        Pool(FakeRouter(), size=0)


# S21
def test_ten_thousand_services_cost_their_objects_only(new_stage: Any) -> None:
    stage = new_stage()
    before = threading.active_count()
    for number in range(10000):
        stage.pool.add(Worker(stage.router), name=f"worker{number}")
    assert threading.active_count() == before
    assert stage.router.submit("worker7777", "echo", {"value": 1}).result() == 1
    queue: ServiceQueue = stage.pool._queues["worker1"]
    assert (len(queue.arrived), queue.is_listed) == (0, False)


def test_threads_are_started_when_they_are_needed_and_no_more_than_the_size(new_stage: Any) -> None:
    stage = new_stage(8)
    assert len(stage.pool._crew) == 0
    for number in range(20):
        assert stage.submit("echo", value=number).result() == number
    # A call that ends before the next comes needs one thread; a second may be started while it says goodbye.
    assert len(stage.pool._crew) <= 2


def test_a_pool_is_a_context_manager() -> None:
    router = FakeRouter()
    with Pool(router, [Worker(router)]) as pool:
        assert router.call(Worker, "echo", value=1) == 1
    assert pool.is_closed
