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
from plasmid.core.frames import COPIED_MAX, HEADER, HEADER_SIZE, NO_REPLY, SIZES, FrameDecoder, Kind, Lane
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


def install(node: "Node") -> None:
    """Have the node take what it is fed, make calls and answer them by this way where it can."""
    feed, links = node.feed, node.links

    def take_or_feed(id: int, data: bytes, now: float) -> None:
        link = links.get(id)
        start = 0
        if link is not None and link.decoder.is_empty and link.state is _OPEN and not link.outbox.shares:
            start = take(node, link, data, now)
            if start == len(data):
                return
        feed(id, data[start:] if start else data, now)

    node.feed = take_or_feed  # type: ignore[method-assign]
    if type(node.calls) is Calls:
        _install_calls(node, node.calls)


def take(node: "Node", link: "Link", data: bytes, now: float) -> int:
    """Take the frames at the start of what was read by a link that is open; return where feed() must go on."""
    size = len(data)
    start = 0
    made = node.calls.made.calls
    while size - start >= HEADER_SIZE:
        body_size, kind, flags, source_size, target_size, id = HEADER.unpack_from(data, start)
        source_at = start + HEADER_SIZE
        target_at = source_at + source_size
        body_at = target_at + target_size
        end = body_at + body_size  # type: int
        if end > size or end - start >= COPIED_MAX or source_size not in SIZES:
            break
        if flags != _LANE if kind == _REPLY else kind != _CALL or flags & ~NO_REPLY:
            break
        source = data[source_at:target_at]
        if not source.startswith(link.peer):
            break
        target = data[target_at:body_at]
        if target != node.address:
            if not _pass_on(node, link, data[start:end], target):
                break
        elif kind == _CALL:
            if not _serve(node, link, data, body_at, end, now, source, id, flags != 0):
                break
        else:
            call = made.get(id)
            if call is None or call.target != source or link.replies.assemblies or node.switch.outgoing:
                break
            del made[id]
            node.events.append(CallEnded(call.ref, data[body_at:end], False, None))
        start = end
    if start:
        link.heard_at = now
    return start


def _serve(
    node: "Node", link: "Link", data: bytes, start: int, end: int, now: float, source: bytes, id: int, no_reply: bool
) -> bool:
    """Hand a call over to be served, as Calls.take_call() does. Its body is data[start:end]."""
    size = end - start
    left, head_size = CALL_HEAD.unpack_from(data, start) if size >= _HEAD_SIZE else (0, 0)
    head_at = start + _HEAD_SIZE
    payload_at = head_at + head_size
    inbox = link.inbox
    if not 0 < head_size <= HEAD_SIZE_MAX or payload_at > end or inbox.held + size > inbox.quota:
        return False
    served = node.calls.served
    key = source, id
    count = served.per_link.get(link.id, 0)
    if key in served.calls or count >= SERVED_PER_LINK_MAX or link.outbox.flows_size:
        return False
    served.per_link[link.id] = count + 1
    inbox.held += size
    deadline = None if left == NO_DEADLINE else deadline_of(left, now)
    call = CallArrived(source, id, data[head_at:payload_at], data[payload_at:end], deadline, no_reply, link.id, size)
    served.calls[key] = call
    node.events.append(call)
    return True


def _install_calls(node: "Node", calls: Calls) -> None:
    make, answer, own = calls.call, calls.answer, node.address
    switch, served, made = node.switch, calls.served, calls.made

    def call_shortly(
        target: bytes,
        head: bytes,
        parts: "Sequence[Buffer]",
        now: float,
        deadline: "Optional[float]" = None,
        no_reply: bool = False,
        ref: "Any" = None,
    ) -> "Optional[OutCall]":
        link = switch.ways.get(target)
        outbox = None if link is None else link.outbox
        size = _HEAD_SIZE + len(head) + (len(parts[0]) if len(parts) == 1 else COPIED_MAX)
        if link is None or outbox is None or no_reply or size >= COPIED_MAX:
            return make(target, head, parts, now, deadline, no_reply, ref)
        if outbox.lone or outbox.shares or outbox.turns:
            return make(target, head, parts, now, deadline, no_reply, ref)
        left = NO_DEADLINE if deadline is None else left_until(deadline, now)
        call = made.add(target, deadline, ref, link.id)
        header = HEADER.pack(size, _CALL, 0, len(own), len(target), call.id)
        outbox.lone = b"".join((header, own, target, CALL_HEAD.pack(left, len(head)), head, parts[0]))
        node.dirty.add(link.id)
        return call

    def answer_shortly(source: bytes, id: int, parts: "Sequence[Buffer]", is_error: bool) -> None:
        call = served.calls.get((source, id))
        link = None if call is None else node.links.get(call.link)
        if call is None or link is None or call.no_reply or is_error or len(parts) != 1:
            return answer(source, id, parts, is_error)
        body, outbox = parts[0], link.outbox
        if link.inbox.waiting or len(body) >= COPIED_MAX or outbox.lone or outbox.shares or outbox.turns:
            return answer(source, id, parts, is_error)
        served.end(source, id)
        link.inbox.held -= call.size
        header = HEADER.pack(len(body), _REPLY, _LANE, len(own), len(source), id)
        outbox.lone = b"".join((header, own, source, body))
        node.dirty.add(link.id)
        return None

    calls.call = call_shortly  # type: ignore[method-assign]
    calls.answer = answer_shortly  # type: ignore[method-assign]


def _pass_on(node: "Node", link: "Link", data: bytes, target: bytes) -> bool:
    """Pass it on where nothing waits on its way, as relay.queue() does."""
    way = node.switch.ways.get(target)
    if way is None or way is link or not way.outbox.is_idle():
        return False
    # Both ways: who waits for an answer, and who is at work on one, want to hear of the other's loss.
    way.talkers.add(link.id)
    link.talkers.add(way.id)
    way.outbox.lone = data
    way.outbox.lone_again = _queue_behind, data, link.id
    node.dirty.add(way.id)
    return True


def _queue_behind(outbox: "Outbox", raw: bytes, origin: int) -> None:
    """Put it in line, with the body that it is part of, since it isn't alone any more."""
    from plasmid.core import relay  # in memory, where there is anything to pass on

    decoder = FrameDecoder(b"")
    decoder.feed(raw)
    frame = decoder.next_frame()
    assert frame is not None
    relay.queue_behind(outbox, frame, origin)
