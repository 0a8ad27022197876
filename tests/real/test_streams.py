"""Receivers, senders and selects across real contexts: order, back-pressure, ends and losses."""

import contextlib

import pytest

import plasmid
from plasmid.core.streams import STREAM_WINDOW
from tests.real import far
from tests.real.conftest import one_way, ways

TIMEOUT_S = 30


def take_until_closed(receiver: plasmid.Receiver) -> None:
    """Take what is there, and then meet the end."""
    while True:
        receiver.get(timeout=TIMEOUT_S)


def put_until_closed(sender: plasmid.Sender) -> None:
    """Put until there is an end."""
    while True:
        sender.put(bytes(1000), timeout=TIMEOUT_S)


@ways
def test_values_of_one_context_arrive_in_order_and_of_several_all(  # D5, U5
    router: plasmid.Router, context: plasmid.Context
) -> None:
    other = router.local(name="other")
    receiver = plasmid.Receiver(router)
    values = [("text", n, bytes(n)) for n in range(1000)]
    for each, name in ((context, "far"), (other, "other")):
        each.call_no_reply(far.put_all, receiver.to_sender(), [(name, value) for value in values])
    arrived = [receiver.get(timeout=TIMEOUT_S) for _ in range(2000)]
    for name in ("far", "other"):
        assert [value for source, value in arrived if source == name] == values


@ways
def test_a_receiver_of_a_child_takes_what_the_root_and_its_siblings_put(  # U5
    router: plasmid.Router, context: plasmid.Context
) -> None:
    sender = context.call(far.open_receiver)
    sender.put({"from": "root"})
    assert context.call(far.take_from_receiver, 1) == [{"from": "root"}]
    sibling = router.local(name="sibling")
    sibling.call(far.put_all, sender, [1, (2, 3)])
    assert context.call(far.take_from_receiver, 2) == [1, (2, 3)]


@ways
def test_a_slow_receiver_bounds_what_is_held_for_it(  # D9
    router: plasmid.Router, context: plasmid.Context
) -> None:
    receiver = plasmid.Receiver(router)
    size = 10_000
    count, error, text = context.call(far.put_until_full, receiver.to_sender(), size, 0.2)
    assert error == "Overloaded"
    assert "its receiver took nothing for 0.2 s" in text
    assert STREAM_WINDOW // 2 < count * size <= STREAM_WINDOW
    assert [len(receiver.get(TIMEOUT_S)) for _ in range(count)] == [size] * count
    with pytest.raises(plasmid.TimedOut):
        receiver.get_nowait()
    # What was taken makes room, and those who waited go on.
    again, error, _ = context.call(far.put_until_full, receiver.to_sender(), size, 0)
    assert (again > 0, error) == (True, "Overloaded")


@one_way
def test_a_fast_sender_is_slowed_down_to_its_receiver_and_loses_nothing(  # D9, D5
    router: plasmid.Router, context: plasmid.Context
) -> None:
    receiver = plasmid.Receiver(router)
    values = [bytes([n % 256]) * 20_000 for n in range(200)]
    call = context.call_async(far.put_all, receiver.to_sender(), values)
    with pytest.raises(plasmid.TimedOut):
        call.result(timeout=0.2)
    assert [receiver.get(timeout=TIMEOUT_S) for _ in values] == values
    assert call.result(TIMEOUT_S) is None


@one_way
def test_a_value_larger_than_the_window_passes(router: plasmid.Router, context: plasmid.Context) -> None:
    receiver = plasmid.Receiver(router)
    values = [b"small", bytes(5 * STREAM_WINDOW), "after", b"x" * (STREAM_WINDOW - 100), 1]
    call = context.call_async(far.put_all, receiver.to_sender(), values)
    assert [receiver.get(timeout=TIMEOUT_S) for _ in values] == values
    assert call.result(TIMEOUT_S) is None


@ways
def test_putting_to_a_closed_receiver_says_so(router: plasmid.Router, context: plasmid.Context) -> None:  # D2
    receiver = plasmid.Receiver(router)
    sender = receiver.to_sender()
    call = context.call_async(far.put_until_full, sender, 10_000, None)
    assert receiver.get(TIMEOUT_S) == bytes(10_000)
    receiver.close()
    _, error, text = call.result(TIMEOUT_S)
    assert (error, text.endswith("the receiver was closed")) == ("ReceiverClosed", True)
    with pytest.raises(plasmid.ReceiverClosed, match="the receiver was closed"):
        take_until_closed(receiver)
    _, error, _ = context.call(far.put_until_full, sender, 10, 1)
    assert error == "ReceiverClosed"


@one_way
def test_a_senders_end_ends_an_iteration(router: plasmid.Router, context: plasmid.Context) -> None:  # U5
    receiver = plasmid.Receiver(router)
    context.call_no_reply(far.put_all, receiver.to_sender(), list(range(100)), True)
    assert list(receiver) == list(range(100))


@ways
def test_a_receiver_hears_of_the_loss_of_a_context_that_put_to_it(  # D4, D5
    router: plasmid.Router, context: plasmid.Context
) -> None:
    receiver = plasmid.Receiver(router)
    context.call(far.put_all, receiver.to_sender(), ["last words"])
    context.call_no_reply(far.leave, 1)
    assert receiver.get(TIMEOUT_S) == "last words"
    with pytest.raises(plasmid.ReceiverClosed) as caught:
        receiver.get(TIMEOUT_S)
    where = str(context).partition("(")[2][:-1]
    assert str(caught.value) == f"{where} was lost: it closed its end"


@one_way
def test_a_sender_to_a_lost_context_is_told_so(context: plasmid.Context) -> None:  # D4
    sender = context.call(far.open_receiver)
    sender.put(1)
    context.call_no_reply(far.leave, 1)
    with pytest.raises((plasmid.ReceiverClosed, plasmid.NotSent)):
        put_until_closed(sender)


@one_way
def test_a_select_waits_on_receivers_of_many_contexts(router: plasmid.Router, context: plasmid.Context) -> None:  # U5
    contexts = [context, router.local(name="second")]
    receivers = [plasmid.Receiver(router) for _ in contexts]
    with contextlib.closing(plasmid.Select(receivers, oneshot=False)) as select:
        for each, receiver in zip(contexts, receivers, strict=True):
            each.call_no_reply(far.put_all, receiver.to_sender(), [each.name] * 3)
        events = [select.get(TIMEOUT_S) for _ in range(6)]
        for each, receiver in zip(contexts, receivers, strict=True):
            assert [event.data for event in events if event.source is receiver] == [each.name] * 3
        with pytest.raises(plasmid.TimedOut):
            select.get(timeout=0.01)


@one_way
def test_selects_are_nested_and_never_in_a_circle(router: plasmid.Router, context: plasmid.Context) -> None:  # U5
    receiver, latch = plasmid.Receiver(router), plasmid.Latch()
    inner = plasmid.Select([receiver], oneshot=False)
    outer = plasmid.Select([inner, latch], oneshot=False)
    with pytest.raises(ValueError, match="can't wait on itself"):
        inner.add(outer)
    with pytest.raises(ValueError, match="in this select already"):
        outer.add(latch)
    context.call(far.put_all, receiver.to_sender(), ["deep"])
    event = outer.get(TIMEOUT_S)
    assert (event.source, event.data) == (receiver, "deep")
    latch.put("local")
    event = outer.get(TIMEOUT_S)
    assert (event.source, event.data) == (latch, "local")


@one_way
def test_what_cannot_travel_is_not_put(router: plasmid.Router, context: plasmid.Context) -> None:
    receiver = plasmid.Receiver(router)
    sender = receiver.to_sender()
    with pytest.raises(plasmid.UnsendableValue) as caught:
        sender.put({"socket": [object()]})
    assert str(caught.value) == "value['socket'][0]: object"
    sender.put("own")
    assert receiver.get(TIMEOUT_S) == "own"


@one_way
def test_a_sender_with_a_wrong_token_is_refused(router: plasmid.Router, context: plasmid.Context) -> None:  # D12
    receiver = plasmid.Receiver(router)
    forged = plasmid.Sender(router.runtime, b"", receiver.number, bytes(16))
    _, error, text = context.call(far.put_until_full, forged, 100_000, TIMEOUT_S)
    assert (error, "no receiver takes it there" in text) == ("ReceiverClosed", True)
    with pytest.raises(plasmid.TimedOut):
        receiver.get_nowait()
