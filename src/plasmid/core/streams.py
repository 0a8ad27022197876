"""Values that follow one another to a receiver, under credit.

    sender                                     receiver (number, token)
    PUT token value ─────────────────────────>            up to STREAM_WINDOW bytes of bodies unasked
                                       <────── CREDIT, lane STREAM, u64 granted: bytes from the stream's start
    CLOSE token ─────────────────────────────>            no more will be put
                                       <────── ERROR, lane STREAM: no more is taken

One stream is all that one context puts to one receiver; it arrives in order. Its bodies are counted whole. One too
large for the window may be put when all before it has been taken, and then crosses as any long body does. A
receiver that grants more than the usual window may have kept room for that, and says so then: a body within what was
granted needs no credit as a long one, and is never refused for want of room. A receiver
admits whoever shows its token, which only its Sender carries. A stream of which something had to be refused
is broken for good, at both ends: what follows would leave a gap.

    state   PUT      CLOSE   refused  LOST
    OPEN    OPEN     CLOSED  BROKEN   forgotten, and told of
    CLOSED  OPEN     CLOSED  BROKEN   forgotten
    BROKEN  refused  BROKEN  BROKEN   forgotten

A LOST of the pair alone breaks a stream instead, since its source lives. Every change of state is told to the
receiver's owner, but for one to OPEN. CLOSED opens again, since a context may
hold several Senders and close each. No I/O here.
"""

from struct import Struct

from plasmid.core import values
from plasmid.core.bulk import neighbour
from plasmid.core.errors import CallError, Overloaded, ProtocolError
from plasmid.core.events import ItemArrived, SourceClosed, StreamChanged
from plasmid.core.flow import U64, Assembly
from plasmid.core.frames import CHUNK_SIZE, MORE, Frame, Kind, Lane, encode
from plasmid.core.link import Link
from plasmid.core.switch import LOCAL, Switch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple, Union

    from plasmid.core.bulk import Outgoing
    from plasmid.core.flow import Inbox
    from plasmid.core.values import Payload

    Buffer = Union[bytes, bytearray, memoryview]

TOKEN_SIZE = 16

# What may be put before the receiver has taken anything.
STREAM_WINDOW = 4 * CHUNK_SIZE
_HALF = STREAM_WINDOW // 2
# A grant for which room is kept: the grant, and how large the window is.
KEPT = Struct(">QQ")

# How many contexts may put to one receiver.
SOURCES_MAX = 4096
ITEM_SIZE_MAX = 1 << 30
# Of an ERROR that ends a stream, only as much is decoded as one of the protocol's own takes.
ERROR_LIMITS = values.Limits(4096, 64, 4)


def admits(position: int, granted: int, size: int) -> bool:
    """Whether a body of `size` bytes may follow at `position`; both ends apply this rule.

    Grants come in steps of half a window, so when all has been taken at least that much is open: then a body of any
    size may follow, or one larger than what is open would wait for ever.
    """
    return position + size <= granted or (size > _HALF and position + _HALF <= granted)


class StreamOut:
    """What this context has put to one receiver.

    window: what that has kept room for, 0 if it hasn't. was_closed: it keeps none any more. last: the long body that
    was on its way when it was closed first, for which it may have, ahead of the CLOSE.
    """

    __slots__ = "sent", "granted", "window", "was_closed", "last"

    def __init__(self) -> None:
        self.sent = 0
        self.granted = STREAM_WINDOW
        self.window = 0
        self.was_closed = False
        self.last = None  # type: Optional[Outgoing]

    def admits(self, size: int) -> bool:
        """Whether a body of that size may follow."""
        if size <= self.window // 2:
            return self.sent + size <= self.granted
        return admits(self.sent, self.granted, size)


class StreamState:
    """Where a stream that comes in is in its life."""

    OPEN = "open"  # values may come
    CLOSED = "closed"  # its sender was closed in order
    BROKEN = "broken"  # a part of it was refused


class StreamIn:
    """What one context has put to a receiver of ours. `link` is the one it came by, which answers for its memory.

    is_kept: all that was granted and not taken yet is on the books of that link, whether it has come or not.
    """

    __slots__ = "link", "window", "is_kept", "state", "received", "taken", "granted"

    def __init__(self, link: int, window: int = STREAM_WINDOW) -> None:
        self.link = link
        self.window = window
        self.is_kept = False
        self.state = StreamState.OPEN
        self.received = 0
        self.taken = 0
        self.granted = STREAM_WINDOW

    def take(self, size: int) -> bool:
        """Note that a body was taken from the queue; return whether a grant should be sent now."""
        self.taken += size
        granted = self.taken + self.window
        # A grant for each value would double the frames; half a window keeps the sender busy.
        if granted - self.granted < self.window // 2:
            return False
        self.granted = granted
        return True

    @property
    def booked(self) -> int:
        """Up to where this stream is on the books if room is kept for it: a body may reach beyond what was granted."""
        return max(self.granted, self.received)

    def beyond(self, size: int) -> int:
        """How many bytes of a body that comes next no room was kept for."""
        return max(0, self.received + size - self.booked) if self.is_kept else size


class ReceiverState:
    """One receiver of ours, as the protocol sees it. `ref` is the runtime's own handle.

    window: how much credit each source has open at most, once something of it was taken; STREAM_WINDOW, or more than
    that. Then no value may be larger than half of it, and room is kept if no relay is between and the link has some.
    """

    __slots__ = "number", "token", "ref", "window", "item_size_max", "sources"

    def __init__(self, number: int, token: bytes, ref: "Any", window: int, item_size_max: int) -> None:
        self.number = number
        self.token = token
        self.ref = ref
        self.window, self.item_size_max = window, item_size_max
        self.sources = {}  # type: Dict[bytes, StreamIn]


class Streams:
    """The receivers of the context of `switch`, and its streams to the receivers of others. Owned by its Node."""

    def __init__(self, switch: Switch) -> None:
        self.receivers = {}  # type: Dict[int, ReceiverState]
        self._out = {}  # type: Dict[Tuple[bytes, int], StreamOut]
        self._switch = switch

    # -- putting

    def put(self, target: bytes, number: int, token: bytes, parts: "Sequence[Buffer]") -> bool:
        """Put an encoded value to a receiver. False, and nothing is sent, while its credit doesn't allow it.

        StreamChanged says when it is worth another try. Raises NotSent or Overloaded as a call does.
        """
        link = self._switch.way_out(target)
        stream = self._out.get((target, number)) or StreamOut()
        size = TOKEN_SIZE
        for part in parts:
            size += len(part)
        name = target, Lane.ITEM, number
        # Behind a long body that is still under way a short one would arrive first.
        if name in self._switch.outgoing or not stream.admits(size):
            return False
        self._out[target, number] = stream
        stream.sent += size
        body = [token]  # type: List[Buffer]
        body += parts
        if link is None:
            self._put_here(target, number, token, b"".join(body))
        else:
            self._switch.send(link, Kind.PUT, Lane.ITEM, number, target, body)
            if stream.window and stream.sent <= stream.granted:
                self._switch.take_grant(name, size)
        return True

    def close(self, target: bytes, number: int, token: bytes) -> None:
        """Say that this context puts no more to that receiver, for now: its books stay, at both ends."""
        try:
            link = self._switch.way_out(target)
        except CallError:
            return  # whoever held the receiver has been told of the loss
        if link is None:
            self._source_closed(LOCAL, target, number, token)
            return
        stream = self._out.get((target, number))
        flow, _ = self._switch.outgoing.get((target, Lane.ITEM, number), (None, None))
        if stream is not None and not stream.was_closed:
            stream.window, stream.was_closed, stream.last = 0, True, flow
        # On the lane of the items: no hop may let it overtake a long one.
        frame = encode(Kind.CLOSE, Lane.ITEM, number, self._switch.address, target, token)
        if flow is not None:
            flow.after = frame
        else:
            link.outbox.push(frame)
            self._switch.dirty.add(link.id)

    def take(self, link: Link, frame: Frame) -> None:
        """Take a frame that concerns a stream: PUT, CLOSE, CREDIT or ERROR."""
        if frame.kind == Kind.PUT:
            self._take_put(link, frame)
        elif frame.kind == Kind.CLOSE:
            self._source_closed(link.id, frame.source, frame.id, frame.body)
        elif (frame.source, frame.id) not in self._out:
            return
        elif frame.kind == Kind.ERROR:
            self.end(frame.source, frame.id, _error_text(frame.body))
        elif len(frame.body) in (U64.size, KEPT.size):
            self.take_credit(frame.source, frame.id, *KEPT.unpack(bytes(frame.body).ljust(KEPT.size, b"\0")))

    def take_credit(self, source: bytes, number: int, granted: int, window: int = 0) -> None:
        """Take a grant for a stream of ours. window: what room was kept for, 0 for none."""
        stream = self._out.get((source, number))
        if stream is not None and granted > stream.granted:
            stream.granted = granted
            name = source, Lane.ITEM, number
            flow, _ = self._switch.outgoing.get(name, (None, None))
            if window and stream.sent <= granted and (not stream.was_closed or flow is stream.last):
                self._switch.take_grant(name, ITEM_SIZE_MAX)
            stream.window = 0 if stream.was_closed else window
            self._switch.events.append(StreamChanged(source, number, ""))

    def end(self, target: bytes, number: int, reason: str) -> None:
        """End a stream of ours: its receiver takes no more, or is lost."""
        if self._out.pop((target, number), None) is not None:
            self._switch.drop_flow((target, Lane.ITEM, number))
            self._switch.events.append(StreamChanged(target, number, reason))

    # -- receiving

    def open_receiver(
        self, number: int, token: bytes, ref: "Any", window: int = STREAM_WINDOW, item_size_max: int = ITEM_SIZE_MAX
    ) -> None:
        """Let holders of `token` put values to the receiver `number`."""
        assert number not in self.receivers and len(token) == TOKEN_SIZE
        assert window == STREAM_WINDOW or window >= max(STREAM_WINDOW, 2 * item_size_max)
        self.receivers[number] = ReceiverState(number, token, ref, window, item_size_max)

    def close_receiver(self, number: int, reason: str) -> None:
        """Take no more values, and tell those who put some."""
        receiver = self.receivers.pop(number, None)
        for source, stream in receiver.sources.items() if receiver is not None else ():
            self._release(stream, source, number)
            self._refuse(stream.link, source, number, reason)

    def taken(self, number: int, source: bytes, size: int) -> None:
        """Take note that an item of `size` bytes has left the queue of receiver `number`."""
        receiver = self.receivers.get(number)
        stream = receiver.sources.get(source) if receiver is not None else None
        if stream is None:
            return
        size += TOKEN_SIZE
        link = self._switch.links.get(stream.link)
        if link is None:
            if stream.take(size):
                self.take_credit(source, number, stream.granted)
            return
        inbox = link.inbox
        self._switch.grant(link, inbox.release(size))
        before = stream.booked
        if not stream.take(size):
            return
        held = inbox.held - sum(inbox.kept.values())
        fits = stream.window > STREAM_WINDOW and 2 * (held + stream.window) <= inbox.quota
        # A relay would have to hold what is on its way, and keeps no room for it. Only with a grant, which says so.
        if not stream.is_kept and fits and source == neighbour(self._switch, link):
            stream.is_kept = True
            before = stream.received
        grant = U64.pack(stream.granted)
        if stream.is_kept:
            inbox.held += stream.booked - before
            self._let_in(inbox, stream, source, number)
            grant = KEPT.pack(stream.granted, stream.window)
        self._switch.send(link, Kind.CREDIT, Lane.STREAM, number, source, [grant])

    def _let_in(self, inbox: "Inbox", stream: StreamIn, source: bytes, number: int) -> bool:
        """Let the long item that has begun to come have all of its credit, if room was kept for it.

        It stays on the books besides until it's whole.
        """
        body = inbox.assemblies.get((source, self._switch.address, number, Lane.ITEM))
        if body is None or stream.beyond(body.total):
            return False
        if body in inbox.waiting:
            inbox.waiting.remove(body)
            inbox.held += body.total
        body.granted = body.total
        return True

    def _stream(self, via: int, source: bytes, number: int, token: "Buffer") -> "Tuple[ReceiverState, StreamIn]":
        """Return our receiver `number`, and what `source` puts to it; Overloaded unless it shows the token."""
        receiver = self.receivers.get(number)
        if receiver is None or token != receiver.token:
            raise Overloaded("", "", "no receiver takes it there")
        stream = receiver.sources.get(source)
        if stream is None:
            if len(receiver.sources) >= SOURCES_MAX:
                raise Overloaded("", "", "%d contexts put to that receiver, and no more may" % SOURCES_MAX)
            stream = receiver.sources[source] = StreamIn(via, receiver.window)
        return receiver, stream

    def _take_put(self, link: Link, frame: Frame) -> None:
        """Take a PUT, or the beginning of a long one."""
        body = frame.body
        more = frame.flags & MORE
        start = U64.size if more else 0
        try:
            receiver, stream = self._stream(link.id, frame.source, frame.id, body[start : start + TOKEN_SIZE])
        except Overloaded as error:
            self._refuse(link.id, frame.source, frame.id, error.found)
            return
        size = U64.unpack_from(body)[0] if more else len(body)
        try:
            if stream.state is StreamState.BROKEN or not admits(stream.received, stream.granted, size):
                raise ProtocolError("", "", "more was put than its credit allows")
            beyond = stream.beyond(size)
            if more:
                self._switch.check_share(link, frame)
                bodies = link.inbox.open(frame, Lane.ITEM, receiver.item_size_max, not beyond)
                if not self._let_in(link.inbox, stream, frame.source, frame.id):
                    self._switch.grant(link, bodies)
            else:
                if beyond:
                    link.inbox.hold(beyond)
                self._item(receiver, stream, frame.source, body)
        except CallError as error:
            self.body_broken(link, frame, error)

    def _put_here(self, own: bytes, number: int, token: bytes, body: bytes) -> None:
        """Put to a receiver of this context itself."""
        try:
            receiver, stream = self._stream(LOCAL, own, number, token)
        except Overloaded as error:
            self.end(own, number, error.found)
            return
        self._item(receiver, stream, own, memoryview(body))

    def take_whole(self, link: Link, body: Assembly, now: float) -> None:
        """Take a long PUT that is whole now."""
        # Both are there: a receiver that closes, and a source that is lost, drop what was on its way.
        receiver = self.receivers[body.first.id]
        source = body.first.source
        stream = receiver.sources[source]
        self._switch.grant(link, link.inbox.release(body.total - stream.beyond(body.total)))
        self._item(receiver, stream, source, body.body)

    def body_broken(self, link: Link, frame: Frame, error: CallError) -> None:
        """Break the stream that the frame is part of, and tell both its ends."""
        receiver = self.receivers[frame.id]
        stream = receiver.sources[frame.source]
        if stream.state is not StreamState.BROKEN:
            stream.state = StreamState.BROKEN
            dropped = link.inbox.drop([(frame.source, frame.target, frame.id, Lane.ITEM)])
            self._switch.grant(link, dropped + link.inbox.release(_kept(stream)))
            self._switch.events.append(SourceClosed(receiver.ref, frame.source, error.found))
        self._refuse(link.id, frame.source, frame.id, error.found)

    def _item(self, receiver: ReceiverState, stream: StreamIn, source: bytes, body: "Payload") -> None:
        """Hand a whole item to its receiver."""
        stream.state = StreamState.OPEN
        stream.received += len(body)
        self._switch.events.append(ItemArrived(receiver.ref, source, body[TOKEN_SIZE:]))

    def _source_closed(self, via: int, source: bytes, number: int, token: "Buffer") -> None:
        try:
            receiver, stream = self._stream(via, source, number, token)
        except Overloaded:
            return
        link = self._switch.links.get(via)
        if link is not None:
            # What follows, if anything does, is as any other stream.
            self._switch.grant(link, link.inbox.release(_kept(stream)))
            stream.window = STREAM_WINDOW
        if stream.state is StreamState.OPEN:
            stream.state = StreamState.CLOSED
            self._switch.events.append(SourceClosed(receiver.ref, source, ""))

    def _refuse(self, via: int, source: bytes, number: int, reason: str) -> None:
        """Tell a sender that no more is taken."""
        link = self._switch.links.get(via)
        if link is not None:
            self._switch.send_error(link, Overloaded("", "", reason), number, self._switch.address, source, Lane.STREAM)
        elif via == LOCAL:
            self.end(source, number, reason)

    def _release(self, stream: StreamIn, source: bytes, number: int) -> None:
        """Take all that a stream makes us hold off the books of its link."""
        link = self._switch.links.get(stream.link)
        if link is not None:
            key = source, self._switch.address, number, Lane.ITEM
            size = _kept(stream) + stream.received - stream.taken
            self._switch.grant(link, link.inbox.drop([key]) + link.inbox.release(size))

    def lost(self, is_gone: "Callable[[bytes], bool]", reason: str, for_good: bool) -> None:
        """End the streams from and to the contexts that are gone. Not `for_good`: more may come, after a gap."""
        for target, number in [key for key in self._out if is_gone(key[0])]:
            self.end(target, number, reason)
        for receiver in self.receivers.values():
            for source in [source for source in receiver.sources if is_gone(source)]:
                stream = receiver.sources[source]
                was_open = stream.state is StreamState.OPEN
                stream.state = StreamState.BROKEN
                if for_good:
                    del receiver.sources[source]
                    self._release(stream, source, receiver.number)
                if was_open:
                    self._switch.events.append(SourceClosed(receiver.ref, source, reason))


def _kept(stream: StreamIn) -> int:
    """Return for how many bytes that haven't come room was kept; from now on none is."""
    if not stream.is_kept:
        return 0
    stream.is_kept = False
    return stream.booked - stream.received


def _error_text(body: memoryview) -> str:
    """Return the text of a protocol's own ERROR, whatever a peer may have made of it."""
    try:
        text = values.unpack(body[4:], ERROR_LIMITS)[1]
    except (ValueError, TypeError, LookupError):
        text = None
    return text[:1024] if isinstance(text, str) and text else "the receiver takes no more"
