"""Services that call services: a thread that waits within Plasmid is missed by nobody, within a limit."""

import threading
from typing import Any

import pytest

import plasmid
from plasmid.core.errors import Overloaded, RemoteError
from plasmid.runtime.ports import Latch
from plasmid.service import AllowAny, Pool, Service, expose
from plasmid.service.crew import Worker
from plasmid.service.pool import QUICK_COUNT, takes_one_processor
from plasmid.testing import ANSWER_TIMEOUT_S, FakeJob, FakeRouter
from tests.service.live import Kinds, acquire


class Waiter(Service):
    """Waits for a latch, as a method would for a receiver."""

    def __init__(self, router: Any) -> None:
        super().__init__(router)
        self.latch = Latch()
        self.begun = threading.Semaphore(0)

    @expose(AllowAny())
    def wait(self) -> Any:
        self.begun.release()
        return self.latch.get()

    @expose(AllowAny())
    def ping(self) -> str:
        return "pong"


# S12
@pytest.mark.parametrize("depth", [1, 20])
def test_a_method_that_calls_services_of_its_own_context_finds_a_thread_for_them(client: Kinds, depth: int) -> None:
    assert client.nest(depth) == depth
    assert client.nest(depth) == depth


# S12
def test_threads_that_wait_for_anything_of_plasmid_are_replaced_and_no_more_than_needed_stay() -> None:
    router = FakeRouter()
    waiter = Waiter(router)
    pool = Pool(router, [waiter], size=1)
    waiting = [router.submit(Waiter, "wait") for _ in range(10)]
    for _ in waiting:
        acquire(waiter.begun)
    assert router.call(Waiter, "ping") == "pong"
    crew = pool._crew
    for number in range(10):
        waiter.latch.put(number)
    assert sorted(call.result() for call in waiting) == list(range(10))
    assert router.call(Waiter, "ping") == "pong"
    pool.close()
    assert (len(crew), crew.busy, crew.blocked) == (0, 0, 0)


# S12
def test_at_the_limit_those_who_wait_for_a_thread_get_overloaded_and_nothing_hangs(
    router: plasmid.Router,
) -> None:
    class Small(Pool):
        blocked_max = 3

    kinds = Kinds(router)
    with Small(router, [kinds], size=2):
        client = router.myself().service(Kinds, timeout=ANSWER_TIMEOUT_S)
        assert client.nest(4) == 4
        with pytest.raises(RemoteError) as error:
            client.nest(20)
        assert error.value.type_name == "plasmid.core.errors.Overloaded"
        assert "every thread there waits for a call of its own" in str(error.value)
        assert client.nest(4) == 4


# S12
def test_calls_that_arrive_while_every_thread_waits_get_overloaded_at_once() -> None:
    class Small(Pool):
        blocked_max = 1

    router = FakeRouter()
    waiter = Waiter(router)
    with Small(router, [waiter], size=1):
        waiting = [router.submit(Waiter, "wait") for _ in range(2)]
        for _ in waiting:
            acquire(waiter.begun)
        errors = [router.submit(Waiter, method).exception() for method in ("ping", "wait")]
        # The second thread is about to wait, or does: the calls were refused by the one or the other.
        assert [type(error) for error in errors] == [Overloaded, Overloaded]
        for number in range(2):
            waiter.latch.put(number)
        assert sorted(call.result() for call in waiting) == [0, 1]
        assert router.call(Waiter, "ping") == "pong"


# S21
def test_calls_that_wait_get_no_more_threads_while_those_before_them_end_quickly() -> None:
    class Counting(Pool):
        woken = 0

        def _wake(self) -> bool:
            self.woken += 1
            return True

    router = FakeRouter()
    pool = Counting(router, [Waiter(router)], size=4)
    with pool:
        for _ in range(3):
            assert pool._file(FakeJob(Waiter.name(), "ping"), wake=False) is None
        pool._ended_count += QUICK_COUNT
        assert (pool.help(False), pool.woken) == (True, 0)
        pool._ended_count += QUICK_COUNT - 1
        assert (pool.help(False), pool.woken) == (True, 1)
        pool._ended_count += QUICK_COUNT
        assert (pool.help(True), pool.woken) == (True, 1)
        pool._ended_count += 1
        assert (pool.help(True), pool.woken) == (True, 4)  # nobody looked meanwhile for what comes: all that it can
        assert (pool.help(False), pool.woken) == (True, 5)
        assert (pool.help(True), pool.woken) == (False, 8)  # none has ended: they take long, and all help was given


def test_threads_take_turns_at_one_interpreter_if_they_end_many_calls_and_use_one_processor_together() -> None:
    assert takes_one_processor(QUICK_COUNT, 0.001, 0.001)
    assert takes_one_processor(1000, 0.005, 0.0042)
    assert not takes_one_processor(QUICK_COUNT - 1, 0.001, 0.001)  # they take long
    assert not takes_one_processor(1000, 0.005, 0.002)  # they wait for something else
    assert not takes_one_processor(1000, 0.005, 0.009)  # they compute without the interpreter


# S21
def test_a_thread_too_many_rests_if_another_ends_calls_as_well() -> None:
    router = FakeRouter()
    with Pool(router, [Waiter(router)], size=4) as pool:
        for _ in range(10):
            assert pool._file(FakeJob(Waiter.name(), "ping"), wake=False) is None
        first, second = (Worker(lambda worker: None, "", lambda worker: None, lambda worker: None) for _ in range(2))
        queue = pool._services[id(pool.active()[0][0])]

        def goes_on(worker: Worker) -> bool:
            return pool._next_task(worker, queue if worker.task else None) is not None

        assert goes_on(first)
        assert goes_on(second)
        pool._surplus = 1
        assert [goes_on(first) for _ in range(3)] == [True] * 3  # the other may be at a call that takes long
        assert not goes_on(second)
        assert (pool._surplus, pool._crew.busy) == (0, 1)
        pool._surplus = 1
        assert goes_on(first)
        pool._take_waiting()
