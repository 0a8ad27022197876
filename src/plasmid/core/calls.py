"""Calls in flight: those that this context made, and those that it serves.

A call we made, by who ends it (the first to come does, and takes it out of the table; later ones find nothing):

    REPLY or ERROR from exactly the context that was called     -> its result or error
    the deadline                                                -> DeadlineExceeded, and a CANCEL is sent
    cancel()                                                    -> Cancelled, and a CANCEL is sent
    LOST of the target or of anything above it                  -> ContextLost
    the link that it waits behind is cut                        -> NotSent or ContextLost

A call we serve stands in `served` from its arrival to its answer. The body of a CALL:

    u32 milliseconds left, 0xFFFFFFFF for no deadline | u16 size of the head | head | payload

No I/O and no clock here.
"""

import heapq
from struct import Struct

from plasmid.core import flow
from plasmid.core.errors import CallError, ContextLost, DeadlineExceeded, NotSent, Overloaded, ProtocolError
from plasmid.core.events import CallArrived, CallCancelled, CallEnded
from plasmid.core.flow import OUTBOX_SIZE_MAX, Assembly
from plasmid.core.frames import MORE, NO_REPLY, Frame, Kind, Lane
from plasmid.core.link import Link, LinkState
from plasmid.core.switch import LOCAL, Switch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional, Sequence, Set, Tuple, Union

    from plasmid.core.values import Payload

    Buffer = Union[bytes, bytearray, memoryview]
    CallKey = Tuple[bytes, int]
    Held = Tuple[Optional[Link], int, bool, Any]

CALL_HEAD = Struct(">IH")
NO_DEADLINE = 0xFFFFFFFF

# A head is decoded before anybody was asked whether the call is allowed, so it must be cheap.
HEAD_SIZE_MAX = 4096

MESSAGE_SIZE_MAX = 1 << 30
# A call made on a child's or a stranger's own account; what this context asked for may be MESSAGE_SIZE_MAX.
CHILD_CALL_SIZE_MAX = 16 << 20

ID_MASK = 0xFFFFFFFFFFFFFFFF

# How many calls one link may have waiting or running here.
SERVED_PER_LINK_MAX = 4096


class OutCall:
    """One call that this context made. `ref` is the runtime's own handle; nothing here looks at it."""

    __slots__ = "id", "target", "deadline", "ref", "link"

    def __init__(self, id: int, target: bytes, deadline: "Optional[float]", ref: "Any", link: int) -> None:
        self.id = id
        self.target = target
        self.deadline = deadline
        self.ref = ref
        self.link = link


class CallTable:
    """The calls that this context made and that haven't ended.

    deadlines: those there are, as a heap, and some of calls that have ended. calls: by id.
    """

    def __init__(self, id_start: int) -> None:
        # Ids begin at random: a stranger who could forge a source would still have to guess 64 bits. None is 0, which
        # a CREDIT has that is about no body yet.
        self._next_id = id_start & ID_MASK or 1
        self.calls = {}  # type: Dict[int, OutCall]
        self.deadlines = []  # type: List[Tuple[float, int]]

    def __len__(self) -> int:
        return len(self.calls)

    def add(self, target: bytes, deadline: "Optional[float]", ref: "Any", link: int) -> OutCall:
        """Return a new call with an id of its own."""
        id = self._next_id
        self._next_id = (id + 1) & ID_MASK or 1
        call = self.calls[id] = OutCall(id, target, deadline, ref, link)
        if deadline is not None:
            # Calls that ended leave their entries behind; no more of them than of calls in flight, and some.
            if len(self.deadlines) > 2 * len(self.calls) + 1000:
                self.deadlines = sorted(entry for entry in self.deadlines if entry[1] in self.calls)
            heapq.heappush(self.deadlines, (deadline, call.id))
        return call

    def new_id(self) -> int:
        """Return an id that no call in flight has."""
        id = self._next_id
        self._next_id = (id + 1) & ID_MASK or 1
        return id

    def get(self, id: int, source: bytes) -> "Optional[OutCall]":
        """Return the call `id` if it was made to exactly `source`."""
        call = self.calls.get(id)
        return call if call is not None and call.target == source else None

    def end(self, id: int) -> "Optional[OutCall]":
        """Take the call out of the table; None if it had ended."""
        return self.calls.pop(id, None)

    def deadline(self) -> "Optional[float]":
        """Return when the first deadline passes, None without any."""
        while self.deadlines and self.deadlines[0][1] not in self.calls:
            heapq.heappop(self.deadlines)
        return self.deadlines[0][0] if self.deadlines else None

    def expire(self, now: float) -> "List[OutCall]":
        """Take out the calls whose deadline has passed, the oldest first."""
        expired = []  # type: List[OutCall]
        while True:
            deadline = self.deadline()
            if deadline is None or deadline > now:
                return expired
            call = self.end(heapq.heappop(self.deadlines)[1])
            assert call is not None
            expired.append(call)

    def lost(self, is_gone: "Callable[[bytes], bool]") -> "List[OutCall]":
        """Take out the calls made to a context that is gone."""
        gone = [call for call in self.calls.values() if is_gone(call.target)]
        for call in gone:
            self.end(call.id)
        return gone


def left_until(deadline: float, now: float) -> int:
    """Return the milliseconds that are left of a call's time, as they travel."""
    return int(max(0, min((deadline - now) * 1000, NO_DEADLINE - 1)))


def deadline_of(left: int, now: float) -> float:
    """Return the deadline of a call for which so many milliseconds are left."""
    return now + left / 1000.0


class Calls:
    """The calls to and from the context of `switch`. Owned by its Node.

    served: those to answer, by caller and id: by which link each came, None for our own, how many bytes of its books it
    takes, whether it wants no reply, and what express.py keeps for that. holds: whether answers may wait for those to
    further calls that have come by the same link; held: the links where some did, which whoever set that makes dirty.
    """

    holds = False

    def __init__(self, switch: Switch, id_start: int) -> None:
        self.made = CallTable(id_start)
        self.served = {}  # type: Dict[CallKey, Held]
        self.held = set()  # type: Set[int]
        self._switch = switch

    # -- made here

    def call(
        self,
        target: bytes,
        head: bytes,
        parts: "Sequence[Buffer]",
        now: float,
        deadline: "Optional[float]" = None,
        no_reply: bool = False,
        ref: "Any" = None,
    ) -> "Optional[OutCall]":
        """Make a call; CallEnded will say how it ends. None for `no_reply`, of which nothing more is heard.

        head and parts are the packed head and the encoded payload. Raises Overloaded or NotSent when it can't be sent.
        """
        switch = self._switch
        link = switch.way_out(target)
        if len(head) > HEAD_SIZE_MAX:
            raise NotSent("", "", "its name takes %d bytes; the limit is %d" % (len(head), HEAD_SIZE_MAX))
        left = NO_DEADLINE if deadline is None else left_until(deadline, now)
        body = [CALL_HEAD.pack(left, len(head)) + head]  # type: List[Buffer]
        body += parts
        flags = NO_REPLY if no_reply else 0
        call = None if no_reply else self.made.add(target, deadline, ref, LOCAL if link is None else link.id)
        id = self.made.new_id() if call is None else call.id
        if link is None:
            self._serve(None, Frame(Kind.CALL, flags, id, target, target, b"", 0), memoryview(b"".join(body)), now)
        else:
            switch.send(link, Kind.CALL, flags, id, target, body)
        return call

    def cancel(self, call: OutCall, error: CallError) -> None:
        """End a call of ours with `error` and tell the far side that nobody waits for it."""
        if self.made.get(call.id, call.target) is call:
            self.made.end(call.id)
            self._withdraw(call)
            self._end(call, error)

    def expire(self, now: float) -> None:
        """End the calls whose deadline has passed."""
        for call in self.made.expire(now):
            self._withdraw(call)
            self._end(call, DeadlineExceeded("", "", "no answer came in the time allowed for it"))

    def take_answer(self, link: Link, frame: Frame) -> None:
        """Take a REPLY, or the ERROR of a call. It counts only from the context that was called."""
        call = self.made.calls.get(frame.id)
        if call is None or call.target != frame.source:
            self._switch.drop_flow((frame.source, Lane.CALL, frame.id))  # a long one that wants no reply, refused
            return
        if not frame.flags & MORE:
            if link.replies.assemblies:
                self._drop_answer(link, call)  # one that was begun before, and broken off
            self._answered(call, frame.body, frame.kind)
            return
        try:
            self._switch.grant(link, link.replies.open(frame, Lane.REPLY, MESSAGE_SIZE_MAX))
        except ProtocolError as error:
            self.cancel(call, error)

    def _answered(self, call: OutCall, body: "Payload", kind: int) -> None:
        del self.made.calls[call.id]
        self._switch.events.append(CallEnded(call.ref, body, kind == Kind.ERROR, None))
        if self._switch.outgoing:
            # It has been answered before we had sent it all.
            self._switch.drop_flow((call.target, Lane.CALL, call.id))

    def _end(self, call: OutCall, error: CallError) -> None:
        self._switch.events.append(CallEnded(call.ref, None, True, error))

    def _drop_answer(self, link: Link, call: OutCall) -> None:
        """Forget the long answer to a call that is on its way."""
        key = call.target, self._switch.address, call.id, Lane.REPLY
        self._switch.grant(link, link.replies.drop([key]))

    def _withdraw(self, call: OutCall) -> None:
        """Stop sending a call's body, and tell the far side that nobody waits for its answer."""
        switch = self._switch
        link = switch.links.get(call.link)
        if link is None:  # a call to this context itself: those by a link end before it does
            self._take_out((switch.address, call.id))
            switch.events.append(CallCancelled(switch.address, call.id))
            return
        flow = switch.drop_flow((call.target, Lane.CALL, call.id))
        if flow is None or flow.sent:
            self._drop_answer(link, call)
            # Not urgent: it must not overtake the call itself.
            switch.send(link, Kind.CANCEL, 0, call.id, call.target, [])

    # -- served here

    def answer(self, source: bytes, id: int, parts: "Sequence[Buffer]", is_error: bool) -> None:
        """Answer the served call `id` of `source` with an encoded payload. Nothing, if nobody waits for it."""
        served = self._take_out((source, id))
        if served is None or served[2]:
            return
        link = served[0]
        if link is not None:
            if link.state is not LinkState.CLOSED:
                self._switch.send(link, Kind.ERROR if is_error else Kind.REPLY, Lane.REPLY, id, source, parts)
            return
        call = self.made.end(id)
        if call is not None:
            self._switch.events.append(CallEnded(call.ref, b"".join(parts), is_error, None))

    def _take_out(self, key: "CallKey") -> "Optional[Held]":
        """Take a call that we serve off all books; None if it was answered, or its caller has gone."""
        served = self.served.pop(key, None)
        if served is not None and served[0] is not None:
            self._release(served[0], served[1])
        return served

    def _release(self, link: Link, size: int) -> None:
        link.inbox.calls -= 1
        if link.state is not LinkState.CLOSED:
            self._switch.grant(link, link.inbox.release(size))

    def take_call(self, link: Link, frame: Frame, now: float) -> None:
        """Take a CALL, or the beginning of a long one."""
        switch = self._switch
        by_parent = switch.address.startswith(frame.source)
        try:
            if link.inbox.calls >= SERVED_PER_LINK_MAX:
                raise Overloaded("", "", "%d calls from that side already wait here" % SERVED_PER_LINK_MAX)
            # Who asks on and on and doesn't read the answers would have us hold them.
            if link.outbox.owed_size > OUTBOX_SIZE_MAX and not by_parent:
                raise Overloaded("", "", "more than %d bytes of answers wait to be sent to that side" % OUTBOX_SIZE_MAX)
            if frame.flags & MORE:
                size_max = MESSAGE_SIZE_MAX if by_parent else CHILD_CALL_SIZE_MAX
                switch.check_share(link, frame)
                switch.grant(link, link.inbox.open(frame, Lane.CALL, size_max, by_parent))
            else:
                link.inbox.hold(len(frame.body), by_parent)
                self._serve(link, frame, frame.body, now)
        except CallError as error:
            switch.refuse(link, frame, error)

    def _serve(self, link: "Optional[Link]", first: Frame, body: "Payload", now: float) -> None:
        """Hand a whole call over to be served. A broken one is refused: its sender may be far below the link."""
        size = len(body)
        left, head_size = CALL_HEAD.unpack(body[: CALL_HEAD.size]) if size >= CALL_HEAD.size else (0, 0)
        head_end = CALL_HEAD.size + head_size
        deadline = None if left == NO_DEADLINE else deadline_of(left, now)
        head = bytes(body[CALL_HEAD.size : head_end])
        no_reply = first.flags & NO_REPLY != 0
        key = first.source, first.id
        if link is not None:
            link.inbox.calls += 1
        if not 0 < head_size <= HEAD_SIZE_MAX or head_end > size or key in self.served:
            assert link is not None  # our own calls are whole
            self._release(link, size)
            self._switch.refuse(link, first, ProtocolError("", "", "the call is broken, or its id is in use"))
            return
        self.served[key] = link, size, no_reply, None
        self._switch.events.append(CallArrived(*key, head, body[head_end:], deadline, no_reply))

    def take_cancel(self, link: Link, frame: Frame) -> None:
        """Take a CANCEL. It counts only from the context that called."""
        self._switch.grant(link, link.inbox.drop([(frame.source, frame.target, frame.id, Lane.CALL)]))
        if not self._cancelled((frame.source, frame.id)):
            self._switch.drop_flow((frame.source, Lane.REPLY, frame.id))

    def _cancelled(self, key: "CallKey") -> bool:
        """Take out a call that nobody waits for any more. False if there is none."""
        served = self._take_out(key)
        if served is not None:
            self._switch.events.append(CallCancelled(*key))
        return served is not None

    # -- long bodies, and loss

    def take_whole(self, link: Link, body: Assembly, now: float) -> None:
        """Take a long CALL, REPLY or ERROR that is whole now."""
        first = body.first
        flow.keep_room(self._switch, link, body)
        if first.kind == Kind.CALL:
            self._serve(link, first, body.body, now)
            return
        self._switch.grant(link, link.replies.release(body.total))
        call = self.made.get(first.id, first.source)
        if call is not None:
            self._answered(call, body.body, first.kind)

    def body_broken(self, link: Link, frame: Frame, error: ProtocolError) -> None:
        """Give up a long body whose sender broke the rules."""
        if frame.lane == Lane.CALL:
            self._switch.send_error(link, error, frame.id, frame.target, frame.source, Lane.REPLY)
            return
        call = self.made.get(frame.id, frame.source)
        if call is not None:
            self.cancel(call, error)

    def lost(self, is_gone: "Callable[[bytes], bool]", found: str, for_good: bool) -> None:
        """End what waits on the contexts that are gone, or, if not `for_good`, with which too much was lost."""
        for call in self.made.lost(is_gone):
            # Of a long body not all had left: the method can't have been started.
            unsent = (call.target, Lane.CALL, call.id) in self._switch.outgoing
            if not for_good:
                self._withdraw(call)  # it may reach the other end after the word of this
            self._end(call, NotSent("", "", found) if unsent else ContextLost("", "", found))
        for key in [key for key in self.served if is_gone(key[0])]:
            self._cancelled(key)
