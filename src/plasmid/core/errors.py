"""Every exception that a user of Plasmid can catch.

One class for each thing a caller would do differently. Fields come first and the text is made from them, so
that a program never has to read a message. The text says in order: what was attempted, where, what was found,
what that means, and the next step. No I/O here, and no import: this file is sent to every far side.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Optional, Tuple, Type


class PlasmidError(Exception):
    """The base of every error of Plasmid's own."""


class CallError(PlasmidError):
    """A call ended without an answer of the method's own.

    what: the call as a user would write it, `Disk.free_bytes` or `mymodule.main`.
    where: the context it was made on, `db1 (/3/1)`.
    found: what happened, and what to do next.
    started: False if the method is known not to have started, None if that isn't known.
    """

    code = "CallError"
    started = None  # type: Optional[bool]
    advice = ""

    def __init__(self, what: str, where: str = "", found: str = "", started: "Optional[bool]" = None) -> None:
        self.what = what
        self.where = where
        self.found = found
        if started is not None:
            self.started = started
        super().__init__(what, where, found)

    def __str__(self) -> str:
        place = " on %s" % self.where if self.where else ""
        text = "%s%s: %s" % (self.what, place, self.found or self.code)
        return "%s. %s" % (text.rstrip("."), self.advice) if self.advice else text


class NotSent(CallError):
    """The call never left for the method: it didn't start, and may be repeated safely."""

    code = "NotSent"
    started = False
    advice = "The method was not started; it is safe to repeat the call."


class ContextLost(CallError):
    """The context, or a link on the way to it, was lost while the call was out.

    retry_after: in how many seconds a supervised context is started again that isn't there now; else None.
    """

    code = "ContextLost"
    retry_after = None  # type: Optional[float]
    advice = "The call may have run; check before you repeat it."


class DeadlineExceeded(CallError, TimeoutError):
    """The time allowed for the call ran out before its answer came."""

    code = "DeadlineExceeded"
    advice = "The far side was asked to cancel; it may have run in part. Allow more time with timeout=, or check first."


class Cancelled(CallError):
    """The caller cancelled the call."""

    code = "Cancelled"


class Refused(CallError):
    """The far side declined to start the method: unknown, not exposed, not permitted, or its arguments don't fit."""

    code = "Refused"
    started = False


class Overloaded(CallError):
    """A queue on the way or at the service is full."""

    code = "Overloaded"
    started = False
    advice = "Nothing was started; try again later or slow down."


class ProtocolError(CallError):
    """The other end sent what the protocol doesn't allow."""

    code = "ProtocolError"


class FrameError(ProtocolError):
    """Bytes on a link that are no frame, or one over a limit. The link that sent them is cut."""

    def __init__(self, found: str) -> None:
        super().__init__("reading a frame", "", found)


class ReceiverClosed(PlasmidError):
    """The receiver was closed, by its owner or with its context; no more values come or can be put."""


class UnsendableValue(PlasmidError, TypeError):
    """A value, or a part of one, can't travel. `path` names the part: `result['rows'][3]`."""

    def __init__(self, path: str, found: str) -> None:
        self.path = path
        self.found = found
        super().__init__(path, found)

    def __str__(self) -> str:
        return "%s: %s" % (self.path, self.found)


class ValueDecodeError(PlasmidError, ValueError):
    """Bytes that are no value, are over a limit, or name a class that wasn't declared here."""


class RemoteError(PlasmidError):
    """An exception raised by the method on the far side.

    A builtin exception is raised here as its own type, with a RemoteError as its cause; one of another type
    arrives as this. type_name: the far type, `mymodule.DbError`. text: str() of it. args_sent: its arguments,
    where they could travel. traceback: the far traceback as text.
    """

    def __init__(
        self, type_name: str, text: str, traceback: str = "", where: str = "", args_sent: "Tuple[Any, ...]" = ()
    ) -> None:
        self.type_name = type_name
        self.text = text
        self.traceback = traceback
        self.where = where
        self.args_sent = args_sent
        super().__init__(type_name, text, traceback, where)

    def __str__(self) -> str:
        place = " (raised on %s)" % self.where if self.where else ""
        head = "%s: %s%s" % (self.type_name, self.text, place)
        return "%s\n\n%s" % (head, self.traceback.rstrip()) if self.traceback else head


# What a call can end with on the wire; every other code is refused as a protocol error.
CALL_ERRORS = {
    kind.code: kind for kind in (NotSent, ContextLost, DeadlineExceeded, Cancelled, Refused, Overloaded, ProtocolError)
}  # type: Dict[str, Type[CallError]]
