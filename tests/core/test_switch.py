"""Links and the way between them: routing, relaying, refusing, and telling of a loss."""

from typing import Any

import pytest

from plasmid.core import flow, relay, switch, values
from plasmid.core.bulk import Outgoing
from plasmid.core.errors import FrameError, NotSent, Overloaded, Refused
from plasmid.core.flow import CREDIT_INITIAL, OUTBOX_SIZE_MAX, OWN, REACTIONS, U64
from plasmid.core.frames import CHUNK_SIZE, NO_REPLY, PAIR, Kind, Lane
from plasmid.core.link import Link, LinkState
from plasmid.core.relay import FLOW_COST
from plasmid.core.switch import PARENT, REACTIONS_SIZE_MAX, Switch
from tests.core.wire import PlainEvent, PlainFrame, at, first_body, frame, plain_event, plain_frames, read_frame

FULL = "the link from %s towards %s can't keep up"


def switch_at(address: str, *links: int) -> Switch:
    """Return the switch of a context with these links open, nothing waiting on them."""
    made = Switch(at(address), {"name": address})
    for id in links:
        link = made.add_link(id, 100.0)
        link.state = LinkState.OPEN
        link.outbox.next_buffers(1 << 20)
    made.dirty.clear()
    return made


def waiting(link: Link) -> "list[PlainFrame]":
    """Return the frames that wait to be sent on a link."""
    found = b""
    while buffers := link.outbox.next_buffers(1 << 20):
        found += b"".join(buffers)
    return plain_frames(found)


def told(made: Switch) -> "list[PlainEvent]":
    """Return what happened since last asked."""
    found = [plain_event(event) for event in made.events]
    del made.events[:]
    return found


def forward(made: Switch, link: int, kind: int, source: str, target: str, flags: int = 0, size: int = 0) -> None:
    """Have a frame come in by a link, to be passed on."""
    made.forward(made.links[link], read_frame(frame(kind, flags, 7, source, target, bytes(size))))


def refusal(source: str, target: str, code: str, found: str, lane: int = Lane.REPLY) -> PlainFrame:
    """Return the ERROR that answers a frame from `target` in the name of `source`."""
    body = b"".join(values.encode([code, found, False, "", [], ""]))
    return "ERROR", lane, 7, source, target, body


# -- links


def test_a_new_link_says_hello_and_knows_who_may_speak_on_it() -> None:
    made = Switch(at("/3"), {"name": "x"})
    up, down = made.add_link(PARENT, 100.0), made.add_link(5, 100.0)
    assert [(link.id, link.own, link.peer, link.state) for link in (up, down)] == [
        (0, at("/3"), at("/"), LinkState.OPENING),
        (5, at("/3"), at("/3/5"), LinkState.OPENING),
    ]
    assert (made.dirty, made.links) == ({0, 5}, {0: up, 5: down})
    for link in (up, down):
        ((name, _, _, source, _, body),) = waiting(link)
        assert (name, source, values.unpack(body)) == ("HELLO", "/3", {"name": "x", "versions": [1]})


HELLO = values.pack({"versions": [1]})


@pytest.mark.parametrize(
    ("state", "kind", "event"),
    [
        (LinkState.OPENING, Kind.HELLO, [("LinkOpened", 1)]),
        (LinkState.OPENING, Kind.GOODBYE, []),
        (LinkState.OPEN, Kind.PING, []),
        (LinkState.OPEN, Kind.PONG, []),
        (LinkState.OPEN, Kind.GOODBYE, [("LinkLeft", 1)]),
        (LinkState.LEFT, Kind.PING, []),
        (LinkState.LEAVING, Kind.HELLO, []),
        (LinkState.LEAVING, Kind.GOODBYE, []),
    ],
)
def test_the_runtime_hears_when_the_peer_comes_and_when_it_leaves(state: str, kind: int, event: "list[Any]") -> None:
    made = switch_at("/", 1)
    made.links[1].state = state
    made.take_link_frame(made.links[1], read_frame(frame(kind, 0, 0, "/1", "/", HELLO)), 100.0)
    assert (told(made), made.dirty) == (event, {1})


def test_a_link_is_taken_out_once() -> None:
    made = switch_at("/", 1)
    link = made.links[1]
    assert made.remove_link(1, "it closed its end") is link
    assert (link.state, made.links) == (LinkState.CLOSED, {})
    assert told(made) == [("LinkEnded", 1, "it closed its end")]
    assert (made.remove_link(1, "again"), told(made)) == (None, [])


# -- routing


@pytest.mark.parametrize(
    ("target", "link"),
    [("/3", None), ("/3/5", 5), ("/3/5/1/1", 5), ("/3/6", None), ("/", 0), ("/4", 0), ("/33", 0), ("/3/6/5", None)],
)
def test_the_way_is_down_to_the_child_that_the_next_step_names_and_up_for_all_others(
    target: str, link: "int | None"
) -> None:
    made = switch_at("/3", PARENT, 5)
    way = made.route(at(target))
    assert (None if way is None else way.id) == link


def test_at_the_root_there_is_no_way_up() -> None:
    made = switch_at("/", 5)
    assert [made.route(at(target)) for target in ("/", "/4")] == [None, None]


def test_the_way_out_to_oneself_is_no_link() -> None:
    assert switch_at("/3", PARENT).way_out(at("/3")) is None


def test_who_can_not_be_reached_is_not_sent_to() -> None:
    with pytest.raises(NotSent) as caught:
        switch_at("/3", PARENT, 5).way_out(at("/3/6"))
    assert caught.value.found == "no link leads to /3/6 from /3"
    with pytest.raises(NotSent) as caught:
        switch_at("/3").way_out(at("/"))
    assert caught.value.found == "no link leads to / from /3"


def test_only_so_much_of_our_own_may_wait_for_a_link() -> None:
    made = switch_at("/", 1)
    shares = made.links[1].outbox.shares
    shares.update({OWN: OUTBOX_SIZE_MAX, 2: OUTBOX_SIZE_MAX, REACTIONS: OUTBOX_SIZE_MAX})
    assert made.way_out(at("/1")) is made.links[1]
    shares[OWN] += 1
    with pytest.raises(Overloaded) as caught:
        made.way_out(at("/1"))
    assert caught.value.found == "16777217 bytes wait to be sent on the link towards it"


# -- sending


def test_a_body_of_a_chunk_is_one_frame_and_a_longer_one_a_flow() -> None:
    made = switch_at("/", 1)
    link = made.links[1]
    made.send(link, Kind.REPLY, Lane.REPLY, 7, at("/1"), [b"x" * (CHUNK_SIZE - 1), b"y"])
    assert (made.outgoing, made.dirty) == ({}, {1})
    assert waiting(link) == [("REPLY", Lane.REPLY, 7, "/", "/1", b"x" * (CHUNK_SIZE - 1) + b"y")]
    made.send(link, Kind.REPLY, Lane.REPLY, 7, at("/1"), [b"x" * CHUNK_SIZE, b"y"])
    assert list(made.outgoing) == [(at("/1"), Lane.REPLY, 7)]
    assert link.outbox.flows_size == CHUNK_SIZE + 1
    assert [one[:2] for one in waiting(link)] == [("REPLY", Lane.REPLY | 4), ("DATA", Lane.REPLY)]


def test_a_grant_overtakes_what_waits() -> None:
    made = switch_at("/", 1)
    made.send(made.links[1], Kind.CALL, 0, 7, at("/1"), [])
    made.send(made.links[1], Kind.CREDIT, Lane.REPLY, 8, at("/1"), [U64.pack(5)])
    assert [one[0] for one in waiting(made.links[1])] == ["CREDIT", "CALL"]


def test_a_flow_sent_in_the_place_of_another_ends_that() -> None:
    made = switch_at("/", 1)
    link = made.links[1]
    made.send(link, Kind.REPLY, Lane.REPLY, 7, at("/1"), [b"x" * (CHUNK_SIZE + 1)])
    made.send(link, Kind.REPLY, Lane.REPLY, 7, at("/1"), [b"y" * (CHUNK_SIZE + 2)])
    assert link.outbox.flows_size == CHUNK_SIZE + 2
    assert [one[5][-1:] for one in waiting(link)] == [b"y", b"y"]


@pytest.mark.parametrize(("kind", "lane"), [(Kind.CALL, Lane.REPLY), (Kind.PUT, Lane.STREAM)])
def test_a_refusal_answers_in_the_name_of_the_target(kind: int, lane: int) -> None:
    made = switch_at("/", 1)
    made.refuse(made.links[1], read_frame(frame(kind, 0, 7, "/1/2", "/9")), Refused("", "", "no"))
    assert waiting(made.links[1]) == [refusal("/9", "/1/2", "Refused", "no", lane)]
    assert made.dirty == {1}


@pytest.mark.parametrize("kind", sorted({8, 9, 10, 11, 13, 14, 15, 16}))
def test_nothing_else_is_answered(kind: int) -> None:
    made = switch_at("/", 1)
    flags = NO_REPLY if kind == Kind.CALL else 0
    made.refuse(made.links[1], read_frame(frame(kind, flags, 7, "/1/2", "/9")), Refused("", "", "no"))
    assert waiting(made.links[1]) == []


def test_a_peer_that_reads_no_refusals_is_sent_no_more_of_them() -> None:
    made = switch_at("/", 1)
    outbox = made.links[1].outbox
    call = read_frame(frame(Kind.CALL, 0, 7, "/1", "/9"))
    outbox.shares[REACTIONS] = REACTIONS_SIZE_MAX
    made.refuse(made.links[1], call, Refused("", "", "no"))
    share = outbox.shares[REACTIONS]
    assert share > REACTIONS_SIZE_MAX
    made.refuse(made.links[1], call, Refused("", "", "no"))
    assert outbox.shares[REACTIONS] == share


# -- credit


def test_credit_lets_a_body_of_ours_go_on() -> None:
    made = switch_at("/", 1)
    link = made.links[1]
    name = at("/1"), Lane.CALL, 7
    made.send(link, Kind.CALL, 0, 7, at("/1"), [bytes(2 * CREDIT_INITIAL)])
    waiting(link)
    made.dirty.clear()
    for other in (at("/1/1"), Lane.CALL, 7), (at("/1"), Lane.REPLY, 7), (at("/1"), Lane.CALL, 8):
        made.take_grant(other, 2 * CREDIT_INITIAL)
    assert (waiting(link), made.dirty) == ([], set())
    made.take_grant(name, CREDIT_INITIAL + 5)
    assert made.dirty == {1}
    assert waiting(link) == [("DATA", 4, 7, "/", "/1", bytes(5))]


@pytest.mark.parametrize(
    ("kind", "lane"),
    [(Kind.CALL, Lane.CALL), (Kind.REPLY, Lane.REPLY), (Kind.ERROR, Lane.REPLY), (Kind.PUT, Lane.ITEM)],
)
def test_a_grant_names_the_lane_of_the_body(kind: int, lane: int) -> None:
    made = switch_at("/", 1)
    body = flow.Assembly(read_frame(frame(kind, 4, 7, "/1/2", "/", first_body(9, b"x"))), 9)
    body.granted = 5
    made.grant(made.links[1], [body])
    assert waiting(made.links[1]) == [("CREDIT", lane, 7, "/", "/1/2", U64.pack(5))]


def test_a_dropped_flow_sends_no_more_and_leaves_the_books() -> None:
    made = switch_at("/", 1)
    link = made.links[1]
    for id in (7, 8):
        made.send(link, Kind.REPLY, Lane.REPLY, id, at("/1"), [bytes(CHUNK_SIZE + 1)])
    dropped = made.drop_flow((at("/1"), Lane.REPLY, 7))
    assert isinstance(dropped, Outgoing)
    assert made.drop_flow((at("/1"), Lane.REPLY, 7)) is None
    assert link.outbox.flows_size == CHUNK_SIZE + 1
    assert [one[2] for one in waiting(link)] == [8, 8]
    made.send(link, Kind.CALL, 0, 9, at("/1/1"), [bytes(CHUNK_SIZE + 1)])
    made.send(link, Kind.PUT, Lane.ITEM, 9, at("/1/1"), [bytes(CHUNK_SIZE + 1)])
    assert (len(made.outgoing), link.outbox.flows_size) == (3, CHUNK_SIZE + 1)
    made.drop_flows(lambda where: where == at("/1/1"))
    assert len(made.outgoing) == 1
    made.drop_flows(lambda where: where == at("/1"))
    assert (made.outgoing, link.outbox.flows_size) == ({}, 0)


# -- passing on


def test_a_frame_is_passed_on_as_it_came() -> None:
    made = switch_at("/3", PARENT, 1, 2)
    for target, way in (("/3/2/9", 2), ("/4", PARENT)):
        raw = frame(Kind.CALL, NO_REPLY, 7, "/3/1", target, b"as it came")
        made.forward(made.links[1], read_frame(raw))
        assert waiting(made.links[way]) == plain_frames(raw)
    assert made.dirty == {2, PARENT}
    assert [sorted(made.links[id].talkers) for id in (PARENT, 1, 2)] == [[1], [PARENT, 2], [1]]


@pytest.mark.parametrize(("kind", "lane"), [(Kind.CALL, Lane.REPLY), (Kind.PUT, Lane.STREAM)])
@pytest.mark.parametrize("target", ["/3/9", "/3/9/1", "/3/1/4", "/3/1"])
def test_who_is_not_there_is_answered_for(kind: int, lane: int, target: str) -> None:
    # D3: what comes from a child for that child's own side has taken a wrong turn.
    made = switch_at("/3", PARENT, 1)
    forward(made, 1, kind, "/3/1/2", target)
    found = "there is no context %s below /3" % target
    assert waiting(made.links[1]) == [refusal(target, "/3/1/2", "NotSent", found, lane)]
    assert (waiting(made.links[PARENT]), made.links[1].talkers) == ([], set())


@pytest.mark.parametrize("kind", [9, 10, 11, 13, 14, 15])
def test_what_is_no_request_and_leads_nowhere_is_dropped(kind: int) -> None:
    made = switch_at("/3", PARENT, 1)
    forward(made, 1, kind, "/3/1", "/3/9")
    assert waiting(made.links[1]) == []


def test_what_the_parent_sends_here_by_mistake_is_not_sent_back() -> None:
    made = switch_at("/3", PARENT)
    forward(made, PARENT, Kind.CALL, "/4", "/5")
    assert waiting(made.links[PARENT]) == []


def test_a_call_that_a_link_has_no_room_for_is_answered_with_overloaded() -> None:
    # D9
    made = switch_at("/", 1, 2)
    made.links[2].outbox.shares[1] = OUTBOX_SIZE_MAX // 2
    forward(made, 1, Kind.CALL, "/1", "/2")
    assert waiting(made.links[1]) == [refusal("/2", "/1", "Overloaded", FULL % ("/", "/2"))]
    forward(made, 1, Kind.REPLY, "/1", "/2")
    assert [one[0] for one in waiting(made.links[2])] == ["REPLY"]


def test_short_calls_that_wait_are_counted_as_what_they_take() -> None:
    # D9
    made = switch_at("/", 1, 2)
    raw = frame(Kind.CALL, 0, 7, "/1", "/2")
    fit = (OUTBOX_SIZE_MAX // 2 - len(raw)) // (len(raw) + FLOW_COST) + 1
    for id in range(fit + 3):
        made.forward(made.links[1], read_frame(frame(Kind.CALL, 0, id, "/1", "/2")))
    assert [one[2] for one in waiting(made.links[2])] == list(range(fit))
    assert [(one[0], one[2]) for one in waiting(made.links[1])] == [("ERROR", fit + each) for each in range(3)]


def test_word_that_two_have_lost_each_other_keeps_its_place_each_time_it_is_said() -> None:
    # D5
    made = switch_at("/", 1, 2)
    shares = made.links[2].outbox.shares
    for _ in range(3):
        forward(made, 1, Kind.PUT, "/1", "/2")
        made.forward(made.links[1], read_frame(frame(Kind.REPLY, 0, 8, "/1", "/2")))
        shares[1] += OUTBOX_SIZE_MAX
        forward(made, 1, Kind.PUT, "/1", "/2")  # there is no room for it
        shares[1] -= OUTBOX_SIZE_MAX
    assert [one[0] for one in waiting(made.links[2])] == ["PUT", "REPLY", "LOST"] * 3
    assert (shares, made.links[2].outbox.relayed) == ({}, {})


@pytest.mark.parametrize("kind", [9, 10, 11, 12, 13, 14, 15])
def test_when_anything_else_finds_no_room_both_its_ends_are_told_that_they_lost_each_other(kind: int) -> None:
    # D2
    made = switch_at("/", 1, 2)
    made.links[2].outbox.shares[1] = OUTBOX_SIZE_MAX
    forward(made, 1, kind, "/1/5", "/2/6")
    found = (FULL % ("/", "/2/6")).encode()
    assert waiting(made.links[1]) == [("LOST", PAIR, 0, "/2/6", "/1/5", found)]
    assert waiting(made.links[2]) == [("LOST", PAIR, 0, "/1/5", "/2/6", found)]
    assert (made.dirty, sorted(made.links), told(made)) == ({1, 2}, [1, 2], [])


def test_who_floods_another_link_and_goes_on_is_cut_and_not_the_other() -> None:
    # D9
    made = switch_at("/3", PARENT, 1, 2)
    for id in (1, PARENT):
        made.links[2].outbox.shares[id] = 2 * OUTBOX_SIZE_MAX
    with pytest.raises(FrameError) as caught:
        forward(made, 1, Kind.REPLY, "/3/1", "/3/2")
    assert caught.value.found == "it sends more than the link to /3/2 takes, and goes on"
    # What the parent passes on isn't its own.
    forward(made, PARENT, Kind.REPLY, "/4", "/3/2")


def test_word_that_two_have_lost_each_other_is_passed_on_behind_what_they_sent_whatever_the_room() -> None:
    made = switch_at("/", 1, 2)
    forward(made, 1, Kind.REPLY, "/1", "/2")
    forward(made, 1, Kind.PUT, "/1", "/2")
    made.links[2].outbox.shares[1] += OUTBOX_SIZE_MAX
    made.forward(made.links[1], read_frame(frame(Kind.LOST, PAIR, 0, "/1", "/2", b"why")))
    assert [one[:2] + one[3:] for one in waiting(made.links[2])] == [
        ("REPLY", 0, "/1", "/2", b""),
        ("PUT", 0, "/1", "/2", b""),
        ("LOST", PAIR, "/1", "/2", b"why"),
    ]


# -- loss


def test_a_loss_is_told_to_exactly_those_who_spoke_with_the_lost_link() -> None:
    # D4
    made = switch_at("/3", PARENT, 1, 2, 4)
    forward(made, 2, Kind.CALL, "/3/2", "/3/1")
    forward(made, 1, Kind.CALL, "/3/1/5", "/9")
    for id in made.links:
        waiting(made.links[id])
    made.dirty.clear()
    relay.tell_lost(made, made.links[1], at("/3/1/5"), "it closed its end")
    assert {id: waiting(link) for id, link in made.links.items()} == {
        PARENT: [("LOST", 0, 0, "/3/1/5", "/", b"it closed its end")],
        1: [],
        2: [("LOST", 0, 0, "/3/1/5", "/3/2", b"it closed its end")],
        4: [],
    }
    assert made.dirty == {PARENT, 2}


def test_who_has_gone_itself_is_not_told() -> None:
    made = switch_at("/", 1, 2)
    forward(made, 1, Kind.CALL, "/1", "/2")
    made.remove_link(2, "gone")
    relay.tell_lost(made, made.links[1], at("/1"), "gone too")
    assert made.dirty == {2}  # from the call, before


def test_who_floods_others_with_losses_is_cut_but_a_true_loss_is_always_told() -> None:
    made = switch_at("/", 1, 2)
    forward(made, 1, Kind.CALL, "/1", "/2")
    waiting(made.links[2])
    made.links[2].outbox.shares[1] = 2 * OUTBOX_SIZE_MAX
    with pytest.raises(FrameError) as caught:
        relay.tell_lost(made, made.links[1], at("/1/5"), "a lie")
    assert caught.value.found == "it sends more than the link to /2 takes, and goes on"
    link = made.remove_link(1, "cut")
    assert link is not None
    relay.tell_lost(made, link, at("/1"), "cut")
    assert [one[3:] for one in waiting(made.links[2])] == [("/1/5", "/2", b"a lie"), ("/1", "/2", b"cut")]


def test_links_have_numbers_that_stand_for_no_link() -> None:
    assert (switch.PARENT, switch.LOCAL, OWN, REACTIONS) == (0, -1, -1, -2)
