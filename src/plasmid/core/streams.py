"""Values that follow one another to a receiver, under credit.

    sender                                     receiver (number, token)
    PUT token value ─────────────────────────>            up to STREAM_WINDOW bytes of bodies unasked
                                       <────── CREDIT, lane STREAM, u64 granted: bytes from the stream's start
    CLOSE token ─────────────────────────────>            no more will be put
                                       <────── ERROR, lane STREAM: no more is taken

One stream is all that one context puts to one receiver; it arrives in order. Its bodies are counted whole. One too
large for the window may be put when all before it has been taken, and then crosses as any long body does. A
receiver admits whoever shows its token, which only its Sender carries. No I/O here.
"""

from plasmid.core import values
from plasmid.core.errors import CallError, FrameError, Overloaded, ProtocolError
from plasmid.core.events import ItemArrived, SourceClosed, StreamChanged
from plasmid.core.flow import U64, Assembly
from plasmid.core.frames import CHUNK_SIZE, MORE, Frame, Kind, Lane
from plasmid.core.link import Link
from plasmid.core.switch import LOCAL, Switch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Sequence, Tuple, Union

    Buffer = Union[bytes, bytearray, memoryview]

TOKEN_SIZE = 16

# What may be put before the receiver has taken anything.
STREAM_WINDOW = 4 * CHUNK_SIZE
_HALF = STREAM_WINDOW // 2

# How many contexts may put to one receiver.
SOURCES_MAX = 4096
ITEM_SIZE_MAX = 1 << 30


def admits(position: int, granted: int, size: int) -> bool:
    """Whether a body of `size` bytes may follow at `position`; both ends apply this rule.

    Grants come in steps of half a window, so when all has been taken at least that much is open: then a body of any
    size may follow, or one larger than what is open would wait for ever.
    """
    return position + size <= granted or (size > _HALF and position + _HALF <= granted)


class StreamOut:
    """What this context has put to one receiver."""

    __slots__ = "sent", "granted"

    def __init__(self) -> None:
        self.sent = 0
        self.granted = STREAM_WINDOW


class StreamIn:
    """What one context has put to a receiver of ours. `link` is the one it came by, which answers for its memory."""

    __slots__ = "link", "received", "taken", "granted"

    def __init__(self, link: int) -> None:
        self.link = link
        self.received = 0
        self.taken = 0
        self.granted = STREAM_WINDOW

    def take(self, size: int) -> bool:
        """Note that a body was taken from the queue; return whether a grant should be sent now."""
        self.taken += size
        granted = self.taken + STREAM_WINDOW
        # A grant for each value would double the frames; half a window keeps the sender busy.
        if granted - self.granted < _HALF:
            return False
        self.granted = granted
        return True


class ReceiverState:
    """One receiver of ours, as the protocol sees it. `ref` is the runtime's own handle."""

    __slots__ = "number", "token", "ref", "sources"

    def __init__(self, number: int, token: bytes, ref: "Any") -> None:
        self.number = number
        self.token = token
        self.ref = ref
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
        # Behind a long body that is still under way a short one would arrive first.
        if (target, Lane.ITEM, number) in self._switch.outgoing or not admits(stream.sent, stream.granted, size):
            return False
        self._out[target, number] = stream
        stream.sent += size
        body = [token]  # type: List[Buffer]
        body += parts
        if link is None:
            self._item(LOCAL, target, number, memoryview(b"".join(body)))
        else:
            self._switch.send(link, Kind.PUT, Lane.ITEM, number, target, body)
        return True

    def close(self, target: bytes, number: int, token: bytes) -> None:
        """Say that this context puts no more to that receiver."""
        self._out.pop((target, number), None)
        try:
            link = self._switch.way_out(target)
        except CallError:
            return  # whoever held the receiver has been told of the loss
        if link is None:
            self._source_closed(number, target, token)
        else:
            self._switch.send(link, Kind.CLOSE, 0, number, target, [token])

    def take(self, link: Link, frame: Frame) -> None:
        """Take a frame that concerns a stream: PUT, CLOSE, CREDIT or ERROR."""
        if frame.kind == Kind.PUT:
            self._take_put(link, frame)
        elif frame.kind == Kind.CLOSE:
            self._source_closed(frame.id, frame.source, bytes(frame.body))
        elif frame.kind == Kind.ERROR:
            self.end(frame.source, frame.id, _error_text(frame.body))
        elif len(frame.body) == U64.size:
            self.take_credit(frame.source, frame.id, U64.unpack(frame.body)[0])

    def take_credit(self, source: bytes, number: int, granted: int) -> None:
        """Take a grant for a stream of ours."""
        stream = self._out.get((source, number))
        if stream is not None and granted > stream.granted:
            stream.granted = granted
            self._switch.events.append(StreamChanged(source, number, ""))

    def end(self, target: bytes, number: int, reason: str) -> None:
        """End a stream of ours: its receiver takes no more, or is lost."""
        if self._out.pop((target, number), None) is not None:
            self._switch.events.append(StreamChanged(target, number, reason or "the receiver takes no more"))

    # -- receiving

    def open_receiver(self, number: int, token: bytes, ref: "Any") -> None:
        """Let holders of `token` put values to the receiver `number`."""
        assert number not in self.receivers and len(token) == TOKEN_SIZE
        self.receivers[number] = ReceiverState(number, token, ref)

    def close_receiver(self, number: int, reason: str) -> None:
        """Take no more values, and tell those who put some."""
        receiver = self.receivers.pop(number, None)
        for source, stream in receiver.sources.items() if receiver is not None else ():
            self._release(stream, stream.received - stream.taken)
            self._refuse(stream.link, source, number, reason)

    def taken(self, number: int, source: bytes, size: int) -> None:
        """Take note that an item of `size` bytes has left the queue of receiver `number`."""
        receiver = self.receivers.get(number)
        stream = receiver.sources.get(source) if receiver is not None else None
        if stream is None:
            return
        size += TOKEN_SIZE
        due = stream.take(size)
        self._release(stream, size)
        if due and stream.link == LOCAL:
            self.take_credit(source, number, stream.granted)
        elif due and stream.link in self._switch.links:
            link = self._switch.links[stream.link]
            self._switch.send(link, Kind.CREDIT, Lane.STREAM, number, source, [U64.pack(stream.granted)])

    def _take_put(self, link: Link, frame: Frame) -> None:
        """Take a PUT, or the beginning of a long one."""
        body = frame.body
        size = len(body)
        if frame.flags & MORE and size > U64.size:
            size = U64.unpack_from(body)[0]
        receiver = self.receivers.get(frame.id)
        stream = receiver.sources.get(frame.source) if receiver is not None else None
        if receiver is None or (stream is None and len(receiver.sources) >= SOURCES_MAX):
            self._refuse(link.id, frame.source, frame.id, "no receiver takes it there")
        elif stream is not None and not admits(stream.received, stream.granted, size):
            self._refuse(link.id, frame.source, frame.id, "more was put than its credit allows")
        elif frame.flags & MORE:
            # The token is looked at once the body is whole; till then the quota bounds what it holds.
            try:
                self._switch.grant(link, link.inbox.open(frame, Lane.ITEM, ITEM_SIZE_MAX))
            except FrameError as error:
                self._refuse(link.id, frame.source, frame.id, error.found)
        elif link.inbox.hold(size):
            self._item(link.id, frame.source, frame.id, body)
        else:
            self._refuse(link.id, frame.source, frame.id, "what came from that side fills %d bytes" % link.inbox.held)

    def take_whole(self, link: Link, body: Assembly, now: float) -> None:
        """Take a long PUT that is whole now."""
        self._item(link.id, body.first.source, body.first.id, memoryview(body.body))

    def body_broken(self, link: Link, frame: Frame, error: ProtocolError) -> None:
        """Give up a long PUT whose sender broke the rules."""
        self._refuse(link.id, frame.source, frame.id, error.found)

    def _item(self, via: int, source: bytes, number: int, body: memoryview) -> None:
        """Hand a whole item to its receiver, if it shows the token."""
        receiver = self.receivers.get(number)
        if receiver is None or body[:TOKEN_SIZE] != receiver.token:
            link = self._switch.links.get(via)
            if link is not None:
                self._switch.grant(link, link.inbox.release(len(body)))
            self._refuse(via, source, number, "no receiver takes it there")
            return
        stream = receiver.sources.get(source)
        if stream is None:
            stream = receiver.sources[source] = StreamIn(via)
        stream.received += len(body)
        self._switch.events.append(ItemArrived(receiver.ref, source, body[TOKEN_SIZE:]))

    def _source_closed(self, number: int, source: bytes, token: bytes) -> None:
        receiver = self.receivers.get(number)
        if receiver is not None and token == receiver.token:
            self._switch.events.append(SourceClosed(receiver.ref, source, ""))

    def _refuse(self, via: int, source: bytes, number: int, reason: str) -> None:
        """Tell a sender that no more is taken."""
        link = self._switch.links.get(via)
        if link is not None:
            self._switch.send_error(link, Overloaded("", "", reason), number, self._switch.address, source, Lane.STREAM)
        elif via == LOCAL:
            self.end(source, number, reason)

    def _release(self, stream: StreamIn, size: int) -> None:
        link = self._switch.links.get(stream.link)
        if link is not None:
            self._switch.grant(link, link.inbox.release(size))

    def lost(self, is_gone: "Callable[[bytes], bool]", reason: str) -> None:
        """End the streams from and to the contexts that are gone."""
        for target, number in [key for key in self._out if is_gone(key[0])]:
            self.end(target, number, reason)
        for receiver in self.receivers.values():
            for source in [source for source in receiver.sources if is_gone(source)]:
                stream = receiver.sources.pop(source)
                self._release(stream, stream.received - stream.taken)
                self._switch.events.append(SourceClosed(receiver.ref, source, reason))


def _error_text(body: memoryview) -> str:
    """Return the text of a protocol's own ERROR, whatever a peer may have made of it."""
    try:
        payload = values.unpack(body[4:])
    except ValueError:
        return ""
    text = payload[1] if isinstance(payload, list) and len(payload) > 1 else ""
    return text[:1024] if isinstance(text, str) else ""
