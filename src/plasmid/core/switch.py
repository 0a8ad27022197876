"""The links of one context, and the way between them.

Routing is a prefix match: a target within this context goes down the child's link that its next step names, any other
goes up. There are no tables, announcements or leases. What is passed on is neither decoded nor copied.

Whoever can't be reached is answered for: a context lies below its parent, so the parent may speak in its name, and
the source check on the way lets it. A lost context is told of by LOST, to the links with which its link has exchanged
frames, and by each of those further on: who never spoke with it hears nothing. No I/O here.
"""

from plasmid.core import address, values
from plasmid.core.errors import CallError, NotSent, Overloaded
from plasmid.core.events import LinkEnded, LinkLeft, LinkOpened
from plasmid.core.flow import OUTBOX_SIZE_MAX, U64, Assembly, Outgoing
from plasmid.core.frames import CHUNK_SIZE, LANE_MASK, NO_REPLY, Frame, Kind, Lane, encode, encode_head
from plasmid.core.link import Link, LinkState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Sequence, Set, Tuple, Union

    Buffer = Union[bytes, bytearray, memoryview]
    FlowName = Tuple[bytes, int, int]

PARENT = 0  # the id of the link to the parent; those to children have their numbers
LOCAL = -1  # stands for no link: from this context to itself

_BODY_LANES = {Kind.CALL: Lane.CALL, Kind.REPLY: Lane.REPLY, Kind.ERROR: Lane.REPLY, Kind.PUT: Lane.ITEM}


class Switch:
    """The links of the context at `address`. Owned by its Node.

    dirty: ids of links with something to write since the runtime last looked. events: see events.py.
    """

    def __init__(self, address: bytes, facts: "Dict[str, Any]") -> None:
        self.address = address
        self.facts = facts
        self.links = {}  # type: Dict[int, Link]
        self.events = []  # type: List[Any]
        self.dirty = set()  # type: Set[int]
        self.outgoing = {}  # type: Dict[FlowName, Tuple[Outgoing, Link]]

    def add_link(self, id: int, now: float) -> Link:
        """Return the new link to the parent (PARENT) or to the child of that number, our hello queued on it."""
        peer = address.ROOT if id == PARENT else address.child(self.address, id)
        link = self.links[id] = Link(id, self.address, peer, now)
        link.say_hello(self.facts)
        self.dirty.add(id)
        return link

    def take_link_frame(self, link: Link, frame: Frame, now: float) -> None:
        """Take a frame that concerns the link alone."""
        before = link.state
        link.take(frame, now)
        if link.state is not before:
            if link.state is LinkState.OPEN:
                self.events.append(LinkOpened(link))
            elif link.state is LinkState.LEFT:
                self.events.append(LinkLeft(link))
        self.dirty.add(link.id)

    def remove_link(self, id: int, reason: str) -> "Optional[Link]":
        """Take the link out, and with it the long bodies that went out by it; None if it was out before."""
        link = self.links.pop(id, None)
        if link is None:
            return None
        link.state = LinkState.CLOSED
        self.events.append(LinkEnded(link, reason))
        self.drop_flows(lambda name, way: way is link)
        return link

    # -- sending

    def route(self, target: bytes) -> "Optional[Link]":
        """Return the link towards `target`; None if there is none, or it is this context."""
        if not target.startswith(self.address):
            return self.links.get(PARENT)
        if target == self.address:
            return None
        return self.links.get(address.number_below(self.address, target))

    def way_out(self, target: bytes) -> "Optional[Link]":
        """Return the link by which to send to `target`, None to stay here; NotSent or Overloaded if it can't be."""
        if target == self.address:
            return None
        link = self.route(target)
        if link is None:
            raise NotSent("", "", "no link leads to %s from %s" % (address.text(target), address.text(self.address)))
        if link.outbox.size > OUTBOX_SIZE_MAX:
            raise Overloaded("", "", "%d bytes wait to be sent on the link towards it" % link.outbox.size)
        return link

    def send(self, link: Link, kind: int, flags: int, id: int, target: bytes, parts: "Sequence[Buffer]") -> None:
        """Queue a frame of our own, as a flow of chunks if its body is long."""
        size = 0
        for part in parts:
            size += len(part)
        self.dirty.add(link.id)
        if size > CHUNK_SIZE:
            flow = Outgoing(kind, flags, id, self.address, target, parts, size)
            self.outgoing[target, flags & LANE_MASK, id] = flow, link
            link.outbox.push_flow(flow)
            return
        buffers = [encode_head(kind, flags, id, self.address, target, size)]  # type: List[Buffer]
        buffers += parts
        frame = b"".join(buffers)
        # A grant unblocks others and needs no order; everything else keeps its own.
        if kind == Kind.CREDIT:
            link.outbox.push_urgent(frame)
        else:
            link.outbox.push(frame)

    def refuse(self, link: Link, frame: Frame, error: CallError) -> None:
        """Answer a CALL or a PUT in the name of its target, which is this context or can't be reached below it."""
        if frame.kind == Kind.CALL and not frame.flags & NO_REPLY:
            self.send_error(link, error, frame.id, frame.target, frame.source, Lane.REPLY)
        elif frame.kind == Kind.PUT:
            self.send_error(link, error, frame.id, frame.target, frame.source, Lane.STREAM)

    def send_error(self, link: Link, error: CallError, id: int, source: bytes, target: bytes, lane: int) -> None:
        """Queue an ERROR of the protocol's own."""
        parts = values.encode([error.code, error.found, error.started, "", [], ""])
        link.outbox.push(encode(Kind.ERROR, lane, id, source, target, b"".join(parts)))
        self.dirty.add(link.id)

    def grant(self, link: Link, bodies: "List[Assembly]") -> None:
        """Send a CREDIT to the senders of these long bodies."""
        for body in bodies:
            first = body.first
            self.send(link, Kind.CREDIT, _BODY_LANES[first.kind], first.id, first.source, [U64.pack(body.granted)])

    def take_grant(self, name: "FlowName", credit: int) -> None:
        """Let a long body of ours go on."""
        flow, link = self.outgoing.get(name, (None, None))
        if flow is not None and link is not None:
            flow.grant(credit)
            link.outbox.push_flow(flow)
            self.dirty.add(link.id)

    def drop_flow(self, name: "FlowName") -> "Optional[Outgoing]":
        """Send no more of this long body of ours; return what there was of it."""
        flow, _ = self.outgoing.pop(name, (None, None))
        if flow is not None:
            flow.dead = True
        return flow

    def drop_flows(self, is_dropped: "Any") -> None:
        """Send no more of those for which is_dropped(name, link) holds."""
        for name, (_, link) in list(self.outgoing.items()):
            if is_dropped(name, link):
                self.drop_flow(name)

    # -- passing on

    def forward(self, link: Link, frame: Frame) -> "Optional[Link]":
        """Pass a frame on. Return the link that must be cut because it doesn't read the answers sent to it."""
        way = self.route(frame.target)
        if way is None or way is link:
            if frame.target.startswith(self.address):
                found = "there is no context %s below %s" % (address.text(frame.target), address.text(self.address))
                self.refuse(link, frame, NotSent("", "", found))
            return None
        # Both ways: who waits for an answer, and who is at work on one, want to hear of the other's loss.
        way.talkers.add(link.id)
        link.talkers.add(way.id)
        self.dirty.add(way.id)
        if way.outbox.relay(frame, link.id):
            return None
        if frame.kind not in (Kind.CALL, Kind.PUT):
            return way
        found = "the link from %s towards %s can't keep up" % (address.text(self.address), address.text(frame.target))
        self.refuse(link, frame, Overloaded("", "", found))
        return None

    def tell_lost(self, link: Link, gone: bytes, reason: str) -> None:
        """Tell those who spoke with `link` that the context `gone`, there or below, is lost."""
        body = reason.encode("utf-8", "replace")[:1024]
        for id in sorted(link.talkers):
            talker = self.links.get(id)
            if talker is not None and talker is not link:
                # In its turn behind what is queued: a reply that made it must not be overtaken by its sender's loss.
                talker.outbox.push(encode(Kind.LOST, 0, 0, gone, talker.peer, body))
                self.dirty.add(id)
