"""Values that follow one another, under credit, from one context to another and within one."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plasmid.core import frames, values
from plasmid.core.errors import NotSent, Overloaded
from plasmid.core.flow import CREDIT_INITIAL, OUTBOX_SIZE_MAX, OWN, U64, WAITING_MAX
from plasmid.core.frames import CHUNK_SIZE, MORE, PAIR, Kind, Lane
from plasmid.core.streams import (
    ITEM_SIZE_MAX,
    SOURCES_MAX,
    STREAM_WINDOW,
    TOKEN_SIZE,
    StreamIn,
    Streams,
    StreamState,
    admits,
)
from tests.core.wire import TOKEN, Long, Tree, at, first_body, frame, plain_frames

KIB = 1024
MIB = 1024 * KIB
HALF = STREAM_WINDOW // 2
LONG = Long(random.Random(2).randbytes(3 * MIB))
NUMBER = 9


def joined(*contexts: str, receiver_at: str = "/") -> Tree:
    """Return these contexts, with a receiver at one of them."""
    tree = Tree(*(contexts or ("/", "/1")))
    for context in tree.nodes:
        tree.streams(context)
    tree.streams(receiver_at).open_receiver(NUMBER, TOKEN, "receiver")
    return tree


def put(tree: Tree, context: str, payload: bytes, to: str = "/", token: bytes = TOKEN) -> bool:
    """Put a value from one context to the receiver at another."""
    return tree.streams(context).put(at(to), NUMBER, token, [payload])


def take(tree: Tree, source: str, payload: bytes, at_: str = "/") -> None:
    """Take an item out of the receiver's queue."""
    tree.streams(at_).taken(NUMBER, at(source), len(payload))


def item(source: str, payload: bytes) -> "tuple[Any, ...]":
    """Return the event of an item that has arrived."""
    return ("ItemArrived", "receiver", source, Long(payload))


def closed(source: str, lost: str = "") -> "tuple[Any, ...]":
    """Return the event of a source that puts no more."""
    return ("SourceClosed", "receiver", source, lost)


def changed(error: str = "", target: str = "/") -> "tuple[Any, ...]":
    """Return the event of a stream that may go on, or has ended."""
    return ("StreamChanged", target, NUMBER, error)


def put_body(size: int, token: bytes = TOKEN) -> bytes:
    """Return the body of a PUT that is so long with its token."""
    return token + bytes(size - TOKEN_SIZE)


def held(tree: Tree, context: str = "/", other: str = "/1") -> int:
    """Return how many bytes one link makes a context hold."""
    return tree.link(context, other).inbox.held


def errors(tree: Tree, context: str = "/", other: str = "/1") -> "list[str]":
    """Return the texts of the ERROR frames that wait to be sent to a link."""
    found = [one for one in plain_frames(tree.write(context, other)) if one[0] == "ERROR"]
    assert {one[1:4:2] for one in found} <= {(Lane.STREAM, "/")}
    return [values.decode(one[5])[1] for one in found]


# -- the rule of both ends


def test_what_fits_is_admitted_and_one_byte_more_is_not() -> None:
    assert admits(0, STREAM_WINDOW, STREAM_WINDOW)
    assert admits(100, STREAM_WINDOW, STREAM_WINDOW - 100)
    assert not admits(HALF + 1, STREAM_WINDOW, HALF)
    assert admits(HALF, STREAM_WINDOW, HALF)


def test_a_body_of_any_size_is_admitted_where_half_the_window_is_open() -> None:
    assert admits(HALF, STREAM_WINDOW, ITEM_SIZE_MAX)
    assert not admits(HALF + 1, STREAM_WINDOW, ITEM_SIZE_MAX)
    assert not admits(HALF + 1, STREAM_WINDOW, HALF + 1)


@given(st.lists(st.integers(TOKEN_SIZE, 4 * STREAM_WINDOW), min_size=1, max_size=40))
def test_a_body_of_any_size_may_follow_once_all_before_it_was_taken(sizes: "list[int]") -> None:
    stream = StreamIn(1)
    for size in sizes:
        assert admits(stream.received, stream.granted, size)
        stream.received += size
        stream.take(size)
    assert stream.received == stream.taken


def test_grants_come_in_steps_of_half_a_window() -> None:
    stream = StreamIn(1)
    assert [stream.take(HALF - 1), stream.granted] == [False, STREAM_WINDOW]
    assert [stream.take(1), stream.granted] == [True, STREAM_WINDOW + HALF]


def test_a_receiver_may_grant_more_than_a_window() -> None:
    window = 4 * STREAM_WINDOW
    stream = StreamIn(1, window)
    # The first is allowed unasked; what is granted from then on is the receiver's own window.
    assert stream.granted == STREAM_WINDOW
    assert [stream.take(1), stream.granted] == [True, window + 1]
    assert [stream.take(2 * STREAM_WINDOW - 1), stream.granted] == [False, window + 1]
    assert [stream.take(1), stream.granted] == [True, 6 * STREAM_WINDOW + 1]


# -- room that is kept for a larger window

WIDE = 4 * MIB
BLOCK = LONG[: 512 * KIB]


def wide(*contexts: str) -> Tree:
    """Return these contexts, with a receiver of a larger window at the root."""
    tree = Tree(*(contexts or ("/", "/1")))
    for context in tree.nodes:
        tree.streams(context)
    tree.streams("/").open_receiver(NUMBER, TOKEN, "receiver", WIDE, WIDE // 2)
    return tree


def put_and_take(tree: Tree, payload: bytes) -> None:
    """Have a value arrive and be taken."""
    assert put(tree, "/1", payload)
    tree.run()
    assert tree.told("/") == [item("/1", payload)]
    take(tree, "/1", payload)
    tree.run()


def test_room_for_a_larger_window_is_kept_from_the_first_value_that_was_taken_until_the_receiver_closes() -> None:
    tree = wide()
    put_and_take(tree, b"x")
    assert held(tree) == WIDE
    put_and_take(tree, BLOCK)
    assert held(tree) <= WIDE
    tree.streams("/").close_receiver(NUMBER, "closed")
    assert held(tree) == 0


def test_a_value_that_room_was_kept_for_crosses_without_more_credit() -> None:
    tree = wide()
    put_and_take(tree, b"x")
    assert put(tree, "/1", BLOCK)
    tree.feed("/", "/1", tree.write("/1", "/"))
    assert tree.told("/") == [item("/1", BLOCK)]
    assert plain_frames(tree.write("/", "/1")) == []


def test_a_value_that_room_was_kept_for_is_not_refused_whatever_else_is_held_there() -> None:
    tree = wide()
    put_and_take(tree, b"x")
    inbox = tree.link("/", "/1").inbox
    inbox.held += 2 * inbox.quota
    for payload in (b"short", LONG[: 100 * KIB], BLOCK):
        put_and_take(tree, payload)
    inbox.held -= 2 * inbox.quota
    assert held(tree) <= WIDE


def test_where_there_is_no_room_to_keep_values_wait_for_it_as_others_do() -> None:
    tree = wide()
    inbox = tree.link("/", "/1").inbox
    inbox.held += inbox.quota
    assert put(tree, "/1", BLOCK)
    tree.run()
    assert tree.told("/") == []
    inbox.held -= inbox.quota // 2 + 1
    tree.nodes["/"].switch.grant(tree.link("/", "/1"), inbox.release(0))
    tree.run()
    assert tree.told("/") == [item("/1", BLOCK)]
    take(tree, "/1", BLOCK)
    tree.run()
    assert held(tree) == inbox.quota // 2 - 1


def test_a_long_value_that_was_begun_before_room_was_kept_goes_on_with_that() -> None:
    tree = wide()
    inbox = tree.link("/", "/1").inbox
    assert put(tree, "/1", b"x")
    assert put(tree, "/1", BLOCK)
    # Others take so much that it has to wait, and are gone when the first value is taken.
    inbox.held += inbox.quota
    tree.run()
    assert tree.told("/") == [item("/1", b"x")]
    inbox.held -= inbox.quota
    take(tree, "/1", b"x")
    tree.run()
    assert tree.told("/") == [item("/1", BLOCK)]
    take(tree, "/1", BLOCK)
    assert held(tree) == WIDE - len(BLOCK) - TOKEN_SIZE  # until as much was taken as is granted in one go


@pytest.mark.parametrize("is_before", [True, False])
def test_a_grant_that_comes_after_the_close_is_for_the_long_value_before_it_alone(is_before: bool) -> None:
    tree = wide()
    inbox = tree.link("/", "/1").inbox
    assert put(tree, "/1", b"x")
    tree.run()
    tree.hold("/", "/1")
    take(tree, "/1", b"x")  # room is kept from here on
    if is_before:
        assert put(tree, "/1", BLOCK)
    tree.streams("/1").close(b"", NUMBER, TOKEN)
    tree.run()
    inbox.held += inbox.quota
    if not is_before:
        assert put(tree, "/1", BLOCK)
    tree.let("/", "/1")
    assert tree.told("/")[1:] == ([item("/1", BLOCK), closed("/1")] if is_before else [closed("/1")])
    tree.nodes["/"].switch.grant(tree.link("/", "/1"), inbox.release(inbox.quota))
    tree.run()
    assert tree.told("/") == ([] if is_before else [item("/1", BLOCK)])


def whole_put(size: int) -> bytes:
    """Return the frames of a long PUT of so many bytes, all at once."""
    body = U64.pack(size) + put_body(size)
    found = frame(Kind.PUT, Lane.ITEM | MORE, NUMBER, "/1", "/", body[:CHUNK_SIZE])
    for start in range(CHUNK_SIZE, len(body), CHUNK_SIZE):
        more = MORE if start + CHUNK_SIZE < len(body) else 0
        found += frame(Kind.DATA, Lane.ITEM | more, NUMBER, "/1", "/", body[start : start + CHUNK_SIZE])
    return found


def test_a_value_that_reaches_beyond_what_was_granted_is_on_the_books_once() -> None:
    tree = wide()
    put_and_take(tree, b"x")
    sizes = [MIB, MIB, MIB, MIB // 2, MIB]
    for size in sizes:
        # The last one: more than an honest sender would put, and less than is refused.
        tree.feed("/", "/1", whole_put(size))
    assert len(tree.told("/")) == len(sizes)
    assert held(tree) == sum(sizes) > WIDE
    for size in sizes:
        tree.streams("/").taken(NUMBER, at("/1"), size - TOKEN_SIZE)
    tree.run()
    assert WIDE // 2 <= held(tree) <= WIDE
    tree.streams("/").close_receiver(NUMBER, "closed")
    assert held(tree) == 0


def test_where_no_room_is_kept_the_larger_window_is_granted_all_the_same() -> None:
    tree = Tree("/", "/1", "/1/1")
    tree.streams("/").open_receiver(NUMBER, TOKEN, "receiver", WIDE, WIDE // 2)
    assert put(tree, "/1/1", b"x")
    tree.run()
    take(tree, "/1/1", b"x")
    tree.run()
    for _ in range(7):
        assert put(tree, "/1/1", BLOCK)
        tree.run()
    assert held(tree) == 7 * (len(BLOCK) + TOKEN_SIZE)


def test_puts_by_way_of_relays_leave_room_there_for_calls_and_for_each_other() -> None:
    leaves = [f"/1/1/{number}" for number in range(1, 9)]
    tree = Tree("/", "/1", "/1/1", *leaves)
    for leaf in leaves:
        tree.streams(leaf).open_receiver(NUMBER, TOKEN, "receiver", WIDE, WIDE // 2)
        assert put(tree, "/", BLOCK, to=leaf)
        tree.run()
        tree.streams(leaf).taken(NUMBER, at("/"), len(BLOCK))
    tree.run()
    tree.told("/")
    tree.hold("/1", "/1/1")
    for leaf in leaves * 10:
        put(tree, "/", BLOCK, to=leaf)
        tree.run()
    tree.call("/", leaves[0])
    tree.run()
    assert [event for event in tree.told("/") if event[0] != "StreamChanged" or event[3]] == []
    assert sum(tree.link("/1", "/1/1").outbox.shares.values()) <= 9 * CREDIT_INITIAL


@pytest.mark.parametrize("is_broken", [False, True])
def test_what_was_kept_is_free_again_when_a_value_is_dropped_in_its_midst(is_broken: bool) -> None:
    tree = wide()
    put_and_take(tree, b"x")
    tree.feed("/", "/1", frame(Kind.PUT, Lane.ITEM | MORE, NUMBER, "/1", "/", first_body(len(BLOCK), TOKEN)))
    assert held(tree) == WIDE + len(BLOCK)
    if is_broken:
        tree.feed("/", "/1", frame(Kind.PUT, Lane.ITEM | MORE, NUMBER, "/1", "/", first_body(len(BLOCK), TOKEN)))
        assert held(tree) == 0
    tree.streams("/").close_receiver(NUMBER, "closed")
    assert held(tree) == 0


# -- putting and taking


@pytest.mark.parametrize("size", [0, 5, CHUNK_SIZE - TOKEN_SIZE, CHUNK_SIZE - TOKEN_SIZE + 1, len(LONG)])
def test_a_value_arrives_as_it_was_put_and_leaves_nothing_behind_when_it_is_taken(size: int) -> None:
    tree = joined()
    assert put(tree, "/1", LONG[:size])
    tree.run()
    assert tree.told("/") == [item("/1", LONG[:size])]
    assert held(tree) == size + TOKEN_SIZE
    take(tree, "/1", LONG[:size])
    tree.run()
    assert held(tree) == 0
    assert (tree.nodes["/1"].switch.outgoing, tree.link("/", "/1").inbox.assemblies) == ({}, {})


def test_values_arrive_in_the_order_they_were_put_over_any_number_of_hops() -> None:
    # D5
    tree = joined("/", "/1", "/1/1", "/2", "/2/1", receiver_at="/2/1")
    rng = random.Random(3)
    sent: list[bytes] = []
    found: list[bytes] = []
    while len(sent) < 60:
        payload = rng.randbytes(rng.choice([0, 10, 5000, 70_000, 200_000, 600_000]))
        if put(tree, "/1/1", payload, "/2/1"):
            sent.append(payload)
        tree.run()
        for event in tree.told("/2/1"):
            assert event[:3] == ("ItemArrived", "receiver", "/1/1")
            found.append(event[3])
            take(tree, "/1/1", event[3], "/2/1")
    tree.run()
    assert found + [event[3] for event in tree.told("/2/1")] == sent


def test_a_value_must_wait_while_credit_does_not_allow_it_and_no_longer() -> None:
    # D9
    tree = joined()
    quarter = bytes(STREAM_WINDOW // 4 - TOKEN_SIZE)
    assert [put(tree, "/1", quarter) for _ in range(5)] == [True, True, True, True, False]
    tree.run()
    assert (tree.told("/"), tree.told("/1")) == ([item("/1", quarter)] * 4, [])
    take(tree, "/1", quarter)
    tree.run()
    assert (tree.told("/1"), put(tree, "/1", quarter)) == ([], False)
    take(tree, "/1", quarter)
    tree.run()
    assert tree.told("/1") == [changed()]
    assert [put(tree, "/1", quarter) for _ in range(3)] == [True, True, False]


def test_a_short_value_does_not_overtake_a_long_one() -> None:
    # D5
    tree = joined()
    tree.hold("/", "/1")
    assert put(tree, "/1", LONG)
    tree.run()
    assert not put(tree, "/1", b"short")
    assert tree.told("/1") == []
    tree.let("/", "/1")
    assert tree.told("/1") == [changed()]
    take(tree, "/1", LONG)
    tree.run()
    assert put(tree, "/1", b"short")
    tree.run()
    assert tree.told("/") == [item("/1", LONG), item("/1", b"short")]


def test_streams_of_several_contexts_to_one_receiver_are_apart() -> None:
    tree = joined("/", "/1", "/1/1")
    full = bytes(STREAM_WINDOW - TOKEN_SIZE)
    assert [put(tree, "/1", full), put(tree, "/1", b"x"), put(tree, "/1/1", b"y")] == [True, False, True]
    tree.run()
    assert sorted(tree.told("/")) == sorted([item("/1", full), item("/1/1", b"y")])


def test_values_within_one_context_need_no_link() -> None:
    tree = joined("/")
    payload = bytes(HALF - TOKEN_SIZE)
    assert [put(tree, "/", payload) for _ in range(3)] == [True, True, False]
    assert tree.told("/") == [item("/", payload)] * 2
    take(tree, "/", payload)
    assert tree.told("/") == [changed()]
    assert put(tree, "/", payload)
    take(tree, "/", b"")
    assert tree.told("/") == [item("/", payload)]
    tree.streams("/").close(b"", NUMBER, TOKEN)
    tree.streams("/").close_receiver(NUMBER, "the receiver was closed")
    assert tree.told("/") == [closed("/"), changed("the receiver was closed")]


def test_a_value_put_to_oneself_without_the_token_ends_the_stream() -> None:
    tree = joined("/")
    assert put(tree, "/", b"one")
    assert put(tree, "/", b"x", token=bytes(TOKEN_SIZE))
    assert tree.told("/") == [item("/", b"one"), changed("no receiver takes it there")]
    tree.streams("/").close_receiver(NUMBER, "the receiver was closed")
    assert tree.told("/") == []


def test_a_value_without_a_way_is_not_sent() -> None:
    tree = joined()
    with pytest.raises(NotSent):
        put(tree, "/1", b"x", "/1/5")
    tree.link("/1", "/").outbox.shares[OWN] = OUTBOX_SIZE_MAX + 1
    with pytest.raises(Overloaded):
        put(tree, "/1", b"x")


def test_a_receiver_has_a_number_of_its_own_and_a_whole_token() -> None:
    streams = joined("/").streams("/")
    with pytest.raises(AssertionError):
        streams.open_receiver(NUMBER, TOKEN, "again")
    with pytest.raises(AssertionError):
        streams.open_receiver(NUMBER + 1, TOKEN[:-1], "short")


def test_a_context_that_has_no_receivers_at_all_says_so() -> None:
    tree = Tree("/", "/1")
    assert put(tree, "/1", b"x")
    tree.run()
    assert tree.told("/1") == [changed("no receiver takes it there")]


# -- closing


def test_a_sender_that_closes_is_told_of_after_its_last_value() -> None:
    # D5
    tree = joined("/", "/1", "/1/1")
    tree.hold("/", "/1")
    assert put(tree, "/1/1", LONG)
    tree.run()
    tree.streams("/1/1").close(b"", NUMBER, TOKEN)
    tree.let("/", "/1")
    assert tree.told("/") == [item("/1/1", LONG), closed("/1/1")]


def test_a_close_does_not_overtake_a_long_value_that_waits_at_a_hop() -> None:
    # D5
    tree = joined("/", "/1", "/1/1")
    tree.hold("/1", "/")
    assert put(tree, "/1/1", LONG[: 3 * CHUNK_SIZE])
    tree.run()
    tree.streams("/1/1").close(b"", NUMBER, TOKEN)
    tree.run()
    tree.let("/1", "/")
    assert tree.told("/") == [item("/1/1", LONG[: 3 * CHUNK_SIZE]), closed("/1/1")]


def test_a_context_may_close_and_put_again() -> None:
    tree = joined()
    payload = bytes(STREAM_WINDOW // 2)
    for _ in range(3):
        assert put(tree, "/1", payload)
        tree.streams("/1").close(b"", NUMBER, TOKEN)
        tree.streams("/1").close(b"", NUMBER, TOKEN)
        tree.run()
        assert tree.told("/") == [item("/1", payload), closed("/1")]
        take(tree, "/1", payload)
        tree.run()


def test_a_sender_that_never_put_may_close() -> None:
    tree = joined()
    tree.streams("/1").close(b"", NUMBER, TOKEN)
    tree.run()
    assert tree.told("/") == [closed("/1")]


def test_a_close_needs_the_token_and_a_receiver() -> None:
    tree = joined()
    tree.streams("/1").close(b"", NUMBER, bytes(TOKEN_SIZE))
    tree.streams("/1").close(b"", NUMBER + 1, TOKEN)
    tree.streams("/1").close(at("/1/5"), NUMBER, TOKEN)
    tree.run()
    assert (tree.told("/"), tree.told("/1")) == ([], [])


def test_a_receiver_that_closes_tells_those_who_put_and_holds_nothing_more() -> None:
    tree = joined()
    assert put(tree, "/1", b"one")
    tree.run()
    assert held(tree) == 3 + TOKEN_SIZE
    for _ in range(2):
        tree.streams("/").close_receiver(NUMBER, "the receiver was closed")
    assert held(tree) == 0
    tree.run()
    assert (tree.told("/1"), tree.told("/")) == ([changed("the receiver was closed")], [item("/1", b"one")])
    take(tree, "/1", b"one")  # what was in its queue may still be taken
    assert held(tree) == 0


def test_a_receiver_that_closes_drops_the_long_value_that_was_on_its_way() -> None:
    tree = joined()
    tree.hold("/", "/1")
    assert put(tree, "/1", LONG)
    tree.run()
    tree.streams("/").close_receiver(NUMBER, "the receiver was closed")
    assert (held(tree), tree.link("/", "/1").inbox.assemblies) == (0, {})
    tree.let("/", "/1")
    assert tree.told("/1") == [changed("the receiver was closed")]
    assert (tree.nodes["/1"].switch.outgoing, tree.link("/1", "/").outbox.flows_size) == ({}, 0)
    assert tree.told("/") == []


# -- strangers and tokens


@pytest.mark.parametrize("token", [bytes(TOKEN_SIZE), TOKEN[:-1], TOKEN[1:], b""])
@pytest.mark.parametrize("number", [NUMBER, NUMBER + 1])
def test_nothing_is_taken_without_the_token(token: bytes, number: int) -> None:
    # D12
    tree = joined()
    for body in (token, token + b"x") if number == NUMBER else (TOKEN + b"x", token):
        tree.feed("/", "/1", frame(Kind.PUT, Lane.ITEM, number, "/1", "/", body))
        tree.feed("/", "/1", frame(Kind.PUT, Lane.ITEM | MORE, number, "/1", "/", first_body(MIB, body)))
    assert errors(tree) == ["no receiver takes it there"] * 4
    assert (tree.told("/"), held(tree), tree.link("/", "/1").inbox.assemblies) == ([], 0, {})
    assert tree.streams("/").receivers[NUMBER].sources == {}


def test_a_wrong_token_does_not_harm_the_stream_of_another_that_has_it() -> None:
    tree = joined()
    assert put(tree, "/1", b"one")
    tree.run()
    tree.feed("/", "/1", frame(Kind.PUT, Lane.ITEM, NUMBER, "/1", "/", bytes(TOKEN_SIZE) + b"x"))
    tree.feed("/", "/1", frame(Kind.PUT, Lane.ITEM, NUMBER, "/1", "/", TOKEN + b"two"))
    assert tree.told("/") == [item("/1", b"one"), item("/1", b"two")]


def test_credit_from_a_stranger_changes_nothing() -> None:
    # D12
    tree = joined("/", "/1", "/2")
    full = bytes(STREAM_WINDOW - TOKEN_SIZE)
    assert put(tree, "/1", full)
    huge = U64.pack(2**64 - 1)
    for source, number, lane, body in (
        ("/2", NUMBER, Lane.STREAM, huge),
        ("/", NUMBER + 1, Lane.STREAM, huge),
        ("/", NUMBER, Lane.ITEM, huge),
        ("/", NUMBER, Lane.STREAM, huge + b"x"),
        ("/", NUMBER, Lane.STREAM, b""),
    ):
        tree.feed("/1", "/", frame(Kind.CREDIT, lane, number, source, "/1", body))
    assert (tree.told("/1"), put(tree, "/1", b"x")) == ([], False)


def test_credit_repeated_out_of_order_or_huge_leaves_the_highest() -> None:
    tree = joined()
    assert put(tree, "/1", bytes(STREAM_WINDOW - TOKEN_SIZE))
    tree.run()
    assert tree.told("/1") == [changed()]
    for granted in (300_000, 270_000, 300_000, 0):
        tree.feed("/1", "/", frame(Kind.CREDIT, Lane.STREAM, NUMBER, "/", "/1", U64.pack(granted)))
    assert tree.told("/1") == [changed()]
    assert not put(tree, "/1", bytes(300_000 - STREAM_WINDOW - TOKEN_SIZE + 1))
    assert put(tree, "/1", bytes(300_000 - STREAM_WINDOW - TOKEN_SIZE))
    tree.feed("/1", "/", frame(Kind.CREDIT, Lane.STREAM, NUMBER, "/", "/1", U64.pack(2**64 - 1)))
    assert tree.told("/1") == [changed()]
    assert put(tree, "/1", b"x")


def test_only_the_receivers_context_can_end_a_stream() -> None:
    tree = joined("/", "/1", "/2")
    assert put(tree, "/1", b"x")
    body = b"".join(values.encode(["Overloaded", "forged", False, "", [], ""]))
    tree.feed("/1", "/", frame(Kind.ERROR, Lane.STREAM, NUMBER, "/2", "/1", body))
    tree.feed("/1", "/", frame(Kind.ERROR, Lane.STREAM, NUMBER + 1, "/", "/1", body))
    assert tree.told("/1") == []
    tree.feed("/1", "/", frame(Kind.ERROR, Lane.STREAM, NUMBER, "/", "/1", body))
    assert tree.told("/1") == [changed("forged")]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"1234",
        b"1234\xc1",
        values.pack([]),
        b"".join(values.encode(7)),
        b"".join(values.encode("x")),
        b"".join(values.encode([])),
        b"".join(values.encode(["Overloaded", 7, False, "", [], ""])),
        b"".join(values.encode(["Overloaded", "", False, "", [], ""])),
        b"".join(values.encode(["Overloaded", "x" * 5000])),
        b"".join(values.encode([["x"] * 100])),
    ],
)
def test_a_stream_ends_by_an_error_whatever_its_text_is(body: bytes) -> None:
    tree = joined()
    assert put(tree, "/1", b"x")
    tree.feed("/1", "/", frame(Kind.ERROR, Lane.STREAM, NUMBER, "/", "/1", body))
    assert tree.told("/1") == [changed("the receiver takes no more")]


def test_the_text_of_an_error_is_cut() -> None:
    tree = joined()
    assert put(tree, "/1", b"x")
    body = b"".join(values.encode(["Overloaded", "x" * 2000]))
    tree.feed("/1", "/", frame(Kind.ERROR, Lane.STREAM, NUMBER, "/", "/1", body))
    assert tree.told("/1") == [changed("x" * 1024)]


def test_so_many_contexts_may_put_to_one_receiver_and_none_more() -> None:
    tree = joined()
    sources = tree.streams("/").receivers[NUMBER].sources
    for number in range(SOURCES_MAX - 1):
        sources[b"%d" % number] = StreamIn(1)
    for source in ("/1/1", "/1/2", "/1/1"):
        tree.feed("/", "/1", frame(Kind.PUT, Lane.ITEM, NUMBER, source, "/", TOKEN + b"x"))
    assert errors(tree) == ["4096 contexts put to that receiver, and no more may"]
    assert tree.told("/") == [item("/1/1", b"x")] * 2


# -- broken streams: every state with every event


def state_of(tree: Tree) -> "str | None":
    """Return the state of the child's stream."""
    receiver = tree.streams("/").receivers[NUMBER]
    stream = receiver.sources.get(at("/1"))
    return None if stream is None else stream.state


EVENTS = ("PUT", "CLOSE", "refused", "LOST")
TABLE: "dict[str, tuple[str | None, ...]]" = {
    StreamState.OPEN: (StreamState.OPEN, StreamState.CLOSED, StreamState.BROKEN, None),
    StreamState.CLOSED: (StreamState.OPEN, StreamState.CLOSED, StreamState.BROKEN, None),
    StreamState.BROKEN: (StreamState.BROKEN, StreamState.BROKEN, StreamState.BROKEN, None),
}
OVER = "more was put than its credit allows"


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("state", sorted(TABLE))
def test_every_event_in_every_state_does_what_the_table_says(state: str, event: str) -> None:
    tree = joined()
    tree.feed("/", "/1", frame(Kind.PUT, Lane.ITEM, NUMBER, "/1", "/", TOKEN + b"first"))
    tree.streams("/").receivers[NUMBER].sources[at("/1")].state = state
    tree.told("/")
    if event == "PUT":
        tree.feed("/", "/1", frame(Kind.PUT, Lane.ITEM, NUMBER, "/1", "/", TOKEN + b"x"))
    elif event == "CLOSE":
        tree.feed("/", "/1", frame(Kind.CLOSE, Lane.ITEM, NUMBER, "/1", "/", TOKEN))
    elif event == "refused":
        for _ in range(2):
            body = put_body(CHUNK_SIZE)
            tree.link("/", "/1").inbox.quota = 100
            tree.feed("/", "/1", frame(Kind.PUT, Lane.ITEM, NUMBER, "/1", "/", body))
    else:
        tree.cut("/", "/1")
    assert state_of(tree) == TABLE[state][EVENTS.index(event)]
    full = "what came from that side already fills %d bytes here" % (TOKEN_SIZE + 5)
    told = {
        "PUT": [] if state == StreamState.BROKEN else [item("/1", b"x")],
        "CLOSE": [closed("/1")] if state == StreamState.OPEN else [],
        "refused": [] if state == StreamState.BROKEN else [closed("/1", full)],
        "LOST": [closed("/1", "/1 was lost: it closed its end")] if state == StreamState.OPEN else [],
    }
    assert [one for one in tree.told("/") if one[0] in ("ItemArrived", "SourceClosed")] == told[event]
    if event == "LOST":
        return
    refusals = {"PUT": [OVER] if state == StreamState.BROKEN else [], "CLOSE": []}
    over = [OVER, OVER] if state == StreamState.BROKEN else [full, OVER]
    assert errors(tree) == refusals.get(event, over)


def test_what_follows_a_refused_value_is_refused_too() -> None:
    # D5
    tree = joined()
    tree.link("/", "/1").inbox.quota = 160
    tree.link("/", "/1").inbox.hold(100)
    assert [put(tree, "/1", payload) for payload in (b"one", bytes(100), b"three")] == [True] * 3
    tree.run()
    why = "what came from that side already fills 119 bytes here"
    assert tree.told("/") == [item("/1", b"one"), closed("/1", why)]
    assert tree.told("/1") == [changed(why)]
    take(tree, "/1", b"one")
    assert held(tree) == 100
    assert put(tree, "/1", b"a new try")
    tree.run()
    assert (tree.told("/"), tree.told("/1")) == ([], [changed(OVER)])


def test_more_than_credit_allows_breaks_the_stream() -> None:
    tree = joined()
    for size in (STREAM_WINDOW - CHUNK_SIZE, CHUNK_SIZE, TOKEN_SIZE):
        body = put_body(size) if size <= CHUNK_SIZE else put_body(CHUNK_SIZE)
        for _ in range(max(1, size // CHUNK_SIZE)):
            tree.feed("/", "/1", frame(Kind.PUT, Lane.ITEM, NUMBER, "/1", "/", body))
    assert errors(tree) == [OVER]
    assert tree.told("/")[-1] == closed("/1", OVER)


def test_a_long_value_over_the_limit_breaks_the_stream_and_one_at_it_is_begun() -> None:
    tree = joined()
    tree.feed("/", "/1", frame(Kind.PUT, Lane.ITEM | MORE, NUMBER, "/1", "/", first_body(ITEM_SIZE_MAX, TOKEN)))
    assert (tree.told("/"), held(tree)) == ([], ITEM_SIZE_MAX)
    other = first_body(ITEM_SIZE_MAX + 1, TOKEN)
    tree.feed("/", "/1", frame(Kind.PUT, Lane.ITEM | MORE, NUMBER, "/1/1", "/", other))
    why = "a body of 1073741825 bytes was announced; the limit is 1073741824"
    assert tree.told("/") == [closed("/1/1", why)]


def test_a_receiver_may_take_less_than_the_limit_and_grant_more_than_a_window() -> None:  # D9
    tree = joined()
    tree.streams("/").open_receiver(NUMBER + 1, TOKEN, "receiver", 4 * STREAM_WINDOW, STREAM_WINDOW)
    out = tree.streams("/1")
    full = bytes(STREAM_WINDOW - TOKEN_SIZE)
    assert out.put(at("/"), NUMBER + 1, TOKEN, [full])
    assert not out.put(at("/"), NUMBER + 1, TOKEN, [b""])
    tree.run()
    tree.streams("/").taken(NUMBER + 1, at("/1"), len(full))
    tree.run()
    tree.told("/1")
    for _ in range(4):
        assert out.put(at("/"), NUMBER + 1, TOKEN, [full])
        tree.run()
    assert not out.put(at("/"), NUMBER + 1, TOKEN, [b""])
    assert len(tree.told("/")) == 5
    other = first_body(STREAM_WINDOW + 1, TOKEN)
    tree.feed("/", "/1", frame(Kind.PUT, Lane.ITEM | MORE, NUMBER + 1, "/1/1", "/", other))
    why = "a body of 262145 bytes was announced; the limit is 262144"
    assert tree.told("/") == [closed("/1/1", why)]


def test_a_long_value_that_breaks_the_rules_breaks_the_stream() -> None:
    tree = joined()
    tree.feed("/", "/1", frame(Kind.PUT, Lane.ITEM | MORE, NUMBER, "/1", "/", first_body(MIB, TOKEN)))
    tree.feed("/", "/1", frame(Kind.DATA, Lane.ITEM, NUMBER, "/1", "/", b"x"))
    why = "a body of 1048576 bytes ended, or went on, at 17"
    assert (tree.told("/"), errors(tree), held(tree)) == ([closed("/1", why)], [why], 0)
    assert tree.link("/", "/1").inbox.assemblies == {}


def test_a_long_value_begun_within_another_breaks_the_stream_and_drops_both() -> None:
    tree = joined()
    for _ in range(2):
        tree.feed("/", "/1", frame(Kind.PUT, Lane.ITEM | MORE, NUMBER, "/1", "/", first_body(MIB, TOKEN)))
    assert tree.told("/") == [closed("/1", "a long body was begun twice")]
    assert (held(tree), tree.link("/", "/1").inbox.assemblies) == (0, {})
    tree.feed("/", "/1", frame(Kind.DATA, Lane.ITEM | MORE, NUMBER, "/1", "/", b"x"))
    assert tree.told("/") == []


def test_a_long_value_waits_for_room_and_gets_it_when_others_are_taken() -> None:
    tree = joined()
    tree.link("/", "/1").inbox.quota = MIB
    payload = bytes(HALF - TOKEN_SIZE)
    tree.link("/", "/1").inbox.hold(MIB - HALF)
    assert put(tree, "/1", payload)
    tree.run()
    assert put(tree, "/1", LONG)
    tree.run()
    assert (tree.told("/"), held(tree)) == ([item("/1", payload)], MIB)
    take(tree, "/1", payload)
    tree.run()
    assert tree.told("/") == []
    tree.nodes["/"].switch.grant(tree.link("/", "/1"), tree.link("/", "/1").inbox.release(MIB - HALF))
    tree.run()
    assert tree.told("/") == [item("/1", LONG)]


def test_too_many_values_that_wait_break_their_streams_as_overload() -> None:
    tree = joined()
    inbox = tree.link("/", "/1").inbox
    inbox.quota = MIB
    inbox.hold(MIB)
    for number in range(1, WAITING_MAX + 2):
        body = first_body(MIB, TOKEN)
        tree.feed("/", "/1", frame(Kind.PUT, Lane.ITEM | MORE, NUMBER, "/1/%d" % number, "/", body))
    why = "128 long bodies from that side are on their way here"
    assert tree.told("/") == [closed("/1/129", why)]


# -- loss


def test_the_loss_of_a_receivers_context_ends_the_streams_to_it() -> None:
    # D4
    tree = joined("/", "/1", "/2", receiver_at="/2")
    tree.hold("/", "/1")
    assert put(tree, "/1", LONG, "/2")
    tree.run()
    tree.cut("/", "/2")
    tree.let("/", "/1")
    found = "/2 was lost: it closed its end"
    assert tree.told("/1") == [("ContextGone", "/2", "it closed its end"), changed(found, "/2")]
    assert tree.nodes["/1"].switch.outgoing == {}


def test_the_loss_of_the_parent_ends_the_streams_up_and_leaves_those_below() -> None:
    tree = joined("/", "/1", "/1/1", receiver_at="/1/1")
    tree.streams("/").open_receiver(NUMBER, TOKEN, "receiver")
    assert put(tree, "/1", b"up")
    assert put(tree, "/1", b"down", "/1/1")
    tree.cut("/", "/1")
    assert tree.told("/1") == [
        ("LinkEnded", 0, "it closed its end"),
        changed("the parent was lost: it closed its end"),
    ]
    assert put(tree, "/1", b"down", "/1/1")


def test_the_loss_of_a_source_below_makes_room_and_leaves_others() -> None:
    tree = joined("/", "/1", "/1/1")
    for context in ("/1", "/1/1"):
        assert put(tree, context, b"12345")
    tree.run()
    tree.hold("/", "/1")
    assert put(tree, "/1/1", LONG)
    tree.run()
    tree.told("/")
    tree.cut("/1", "/1/1")
    tree.run()
    why = "/1/1 was lost: it closed its end"
    assert tree.told("/") == [("ContextGone", "/1/1", "it closed its end"), closed("/1/1", why)]
    assert (held(tree), tree.link("/", "/1").inbox.assemblies) == (TOKEN_SIZE + 5, {})
    take(tree, "/1/1", b"12345")
    assert held(tree) == TOKEN_SIZE + 5


def test_when_two_have_lost_each_other_their_streams_break_and_what_arrived_may_be_taken() -> None:
    # D5
    tree = joined("/", "/1", "/1/1")
    for context in ("/1", "/1/1"):
        assert put(tree, context, b"12345")
    tree.run()
    tree.hold("/", "/1")
    assert put(tree, "/1/1", LONG)
    tree.run()
    tree.told("/")
    lost = frames.encode_reason(Kind.LOST, at("/1/1"), b"", "too much waited", PAIR)
    tree.feed("/", "/1", lost)
    why = "/1/1 was lost: too much waited"
    assert tree.told("/") == [closed("/1/1", why)]
    assert (held(tree), tree.link("/", "/1").inbox.assemblies) == (2 * (TOKEN_SIZE + 5), {})
    take(tree, "/1/1", b"12345")
    assert held(tree) == TOKEN_SIZE + 5
    tree.feed("/", "/1", frame(Kind.PUT, Lane.ITEM, NUMBER, "/1/1", "/", TOKEN + b"after the gap"))
    tree.feed("/", "/1", lost)
    assert tree.told("/") == []


def test_a_grant_for_a_link_that_has_gone_goes_nowhere() -> None:
    tree = joined()
    assert put(tree, "/1", bytes(HALF))
    tree.run()
    del tree.nodes["/"].links[1]
    take(tree, "/1", bytes(HALF))
    tree.streams("/").close_receiver(NUMBER, "the receiver was closed")
    assert tree.told("/") == [item("/1", bytes(HALF))]


def test_the_streams_of_a_node_are_made_once() -> None:
    tree = Tree("/")
    streams = tree.streams("/")
    assert isinstance(streams, Streams)
    assert tree.streams("/") is streams
    assert CREDIT_INITIAL == STREAM_WINDOW
