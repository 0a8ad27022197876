"""Frames: what a link carries.

    offset size field
         0    4 body_size    bytes of body
         4    1 kind         see Kind
         5    1 flags        bits 0-1 lane, 0x04 MORE, 0x08 NO_REPLY, 0x10 HAS_ROOM; the others are zero
         6    1 source_size  bytes of the source address, a multiple of 4
         7    1 target_size  the same of the target address
         8    8 id           call, or receiver, that the frame belongs to
        16      source, target, body

All numbers are big-endian. The header alone says how much follows and whether it may: a frame over the limit, of an
unknown kind or from a forged source is refused before its body is waited for. No I/O here.
"""

from struct import Struct

from plasmid.core import address
from plasmid.core.errors import FrameError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional, Union

    Bytes = Union[bytes, bytearray, memoryview]

PROTOCOL_VERSION = 1
HEADER = Struct(">IBBBBQ")
HEADER_SIZE = HEADER.size

# What a sender cuts a longer body into: small enough that a call which waits behind one chunk of each competing
# transfer doesn't notice, large enough that the cost of a frame vanishes behind the copy.
CHUNK_SIZE = 64 * 1024

# What a receiver accepts. Above CHUNK_SIZE, so that a later version may send larger chunks to this one.
FRAME_BODY_SIZE_MAX = 256 * 1024

REASON_SIZE_MAX = 1024


class Kind:
    """What a frame is. Below ROUTED_MIN it concerns the link alone and is never passed on."""

    HELLO = 1  # first frame each way: versions and facts
    PING = 2  # are you there?
    PONG = 3  # I am
    GOODBYE = 4  # an orderly end; the body says why
    CALL = 8  # a request
    REPLY = 9  # its result
    ERROR = 10  # its error; on lane STREAM: that receiver takes no more
    CANCEL = 11  # the caller no longer wants it
    PUT = 12  # a value for a receiver
    CLOSE = 13  # the sender will put no more
    DATA = 14  # the body of a CALL, REPLY, ERROR or PUT goes on
    CREDIT = 15  # how far a body, or a sender, may go
    LOST = 16  # the source and all below it are gone; with PAIR: it and the target have lost each other


ROUTED_MIN = Kind.CALL
KINDS = frozenset(value for name, value in vars(Kind).items() if name.isupper())


class Lane:
    """Which body a DATA frame goes on with, and what a CREDIT or ERROR frame is about."""

    CALL = 0  # the body of the CALL of that id
    REPLY = 1  # the body of its REPLY or ERROR
    ITEM = 2  # the body of a long PUT
    STREAM = 3  # all that the context puts to the receiver of that id


LANE_MASK = 0x03
MORE = 0x04
NO_REPLY = 0x08
HAS_ROOM = 0x10  # of the first frame of a long body that goes where its receiver has kept room, see bulk.py
PAIR = 0x01  # of a LOST, where others have a lane
FLAGS_MASK = LANE_MASK | MORE | NO_REPLY | HAS_ROOM  # all bits up to the highest of them

SIZES = frozenset(range(0, address.ADDRESS_SIZE_MAX + 1, address.STEP_SIZE))


def encode(kind: int, flags: int, id: int, source: bytes, target: bytes, body: bytes = b"") -> bytes:
    """Return a whole frame."""
    return encode_head(kind, flags, id, source, target, len(body)) + body


def encode_head(kind: int, flags: int, id: int, source: bytes, target: bytes, body_size: int) -> bytes:
    """Return a frame less its body, of which `body_size` bytes must follow."""
    return HEADER.pack(body_size, kind, flags, len(source), len(target), id) + source + target


def encode_reason(kind: int, source: bytes, target: bytes, reason: str, flags: int = 0) -> bytes:
    """Return a whole GOODBYE or LOST, its reason cut to REASON_SIZE_MAX."""
    return encode(kind, flags, 0, source, target, reason.encode("utf-8", "replace")[:REASON_SIZE_MAX])


class Frame:
    """One frame that was read. `raw` is the frame as it came, for whoever only passes it on."""

    __slots__ = "kind", "flags", "id", "source", "target", "raw", "body_start"

    def __init__(
        self, kind: int, flags: int, id: int, source: bytes, target: bytes, raw: bytes, body_start: int
    ) -> None:
        self.kind = kind
        self.flags = flags
        self.id = id
        self.source = source
        self.target = target
        self.raw = raw
        self.body_start = body_start

    @property
    def lane(self) -> int:
        """Which of the id's bodies this is about, a Lane."""
        return self.flags & LANE_MASK

    @property
    def body(self) -> memoryview:
        """The body, not copied."""
        return memoryview(self.raw)[self.body_start :]

    @property
    def reason(self) -> str:
        """The body of a GOODBYE or LOST."""
        return bytes(self.body[:REASON_SIZE_MAX]).decode("utf-8", "replace")


class FrameDecoder:
    """Cut a byte stream into frames, accepting only sources within `peer`.

    peer: the address every source must lie within, b"" for the link to the parent, who may pass on anyone's.
    The frames that come out don't depend on where the input was cut. Once next_frame() has returned None, at most
    one unfinished frame is held.
    """

    def __init__(self, peer: bytes, body_size_max: int = FRAME_BODY_SIZE_MAX) -> None:
        self.peer = peer
        self.body_size_max = body_size_max
        self.is_empty = True  # nothing is left of what was fed
        self.left = 0  # bytes that are missing of a frame that has begun to come
        self.buffer = b""
        self.position = 0

    def feed(self, data: bytes) -> None:
        """Take bytes in."""
        # Most reads begin and end at a frame's edge: then this is no copy at all.
        self.buffer = data if self.is_empty else self.buffer[self.position :] + data
        self.position = self.left = 0
        self.is_empty = not data

    def next_frame(self) -> "Optional[Frame]":
        """Return the oldest finished frame, or None if more bytes are needed.

        Raises FrameError on anything the header can't say, and again on every later call: the bad header is never
        removed from the buffer.
        """
        start = self.position
        buffer = self.buffer
        have = len(buffer) - start
        if have < HEADER_SIZE:
            return None
        body_size, kind, flags, source_size, target_size, id = HEADER.unpack_from(buffer, start)

        # Judge the header alone. Waiting for the body first would let a peer fill our memory with a frame that
        # we're going to refuse.
        if kind not in KINDS:
            raise FrameError("kind %d is unknown" % kind)
        if flags > FLAGS_MASK:
            raise FrameError("flags 0x%02x are unknown" % flags)
        if body_size > self.body_size_max:
            raise FrameError("a body of %d bytes was announced; the limit is %d" % (body_size, self.body_size_max))
        if source_size not in SIZES or target_size not in SIZES:
            raise FrameError(
                "addresses of %d and %d bytes; the limit is %d, in steps of %d"
                % (source_size, target_size, address.ADDRESS_SIZE_MAX, address.STEP_SIZE)
            )
        target_start = start + HEADER_SIZE + source_size
        body_start = target_start + target_size
        if have < body_start - start:
            return None
        source = buffer[start + HEADER_SIZE : target_start]
        if not source.startswith(self.peer):
            raise FrameError(
                "the peer at %s sent a frame in the name of %s; it may speak only for itself and those below it"
                % (address.text(self.peer), address.text(source))
            )
        end = body_start + body_size
        if end > len(buffer):
            self.left = end - len(buffer)
            return None
        self.position = end
        self.is_empty = end == len(buffer)
        return Frame(kind, flags, id, source, buffer[target_start:body_start], buffer[start:end], body_start - start)
