"""How bodies cross a link: cut into chunks, interleaved fairly, under credit.

A body up to one chunk is one frame. A longer one begins with a frame that announces its size and goes on in DATA
frames, as far as its final receiver has granted credit:

    sender                                     receiver
    CALL|MORE, u64 total, first chunk ───────>
    DATA|MORE ... up to CREDIT_INITIAL ──────>
                                       <────── CREDIT u64 granted: bytes from the body's start
    DATA ... the last without MORE ──────────>

Credit is absolute, so a repeated or reordered grant changes nothing. The Outgoing of bulk.py and Outbox send, Assembly
and Inbox receive. No I/O here.
"""

from struct import Struct

from plasmid.core.errors import Overloaded, ProtocolError
from plasmid.core.frames import CHUNK_SIZE, HAS_ROOM, MORE, Frame, Lane

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import deque
    from typing import Callable, Deque, Dict, Iterable, List, Optional, Tuple, Union

    from plasmid.core.bulk import Body, Outgoing
    from plasmid.core.link import Link
    from plasmid.core.switch import Switch

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
RECEIVE_QUOTA = 16 * 1024 * 1024
ASSEMBLIES_MAX = 4096
WAITING_MAX = 128  # each may have sent CREDIT_INITIAL before it had to wait

# What may wait to be written to one link of our own frames, and of what any one other link sends there.
OUTBOX_SIZE_MAX = 16 * 1024 * 1024

# Whose frames wait, beside the ids of links: our own, and those that the peer itself makes us say.
OWN, REACTIONS = -1, -2


class Outbox:
    """What waits to be written to one link, in a fair order.

    Urgent frames first; then each origin in turn gives one frame, of each of its flows in turn. So a link that floods
    another delays only itself. Frames of one flow keep their order, and so do all single frames of one origin.

    shares: bytes of whole frames held, by origin: OWN, REACTIONS or the link they came by. relayed: frames that
    came by other links, by the body that they are part of; see relay.py. flows_size: bytes of the long answers that
    haven't been handed out whole; other long bodies are their callers' affair. finished: the long bodies that have.
    rings: what has a turn, by origin. lone: the one frame that waits, or a few short answers, where nothing else does,
    as most find it: not on the books, and in no line. lone_again: if it was passed on, what queues it with the others,
    and with which arguments.
    """

    def __init__(self) -> None:
        self.shares = {}  # type: Dict[int, int]
        self.flows_size = 0
        self.finished = []  # type: List[Outgoing]
        self.lone = b""
        self.lone_again = None  # type: Optional[Tuple[Callable[..., object], Union[Frame, bytes], int]]
        self.urgent = deque()  # type: Deque[bytes]
        self.turns = deque()  # type: Deque[int]
        self.rings = {}  # type: Dict[int, Deque[Union[bytes, Outgoing, FlowKey]]]
        self.relayed = {}  # type: Dict[FlowKey, Deque[bytes]]

    def __bool__(self) -> bool:
        return bool(self.lone or self.turns or self.urgent)

    @property
    def owed_size(self) -> int:
        """How many bytes of answers and other frames of our own wait."""
        return self.shares.get(OWN, 0) + self.flows_size

    def is_idle(self) -> bool:
        """Whether nothing waits, and nothing is on the books."""
        return not (self.lone or self.shares or self.turns)

    def push(self, frame: bytes, origin: int = OWN) -> None:
        """Queue one whole frame made here."""
        if origin == OWN and self.is_idle():
            self.lone = frame
            return
        self.count(frame, origin)
        self.enter(frame, origin)

    def push_urgent(self, frame: bytes) -> None:
        """Queue a small frame ahead of all others."""
        if self.lone:
            self.line_up()
        self.count(frame, REACTIONS)
        self.urgent.append(frame)

    def next_buffers(self, size_max: int) -> "List[Buffer]":
        """Return buffers to write in this order, about `size_max` bytes of them, [] when nothing may be sent."""
        if self.lone:
            lone, self.lone = self.lone, b""
            self.lone_again = None
            return [lone]
        buffers = []  # type: List[Buffer]
        size = 0
        while size < size_max and len(buffers) < 64 and (self.turns or self.urgent):
            frames = self._next_frames(size_max - size)
            buffers += frames
            size += sum(map(len, frames))
        return buffers

    def _next_frames(self, size: int) -> "List[Buffer]":
        """Return the buffers of one frame, or of some, about `size` bytes, where one body alone waits.

        [] for a turn that has become void.
        """
        if self.urgent:
            return [self._release(self.urgent.popleft(), REACTIONS)]
        origin = self.turns.popleft()
        ring = self.rings[origin]
        entry = ring.popleft()
        frame = []  # type: List[Buffer]
        if isinstance(entry, bytes):
            frame = [self._release(entry, origin)]
        elif isinstance(entry, tuple):
            frames = self.relayed[entry]
            if frames:
                frame = [self._release(frames.popleft(), origin)]
            if frames:
                ring.append(entry)
            else:
                del self.relayed[entry]
        else:
            frame = entry.take_turn(self, 0 if ring or self.turns else size)
        if ring:
            self.turns.append(origin)
        else:
            del self.rings[origin]
        return frame

    def enter(self, entry: "Union[bytes, Outgoing, FlowKey]", origin: int) -> None:
        """Put a frame, a body of our own or the key of a relayed one in line for its turn."""
        if self.lone:
            self.line_up()  # first, as it came
        ring = self.rings.get(origin)
        if ring is None:
            ring = self.rings[origin] = deque()
            self.turns.append(origin)
        ring.append(entry)

    def line_up(self) -> None:
        """Queue the frame that waits alone as any other: it isn't alone any more."""
        lone, self.lone = self.lone, b""
        passed_on, self.lone_again = self.lone_again, None
        if passed_on is None:
            self.count(lone, OWN)
            self.enter(lone, OWN)
        else:
            again, frame, origin = passed_on
            again(self, frame, origin)

    def count(self, raw: bytes, origin: int) -> None:
        """Enter a frame in the books."""
        self.shares[origin] = self.shares.get(origin, 0) + len(raw)

    def _release(self, raw: bytes, origin: int) -> bytes:
        """Take a frame off the books."""
        left = self.shares[origin] - len(raw)
        if left:
            self.shares[origin] = left
        else:
            del self.shares[origin]
        return raw


# What makes a body that comes in, bulk.Body once that is here.
new_body = bytearray  # type: Callable[[], Union[bytearray, Body]]


def keep_room(switch: "Switch", link: "Link", body: "Assembly") -> None:
    """Do nothing, before bulk.keep_room() is here and stands in its place."""


class Assembly:
    """One long body on its way in, with the first frame's facts."""

    __slots__ = "first", "body", "granted", "total", "seen", "ticks", "pressed"

    def __init__(self, first: Frame, total: int) -> None:
        self.first = first
        self.total = total
        # It grows as bytes arrive: room for what was only announced would be a peer's way to take our memory.
        self.body = new_body()
        self.granted = min(total, CREDIT_INITIAL)
        self.seen = self.ticks = self.pressed = 0  # see relay.expire()

    def add(self, data: memoryview, more: bool) -> bool:
        """Add a piece; return whether the body is whole. ProtocolError if it breaks what was announced or granted."""
        end = len(self.body) + len(data)
        if end > self.granted:
            raise _broken("a body went %d bytes beyond its credit of %d" % (end - self.granted, self.granted))
        if more != (end < self.total) or not data:
            raise _broken("a body of %d bytes ended, or went on, at %d" % (self.total, end))
        self.body += data  # type: ignore[operator]  # mypy knows no union of two that both can do this
        return not more


class Inbox:
    """The long bodies that come in by one link, and what all that came by it makes us hold.

    `held` counts whole bodies from their announcement, so that what has been promised always fits. calls: how many of
    these wait for their answers here. kept: how much of it is room for a body that hasn't begun, by its source.
    """

    def __init__(self, quota: int = RECEIVE_QUOTA) -> None:
        self.quota = quota
        self.held = self.calls = 0
        self.kept = {}  # type: Dict[bytes, int]
        self.assemblies = {}  # type: Dict[FlowKey, Assembly]
        self.waiting = deque()  # type: Deque[Assembly]

    def hold(self, size: int, trusted: bool = False) -> None:
        """Enter `size` bytes of a short body in the books until release(); Overloaded if there is no room.

        trusted: it is a parent's, and isn't refused: else one long call of its own would keep out all its short ones.
        Others have a quarter more room than long ones may fill, for the same reason.
        """
        if self.held + size > self.quota * 1.25 and not trusted:
            raise Overloaded("", "", "what came from that side already fills %d bytes here" % self.held)
        self.held += size

    def open(self, frame: Frame, lane: int, size_max: int, trusted: bool = False) -> "List[Assembly]":
        """Begin a body with its first frame; return whom to send a CREDIT.

        Raises ProtocolError if it is too large or broken, Overloaded if there are too many. Answers are never too
        many: there is one for each call that this context made.
        """
        key = frame.source, frame.target, frame.id, lane
        body = frame.body
        total = U64.unpack_from(body)[0] if len(body) >= U64.size else 0
        if total > size_max:
            raise _broken("a body of %d bytes was announced; the limit is %d" % (total, size_max))
        if key in self.assemblies:
            raise _broken("a long body was begun twice")
        assembly = Assembly(frame, total)
        assembly.add(body[U64.size :], True)
        if frame.flags & HAS_ROOM and total <= self.kept.get(frame.source, 0):
            self.held += total - self.kept.pop(frame.source)
            assembly.granted = total
        elif lane != Lane.REPLY and (len(self.assemblies) >= ASSEMBLIES_MAX or len(self.waiting) >= WAITING_MAX):
            raise Overloaded("", "", "%d long bodies from that side are on their way here" % len(self.assemblies))
        # One that is within the credit it has anyway can't be made to wait.
        elif total <= CREDIT_INITIAL and lane != Lane.REPLY:
            self.hold(total, trusted)
        elif total <= CREDIT_INITIAL or (not self.waiting and self._fits(total)):
            self.held += total
        else:
            self.waiting.append(assembly)
        self.assemblies[key] = assembly
        return self.extend(assembly)

    def data(self, frame: Frame) -> "Optional[Assembly]":
        """Add a DATA frame; return the body it is part of, None if it has been refused or dropped meanwhile.

        A whole one leaves the assemblies and stays on the books until release(). Raises ProtocolError if the piece
        breaks what was announced; drop() the body then.
        """
        key = frame.source, frame.target, frame.id, frame.lane
        assembly = self.assemblies.get(key)
        if assembly is not None and assembly.add(frame.body, bool(frame.flags & MORE)):
            del self.assemblies[key]
        return assembly

    def drop(self, keys: "Iterable[FlowKey]") -> "List[Assembly]":
        """Forget these bodies; return whom to send a CREDIT, now that there is room."""
        size = 0
        for key in keys:
            assembly = self.assemblies.pop(key, None)
            if assembly is not None:
                if assembly in self.waiting:
                    self.waiting.remove(assembly)
                else:
                    size += assembly.total
        return self.release(size)

    def release(self, size: int) -> "List[Assembly]":
        """Take `size` held bytes off the books; return whom to send a CREDIT, now that there is room."""
        self.held -= size
        extended = []  # type: List[Assembly]
        while self.waiting and self._fits(self.waiting[0].total):
            assembly = self.waiting.popleft()
            self.held += assembly.total
            extended += self.extend(assembly)
        return extended

    def extend(self, assembly: Assembly) -> "List[Assembly]":
        """Grant a body more once half its window is used up; return it if a CREDIT must be sent."""
        received = len(assembly.body)
        if (
            assembly.granted == assembly.total
            or assembly.granted - received > CREDIT_WINDOW // 2
            or assembly in self.waiting
        ):
            return []
        assembly.granted = min(assembly.total, received + CREDIT_WINDOW)
        return [assembly]

    def _fits(self, total: int) -> bool:
        # No body counts for more than half of the room, or a long one would wait until everything else has gone.
        return self.held + min(total, self.quota // 2) <= self.quota


def _broken(found: str) -> ProtocolError:
    return ProtocolError("", "", found)
