"""How bodies cross a link: cut into chunks, interleaved fairly, under credit.

A body up to one chunk is one frame. A longer one begins with a frame that announces its size and goes on in DATA
frames, as far as its final receiver has granted credit:

    sender                                     receiver
    CALL|MORE, u64 total, first chunk ───────>
    DATA|MORE ... up to CREDIT_INITIAL ──────>
                                       <────── CREDIT u64 granted: bytes from the body's start
    DATA ... the last without MORE ──────────>

Credit is absolute, so a repeated or reordered grant changes nothing. Outgoing and Outbox send, Assembly and Inbox
receive. No I/O here.
"""

from struct import Struct

from plasmid.core.errors import FrameError
from plasmid.core.frames import CHUNK_SIZE, MORE, Frame, Kind, encode_head

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import deque
    from typing import Deque, Dict, Iterable, List, Optional, Sequence, Tuple, Union

    Buffer = Union[bytes, bytearray, memoryview]
    FlowKey = Tuple[bytes, bytes, int, int]
else:
    from _collections import deque  # what `collections` gives, without the milliseconds of importing the rest of it

U64 = Struct(">Q")

# What a sender may send of a body before its receiver has said anything: enough that most bodies wait for nobody.
CREDIT_INITIAL = 4 * CHUNK_SIZE

# How far a receiver lets a body run ahead of what has arrived. It bounds what a relay holds of one flow, and at
# 50 ms of round trip still carries 80 MB/s.
CREDIT_WINDOW = 4 * 1024 * 1024

# What one link may make us hold: bodies being put together, and those that wait to be served.
RECEIVE_QUOTA = 64 * 1024 * 1024
ASSEMBLIES_MAX = 256

# What may wait to be written to one link; half of it for what any one other link sends there.
OUTBOX_SIZE_MAX = 64 * 1024 * 1024


class Outgoing:
    """One long body on its way out. Its parts are never copied, so they must not change until it is `done`."""

    __slots__ = "kind", "flags", "id", "source", "target", "size", "sent", "credit", "dead", "queued", "_parts", "_at"

    def __init__(
        self, kind: int, flags: int, id: int, source: bytes, target: bytes, parts: "Sequence[Buffer]", size: int
    ) -> None:
        self.kind = kind
        self.flags = flags
        self.id = id
        self.source = source
        self.target = target
        self.size = size
        self.sent = 0
        self.credit = CREDIT_INITIAL
        self.dead = False
        self.queued = False
        self._parts = [memoryview(part) for part in parts]
        self._at = 0

    @property
    def done(self) -> bool:
        """Whether every byte has been handed to the link, or nobody wants it any more."""
        return self.dead or self.sent == self.size

    @property
    def ready(self) -> bool:
        """Whether credit allows a chunk now."""
        return not self.done and self.sent < self.credit

    def grant(self, credit: int) -> None:
        """Take a grant. A smaller one than before is an old one; one past the end says nothing more than the end."""
        self.credit = max(self.credit, min(credit, self.size))

    def next_chunk(self) -> "List[Buffer]":
        """Return the buffers of the next frame. Only when `ready`."""
        first = self.sent == 0
        size = min(CHUNK_SIZE, self.size - self.sent, self.credit - self.sent)
        buffers = self._take(size)
        self.sent += size
        more = MORE if self.sent < self.size else 0
        if first:
            head = encode_head(self.kind, self.flags | more, self.id, self.source, self.target, size + U64.size)
            return [head + U64.pack(self.size)] + buffers
        return [encode_head(Kind.DATA, self.flags | more, self.id, self.source, self.target, size)] + buffers

    def _take(self, size: int) -> "List[Buffer]":
        """Return the next `size` bytes as slices of the parts."""
        taken = []  # type: List[Buffer]
        while size:
            part = self._parts[0]
            piece = part[self._at : self._at + size]
            taken.append(piece)
            size -= len(piece)
            self._at += len(piece)
            if self._at == len(part):
                del self._parts[0]
                self._at = 0
        return taken


class _Relayed:
    """The frames of one long body that is passed on: they take turns with other flows, as if it began here."""

    __slots__ = "frames", "key"

    def __init__(self, key: "FlowKey") -> None:
        self.key = key
        self.frames = deque()  # type: Deque[Tuple[bytes, int]]


class Outbox:
    """What waits to be written to one link, in a fair order.

    Urgent frames first; then each flow in turn gives one frame. Frames of one flow keep their order, and so do all
    single frames among themselves.
    """

    def __init__(self) -> None:
        self.size = 0  # bytes of whole frames held; bodies in Outgoing belong to their callers
        self.shares = {}  # type: Dict[int, int]
        self.finished = []  # type: List[Outgoing]  # those that have been handed out whole
        self._urgent = deque()  # type: Deque[bytes]
        self._ring = deque()  # type: Deque[Union[bytes, Tuple[bytes, int], Outgoing, _Relayed]]
        self._relayed = {}  # type: Dict[FlowKey, _Relayed]

    def __bool__(self) -> bool:
        return bool(self._ring or self._urgent)

    def push(self, frame: bytes) -> None:
        """Queue one whole frame of our own."""
        self.size += len(frame)
        self._ring.append(frame)

    def push_urgent(self, frame: bytes) -> None:
        """Queue a small frame ahead of all others."""
        self.size += len(frame)
        self._urgent.append(frame)

    def push_flow(self, flow: Outgoing) -> None:
        """Queue a long body, or queue it again when it has got credit."""
        if flow.ready and not flow.queued:
            flow.queued = True
            self._ring.append(flow)

    def relay(self, frame: Frame, origin: int) -> bool:
        """Queue a frame that came by link `origin`. False, and nothing is queued, where its share is used up."""
        size = len(frame.raw)
        share = self.shares.get(origin, 0) + size
        # Requests stop at the limit. What ends a request may use as much again, so that a full queue of requests
        # can't make their answers vanish; beyond that the link's owner isn't reading, and the caller cuts it.
        limit = OUTBOX_SIZE_MAX // 2 if frame.kind in (Kind.CALL, Kind.PUT) else OUTBOX_SIZE_MAX
        if share > limit:
            return False
        self.shares[origin] = share
        self.size += size
        if frame.kind != Kind.DATA and not frame.flags & MORE:
            self._ring.append((frame.raw, origin))
            return True
        key = (frame.source, frame.target, frame.id, frame.lane)
        flow = self._relayed.get(key)
        if flow is None:
            flow = self._relayed[key] = _Relayed(key)
            self._ring.append(flow)
        flow.frames.append((frame.raw, origin))
        return True

    def next_buffers(self, size_max: int) -> "List[Buffer]":
        """Return buffers to write in this order, about `size_max` bytes of them, [] when nothing may be sent."""
        buffers = []  # type: List[Buffer]
        size = 0
        while size < size_max and len(buffers) < 64:
            frame = self._next_frame()
            if not frame:
                break
            for buffer in frame:
                size += len(buffer)
            buffers += frame
        return buffers

    def _next_frame(self) -> "List[Buffer]":
        if self._urgent:
            urgent = self._urgent.popleft()
            self.size -= len(urgent)
            return [urgent]
        while self._ring:
            entry = self._ring.popleft()
            if isinstance(entry, bytes):
                self.size -= len(entry)
                return [entry]
            if isinstance(entry, tuple):
                return [self._release(entry)]
            if isinstance(entry, Outgoing):
                entry.queued = False
                if entry.ready:
                    chunk = entry.next_chunk()
                    if entry.done:
                        self.finished.append(entry)
                    else:
                        self.push_flow(entry)
                    return chunk
            else:
                raw = self._release(entry.frames.popleft())
                if entry.frames:
                    self._ring.append(entry)
                else:
                    del self._relayed[entry.key]
                return [raw]
        return []

    def _release(self, entry: "Tuple[bytes, int]") -> bytes:
        """Take a relayed frame off the books."""
        raw, origin = entry
        self.size -= len(raw)
        left = self.shares[origin] - len(raw)
        if left:
            self.shares[origin] = left
        else:
            del self.shares[origin]
        return raw


class Assembly:
    """One long body on its way in, with the first frame's facts."""

    __slots__ = "first", "body", "received", "granted", "total"

    def __init__(self, first: Frame, total: int) -> None:
        self.first = first
        self.total = total
        # Zeroed pages cost nothing until they're written, so a large announcement alone takes no memory.
        self.body = bytearray(total)
        self.received = 0
        self.granted = min(total, CREDIT_INITIAL)

    def add(self, data: memoryview, more: bool) -> bool:
        """Add a piece; return whether the body is whole. FrameError if it breaks what was announced or granted."""
        end = self.received + len(data)
        if end > self.granted:
            raise FrameError("a body went %d bytes beyond its credit of %d" % (end - self.granted, self.granted))
        if more != (end < self.total) or not data:
            raise FrameError("a body of %d bytes ended, or went on, at %d" % (self.total, end))
        self.body[self.received : end] = data
        self.received = end
        return not more


class Inbox:
    """The long bodies that come in by one link, and what all that came by it makes us hold.

    `held` counts whole bodies from their announcement, so that what has been promised always fits.
    """

    def __init__(self, quota: int = RECEIVE_QUOTA) -> None:
        self.quota = quota
        self.held = 0
        self.assemblies = {}  # type: Dict[FlowKey, Assembly]
        self._waiting = deque()  # type: Deque[Assembly]

    @staticmethod
    def key(frame: Frame, lane: int) -> "FlowKey":
        """Return what names the flow that `frame` is part of."""
        return frame.source, frame.target, frame.id, lane

    def hold(self, size: int) -> bool:
        """Enter `size` bytes of a short body in the books until release(); False if there is no room."""
        if self.held + size > self.quota:
            return False
        self.held += size
        return True

    def open(self, frame: Frame, lane: int, size_max: int) -> "List[Assembly]":
        """Begin a body with its first frame; return whom to send a CREDIT.

        Raises FrameError if it can't be: too large, too many at once, or broken.
        """
        key = self.key(frame, lane)
        body = frame.body
        if len(body) <= U64.size:
            raise FrameError("a first frame without a body's size or its beginning")
        total = U64.unpack_from(body)[0]
        if total > size_max:
            raise FrameError("a body of %d bytes was announced; the limit is %d" % (total, size_max))
        if key in self.assemblies or len(self.assemblies) >= ASSEMBLIES_MAX:
            raise FrameError("more than %d long bodies at once, or one begun twice" % ASSEMBLIES_MAX)
        assembly = Assembly(frame, total)
        assembly.add(body[U64.size :], True)
        self.assemblies[key] = assembly
        if self._waiting or (self.held and self.held + total > self.quota):
            self._waiting.append(assembly)
            return []
        self.held += total
        return self._extend(assembly)

    def data(self, frame: Frame) -> "Tuple[Optional[Assembly], List[Assembly]]":
        """Add a DATA frame; return (the body if it is whole now, whom to send a CREDIT).

        Pieces of a body we don't know are passed over: it was refused, or dropped, while they were on their way.
        A whole one stays on the books until release(). Raises FrameError, and forgets the body, if the piece breaks
        what was announced.
        """
        key = self.key(frame, frame.lane)
        assembly = self.assemblies.get(key)
        if assembly is None:
            return None, []
        try:
            whole = assembly.add(frame.body, bool(frame.flags & MORE))
        except FrameError:
            self.drop([key])
            raise
        if whole:
            del self.assemblies[key]
            if assembly in self._waiting:
                self._waiting.remove(assembly)
                self.held += assembly.total
            return assembly, []
        return None, self._extend(assembly)

    def drop(self, keys: "Iterable[FlowKey]") -> "List[Assembly]":
        """Forget these bodies; return whom to send a CREDIT, now that there is room."""
        for key in keys:
            assembly = self.assemblies.pop(key, None)
            if assembly is None:
                continue
            if assembly in self._waiting:
                self._waiting.remove(assembly)
            else:
                self.held -= assembly.total
        return self.release(0)

    def release(self, size: int) -> "List[Assembly]":
        """Take `size` held bytes off the books; return whom to send a CREDIT, now that there is room."""
        self.held -= size
        extended = []  # type: List[Assembly]
        while self._waiting and (not self.held or self.held + self._waiting[0].total <= self.quota):
            assembly = self._waiting.popleft()
            self.held += assembly.total
            extended += self._extend(assembly)
        return extended

    @staticmethod
    def _extend(assembly: Assembly) -> "List[Assembly]":
        """Grant more once half the window is used up."""
        ahead = assembly.granted - assembly.received
        if assembly.granted == assembly.total or ahead > CREDIT_WINDOW // 2:
            return []
        assembly.granted = min(assembly.total, assembly.received + CREDIT_WINDOW)
        return [assembly]
