"""Many calls, many threads, big values: all at once on one link."""

import os
import threading

import pytest

import plasmid
from tests.real import far
from tests.real.conftest import one_way, ways

TIMEOUT_S = 50
BIG = 64 << 20


@ways
def test_eight_threads_call_at_once_and_each_gets_its_own_answers(context: plasmid.Context) -> None:  # D1, D2
    wrong: list[object] = []
    counter = context.service(far.Counter)
    counter.add(0)

    def work(thread: int) -> None:
        for n in range(200):
            if n % 2:
                counter.add(1)
            number = 1000 * thread + n
            answer = context.call(far.echo, number)
            if answer != number:
                wrong.append((number, answer))

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT_S)
    assert wrong == []
    assert counter.add(0) == 800


@one_way
def test_many_calls_in_flight_are_answered_each_once(context: plasmid.Context) -> None:  # D1, D2
    calls = [context.call_async(far.note, n) for n in range(3000)]
    assert [call.result(TIMEOUT_S) for call in calls] == [None] * 3000
    assert context.call(far.notes) == list(range(3000))


@one_way
def test_many_threads_wait_for_one_call(context: plasmid.Context) -> None:
    call = context.call_async(far.wait_at_gate, ["the result"])
    results: list[object] = []
    threads = [threading.Thread(target=lambda: results.append(call.result(TIMEOUT_S))) for _ in range(8)]
    for thread in threads:
        thread.start()
    context.service(far.Gate).open()
    for thread in threads:
        thread.join(TIMEOUT_S)
    assert results == [["the result"]] * 8


@ways
def test_small_calls_go_on_while_64_mib_go_each_way(context: plasmid.Context) -> None:  # D9
    counter = context.service(far.Counter)
    assert counter.add(0) == 0
    data = os.urandom(1 << 20) * (BIG >> 20)
    call = context.call_async(far.echo, data)
    count = 0
    while not call.done():
        count = counter.add(1)
    assert call.result(TIMEOUT_S) == data
    assert count >= 10


@one_way
def test_big_values_to_and_from_several_contexts_cross(router: plasmid.Router, context: plasmid.Context) -> None:
    contexts = [context, router.local(name="b"), router.local(name="c", via=context)]
    data = [bytes([n]) * (8 << 20) for n in range(3)]
    calls = [each.call_async(far.echo, value) for each in contexts for value in data]
    assert [call.result(TIMEOUT_S) for call in calls] == data * 3


@one_way
def test_a_call_that_is_too_large_for_a_childs_own_account_is_refused(  # D9
    router: plasmid.Router, context: plasmid.Context
) -> None:
    with plasmid.Pool(router, services=[far.Work(router)]):
        with pytest.raises(plasmid.RemoteError) as caught:
            context.call(far.send_large_call, 17 << 20)
        assert caught.value.type_name == "plasmid.core.errors.ProtocolError"
        assert context.call(far.send_large_call, 1 << 20) == 1 << 20


@one_way
def test_a_call_cut_short_by_its_deadline_leaves_the_link_free(context: plasmid.Context) -> None:  # D6
    data = bytes(BIG)
    for _ in range(3):
        with plasmid.timeout(0.02), pytest.raises(plasmid.DeadlineExceeded):
            context.call(far.echo, data)
    assert context.call(far.add, 1) == 11
    assert len(context.call(far.echo, data)) == BIG
