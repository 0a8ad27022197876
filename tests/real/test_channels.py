"""Channels: a pair of queues between two contexts."""

import threading

import pytest

import plasmid
from plasmid.core.errors import Overloaded, ProtocolError, ReceiverClosed
from tests.real import far
from tests.real.conftest import one_way, ways

TIMEOUT_S = 30


@ways
def test_values_go_both_ways_in_order_until_one_end_is_closed(
    context: plasmid.Context, router: plasmid.Router
) -> None:  # U5, D5
    with plasmid.Channel(router) as channel:
        call = context.call_async(far.double_all, channel.other_end)
        for number in range(100):
            channel.put(number, timeout=TIMEOUT_S)
        assert [channel.get(TIMEOUT_S) for _ in range(100)] == [2 * number for number in range(100)]
        channel.put(None, TIMEOUT_S)
        assert call.result(TIMEOUT_S) == 100
        # The other end has closed.
        with pytest.raises(ReceiverClosed):
            channel.get(TIMEOUT_S)
        with pytest.raises(ReceiverClosed):
            channel.put("more", timeout=TIMEOUT_S)


@one_way
def test_an_end_that_is_closed_ends_the_loop_of_the_other(
    context: plasmid.Context, router: plasmid.Router
) -> None:  # U5
    channel = plasmid.Channel(router)
    call = context.call_async(far.double_all, channel.other_end)
    channel.put(1, TIMEOUT_S)
    assert channel.get(TIMEOUT_S) == 2
    channel.close()
    assert call.result(TIMEOUT_S) == 1
    with pytest.raises(ReceiverClosed):
        channel.put(1, TIMEOUT_S)


@one_way
def test_who_puts_before_the_other_end_has_joined_waits_as_long_as_it_said(
    context: plasmid.Context, router: plasmid.Router
) -> None:  # U5
    with plasmid.Channel(router) as channel:
        with pytest.raises(Overloaded) as caught:
            channel.put(1, timeout=0.01)
        assert "nobody has joined it within 0.01 s" in str(caught.value)
        # Threads that wait are all let through.
        threads = [threading.Thread(target=channel.put, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        call = context.call_async(far.double_all, channel.other_end)
        assert sorted(channel.get(TIMEOUT_S) for _ in range(4)) == [0, 2, 4, 6]
        channel.put(None, TIMEOUT_S)
        assert call.result(TIMEOUT_S) == 4
        for thread in threads:
            thread.join(TIMEOUT_S)
    waiting = plasmid.Channel(router)
    closer = threading.Thread(target=waiting.close)
    closer.start()
    with pytest.raises(ReceiverClosed):
        waiting.put(1)
    closer.join(TIMEOUT_S)


@one_way
def test_only_the_one_that_joined_is_heard(context: plasmid.Context, router: plasmid.Router) -> None:  # U5, D12
    with plasmid.Channel(router) as channel:
        call = context.call_async(far.double_all, channel.other_end)
        channel.put(1, TIMEOUT_S)
        stranger = router.local(name="stranger")
        stranger.call(far.put_all, channel.other_end, ["mine"])
        channel.put(2, TIMEOUT_S)
        assert [channel.get(TIMEOUT_S) for _ in range(2)] == [2, 4]
        channel.put(None, TIMEOUT_S)
        call.result(TIMEOUT_S)
    with plasmid.Channel(router) as channel:
        stranger.call(far.put_all, channel.other_end, ["no sender"])
        with pytest.raises(ProtocolError, match="who joined it didn't say where to put values"):
            channel.put(1, TIMEOUT_S)


@one_way
def test_the_loss_of_the_other_end_is_told(context: plasmid.Context, router: plasmid.Router) -> None:  # U5, U7
    with plasmid.Channel(router) as channel:
        context.call_async(far.double_all, channel.other_end)
        channel.put(1, TIMEOUT_S)
        assert channel.get(TIMEOUT_S) == 2
        channel.put("leave", TIMEOUT_S)
        with pytest.raises(ReceiverClosed):
            channel.get(TIMEOUT_S)


@one_way
def test_a_channel_can_stand_in_a_select(context: plasmid.Context, router: plasmid.Router) -> None:  # U5
    channels = [plasmid.Channel(router) for _ in range(2)]
    for channel in channels:
        context.call_no_reply(far.join_and_greet, channel.other_end)
    with plasmid.Select(channels) as select:
        events = [select.get(TIMEOUT_S) for _ in channels]
    assert {event.source for event in events} == set(channels)
    assert [event.data for event in events] == ["hello"] * 2
    for channel in channels:
        channel.close()
