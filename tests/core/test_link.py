"""One link's life, every state with every kind of frame, and its hours."""

from typing import Any

import pytest

from plasmid.core import values
from plasmid.core.address import ROOT
from plasmid.core.errors import FrameError, ValueDecodeError
from plasmid.core.frames import KINDS, REASON_SIZE_MAX, ROUTED_MIN, Kind
from plasmid.core.link import IDLE_S, SILENCE_MAX_S, TRANSITIONS, Link, LinkState
from tests.core.wire import PlainFrame, at, frame, plain_frames, read_frame

STATES = [value for name, value in vars(LinkState).items() if name.isupper()]
HELLO = values.pack({"versions": [1], "name": "/1"})

# The table of the module, written out once more: what each state becomes by each of WORDS, None for an error.
EXPECTED: "dict[str, tuple[str | None, ...]]" = {
    "opening": ("open", None, None, "parted"),
    "open": (None, "open", "open", "left"),
    "left": (None, "left", "left", None),
    "leaving": ("leaving", "leaving", "leaving", "parted"),
    "parted": (None, None, None, None),
    "closed": (None, None, None, None),
}
WORDS = ("hello", "ping or pong", "routed frame", "goodbye")


def column(kind: int) -> int:
    """Return the column of the table that a kind belongs to."""
    return {Kind.HELLO: 0, Kind.PING: 1, Kind.PONG: 1, Kind.GOODBYE: 3}.get(kind, 2)


def link(state: str = LinkState.OPENING, now: float = 100.0) -> Link:
    """Return the root's end of the link to its first child, in that state."""
    made = Link(1, ROOT, at("/1"), now)
    made.state = state
    return made


def sent(end: Link) -> "list[PlainFrame]":
    """Return the frames that this end would write."""
    return plain_frames(b"".join(end.outbox.next_buffers(1 << 20)))


def said(kind: int, body: bytes = b"", id: int = 0) -> Any:
    """Return a frame that the child sent."""
    return read_frame(frame(kind, 0, id, "/1", "/", body))


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("state", STATES)
def test_every_frame_in_every_state_does_what_the_table_says(state: str, kind: int) -> None:
    end = link(state)
    expected = EXPECTED[state][column(kind)]
    if expected is None:
        with pytest.raises(FrameError) as caught:
            end.take(said(kind, HELLO), 100.0)
        assert caught.value.found == "a %s isn't allowed while the link is %s" % (WORDS[column(kind)], state)
        assert (end.state, sent(end)) == (state, [])
    else:
        end.take(said(kind, HELLO), 100.0)
        assert end.state == expected
        assert sent(end) == ([("PONG", 0, 0, "/", "/", b"")] if kind == Kind.PING else [])


def test_the_table_has_no_entry_but_these() -> None:
    assert {(state, word): after for (state, word), after in TRANSITIONS.items()} == {
        (state, word): after
        for state, row in EXPECTED.items()
        for word, after in zip(WORDS, row, strict=True)
        if after is not None
    }
    assert sorted(EXPECTED) == sorted(STATES)
    assert {kind for kind in KINDS if kind >= ROUTED_MIN} == {kind for kind in KINDS if column(kind) == 2}


# -- hello


def test_a_hello_says_the_versions_and_the_facts() -> None:
    end = link()
    end.say_hello({"name": "/"})
    ((name, flags, id, source, target, body),) = sent(end)
    assert (name, flags, id, source, target) == ("HELLO", 0, 0, "/", "/")
    assert values.unpack(body) == {"name": "/", "versions": [1]}


def test_nothing_overtakes_a_hello() -> None:
    end = link()
    end.say_hello({})
    end.take(said(Kind.HELLO, HELLO), 100.0)
    end.take(said(Kind.PING), 100.0)
    assert [one[0] for one in sent(end)] == ["HELLO", "PONG"]


def test_the_facts_of_a_hello_are_kept() -> None:
    end = link()
    assert end.hello is None
    end.take(said(Kind.HELLO, values.pack({"versions": [7, 1], "more": 2})), 100.0)
    assert end.hello == {"versions": [7, 1], "more": 2}


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (values.pack([1]), "the peer speaks protocol versions None, this end 1"),
        (values.pack({}), "the peer speaks protocol versions None, this end 1"),
        (values.pack({"versions": 1}), "the peer speaks protocol versions 1, this end 1"),
        (values.pack({"versions": []}), "the peer speaks protocol versions [], this end 1"),
        (values.pack({"versions": [2, 3]}), "the peer speaks protocol versions [2, 3], this end 1"),
        (
            values.pack({"versions": ["x" * 200]}),
            "the peer speaks protocol versions ['%s, this end 1" % ("x" * 58),
        ),
    ],
)
def test_a_hello_that_is_none_or_of_other_versions_is_refused(body: bytes, why: str) -> None:
    end = link()
    with pytest.raises(FrameError) as caught:
        end.take(said(Kind.HELLO, body), 100.0)
    assert caught.value.found == why
    assert (end.state, end.hello) == (LinkState.OPENING, None)


@pytest.mark.parametrize("body", [b"", b"\xc1", b"\x91" * 100, HELLO + b"x"])
def test_a_hello_that_is_no_value_is_refused(body: bytes) -> None:
    end = link()
    with pytest.raises(ValueDecodeError) as why:
        values.unpack(body)
    with pytest.raises(FrameError) as caught:
        end.take(said(Kind.HELLO, body), 100.0)
    assert caught.value.found == "a hello that is no value: %s" % why.value
    assert (end.state, end.hello) == (LinkState.OPENING, None)


# -- goodbye


@pytest.mark.parametrize("state", [LinkState.OPENING, LinkState.OPEN, LinkState.LEFT])
def test_a_goodbye_is_said_once_and_after_all_that_waits(state: str) -> None:
    end = link(state)
    end.outbox.push(frame(Kind.CALL, 0, 5, "/", "/1"))
    end.say_goodbye("its parent shut it down")
    end.say_goodbye("again")
    assert end.state == LinkState.LEAVING
    assert sent(end) == [("CALL", 0, 5, "/", "/1", b""), ("GOODBYE", 0, 0, "/", "/", b"its parent shut it down")]


@pytest.mark.parametrize("state", [LinkState.LEAVING, LinkState.PARTED, LinkState.CLOSED])
def test_a_link_that_has_ended_says_no_other_goodbye(state: str) -> None:
    end = link(state)
    end.say_goodbye("late")
    assert (end.state, sent(end)) == (state, [])


def test_why_the_peer_left_is_kept_and_cut() -> None:
    end = link(LinkState.OPEN)
    end.take(said(Kind.GOODBYE, b"it ended \xff" + bytes(REASON_SIZE_MAX)), 100.0)
    assert end.farewell[:10] == "it ended \ufffd"
    assert len(end.farewell) == REASON_SIZE_MAX


def test_both_ends_say_goodbye_and_nothing_sent_before_is_lost() -> None:
    one, other = link(LinkState.OPEN), Link(0, at("/1"), ROOT, 100.0)
    other.state = LinkState.OPEN
    one.say_goodbye("enough")
    (goodbye,) = sent(one)
    other.take(read_frame(frame(Kind.GOODBYE, 0, 0, "/", "/", goodbye[5])), 100.0)
    assert (one.state, other.state, other.farewell) == (LinkState.LEAVING, LinkState.LEFT, "enough")
    other.outbox.push(frame(Kind.REPLY, 1, 7, "/1", "/", b"a last word"))
    other.say_goodbye("it ended")
    for name, _, id, _, _, body in sent(other):
        one.take(said(getattr(Kind, name), body, id), 100.0)
    assert (one.state, other.state, one.farewell) == (LinkState.PARTED, LinkState.LEAVING, "it ended")


# -- keep-alive and silence


def expired(end: Link, now: float) -> "str | None":
    """Let the link look at the clock; return why it must be cut."""
    try:
        end.expire(now)
    except FrameError as error:
        return error.found
    return None


def test_a_silent_peer_is_asked_and_then_cut() -> None:
    # D4
    end = link(LinkState.OPEN)
    assert (expired(end, 100.0 + IDLE_S - 0.1), sent(end)) == (None, [])
    assert (expired(end, 100.0 + IDLE_S), sent(end)) == (None, [("PING", 0, 0, "/", "/", b"")])
    assert (expired(end, 100.0 + SILENCE_MAX_S - 0.1), len(sent(end))) == (None, 1)
    assert expired(end, 100.0 + SILENCE_MAX_S) == "no whole frame came for 35 s"


def test_a_peer_that_only_asks_is_cut_since_it_may_hear_nothing() -> None:  # D4
    end = link(LinkState.OPEN)
    for second in (111.0, 122.0, 133.0):
        end.take(said(Kind.PING), second)
    assert (expired(end, 134.9), {one[0] for one in sent(end)}) == (None, {"PING", "PONG"})
    assert expired(end, 100.0 + SILENCE_MAX_S) == "no whole frame came for 35 s"


@pytest.mark.parametrize("kind", [Kind.PONG, Kind.CALL])
def test_any_other_whole_frame_is_a_sign_of_life(kind: int) -> None:
    end = link(LinkState.OPEN)
    end.take(said(kind), 130.0)
    sent(end)
    assert (expired(end, 139.0), sent(end)) == (None, [])
    assert expired(end, 165.0) == "no whole frame came for 35 s"


def test_a_frame_that_is_never_finished_is_no_sign_of_life() -> None:
    end = link(LinkState.OPEN)
    for hour in range(100, 135):
        end.decoder.feed(frame(Kind.PING, 0, 0, "/1", "/")[: 1 if hour == 100 else 0])
        assert end.decoder.next_frame() is None
    assert expired(end, 135.0) == "no whole frame came for 35 s"


def test_a_peer_that_never_says_hello_is_not_asked_but_cut() -> None:
    end = link()
    assert (expired(end, 120.0), sent(end)) == (None, [])
    assert expired(end, 135.0) == "no whole frame came for 35 s"


@pytest.mark.parametrize("state", [LinkState.LEFT, LinkState.LEAVING])
def test_a_link_that_ends_is_still_looked_after(state: str) -> None:
    end = link(state)
    assert (expired(end, 110.0), [one[0] for one in sent(end)]) == (None, ["PING"])
    assert expired(end, 135.0) == "no whole frame came for 35 s"


def test_a_peer_that_says_goodbye_and_stays_is_cut() -> None:
    # D4
    end = link(LinkState.OPEN)
    end.take(said(Kind.GOODBYE, b"bye"), 100.0)
    for hour in range(101, 130):  # as long as we haven't said goodbye ourselves, there may be something to finish
        end.take(said(Kind.PONG), float(hour))
        assert expired(end, float(hour)) is None
    end.say_goodbye("goodbye")
    for later in (130.0, 135.0, 139.9):
        end.take(said(Kind.PONG), later)
        assert expired(end, later) is None
    assert expired(end, 140.0) == "it said goodbye and stayed"


def test_a_peer_that_was_told_goodbye_may_finish_what_it_does() -> None:
    end = link(LinkState.OPEN)
    end.say_goodbye("enough")
    for hour in range(101, 200):
        end.take(said(Kind.PONG), float(hour))
        assert expired(end, float(hour)) is None


def test_a_ping_is_answered_with_its_own_id() -> None:
    end = link(LinkState.OPEN)
    end.take(said(Kind.PING, id=77), 100.0)
    assert sent(end) == [("PONG", 0, 77, "/", "/", b"")]


# -- a peer that doesn't read


def talking(end: Link, now: float) -> None:
    """Have the peer say something, so that only its reading is in question."""
    end.take(said(Kind.PONG), now)


def test_a_peer_that_reads_nothing_is_cut() -> None:
    end = link(LinkState.OPEN)
    end.wrote(100.0, some=True, blocked=True)
    talking(end, 134.0)
    assert expired(end, 134.9) is None
    assert expired(end, 135.0) == "the peer read nothing for 35 s"


def test_every_byte_that_the_peer_reads_gives_it_more_time() -> None:
    end = link(LinkState.OPEN)
    end.wrote(100.0, some=False, blocked=True)
    end.wrote(120.0, some=True, blocked=True)
    end.wrote(150.0, some=False, blocked=True)
    talking(end, 154.0)
    assert expired(end, 154.9) is None
    assert expired(end, 155.0) == "the peer read nothing for 35 s"


def test_the_time_counts_from_when_something_had_to_stay() -> None:
    end = link(LinkState.OPEN)
    end.wrote(100.0, some=True, blocked=False)
    end.wrote(150.0, some=False, blocked=True)
    talking(end, 184.0)
    assert expired(end, 184.9) is None
    assert expired(end, 185.0) == "the peer read nothing for 35 s"


def test_a_peer_to_which_nothing_waits_to_be_written_is_not_cut() -> None:
    end = link(LinkState.OPEN)
    end.wrote(100.0, some=True, blocked=True)
    end.wrote(101.0, some=True, blocked=False)
    talking(end, 200.0)
    assert expired(end, 201.0) is None
