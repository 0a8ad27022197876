"""What really happened to each call and stream of a simulated world, and what may be said of it.

A record sees both ends of a call, as nothing in the system itself does. So it knows whether the caller was told the
truth.
"""

from struct import Struct
from typing import Any

from plasmid.core import errors, remote, values
from plasmid.core.calls import OutCall
from plasmid.core.events import CallEnded

# uid, behaviour, size of the arguments, size of the result, seconds of work, the call that the method itself makes
HEAD = Struct(">QBIIdQ")

ANSWER, ERROR, REFUSE, NEVER, NESTED = range(5)
# By which service of the target's pool a call is served; NO_POOL runs at once.
NO_POOL, PLAIN, SERIAL, SHARED = range(4)
# What a call of SHARED answers is its key's, and carries a uid that no call has.
KEY_UID = 1 << 40
OUTCOMES = frozenset(("result", "error", *errors.CALL_ERRORS))
NOT_STARTED = ("NotSent", "Refused", "Overloaded")


class Violation(AssertionError):
    """A promise that was broken in a simulated world."""


def pattern(uid: int, size: int) -> bytes:
    """Return the bytes that call `uid` carries; no other call carries them."""
    word = (uid * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF).to_bytes(8, "big")
    return (word * (size // 8 + 1))[:size]


class CallRecord:
    """One call, from both ends. caller, target: addresses."""

    __slots__ = (
        *("uid", "caller", "target", "behaviour", "size", "result_size", "work_s", "deadline", "no_reply", "inner"),
        *("out", "made_at", "ended_at", "outcome", "found", "arrived", "started", "cancel_asked", "caller_died"),
        *("target_honest", "then", "service", "key"),
    )

    def __init__(self, uid: int, caller: bytes, target: bytes, made_at: float) -> None:
        self.uid = uid
        self.caller = caller
        self.target = target
        self.made_at = made_at
        self.behaviour = ANSWER
        self.size = 0
        self.result_size = 0
        self.work_s = 0.0
        self.deadline: float | None = None
        self.no_reply = False
        self.inner = 0
        self.out: OutCall | None = None
        self.ended_at: float | None = None
        self.outcome = ""
        self.found = ""
        self.arrived = 0
        self.started = 0
        self.cancel_asked = False
        self.caller_died = False
        self.target_honest = True
        self.then: Any = None  # called with this record once it has ended
        self.service = NO_POOL
        self.key = 0

    def __str__(self) -> str:
        return "call %d %s -> %s (%s), %s %s" % (
            self.uid,
            self.caller.hex() or "/",
            self.target.hex() or "/",
            ("answer", "error", "refuse", "never", "nested")[self.behaviour],
            self.outcome or "open",
            self.found,
        )

    def head(self) -> bytes:
        """Return what the callee is told to do."""
        return HEAD.pack(self.uid, self.behaviour, self.size, self.result_size, self.work_s, self.inner)

    @property
    def result(self) -> bytes:
        """What the callee answers, if it does."""
        if self.service == SHARED:
            return pattern(KEY_UID + self.key, self.key * 7919 % 3000)
        return pattern(self.uid ^ 1, self.result_size)

    @property
    def error_text(self) -> str:
        """What the callee's own error says."""
        return "key %d" % self.key if self.service == SHARED else str(self.uid)

    def take(self, event: CallEnded) -> str:
        """Return how the call ended, from what the node said of it."""
        if event.error is not None:
            self.found = event.error.found
            return self._code(event.error)
        assert event.body is not None
        if not event.is_error:
            right = bytes(event.body) == self.result
            if self.target_honest and not right:
                raise Violation("%s got a wrong result of %d bytes" % (self, len(event.body)))
            return "result"
        try:
            payload = values.decode(event.body)
        except ValueError:
            payload = None
        error = remote.rebuild_error(payload, "work", "there")
        self.found = getattr(error, "found", str(error))
        if not isinstance(error, errors.CallError):
            if self.target_honest and getattr(error, "text", "") != self.error_text:
                raise Violation("%s got another call's error: %r" % (self, error))
            return "error"
        return self._code(error)

    def _code(self, error: errors.CallError) -> str:
        if error.started is False and error.code in ("DeadlineExceeded", "Cancelled", "ContextLost"):
            return error.code + "Unstarted"
        return error.code

    def end(self, outcome: str, now: float) -> None:
        """Note how it ended; it must not have ended before."""
        if self.ended_at is not None:
            raise Violation("%s ended again, with %s" % (self, outcome))
        if outcome.replace("Unstarted", "") not in OUTCOMES:
            raise Violation("%s ended with %s" % (self, outcome))
        self.ended_at = now
        self.outcome = outcome
        if self.then is not None:
            self.then(self)

    def start(self) -> None:
        """Note that the callee runs it."""
        self.started += 1
        if self.started > 1:
            raise Violation("%s was executed twice" % self)


class StreamRecord:
    """All that one context puts to one receiver, from both ends."""

    __slots__ = ("uid", "source", "target", "number", "sizes", "put", "arrived", "state", "seen", "closes", "over")

    def __init__(self, uid: int, source: bytes, target: bytes, number: int, sizes: list[int], closes: bool) -> None:
        self.uid = uid
        self.source = source
        self.target = target
        self.number = number
        self.sizes = sizes
        self.put = 0  # how many have been put
        self.arrived = 0
        self.state = "open"  # for its sender: open, then done, or why it ended
        self.seen = "open"  # for its receiver: open, closed, lost
        self.closes = closes
        self.over = False  # the receiver was closed by its owner

    def __str__(self) -> str:
        return "stream %d %s -> %s, put %d of %d, arrived %d, sender: %s, receiver: %s" % (
            *(self.uid, self.source.hex() or "/", self.target.hex() or "/", self.put, len(self.sizes)),
            *(self.arrived, self.state, self.seen),
        )

    def item(self, index: int) -> bytes:
        """Return the value with this index."""
        return self.uid.to_bytes(8, "big") + index.to_bytes(4, "big") + pattern(self.uid + index, self.sizes[index])

    def arrive(self, payload: memoryview) -> None:
        """Take the next value at the receiver."""
        if self.seen != "open":
            raise Violation("%s: a value came after its end" % self)
        if self.arrived >= self.put or payload != self.item(self.arrived):
            got = int.from_bytes(payload[8:12], "big")
            raise Violation("%s: value %d came where %d was due" % (self, got, self.arrived))
        self.arrived += 1
