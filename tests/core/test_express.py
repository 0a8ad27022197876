"""Short frames take a shorter way, and nobody can tell."""

import functools
import random
from typing import Any

import pytest

from plasmid.core import express
from plasmid.core.frames import MORE, NO_REPLY, Kind, Lane
from plasmid.core.node import Node
from tests.core.wire import ID_STARTS, Tree, at, call_body, frame, plain_frames

HERE = "/1"
OTHERS = ("/", "/1/1", "/1/2")
SEEDS = 300


def trees() -> "list[Tree]":
    """Return the same tree twice; in the second one /1 takes short ways."""
    made = [Tree("/", HERE, "/1/1", "/1/2") for _ in range(2)]
    express.install(made[1].nodes[HERE])
    return made


def books(node: Node) -> "list[Any]":
    """Return all that a node holds because of what was fed."""
    links = [
        (
            id,
            link.state,
            link.heard_at,
            sorted(link.talkers),
            link.inbox.held,
            link.inbox.calls,
            dict(link.outbox.shares),
            link.outbox.lone,
        )
        for id, link in node.links.items()
    ]
    served = [(key, call[0] and call[0].id, call[1], call[2]) for key, call in node.calls.served.items()]
    return [sorted(served), sorted(node.calls.made.calls), sorted(node.dirty), links]


def any_frame(chance: random.Random) -> bytes:
    """Return a frame that is in order, or nearly, or not at all."""
    kind = chance.choice([Kind.CALL] * 6 + [Kind.REPLY] * 6 + [Kind.ERROR, Kind.CANCEL, Kind.PING, Kind.LOST, 7])
    flags = Lane.REPLY if kind in (Kind.REPLY, Kind.ERROR) else 0
    flags = chance.choice([flags] * 9 + [NO_REPLY, MORE, 3, 0x40])
    # The call ids of /1 begin there.
    id = chance.choice([ID_STARTS + 1000 + chance.randrange(6), chance.randrange(4)])
    source = chance.choice(["/", "/2", "/1/1", "/1/1", "/1/2", "/1/1/5", "/1/2/9"])
    target = chance.choice([HERE] * 6 + ["/", "/2/3", "/1/1", "/1/2", "/1/2/9", "/1/7"])
    payload = bytes(chance.randrange(60))
    body = call_body(payload, chance.choice([0xFFFFFFFF, 0, 5000])) if kind == Kind.CALL else payload
    raw = frame(kind, flags, id, source, target, chance.choice([body] * 15 + [b"", b"x", body[:7], bytes(5000)]))
    if chance.random() < 0.05:
        at_byte = chance.randrange(len(raw))
        raw = raw[:at_byte] + bytes([chance.randrange(256)]) + raw[at_byte + 1 :]
    return raw


def pieces(chance: random.Random) -> "list[bytes]":
    """Return what several reads give: mostly a whole frame, sometimes half of one, or more than one."""
    raw = any_frame(chance)
    what = chance.random()
    if what < 0.7:
        return [raw]
    if what < 0.9:
        return [raw + b"".join(any_frame(chance) for _ in range(chance.randrange(1, 4)))]
    cut = chance.randrange(len(raw))
    return [raw[:cut], raw[cut:]]


@pytest.mark.parametrize("seed", range(SEEDS))
def test_what_comes_of_a_frame_is_the_same_by_either_way(seed: int) -> None:
    # D1, D2, D9, D12
    pair = trees()
    chance = random.Random(seed)
    for _ in range(60):
        what = chance.random()
        other = chance.choice(OTHERS)
        if what < 0.15:
            for tree in pair:
                if tree.nodes[HERE].switch.route(at(other)) is not None:
                    tree.call(HERE, other, deadline=tree.clock.now + 50)
        elif what < 0.25:
            id, source = chance.randrange(4), chance.choice(["/", "/1/1", "/1/2"])
            for tree in pair:
                tree.answer(HERE, source, id)
        elif what < 0.4:
            written = [
                [tree.write(HERE, each) for each in OTHERS if tree._way(HERE, each)[1] in tree.nodes[HERE].links]
                for tree in pair
            ]
            assert written[0] == written[1]
        else:
            for data in pieces(chance):
                for tree in pair:
                    tree.feed(HERE, other, data)
        told = [tree.told(HERE) for tree in pair]
        assert told[0] == told[1]
        assert books(pair[0].nodes[HERE]) == books(pair[1].nodes[HERE])


def writes_at_once(tree: Tree, chance: random.Random) -> None:
    """Have the links of /1 written to as a loop does, which can't always write."""

    def write(id: int, way: "tuple[str, str]", raw: bytes) -> bool:
        assert not tree.nodes[HERE].links[id].outbox
        if chance.random() < 0.2:
            return False
        tree.pending[way] = tree.pending.get(way, b"") + raw
        return True

    for other in OTHERS:
        link = tree.link(HERE, other)
        link.write = functools.partial(write, link.id, (HERE, other))


@pytest.mark.parametrize("seed", range(SEEDS))
def test_what_is_written_at_once_is_what_would_have_been_written_in_its_turn(seed: int) -> None:
    # D1, D2
    pair = trees()
    chance = random.Random(seed)
    writes_at_once(pair[1], random.Random(seed))
    for _ in range(60):
        what = chance.random()
        other = chance.choice(OTHERS)
        if what < 0.2:
            left_s = chance.choice([None, 50.0])
            for tree in pair:
                if tree.nodes[HERE].switch.route(at(other)) is not None:
                    tree.call(HERE, other, deadline=left_s and tree.clock.now + left_s)
        elif what < 0.4:
            id, source = chance.randrange(4), chance.choice(["/", "/1/1", "/1/2"])
            for tree in pair:
                tree.answer(HERE, source, id)
        else:
            raw = any_frame(chance)
            for tree in pair:
                tree.feed(HERE, other, raw)
        for each in OTHERS:
            if tree.nodes[HERE].links.keys() >= {tree._way(HERE, each)[1]}:
                assert pair[0].write(HERE, each) == pair[1].write(HERE, each)
        assert pair[0].told(HERE) == pair[1].told(HERE)
        for tree in pair:
            tree.nodes[HERE].dirty.clear()
        assert books(pair[0].nodes[HERE]) == books(pair[1].nodes[HERE])


def test_short_frames_do_take_the_shorter_way_in_and_out() -> None:
    tree = Tree("/", HERE, "/1/1", "/1/2")
    node = tree.nodes[HERE]
    link = tree.link(HERE, "/1/1")
    left: list[str] = []

    def seen(name: str, act: Any) -> Any:
        def note(*args: Any) -> Any:
            left.append(name)
            return act(*args)

        return note

    whole: Any = node
    whole.feed = seen("feed", node.feed)
    whole.calls.call = seen("call", node.calls.call)
    whole.calls.answer = seen("answer", node.calls.answer)
    express.install(node)
    assert (node.switch.route(at("/")), node.switch.route(at("/1/2"))) != (None, None)

    def went_long(act: Any, *args: Any) -> "list[str]":
        left.clear()
        act(*args)
        tree.write(HERE, "/1/1")
        tree.write(HERE, "/1/2")
        return list(left)

    def feed(raw: bytes) -> "list[str]":
        return went_long(node.feed, link.id, raw, 7.0)

    assert went_long(tree.call, HERE, "/1/1") == ["call"]  # the way to it isn't known yet
    call = tree.call(HERE, "/1/1")
    assert went_long(tree.call, HERE, "/1/2") == []
    assert feed(frame(Kind.CALL, 0, 1, "/1/1", HERE, call_body())) == []
    assert went_long(tree.answer, HERE, "/1/1", 1) == []
    assert feed(frame(Kind.CALL, 0, 1, "/1/1", "/", call_body())) == []
    assert feed(frame(Kind.REPLY, Lane.REPLY, call.id, "/1/1", HERE, b"result")) == []
    assert feed(frame(Kind.CANCEL, 0, 1, "/1/1", HERE)) == ["feed"]
    assert went_long(tree.answer, HERE, "/1/1", 1) == ["answer"]  # nobody waits for it any more
    assert feed(frame(Kind.CALL, 0, 2, "/1/2", HERE, call_body())) == ["feed"]  # in another's name
    assert sorted(node.links) == [0, 2]


def served_twice(count: int, holds: bool) -> "list[Tree]":
    """Return trees() in which /1/1 has called /1 so many times, and the second may hold answers to that."""
    pair = trees()
    for tree in pair:
        for id in range(count):
            tree.feed(HERE, "/1/1", frame(Kind.CALL, 0, id, "/1/1", HERE, call_body()))
        tree.nodes[HERE].dirty.clear()
    pair[1].nodes[HERE].calls.holds = holds
    return pair


def test_answers_by_a_link_wait_for_each_other_while_many_calls_that_came_by_it_do() -> None:
    pair = served_twice(express.HELD_CALLS_MIN + 3, holds=True)
    calls, dirty = pair[1].nodes[HERE].calls, pair[1].nodes[HERE].dirty
    link = pair[1].link(HERE, "/1/1")
    seen = []
    for id in range(6):
        for tree in pair:
            tree.answer(HERE, "/1/1", id)
        seen.append((link.id in calls.held, link.id in dirty))
        if link.id in dirty:
            assert pair[0].write(HERE, "/1/1") == pair[1].write(HERE, "/1/1")
            dirty.clear()
    # The fourth takes those before it along.
    assert seen == [(True, False)] * 3 + [(True, True)] * 3


def test_as_many_answers_as_make_a_worthwhile_piece_go_out() -> None:
    tree = served_twice(200, holds=True)[1]
    node, link = tree.nodes[HERE], tree.link(HERE, "/1/1")
    answered = 0
    while not node.dirty:
        tree.answer(HERE, "/1/1", answered)
        answered += 1
    written = tree.write(HERE, "/1/1")
    assert [found[2] for found in plain_frames(written)] == list(range(answered))
    assert len(written) - len(written) // answered < express.HELD_SIZE_MAX <= len(written)
    assert (node.dirty, link.outbox.lone) == ({link.id}, b"")


def test_what_is_sent_after_answers_that_wait_comes_after_them() -> None:
    pair = served_twice(40, holds=True)
    for tree in pair:
        tree.answer(HERE, "/1/1", 0)
        tree.call(HERE, "/1/1")
        tree.answer(HERE, "/1/1", 1)
        tree.answer(HERE, "/1/1", 2, b"error", is_error=True)
        tree.answer(HERE, "/1/1", 3, bytes(5000))
    written = [plain_frames(tree.write(HERE, "/1/1")) for tree in pair]
    assert written[0] == written[1]
    assert [found[2] for found in written[1] if found[0] != "CALL"] == [0, 1, 2, 3]


def test_an_answer_that_waits_for_others_is_lost_with_its_link_alone() -> None:
    tree = served_twice(40, holds=True)[1]
    tree.answer(HERE, "/1/1", 0)
    tree.feed(HERE, "/1/2", frame(Kind.CALL, 0, 1, "/1/2", HERE, call_body()))
    tree.cut(HERE, "/1/1")
    tree.answer(HERE, "/1/1", 1)
    tree.answer(HERE, "/1/2", 1)
    assert [found[0] for found in plain_frames(tree.write(HERE, "/1/2"))][:1] == ["REPLY"]
    assert len(tree.nodes[HERE].calls.served) == 0
