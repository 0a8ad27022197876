"""The links of one context, and the way between them.

Routing is a prefix match: a target within this context goes down the child's link that its next step names, any other
goes up. There are no tables, announcements or leases. What is passed on is neither decoded nor copied.

Whoever can't be reached is answered for: a context lies below its parent, so the parent may speak in its name, and
the source check on the way lets it. A lost context is told of by LOST, to the links with which its link has exchanged
frames, and by each of those further on: who never spoke with it hears nothing.

A link may only have so much waiting on another. Beyond it a CALL is answered with Overloaded. Anything else would be
missed for ever by one of its ends, so both are told that they have lost each other; no link is cut for what another
sends to it. No I/O here.
"""

from plasmid.core import address, values
from plasmid.core.errors import CallError, NotSent, Overloaded
from plasmid.core.events import LinkEnded, LinkLeft, LinkOpened
from plasmid.core.flow import OUTBOX_SIZE_MAX, OWN, REACTIONS, U64, Assembly
from plasmid.core.frames import CHUNK_SIZE, HEADER, MORE, NO_REPLY, Frame, Kind, Lane, encode
from plasmid.core.link import Link, LinkState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional, Sequence, Set, Tuple, Union

    from plasmid.core.bulk import Outgoing

    Buffer = Union[bytes, bytearray, memoryview]
    FlowName = Tuple[bytes, int, int]

PARENT = 0  # the id of the link to the parent; those to children have their numbers
LOCAL = -1  # stands for no link: from this context to itself

WAYS_MAX = 1024

# How much of what a peer made us say may wait for it to be read.
REACTIONS_SIZE_MAX = 4 * 1024 * 1024

_BODY_LANES = {Kind.CALL: Lane.CALL, Kind.REPLY: Lane.REPLY, Kind.ERROR: Lane.REPLY, Kind.PUT: Lane.ITEM}


class Switch:
    """The links of the context at `address`. Owned by its Node.

    dirty: ids of links with something to write since the runtime last looked. events: see events.py.
    """

    def __init__(self, address: bytes, facts: "Dict[str, Any]") -> None:
        self.address = address
        self.facts = facts
        self.links = {}  # type: Dict[int, Link]
        self.ways = {}  # type: Dict[bytes, Link]  # what route() found lately
        self.events = []  # type: List[Any]
        self.dirty = set()  # type: Set[int]
        self.relay = None  # type: Any  # core/relay.py, once there is a child
        self.outgoing = {}  # type: Dict[FlowName, Tuple[Outgoing, Link]]

    def add_link(self, id: int, now: float) -> Link:
        """Return the new link to the parent (PARENT) or to the child of that number, our hello queued on it."""
        peer = address.ROOT if id == PARENT else address.child(self.address, id)
        if id != PARENT and self.relay is None:
            # In memory by now, see router.py: nothing may wait for it here.
            from plasmid.core import relay

            self.relay = relay
        self.ways.clear()
        link = self.links[id] = Link(id, self.address, peer, now)
        link.say_hello(self.facts)
        self.dirty.add(id)
        return link

    def take_link_frame(self, link: Link, frame: Frame, now: float) -> None:
        """Take a frame that concerns the link alone."""
        before = link.state
        link.take(frame, now)
        kind = {LinkState.OPEN: LinkOpened, LinkState.LEFT: LinkLeft}.get(link.state)
        if kind is not None and link.state is not before:
            self.events.append(kind(link))
        self.dirty.add(link.id)

    def remove_link(self, id: int, reason: str) -> "Optional[Link]":
        """Take the link out; None if it was out before."""
        link = self.links.pop(id, None)
        if link is not None:
            self.ways.clear()
            link.state = LinkState.CLOSED
            self.events.append(LinkEnded(link, reason))
        return link

    # -- sending

    def route(self, target: bytes) -> "Optional[Link]":
        """Return the link towards `target`; None if there is none, or it is this context."""
        if target == self.address:
            return None
        below = target.startswith(self.address)
        link = self.links.get(address.number_below(self.address, target) if below else PARENT)
        # A child may name what targets it likes, so there is an end to what is kept.
        if link is not None and len(self.ways) < WAYS_MAX:
            self.ways[target] = link
        return link

    def way_out(self, target: bytes) -> "Optional[Link]":
        """Return the link by which to send to `target`, None to stay here; NotSent or Overloaded if it can't be."""
        if target == self.address:
            return None
        link = self.ways.get(target) or self.route(target)
        if link is None:
            raise NotSent("", "", "no link leads to %s from %s" % (address.text(target), address.text(self.address)))
        waiting = link.outbox.shares.get(OWN, 0)
        if waiting > OUTBOX_SIZE_MAX:
            raise Overloaded("", "", "%d bytes wait to be sent on the link towards it" % waiting)
        return link

    def send(self, link: Link, kind: int, flags: int, id: int, target: bytes, parts: "Sequence[Buffer]") -> None:
        """Queue a frame of our own, as a flow of chunks if its body is long."""
        size = sum(map(len, parts))
        self.dirty.add(link.id)
        if size > CHUNK_SIZE:
            # In memory by now: a far side has nothing long to say before it has what comes after its hello.
            from plasmid.core import bulk

            bulk.send(self, link, kind, flags, id, target, parts, size)
            return
        own = self.address
        head = HEADER.pack(size, kind, flags, len(own), len(target), id)
        frame = b"".join([head, own, target, *parts])
        outbox = link.outbox
        # A grant unblocks others and needs no order; everything else keeps its own.
        if kind == Kind.CREDIT:
            outbox.push_urgent(frame)
        else:
            outbox.push(frame)

    def refuse(self, link: Link, frame: Frame, error: CallError) -> None:
        """Answer a CALL or a PUT in the name of its target, which is this context or can't be reached below it."""
        # Nobody waits for an answer to a NO_REPLY, but for the credit of a long one its sender does.
        if frame.kind == Kind.CALL and (frame.flags & MORE or not frame.flags & NO_REPLY):
            self.send_error(link, error, frame.id, frame.target, frame.source, Lane.REPLY)
        elif frame.kind == Kind.PUT:
            self.send_error(link, error, frame.id, frame.target, frame.source, Lane.STREAM)

    def send_error(self, link: Link, error: CallError, id: int, source: bytes, target: bytes, lane: int) -> None:
        """Queue an ERROR of the protocol's own, unless the peer reads none of those it has."""
        if link.outbox.shares.get(REACTIONS, 0) <= REACTIONS_SIZE_MAX:
            parts = values.encode([error.code, error.found, error.started, "", [], ""])
            link.outbox.push(encode(Kind.ERROR, lane, id, source, target, b"".join(parts)), REACTIONS)
            self.dirty.add(link.id)

    def check_share(self, link: Link, frame: Frame) -> None:
        """Raise Overloaded if a long body must not be begun, since others below that child need the room, too."""
        if link.id != PARENT and self.relay is not None:
            self.relay.check_share(link, frame)

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
            flow.line_up(link.outbox)
            self.dirty.add(link.id)

    def drop_flow(self, name: "FlowName") -> "Optional[Outgoing]":
        """Send no more of this long body of ours; return what there was of it."""
        flow, link = self.outgoing.pop(name, (None, None))
        if flow is not None and link is not None:
            flow.credit = 0
            if name[1] == Lane.REPLY:
                link.outbox.flows_size -= flow.size
        return flow

    def drop_flows(self, is_gone: "Callable[[bytes], bool]") -> None:
        """Send no more of those whose target is gone."""
        for name in [name for name in self.outgoing if is_gone(name[0])]:
            self.drop_flow(name)

    # -- passing on

    def forward(self, link: Link, frame: Frame) -> None:
        """Pass a frame on. FrameError if its link floods another."""
        way = self.ways.get(frame.target) or self.route(frame.target)
        if way is None or way is link:
            if frame.target.startswith(self.address):
                found = "there is no context %s below %s" % (address.text(frame.target), address.text(self.address))
                self.refuse(link, frame, NotSent("", "", found))
            return
        self.relay.pass_on(self, way, link, frame)
