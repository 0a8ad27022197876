"""Calls in flight: the books, and the protocol between two contexts or three."""

import random
from typing import Any

import pytest

from plasmid.core import frames, values
from plasmid.core.calls import (
    CHILD_CALL_SIZE_MAX,
    HEAD_SIZE_MAX,
    MESSAGE_SIZE_MAX,
    SERVED_PER_LINK_MAX,
    CallTable,
    OutCall,
)
from plasmid.core.errors import Cancelled, NotSent, Overloaded
from plasmid.core.flow import CREDIT_INITIAL, OUTBOX_SIZE_MAX, OWN, RECEIVE_QUOTA
from plasmid.core.frames import CHUNK_SIZE, MORE, NO_REPLY, PAIR, Kind, Lane
from tests.core.wire import Long, Tree, at, call_body, first_body, frame, plain_frames

KIB = 1024
MIB = 1024 * KIB
LONG = Long(random.Random(1).randbytes(3 * MIB))
CANCELLED = Cancelled("", "", "it was cancelled here")

# How these contexts' calls are numbered, see wire.py.
ROOT_ID, ONE_ID, TWO_ID = 1000, 2000, 3000


def two() -> Tree:
    """Return the root and its child."""
    return Tree("/", "/1")


def arrived(source: str, id: int, payload: bytes = b"payload", deadline: "float | None" = None) -> "tuple[Any, ...]":
    """Return the event of a call that has arrived."""
    return ("CallArrived", source, id, b"head", Long(payload), deadline, False)


def ended(target: str, body: bytes = b"result", is_error: bool = False) -> "tuple[Any, ...]":
    """Return the event of a call that was answered."""
    return ("CallEnded", target, Long(body), is_error, None)


def failed(target: str, name: str, found: str, started: "bool | None" = None) -> "tuple[Any, ...]":
    """Return the event of a call that ended without an answer."""
    return ("CallEnded", target, None, True, (name, found, started))


def refused(target: str, code: str, found: str, started: "bool | None" = None) -> "tuple[Any, ...]":
    """Return the event of a call that was answered by the protocol itself."""
    return ("CallEnded", target, b"".join(values.encode([code, found, started, "", [], ""])), True, None)


# -- CallTable


def table(*calls: "tuple[str, float | None]") -> "tuple[CallTable, list[OutCall]]":
    """Return a table with calls to these targets by these deadlines."""
    made = CallTable(5)
    return made, [made.add(at(target), deadline, target, 1) for target, deadline in calls]


def test_ids_count_up_from_an_unguessable_start_and_go_round() -> None:
    made = CallTable(2**64 - 1)
    assert [made.new_id(), made.new_id(), made.add(at("/1"), None, None, 1).id] == [2**64 - 1, 1, 2]
    assert CallTable(2**64 + 7).new_id() == 7


def test_a_call_is_found_by_its_id_and_exactly_its_target() -> None:
    made, (call,) = table(("/1/2", None))
    assert made.get(5, at("/1/2")) is call
    assert [made.get(5, at(other)) for other in ("/1", "/", "/1/2/3", "/1/3")] == [None] * 4
    assert made.get(6, at("/1/2")) is None


def test_a_call_ends_once() -> None:
    made, (call,) = table(("/1", 3.0))
    assert (made.end(5), made.end(5), len(made)) == (call, None, 0)
    assert made.get(5, at("/1")) is None


def test_the_first_deadline_of_calls_in_flight_counts() -> None:
    made, calls = table(("/1", 9.0), ("/2", None), ("/3", 4.0), ("/4", 6.0))
    assert made.deadline() == 4.0
    made.end(calls[2].id)
    assert made.deadline() == 6.0
    made.end(calls[3].id)
    made.end(calls[0].id)
    assert (made.deadline(), len(made)) == (None, 1)


def test_calls_expire_at_their_deadline_the_oldest_first() -> None:
    made, calls = table(("/1", 9.0), ("/2", 4.0), ("/3", None), ("/4", 4.0), ("/5", 10.0))
    assert made.expire(3.9) == []
    assert made.expire(9.0) == [calls[1], calls[3], calls[0]]
    assert (made.expire(9.9), len(made), made.deadline()) == ([], 2, 10.0)


def test_calls_that_ended_long_before_their_deadline_leave_nothing_behind() -> None:
    made, _ = table(("/1", 1.0))
    for _ in range(100_000):
        made.end(made.add(at("/1"), 3600.0, None, 1).id)
    assert len(made.deadlines) < 2000
    assert (made.deadline(), len(made)) == (1.0, 1)


def test_the_calls_to_contexts_that_are_gone_are_taken_out() -> None:
    made, calls = table(("/1", 1.0), ("/1/2", None), ("/2", None))
    assert made.lost(lambda where: where.startswith(at("/1"))) == calls[:2]
    assert (len(made), made.deadline()) == (1, None)


# -- the calls that are served


def test_a_served_call_is_known_by_its_caller_and_id() -> None:
    tree = Tree("/", "/1", "/1/1")
    assert [tree.call(context, "/").id for context in ("/1", "/1/1")] == [ONE_ID, TWO_ID]
    tree.run()
    link, served = tree.link("/", "/1"), tree.nodes["/"].calls.served
    assert (sorted(served), link.inbox.calls) == ([(at("/1"), ONE_ID), (at("/1/1"), TWO_ID)], 2)
    assert {call[0] for call in served.values()} == {link}
    tree.answer("/", "/1", TWO_ID)
    assert len(served) == 2
    tree.answer("/", "/1", ONE_ID)
    assert (list(served), link.inbox.calls) == ([(at("/1/1"), TWO_ID)], 1)


def test_a_link_may_have_so_many_calls_here_and_none_more() -> None:
    tree = two()
    for _ in range(SERVED_PER_LINK_MAX + 1):
        tree.call("/1", "/")
    tree.run()
    found = "%d calls from that side already wait here" % SERVED_PER_LINK_MAX
    assert (tree.link("/", "/1").inbox.calls, len(tree.told("/"))) == (SERVED_PER_LINK_MAX, SERVED_PER_LINK_MAX)
    assert tree.told("/1") == [refused("/", "Overloaded", found, False)]
    tree.answer("/", "/1", ONE_ID)
    tree.call("/1", "/")
    tree.run()
    assert len(tree.told("/")) == 1


def test_the_calls_of_callers_that_are_gone_are_taken_out() -> None:
    tree = Tree("/", "/1", "/2")
    for context in ("/1", "/2"):
        tree.call(context, "/")
    tree.run()
    link = tree.link("/", "/1")
    tree.cut("/", "/1")
    assert (list(tree.nodes["/"].calls.served), link.inbox.calls) == ([(at("/2"), TWO_ID)], 0)


# -- calls and their answers


@pytest.mark.parametrize("size", [0, 7, CHUNK_SIZE - 10, CHUNK_SIZE - 9, CREDIT_INITIAL, len(LONG)])
def test_a_call_arrives_as_it_was_made_and_its_answer_as_it_was_given(size: int) -> None:
    tree = two()
    tree.call("/", "/1", LONG[:size])
    tree.run()
    assert tree.told("/1") == [arrived("/", ROOT_ID, LONG[:size])]
    tree.answer("/1", "/", ROOT_ID, LONG[-size:])
    tree.run()
    assert (tree.told("/"), tree.told("/1")) == ([ended("/1", LONG[-size:])], [])
    for context in ("/", "/1"):
        node = tree.nodes[context]
        assert (len(node.calls.made), len(node.calls.served), node.switch.outgoing) == (0, 0, {})
        for link in node.links.values():
            assert link.inbox.held == sum(link.inbox.kept.values())  # what is kept for a neighbour's next one
            assert link.replies.held == sum(link.replies.kept.values())


@pytest.mark.parametrize("size", [7, len(LONG)])
def test_an_error_comes_as_an_error(size: int) -> None:
    tree = two()
    tree.call("/1", "/")
    tree.run()
    assert tree.told("/") == [arrived("/1", ONE_ID)]
    tree.answer("/", "/1", ONE_ID, LONG[:size], is_error=True)
    tree.run()
    assert tree.told("/1") == [ended("/", LONG[:size], is_error=True)]


def test_a_call_is_answered_once() -> None:
    # D2
    tree = two()
    tree.call("/", "/1")
    tree.run()
    for payload in (b"one", b"two"):
        tree.answer("/1", "/", ROOT_ID, payload)
    tree.answer("/1", "/", ROOT_ID + 1)
    tree.run()
    assert tree.told("/") == [ended("/1", b"one")]


def test_calls_both_ways_may_have_the_same_id() -> None:
    tree = Tree("/")
    tree.add("/1", 1000)
    tree.run()
    tree.told("/")
    tree.told("/1")
    tree.call("/", "/1", b"down")
    tree.call("/1", "/", b"up")
    tree.run()
    assert (tree.told("/"), tree.told("/1")) == ([arrived("/1", 1000, b"up")], [arrived("/", 1000, b"down")])
    tree.answer("/", "/1", 1000, b"to up")
    tree.answer("/1", "/", 1000, b"to down")
    tree.run()
    assert (tree.told("/"), tree.told("/1")) == ([ended("/1", b"to down")], [ended("/", b"to up")])


def test_of_a_call_without_reply_nothing_more_is_heard() -> None:
    tree = two()
    root = tree.nodes["/"].calls
    assert root.call(at("/1"), b"head", [b"payload"], 100.0, no_reply=True) is None
    tree.run()
    assert tree.told("/1") == [("CallArrived", "/", ROOT_ID, b"head", b"payload", None, True)]
    tree.answer("/1", "/", ROOT_ID)
    tree.run()
    assert (tree.told("/"), tree.sent("/1", "/"), len(root.made)) == ([], [], 0)
    assert tree.link("/1", "/").inbox.held == 0


def test_a_call_to_oneself_needs_no_link() -> None:
    tree = Tree("/")
    tree.call("/", "/", LONG)
    assert tree.told("/") == [arrived("/", ROOT_ID, LONG)]
    tree.answer("/", "/", ROOT_ID, b"result")
    tree.answer("/", "/", ROOT_ID, b"again")
    assert tree.told("/") == [ended("/")]
    assert tree.nodes["/"].calls.call(b"", b"head", [b"x"], 100.0, no_reply=True) is None
    tree.answer("/", "/", ROOT_ID + 1)
    assert tree.told("/") == [("CallArrived", "/", ROOT_ID + 1, b"head", b"x", None, True)]


def test_a_call_to_oneself_can_be_cancelled_and_expires() -> None:
    tree = Tree("/")
    call = tree.call("/", "/", deadline=101.0)
    other = tree.call("/", "/", deadline=102.0)
    tree.told("/")
    tree.nodes["/"].calls.cancel(call, CANCELLED)
    assert tree.told("/") == [
        ("CallCancelled", "/", ROOT_ID),
        failed("/", "Cancelled", "it was cancelled here"),
    ]
    tree.pass_time(2.0)
    assert tree.told("/") == [
        ("CallCancelled", "/", other.id),
        failed("/", "DeadlineExceeded", "no answer came in the time allowed for it"),
    ]
    tree.answer("/", "/", ROOT_ID)
    assert tree.told("/") == []


def test_a_call_to_oneself_that_was_answered_before_it_is_cancelled_keeps_its_answer() -> None:
    tree = Tree("/")
    call = tree.call("/", "/")
    tree.answer("/", "/", ROOT_ID)
    tree.nodes["/"].calls.cancel(call, CANCELLED)
    assert tree.told("/") == [arrived("/", ROOT_ID), ended("/")]


def test_a_dropped_call_of_ones_own_does_not_come_back() -> None:
    tree = Tree("/")
    call = tree.call("/", "/")
    tree.nodes["/"].calls.made.end(call.id)
    tree.answer("/", "/", ROOT_ID)
    assert tree.told("/") == [arrived("/", ROOT_ID)]


# -- what can't be sent


def test_a_call_without_a_way_is_not_sent() -> None:
    # D3
    tree = two()
    with pytest.raises(NotSent) as caught:
        tree.call("/", "/2")
    assert (caught.value.found, caught.value.started) == ("no link leads to /2 from /", False)
    assert len(tree.nodes["/"].calls.made) == 0


def test_a_call_behind_too_much_that_waits_is_not_sent() -> None:
    # D9
    tree = two()
    shares = tree.link("/", "/1").outbox.shares
    shares[OWN] = OUTBOX_SIZE_MAX + 1
    with pytest.raises(Overloaded) as caught:
        tree.call("/", "/1")
    assert caught.value.found == "16777217 bytes wait to be sent on the link towards it"
    shares[OWN] -= 1
    tree.call("/", "/1")


def test_a_name_at_the_limit_arrives_and_one_byte_more_is_not_sent() -> None:
    tree = two()
    calls = tree.nodes["/"].calls
    calls.call(at("/1"), bytes(HEAD_SIZE_MAX), [], 100.0)
    tree.run()
    assert tree.told("/1") == [("CallArrived", "/", ROOT_ID, Long(HEAD_SIZE_MAX), b"", None, False)]
    with pytest.raises(NotSent) as caught:
        calls.call(at("/1"), bytes(HEAD_SIZE_MAX + 1), [], 100.0)
    assert caught.value.found == "its name takes 4097 bytes; the limit is 4096"
    assert len(calls.made) == 1


# -- deadlines


@pytest.mark.parametrize(
    ("deadline", "left_ms", "there"),
    [
        (None, 0xFFFFFFFF, None),
        (101.5, 1500, 101.5),
        (100.0005, 0, 100.0),
        (99.0, 0, 100.0),
        (100.0 + 2**32, 0xFFFFFFFE, 100.0 + 0xFFFFFFFE / 1000),
        (float("inf"), 0xFFFFFFFE, 100.0 + 0xFFFFFFFE / 1000),
    ],
)
def test_the_time_left_travels(deadline: "float | None", left_ms: int, there: "float | None") -> None:
    # D6
    tree = two()
    tree.call("/", "/1", deadline=deadline)
    tree.run()
    assert tree.sent("/", "/1")[0][5] == call_body(left_ms=left_ms)
    assert tree.told("/1") == [arrived("/", ROOT_ID, deadline=there)]


def test_the_time_left_shrinks_with_each_hop_of_a_nested_call() -> None:
    # D6
    tree = Tree("/", "/1", "/2")
    tree.call("/", "/1", deadline=110.0)
    tree.run()
    ((*_, deadline, _),) = tree.told("/1")
    assert deadline == 110.0
    tree.clock.now = 104.0
    tree.call("/1", "/2", deadline=deadline)
    tree.run()
    assert tree.told("/2") == [arrived("/1", TWO_ID - 1000, deadline=110.0)]
    assert tree.sent("/1", "/")[0][5] == call_body(left_ms=6000)


def test_a_call_past_its_deadline_ends_and_the_far_side_is_told() -> None:
    # D2, D7
    tree = two()
    tree.call("/", "/1", deadline=101.0)
    tree.run()
    tree.told("/1")
    tree.pass_time(0.9)
    assert (tree.told("/"), tree.nodes["/"].deadline()) == ([], 101.0)
    tree.pass_time(0.1)
    tree.run()
    assert tree.told("/") == [failed("/1", "DeadlineExceeded", "no answer came in the time allowed for it")]
    assert tree.told("/1") == [("CallCancelled", "/", ROOT_ID)]
    tree.answer("/1", "/", ROOT_ID)
    tree.run()
    assert (tree.told("/"), tree.sent("/1", "/")) == ([], [])


# -- cancelling


def test_a_cancelled_call_ends_at_once_and_the_far_side_is_told() -> None:
    # D7
    tree = two()
    call = tree.call("/", "/1")
    tree.run()
    tree.told("/1")
    for _ in range(2):
        tree.nodes["/"].calls.cancel(call, CANCELLED)
    tree.run()
    assert tree.told("/") == [failed("/1", "Cancelled", "it was cancelled here")]
    assert tree.told("/1") == [("CallCancelled", "/", ROOT_ID)]
    assert tree.link("/1", "/").inbox.held == 0


def test_a_cancel_never_overtakes_its_call() -> None:
    tree = two()
    call = tree.call("/", "/1")
    tree.nodes["/"].calls.cancel(call, CANCELLED)
    tree.run()
    assert tree.told("/1") == [arrived("/", ROOT_ID), ("CallCancelled", "/", ROOT_ID)]


def test_a_cancelled_call_keeps_nothing_of_what_was_half_sent() -> None:
    tree = two()
    tree.hold("/1", "/")
    call = tree.call("/", "/1", LONG)
    tree.run()
    link = tree.link("/1", "/")
    assert (len(link.inbox.assemblies), link.inbox.held) == (1, len(LONG) + 10)
    tree.nodes["/"].calls.cancel(call, CANCELLED)
    tree.let("/1", "/")
    assert (link.inbox.assemblies, link.inbox.held, tree.told("/1")) == ({}, 0, [])
    assert tree.nodes["/"].switch.outgoing == {}
    assert tree.link("/", "/1").outbox.flows_size == 0


def test_of_a_long_call_that_never_left_the_far_side_hears_nothing() -> None:
    tree = two()
    call = tree.call("/", "/1", LONG)
    tree.nodes["/"].calls.cancel(call, CANCELLED)
    tree.run()
    assert tree.told("/") == [failed("/1", "Cancelled", "it was cancelled here")]
    assert (tree.told("/1"), tree.sent("/", "/1")) == ([], [])


def test_a_long_answer_to_a_cancelled_call_stops() -> None:
    tree = two()
    call = tree.call("/", "/1")
    tree.run()
    tree.hold("/", "/1")
    tree.answer("/1", "/", ROOT_ID, LONG)
    tree.run()
    link = tree.link("/", "/1")
    assert (len(link.replies.assemblies), link.replies.held) == (1, len(LONG))
    tree.nodes["/"].calls.cancel(call, CANCELLED)
    assert (link.replies.assemblies, link.replies.held) == ({}, 0)
    tree.let("/", "/1")
    assert tree.nodes["/1"].switch.outgoing == {}
    assert tree.told("/") == [failed("/1", "Cancelled", "it was cancelled here")]
    assert tree.told("/1") == [arrived("/", ROOT_ID)]


def test_a_stranger_can_not_cancel() -> None:
    tree = Tree("/", "/1", "/2")
    tree.call("/1", "/2")
    tree.run()
    tree.feed("/", "/1", frame(Kind.CANCEL, 0, ONE_ID, "/1/5", "/2"))
    tree.feed("/", "/1", frame(Kind.CANCEL, 0, ONE_ID + 1, "/1", "/2"))
    tree.run()
    assert tree.told("/2") == [arrived("/1", ONE_ID)]
    assert len(tree.nodes["/2"].calls.served) == 1


# -- answers that aren't


@pytest.mark.parametrize("kind", [Kind.REPLY, Kind.ERROR])
def test_an_answer_counts_only_from_the_context_that_was_called(kind: int) -> None:
    # D12
    tree = Tree("/", "/1", "/2")
    tree.call("/", "/1")
    tree.run()
    for source, id in ("/2", ROOT_ID), ("/2/1", ROOT_ID), ("/2", ROOT_ID + 1):
        tree.feed("/", "/2", frame(kind, Lane.REPLY, id, source, "/", b"forged"))
        tree.feed("/", "/2", frame(kind, Lane.REPLY | MORE, id, source, "/", first_body(MIB, b"forged")))
    tree.feed("/", "/1", frame(kind, Lane.REPLY, ROOT_ID, "/1/1", "/", b"forged"))
    assert tree.told("/") == []
    assert (tree.link("/", "/1").replies.assemblies, tree.link("/", "/2").replies.assemblies) == ({}, {})
    tree.feed("/", "/1", frame(kind, Lane.REPLY, ROOT_ID, "/1", "/", b"honest"))
    assert tree.told("/") == [ended("/1", b"honest", kind == Kind.ERROR)]


def test_a_context_can_answer_only_the_calls_made_to_it() -> None:
    tree = two()
    tree.call("/", "/1")
    tree.run()
    for id in [*range(1000), ROOT_ID - 1, ROOT_ID + 1, 2**64 - 1]:
        tree.feed("/", "/1", frame(Kind.REPLY, Lane.REPLY, id, "/1", "/", b"guessed"))
    assert tree.told("/") == []
    assert len(tree.nodes["/"].calls.made) == 1


def test_a_long_answer_that_breaks_off_with_a_short_one_leaves_nothing_behind() -> None:
    tree = two()
    tree.call("/", "/1")
    tree.call("/", "/1")
    tree.run()
    for id in (ROOT_ID, ROOT_ID + 1):
        tree.feed("/", "/1", frame(Kind.REPLY, Lane.REPLY | MORE, id, "/1", "/", first_body(MIB, b"x")))
    tree.feed("/", "/1", frame(Kind.ERROR, Lane.REPLY, ROOT_ID, "/1", "/", b"sorry"))
    assert tree.told("/") == [ended("/1", b"sorry", is_error=True)]
    link = tree.link("/", "/1")
    assert (len(link.replies.assemblies), link.replies.held) == (1, MIB)


def test_a_long_answer_over_the_limit_ends_the_call_as_a_protocol_error() -> None:
    tree = two()
    tree.call("/", "/1")
    tree.run()
    body = first_body(MESSAGE_SIZE_MAX + 1, b"x")
    tree.feed("/", "/1", frame(Kind.REPLY, Lane.REPLY | MORE, ROOT_ID, "/1", "/", body))
    found = "a body of 1073741825 bytes was announced; the limit is 1073741824"
    assert tree.told("/") == [failed("/1", "ProtocolError", found)]
    tree.run()
    assert tree.told("/1") == [arrived("/", ROOT_ID), ("CallCancelled", "/", ROOT_ID)]


def test_a_long_answer_at_the_limit_is_begun() -> None:
    tree = two()
    tree.call("/", "/1")
    tree.run()
    body = first_body(MESSAGE_SIZE_MAX, b"x")
    tree.feed("/", "/1", frame(Kind.REPLY, Lane.REPLY | MORE, ROOT_ID, "/1", "/", body))
    assert tree.told("/") == []
    assert tree.link("/", "/1").replies.held == MESSAGE_SIZE_MAX


def test_a_long_answer_that_breaks_the_rules_ends_the_call_as_a_protocol_error() -> None:
    tree = two()
    tree.call("/", "/1")
    tree.run()
    tree.feed("/", "/1", frame(Kind.REPLY, Lane.REPLY | MORE, ROOT_ID, "/1", "/", first_body(MIB, b"x")))
    tree.feed("/", "/1", frame(Kind.DATA, Lane.REPLY, ROOT_ID, "/1", "/", b"y"))
    assert tree.told("/") == [failed("/1", "ProtocolError", "a body of 1048576 bytes ended, or went on, at 2")]
    assert (tree.link("/", "/1").replies.assemblies, tree.link("/", "/1").replies.held) == ({}, 0)
    tree.feed("/", "/1", frame(Kind.DATA, Lane.REPLY | MORE, ROOT_ID, "/1", "/", b"y"))
    assert tree.told("/") == []


def test_an_answer_that_comes_whole_after_its_call_has_ended_is_dropped() -> None:
    tree = two()
    call = tree.call("/", "/1")
    tree.run()
    tree.feed("/", "/1", frame(Kind.REPLY, Lane.REPLY | MORE, ROOT_ID, "/1", "/", first_body(2, b"x")))
    tree.nodes["/"].calls.made.end(call.id)
    tree.feed("/", "/1", frame(Kind.DATA, Lane.REPLY, ROOT_ID, "/1", "/", b"y"))
    assert (tree.told("/"), tree.link("/", "/1").replies.held) == ([], 0)


def test_an_answer_that_breaks_the_rules_after_its_call_has_ended_is_dropped() -> None:
    tree = two()
    call = tree.call("/", "/1")
    tree.run()
    tree.feed("/", "/1", frame(Kind.REPLY, Lane.REPLY | MORE, ROOT_ID, "/1", "/", first_body(2, b"x")))
    tree.nodes["/"].calls.made.end(call.id)
    tree.feed("/", "/1", frame(Kind.DATA, Lane.REPLY, ROOT_ID, "/1", "/", b"yz"))
    assert (tree.told("/"), tree.link("/", "/1").replies.held) == ([], 0)


# -- calls that are refused


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"12345",
        call_body(head=b"", payload=b""),
        call_body(head=b"", payload=b"x"),
        call_body(head=b"head", payload=b"")[:-1],
        call_body(head=bytes(HEAD_SIZE_MAX + 1)),
    ],
)
def test_a_broken_call_is_refused_and_the_link_stays(body: bytes) -> None:
    tree = two()
    tree.feed("/", "/1", frame(Kind.CALL, 0, 7, "/1", "/", body))
    tree.run()
    ((name, flags, id, source, target, error),) = tree.sent("/", "/1")
    assert (name, flags, id, source, target) == ("ERROR", Lane.REPLY, 7, "/", "/1")
    assert values.decode(error) == ["ProtocolError", "the call is broken, or its id is in use", None, "", [], ""]
    assert (tree.told("/"), tree.link("/", "/1").inbox.held, len(tree.nodes["/"].calls.served)) == ([], 0, 0)


def test_a_long_call_that_is_broken_is_refused_when_it_is_whole() -> None:
    tree = two()
    tree.feed("/", "/1", frame(Kind.CALL, MORE, 7, "/1", "/", first_body(3, b"ab")))
    assert tree.link("/", "/1").inbox.held == 3
    tree.feed("/", "/1", frame(Kind.DATA, 0, 7, "/1", "/", b"c"))
    tree.run()
    ((name, flags, id, source, target, error),) = tree.sent("/", "/1")
    assert (name, flags, id, source, target) == ("ERROR", Lane.REPLY, 7, "/", "/1")
    assert values.decode(error)[:2] == ["ProtocolError", "the call is broken, or its id is in use"]
    assert (tree.told("/"), tree.link("/", "/1").inbox.held) == ([], 0)


def test_an_id_in_use_is_refused_and_the_first_call_goes_on() -> None:
    # D1
    tree = two()
    for _ in range(2):
        tree.feed("/", "/1", frame(Kind.CALL, 0, 7, "/1", "/", call_body()))
    assert tree.told("/") == [arrived("/1", 7)]
    tree.run()
    assert [one[0] for one in tree.sent("/", "/1")] == ["ERROR"]
    assert len(tree.nodes["/"].calls.served) == 1
    assert tree.link("/", "/1").inbox.held == len(call_body())


def test_a_refused_call_that_wants_no_reply_gets_none() -> None:
    tree = two()
    tree.feed("/", "/1", frame(Kind.CALL, NO_REPLY, 7, "/1", "/", b""))
    tree.run()
    assert (tree.told("/"), tree.sent("/", "/1")) == ([], [])


def test_more_calls_than_may_wait_are_refused_as_overload() -> None:
    # D9
    tree = two()
    for _ in range(SERVED_PER_LINK_MAX + 1):
        tree.call("/1", "/")
    tree.run()
    assert len(tree.told("/")) == SERVED_PER_LINK_MAX
    found = "4096 calls from that side already wait here"
    assert tree.told("/1") == [refused("/", "Overloaded", found, False)]
    tree.answer("/", "/1", ONE_ID)
    tree.call("/1", "/")
    tree.run()
    assert len(tree.told("/")) == 1


def test_arguments_over_the_quota_are_refused_as_overload_until_others_were_answered() -> None:
    # D9
    tree = two()
    # With the head of a call 10 bytes more; short bodies have a quarter more room than long ones.
    tree.link("/", "/1").inbox.quota = 80
    tree.call("/1", "/", bytes(60))
    tree.call("/1", "/", bytes(30))
    tree.run()
    assert tree.told("/") == [arrived("/1", ONE_ID, bytes(60))]
    found = "what came from that side already fills 70 bytes here"
    assert tree.told("/1") == [refused("/", "Overloaded", found, False)]
    tree.answer("/", "/1", ONE_ID)
    tree.call("/1", "/", bytes(30))
    tree.run()
    assert tree.told("/") == [arrived("/1", ONE_ID + 2, bytes(30))]


@pytest.mark.parametrize("size", [30, 2 * CHUNK_SIZE])
def test_a_long_call_from_above_does_not_keep_out_the_others(size: int) -> None:
    tree = two()
    tree.link("/1", "/").inbox.quota = MIB
    tree.call("/", "/1", LONG)
    tree.run()
    tree.call("/", "/1", bytes(size))
    tree.run()
    assert tree.told("/1") == [arrived("/", ROOT_ID, LONG), arrived("/", ROOT_ID + 1, bytes(size))]


def test_a_long_call_waits_for_room_and_gets_it_when_another_is_answered() -> None:
    tree = two()
    tree.link("/", "/1").inbox.quota = 4 * MIB
    tree.call("/1", "/", LONG)
    tree.call("/1", "/", LONG)
    tree.run()
    assert tree.told("/") == [arrived("/1", ONE_ID, LONG)]
    assert len(tree.link("/", "/1").inbox.assemblies) == 1
    tree.answer("/", "/1", ONE_ID)
    tree.run()
    assert tree.told("/") == [arrived("/1", ONE_ID + 1, LONG)]


def test_a_long_answer_never_waits_for_calls_that_are_served() -> None:
    tree = two()
    tree.link("/", "/1").inbox.quota = 4 * MIB
    tree.call("/1", "/", LONG)
    tree.run()
    tree.call("/", "/1")
    tree.run()
    tree.answer("/1", "/", ROOT_ID, bytes(RECEIVE_QUOTA + 1))
    tree.run()
    assert tree.told("/") == [arrived("/1", ONE_ID, LONG), ended("/1", bytes(RECEIVE_QUOTA + 1))]


def test_a_call_from_below_may_be_so_long_and_one_from_above_longer() -> None:
    tree = two()
    body = first_body(CHILD_CALL_SIZE_MAX, b"x")
    tree.feed("/", "/1", frame(Kind.CALL, MORE, 7, "/1", "/", body))
    tree.feed("/", "/1", frame(Kind.CALL, MORE, 8, "/1", "/", first_body(CHILD_CALL_SIZE_MAX + 1, b"x")))
    tree.feed("/1", "/", frame(Kind.CALL, MORE, 7, "/", "/1", first_body(MESSAGE_SIZE_MAX, b"x")))
    tree.feed("/1", "/", frame(Kind.CALL, MORE, 8, "/", "/1", first_body(MESSAGE_SIZE_MAX + 1, b"x")))
    tree.feed("/1", "/", frame(Kind.CALL, MORE, 9, "/2", "/1", first_body(CHILD_CALL_SIZE_MAX + 1, b"x")))
    assert [key[2] for key in tree.link("/", "/1").inbox.assemblies] == [7]
    assert [key[2] for key in tree.link("/1", "/").inbox.assemblies] == [7]
    down = [values.decode(one[5])[1] for one in written_errors(tree, "/", "/1")]
    up = [values.decode(one[5])[1] for one in written_errors(tree, "/1", "/")]
    assert down == ["a body of 16777217 bytes was announced; the limit is 16777216"]
    assert up == [
        "a body of 1073741825 bytes was announced; the limit is 1073741824",
        "a body of 16777217 bytes was announced; the limit is 16777216",
    ]


def written_errors(tree: Tree, context: str, other: str) -> "list[Any]":
    """Return the ERROR frames that `context` would send."""
    return [one for one in plain_frames(tree.write(context, other)) if one[0] == "ERROR"]


def test_a_long_call_that_breaks_the_rules_is_refused_and_the_link_stays() -> None:
    tree = two()
    tree.feed("/", "/1", frame(Kind.CALL, MORE, 7, "/1", "/", first_body(MIB, b"x")))
    tree.feed("/", "/1", frame(Kind.DATA, MORE, 7, "/1", "/", bytes(CREDIT_INITIAL)))  # within the grant
    tree.feed("/", "/1", frame(Kind.DATA, 0, 7, "/1", "/", b"y"))
    ((name, flags, id, source, target, error),) = written_errors(tree, "/", "/1")
    assert (name, flags, id, source, target) == ("ERROR", Lane.REPLY, 7, "/", "/1")
    found = "a body of 1048576 bytes ended, or went on, at 262146"
    assert values.decode(error) == ["ProtocolError", found, None, "", [], ""]
    assert (tree.link("/", "/1").inbox.assemblies, tree.link("/", "/1").inbox.held, tree.told("/")) == ({}, 0, [])


def test_a_body_beyond_its_credit_is_refused() -> None:
    tree = two()
    tree.link("/", "/1").inbox.quota = MIB
    tree.link("/", "/1").inbox.hold(MIB)
    tree.feed("/", "/1", frame(Kind.CALL, MORE, 7, "/1", "/", first_body(MIB, bytes(CHUNK_SIZE))))
    for _ in range(3):
        tree.feed("/", "/1", frame(Kind.DATA, MORE, 7, "/1", "/", bytes(CHUNK_SIZE)))
    assert written_errors(tree, "/", "/1") == []
    tree.feed("/", "/1", frame(Kind.DATA, MORE, 7, "/1", "/", b"x"))
    ((*_, error),) = written_errors(tree, "/", "/1")
    assert values.decode(error)[1] == "a body went 1 bytes beyond its credit of 262144"


def test_a_broken_body_makes_room_for_one_that_waits() -> None:
    tree = two()
    tree.link("/", "/1").inbox.quota = 4 * MIB
    tree.feed("/", "/1", frame(Kind.CALL, MORE, 7, "/1", "/", first_body(3 * MIB, b"x")))
    tree.call("/1", "/", LONG)
    tree.run()
    assert tree.told("/") == []
    tree.feed("/", "/1", frame(Kind.DATA, 0, 7, "/1", "/", b"y"))
    tree.run()
    assert tree.told("/") == [arrived("/1", ONE_ID, LONG)]


# -- answers that aren't read


def test_who_does_not_read_its_answers_can_not_ask_on() -> None:
    # D9
    tree = Tree("/", "/1", "/1/1")
    tree.call("/1", "/")
    tree.call("/", "/1")
    tree.run()
    tree.told("/1")
    tree.hold("/1", "/")
    # The child's answers wait: OUTBOX_SIZE_MAX and a byte in a long one.
    tree.answer("/", "/1", ONE_ID, bytes(OUTBOX_SIZE_MAX + 1))
    tree.feed("/", "/1", frame(Kind.CALL, 0, 7, "/1", "/", call_body()))
    ((*_, error),) = written_errors(tree, "/", "/1")
    assert values.decode(error)[:3] == [
        "Overloaded",
        "more than 16777216 bytes of answers wait to be sent to that side",
        False,
    ]
    # A parent may ask on.
    tree.answer("/1", "/", ROOT_ID, bytes(OUTBOX_SIZE_MAX + 1))
    tree.feed("/1", "/", frame(Kind.CALL, 0, 7, "/", "/1", call_body()))
    tree.feed("/1", "/", frame(Kind.CALL, 0, 8, "/2", "/1", call_body()))
    assert tree.told("/1") == [arrived("/", 7)]


def test_a_child_may_ask_on_while_a_long_call_to_it_is_on_its_way() -> None:
    tree = two()
    tree.hold("/", "/1")
    tree.call("/", "/1", bytes(OUTBOX_SIZE_MAX + 1))
    tree.call("/1", "/")
    tree.run()
    assert tree.told("/") == [arrived("/1", ONE_ID)]


def test_an_answer_to_an_id_that_is_used_again_gives_way() -> None:
    tree = two()
    for payload in (LONG, LONG[::-1]):
        tree.feed("/", "/1", frame(Kind.CALL, 0, 7, "/1", "/", call_body()))
        tree.answer("/", "/1", 7, payload)
    assert len(tree.nodes["/"].switch.outgoing) == 1
    assert tree.link("/", "/1").outbox.flows_size == len(LONG)
    assert tree.told("/") == [arrived("/1", 7)] * 2


def test_a_call_that_is_answered_before_it_was_sent_whole_is_not_sent_on() -> None:
    tree = two()
    tree.hold("/1", "/")
    tree.call("/", "/1", LONG)
    tree.run()
    tree.feed("/", "/1", frame(Kind.ERROR, Lane.REPLY, ROOT_ID, "/1", "/", b"no, thanks"))
    assert tree.told("/") == [ended("/1", b"no, thanks", is_error=True)]
    assert (tree.nodes["/"].switch.outgoing, tree.link("/", "/1").outbox.flows_size) == ({}, 0)


# -- loss


def test_a_lost_link_ends_its_calls_as_lost_and_half_sent_ones_as_not_sent() -> None:
    # D2, D3
    tree = two()
    tree.hold("/1", "/")
    tree.call("/", "/1")
    tree.call("/", "/1", LONG)
    tree.call("/", "/1", LONG[: 2 * CHUNK_SIZE])
    tree.run()
    tree.cut("/", "/1")
    found = "/1 was lost: it closed its end"
    assert tree.told("/") == [
        ("LinkEnded", 1, "it closed its end"),
        ("ContextGone", "/1", "it closed its end"),
        failed("/1", "ContextLost", found),
        failed("/1", "NotSent", found, False),
        failed("/1", "ContextLost", found),
    ]
    assert len(tree.nodes["/"].calls.made) == 0


def test_the_loss_of_a_context_further_on_ends_its_calls_the_same_way() -> None:
    # D3, D4
    tree = Tree("/", "/1", "/1/1")
    tree.hold("/1/1", "/1")
    tree.call("/", "/1/1", LONG)
    tree.call("/", "/1/1")
    tree.run()
    tree.cut("/1", "/1/1")
    tree.run()
    found = "/1/1 was lost: it closed its end"
    assert tree.told("/") == [
        ("ContextGone", "/1/1", "it closed its end"),
        failed("/1/1", "NotSent", found, False),
        failed("/1/1", "ContextLost", found),
    ]


def test_the_calls_of_a_lost_caller_are_cancelled_and_make_room() -> None:
    tree = Tree("/", "/1", "/1/1")
    tree.call("/1/1", "/")
    tree.call("/1", "/")
    tree.run()
    tree.cut("/1", "/1/1")
    tree.run()
    assert tree.told("/") == [
        arrived("/1", 2000),
        arrived("/1/1", 3000),
        ("ContextGone", "/1/1", "it closed its end"),
        ("CallCancelled", "/1/1", 3000),
    ]
    assert tree.link("/", "/1").inbox.held == len(call_body())
    tree.answer("/", "/1/1", 3000)
    tree.run()
    assert tree.sent("/", "/1") == []


def test_the_loss_of_the_parent_ends_all_that_its_link_carried() -> None:
    tree = Tree("/", "/1", "/1/1")
    tree.call("/1", "/")
    tree.call("/1", "/1/1")
    tree.call("/1", "/1")
    tree.call("/", "/1")
    tree.run()
    tree.told("/1")
    tree.cut("/", "/1")
    assert tree.told("/1") == [
        ("LinkEnded", 0, "it closed its end"),
        failed("/", "ContextLost", "the parent was lost: it closed its end"),
        ("CallCancelled", "/", ROOT_ID),
    ]
    assert len(tree.nodes["/1"].calls.made) == 2


def test_when_two_have_lost_each_other_their_calls_end_and_those_further_on_go_on() -> None:
    # D2, D3
    tree = Tree("/", "/1", "/1/1")
    tree.hold("/1", "/")
    tree.call("/", "/1")
    tree.call("/", "/1/1")
    tree.call("/", "/1", LONG)
    tree.run()
    tree.feed("/", "/1", frame(Kind.CALL, 0, 7, "/1", "/", call_body()))
    tree.told("/")
    tree.sent("/", "/1")
    tree.feed("/", "/1", frames.encode_reason(Kind.LOST, at("/1"), b"", "too much waited", PAIR))
    found = "/1 was lost: too much waited"
    assert tree.told("/") == [
        failed("/1", "ContextLost", found),
        failed("/1", "NotSent", found, False),
        ("CallCancelled", "/1", 7),
    ]
    assert len(tree.nodes["/"].calls.made) == 1
    # These calls may reach the other end after it heard the same of us.
    tree.run()
    assert [one[:3] for one in tree.sent("/", "/1")] == [("CANCEL", 0, ROOT_ID), ("CANCEL", 0, ROOT_ID + 2)]


def test_an_answer_for_a_link_that_has_gone_is_dropped() -> None:
    tree = two()
    tree.call("/1", "/")
    tree.run()
    node = tree.nodes["/"]
    del node.links[1]
    tree.answer("/", "/1", ONE_ID)
    assert len(node.calls.served) == 0


def test_a_reply_that_made_it_counts_though_its_sender_is_lost_right_after() -> None:
    # D2
    tree = Tree("/", "/1", "/1/1")
    tree.call("/", "/1/1")
    tree.run()
    tree.hold("/1", "/")
    tree.answer("/1/1", "/", ROOT_ID, LONG[:CREDIT_INITIAL])
    tree.run()
    tree.cut("/1", "/1/1")
    tree.let("/1", "/")
    assert tree.told("/") == [
        ended("/1/1", LONG[:CREDIT_INITIAL]),
        ("ContextGone", "/1/1", "it closed its end"),
    ]
