"""One link's life: hello, keep-alive, goodbye.

    state    HELLO    PING, PONG  routed   GOODBYE
    OPENING  OPEN     error       error    PARTED
    OPEN     error    OPEN        OPEN     LEFT
    LEFT     error    LEFT        LEFT     error
    LEAVING  LEAVING  LEAVING     LEAVING  PARTED
    PARTED   error    error       error    error
    CLOSED   error    error       error    error

`error` ends the link with a FrameError. Each end says HELLO first, without waiting for the other's. An end is in order
when both have said GOODBYE: who hears it first (LEFT) finishes what it is sending, the last log lines say, and answers
with its own (LEAVING); who said it (LEAVING) reads on until then, so that nothing sent before is lost. Goodbyes may
cross, so even then (PARTED) what waits is still sent; nothing is read any more.

A whole frame is a sign of life, bytes alone are not, so an unfinished frame can't keep a link up. After IDLE_S
without one we ask; after SILENCE_MAX_S the link is cut. It is cut as well when nothing could be written for that
long, and when the peer is still there LEAVE_MAX_S after both have said goodbye. No I/O and no clock here.
"""

from plasmid.core import values
from plasmid.core.errors import FrameError
from plasmid.core.flow import Inbox, Outbox
from plasmid.core.frames import PROTOCOL_VERSION, ROUTED_MIN, Frame, FrameDecoder, Kind, encode, encode_reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Optional, Set

    from plasmid.core.bulk import Rooms

IDLE_S = 10.0
SILENCE_MAX_S = 35.0
LEAVE_MAX_S = 10.0


class LinkState:
    """Where a link is in its life."""

    OPENING = "opening"  # our hello is out, the peer's hasn't come
    OPEN = "open"  # both have said hello
    LEFT = "left"  # the peer said goodbye
    LEAVING = "leaving"  # we said goodbye
    PARTED = "parted"  # nothing more is read, and the link closes when all that waits has been written
    CLOSED = "closed"  # the link is no more


_HELLO, _ALIVE, _ROUTED, _GOODBYE = "hello", "ping or pong", "routed frame", "goodbye"

TRANSITIONS = {
    (LinkState.OPENING, _HELLO): LinkState.OPEN,
    (LinkState.OPENING, _GOODBYE): LinkState.PARTED,
    (LinkState.OPEN, _ALIVE): LinkState.OPEN,
    (LinkState.OPEN, _ROUTED): LinkState.OPEN,
    (LinkState.OPEN, _GOODBYE): LinkState.LEFT,
    (LinkState.LEFT, _ALIVE): LinkState.LEFT,
    (LinkState.LEFT, _ROUTED): LinkState.LEFT,
    (LinkState.LEAVING, _HELLO): LinkState.LEAVING,
    (LinkState.LEAVING, _ALIVE): LinkState.LEAVING,
    (LinkState.LEAVING, _ROUTED): LinkState.LEAVING,
    (LinkState.LEAVING, _GOODBYE): LinkState.PARTED,
}
_WORDS = {Kind.HELLO: _HELLO, Kind.PING: _ALIVE, Kind.PONG: _ALIVE, Kind.GOODBYE: _GOODBYE}


class Link:
    """One end of a link. Owned by its Node.

    id: 0 for the link to the parent, else the child's number. own: this context's address. peer: what every source
    that comes in must lie within. hello: what the peer said of itself, once it has. replies: the long answers to our
    calls, on books of their own: they must not wait for calls that are served here, for those may wait for them.
    is_blocked: the last attempt to write to it left something.
    heard_at: when a whole frame came last, but for pings: who asks for a sign of life may hear nothing of us.
    write: the runtime's, if it has given one: takes a whole frame while the outbox is idle. False if it can't now.
    rooms: what the peer keeps for long bodies of ours, see bulk.py; None before there was one.
    """

    write = None  # type: Optional[Callable[[bytes], bool]]
    rooms = None  # type: Optional[Rooms]

    def __init__(self, id: int, own: bytes, peer: bytes, now: float) -> None:
        self.id = id
        self.own = own
        self.peer = peer
        self.state = LinkState.OPENING
        self.decoder = FrameDecoder(peer)
        self.outbox = Outbox()
        self.inbox = Inbox()
        self.replies = Inbox()
        self.hello = None  # type: Optional[Dict[str, Any]]
        self.talkers = set()  # type: Set[int]  # links that exchanged frames with this one: they hear of its loss
        self.refused = set()  # type: Set[bytes]  # see relay.check_share()
        self.forms = {}  # type: Dict[int, Any]  # see express.py
        self.farewell = ""
        self._left = False  # the peer has said goodbye
        self._leave_by = 0.0
        self.heard_at = now
        self._wrote_at = now
        self.is_blocked = False

    def say_hello(self, facts: "Dict[str, Any]") -> None:
        """Queue our hello, ahead of whatever may become urgent before it is sent."""
        body = values.pack(dict(facts, versions=[PROTOCOL_VERSION]))
        self.outbox.push_urgent(encode(Kind.HELLO, 0, 0, self.own, b"", body))

    def say_goodbye(self, reason: str) -> None:
        """Queue our goodbye, after all that waits to be sent."""
        if self.state in (LinkState.OPENING, LinkState.OPEN, LinkState.LEFT):
            self.state = LinkState.LEAVING
            self.outbox.push(encode_reason(Kind.GOODBYE, self.own, b"", reason))

    def take(self, frame: Frame, now: float) -> None:
        """Take note of a frame that came in, and act on those that concern the link alone.

        Raises FrameError where it isn't allowed in this state.
        """
        kind = frame.kind
        if kind != Kind.PING:
            self.heard_at = now
        word = _ROUTED if kind >= ROUTED_MIN else _WORDS[kind]
        state = TRANSITIONS.get((self.state, word))
        if state is None:
            raise FrameError("a %s isn't allowed while the link is %s" % (word, self.state))
        if kind == Kind.HELLO:
            self._take_hello(frame)
        elif kind == Kind.PING:
            self.outbox.push_urgent(encode(Kind.PONG, 0, frame.id, self.own, b""))
        elif kind == Kind.GOODBYE:
            self.farewell = frame.reason
            self._left = True
        self.state = state

    def _take_hello(self, frame: Frame) -> None:
        try:
            hello = values.unpack(bytes(frame.body))
        except ValueError as error:
            raise FrameError("a hello that is no value: %s" % error) from None
        versions = hello.get("versions") if isinstance(hello, dict) else None
        if not isinstance(versions, list) or PROTOCOL_VERSION not in versions:
            raise FrameError("the peer speaks protocol versions %.60r, this end %d" % (versions, PROTOCOL_VERSION))
        self.hello = hello

    def wrote(self, now: float, some: bool, blocked: bool) -> None:
        """Take note of an attempt to write: whether some bytes went, and whether some had to stay."""
        if some or not self.is_blocked:
            self._wrote_at = now
        self.is_blocked = blocked

    def expire(self, now: float) -> None:
        """Ask for a sign of life where none has come for a while; FrameError when the wait is over."""
        silent = now - self.heard_at
        if silent >= SILENCE_MAX_S:
            raise FrameError("no whole frame came for %.0f s" % silent)
        if self.is_blocked and now - self._wrote_at >= SILENCE_MAX_S:
            raise FrameError("the peer read nothing for %.0f s" % (now - self._wrote_at))
        if self._left and self.state is LinkState.LEAVING:
            self._leave_by = self._leave_by or now + LEAVE_MAX_S
            if now >= self._leave_by:
                raise FrameError("it said goodbye and stayed")
        if silent >= IDLE_S and self.state is not LinkState.OPENING:
            self.outbox.push_urgent(encode(Kind.PING, 0, 0, self.own, b""))
