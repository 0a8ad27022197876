"""The short way of what comes most: whole, short frames of calls and of their answers.

It does what feed() of the node would, less what such a frame can't need: no Frame is made of it, no chunk is looked
for, and where it goes is known. Whatever is different in any respect is left to feed(), untouched; every error is told
there. The source is checked here as it is there, before anything else of the frame counts. No I/O here.
"""

from plasmid.core.calls import CALL_HEAD, HEAD_SIZE_MAX, NO_DEADLINE, SERVED_PER_LINK_MAX, InCall
from plasmid.core.events import CallArrived, CallEnded
from plasmid.core.frames import COPIED_MAX, HEADER, HEADER_SIZE, NO_REPLY, SIZES, FrameDecoder, Kind, Lane
from plasmid.core.link import LinkState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from plasmid.core.flow import Outbox
    from plasmid.core.link import Link
    from plasmid.core.node import Node

_CALL, _REPLY, _OPEN, _LANE = Kind.CALL, Kind.REPLY, LinkState.OPEN, Lane.REPLY


def install(node: "Node") -> None:
    """Have the node take what it is fed by this way where it can."""
    feed, links = node.feed, node.links

    def take_or_feed(id: int, data: bytes, now: float) -> None:
        link = links.get(id)
        size, start = len(data), 0
        while link is not None and start < size:
            end = take(node, link, data, start, now)
            if not end:
                break
            start = end
        if start < size:
            feed(id, data[start:], now)

    node.feed = take_or_feed  # type: ignore[method-assign]


def take(node: "Node", link: "Link", data: bytes, start: int, now: float) -> int:
    """Take the frame at `start` of what was read by a link; return its end. 0, and nothing was done, if feed() must."""
    source_at = start + HEADER_SIZE
    if not link.decoder.is_empty or link.state is not _OPEN or link.outbox.shares or len(data) < source_at:
        return 0
    body_size, kind, flags, source_size, target_size, id = HEADER.unpack_from(data, start)
    target_at = source_at + source_size
    body_at = target_at + target_size
    end = body_at + body_size  # type: int
    if end > len(data) or end - start >= COPIED_MAX or source_size not in SIZES:
        return 0
    if flags != _LANE if kind == _REPLY else kind != _CALL or flags & ~NO_REPLY:
        return 0
    source = data[source_at:target_at]
    if not source.startswith(link.peer):
        return 0
    target = data[target_at:body_at]
    if target != node.address:
        if not _pass_on(node, link, data[start:end], target):
            return 0
    elif kind == _CALL:
        if not _serve(node, link, data[body_at:end], now, source, id, flags != 0):
            return 0
    else:
        made = node.calls.made.calls
        call = made.get(id)
        if call is None or call.target != source or link.replies.assemblies or node.switch.outgoing:
            return 0
        del made[id]
        node.events.append(CallEnded(call.ref, data[body_at:end], False, None))
    link.heard_at = now
    return end


def _serve(node: "Node", link: "Link", body: bytes, now: float, source: bytes, id: int, no_reply: bool) -> bool:
    """Hand a call over to be served, as Calls.take_call() does."""
    served = node.calls.served
    inbox = link.inbox
    size = len(body)
    left, head_size = CALL_HEAD.unpack_from(body) if size >= CALL_HEAD.size else (0, 0)
    head_end = CALL_HEAD.size + head_size
    if not 0 < head_size <= HEAD_SIZE_MAX or head_end > size or inbox.held + size > inbox.quota:
        return False
    if link.outbox.flows_size or served.per_link.get(link.id, 0) >= SERVED_PER_LINK_MAX:
        return False
    if not served.add(InCall(source, id, link.id, size, no_reply)):
        return False
    inbox.held += size
    deadline = None if left == NO_DEADLINE else now + left / 1000.0
    node.events.append(CallArrived(source, id, body[CALL_HEAD.size : head_end], body[head_end:], deadline, no_reply))
    return True


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
