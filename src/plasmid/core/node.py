"""One context's whole protocol: frames in, frames and events out.

The runtime puts in what happens, each time with the hour (`now`, in seconds, of any steady clock):

    add_link  feed  wrote  link_closed  expire                from the links and the clock
    calls.call  calls.cancel  calls.answer  streams.put ...   from the threads of this context

and takes out what should be done: the bytes to write with next_buffers(), and the list `events`, in order.

Every frame that comes from a child's link has passed the source check of FrameDecoder before anything here sees it.
A broken header ends the link. A body that breaks the rules is refused to its sender and costs the link nothing: the
sender may be far below it, and its neighbours there have done no wrong. No I/O, clock or randomness.
"""

from plasmid.core import address as addresses
from plasmid.core.calls import Calls
from plasmid.core.errors import FrameError, Overloaded, ProtocolError
from plasmid.core.events import ContextGone, StreamChanged
from plasmid.core.flow import REACTIONS, U64
from plasmid.core.frames import CHUNK_SIZE, PAIR, ROUTED_MIN, Frame, Kind, Lane
from plasmid.core.link import Link, LinkState
from plasmid.core.switch import PARENT, REACTIONS_SIZE_MAX, Switch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional, Union

    from plasmid.core.streams import Streams

    Buffer = Union[bytes, bytearray, memoryview]

# How often links are looked at for silence.
TICK_S = 2.5


class Node:
    """The protocol of the context at `address`. Owned by the runtime's router lock.

    id_start: an unguessable number at which call ids begin. facts: what it says of itself in its hellos. tick_at: when
    links are looked at next, None while there are none.
    """

    def __init__(self, address: bytes, id_start: int, facts: "Optional[Dict[str, Any]]" = None) -> None:
        self.address = address
        self.switch = Switch(address, facts or {})
        self.calls = Calls(self.switch, id_start)
        self.streams = None  # type: Optional[Streams]
        self.events = self.switch.events
        self.dirty = self.switch.dirty
        self.links = self.switch.links
        self._children = 0
        self.tick_at = None  # type: Optional[float]

    def use_streams(self, make: "Callable[[Switch], Streams]") -> "Streams":
        """Return the receivers and streams of this context, from now on. Until then it has none, and refuses puts."""
        if self.streams is None:
            self.streams = make(self.switch)
        return self.streams

    def new_child_number(self) -> int:
        """Return a number for a child that is about to be started. None is ever given twice."""
        self._children += 1
        return self._children

    def add_link(self, id: int, now: float) -> Link:
        """Return the new link to the parent (PARENT) or to the child of that number, our hello queued on it."""
        if self.tick_at is None:
            self.tick_at = now + TICK_S
        return self.switch.add_link(id, now)

    def feed(self, id: int, data: bytes, now: float) -> None:
        """Take the bytes that came in by link `id`. Whatever is wrong with them ends that link and nothing else."""
        link = self.links.get(id)
        if link is None or link.state is LinkState.PARTED:
            return
        decoder = link.decoder
        decoder.feed(data)
        shares = link.outbox.shares
        try:
            if shares and id != PARENT and shares.get(REACTIONS, 0) > REACTIONS_SIZE_MAX:
                raise FrameError("it asks and reads no answers")
            while not decoder.is_empty and link.state is not LinkState.PARTED:
                frame = decoder.next_frame()
                if frame is None:
                    break
                self._take(link, frame, now)
        except FrameError as error:
            self.link_closed(id, "the peer broke the protocol: " + error.found, now)

    def next_buffers(self, id: int) -> "List[Buffer]":
        """Return the buffers to write next to link `id`, [] if none may be. What can't be written delays all else."""
        link = self.links.get(id)
        if link is None:
            return []
        outbox = link.outbox
        buffers = outbox.next_buffers((4 if link.is_blocked else 8) * CHUNK_SIZE)
        if not buffers and link.state is LinkState.PARTED:
            self.link_closed(id, link.farewell or "it said goodbye")
        while outbox.finished:
            target, lane, number = name = outbox.finished.pop().name
            self.switch.drop_flow(name)
            if lane == Lane.ITEM:
                # Values that had to wait for this long one may follow.
                self.events.append(StreamChanged(target, number, ""))
        return buffers

    def wrote(self, id: int, now: float, some: bool, blocked: bool) -> None:
        """Take note of an attempt to write to link `id`: whether some bytes went, and whether some had to stay."""
        link = self.links.get(id)
        if link is not None:
            link.wrote(now, some, blocked)

    def say_goodbye(self, id: int, reason: str) -> None:
        """End link `id` in order, after all that waits to be sent."""
        link = self.links.get(id)
        if link is not None:
            link.say_goodbye(reason)
            self.dirty.add(id)

    def link_closed(self, id: int, reason: str, now: float = 0.0) -> None:
        """Take note that link `id` is no more, and tell everyone who waits on it or below it."""
        link = self.switch.remove_link(id, reason)
        if link is None:
            return
        if not self.links:
            self.tick_at = None
        if id == PARENT:
            self._lost(lambda where: not where.startswith(self.address), "the parent was lost: " + reason)
        else:
            self._context_lost(link, link.peer, reason)

    def deadline(self) -> "Optional[float]":
        """Return when expire() must be called next, None for never."""
        tick = self.tick_at
        made = self.calls.made
        first = made.deadline() if made.deadlines else None
        if first is None:
            return tick
        return first if tick is None or first < tick else tick

    def expire(self, now: float) -> None:
        """Do what is due: end calls past their deadline, ask silent links for a sign of life, cut dead ones."""
        self.calls.expire(now)
        if self.tick_at is None or now < self.tick_at:
            return
        self.tick_at = now + TICK_S
        for link in list(self.links.values()):
            try:
                link.expire(now)
                if link.id != PARENT and self.switch.relay is not None:
                    self.switch.relay.expire(self, link)
                self.dirty.add(link.id)
            except FrameError as error:
                self.link_closed(link.id, error.found, now)

    def _take(self, link: Link, frame: Frame, now: float) -> None:
        """Take one frame: pass it on, or hand it to the part of the protocol that it concerns."""
        kind = frame.kind
        if kind < ROUTED_MIN:
            self.switch.take_link_frame(link, frame, now)
            return
        if link.state is LinkState.OPEN:
            link.heard_at = now
        else:
            link.take(frame, now)
        if kind == Kind.REPLY and frame.target == self.address:
            self.calls.take_answer(link, frame)
        elif kind == Kind.CALL and frame.target == self.address:
            self.calls.take_call(link, frame, now)
        elif kind == Kind.LOST and not frame.flags & PAIR:
            # Those above us can't be told of here: the link to them tells by itself.
            if not self.address.startswith(frame.source):
                self._context_lost(link, frame.source, frame.reason)
        elif frame.target != self.address:
            self.switch.forward(link, frame)
        elif kind == Kind.LOST:
            found = "%s was lost: %s" % (addresses.text(frame.source), frame.reason)
            self._lost(lambda where: where == frame.source, found, False)
        elif kind == Kind.ERROR and frame.lane != Lane.STREAM:
            self.calls.take_answer(link, frame)
        elif kind == Kind.CANCEL:
            self.calls.take_cancel(link, frame)
        elif kind == Kind.DATA:
            self._take_data(link, frame, now)
        elif kind == Kind.CREDIT and frame.id == 0 and link.rooms:
            link.rooms.take(frame)
        elif kind == Kind.CREDIT and frame.lane != Lane.STREAM:
            if len(frame.body) == U64.size:
                self.switch.take_grant((frame.source, frame.lane, frame.id), U64.unpack(frame.body)[0])
        elif self.streams is not None:
            self.streams.take(link, frame)
        else:
            self.switch.refuse(link, frame, Overloaded("", "", "no receiver takes it there"))

    def _take_data(self, link: Link, frame: Frame, now: float) -> None:
        part = self.streams if frame.lane == Lane.ITEM and self.streams is not None else self.calls
        inbox = link.replies if frame.lane == Lane.REPLY else link.inbox
        try:
            body = inbox.data(frame)
        except ProtocolError as error:
            self.switch.grant(link, inbox.drop([(frame.source, frame.target, frame.id, frame.lane)]))
            part.body_broken(link, frame, error)
            return
        if body is None:
            return
        if len(body.body) == body.total:
            part.take_whole(link, body, now)
        else:
            self.switch.grant(link, inbox.extend(body))

    def _context_lost(self, via: Link, gone: bytes, reason: str) -> None:
        """End here what waits on the context at `gone` or below it, and tell those who spoke with it."""
        self.events.append(ContextGone(gone, reason))
        self._lost(lambda where: where.startswith(gone), "%s was lost: %s" % (addresses.text(gone), reason))
        if via.talkers:
            self.switch.relay.tell_lost(self.switch, via, gone, reason)

    def _lost(self, is_gone: "Callable[[bytes], bool]", found: str, for_good: bool = True) -> None:
        """End what goes on with these contexts. for_good: no more can come from them."""
        self.calls.lost(is_gone, found, for_good)
        if self.streams is not None:
            self.streams.lost(is_gone, found, for_good)
        self.switch.drop_flows(is_gone)
        for link in self.links.values():
            for inbox in link.inbox, link.replies:
                self.switch.grant(link, inbox.drop([key for key in inbox.assemblies if is_gone(key[0])]))
