"""Long bodies: what is sent of one, and how the blob in it becomes a value without being copied.

It isn't sent at boot: a far side that has just said hello has nothing long to say, and what is long and comes so early
may be copied once more. No I/O here.
"""

from _io import BytesIO

from plasmid.core import flow, values
from plasmid.core.flow import CREDIT_INITIAL, CREDIT_WINDOW, U64
from plasmid.core.frames import CHUNK_SIZE, LANE_MASK, MORE, Kind, encode_head

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, List, Optional, Sequence, Union

    from plasmid.core.values import Classes, Handles

    Buffer = Union[bytes, bytearray, memoryview]

# The C library takes a block from the system, and gives it back, each time, unless it has once freed one as large. To
# touch all its pages anew takes longer than all that is done with them. So here is one, that nobody touches.
bytes(CREDIT_WINDOW)


class Outgoing:
    """One long body on its way out. Its parts are never copied, so they must not change until it has been sent.

    Its first frame holds those that fit whole, and where the first doesn't fit, as much of that as does. So a blob that
    is the last part, and long, is all that the other frames hold: see Assembly.

    name: (target, lane, id). after: a frame that must not overtake the body, sent right behind it.
    """

    __slots__ = "name", "size", "sent", "credit", "queued", "after", "_head", "_parts", "_at", "_first_size"

    def __init__(
        self, kind: int, flags: int, id: int, source: bytes, target: bytes, parts: "Sequence[Buffer]", size: int
    ) -> None:
        self.name = target, flags & LANE_MASK, id
        self.size = size
        self.sent = 0
        self.credit = min(size, CREDIT_INITIAL)
        self.queued = False
        self.after = b""
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

    def grant(self, credit: int) -> None:
        """Take a grant. A smaller one than before is an old one; one past the end says nothing more than the end."""
        self.credit = max(self.credit, min(credit, self.size))

    def next_chunk(self) -> "List[Buffer]":
        """Return the buffers of the next frame. Only when `ready`."""
        kind, flags, id, source, target = self._head
        announced, size = b"", CHUNK_SIZE
        if self.sent:
            kind = Kind.DATA
        else:
            announced, size = U64.pack(self.size), self._first_size or CHUNK_SIZE
        size = min(size, self.credit - self.sent)
        buffers = self._take(size)
        self.sent += size
        if self.sent < self.size:
            flags |= MORE
        elif self.after:
            buffers.append(self.after)
        return [encode_head(kind, flags, id, source, target, len(announced) + size) + announced] + buffers

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


def install() -> None:
    """Have bodies that come in be of this kind."""
    flow.new_body = Body
