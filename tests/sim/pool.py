"""The service pool of a simulated context: the real queues, lanes and responses, with workers that only take time.

Three services stand in each: PLAIN runs as many calls at once as there are workers, SERIAL one after the other, SHARED
one for each key. Who goes next, who makes room for whom and who shares whose response is decided by plasmid.service;
this checks that what comes of it is what is promised.
"""

from typing import TYPE_CHECKING, Any

from plasmid.core.errors import DeadlineExceeded, NotSent, Overloaded
from plasmid.service.deduplicate import Response, Responses
from plasmid.service.invokers import Request
from plasmid.service.lanes import lane_of
from plasmid.service.queues import Offer, Schedule, ServiceQueue
from tests.sim.records import NESTED, PLAIN, SERIAL, SHARED, Violation

if TYPE_CHECKING:
    from tests.sim.machine import Application, Job

CLOSED = "the pool was closed"
FULL = "as many calls as may wait for this service wait already"


class Limits:
    """As much of an invoker as a queue looks at."""

    max_detached = 8

    def __init__(self, max_concurrency: int, max_queued: int, keeps_order: bool) -> None:
        self.max_concurrency = max_concurrency
        self.max_queued = max_queued
        self.keeps_order = keeps_order


class Pool:
    """The pool of one context, with `size` workers."""

    def __init__(self, application: "Application", size: int, max_queued: int, kept_max: int) -> None:
        self.application = application
        self.size = size
        self.idle = size
        self.is_closed = False
        self.schedule = Schedule()
        self.queues = {
            PLAIN: ServiceQueue(Limits(0, max_queued, False)),
            SERIAL: ServiceQueue(Limits(1, max_queued, True)),
            SHARED: ServiceQueue(Limits(0, max_queued, False)),
        }
        self.responses = Responses(kept_max, 1 << 20, max_queued)
        self.running_keys: set[int] = set()
        self.serial_running = 0
        self._last_serial = 0

    def offer(self, job: "Job") -> None:
        """Take a call that has arrived."""
        if self.is_closed:
            self.application.fail(job, NotSent("", "", CLOSED))
            return
        served: Any = job
        request = Request(served, lane_of(job.source, self.application.node.address))
        verdict = self.schedule.offer(self.queues[job.record.service], request)
        squeezed: list[Any] = [each.job for each in self.schedule.squeezed] + ([job] if verdict == Offer.FULL else [])
        self.schedule.squeezed.clear()
        for each in squeezed:
            self.application.fail(each, Overloaded("", "", FULL))
        self._work()

    def close(self) -> None:
        """Answer all that wait; what runs finishes."""
        if self.is_closed or not self.application.machine.alive:
            return
        self.is_closed = True
        waiting: list[Any] = [request for queue in self.queues.values() for request in queue.take_all()]
        for request in waiting + self.responses.abandon():
            self.application.fail(request.job, NotSent("", "", CLOSED))

    def held(self) -> "list[int]":
        """Return how much is held of each kind, all 0 when nothing goes on."""
        queues = self.queues.values()
        waiting = [len(queue.arrived) + len(queue.ready) + queue.running for queue in queues]
        return [*waiting, self.responses.parked, len(self.responses._runs), self.size - self.idle]

    def _work(self) -> None:
        while self.idle:
            task = self.schedule.next(None, self.idle > 1)
            if task is None:
                return
            self.idle -= 1
            self._begin(*task)
        if sum(queue.running for queue in self.queues.values()) < self.size:
            raise Violation("a worker is missed")

    def _begin(self, queue: ServiceQueue, request: Any) -> None:
        job: Job = request.job
        application = self.application
        if job.cancelled or job.done:
            self._pass_on(queue, request)
            self._end(queue)
            return
        if job.deadline is not None and application.clock.now >= job.deadline:
            application.fail(job, DeadlineExceeded("", "", "its deadline passed before it started", False))
            self._pass_on(queue, request)
            self._end(queue)
            return
        service = job.record.service
        if service == SHARED:
            if not self._admit(request):
                self._end(queue)
                return
            job.share = lambda parts, is_error: self._share(queue, request, parts, is_error)
        elif service == SERIAL:
            self.serial_running += 1
            if self.serial_running > 1 or request.number < self._last_serial:
                raise Violation("%s is served beside another one, or before its turn" % job.record)
            self._last_serial = request.number
        waits = job.record.behaviour == NESTED
        job.then = lambda: self._end(queue, service, waits)
        if waits:
            self.idle += 1  # another worker takes the place of one that waits
        application.start(job)

    def _admit(self, request: Any) -> bool:
        """Return whether a request of SHARED is to be run. Else it is answered by now, or parked."""
        if request.key is None:
            request.key = request.job.record.key.to_bytes(4, "big")
            verdict, response = self.responses.admit(request.key, request, self.application.clock.now)
            if response is not None:
                self._give(request, response)
            elif verdict == Responses.FULL:
                self.application.fail(request.job, Overloaded("", "", FULL))
            if verdict != Responses.RUN:
                return False
        if request.job.record.key in self.running_keys:
            raise Violation("%s runs though another of its key does" % request.job.record)
        self.running_keys.add(request.job.record.key)
        return True

    def _pass_on(self, queue: ServiceQueue, request: Any) -> None:
        """Have another run in the place of one that was to, and may no more."""
        heir = None if request.key is None else self.responses.pass_on(request.key)
        if heir is not None:
            heir.key = request.key
            self.schedule.give_back(queue, [heir])

    def _share(self, queue: ServiceQueue, request: Any, parts: "list[Any]", is_error: bool) -> None:
        """Give the response to all who share it."""
        response = Response(parts, ValueError() if is_error else None)
        self.running_keys.discard(request.job.record.key)
        parked, heir = self.responses.finish(request.key, response, not is_error)
        if heir is not None:
            self.schedule.give_back(queue, [heir])
        for each in [request, *parked]:
            self._give(each, response)

    def _give(self, request: Any, response: Response) -> None:
        assert response.parts is not None
        self.application.answer(request.job, response.parts, response.error is not None)

    def _end(self, queue: ServiceQueue, service: int = 0, has_waited: bool = False) -> None:
        """Take note that a request has ended, and that a worker is free, unless its place was taken."""
        if service == SERIAL:
            self.serial_running -= 1
        self.idle += not has_waited
        self.schedule.finished(queue)
        self._work()
