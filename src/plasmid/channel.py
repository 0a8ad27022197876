"""Channel: two queues between two contexts, one each way.

Who opens it sends the other end along, which is a Sender. Who joins with that puts, as the first value, the Sender that
leads back. From then on each takes values from the other alone.
"""

from plasmid.core.errors import Overloaded, ProtocolError, ReceiverClosed
from plasmid.runtime.ports import Latch, TimedOut
from plasmid.runtime.receivers import Receiver, Sender

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Optional, Union

    from plasmid.core import events
    from plasmid.router import Router


class Channel(Receiver):
    """One end of a pair of queues: what the other end puts is got here, and the other way round.

        channel = plasmid.Channel(router)            # here
        call = context.call_async(work, channel.other_end)

        def work(other_end: plasmid.Sender) -> None:  # there
            with plasmid.Channel(other_end) as channel:
                channel.put(channel.get() + 1)

    end: a Router to open a channel, or the other end of one, to join it. classes: see Receiver. It may be in a Select.
    """

    def __init__(
        self, end: "Union[Router, Sender]", classes: "Optional[Callable[[str], Optional[type]]]" = None
    ) -> None:
        self._peer = end.address if isinstance(end, Sender) else None  # type: Optional[bytes]
        self._sender = end if isinstance(end, Sender) else None  # type: Optional[Sender]
        self._joined = Latch()
        super().__init__(end._runtime.myself if isinstance(end, Sender) else end, classes)
        if self._sender is not None:
            self._sender.put(self.to_sender())

    @property
    def other_end(self) -> Sender:
        """What is to be sent to the one context that joins."""
        return self.to_sender()

    def __enter__(self) -> "Channel":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def put(self, value: "Any", timeout: "Optional[float]" = None) -> None:
        """Put a value for the other end. Waits until that has joined, and while it is behind, up to `timeout` seconds.

        Raises Overloaded when the time is over, ReceiverClosed if the other end takes no more, NotSent if it is lost.
        """
        self._to_peer(timeout).put(value, timeout)

    def close(self) -> None:
        """Close both ways. The other end gets what was put before, and then ReceiverClosed."""
        sender, self._sender = self._sender, None
        super().close()
        self._joined.put()
        if sender is not None:
            sender.close()

    def arrived(self, event: "events.ItemArrived") -> None:
        """Take an item in, of the other end alone. A handler of the loop."""
        if self._peer is None:
            self._peer = event.source
            self._joined.put((event.source, event.payload))
        elif event.source == self._peer:
            super().arrived(event)

    def source_closed(self, event: "events.SourceClosed") -> None:
        """Take note that the other end puts no more. A handler of the loop."""
        if event.source == self._peer:
            super().source_closed(event)

    def _to_peer(self, timeout: "Optional[float]") -> Sender:
        """Return what leads to the other end, once that has joined."""
        if self._sender is None and not self.closed:
            try:
                item = self._joined.get(timeout)
            except TimedOut:
                raise Overloaded("put", "the channel", "nobody has joined it within %s s" % timeout) from None
            if item is not None:
                sender = self.finish(item)
                if not isinstance(sender, Sender) or sender.address != self._peer:
                    self.close()
                    raise ProtocolError("put", "the channel", "who joined it didn't say where to put values")
                self._sender = sender
            self._joined.put()  # for the other threads that wait
        if self._sender is None:
            raise ReceiverClosed("the channel was closed")
        return self._sender
