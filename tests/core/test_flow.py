"""Bodies in chunks, in turn and under credit."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plasmid.core import relay
from plasmid.core.bulk import Outgoing
from plasmid.core.errors import Overloaded, ProtocolError
from plasmid.core.flow import (
    ASSEMBLIES_MAX,
    CREDIT_INITIAL,
    CREDIT_WINDOW,
    OUTBOX_SIZE_MAX,
    OWN,
    REACTIONS,
    WAITING_MAX,
    Assembly,
    Inbox,
    Outbox,
)
from plasmid.core.frames import CHUNK_SIZE, MORE, NO_REPLY, PAIR, Frame, Kind, Lane
from tests.core.wire import at, first_body, frame, plain_frames, read_frame

KIB = 1024
MIB = 1024 * KIB


def pattern(size: int) -> bytes:
    """Return bytes in which a shift or a gap shows."""
    return random.Random(size).randbytes(size)


def outgoing(body: bytes, kind: int = Kind.CALL, id: int = 5, flags: int = 0) -> Outgoing:
    """Return a body on its way from /1 to /2."""
    return Outgoing(kind, flags, id, at("/1"), at("/2"), [body], len(body))


def whole(buffers: "list[Any]") -> "tuple[Any, ...]":
    """Return the one frame that these buffers make."""
    (one,) = plain_frames(b"".join(buffers))
    return one


def written(outbox: Outbox, size_max: int = 1 << 40) -> "list[tuple[Any, ...]]":
    """Return all the frames that an outbox gives."""
    found = b""
    while buffers := outbox.next_buffers(size_max):
        found += b"".join(buffers)
    return plain_frames(found)


def small(id: int, source: str = "/1", kind: int = Kind.CALL, size: int = 0) -> Frame:
    """Return a short frame to be passed on."""
    return read_frame(frame(kind, 0, id, source, "/2", bytes(size)))


def ids(frames: "list[tuple[Any, ...]]") -> "list[int]":
    """Return the frames' ids."""
    return [one[2] for one in frames]


# -- Outgoing


def test_a_long_body_begins_with_its_size_and_goes_on_in_data_frames() -> None:
    body = pattern(CHUNK_SIZE * 2 + 1)
    flow = outgoing(body, flags=NO_REPLY)
    assert flow.name == (at("/2"), Lane.CALL, 5)
    first = whole(flow.next_chunk())
    assert first == ("CALL", MORE | NO_REPLY, 5, "/1", "/2", first_body(len(body), body[:CHUNK_SIZE]))
    second = whole(flow.next_chunk())
    assert second == ("DATA", MORE | NO_REPLY, 5, "/1", "/2", body[CHUNK_SIZE : 2 * CHUNK_SIZE])
    third = whole(flow.next_chunk())
    assert third == ("DATA", NO_REPLY, 5, "/1", "/2", body[2 * CHUNK_SIZE :])
    assert (flow.ready, flow.sent) == (False, len(body))


def test_the_frames_of_a_body_keep_its_lane() -> None:
    flow = Outgoing(Kind.PUT, Lane.ITEM, 9, at("/1"), at("/2"), [bytes(CHUNK_SIZE + 1)], CHUNK_SIZE + 1)
    assert flow.name == (at("/2"), Lane.ITEM, 9)
    assert [whole(flow.next_chunk())[:2] for _ in range(2)] == [("PUT", Lane.ITEM | MORE), ("DATA", Lane.ITEM)]


def test_a_body_goes_as_far_as_its_credit_and_no_byte_further() -> None:
    body = pattern(CREDIT_INITIAL + 2 * CHUNK_SIZE)
    flow = outgoing(body)
    while flow.ready:
        flow.next_chunk()
    assert flow.sent == CREDIT_INITIAL
    flow.grant(CREDIT_INITIAL + 10)
    assert flow.ready
    assert whole(flow.next_chunk()) == ("DATA", MORE, 5, "/1", "/2", body[CREDIT_INITIAL : CREDIT_INITIAL + 10])
    assert not flow.ready


@pytest.mark.parametrize("grants", [[0], [1], [CREDIT_INITIAL], [CREDIT_INITIAL - 1, 0]])
def test_an_old_grant_changes_nothing(grants: "list[int]") -> None:
    flow = outgoing(bytes(MIB))
    for credit in grants:
        flow.grant(credit)
    assert flow.credit == CREDIT_INITIAL


@pytest.mark.parametrize("credit", [MIB, MIB + 1, 2**64 - 1])
def test_a_huge_grant_says_nothing_more_than_the_end(credit: int) -> None:
    flow = outgoing(bytes(MIB))
    flow.grant(credit)
    flow.grant(credit - 1)
    assert flow.credit == MIB


def test_grants_out_of_order_and_repeated_leave_the_highest() -> None:
    flow = outgoing(bytes(MIB))
    for credit in (500_000, 300_000, 700_000, 700_000, 1):
        flow.grant(credit)
    assert flow.credit == 700_000


def test_the_parts_of_a_body_are_never_copied() -> None:
    body = bytearray(CHUNK_SIZE + 10)
    flow = Outgoing(Kind.CALL, 0, 1, b"", at("/1"), [b"head", body, memoryview(b"tail")], len(body) + 8)
    pieces = [piece for _ in iter(lambda: flow.ready, False) for piece in flow.next_chunk()[1:]]
    assert [getattr(piece, "obj", None) for piece in pieces] == [b"head", body, body, b"tail"]
    assert b"".join(pieces) == b"head" + body + b"tail"


def test_empty_parts_leave_no_trace_in_the_body() -> None:
    flow = Outgoing(Kind.CALL, 0, 1, b"", at("/1"), [b"", bytes(CHUNK_SIZE), b"", b"x", b""], CHUNK_SIZE + 1)
    assert whole(flow.next_chunk())[5] == first_body(CHUNK_SIZE + 1, bytes(CHUNK_SIZE))
    assert whole(flow.next_chunk())[5] == b"x"
    assert not flow.ready


def test_what_must_not_overtake_a_body_is_sent_right_behind_it() -> None:
    flow = outgoing(bytes(CHUNK_SIZE + 1))
    flow.after = frame(Kind.CLOSE, Lane.ITEM, 9, "/1", "/2", b"token")
    flow.next_chunk()
    assert plain_frames(b"".join(flow.next_chunk())) == [
        ("DATA", 0, 5, "/1", "/2", b"\0"),
        ("CLOSE", Lane.ITEM, 9, "/1", "/2", b"token"),
    ]


# -- Outbox: order


def test_an_empty_outbox_gives_nothing() -> None:
    outbox = Outbox()
    assert (bool(outbox), outbox.next_buffers(MIB)) == (False, [])


def test_single_frames_keep_their_order_and_urgent_ones_come_first() -> None:
    outbox = Outbox()
    for id in (1, 2, 3):
        outbox.push(frame(Kind.CALL, 0, id, "/1", "/2"))
    outbox.push_urgent(frame(Kind.PONG, 0, 10, "/1", "/"))
    outbox.push_urgent(frame(Kind.PONG, 0, 11, "/1", "/"))
    assert bool(outbox)
    assert ids(written(outbox)) == [10, 11, 1, 2, 3]
    assert (bool(outbox), outbox.shares) == (False, {})


def test_an_outbox_with_urgent_frames_alone_is_not_empty() -> None:
    outbox = Outbox()
    outbox.push_urgent(b"x")
    assert bool(outbox)
    assert outbox.shares == {REACTIONS: 1}


def test_a_small_frame_waits_for_one_chunk_of_each_long_body() -> None:
    outbox = Outbox()
    for id in (1, 2):
        outgoing(bytes(4 * CHUNK_SIZE), id=id).line_up(outbox)
    outbox.push(frame(Kind.CALL, 0, 7, "/1", "/2"))
    assert ids(written(outbox)) == [1, 2, 7, 1, 2, 1, 2, 1, 2]


def test_each_origin_has_its_turn_whatever_another_floods() -> None:
    outbox = Outbox()
    for id in range(100):
        assert relay.queue(outbox, small(id, "/1/%d" % (id + 1)), 1)
    assert relay.queue(outbox, small(1000, "/3"), 3)
    outbox.push(frame(Kind.CALL, 0, 2000, "/", "/2"))
    outbox.push(frame(Kind.ERROR, 0, 3000, "/", "/2"), REACTIONS)
    assert ids(written(outbox)) == [0, 1000, 2000, 3000, *range(1, 100)]


def test_a_long_body_that_is_passed_on_takes_turns_with_others_of_its_link() -> None:
    outbox = Outbox()
    for _ in range(3):
        assert relay.queue(outbox, read_frame(frame(Kind.DATA, MORE, 1, "/1", "/2", b"chunk")), 1)
    assert relay.queue(outbox, small(2), 1)
    assert ids(written(outbox)) == [1, 2, 1, 1]


def test_frames_of_one_flow_that_is_passed_on_keep_their_order_whatever_their_kind() -> None:
    # D5
    outbox = Outbox()
    sent = [
        ("PUT", Lane.ITEM | MORE, 9, "/1", "/2", b"a"),
        ("DATA", Lane.ITEM | MORE, 9, "/1", "/2", b"b"),
        ("DATA", Lane.ITEM, 9, "/1", "/2", b"c"),
        ("PUT", Lane.ITEM, 9, "/1", "/2", b"d"),
        ("CLOSE", Lane.ITEM, 9, "/1", "/2", b"e"),
    ]
    for name, flags, id, source, target, body in sent:
        assert relay.queue(outbox, read_frame(frame(getattr(Kind, str(name)), flags, id, source, target, body)), 1)
        assert relay.queue(outbox, small(100, "/1/1"), 1)
    assert [one for one in written(outbox) if one[2] == 9] == sent


def test_a_body_without_credit_is_parked_until_it_gets_some() -> None:
    outbox = Outbox()
    flow = outgoing(bytes(CREDIT_INITIAL + 5))
    flow.line_up(outbox)
    assert len(written(outbox)) == 4
    flow.line_up(outbox)
    assert (bool(outbox), outbox.finished) == (False, [])
    flow.grant(CREDIT_INITIAL + 5)
    flow.line_up(outbox)
    flow.line_up(outbox)  # twice is once
    assert written(outbox) == [("DATA", 0, 5, "/1", "/2", bytes(5))]
    assert outbox.finished == [flow]


def test_a_body_that_lost_its_credit_while_it_was_queued_is_passed_over() -> None:
    outbox = Outbox()
    dropped = outgoing(bytes(MIB), id=1)
    dropped.line_up(outbox)
    outgoing(bytes(CHUNK_SIZE + 1), id=2).line_up(outbox)
    dropped.credit = 0
    assert ids(written(outbox)) == [2, 2]
    assert len(outbox.finished) == 1


def test_about_as_much_is_given_at_once_as_was_asked_for() -> None:
    outbox = Outbox()
    for id in range(10):
        outbox.push(frame(Kind.CALL, 0, id, "/1", "/2", bytes(76)))
    assert len(outbox.next_buffers(250)) == 3
    assert len(outbox.next_buffers(1)) == 1
    assert len(outbox.next_buffers(MIB)) == 6


def test_no_more_buffers_are_given_than_one_system_call_takes() -> None:
    outbox = Outbox()
    for _ in range(200):
        outbox.push(b"x")
    assert len(outbox.next_buffers(MIB)) == 64


# -- Outbox: shares


def test_the_books_say_whose_bytes_wait() -> None:
    outbox = Outbox()
    outbox.push(b"12345")
    outbox.push(b"123", 7)
    outbox.push_urgent(b"1234")
    outbox.push(b"1", REACTIONS)
    assert outbox.shares == {OWN: 5, 7: 3, REACTIONS: 5}
    outbox.push(b"678")
    assert outbox.next_buffers(1) == [b"1234"]
    assert outbox.shares == {OWN: 8, 7: 3, REACTIONS: 1}
    assert outbox.next_buffers(1) == [b"12345"]
    assert outbox.shares == {OWN: 3, 7: 3, REACTIONS: 1}
    assert outbox.next_buffers(MIB) == [b"123", b"1", b"678"]
    assert outbox.shares == {}


@pytest.mark.parametrize(
    ("kind", "limit"), [(Kind.CALL, OUTBOX_SIZE_MAX // 2), (Kind.PUT, OUTBOX_SIZE_MAX), (Kind.REPLY, OUTBOX_SIZE_MAX)]
)
def test_a_link_may_have_so_much_waiting_and_no_byte_more(kind: int, limit: int) -> None:
    # D9
    outbox = Outbox()
    full = small(1, kind=kind, size=1000)
    outbox.shares[1] = limit - len(full.raw) + 1
    assert not relay.queue(outbox, full, 1)
    assert (outbox.shares, bool(outbox)) == ({1: limit - len(full.raw) + 1}, False)
    outbox.shares[1] -= 1
    assert relay.queue(outbox, full, 1)
    assert outbox.shares == {1: limit}
    assert relay.queue(outbox, full, 2)  # another link has a share of its own


# -- Outbox: the loss of a context


def test_nothing_that_came_from_a_context_is_overtaken_by_its_loss() -> None:
    # D2
    outbox = Outbox()
    lost = frame(Kind.LOST, 0, 0, "/1/5", "/2")
    for _ in range(3):
        assert relay.queue(outbox, read_frame(frame(Kind.DATA, MORE, 1, "/1/5", "/2", b"chunk")), 1)
        assert relay.queue(outbox, read_frame(frame(Kind.DATA, MORE, 2, "/1/5/1", "/2", b"chunk")), 1)
    assert relay.queue(outbox, read_frame(frame(Kind.DATA, MORE, 3, "/1/6", "/2", b"chunk")), 1)
    relay.queue_last(outbox, at("/1/5"), lost, 1)
    assert relay.queue(outbox, small(4, "/1/6"), 1)
    names = [one[:1] + one[2:4] for one in written(outbox)]
    assert sorted(names[: names.index(("LOST", 0, "/1/5"))]) == [
        *[("CALL", 4, "/1/6")],
        *[("DATA", 1, "/1/5")] * 3,
        *[("DATA", 2, "/1/5/1")] * 3,
        *[("DATA", 3, "/1/6")],
    ]
    assert names[-1] == ("LOST", 0, "/1/5")
    assert (outbox.shares, bool(outbox)) == ({}, False)


def test_what_two_sent_each_other_stays_on_its_side_of_the_word_that_they_lost_each_other() -> None:
    # D5
    outbox = Outbox()
    for body in (b"1", b"2"):
        assert relay.queue(outbox, read_frame(frame(Kind.DATA, MORE, 1, "/1/5", "/2", body)), 1)
        assert relay.queue(outbox, read_frame(frame(Kind.DATA, MORE, 2, "/1/5", "/3", body)), 1)
        assert relay.queue(outbox, read_frame(frame(Kind.DATA, MORE, 3, "/1/5/1", "/2", body)), 1)
    relay.queue_last(outbox, at("/1/5"), frame(Kind.LOST, PAIR, 0, "/1/5", "/2", b"lost"), 1, at("/2"))
    for id in (1, 9):
        assert relay.queue(outbox, read_frame(frame(Kind.DATA, MORE, id, "/1/5", "/2", b"after")), 1)
    found = written(outbox)
    assert [one[5] for one in found if one[3:5] == ("/1/5", "/2")] == [b"1", b"2", b"lost", b"after", b"after"]
    # Others of either end go on as they were.
    assert [one[5] for one in found if one[2] == 2] == [b"1", b"2"]
    assert [one[5] for one in found if one[2] == 3] == [b"1", b"2"]
    assert (outbox.shares, bool(outbox)) == ({}, False)


def test_a_loss_told_twice_is_sent_twice_and_loses_nothing() -> None:
    outbox = Outbox()
    assert relay.queue(outbox, small(1, "/1/5"), 1)
    for reason in (b"one", b"two"):
        relay.queue_last(outbox, at("/1/5"), frame(Kind.LOST, 0, 0, "/1/5", "/2", reason), 1)
    assert relay.queue(outbox, small(2, "/1/5"), 1)
    assert sorted((one[2], one[5]) for one in written(outbox)) == [(0, b"one"), (0, b"two"), (1, b""), (2, b"")]
    assert (outbox.shares, bool(outbox)) == ({}, False)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 4), st.integers(0, 3)), max_size=60), st.integers(1, 4000))
def test_whatever_is_queued_comes_out_once_and_in_the_order_of_its_flow(
    pushes: "list[tuple[int, int, int]]", size_max: int
) -> None:
    outbox = Outbox()
    expected: dict[Any, list[bytes]] = {}
    for count, (what, origin, id) in enumerate(pushes):
        body = b"%d" % count
        if what == 0:
            outbox.push(frame(Kind.CALL, 0, 77, "/", "/2", body))
            expected.setdefault(("/", 77), []).append(body)
        elif what == 4:
            relay.queue_last(outbox, at("/%d" % origin), frame(Kind.LOST, 0, 0, "/%d" % origin, "/2", body), origin)
            expected.setdefault(("/%d" % origin, 0), []).append(body)
        else:
            source = "/%d" % origin
            assert relay.queue(outbox, read_frame(frame(Kind.DATA, MORE, id + 1, source, "/2", body)), origin)
            expected.setdefault((source, id + 1), []).append(body)
    found: dict[Any, list[bytes]] = {}
    for _, _, id, source, _, body in written(outbox, size_max):
        found.setdefault((source, id), []).append(body)
    assert found == expected
    assert (outbox.shares, bool(outbox)) == ({}, False)


# -- Assembly


def assembly(total: int, granted: "int | None" = None) -> Assembly:
    """Return a body that comes in."""
    found = Assembly(small(1), total)
    if granted is not None:
        found.granted = granted
    return found


@pytest.mark.parametrize("size", [1, 3, 9, 10])
def test_a_body_comes_together_from_pieces_of_any_size(size: int) -> None:
    body = bytes(range(10))
    found = assembly(10)
    for start in range(0, 10, size):
        piece = body[start : start + size]
        last = start + size >= 10
        assert found.add(memoryview(piece), not last) is last
    assert bytes(found.body) == body


@pytest.mark.parametrize(
    ("size", "more", "why"),
    [
        (11, False, "a body went 1 bytes beyond its credit of 10"),
        (12, True, "a body went 2 bytes beyond its credit of 10"),
        (10, True, "a body of 10 bytes ended, or went on, at 10"),
        (9, False, "a body of 10 bytes ended, or went on, at 9"),
        (0, True, "a body of 10 bytes ended, or went on, at 0"),
        (0, False, "a body of 10 bytes ended, or went on, at 0"),
    ],
)
def test_a_piece_that_breaks_what_was_announced_is_refused(size: int, more: bool, why: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        assembly(10).add(memoryview(bytes(size)), more)
    assert caught.value.found == why


def test_a_piece_beyond_the_credit_is_refused_though_the_body_is_longer() -> None:
    with pytest.raises(ProtocolError) as caught:
        assembly(MIB).add(memoryview(bytes(CREDIT_INITIAL + 1)), True)
    assert caught.value.found == "a body went 1 bytes beyond its credit of 262144"


def test_an_announcement_alone_takes_no_memory() -> None:
    assert len(assembly(1 << 30).body) == 0


# -- Inbox


def first(id: int, total: int, size: int = CHUNK_SIZE, kind: int = Kind.CALL) -> Frame:
    """Return the frame that begins a body."""
    return read_frame(frame(kind, MORE, id, "/1", "/", first_body(total, bytes(size))))


def more(id: int, size: int, last: bool = False, lane: int = Lane.CALL) -> Frame:
    """Return a frame by which a body goes on."""
    return read_frame(frame(Kind.DATA, lane | (0 if last else MORE), id, "/1", "/", bytes(size)))


def opened(inbox: Inbox, id: int, total: int, lane: int = Lane.CALL) -> "list[int]":
    """Begin a body; return the ids of those that were granted more."""
    return [one.first.id for one in inbox.open(first(id, total), lane, 1 << 30)]


def key(id: int, lane: int = Lane.CALL) -> "tuple[bytes, bytes, int, int]":
    """Return the key of such a body."""
    return at("/1"), b"", id, lane


def granted(bodies: "list[Assembly]") -> "list[tuple[int, int]]":
    """Return ids and grants."""
    return [(body.first.id, body.granted) for body in bodies]


def test_short_bodies_are_held_up_to_a_quarter_over_the_quota_and_no_byte_more() -> None:
    inbox = Inbox(quota=100)
    inbox.hold(60)
    inbox.hold(65)
    with pytest.raises(Overloaded) as caught:
        inbox.hold(1)
    assert caught.value.found == "what came from that side already fills 125 bytes here"
    assert inbox.release(40) == []
    inbox.hold(40)
    assert inbox.held == 125


def test_a_long_body_is_granted_a_window_ahead_of_what_has_come() -> None:
    inbox = Inbox()
    total = 3 * CREDIT_WINDOW
    assert granted(inbox.open(first(1, total), Lane.CALL, total)) == [(1, CHUNK_SIZE + CREDIT_WINDOW)]
    assert inbox.held == total
    grants = []
    for count in range(2, total // CHUNK_SIZE + 1):
        body = inbox.data(more(1, CHUNK_SIZE, last=count == total // CHUNK_SIZE))
        assert body is not None
        grants += granted(inbox.extend(body))
    half = CREDIT_WINDOW // 2
    assert grants == [(1, CHUNK_SIZE + CREDIT_WINDOW + n * half) for n in range(1, 4)] + [(1, total)]
    assert body is not None
    assert len(body.body) == total
    assert (inbox.assemblies, inbox.held) == ({}, total)
    assert inbox.release(total) == []
    assert inbox.held == 0


def test_a_body_within_its_first_credit_needs_no_grant() -> None:
    inbox = Inbox()
    assert opened(inbox, 1, CREDIT_INITIAL) == []
    assert opened(inbox, 2, CREDIT_INITIAL + 1) == [2]


@pytest.mark.parametrize("size", range(9))
def test_a_first_frame_needs_a_size_and_a_beginning(size: int) -> None:
    inbox = Inbox()
    with pytest.raises(ProtocolError):
        inbox.open(read_frame(frame(Kind.CALL, MORE, 1, "/1", "/", bytes(size))), Lane.CALL, MIB)
    assert (inbox.assemblies, inbox.held) == ({}, 0)


def test_a_body_at_the_limit_is_begun_and_one_byte_more_is_refused() -> None:
    inbox = Inbox()
    inbox.open(first(1, MIB), Lane.CALL, MIB)
    with pytest.raises(ProtocolError) as caught:
        inbox.open(first(2, MIB + 1), Lane.CALL, MIB)
    assert caught.value.found == "a body of 1048577 bytes was announced; the limit is 1048576"
    assert list(inbox.assemblies) == [key(1)]


def test_a_body_cannot_be_begun_twice() -> None:
    inbox = Inbox()
    opened(inbox, 1, MIB)
    with pytest.raises(ProtocolError) as caught:
        opened(inbox, 1, MIB)
    assert caught.value.found == "a long body was begun twice"
    assert inbox.held == MIB
    opened(inbox, 1, MIB, Lane.ITEM)  # another lane is another body


def test_a_first_frame_that_is_the_whole_body_is_refused() -> None:
    with pytest.raises(ProtocolError) as caught:
        Inbox().open(first(1, CHUNK_SIZE), Lane.CALL, MIB)
    assert caught.value.found == "a body of 65536 bytes ended, or went on, at 65536"


def test_pieces_of_an_unknown_body_are_passed_over() -> None:
    inbox = Inbox()
    opened(inbox, 1, MIB)
    assert inbox.data(more(2, 5)) is None
    assert inbox.data(more(1, 5, lane=Lane.REPLY)) is None
    assert inbox.data(read_frame(frame(Kind.DATA, MORE, 1, "/1/1", "/", b"x"))) is None
    assert len(inbox.assemblies[key(1)].body) == CHUNK_SIZE


def test_a_broken_piece_leaves_the_body_to_be_dropped() -> None:
    inbox = Inbox()
    opened(inbox, 1, MIB)
    with pytest.raises(ProtocolError) as caught:
        inbox.data(more(1, 5, last=True))
    assert caught.value.found == "a body of 1048576 bytes ended, or went on, at 65541"
    assert inbox.drop([key(1)]) == []
    assert (inbox.assemblies, inbox.held) == ({}, 0)
    assert inbox.drop([key(1), key(2)]) == []


def test_a_body_for_which_there_is_no_room_waits_without_credit_until_there_is() -> None:
    inbox = Inbox(quota=10 * MIB)
    assert opened(inbox, 1, 6 * MIB) == [1]
    assert opened(inbox, 2, 5 * MIB) == []
    assert opened(inbox, 3, MIB) == []  # though it would fit: those before it are served first
    # What it may send unasked arrives, and gets it no further.
    for _ in range(3):
        body = inbox.data(more(2, CHUNK_SIZE))
        assert body is not None
        assert inbox.extend(body) == []
    with pytest.raises(ProtocolError):
        inbox.data(more(2, 1))
    assert inbox.held == 6 * MIB
    assert granted(inbox.release(6 * MIB)) == [(2, CREDIT_INITIAL + CREDIT_WINDOW), (3, MIB)]
    assert inbox.held == 6 * MIB


def test_dropping_a_body_makes_room_for_those_that_wait() -> None:
    inbox = Inbox(quota=10 * MIB)
    opened(inbox, 1, 9 * MIB)
    opened(inbox, 2, 4 * MIB)
    opened(inbox, 3, 2 * MIB)
    assert inbox.drop([key(2)]) == []
    assert granted(inbox.drop([key(1)])) == [(3, 2 * MIB)]
    assert (list(inbox.assemblies), inbox.held) == ([key(3)], 2 * MIB)


def test_a_body_larger_than_the_quota_needs_half_of_it_free() -> None:
    inbox = Inbox(quota=10 * MIB)
    inbox.hold(5 * MIB)
    assert opened(inbox, 1, 100 * MIB) == [1]
    assert opened(inbox, 2, 100 * MIB) == []
    assert inbox.release(5 * MIB) == []
    assert [body.first.id for body in inbox.release(100 * MIB)] == [2]


def test_a_body_that_needs_no_credit_is_refused_where_a_longer_one_would_wait() -> None:
    inbox = Inbox(quota=4 * MIB)
    inbox.hold(5 * MIB - CREDIT_INITIAL + 1)
    with pytest.raises(Overloaded):
        opened(inbox, 1, CREDIT_INITIAL)
    assert (inbox.assemblies, inbox.held) == ({}, 5 * MIB - CREDIT_INITIAL + 1)
    inbox.release(1)
    opened(inbox, 1, CREDIT_INITIAL)
    assert inbox.held == 5 * MIB


def test_only_so_many_bodies_may_wait() -> None:
    inbox = Inbox(quota=MIB)
    inbox.hold(MIB)
    for id in range(WAITING_MAX):
        assert opened(inbox, id, MIB) == []
    with pytest.raises(Overloaded) as caught:
        opened(inbox, 999, MIB)
    assert caught.value.found == "128 long bodies from that side are on their way here"
    assert len(inbox.assemblies) == WAITING_MAX


def test_only_so_many_bodies_may_be_on_their_way() -> None:
    inbox = Inbox()
    for id in range(ASSEMBLIES_MAX):
        inbox.open(read_frame(frame(Kind.CALL, MORE, id, "/1", "/", first_body(2, b"x"))), Lane.CALL, MIB)
    with pytest.raises(Overloaded) as caught:
        opened(inbox, ASSEMBLIES_MAX, CREDIT_INITIAL)
    assert caught.value.found == "4096 long bodies from that side are on their way here"
    assert inbox.held == 2 * ASSEMBLIES_MAX


def test_answers_are_never_too_many() -> None:
    inbox = Inbox(quota=MIB)
    for id in range(WAITING_MAX + 2):
        inbox.open(first(id, MIB + 1, kind=Kind.REPLY), Lane.REPLY, 2 * MIB)
    inbox.open(first(9999, CREDIT_INITIAL, kind=Kind.REPLY), Lane.REPLY, MIB)
    assert len(inbox.assemblies) == WAITING_MAX + 3
    assert inbox.held == MIB + 1 + CREDIT_INITIAL


@given(st.data())
def test_the_books_agree_with_the_bodies_whatever_happens(data: st.DataObject) -> None:
    """A slow oracle: held is what was admitted, and nobody waits where there is room."""
    quota = 4 * MIB
    inbox = Inbox(quota)
    admitted: dict[int, int] = {}
    waiting: list[tuple[int, int]] = []
    held = 0

    def admit(id: int, total: int) -> None:
        nonlocal held
        admitted[id] = total
        held += total

    def settle() -> None:
        while waiting and held + min(waiting[0][1], quota // 2) <= quota:
            admit(*waiting.pop(0))

    for id in range(data.draw(st.integers(0, 30))):
        if data.draw(st.booleans()):
            total = data.draw(st.sampled_from([CREDIT_INITIAL, CREDIT_INITIAL + 1, MIB, 3 * MIB, 9 * MIB]))
            try:
                opened(inbox, id, total)
            except Overloaded:
                assert total == CREDIT_INITIAL
                assert held + total > quota
                continue
            if total > CREDIT_INITIAL:
                waiting.append((id, total))
                if len(waiting) == 1:
                    settle()
            else:
                admit(id, total)
        elif admitted or waiting:
            gone = data.draw(st.sampled_from(sorted([*admitted, *(one for one, _ in waiting)])))
            inbox.drop([key(gone)])
            held -= admitted.pop(gone, 0)
            waiting = [one for one in waiting if one[0] != gone]
            settle()
        assert inbox.held == held
        assert sorted(one[2] for one in inbox.assemblies) == sorted([*admitted, *(one for one, _ in waiting)])
