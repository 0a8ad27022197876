"""Room that is kept for a neighbour's next long body: which needs no credit then, and is never turned away."""

import pytest

from plasmid.core.bulk import ROOM_SIZE
from plasmid.core.errors import Cancelled
from plasmid.core.flow import ASSEMBLIES_MAX, CREDIT_INITIAL, RECEIVE_QUOTA, U64
from plasmid.core.frames import CHUNK_SIZE, HAS_ROOM, MORE, Kind, Lane
from plasmid.core.node import TICK_S
from tests.core.wire import PlainFrame, Tree, at, call_body, first_body, frame

LONG = bytes(CREDIT_INITIAL + 5)


def whole(tree: Tree, context: str, target: str, size: int = len(LONG)) -> "list[PlainFrame]":
    """Make a long call and have it answered; return the frames that took it there, or to a relay on the way."""
    tree.moved.clear()
    call = tree.call(context, target, bytes(size))
    tree.run()
    tree.answer(target, context, call.id)
    tree.run()
    assert tree.told(target)[-1][0] == "CallArrived"
    assert tree.told(context)[-1][0] == "CallEnded"
    sent = tree.sent(context, "/1" if target == "/1/1" and context == "/" else target)
    return [each for each in sent if each[0] in ("CALL", "DATA")]


def unanswered(tree: Tree, context: str, target: str, size: int = len(LONG)) -> "list[int]":
    """Begin a long call while nothing comes back; return the flags of its first frame, and how much of it is sent."""
    tree.run()
    tree.hold(target, context)
    tree.moved.clear()
    tree.call(context, target, bytes(size))
    tree.run()
    frames = tree.sent(context, target)
    return [frames[0][1], sum(len(each[5]) for each in frames) - U64.size]


@pytest.mark.parametrize(("context", "target"), [("/", "/1"), ("/1", "/"), ("/1", "/1/1")])
def test_the_next_long_call_of_a_neighbour_goes_without_credit(context: str, target: str) -> None:
    # D9
    tree = Tree("/", "/1", "/1/1")
    assert whole(tree, context, target)[0][1] == MORE
    for _ in range(3):
        assert whole(tree, context, target)[0][1] == MORE | HAS_ROOM
    assert unanswered(tree, context, target) == [MORE | HAS_ROOM, len(LONG) + 10]


def test_so_does_its_next_long_answer() -> None:
    tree = Tree("/", "/1")
    flags = []
    for _ in range(2):
        call = tree.call("/", "/1")
        tree.run()
        tree.answer("/1", "/", call.id, LONG)
        tree.run()
        flags += [each[1] for each in tree.sent("/1", "/") if each[0] == "REPLY"]
        assert [event[2] for event in tree.told("/")] == [LONG]
    assert flags == [Lane.REPLY | MORE, Lane.REPLY | MORE | HAS_ROOM]


def test_there_is_room_for_one_at_a_time() -> None:
    tree = Tree("/", "/1")
    whole(tree, "/", "/1")
    assert unanswered(tree, "/", "/1") == [MORE | HAS_ROOM, len(LONG) + 10]
    assert unanswered(tree, "/", "/1") == [MORE, CREDIT_INITIAL]
    tree.let("/1", "/")
    assert len(tree.told("/1")) == 2


@pytest.mark.parametrize("size", [CREDIT_INITIAL - 10, ROOM_SIZE - 9])
def test_one_that_needs_none_or_more_takes_no_room(size: int) -> None:
    tree = Tree("/", "/1")
    for _ in range(2):
        assert whole(tree, "/", "/1", size)[0][1] == MORE
    assert tree.link("/1", "/").inbox.kept == {}
    whole(tree, "/", "/1")
    assert whole(tree, "/", "/1", size)[0][1] == MORE


def test_one_of_the_size_of_the_room_takes_it() -> None:
    tree = Tree("/", "/1")
    assert [whole(tree, "/", "/1", ROOM_SIZE - 10)[0][1] for _ in range(2)] == [MORE, MORE | HAS_ROOM]


def test_none_is_kept_for_contexts_further_off() -> None:
    tree = Tree("/", "/1", "/1/1")
    for _ in range(2):
        assert whole(tree, "/", "/1/1")[0][1] == MORE
    assert tree.link("/1/1", "/1").inbox.kept == {}


def test_it_is_on_the_books_as_what_it_is_kept_for_would_be() -> None:
    tree = Tree("/", "/1")
    inbox = tree.link("/1", "/").inbox
    whole(tree, "/", "/1")
    assert (inbox.held, inbox.kept) == (ROOM_SIZE, {at("/"): ROOM_SIZE})
    call = tree.call("/", "/1", LONG)
    tree.run()
    assert inbox.held == len(LONG) + 10 + ROOM_SIZE  # and room for the next
    tree.answer("/1", "/", call.id)
    assert (inbox.held, inbox.kept) == (ROOM_SIZE, {at("/"): ROOM_SIZE})


def test_none_is_kept_where_half_of_the_quota_would_not_hold_it() -> None:
    tree = Tree("/", "/1")
    inbox = tree.link("/1", "/").inbox
    inbox.hold(RECEIVE_QUOTA // 2 - ROOM_SIZE - len(LONG) - 9)
    whole(tree, "/", "/1")
    assert inbox.kept == {}
    inbox.release(1)
    whole(tree, "/", "/1")
    assert inbox.kept == {at("/"): ROOM_SIZE}


def test_what_has_room_is_not_refused_for_the_number_of_others_or_made_to_wait() -> None:
    tree = Tree("/", "/1")
    inbox = tree.link("/", "/1").inbox
    whole(tree, "/1", "/")
    for id in range(ASSEMBLIES_MAX):
        tree.feed("/", "/1", frame(Kind.CALL, MORE, 10_000 + id, "/1", "/", first_body(2, b"x")))
    inbox.held = 2 * inbox.quota
    assert unanswered(tree, "/1", "/")[0] == MORE | HAS_ROOM
    assert [event[0] for event in tree.told("/")] == ["CallArrived"]
    assert inbox.kept == {}
    count = len(inbox.assemblies)
    assert unanswered(tree, "/1", "/")[0] == MORE
    assert (tree.told("/"), len(inbox.assemblies)) == ([], count)


def test_the_grant_waits_for_what_goes_there_next_and_no_longer_than_a_look_at_the_links() -> None:
    tree = Tree("/", "/1")
    tree.call("/", "/1", LONG)
    tree.hold("/1", "/")
    tree.run()
    node = tree.nodes["/1"]
    node.dirty.clear()
    tree.let("/1", "/")
    tree.sent("/1", "/")
    tree.call("/", "/1", LONG)
    tree.run()
    assert node.dirty == set()
    tree.pass_time(TICK_S)
    assert node.dirty == {0}
    assert [each[0] for each in tree.sent("/1", "/")] == ["CREDIT"]


def test_one_that_was_withdrawn_before_it_began_leaves_its_room_to_the_next() -> None:
    tree = Tree("/", "/1")
    whole(tree, "/", "/1")
    call = tree.call("/", "/1", LONG)
    tree.nodes["/"].calls.cancel(call, Cancelled("", "", "not wanted any more"))
    assert whole(tree, "/", "/1")[0][1] == MORE | HAS_ROOM


def test_one_that_was_withdrawn_on_its_way_gives_its_place_back() -> None:
    tree = Tree("/", "/1")
    inbox = tree.link("/1", "/").inbox
    whole(tree, "/", "/1")
    tree.feed("/1", "/", frame(Kind.CALL, MORE | HAS_ROOM, 9, "/", "/1", first_body(len(LONG), b"x")))
    assert (inbox.held, inbox.kept) == (len(LONG), {})
    tree.feed("/1", "/", frame(Kind.CANCEL, 0, 9, "/", "/1"))
    assert inbox.held == 0


# -- what nobody may


@pytest.mark.parametrize(
    ("source", "size"),
    [("/1/1", len(LONG)), ("/1", ROOM_SIZE + 1)],
    ids=["whose it isn't", "more than it is"],
)
def test_who_has_no_room_gets_no_further_than_its_credit(source: str, size: int) -> None:
    # D9
    tree = Tree("/", "/1", "/1/1")
    whole(tree, "/1", "/")
    inbox = tree.link("/", "/1").inbox
    inbox.held += inbox.quota
    tree.feed("/", "/1", frame(Kind.CALL, MORE | HAS_ROOM, 9, source, "/", first_body(size, bytes(CHUNK_SIZE))))
    for _ in range(3):
        tree.feed("/", "/1", frame(Kind.DATA, MORE, 9, source, "/", bytes(CHUNK_SIZE)))
    (body,) = inbox.assemblies.values()
    assert (len(body.body), list(inbox.waiting)) == (CREDIT_INITIAL, [body])
    tree.feed("/", "/1", frame(Kind.DATA, MORE, 9, source, "/", bytes(1)))
    assert (inbox.assemblies, inbox.kept) == ({}, {at("/1"): ROOM_SIZE})
    tree.moved.clear()
    tree.run()
    assert [each[:2] for each in tree.sent("/", "/1")] == [("ERROR", Lane.REPLY)]


def test_a_grant_of_room_counts_only_from_the_neighbour_itself() -> None:
    tree = Tree("/", "/1", "/1/1")
    tree.call("/", "/1", LONG)
    rooms = tree.link("/", "/1").rooms
    assert rooms is not None
    for source, lane, body in [
        ("/1/1", Lane.CALL, U64.pack(ROOM_SIZE)),
        ("/1", Lane.ITEM, U64.pack(ROOM_SIZE)),
        ("/1", Lane.STREAM, U64.pack(ROOM_SIZE)),
        ("/1", Lane.CALL, b"short"),
    ]:
        tree.feed("/", "/1", frame(Kind.CREDIT, lane, 0, source, "/", body))
    assert rooms.sizes == {Lane.CALL: 0, Lane.REPLY: 0}
    tree.feed("/", "/1", frame(Kind.CREDIT, Lane.CALL, 0, "/1", "/", U64.pack(ROOM_SIZE)))
    assert rooms.sizes == {Lane.CALL: ROOM_SIZE, Lane.REPLY: 0}


def test_a_grant_of_room_that_nobody_could_use_is_passed_over() -> None:
    tree = Tree("/", "/1")
    tree.feed("/", "/1", frame(Kind.CREDIT, Lane.CALL, 0, "/1", "/", U64.pack(ROOM_SIZE)))
    assert tree.link("/", "/1").rooms is None
    tree.feed("/", "/1", frame(Kind.CALL, 0, 9, "/1", "/", call_body()))
    assert len(tree.told("/")) == 1
