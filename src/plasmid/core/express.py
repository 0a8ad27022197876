"""The short way of what comes and goes most: whole, short frames of calls and of their answers.

It does what feed() of the node, call() and answer() of its Calls would, less what such a frame can't need: no Frame is
made of it, no chunk is looked for, and where it goes is known. Whatever is different in any respect is left to those,
untouched; every error is told there. The source is checked here as it is there, before anything else of the frame
counts. No I/O here.
"""

from plasmid.core.calls import (
    CALL_HEAD,
    HEAD_SIZE_MAX,
    NO_DEADLINE,
    SERVED_PER_LINK_MAX,
    Calls,
    deadline_of,
    left_until,
)
from plasmid.core.events import CallArrived, CallEnded
from plasmid.core.frames import HEADER, HEADER_SIZE, NO_REPLY, SIZES, FrameDecoder, Kind, Lane
from plasmid.core.link import LinkState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional, Sequence, Union

    from plasmid.core.calls import OutCall
    from plasmid.core.flow import Outbox
    from plasmid.core.link import Link
    from plasmid.core.node import Node

    Buffer = Union[bytes, bytearray, memoryview]

_CALL, _REPLY, _OPEN, _LANE = Kind.CALL, Kind.REPLY, LinkState.OPEN, Lane.REPLY
_HEAD_SIZE = CALL_HEAD.size

# A frame shorter than this is short. Its body is cut out by copying: a view takes longer to make.
SHORT_SIZE_MAX = 4096
_read_header = HEADER.unpack_from


def install(node: "Node") -> None:
    """Have the node take what it is fed, make calls and answer them by this way where it can."""
    express = Express(node)
    node.feed = express.feed  # type: ignore[method-assign]
    if type(node.calls) is Calls:
        node.calls.call = express.call  # type: ignore[method-assign]
        node.calls.answer = express.answer  # type: ignore[method-assign]


class Express:
    """The short way of one node. Owned by whoever owns that. feed_long, call_long, answer_long: what else does it."""

    def __init__(self, node: "Node") -> None:
        self.node = node
        self.feed_long = node.feed
        self.call_long = node.calls.call
        self.answer_long = node.calls.answer
        self._own = node.address
        self._links = node.links
        self._ways = node.switch.ways
        self._dirty = node.dirty
        self._events = node.events

    def feed(self, id: int, data: bytes, now: float) -> None:
        """Take the bytes that came in by link `id`, see Node.feed()."""
        link = self._links.get(id)
        if link is None or not link.decoder.is_empty or link.state is not _OPEN or link.outbox.shares:
            self.feed_long(id, data, now)
            return
        node, own = self.node, self._own
        size, start, peer = len(data), 0, link.peer
        while size - start >= HEADER_SIZE:
            body_size, kind, flags, source_size, target_size, number = _read_header(data, start)
            target_at = start + HEADER_SIZE + source_size
            body_at = target_at + target_size
            end = body_at + body_size  # type: int
            if end > size or end - start >= SHORT_SIZE_MAX or source_size not in SIZES:
                break
            source = data[start + HEADER_SIZE : target_at]
            if not source.startswith(peer):
                break
            if flags != _LANE if kind == _REPLY else kind != _CALL or flags & ~NO_REPLY:
                break
            target = data[target_at:body_at]
            if target != own:
                way = self._ways.get(target)
                if way is None or way is link or not way.outbox.is_idle():
                    break
                _pass_on(way, link, data[start:end])
                self._dirty.add(way.id)
            elif kind == _CALL:
                if not self._serve(link, data, body_at, end, now, source, number, flags != 0):
                    break
            else:
                made = node.calls.made.calls
                call = made.get(number)
                if call is None or call.target != source or link.replies.assemblies or node.switch.outgoing:
                    break
                del made[number]
                self._events.append(CallEnded(call.ref, data[body_at:end], False, None))
            start = end
            link.heard_at = now
        if start < size:
            self.feed_long(id, data[start:] if start else data, now)

    def _serve(
        self, link: "Link", data: bytes, start: int, end: int, now: float, source: bytes, id: int, no_reply: bool
    ) -> bool:
        """Hand a call over to be served, as Calls.take_call() does. Its body is data[start:end]."""
        size = end - start
        left, head_size = CALL_HEAD.unpack_from(data, start) if size >= _HEAD_SIZE else (0, 0)
        head_at = start + _HEAD_SIZE
        payload_at = head_at + head_size
        inbox = link.inbox
        if not 0 < head_size <= HEAD_SIZE_MAX or payload_at > end or inbox.held + size > inbox.quota:
            return False
        served = self.node.calls.served
        via = link.id
        key = source, id
        count = served.per_link.get(via, 0)
        if key in served.calls or count >= SERVED_PER_LINK_MAX or link.outbox.flows_size:
            return False
        served.per_link[via] = count + 1
        inbox.held += size
        deadline = None if left == NO_DEADLINE else deadline_of(left, now)
        head, payload = data[head_at:payload_at], data[payload_at:end]
        call = served.calls[key] = CallArrived(source, id, head, payload, deadline, no_reply, via, size)
        self._events.append(call)
        return True

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
        link = self._ways.get(target)
        if link is None or no_reply or len(parts) != 1 or not link.outbox.is_idle():
            return self.call_long(target, head, parts, now, deadline, no_reply, ref)
        payload = parts[0]
        size = _HEAD_SIZE + len(head) + len(payload)
        if size >= SHORT_SIZE_MAX:
            return self.call_long(target, head, parts, now, deadline, no_reply, ref)
        own = self._own
        left = NO_DEADLINE if deadline is None else left_until(deadline, now)
        call = self.node.calls.made.add(target, deadline, ref, link.id)
        header = HEADER.pack(size, _CALL, 0, len(own), len(target), call.id)
        link.outbox.lone = b"".join((header, own, target, CALL_HEAD.pack(left, len(head)), head, payload))
        self._dirty.add(link.id)
        return call

    def answer(self, source: bytes, id: int, parts: "Sequence[Buffer]", is_error: bool) -> None:
        """Answer a call, see Calls.answer()."""
        served = self.node.calls.served
        call = served.calls.get((source, id))
        link = None if call is None else self._links.get(call.link)
        if call is None or link is None or call.no_reply or is_error or len(parts) != 1 or link.inbox.waiting:
            self.answer_long(source, id, parts, is_error)
            return
        body, outbox, own = parts[0], link.outbox, self._own
        if len(body) >= SHORT_SIZE_MAX or not outbox.is_idle():
            self.answer_long(source, id, parts, is_error)
            return
        served.end(source, id)
        link.inbox.held -= call.size
        header = HEADER.pack(len(body), _REPLY, _LANE, len(own), len(source), id)
        outbox.lone = b"".join((header, own, source, body))
        self._dirty.add(link.id)


def _pass_on(way: "Link", link: "Link", raw: bytes) -> None:
    """Pass on, by `way` where nothing waits, a frame that came by `link`, as relay.queue() does."""
    # Both ways: who waits for an answer, and who is at work on one, want to hear of the other's loss.
    way.talkers.add(link.id)
    link.talkers.add(way.id)
    way.outbox.lone = raw
    way.outbox.lone_again = _queue_behind, raw, link.id


def _queue_behind(outbox: "Outbox", raw: bytes, origin: int) -> None:
    """Put it in line, with the body that it is part of, since it isn't alone any more."""
    from plasmid.core import relay  # in memory, where there is anything to pass on

    decoder = FrameDecoder(b"")
    decoder.feed(raw)
    frame = decoder.next_frame()
    assert frame is not None
    relay.queue_behind(outbox, frame, origin)
