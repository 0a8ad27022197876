"""The short way of what comes and goes most: whole, short frames of calls and of their answers.

It does what feed() of the node, call() and answer() of its Calls would, less what such a frame can't need: no Frame is
made of it, no chunk is looked for, and where it goes is known. Whatever is different in any respect is left to those,
untouched; every error is told there. The source is checked here as it is there, before anything else of the frame
counts: what was found of a pair of addresses is kept for that link alone, by exactly these bytes. No I/O here: a frame
is given to write() of its link, which is the runtime's, or left in the outbox.
"""

from struct import Struct

from plasmid.core.calls import CALL_HEAD, NO_DEADLINE, SERVED_PER_LINK_MAX, Calls, deadline_of, left_until
from plasmid.core.events import CallArrived, CallEnded
from plasmid.core.frames import HEADER_SIZE, NO_REPLY, SIZES, FrameDecoder, Kind, Lane
from plasmid.core.link import LinkState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Optional, Sequence, Tuple, Union

    from plasmid.core.calls import OutCall
    from plasmid.core.flow import Outbox
    from plasmid.core.link import Link
    from plasmid.core.node import Node
    from plasmid.core.values import Payload

    Buffer = Union[bytes, bytearray, memoryview]
    # A source, the way to the target, None for here, and what an answer begins with: its form, and both addresses.
    Pair = Tuple[bytes, Optional[Link], int, bytes]
    Pairs = Dict[bytes, Pair]
    Arrived = Callable[[Tuple[bytes, int], bytes, bytes, Optional[float], bool], object]
    Answered = Callable[[Any, Payload], object]

_OPEN, _REPLY = LinkState.OPEN, Kind.REPLY
_HEAD_SIZE = CALL_HEAD.size

# A frame shorter than this is short. Its body is cut out by copying: a view takes longer to make.
SHORT_SIZE_MAX = 4096
# As many bytes of answers that wait for each other are written at once: some 30 of the shortest, which may take a
# millisecond to make. Who asked for them works on these meanwhile.
HELD_SIZE_MAX = 2048
# While fewer wait that came by the same link, answers go at once: who asked for so few mostly waits for each.
HELD_CALLS_MIN = 16

# HEADER of frames.py with kind, flags and the sizes of both addresses in one number, the form of a frame.
_FORMED = Struct(">IIQ")
_read_header, _write_header = _FORMED.unpack_from, _FORMED.pack
_read_call_head = CALL_HEAD.unpack_from
# Kind and flags of the frames that may be short.
_SHORT = Kind.CALL << 8, Kind.CALL << 8 | NO_REPLY, Kind.REPLY << 8 | Lane.REPLY
_NOT_SERVED = None, 0, False, None

# What is kept of one link: so many forms, and so many pairs of addresses for each. A peer may name what it likes.
FORMS_MAX = 8
PAIRS_MAX = 64
# What is kept of calls that were made: by target and head.
ROUTES_MAX = 1024


def install(node: "Node", arrived: "Optional[Arrived]" = None, answered: "Optional[Answered]" = None) -> None:
    """Have the node take what it is fed, make calls and answer them by this way where it can.

    arrived, answered: told at once, with what CallArrived and CallEnded say; by default these are events as well. What
    is fed while events wait to be told mustn't overtake them, so there may be none then.
    """
    express = Express(node, arrived, answered)
    node.feed = express.feed  # type: ignore[method-assign]
    if type(node.calls) is Calls:
        node.calls.call = express.call  # type: ignore[method-assign]
        node.calls.answer = express.answer  # type: ignore[method-assign]


class Express:
    """The short way of one node. Owned by whoever owns that. feed_long, call_long, answer_long: what else does it."""

    def __init__(self, node: "Node", arrived: "Optional[Arrived]", answered: "Optional[Answered]") -> None:
        self.feed_long = node.feed
        self.call_long = node.calls.call
        self.answer_long = node.calls.answer
        self._own = node.address
        self._links = node.links
        self._switch = node.switch
        self._dirty = node.dirty
        self._events = node.events
        self._calls = node.calls
        self._made = node.calls.made
        self._served = node.calls.served
        self._arrived = arrived or self._tell_arrived
        self._answered = answered or self._tell_answered
        # The link, the form, what stands between the id and the payload, and its size, by target and head.
        self._routes = {}  # type: Dict[Tuple[bytes, bytes], Tuple[Link, int, bytes, int]]

    # -- what comes

    def feed(self, id: int, data: bytes, now: float) -> None:
        """Take the bytes that came in by link `id`, see Node.feed()."""
        link = self._links.get(id)
        if link is None or not link.decoder.is_empty or link.state is not _OPEN or link.outbox.shares:
            self.feed_long(id, data, now)
            return
        size, start = len(data), 0
        while size - start >= HEADER_SIZE:
            body_size, form, number = _read_header(data, start)
            known = link.forms.get(form) or _know_form(link, form)
            if known is None:
                break
            kind, no_reply, offset, pairs = known
            body_at = start + offset
            end = body_at + body_size  # type: int
            if end > size or end - start >= SHORT_SIZE_MAX:
                break
            addresses = data[start + HEADER_SIZE : body_at]
            pair = pairs.get(addresses) or self._know_pair(link, form, pairs, addresses)
            if pair is None:
                break
            way = pair[1]
            if way is not None:
                # Passed on, as relay.queue() does it.
                outbox, write, raw = way.outbox, way.write, data[start:end]
                if outbox.lone or outbox.shares or outbox.turns or way.state is not _OPEN:
                    break
                if write is None or not write(raw):
                    outbox.lone = raw
                    outbox.lone_again = _queue_behind, raw, link.id
                    self._dirty.add(way.id)
            elif kind == _REPLY:
                made = self._made.calls
                call = made.get(number)
                if call is None or call.target != pair[0] or link.replies.assemblies or self._switch.outgoing:
                    break
                del made[number]
                self._answered(call.ref, data[body_at:end])
            elif not self._serve(link, data, body_at, end, now, pair, number, no_reply):
                break
            link.heard_at = now
            if end == size:
                return
            start = end
        self.feed_long(id, data[start:] if start else data, now)

    def _know_pair(self, link: "Link", form: int, pairs: "Pairs", addresses: bytes) -> "Optional[Pair]":
        """Return what is known of these addresses, if the link may name that source and the way is known."""
        source_size = form >> 8 & 0xFF
        source, target = addresses[:source_size], addresses[source_size:]
        if not source.startswith(link.peer):
            return None
        way = None
        if target != self._own:
            way = self._switch.ways.get(target)
            if way is None or way is link:
                return None
            # Both ways: who waits for an answer, and who is at work on one, want to hear of the other's loss.
            way.talkers.add(link.id)
            link.talkers.add(way.id)
        if len(pairs) >= PAIRS_MAX:
            pairs.clear()
        own = self._own
        pair = source, way, _REPLY << 24 | Lane.REPLY << 16 | len(own) << 8 | source_size, own + source
        pairs[addresses] = pair
        return pair

    def _serve(
        self, link: "Link", data: bytes, start: int, end: int, now: float, pair: "Pair", id: int, no_reply: bool
    ) -> bool:
        """Hand a call over to be served, as Calls.take_call() does. Its body is data[start:end]."""
        size = end - start
        if size < _HEAD_SIZE:
            return False
        left, head_size = _read_call_head(data, start)
        head_at = start + _HEAD_SIZE
        payload_at = head_at + head_size
        inbox = link.inbox
        held = inbox.held + size
        if not head_size or payload_at > end or held > inbox.quota or link.outbox.flows_size:
            return False
        key, served = (pair[0], id), self._served
        if key in served or inbox.calls >= SERVED_PER_LINK_MAX:
            return False
        inbox.calls += 1
        inbox.held = held
        served[key] = link, size, no_reply, pair
        deadline = None if left == NO_DEADLINE else deadline_of(left, now)
        self._arrived(key, data[head_at:payload_at], data[payload_at:end], deadline, no_reply)
        return True

    def _tell_arrived(
        self, key: "Tuple[bytes, int]", head: bytes, payload: bytes, deadline: "Optional[float]", no_reply: bool
    ) -> None:
        self._events.append(CallArrived(key[0], key[1], head, payload, deadline, no_reply))

    def _tell_answered(self, ref: "Any", body: "Payload") -> None:
        self._events.append(CallEnded(ref, body, False, None))

    # -- what goes

    def call(
        self,
        target: bytes,
        head: bytes,
        parts: "Sequence[Buffer]",
        now: float,
        deadline: "Optional[float]" = None,
        no_reply: bool = False,
        ref: "Any" = None,
    ) -> "Optional[OutCall]":
        """Make a call, see Calls.call()."""
        route = self._routes.get((target, head)) or self._know_route(target, head)
        if route is None or no_reply or len(parts) != 1:
            return self.call_long(target, head, parts, now, deadline, no_reply, ref)
        link, form, middle, size = route
        payload, outbox = parts[0], link.outbox
        size += len(payload)
        if outbox.lone or outbox.shares or outbox.turns or size >= SHORT_SIZE_MAX or link.state is not _OPEN:
            return self.call_long(target, head, parts, now, deadline, no_reply, ref)
        if deadline is not None:
            middle = self._own + target + CALL_HEAD.pack(left_until(deadline, now), len(head)) + head
        call = self._made.add(target, deadline, ref, link.id)
        self._send(link, _write_header(size, form, call.id) + middle + payload)
        return call

    def _know_route(self, target: bytes, head: bytes) -> "Optional[Tuple[Link, int, bytes, int]]":
        """Return how to call by that head there, None where no way is known yet."""
        link = self._switch.ways.get(target)
        if link is None:
            return None
        if len(self._routes) >= ROUTES_MAX:
            self._routes.clear()
        form = Kind.CALL << 24 | len(self._own) << 8 | len(target)
        middle = self._own + target + CALL_HEAD.pack(NO_DEADLINE, len(head)) + head
        route = self._routes[target, head] = link, form, middle, _HEAD_SIZE + len(head)
        return route

    def answer(self, source: bytes, id: int, parts: "Sequence[Buffer]", is_error: bool) -> None:
        """Answer a call, see Calls.answer()."""
        key = source, id
        link, size, no_reply, pair = self._served.get(key, _NOT_SERVED)
        # A call that came by the long way has no pair, and mostly comes back by that.
        if link is None or pair is None or no_reply or is_error or len(parts) != 1 or link.state is not _OPEN:
            self.answer_long(source, id, parts, is_error)
            return
        body, outbox, inbox = parts[0], link.outbox, link.inbox
        lone, calls = outbox.lone, self._calls
        is_queued = outbox.shares or outbox.turns or (lone and link.id not in calls.held)
        if is_queued or inbox.waiting or len(body) >= SHORT_SIZE_MAX:
            self.answer_long(source, id, parts, is_error)
            return
        del self._served[key]
        inbox.calls -= 1
        inbox.held -= size
        frame = _write_header(len(body), pair[2], id) + pair[3] + body
        may_wait = calls.holds and inbox.calls >= HELD_CALLS_MIN
        if lone or may_wait:
            outbox.lone = lone + frame
            (calls.held if may_wait and len(outbox.lone) < HELD_SIZE_MAX else self._dirty).add(link.id)
        else:
            self._send(link, frame)

    def _send(self, link: "Link", frame: bytes) -> None:
        """Write a frame that nothing waits before, or leave it to who writes next."""
        write = link.write
        if write is None or not write(frame):
            link.outbox.lone = frame
            self._dirty.add(link.id)


def _know_form(link: "Link", form: int) -> "Optional[Tuple[int, bool, int, Pairs]]":
    """Return kind, no_reply, where the body begins, and what pairs are known, of a form if it is a short frame's."""
    source_size, target_size = form >> 8 & 0xFF, form & 0xFF
    if form >> 16 not in _SHORT or source_size not in SIZES or target_size not in SIZES:
        return None
    if len(link.forms) >= FORMS_MAX:
        link.forms.clear()
    pairs = {}  # type: Pairs
    no_reply = form >> 16 & NO_REPLY != 0
    known = link.forms[form] = form >> 24, no_reply, HEADER_SIZE + source_size + target_size, pairs
    return known


def _queue_behind(outbox: "Outbox", raw: bytes, origin: int) -> None:
    """Put it in line, with the body that it is part of, since it isn't alone any more."""
    from plasmid.core import relay  # in memory, where there is anything to pass on

    decoder = FrameDecoder(b"")
    decoder.feed(raw)
    frame = decoder.next_frame()
    assert frame is not None
    relay.queue_behind(outbox, frame, origin)
