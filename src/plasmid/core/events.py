"""What a node tells its runtime: a small class for each thing that has happened, taken from `node.events` in order."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dataclasses import dataclass
    from typing import Any, Optional

    from plasmid.core.errors import CallError
    from plasmid.core.link import Link
    from plasmid.core.values import Payload
else:

    def dataclass(cls):
        """Have objects of the class made of the values of its slots: what `dataclasses` gives, which 3.6 lacks."""

        def make(self, *values):
            for name, value in zip(cls.__slots__, values):
                setattr(self, name, value)

        cls.__init__ = make
        return cls


@dataclass
class CallEnded:
    """A call of ours ended: with `body` (a REPLY, or an ERROR where `is_error`), else with `error`."""

    __slots__ = "ref", "body", "is_error", "error"
    ref: "Any"
    body: "Optional[Payload]"
    is_error: bool
    error: "Optional[CallError]"


@dataclass
class CallArrived:
    """A call to serve; answer() ends it. head and payload are not decoded yet."""

    __slots__ = "source", "id", "head", "payload", "deadline", "no_reply"
    source: bytes
    id: int
    head: bytes
    payload: "Payload"
    deadline: "Optional[float]"
    no_reply: bool


@dataclass
class CallCancelled:
    """Nobody waits for this served call any more."""

    __slots__ = "source", "id"
    source: bytes
    id: int


@dataclass
class ItemArrived:
    """A value for a receiver; taken() says when it has left the queue."""

    __slots__ = "ref", "source", "payload"
    ref: "Any"
    source: bytes
    payload: "Payload"


@dataclass
class SourceClosed:
    """A context puts no more to a receiver; `lost` says why if it didn't close in order."""

    __slots__ = "ref", "source", "lost"
    ref: "Any"
    source: bytes
    lost: str


@dataclass
class StreamChanged:
    """A stream of ours to (target, number) was granted credit, or has ended because of `error`."""

    __slots__ = "target", "number", "error"
    target: bytes
    number: int
    error: str


@dataclass
class LinkOpened:
    """The peer has said hello."""

    __slots__ = ("link",)
    link: "Link"


@dataclass
class LinkLeft:
    """The peer has said goodbye; say_goodbye() answers it when all is sent that should be."""

    __slots__ = ("link",)
    link: "Link"


@dataclass
class LinkEnded:
    """The link is no more; the runtime closes its descriptors. `reason` reads on from "the link was lost: "."""

    __slots__ = "link", "reason"
    link: "Link"
    reason: str


@dataclass
class ContextGone:
    """The context at this address is gone, and all below it."""

    __slots__ = "address", "reason"
    address: bytes
    reason: str
