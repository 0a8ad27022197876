"""The short way of what comes most: one whole, short frame, read alone, of a call or of its answer.

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

    def feed_or_take(id: int, data: bytes, now: float) -> None:
        link = links.get(id)
        if link is None or not take(node, link, data, now):
            feed(id, data, now)

    node.feed = feed_or_take  # type: ignore[method-assign]


def take(node: "Node", link: "Link", data: bytes, now: float) -> bool:
    """Take what was read by a link. False, and nothing was done, if feed() must."""
    size = len(data)
    if (
        not link.decoder.is_empty
        or link.state is not _OPEN
        or link.outbox.shares
        or not HEADER_SIZE < size < COPIED_MAX
    ):
        return False
    body_size, kind, flags, source_size, target_size, id = HEADER.unpack_from(data)
    target_at = HEADER_SIZE + source_size
    body_at = target_at + target_size
    if body_at + body_size != size or source_size not in SIZES:
        return False
    if flags != _LANE if kind == _REPLY else kind != _CALL or flags & ~NO_REPLY:
        return False
    source = data[HEADER_SIZE:target_at]
    if not source.startswith(link.peer):
        return False
    target = data[target_at:body_at]
    if target != node.address:
        if not _pass_on(node, link, data, target):
            return False
    elif kind == _CALL:
        if not _serve(node, link, data, now, source, id, body_at, flags != 0):
            return False
    else:
        made = node.calls.made.calls
        call = made.get(id)
        if call is None or call.target != source or link.replies.assemblies or node.switch.outgoing:
            return False
        del made[id]
        node.events.append(CallEnded(call.ref, data[body_at:], False, None))
    link.heard_at = now
    return True


def _serve(
    node: "Node", link: "Link", data: bytes, now: float, source: bytes, id: int, body_at: int, no_reply: bool
) -> bool:
    """Hand a call over to be served, as Calls.take_call() does."""
    served = node.calls.served
    inbox = link.inbox
    if len(data) < body_at + CALL_HEAD.size:
        return False
    left, head_size = CALL_HEAD.unpack_from(data, body_at)
    head_at = body_at + CALL_HEAD.size
    payload_at = head_at + head_size
    size = len(data) - body_at
    if not 0 < head_size <= HEAD_SIZE_MAX or payload_at > len(data) or inbox.held + size > inbox.quota:
        return False
    if link.outbox.flows_size or served.per_link.get(link.id, 0) >= SERVED_PER_LINK_MAX:
        return False
    if not served.add(InCall(source, id, link.id, size, no_reply)):
        return False
    inbox.held += size
    deadline = None if left == NO_DEADLINE else now + left / 1000.0
    node.events.append(CallArrived(source, id, data[head_at:payload_at], data[payload_at:], deadline, no_reply))
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
