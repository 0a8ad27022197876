"""What a node tells its runtime: a small class for each thing that has happened, taken from `node.events` in order."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional

    from plasmid.core.errors import CallError
    from plasmid.core.link import Link
    from plasmid.core.values import Payload


class CallEnded:
    """A call of ours ended: with `body` (a REPLY, or an ERROR where `is_error`), else with `error`."""

    __slots__ = "ref", "body", "is_error", "error"

    def __init__(self, ref: "Any", body: "Optional[Payload]", is_error: bool, error: "Optional[CallError]") -> None:
        self.ref = ref
        self.body = body
        self.is_error = is_error
        self.error = error


class Held:
    """What a link holds of a call to serve: so many bytes, on the books of that link."""

    __slots__ = "link", "size"


class CallArrived(Held):
    """A call to serve; answer() ends it. head and payload are not decoded yet."""

    __slots__ = "source", "id", "head", "payload", "deadline", "no_reply"

    def __init__(
        self,
        source: bytes,
        id: int,
        head: bytes,
        payload: "Payload",
        deadline: "Optional[float]",
        no_reply: bool,
        link: int,
        size: int,
    ) -> None:
        self.source = source
        self.id = id
        self.head = head
        self.payload = payload
        self.deadline = deadline
        self.no_reply = no_reply
        self.link = link
        self.size = size


class CallCancelled:
    """Nobody waits for this served call any more."""

    __slots__ = "source", "id"

    def __init__(self, source: bytes, id: int) -> None:
        self.source = source
        self.id = id


class ItemArrived:
    """A value for a receiver; taken() says when it has left the queue."""

    __slots__ = "ref", "source", "payload"

    def __init__(self, ref: "Any", source: bytes, payload: "Payload") -> None:
        self.ref = ref
        self.source = source
        self.payload = payload


class SourceClosed:
    """A context puts no more to a receiver; `lost` says why if it didn't close in order."""

    __slots__ = "ref", "source", "lost"

    def __init__(self, ref: "Any", source: bytes, lost: str) -> None:
        self.ref = ref
        self.source = source
        self.lost = lost


class StreamChanged:
    """A stream of ours to (target, number) was granted credit, or has ended because of `error`."""

    __slots__ = "target", "number", "error"

    def __init__(self, target: bytes, number: int, error: str) -> None:
        self.target = target
        self.number = number
        self.error = error


class LinkOpened:
    """The peer has said hello."""

    __slots__ = ("link",)

    def __init__(self, link: "Link") -> None:
        self.link = link


class LinkLeft:
    """The peer has said goodbye; say_goodbye() answers it when all is sent that should be."""

    __slots__ = ("link",)

    def __init__(self, link: "Link") -> None:
        self.link = link


class LinkEnded:
    """The link is no more; the runtime closes its descriptors. `reason` reads on from "the link was lost: "."""

    __slots__ = "link", "reason"

    def __init__(self, link: "Link", reason: str) -> None:
        self.link = link
        self.reason = reason


class ContextGone:
    """The context at this address is gone, and all below it."""

    __slots__ = "address", "reason"

    def __init__(self, address: bytes, reason: str) -> None:
        self.address = address
        self.reason = reason
