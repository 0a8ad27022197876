"""Long bodies on their way out.

It isn't sent at boot: a far side that has just said hello has nothing long to say. No I/O here.
"""

from plasmid.core.flow import CREDIT_INITIAL, U64
from plasmid.core.frames import CHUNK_SIZE, LANE_MASK, MORE, Kind, encode_head

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Sequence, Union

    Buffer = Union[bytes, bytearray, memoryview]


class Outgoing:
    """One long body on its way out. Its parts are never copied, so they must not change until it has been sent.

    name: (target, lane, id). after: a frame that must not overtake the body, sent right behind it.
    """

    __slots__ = "name", "size", "sent", "credit", "queued", "after", "_head", "_parts", "_at"

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
        announced = b""
        if self.sent:
            kind = Kind.DATA
        else:
            announced = U64.pack(self.size)
        size = min(CHUNK_SIZE, self.credit - self.sent)
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
