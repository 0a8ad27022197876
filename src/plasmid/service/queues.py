"""Queues: which request a free thread takes next. No threads, locks or clock here.

Each service has a queue of its own. The ring holds the queues from which a request may be taken now, and a turn goes
to one queue at a time, so a flood on one service costs another at most one call's wait per thread. Idle services
aren't in the ring: ten thousand of them cost nothing per call. Within a queue callers take turns, see lanes.py, and so
do the three kinds of work: calls, streams that go on, and messages of the service's select. Calls of services that
aren't active yet stand in the WaitingRoom.
"""

from plasmid.service.invokers import Request
from plasmid.service.lanes import Lanes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import deque
    from typing import Any, Deque, Dict, List, Optional, Set, Tuple, Union

    from plasmid.service.interfaces import Message

    Name = Union[str, int]
else:
    from _collections import deque  # what `collections` gives, without the milliseconds of importing the rest of it

# How many services may be on their way to life at once, each in a thread of its own.
ACTIVATING_MAX = 8
# How many calls may wait for services that aren't active yet, all together. With the call that starts it, they are as
# many as the queue of a service takes.
ACTIVATION_WAITING_MAX = 999


class Offer:
    """What became of a request that was offered to a queue."""

    RUN = "run"  # a thread may take one more from this queue now
    WAIT = "wait"  # it is in the queue, and its turn comes when a running call ends
    FULL = "full"  # it was not taken


class ServiceQueue:
    """The requests of one service that no thread has taken. Owned by the pool's lock, as its Schedule is.

    running: the requests that were taken and haven't ended, whether a thread is busy with them or, `detached`, not.
    quick: the methods that ended soon when they were run last.
    """

    __slots__ = (
        *("invoker", "arrived", "ready", "resumed", "delivery", "running", "detached", "is_listed", "quick"),
        *("_turn",),
    )

    def __init__(self, invoker: "Any") -> None:
        self.invoker = invoker
        self.arrived = Lanes(invoker.keeps_order)
        # Requests that an invoker has read and given back: they come before any that nobody has looked at.
        self.ready = deque()  # type: Deque[Request]
        # Streams that need a thread again. They count as running already.
        self.resumed = deque()  # type: Deque[Request]
        # Stands for the messages of the service's select, while there are any.
        self.delivery = None  # type: Optional[Request]
        self.running = 0
        self.detached = {}  # type: Dict[bytes, int]  # how many, by lane
        self.is_listed = False
        self.quick = set()  # type: Set[Optional[str]]
        self._turn = 0

    def may_run(self) -> bool:
        """Say whether a request can be taken now."""
        if self.arrived.count or self.ready or self.delivery is not None:
            limit = self.invoker.max_concurrency  # type: int
            if limit <= 0 or self.running < limit:
                return True
        return bool(self.resumed)

    def has_waiting(self) -> bool:
        """Say whether anything waits here, of whatever kind."""
        return bool(self.arrived.count or self.ready or self.resumed or self.delivery is not None)

    def has_room(self) -> bool:
        """Say whether one more may wait, without that another has to leave."""
        limit = self.invoker.max_queued  # type: int
        return len(self.ready) + self.arrived.count < limit

    def waiting(self) -> int:
        """Return how many threads could be of use: one for each request, of whatever kind."""
        return len(self.resumed) + len(self.ready) + len(self.arrived) + (self.delivery is not None)

    def take(self) -> Request:
        """Return the next request, and count it as running. Only when may_run()."""
        if not self.resumed and self.delivery is None:
            self.running += 1
            return self.ready.popleft() if self.ready else self.arrived.pop()
        while True:
            self._turn += 1
            request = self._take_kind(self._turn % 3)
            if request is not None:
                return request

    def _take_kind(self, kind: int) -> "Optional[Request]":
        if kind == 0:
            return self.resumed.popleft() if self.resumed else None
        limit = self.invoker.max_concurrency
        if 0 < limit <= self.running:
            return None
        request = None  # type: Optional[Request]
        if kind == 1:
            request, self.delivery = self.delivery, None
        elif self.ready or self.arrived:
            request = self.ready.popleft() if self.ready else self.arrived.pop()
        if request is not None:
            self.running += 1
        return request

    def detach(self, request: Request) -> bool:
        """Have a running request go on without a thread. False if its caller has too many of those already.

        One caller may have as many as there is room left for others: however many one has, the next finds room.
        """
        own = self.detached.get(request.lane, 0)
        if own >= self.invoker.max_detached - sum(self.detached.values()):
            return False
        self.detached[request.lane] = own + 1
        request.is_detached = True
        return True

    def attach(self, request: Request) -> None:
        """Take note that a request which went on without a thread has ended."""
        left = self.detached[request.lane] - 1
        if left:
            self.detached[request.lane] = left
        else:
            del self.detached[request.lane]

    def take_arrived(self, count_max: int) -> "List[Request]":
        """Return and forget up to so many of those that nobody has read, in the order of their turns."""
        return self.arrived.pop_many(count_max)

    def take_all(self) -> "List[Request]":
        """Return and forget all calls that wait to be started, and the messages."""
        self.delivery = None
        waiting = list(self.ready)
        self.ready.clear()
        return waiting + self.take_arrived(len(self.arrived))


class Schedule:
    """The ring of queues, in the order of their turns.

    squeezed: requests that had to leave a full queue, for whoever offered the one that took the place to answer.
    """

    def __init__(self) -> None:
        self.ring = deque()  # type: Deque[ServiceQueue]
        self.squeezed = []  # type: List[Request]

    def offer(self, queue: ServiceQueue, request: Request) -> str:
        """Put a request that has arrived into its queue; return what became of it, one of Offer."""
        if not queue.has_room():
            squeezed = queue.arrived.squeeze(request.lane)
            if squeezed is None:
                return Offer.FULL
            self.squeezed.append(squeezed)
        queue.arrived.push(request)
        return Offer.RUN if self._list(queue) or queue.may_run() else Offer.WAIT

    def give_back(self, queue: ServiceQueue, requests: "List[Request]") -> None:
        """Put requests that were read before all that weren't."""
        queue.ready.extend(requests)
        self._list(queue)

    def resume(self, queue: ServiceQueue, request: Request) -> None:
        """Have a request that went on without a thread get one again."""
        queue.resumed.append(request)
        self._list(queue)

    def deliver(self, queue: ServiceQueue, delivery: Request) -> bool:
        """Have a thread look at the messages of a service. False if one is about to already."""
        if queue.delivery is not None:
            return False
        queue.delivery = delivery
        self._list(queue)
        return True

    def next(self, last: "Optional[ServiceQueue]", has_spare: bool) -> "Optional[Tuple[ServiceQueue, Request]]":
        """Return what the asking thread should run next, with its queue; None if there is nothing.

        last: the queue whose request the thread has just finished. has_spare: other threads are free, so that the
        queues in the ring don't need this one; a queue that runs one call at a time then keeps its thread.
        """
        if last is not None:
            last.running -= 1
            if last.invoker.max_concurrency == 1 and last.may_run() and (has_spare or not self.ring):
                return last, last.take()
            self._list(last)
        while self.ring:
            queue = self.ring.popleft()
            # It may have been emptied where it stood: to find it in the ring then would cost more than to skip it now.
            request = queue.take() if queue.may_run() else None
            queue.is_listed = queue.may_run()
            if queue.is_listed:
                self.ring.append(queue)
            if request is not None:
                return queue, request
        return None

    def following(self, last: ServiceQueue) -> "Optional[Request]":
        """Return the next call of the queue whose request the asking thread has just finished, which counts for it.

        None unless that queue alone is in the ring, and calls alone wait there: then next() has to choose.
        """
        ring, arrived = self.ring, last.arrived
        if len(ring) != 1 or ring[0] is not last or last.ready or last.resumed or last.delivery is not None:
            return None
        if not arrived.count:
            return None
        request = arrived.pop()
        if not arrived.count:
            ring.popleft()
            last.is_listed = False
        return request

    def finished(self, queue: "Optional[ServiceQueue]") -> None:
        """Take note that a request has ended, and that its thread, if it had one, won't ask for another."""
        if queue is not None:
            queue.running -= 1
            self._list(queue)

    def _list(self, queue: ServiceQueue) -> bool:
        """Put a queue at the end of the ring, if it has a turn to wait for. Return whether it was put there."""
        if queue.is_listed or not queue.may_run():
            return False
        queue.is_listed = True
        self.ring.append(queue)
        return True


class Activation:
    """A service that is to be started, and the calls that wait for it."""

    __slots__ = "name", "waiting"

    def __init__(self, name: "Name") -> None:
        self.name = name
        self.waiting = deque()  # type: Deque[Message]


class WaitingRoom:
    """The calls of services that aren't active yet. Owned by the pool's lock. due: the services to be started next."""

    def __init__(self) -> None:
        self.waiting = 0
        self.running = 0
        self.due = deque()  # type: Deque[Activation]
        self._activations = {}  # type: Dict[Name, Activation]

    def thread_count(self) -> int:
        """Return how many threads activations may have, besides those of the pool's size."""
        return min(len(self.due) + self.running, ACTIVATING_MAX) if self.due or self.running else 0

    def offer(self, name: "Name", job: "Message") -> str:
        """Have a call wait for the service `name`. Returns one of Offer; RUN if the service is yet to be started."""
        if self.waiting >= ACTIVATION_WAITING_MAX:
            return Offer.FULL
        self.waiting += 1
        activation = self._activations.get(name)
        if activation is not None:
            activation.waiting.append(job)
            return Offer.WAIT
        activation = self._activations[name] = Activation(name)
        activation.waiting.append(job)
        self.due.append(activation)
        return Offer.RUN

    def begin(self) -> "Optional[Activation]":
        """Return the next activation for a thread to run, None if there is none or too many are running."""
        if not self.due or self.running >= ACTIVATING_MAX:
            return None
        self.running += 1
        return self.due.popleft()

    def take_first(self, activation: Activation) -> "Optional[Message]":
        """Return and remove the call that has waited the longest."""
        if not activation.waiting:
            return None
        self.waiting -= 1
        return activation.waiting.popleft()

    def end(self, activation: Activation) -> "List[Message]":
        """Take note that an activation has ended, well or not. Return the calls that still wait for it."""
        self.running -= 1
        del self._activations[activation.name]
        return self._take_waiting(activation)

    def take_all(self) -> "List[Message]":
        """Return all calls that wait, and forget what hasn't begun."""
        jobs = []  # type: List[Message]
        for activation in self._activations.values():
            jobs += self._take_waiting(activation)
        while self.due:
            del self._activations[self.due.popleft().name]
        return jobs

    def _take_waiting(self, activation: Activation) -> "List[Message]":
        jobs = list(activation.waiting)
        activation.waiting.clear()
        self.waiting -= len(jobs)
        return jobs
