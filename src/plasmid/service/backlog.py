"""What a pool gives to the invokers and selects of its services, and what it hands out besides calls."""

from plasmid.core.address import number_below
from plasmid.core.errors import ReceiverClosed
from plasmid.core.flow import OUTBOX_SIZE_MAX
from plasmid.runtime.ports import guard
from plasmid.runtime.select import Event
from plasmid.service.invokers import Request, attempt, report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List

    from plasmid.service.coroutines import EventLoop
    from plasmid.service.pool import Pool
    from plasmid.service.queues import ServiceQueue
    from plasmid.service.selects import PoolSelect
    from plasmid.service.workshop import Workshop


class PoolBacklog:
    """An invoker's way to its own queue, and to the rest of the pool."""

    __slots__ = "_pool", "_queue"

    def __init__(self, pool: "Pool", queue: "ServiceQueue") -> None:
        self._pool = pool
        self._queue = queue

    def take(self, count_max: int) -> "List[Request]":
        """Return and remove up to so many of the requests that have arrived and that nobody has read."""
        return self._pool.take_arrived(self._queue, count_max)

    def give_back(self, requests: "List[Request]") -> None:
        """Have requests that were read served next."""
        self._pool.give_back(self._queue, requests)

    def detach(self, request: Request) -> bool:
        """Have a running request go on without a thread, until finish(). False if there are too many of those."""
        return self._pool.detach(self._queue, request)

    def resume(self, request: Request) -> None:
        """Have such a request served again, by a thread that goes on with it. Only queues and wakes."""
        self._pool.resume(self._queue, request)

    def is_unread(self, address: bytes) -> bool:
        """Say whether so many answers wait to be sent to the child that leads to a context that no more may."""
        here = self._pool.here
        if len(address) <= len(here) or not address.startswith(here):
            return False
        runtime = getattr(self._pool.router, "runtime", None)
        if runtime is None:
            return False  # a stand-in has none
        switch = runtime.node.switch
        # Without the router lock, for each call: a little more or less waits by the time this is used.
        link = switch.links.get(number_below(here, address))
        return link is not None and link.outbox.owed_size > OUTBOX_SIZE_MAX

    def finish(self, request: Request) -> None:
        """Take note that such a request has ended."""
        self._pool.finish(self._queue, request)

    def event_loop(self) -> "EventLoop":
        """Return the event loop of the pool."""
        return self._pool.event_loop()

    def select(self) -> "PoolSelect":
        """Return what the selects of all services stand in."""
        return self._pool.select

    def deliver(self) -> None:
        """Have a thread take a message of the service's select. Only queues and wakes."""
        self._pool.deliver(self._queue)


class Delivery(Request):
    """Stands in a queue for the messages of its service's select. Each time it is served it takes one."""

    __slots__ = "_pool", "_queue"

    def __init__(self, pool: "Workshop", queue: "ServiceQueue") -> None:
        super().__init__(None)  # type: ignore[arg-type]  # no call
        self._pool = pool
        self._queue = queue

    def serve(self, request: Request) -> None:
        """Take one message, and give it to the service."""
        service = self._queue.invoker.service
        select = service.select
        with guard:
            if not select.has():
                return
            source, item = select.take()
            has_more = select.has()
        if has_more:
            # Another thread may take the next while this one is busy, if the invoker of the service allows it.
            self._pool.deliver(self._queue)
        event, error = attempt(select.finish, (source, item))
        act = service.on_message_received
        if error is not None:
            event = Event(source, error)
            act = service.on_message_failed
        _, error = attempt(act, event)
        if error is not None:
            report("%s.%s() failed" % (type(service).__name__, act.__name__), error)


def report_failed(service: object, event: Event) -> None:
    """Log what a service was sent and couldn't be given. That a sender has closed, or is lost, is no failure."""
    if not isinstance(event.data, ReceiverClosed):
        report("a message for %s can't be taken" % type(service).__name__, event.data)
