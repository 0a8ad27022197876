"""One context's whole protocol: several nodes on a fake wire, and one against every forged frame."""

import functools
import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from plasmid.core import address as addresses
from plasmid.core import frames, values
from plasmid.core.errors import Cancelled
from plasmid.core.flow import OUTBOX_SIZE_MAX, REACTIONS, U64
from plasmid.core.frames import CHUNK_SIZE, HEADER, KINDS, MORE, PAIR, ROUTED_MIN, Kind, Lane
from plasmid.core.link import IDLE_S, SILENCE_MAX_S, LinkState
from plasmid.core.node import TICK_S, Node
from plasmid.core.streams import Streams
from plasmid.core.switch import PARENT, REACTIONS_SIZE_MAX
from tests.core.wire import (
    ID_STARTS,
    KIND_NAMES,
    TOKEN,
    Long,
    Tree,
    at,
    call_body,
    first_body,
    frame,
    plain_event,
    plain_frames,
)

HELLO = values.pack({"versions": [1]})
CLOSED = "it closed its end"


def opened(id: int) -> "tuple[Any, ...]":
    """Return the event of a link whose peer has said hello."""
    return ("LinkOpened", id)


def arrived(source: str, id: int, payload: bytes = b"payload") -> "tuple[Any, ...]":
    """Return the event of a call that has arrived."""
    return ("CallArrived", source, id, b"head", payload, None, False)


def ended(target: str, body: bytes = b"result") -> "tuple[Any, ...]":
    """Return the event of a call that was answered."""
    return ("CallEnded", target, body, False, None)


def lost(target: str, found: str) -> "tuple[Any, ...]":
    """Return the event of a call whose target was lost."""
    return ("CallEnded", target, None, True, ("ContextLost", found, None))


def cut(id: int, address: str, reason: str) -> "list[tuple[Any, ...]]":
    """Return the events of the link to a child that was cut."""
    return [("LinkEnded", id, reason), ("ContextGone", address, reason)]


def broke(found: str) -> str:
    """Return why a link whose peer broke the protocol has ended."""
    return "the peer broke the protocol: " + found


# -- life of a node


def test_both_ends_open_when_they_have_said_hello() -> None:
    tree = Tree("/", "/1", hellos=False)
    tree.run()
    assert (tree.told("/"), tree.told("/1")) == ([opened(1)], [opened(PARENT)])
    assert (tree.link("/", "/1").hello, tree.link("/1", "/").hello) == (
        {"name": "/1", "versions": [1]},
        {"name": "/", "versions": [1]},
    )


def test_no_child_number_is_ever_given_twice() -> None:
    node = Node(b"", 1)
    numbers = [node.new_child_number() for _ in range(3)]
    node.add_link(numbers[1], 100.0)
    node.link_closed(numbers[1], CLOSED, 100.0)
    assert [*numbers, node.new_child_number()] == [1, 2, 3, 4]


def test_what_concerns_a_link_that_has_gone_does_nothing() -> None:
    node = Node(b"", 1)
    node.feed(7, b"garbage", 100.0)
    node.wrote(7, 100.0, True, True)
    node.say_goodbye(7, "goodbye")
    node.link_closed(7, CLOSED, 100.0)
    assert (node.next_buffers(7), node.events, node.dirty) == ([], [], set())


def test_what_was_said_does_not_depend_on_how_the_bytes_were_cut() -> None:
    """One conversation, moved whole and a byte at a time: the same events and the same bytes."""
    heard = []
    for size in (1 << 20, 1, 7):
        node = Node(b"", 50)
        node.use_streams(Streams).open_receiver(9, TOKEN, "receiver")
        node.add_link(1, 100.0)
        node.calls.call(at("/1"), b"head", [b"x"], 100.0, None, False, "/1")
        said = b"".join(
            [
                frame(Kind.HELLO, 0, 0, "/1", "/", HELLO),
                frame(Kind.PING, 0, 3, "/1", "/"),
                frame(Kind.CALL, 0, 7, "/1/4", "/", call_body()),
                frame(Kind.CALL, MORE, 8, "/1", "/", first_body(len(call_body()), call_body()[:5])),
                frame(Kind.PUT, Lane.ITEM, 9, "/1", "/", TOKEN + b"item"),
                frame(Kind.DATA, MORE, 8, "/1", "/", call_body()[5:6]),
                frame(Kind.REPLY, Lane.REPLY, 50, "/1", "/", b"result"),
                frame(Kind.CALL, 0, 9, "/1", "/7", call_body()),
                frame(Kind.DATA, 0, 8, "/1", "/", call_body()[6:]),
                frame(Kind.CANCEL, 0, 7, "/1/4", "/"),
                frame(Kind.LOST, 0, 0, "/1/4", "/", b"why"),
                frame(Kind.GOODBYE, 0, 0, "/1", "/", b"enough"),
            ]
        )
        for start in range(0, len(said), size):
            node.feed(1, said[start : start + size], 100.0)
        heard.append(([plain_event(event) for event in node.events], b"".join(node.next_buffers(1))))
    assert heard[0] == heard[1] == heard[2]
    assert heard[0][0] == [
        opened(1),
        arrived("/1/4", 7),
        ("ItemArrived", "receiver", "/1", b"item"),
        ended("/1"),
        arrived("/1", 8),
        ("CallCancelled", "/1/4", 7),
        ("ContextGone", "/1/4", "why"),
        ("LinkLeft", 1),
    ]


# -- goodbye


def test_a_parent_that_says_goodbye_hears_the_last_words_of_its_child() -> None:
    # U7
    tree = Tree("/", "/1")
    tree.nodes["/"].say_goodbye(1, "its parent shut it down")
    tree.run()
    assert (tree.told("/"), tree.told("/1")) == ([], [("LinkLeft", PARENT)])
    tree.call("/1", "/", b"a last word")
    tree.nodes["/1"].say_goodbye(PARENT, "it ended")
    tree.run()
    assert tree.told("/") == [
        arrived("/1", 2000, b"a last word"),
        *cut(1, "/1", "it ended"),
        ("CallCancelled", "/1", 2000),
    ]
    assert (tree.told("/1"), tree.link("/1", "/").state) == ([], LinkState.LEAVING)
    assert tree.nodes["/"].links == {}


def test_a_child_that_says_goodbye_is_answered() -> None:
    tree = Tree("/", "/1")
    tree.nodes["/1"].say_goodbye(PARENT, "it ended")
    tree.run()
    assert tree.told("/") == [("LinkLeft", 1)]
    tree.nodes["/"].say_goodbye(1, "goodbye")
    tree.run()
    assert tree.told("/1") == [("LinkEnded", PARENT, "goodbye")]
    tree.nodes["/"].link_closed(1, CLOSED, 100.0)
    assert tree.told("/") == cut(1, "/1", CLOSED)


def test_goodbyes_that_cross_lose_nothing_that_was_said_before() -> None:
    tree = Tree("/", "/1")
    for context, other, id in (("/", "/1", 1), ("/1", "/", PARENT)):
        tree.call(context, other, b"a last word")
        tree.nodes[context].say_goodbye(id, "")
    tree.run()
    assert tree.told("/")[:2] == [arrived("/1", 2000, b"a last word"), ("LinkEnded", 1, "it said goodbye")]
    assert tree.told("/1")[:2] == [arrived("/", 1000, b"a last word"), ("LinkEnded", PARENT, "it said goodbye")]


def test_who_goes_on_after_both_have_said_goodbye_is_not_heard() -> None:
    tree = Tree("/", "/1")
    tree.nodes["/"].say_goodbye(1, "")
    tree.feed("/", "/1", frame(Kind.GOODBYE, 0, 0, "/1", "/") + frame(Kind.CALL, 0, 7, "/1", "/", call_body()))
    tree.feed("/", "/1", b"garbage" * 100)
    assert (tree.told("/"), tree.link("/", "/1").state) == ([], LinkState.PARTED)
    assert [one[0] for one in plain_frames(tree.write("/", "/1"))] == ["GOODBYE"]
    assert tree.told("/") == cut(1, "/1", "it said goodbye")


def test_a_child_may_leave_before_it_has_said_hello() -> None:
    node = Node(b"", 1)
    node.add_link(1, 100.0)
    node.feed(1, frame(Kind.GOODBYE, 0, 0, "/1", "/", b"no memory") + b"and garbage", 100.0)
    assert 1 in node.dirty
    assert [plain_frame[0] for plain_frame in plain_frames(b"".join(node.next_buffers(1)))] == ["HELLO"]
    assert node.next_buffers(1) == []
    assert [plain_event(event) for event in node.events] == cut(1, "/1", "no memory")


# -- time


def test_a_node_without_links_and_deadlines_need_not_be_woken() -> None:
    tree = Tree("/")
    node = tree.nodes["/"]
    assert node.deadline() is None
    node.expire(1000.0)
    tree.call("/", "/", deadline=107.0)
    assert node.deadline() == 107.0


def test_a_node_wakes_for_its_links_and_for_the_first_deadline() -> None:
    tree = Tree("/", "/1")
    node = tree.nodes["/"]
    assert node.deadline() == 100.0 + TICK_S
    call = tree.call("/", "/1", deadline=101.0)
    assert node.deadline() == 101.0
    node.calls.cancel(call, Cancelled("", ""))
    tree.call("/", "/1", deadline=200.0)
    assert node.deadline() == 100.0 + TICK_S
    tree.pass_time(TICK_S)
    assert node.deadline() == 100.0 + 2 * TICK_S
    tree.cut("/", "/1")
    assert node.deadline() is None


def test_links_are_not_looked_at_before_their_hour() -> None:
    tree = Tree("/", "/1")
    tree.nodes["/"].dirty.clear()
    tree.pass_time(TICK_S - 0.1)
    assert tree.nodes["/"].dirty == set()
    tree.pass_time(0.1)
    assert tree.nodes["/"].dirty == {1}


def test_two_ends_keep_each_other_alive_for_ever() -> None:
    tree = Tree("/", "/1")
    for _ in range(100):
        tree.pass_time(TICK_S)
        tree.run()
    assert (tree.told("/"), tree.told("/1")) == ([], [])
    assert {one[0] for one in tree.sent("/", "/1")} == {"PING", "PONG"}


def test_a_silent_child_is_cut_and_its_neighbour_is_not() -> None:
    # D4
    tree = Tree("/", "/1", "/2")
    tree.hold("/1", "/")
    tree.call("/", "/1")
    while tree.clock.now < 100.0 + SILENCE_MAX_S - TICK_S:
        tree.pass_time(TICK_S)
        tree.run()
    assert tree.told("/") == []
    tree.pass_time(TICK_S)
    why = "no whole frame came for 35 s"
    assert tree.told("/") == [*cut(1, "/1", why), lost("/1", "/1 was lost: " + why)]
    assert sorted(tree.nodes["/"].links) == [2]


def test_a_frame_that_is_never_finished_does_not_keep_a_link_up() -> None:
    # D4
    tree = Tree("/", "/1")
    raw = frame(Kind.CALL, 0, 7, "/1", "/", bytes(1000))
    tree.hold("/1", "/")
    for position in range(14):
        tree.feed("/", "/1", raw[position : position + 1])
        tree.pass_time(TICK_S)
    assert tree.told("/") == cut(1, "/1", "no whole frame came for 35 s")


def test_a_child_that_reads_nothing_is_cut_though_it_goes_on_talking() -> None:
    # D4
    tree = Tree("/", "/1")
    node = tree.nodes["/"]
    node.wrote(1, tree.clock.now, False, True)
    for _ in range(14):
        tree.feed("/", "/1", frame(Kind.PONG, 0, 0, "/1", "/"))
        node.wrote(1, tree.clock.now, False, True)
        tree.pass_time(TICK_S)
    assert tree.told("/") == cut(1, "/1", "the peer read nothing for 35 s")
    assert IDLE_S < SILENCE_MAX_S


# -- a peer that breaks the protocol


@pytest.mark.parametrize(
    ("said", "found"),
    [
        (HEADER.pack(0, 99, 0, 0, 0, 0), "kind 99 is unknown"),
        (b"HTTP/1.1 400 Bad Request\r\n", "kind 47 is unknown"),
        (b"\xff" * 16, "kind 255 is unknown"),
        (frame(Kind.HELLO, 0, 0, "/1", "/", HELLO), "a hello isn't allowed while the link is open"),
        (
            frame(Kind.CALL, 0, 0, "/2", "/"),
            "the peer at /1 sent a frame in the name of /2; it may speak only for itself and those below it",
        ),
    ],
)
def test_a_peer_that_breaks_the_protocol_is_cut_after_what_it_said_before(said: bytes, found: str) -> None:
    tree = Tree("/", "/1", "/2")
    tree.call("/", "/2")
    before = frame(Kind.CALL, 0, 7, "/1", "/", call_body())
    tree.feed("/", "/1", before + said + frame(Kind.CALL, 0, 8, "/1", "/", call_body()))
    tree.feed("/", "/1", before)
    cancelled = ("CallCancelled", "/1", 7)
    assert tree.told("/") == [arrived("/1", 7), *cut(1, "/1", broke(found)), cancelled]
    assert len(tree.nodes["/"].calls.made) == 1


def test_a_call_before_a_hello_is_refused() -> None:
    node = Node(b"", 1)
    node.add_link(1, 100.0)
    node.feed(1, frame(Kind.CALL, 0, 7, "/1", "/", call_body()), 100.0)
    why = broke("a routed frame isn't allowed while the link is opening")
    assert [plain_event(event) for event in node.events] == cut(1, "/1", why)


@pytest.mark.parametrize("kind", [Kind.PING, Kind.CALL])
def test_a_child_that_asks_and_reads_no_answers_is_cut(kind: int) -> None:
    # D9
    tree = Tree("/", "/1")
    tree.hold("/", "/1")
    asks = frame(kind, 0, 7, "/1", "/", b"") * 1000
    for _ in range(10_000):
        if 1 not in tree.nodes["/"].links:
            break
        size = tree.link("/", "/1").outbox.shares.get(REACTIONS, 0)
        assert size <= REACTIONS_SIZE_MAX + 1000 * 150
        tree.feed("/", "/1", asks)
    assert tree.told("/") == cut(1, "/1", broke("it asks and reads no answers"))


def test_a_parent_that_asks_and_reads_no_answers_is_not_cut() -> None:
    tree = Tree("/", "/1")
    tree.link("/1", "/").outbox.shares[REACTIONS] = 2 * REACTIONS_SIZE_MAX
    tree.feed("/1", "/", frame(Kind.CALL, 0, 7, "/2", "/1", b"") * 100)
    assert (tree.told("/1"), sorted(tree.nodes["/1"].links)) == ([], [PARENT])


@pytest.mark.parametrize("body", [b"", bytes(7), bytes(9)])
def test_credit_that_is_no_number_is_passed_over(body: bytes) -> None:
    tree = Tree("/", "/1")
    tree.hold("/1", "/")
    tree.call("/", "/1", bytes(10 * CHUNK_SIZE))
    tree.run()
    tree.feed("/", "/1", frame(Kind.CREDIT, Lane.CALL, 1000, "/1", "/", body))
    assert (tree.write("/", "/1"), tree.told("/")) == (b"", [])


def test_credit_from_a_stranger_lets_no_body_go_on() -> None:
    # D12
    tree = Tree("/", "/1", "/2")
    tree.hold("/1", "/")
    tree.call("/", "/1", bytes(10 * CHUNK_SIZE))
    tree.run()
    for source in ("/2", "/2/1"):
        tree.feed("/", "/2", frame(Kind.CREDIT, Lane.CALL, 1000, source, "/", U64.pack(2**64 - 1)))
    tree.feed("/", "/1", frame(Kind.CREDIT, Lane.CALL, 1000, "/1/1", "/", U64.pack(2**64 - 1)))
    assert tree.write("/", "/1") == b""
    tree.feed("/", "/1", frame(Kind.CREDIT, Lane.CALL, 1000, "/1", "/", U64.pack(2**64 - 1)))
    assert len(tree.write("/", "/1")) > 6 * CHUNK_SIZE


@pytest.mark.parametrize(("kind", "lane"), [(Kind.CALL, Lane.CALL), (Kind.PUT, Lane.ITEM)])
def test_a_body_that_breaks_the_rules_is_refused_and_its_neighbours_go_on(kind: int, lane: int) -> None:
    tree = Tree("/", "/1", "/1/1")
    tree.streams("/").open_receiver(9, TOKEN, "receiver")
    assert tree.nodes["/"].streams is tree.streams("/")
    tree.hold("/", "/1")
    tree.call("/1/1", "/", bytes(10 * CHUNK_SIZE))
    tree.run()
    first = first_body(CHUNK_SIZE, TOKEN if kind == Kind.PUT else call_body())
    tree.feed("/", "/1", frame(kind, lane | MORE, 9, "/1", "/", first))
    tree.feed("/", "/1", frame(Kind.DATA, lane, 9, "/1", "/", b"x"))
    tree.let("/", "/1")
    assert [event[0] for event in tree.told("/")] == (["SourceClosed"] if kind == Kind.PUT else []) + ["CallArrived"]
    ((code, found),) = [values.decode(one[5])[:2] for one in tree.sent("/", "/1") if one[0] == "ERROR"]
    size = len(first) - 8 + 1
    assert (code, found) == (
        "Overloaded" if kind == Kind.PUT else "ProtocolError",
        "a body of 65536 bytes ended, or went on, at %d" % size,
    )


def test_when_a_long_value_has_left_the_next_may_follow() -> None:
    tree = Tree("/", "/1")
    assert tree.streams("/1").put(b"", 9, TOKEN, [bytes(2 * CHUNK_SIZE)])
    assert tree.told("/1") == []
    tree.write("/1", "/")
    assert tree.told("/1") == [("StreamChanged", "/", 9, "")]


@pytest.mark.parametrize("lane", [Lane.CALL, Lane.REPLY, Lane.ITEM, Lane.STREAM])
@pytest.mark.parametrize("streams", [False, True])
def test_pieces_of_nothing_are_passed_over(lane: int, streams: bool) -> None:
    tree = Tree("/", "/1")
    if streams:
        tree.streams("/")
    tree.feed("/", "/1", frame(Kind.DATA, lane, 7, "/1", "/", b"x"))
    assert (tree.told("/"), tree.write("/", "/1")) == ([], b"")


@pytest.mark.parametrize("kind", [Kind.PUT, Kind.CLOSE, Kind.ERROR, Kind.CREDIT])
def test_a_context_without_receivers_refuses_puts_and_nothing_else(kind: int) -> None:
    tree = Tree("/", "/1")
    tree.feed("/", "/1", frame(kind, Lane.STREAM, 7, "/1", "/", bytes(16)))
    found = [(one[0], one[1], one[2], values.decode(one[5])[1]) for one in plain_frames(tree.write("/", "/1"))]
    assert found == ([("ERROR", Lane.STREAM, 7, "no receiver takes it there")] if kind == Kind.PUT else [])
    assert tree.told("/") == []


# -- routing between many


def test_a_call_goes_up_and_down_to_any_context_and_its_answer_back() -> None:
    # U3
    contexts = ["/", "/1", "/1/1", "/1/1/1", "/2", "/2/1", "/2/2"]
    for index, (source, target) in enumerate(itertools.permutations(contexts, 2)):
        tree = Tree(*contexts)
        payload = Long(bytes(index % 3 * 70_000) + b"payload")
        tree.call(source, target, payload)
        tree.run()
        id = ID_STARTS + 1000 * contexts.index(source)
        assert tree.told(target) == [arrived(source, id, payload)]
        tree.answer(target, source, id, payload)
        tree.run()
        heard = {context: tree.told(context) for context in contexts if tree.nodes[context].events}
        assert heard == {source: [ended(target, payload)]}


def test_each_hop_costs_one_frame_each_way() -> None:
    tree = Tree("/", "/1", "/2")
    tree.call("/1", "/2")
    tree.run()
    tree.answer("/2", "/1", 2000)
    tree.run()
    names = {way: [one[0] for one in tree.sent(*way)] for way in list(tree.moved)}
    assert names == {
        ("/1", "/"): ["CALL"],
        ("/", "/2"): ["CALL"],
        ("/2", "/"): ["REPLY"],
        ("/", "/1"): ["REPLY"],
    }


# -- loss


def test_exactly_those_who_spoke_with_a_lost_link_hear_of_it() -> None:
    # D4
    contexts = ["/", "/1", "/1/1", "/1/2", "/2", "/2/1", "/3"]
    tree = Tree(*contexts)
    tree.call("/2/1", "/1/1")
    tree.run()
    tree.told("/1/1")
    tree.cut("/1", "/1/1")
    tree.run()
    why = "/1/1 was lost: it closed its end"
    gone = ("ContextGone", "/1/1", CLOSED)
    assert {context: tree.told(context) for context in contexts} == {
        "/": [gone],
        "/1": [("LinkEnded", 1, CLOSED), gone],
        "/1/1": [("LinkEnded", PARENT, CLOSED), ("CallCancelled", "/2/1", 6000)],
        "/1/2": [],
        "/2": [gone],
        "/2/1": [gone, lost("/1/1", why)],
        "/3": [],
    }


def test_who_serves_a_call_hears_that_its_caller_is_lost() -> None:
    tree = Tree("/", "/1", "/2", "/2/1")
    tree.call("/2/1", "/1")
    tree.run()
    tree.told("/1")
    tree.cut("/", "/2")
    tree.run()
    assert tree.told("/1") == [("ContextGone", "/2", CLOSED), ("CallCancelled", "/2/1", 4000)]
    assert tree.told("/2/1") == []  # its own parent is the one to end it


def test_nobody_above_can_be_declared_lost() -> None:
    # D12
    tree = Tree("/", "/1", "/1/1")
    tree.call("/1/1", "/")
    tree.call("/1/1", "/1")
    tree.run()
    for gone in ("/", "/1", "/1/1"):
        tree.feed("/1/1", "/1", frame(Kind.LOST, 0, 0, gone, "/1/1", b"a mistake"))
    assert (tree.told("/1/1"), len(tree.nodes["/1/1"].calls.made)) == ([], 2)


def test_a_child_can_declare_lost_only_itself_and_those_below_it() -> None:
    # D12
    tree = Tree("/", "/1", "/2")
    tree.call("/", "/1")
    tree.call("/", "/2")
    tree.run()
    tree.feed("/", "/1", frame(Kind.LOST, 0, 0, "/1", "/", b"so it says"))
    assert tree.told("/") == [("ContextGone", "/1", "so it says"), lost("/1", "/1 was lost: so it says")]
    tree.feed("/", "/1", frame(Kind.LOST, 0, 0, "/2", "/", b"a lie"))
    assert [one[0] for one in tree.told("/")] == ["LinkEnded", "ContextGone"]
    assert len(tree.nodes["/"].calls.made) == 1


def test_long_bodies_from_a_lost_context_are_dropped() -> None:
    tree = Tree("/", "/1", "/1/1")
    tree.hold("/", "/1")
    tree.call("/1/1", "/", bytes(10 * CHUNK_SIZE))
    tree.call("/1", "/", bytes(10 * CHUNK_SIZE))
    tree.run()
    assert len(tree.link("/", "/1").inbox.assemblies) == 2
    tree.cut("/1", "/1/1")
    tree.run()
    assert [at("/1")] == [key[0] for key in tree.link("/", "/1").inbox.assemblies]
    assert tree.link("/", "/1").inbox.held == 10 * CHUNK_SIZE + 10


def test_two_who_sent_each_other_too_much_lose_each_other_and_nothing_else() -> None:
    # D2, D9
    tree = Tree("/", "/1", "/2", "/3")
    tree.call("/1", "/2")
    tree.call("/2", "/1")
    tree.call("/1", "/3")
    tree.call("/3", "/2")
    tree.run()
    for context in ("/1", "/2", "/3"):
        tree.told(context)
    tree.link("/", "/2").outbox.shares[1] = OUTBOX_SIZE_MAX
    tree.answer("/1", "/2", 3000)
    tree.run()
    found = "the link from / towards /2 can't keep up"
    assert tree.told("/2") == [
        lost("/1", "/1 was lost: " + found),
        ("CallCancelled", "/1", 2000),
    ]
    assert tree.told("/1") == [lost("/2", "/2 was lost: " + found)]
    assert (tree.told("/"), tree.told("/3"), sorted(tree.nodes["/"].links)) == ([], [], [1, 2, 3])
    assert [len(tree.nodes[context].calls.made) for context in ("/1", "/2", "/3")] == [1, 0, 1]


def test_a_pair_that_is_apart_hears_of_it_over_any_number_of_hops() -> None:
    tree = Tree("/", "/1", "/1/1", "/2", "/2/1")
    tree.call("/1/1", "/2/1")
    tree.run()
    tree.told("/2/1")
    for context, gone, target in (("/", "/1/1", "/2/1"), ("/", "/2/1", "/1/1")):
        way = "/" + gone[1]
        tree.feed(context, way, frames.encode_reason(Kind.LOST, at(gone), at(target), "why", PAIR))
    tree.run()
    assert tree.told("/1/1") == [lost("/2/1", "/2/1 was lost: why")]
    assert tree.told("/2/1") == [("CallCancelled", "/1/1", 3000)]
    assert [tree.told(context) for context in ("/", "/1", "/2")] == [[], [], []]


# -- the source check, exhaustively


def shapes(contexts: int, address: str = "") -> "Iterator[list[str]]":
    """Give the addresses of every tree of so many contexts below and with `address`."""
    for below in forests(contexts - 1, address, 1):
        yield [address or "/", *below]


def forests(contexts: int, above: str, number: int) -> "Iterator[list[str]]":
    """Give the addresses of all that so many contexts below `above` can be, its children counted from `number`."""
    if not contexts:
        yield []
    for size in range(1, contexts + 1):
        for first in shapes(size, "%s/%d" % (above, number)):
            for rest in forests(contexts - size, above, number + 1):
                yield first + rest


def trees(contexts: int) -> "list[list[str]]":
    """Return every tree of so many contexts."""
    return list(shapes(contexts))


def is_within(address: str, ancestor: str) -> bool:
    """Whether an address lies at or below another, by its text."""
    return ancestor == "/" or address == ancestor or address.startswith(ancestor + "/")


def busy_node(context: str, tree: "list[str]") -> Node:
    """Return a node that has dealings with every context: a call to each, one served for each, streams both ways."""
    node = Node(at(context), 1000)
    streams = node.use_streams(Streams)
    streams.open_receiver(9, TOKEN, "receiver")
    for other in tree:
        if addresses.parent(at(other)) == at(context):
            node.add_link(addresses.number_below(at(context), at(other)), 100.0)
        elif addresses.parent(at(context)) == at(other):
            node.add_link(PARENT, 100.0)
    for link in node.links.values():
        link.state = LinkState.OPEN
    for other in tree:
        if other != context:
            node.calls.call(at(other), b"head", [], 100.0, None, False, other)
            way = node.switch.route(at(other))
            assert way is not None
            node.feed(way.id, frame(Kind.CALL, 0, 7, other, context, call_body()), 100.0)
            node.feed(way.id, frame(Kind.PUT, Lane.ITEM, 9, other, context, TOKEN), 100.0)
            streams.put(at(other), 9, TOKEN, [b""])
    for link in node.links.values():
        node.next_buffers(link.id)
    del node.events[:]
    node.dirty.clear()
    return node


def cases(tree: "list[str]", context: str, peer: str) -> "Iterator[tuple[str, str, int, int]]":
    """Give every (source, target, kind, id) that the peer of a link could write, strangers and the dead among them."""
    anybody = [*tree, "/9", "%s/8" % peer.rstrip("/"), "%s/7" % context.rstrip("/")]
    calls = {other: 1000 + n for n, other in enumerate(other for other in tree if other != context)}
    for source, target, kind in itertools.product(anybody, anybody, sorted(KINDS)):
        own = {Kind.REPLY: calls.get(source, 1000), Kind.ERROR: calls.get(source, 1000), Kind.CANCEL: 7}
        yield source, target, kind, own.get(kind, 9)


def check_tree(tree: "list[str]") -> int:
    """Have every link's peer say everything in everybody's name; return how much of it was forged."""
    forged = 0
    for context, child in itertools.product(tree, tree):
        if addresses.parent(at(child)) != at(context):
            continue
        number = addresses.number_below(at(context), at(child))
        # Down: the parent is believed.
        check_accepted(busy_node(child, tree), PARENT, cases(tree, child, context))
        # Up: the child may speak for itself and those below it.
        honest = []
        for case in cases(tree, context, child):
            if is_within(case[0], child):
                honest.append(case)
            else:
                forged += 1
                check_refused(tree, context, child, case)
        check_accepted(busy_node(context, tree), number, honest)
    return forged


def written(case: "tuple[str, str, int, int]") -> bytes:
    """Return the frame of a case."""
    source, target, kind, id = case
    return frame(kind, 0, id, source, target, HELLO if kind == Kind.HELLO else b"")


def check_refused(tree: "list[str]", context: str, child: str, case: "tuple[str, str, int, int]") -> None:
    """A forged frame ends the link it came by, and does nothing but what that end does."""
    node = busy_node(context, tree)
    number = addresses.number_below(at(context), at(child))
    node.feed(number, written(case), 100.0)
    events, out = [plain_event(event) for event in node.events], outputs(node)
    assert (events, out) == what_a_cut_does("+".join(tree), context, child, case[0])


@functools.lru_cache(maxsize=64)
def what_a_cut_does(tree: str, context: str, child: str, source: str) -> "tuple[list[Any], dict[int, list[Any]]]":
    """Return events and output of a busy node whose link to a child was cut for a forgery."""
    node = busy_node(context, tree.split("+"))
    why = broke(
        "the peer at %s sent a frame in the name of %s; it may speak only for itself and those below it"
        % (child, source)
    )
    node.link_closed(addresses.number_below(at(context), at(child)), why)
    return [plain_event(event) for event in node.events], outputs(node)


def check_accepted(node: Node, link: int, said: "Iterable[tuple[str, str, int, int]]") -> None:
    """Honest frames don't end the link, and are passed on once where they aren't for this context."""
    for case in said:
        raw = written(case)
        source, target, kind, id = case
        node.links[link].state = LinkState.OPENING if kind == Kind.HELLO else LinkState.OPEN
        node.feed(link, raw, 100.0)
        assert link in node.links
        out = outputs(node)
        if kind < ROUTED_MIN or kind == Kind.LOST or at(target) == node.address:
            continue
        way = node.switch.route(at(target))
        passed_on = [] if way is None or way.id == link else [way.id]
        same = KIND_NAMES[kind], 0, id, source, target, b""
        assert [number for number, found in out.items() if same in found] == passed_on


def outputs(node: Node) -> "dict[int, list[Any]]":
    """Return the frames that wait on each link."""
    return {id: plain_frames(b"".join(node.next_buffers(id))) for id in list(node.links)}


def test_the_trees_are_all_there_are() -> None:
    assert [len(trees(contexts)) for contexts in range(1, 7)] == [1, 1, 2, 5, 14, 42]
    assert trees(3) == [["/", "/1", "/2"], ["/", "/1", "/1/1"]]


@pytest.mark.parametrize("contexts", [2, 3, 4])
def test_nothing_forged_is_accepted_and_an_honest_frame_always_is(contexts: int) -> None:
    # D12
    assert sum(check_tree(tree) for tree in trees(contexts)) > 100


@pytest.mark.slow
@pytest.mark.parametrize("tree", [*trees(5), *trees(6)], ids="+".join)
def test_nothing_forged_is_accepted_in_any_larger_tree(tree: "list[str]") -> None:
    # D12
    assert check_tree(tree) > 1000
