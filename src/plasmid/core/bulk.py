"""Long bodies: what is sent of one, where one that comes is read to, and how the blob in it becomes a value uncopied.

A context keeps room for one long call, and one long answer, of each of its neighbours, and says so; that one needs no
credit then:

    neighbour                                    this context
    CALL|MORE, u64 total, first chunk ────────>
                                        <─────── CREDIT u64 granted
    DATA ... the last without MORE ───────────>
                                        <─────── CREDIT, id 0, u64 size of the room
    CALL|MORE|HAS_ROOM, u64 total ... all ────>
                                        <─────── CREDIT, id 0 ...

It isn't sent at boot: a far side that has just said hello has nothing long to say, and what is long and comes so early
may be copied once more. No I/O here.
"""

from _io import BytesIO

from plasmid.core import address, flow, values
from plasmid.core.flow import CREDIT_INITIAL, CREDIT_WINDOW, U64
from plasmid.core.frames import CHUNK_SIZE, HAS_ROOM, HEADER, HEADER_SIZE, LANE_MASK, MORE, Kind, Lane, encode_head
from plasmid.core.link import LinkState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, List, Optional, Sequence, Union

    from plasmid.core.flow import Assembly, FlowKey, Outbox
    from plasmid.core.frames import Frame
    from plasmid.core.link import Link
    from plasmid.core.node import Node
    from plasmid.core.switch import Switch
    from plasmid.core.values import Classes, Handles

    Buffer = Union[bytes, bytearray, memoryview]

# The C library takes a block from the system, and gives it back, each time, unless it has once freed one as large. To
# touch all its pages anew takes longer than all that is done with them. So here is one, that nobody touches.
bytes(CREDIT_WINDOW)


# How many frames are read ahead, behind the one that has begun.
AHEAD_MAX = 8
# How much room is made for a body at most, in terms of what has come of it, the frame that has begun included.
ROOM_FACTOR = 8
# For a body up to this size it is made at once. Else no more than is read at once, for memory that is new takes longer
# to touch than to fill. So much room is also kept for a neighbour's next body, on the books alone.
ROOM_SIZE = 20 * CHUNK_SIZE


class Rooms:
    """What the context at `peer` keeps for our next long bodies to it: `sizes`, by lane, 0 for none."""

    def __init__(self, peer: bytes) -> None:
        self.peer = peer
        self.sizes = {Lane.CALL: 0, Lane.REPLY: 0}

    def take(self, frame: "Frame") -> None:
        """Take a grant of room. It counts only from the peer itself."""
        if frame.source == self.peer and frame.lane in self.sizes and len(frame.body) == U64.size:
            self.sizes[frame.lane] = U64.unpack(frame.body)[0]


def send(
    switch: "Switch", link: "Link", kind: int, flags: int, id: int, target: bytes, parts: "Sequence[Buffer]", size: int
) -> None:
    """Queue a long body of our own, see Switch.send()."""
    body = Outgoing(kind, flags, id, switch.address, target, parts, size)
    switch.drop_flow(body.name)  # of a caller that used the id twice
    switch.outgoing[body.name] = body, link
    lane = body.name[1]
    # A child must be able to ask for the modules that a long call to it needs while that is on its way.
    if lane == Lane.REPLY:
        link.outbox.flows_size += size
    if lane != Lane.ITEM and target == neighbour(switch, link):
        body.rooms = link.rooms = link.rooms or Rooms(target)
    body.line_up(link.outbox)


def keep_room(switch: "Switch", link: "Link", body: "Assembly") -> None:
    """Keep room for the next long call or answer of a neighbour. For each that is whole, and needed credit or room."""
    source, lane = body.first.source, body.first.lane
    inbox = link.replies if lane == Lane.REPLY else link.inbox
    if (
        CREDIT_INITIAL < body.total <= ROOM_SIZE
        and source == neighbour(switch, link)
        and not inbox.kept
        and 2 * (inbox.held + ROOM_SIZE) <= inbox.quota
    ):
        inbox.held += ROOM_SIZE
        inbox.kept[source] = ROOM_SIZE
        # Nobody waits for it: it goes with what goes there next.
        head = encode_head(Kind.CREDIT, lane, 0, switch.address, source, U64.size)
        link.outbox.push_urgent(head + U64.pack(ROOM_SIZE))


def neighbour(switch: "Switch", link: "Link") -> bytes:
    """Return the address of the context at the other end of a link."""
    return link.peer or address.parent(switch.address) or address.ROOT


class Outgoing:
    """One long body on its way out. Its parts are never copied, so they must not change until it has been sent.

    Its first frame holds those that fit whole, and where the first doesn't fit, as much of that as does. So a blob that
    is the last part, and long, is all that the other frames hold: see Assembly. All others but the last end at a whole
    number of chunks from the body's beginning, as the credit mostly does, so that they are alike: see Intake.

    name: (target, lane, id). after: a frame that must not overtake the body, sent right behind it. rooms: where
    it is found, once the first frame is made, whether its receiver keeps room for it.
    """

    __slots__ = "name", "size", "sent", "credit", "queued", "after", "rooms", "_head", "_parts", "_at", "_first_size"

    def __init__(
        self, kind: int, flags: int, id: int, source: bytes, target: bytes, parts: "Sequence[Buffer]", size: int
    ) -> None:
        self.name = target, flags & LANE_MASK, id
        self.size = size
        self.sent = 0
        self.credit = min(size, CREDIT_INITIAL)
        self.queued = False
        self.after = b""
        self.rooms = None  # type: Optional[Rooms]
        self._head = kind, flags, id, source, target
        self._parts = [memoryview(part) for part in parts]
        self._at = 0
        self._first_size = 0
        for part in self._parts:
            if self._first_size + len(part) > CHUNK_SIZE:
                break
            self._first_size += len(part)

    @property
    def ready(self) -> bool:
        """Whether credit allows a chunk now."""
        return self.sent < self.credit

    def line_up(self, outbox: "Outbox") -> None:
        """Stand in line for a turn, if it may go on and doesn't yet."""
        if self.ready and not self.queued:
            self.queued = True
            outbox.enter(self, flow.OWN)

    def take_turn(self, outbox: "Outbox", size: int) -> "List[Buffer]":
        """Return what next_chunk() does, [] if no credit is left, and stand in line again."""
        self.queued = False
        if not self.ready:
            return []
        buffers = self.next_chunk(size)
        if self.sent == self.size:
            outbox.finished.append(self)
        self.line_up(outbox)
        return buffers

    def grant(self, credit: int) -> None:
        """Take a grant. A smaller one than before is an old one; one past the end says nothing more than the end."""
        self.credit = max(self.credit, min(credit, self.size))

    def next_chunk(self, size: int = 0) -> "List[Buffer]":
        """Return the buffers of the next frame, or of some: of about `size` bytes of the body. Only when `ready`."""
        buffers = []  # type: List[Buffer]
        if not self.sent:
            self._add_first(buffers)
            if not size:
                return buffers
        stop = self.sent + (size or 1)
        if size and self.credit <= stop + CHUNK_SIZE:
            stop = self.credit
        while self.sent < stop:
            count = 0  # of those that are alike, as most are
            if self.sent % CHUNK_SIZE == 0:
                left = min(self.credit, self.size - 1, stop + CHUNK_SIZE - 1) - self.sent
                count = min(left, len(self._parts[0]) - self._at) // CHUNK_SIZE
            if count > 0:
                self._add_alike(buffers, count)
            else:
                self._add(buffers)
        if self.sent == self.size and self.after:
            buffers.append(self.after)
        return buffers

    def _add_first(self, buffers: "List[Buffer]") -> None:
        """Add the frame that announces the body, with what room there is for it taken."""
        kind, flags, id, source, target = self._head
        lane = self.name[1]
        if self.rooms is not None and self.credit < self.size <= self.rooms.sizes[lane]:
            self.rooms.sizes[lane] = 0
            self.credit = self.size
            flags |= HAS_ROOM
        size = self._first_size or CHUNK_SIZE
        head = encode_head(kind, flags | MORE, id, source, target, U64.size + size)
        buffers.append(head + U64.pack(self.size))
        self._take(buffers, size)

    def _add(self, buffers: "List[Buffer]") -> None:
        """Add the next frame."""
        _, flags, id, source, target = self._head
        end = self.sent + CHUNK_SIZE
        if end < self.size:
            end -= end % CHUNK_SIZE
        end = min(end, self.credit)
        if end < self.size:
            flags |= MORE
        buffers.append(encode_head(Kind.DATA, flags, id, source, target, end - self.sent))
        self._take(buffers, end - self.sent)

    def _add_alike(self, buffers: "List[Buffer]", count: int) -> None:
        """Add so many frames that are whole chunks of one part, and behind which the body goes on."""
        part, start, size = self._parts[0], self._at, CHUNK_SIZE
        _, flags, id, source, target = self._head
        head = encode_head(Kind.DATA, flags | MORE, id, source, target, size)
        self._at = start + count * size
        for at in range(start, self._at, size):
            buffers += head, part[at : at + size]
        self.sent += count * size

    def _take(self, buffers: "List[Buffer]", size: int) -> None:
        """Add the next `size` bytes as slices of the parts."""
        self.sent += size
        while size:
            part = self._parts[0]
            piece = part[self._at : self._at + size]
            buffers.append(piece)
            size -= len(piece)
            self._at += len(piece)
            if self._at == len(part):
                del self._parts[0]
                self._at = 0


class Body:
    """A long body as it comes, and then a payload in two pieces: what the first frame held, and the rest.

    A sender puts into the first frame all that comes before a long blob. So the rest becomes the value of that blob, as
    it is and not copied, where there is nothing but that blob. It grows in its place as bytes arrive.
    """

    __slots__ = "front", "_rest"

    def __init__(self, front: "Buffer" = b"", rest: "Optional[BytesIO]" = None) -> None:
        self.front = front
        self._rest = rest or BytesIO()

    @property
    def rest(self) -> bytes:
        """What is behind the front. Each time the same object; nothing may be added from then on."""
        return self._rest.getvalue()

    def __len__(self) -> int:
        return len(self.front) + self._rest.tell()

    def __iadd__(self, data: "Buffer") -> "Body":
        if self.front:
            self._rest.write(data)
        else:
            self.front = data  # of a frame's own bytes, which stay as they are
        return self

    def room(self, size: int) -> memoryview:
        """Return the place that the rest of a body of `size` bytes has. Nothing may be added while it is held."""
        rest, at = self._rest, self._rest.tell()
        if rest.seek(0, 2) < size - len(self.front):
            rest.seek(size - len(self.front) - 1)
            rest.write(b"\0")
        rest.seek(at)
        return rest.getbuffer()

    def reach(self, size: int) -> bool:
        """Take note that it is `size` bytes now; return whether that is more than before."""
        size -= len(self.front)
        return size > self._rest.tell() and bool(self._rest.seek(size))

    def __bytes__(self) -> bytes:
        return b"".join((self.front, self.rest))

    def __getitem__(self, where: slice) -> "Any":
        """Return the bytes of body[start:end]; of body[start:] what can be decoded."""
        size, start, end = len(self.front), where.start or 0, where.stop
        if end is None:
            return Body(self.front[start:], self._rest) if start <= size else memoryview(bytes(self))[start:]
        if end <= size:
            return self.front[start:end]
        rest = self.rest[max(0, start - size) : end - size]  # if it is all of it, it is the same object
        return rest if start >= size else b"".join((self.front[start:], rest))

    def decode(self, classes: "Classes", handles: "Handles", limits: values.Limits) -> "Any":
        """Return its value, as values.decode() does."""
        size = 4 + int.from_bytes(self.front[:4], "big")
        if not 4 < size <= min(len(self.front), 4 + limits.pack_size_max):
            return values.decode(bytes(self), classes, handles, limits)  # or raise what is wrong with it
        return values.read_pack(bytes(self.front[4:size]), self[size:], classes, handles, limits)


class Intake:
    """What is read so of the long bodies that come by one link. Owned by the link's Node.

    Between buffers() and took() nothing may be fed. `left` of the link's decoder counts what is missing of the frame
    that is read so, and is -1 between two of them. No limit is its own: what comes is counted as ever, and room is made
    within the credit.
    """

    def __init__(self, node: "Node", link: "Link") -> None:
        self._node = node
        self.link = link
        self._inbox = link.inbox
        self._body = None  # type: Optional[Assembly]  # the one that is read, if one is
        self._key = (b"", b"", 0, 0)  # type: FlowKey
        self._place = memoryview(b"")  # where the bytes of the body are
        self._shift = 0  # where that begins in the body
        self._head = self._last_head = b""  # of a whole chunk of it that isn't the last one, and of the last one
        self._heads = []  # type: List[memoryview]  # where heads are read to
        self._end = 0  # where in the body the frame ends that has begun, or came last
        self._ahead = AHEAD_MAX

    def buffers(self) -> "List[memoryview]":
        """Return what to read into, in this order; [] if what comes next goes the ordinary way."""
        body, left = self._body, self.link.decoder.left
        if body is None:
            body = self._begin()
            if body is None:
                return []
        elif self._inbox.assemblies.get(self._key) is not body:
            # It was given up; what is missing of its frame is passed over.
            if left > 0:
                return [memoryview(bytearray(left))]
            self._leave()
            return []
        self._make_room(body)
        place, end, shift = self._place, self._end, self._shift
        at = end - shift
        buffers = [place[at - left : at]] if left > 0 else []
        # Who cuts it otherwise than bulk.py isn't foreseen.
        if end % CHUNK_SIZE == 0:
            stop = len(place)
            if stop + shift < body.total:
                stop -= (stop + shift) % CHUNK_SIZE
            for head, begin in zip(self._heads[: self._ahead], range(at, stop, CHUNK_SIZE)):
                buffers += head, place[begin : begin + CHUNK_SIZE]
        if not buffers:
            self._leave()
        return buffers

    def _make_room(self, body: "Assembly") -> None:
        """Make room for what is read next, if there is none."""
        total, end, have = body.total, self._end, len(self._place) + self._shift
        room = min(body.granted, ROOM_FACTOR * end, total if total <= ROOM_SIZE else end + AHEAD_MAX * CHUNK_SIZE)
        if have < room and (have < end + CHUNK_SIZE or total <= ROOM_SIZE):
            self._place = memoryview(b"")  # as long as that is held it can't grow
            self._place = body.body.room(room)  # type: ignore[union-attr]  # see _begin()

    def took(self, size: int, buffers: "List[memoryview]", now: float) -> "Optional[bytes]":
        """Take note of how much was read into these buffers, and let go of them.

        Returns what is to be fed to the node, None for nothing.
        """
        decoder, body, end = self.link.decoder, self._body, self._end
        left = decoder.left
        if size < left:
            decoder.left = left - size
            return None
        if body is None or self._inbox.assemblies.get(self._key) is not body:
            self._leave()
            return None
        at = 0
        if left > 0:
            size -= left
            at = 1
        whole, left, total, head = end, -1, body.total, self._head
        # Mostly these are whole frames, and heads as they were foreseen.
        alike = min(size // (len(head) + CHUNK_SIZE), (total - end - 1) // CHUNK_SIZE)
        if alike > 0 and b"".join(buffers[at : at + 2 * alike : 2]) == head * alike:
            at += 2 * alike
            size -= alike * (len(head) + CHUNK_SIZE)
            whole = end = end + alike * CHUNK_SIZE
        while size:
            if end + CHUNK_SIZE >= total:
                head = self._last_head
            if size < len(head) or buffers[at] != head:
                break
            end += CHUNK_SIZE
            size -= len(head) + len(buffers[at + 1])
            at += 2
            if size < 0:
                left, size = -size, 0
            else:
                whole = end
        self._end = min(end, total)
        decoder.left = left
        data = b"".join(buffers[at:])[:size] if size else b""
        # Where little comes at a time, as over ssh, little is made ready for it.
        if size:
            self._ahead = 0
        elif at == len(buffers) and left < 0:
            self._ahead = min(AHEAD_MAX, 2 * self._ahead + 1)
        else:
            self._ahead = min(AHEAD_MAX, at)
        del buffers[:]  # see buffers()
        self._reach(body, min(whole, total), now)
        if not data:
            return None
        # Something has come between.
        self._leave()
        return data

    def _reach(self, body: "Assembly", size: int, now: float) -> None:
        """Take note that so much of a body has come, in whole frames."""
        if not body.body.reach(size):  # type: ignore[union-attr]  # see _begin()
            return
        self.link.heard_at = now
        if size < body.total:
            self._node.switch.grant(self.link, self._inbox.extend(body))
            return
        self._leave()
        del self._inbox.assemblies[self._key]
        lane, streams = self._key[3], self._node.streams
        part = streams if lane == Lane.ITEM and streams is not None else self._node.calls
        part.take_whole(self.link, body, now)

    def _leave(self) -> None:
        self._body = None
        self._place = memoryview(b"")
        self.link.decoder.left = 0

    def _begin(self) -> "Optional[Assembly]":
        """Take over the frame that the decoder has begun with, if a body that isn't whole after it goes on with it."""
        decoder, link = self.link.decoder, self.link
        held, start = decoder.buffer, decoder.position
        size, kind, flags, source_size, target_size, id = HEADER.unpack_from(held, start)
        target_at = start + HEADER_SIZE + source_size
        at = target_at + target_size
        source, target = held[start + HEADER_SIZE : target_at], held[target_at:at]
        lane = flags & LANE_MASK
        if (
            kind != Kind.DATA
            or flags - lane != MORE
            or target != self._node.address
            or link.state is not LinkState.OPEN
        ):
            return None
        inbox = link.replies if lane == Lane.REPLY else link.inbox
        key = source, target, id, lane
        body = inbox.assemblies.get(key)
        if body is None or not isinstance(body.body, Body):
            return None
        begun, total = len(body.body), body.total
        if begun + size > min(body.granted, total - 1):
            return None
        self._inbox, self._key, self._end = inbox, key, begun + size
        self._shift = len(body.body.front)
        self._make_room(body)
        begun -= self._shift
        self._place[begun : begun + len(held) - at] = held[at:]
        self._head = encode_head(kind, flags, id, source, target, CHUNK_SIZE)
        self._last_head = encode_head(kind, lane, id, source, target, total % CHUNK_SIZE or CHUNK_SIZE)
        if not self._heads or len(self._heads[0]) != len(self._head):
            self._heads = [memoryview(bytearray(len(self._head))) for _ in range(AHEAD_MAX)]
        self._body = body
        decoder.buffer, decoder.position, decoder.is_empty = b"", 0, True
        return body


def install() -> None:
    """Have bodies that come in be of this kind, and room kept for them."""
    flow.new_body = Body
    flow.keep_room = keep_room
