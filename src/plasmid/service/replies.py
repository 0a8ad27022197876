"""Reply: the handle by which a call is answered after its method has returned."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from plasmid.runtime.context import Context
    from plasmid.service.interfaces import Message


class Reply:
    """A call to be answered later, once, by any thread; further answers are ignored.

    Dropped without an answer, it answers itself: the caller gets Cancelled, "dropped the request without an answer".
    """

    __slots__ = ("_msg",)

    def __init__(self, msg: "Message") -> None:
        self._msg = msg

    @property
    def caller(self) -> "Context":
        """The context that waits."""
        return self._msg.caller  # type: ignore[return-value]

    @property
    def is_wanted(self) -> bool:
        """Whether the caller still waits: it hasn't cancelled, and nothing was answered."""
        return not (self._msg.cancelled or self._msg.done)

    def send(self, value: "Any" = None) -> None:
        """Answer with a value. One that can't be sent becomes that error, for the caller."""
        self._msg.reply(value)

    def fail(self, error: BaseException) -> None:
        """Answer with an error."""
        self._msg.fail(error)
