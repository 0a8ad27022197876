"""Async methods: on one event loop, counted and bounded like others, cancelled with their callers."""

import asyncio
import threading

import pytest

import plasmid
from plasmid.core.errors import Cancelled, DeadlineExceeded, RemoteError
from plasmid.service import Pool
from plasmid.testing import ANSWER_TIMEOUT_S, FakeRouter
from tests.service.live import Kinds, Serial, Shared, acquire


def test_an_async_method_is_awaited_or_waited_for(client: Kinds) -> None:
    async def both() -> "list[int]":
        return [await client.double(2), *await asyncio.gather(*(client.double(n) for n in range(3)))]

    assert asyncio.run(both()) == [4, 0, 2, 4]
    assert client.double.start(21).result(ANSWER_TIMEOUT_S) == 42


def test_async_methods_hold_no_thread_and_run_side_by_side_on_one_event_loop(client: Kinds, kinds: Kinds) -> None:
    calls = [client.meet.start(100) for _ in range(100)]
    assert [call.result(ANSWER_TIMEOUT_S) for call in calls] == [100] * 100
    held = client.forever.start()
    acquire(kinds.begun)
    assert client.plain(3) == 3
    assert not held.done()
    held.cancel()
    loops = [thread.name for thread in threading.enumerate() if thread.name == "plasmid-async"]
    assert len(loops) == 1


def test_async_methods_of_a_serialized_service_run_one_after_the_other(router: plasmid.Router, kinds: Kinds) -> None:
    serial = Serial(router)  # S8
    router.jobs.pool.add(serial)
    client = router.myself().service(Serial, timeout=ANSWER_TIMEOUT_S)
    calls = [client.meet.start(1) for _ in range(50)]
    assert [call.result(ANSWER_TIMEOUT_S) for call in calls] == [1] * 50


def test_each_coroutine_knows_its_own_caller(client: Kinds) -> None:
    calls = [client.who.start() for _ in range(3)]
    assert [call.result(ANSWER_TIMEOUT_S) for call in calls] == ["root root plasmid-async"] * 3


def test_cancelling_the_call_cancels_the_coroutine(client: Kinds, kinds: Kinds) -> None:  # D7
    call = client.forever.start()
    acquire(kinds.begun)
    call.cancel()
    acquire(kinds.closed)
    with pytest.raises(Cancelled):
        call.result(ANSWER_TIMEOUT_S)
    assert client.double.start(1).result(ANSWER_TIMEOUT_S) == 2


def test_a_deadline_cancels_the_coroutine(router: plasmid.Router, kinds: Kinds) -> None:  # D6
    call = router.myself().service(Kinds, timeout=0.05).forever.start()
    with pytest.raises(DeadlineExceeded):
        call.result(ANSWER_TIMEOUT_S)
    acquire(kinds.closed)


def test_what_a_coroutine_raises_is_its_callers_and_the_loop_lives(client: Kinds) -> None:
    with pytest.raises(RemoteError) as error:
        client.raise_exit.start().result(ANSWER_TIMEOUT_S)
    assert error.value.type_name == "SystemExit"
    assert client.double.start(4).result(ANSWER_TIMEOUT_S) == 8


# S15
def test_closing_the_pool_answers_and_cancels_what_runs_and_ends_the_thread(router: plasmid.Router) -> None:
    kinds = Kinds(router)
    pool = Pool(router, [kinds])
    call = router.myself().service(Kinds).forever.start()
    acquire(kinds.begun)
    pool.close(timeout_s=0.05)
    with pytest.raises(Cancelled, match="the pool there was closed before it had ended"):
        call.result(ANSWER_TIMEOUT_S)
    acquire(kinds.closed)
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("plasmid-async")] == []


# S9
def test_an_async_method_is_deduplicated_like_any_other(router: plasmid.Router, kinds: Kinds) -> None:
    shared = Shared(router)
    router.jobs.pool.add(shared)
    client = router.myself().service(Shared, timeout=ANSWER_TIMEOUT_S)
    calls = [client.find.start("a") for _ in range(64)]
    assert [call.result(ANSWER_TIMEOUT_S) for call in calls] == [1] * 64


def test_async_methods_can_be_tried_without_a_link() -> None:
    router = FakeRouter("/1")
    kinds = Kinds(router)
    with Pool(router, [kinds]):
        assert router.call(Kinds, "double", number=4) == 8
