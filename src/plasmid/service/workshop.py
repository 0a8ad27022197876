"""Workshop: a pool at work. Its threads take requests, run them, wait and go on.

Threads are started when they are needed, see crew.py; one that activates a service (an import, perhaps over several
links) doesn't count towards the size while it does. Who goes next is decided in queues.py, what a call does in
invokers.py; this file and pool.py own the lock. It is the last of all locks: nothing that could wait or call back into
the runtime happens while it's held.
"""

from threading import Event, Lock
from time import monotonic

from plasmid.core.errors import NotSent, Overloaded, PlasmidError, Refused
from plasmid.service.activator import Activator, activated
from plasmid.service.backlog import Delivery
from plasmid.service.crew import Crew, Worker, set_current
from plasmid.service.invokers import Invoker, Request, answerable, attempt, call_text, overloaded, report
from plasmid.service.policy import caller_text
from plasmid.service.queues import Activation, Schedule, ServiceQueue, WaitingRoom
from plasmid.service.service import Service

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, List, Optional, Set, Tuple, Type, Union

    from plasmid.runtime.ports import Parking
    from plasmid.service.interfaces import Message

    Name = Union[str, int]
    Refuse = Callable[[Message], PlasmidError]
    # A request, after its queue, or None and an Activation.
    Task = Tuple[Optional[ServiceQueue], Any]


# An answer waits for that of the next call, if that is of a method which took no longer when it was run last.
QUICK_S = 0.0005


class Workshop:
    """What a Pool is besides what its users see. activator: brings services to life. size: of its crew."""

    activator_class = Activator  # type: Type[Activator]
    # How many threads may wait within Plasmid, for calls of their own, with others working in their place. When all
    # threads wait and there are as many as this, calls that arrive get Overloaded.
    blocked_max = 64

    def __init__(self, size: int) -> None:
        self.activator = self.activator_class()
        self.is_closed = False
        self._lock = Lock()
        self._schedule = Schedule()
        self._waiting_room = WaitingRoom()
        self._crew = Crew(size, self.blocked_max)
        self._ring = self._schedule.ring
        self._due = self._waiting_room.due
        self._detached = set()  # type: Set[Request]  # begun and not ended, whether a thread is at it now or not
        self._ended_count = 0
        self._surplus = 0  # how many threads fewer would do as much
        self._latest = None  # type: Optional[Worker]  # who was last to end a call and to go on with the next
        self._is_helped = False  # somebody will look soon at what waits, and answers may wait for that
        self._quiet = Event()  # closed, and nothing runs any more

    def _file(self, job: "Message", wake: bool = True) -> "Optional[Refuse]":
        raise NotImplementedError

    def _park(self, parking: "Parking") -> None:
        """Have a thread wait until it's needed."""
        raise NotImplementedError

    def _release(self) -> None:
        """Send the answers that wait for others."""
        raise NotImplementedError

    def _lane(self, source: bytes) -> bytes:
        """Return the lane of a caller."""
        raise NotImplementedError

    def _register(self, service: Service, names: "List[Name]", invoker: Invoker) -> None:
        raise NotImplementedError

    def _take_waiting(self) -> "List[Request]":
        raise NotImplementedError

    def _note_quiet(self) -> None:
        raise NotImplementedError

    def queue_of(self, job: "Message") -> "Optional[ServiceQueue]":
        """Return where a call is filed, None if its service isn't active. Under the lock."""
        raise NotImplementedError

    # What invokers and selects ask for, by way of backlog.py

    def take_arrived(self, queue: ServiceQueue, count_max: int) -> "List[Request]":
        """Return and remove up to so many requests in `queue` that nobody has read."""
        with self._lock:
            return queue.take_arrived(count_max)

    def give_back(self, queue: ServiceQueue, requests: "List[Request]") -> None:
        """Have requests of `queue` that were read served next."""
        with self._lock:
            is_closed = self.is_closed
            if not is_closed:
                self._schedule.give_back(queue, requests)
                for _ in requests:
                    self._wake()
        for request in requests if is_closed else ():
            request.job.fail(closed(request.job))

    def detach(self, queue: ServiceQueue, request: Request) -> bool:
        """Have a running request go on without a thread; False if there are too many."""
        with self._lock:
            request.lane = request.lane or self._lane(request.job.source)
            if not queue.detach(request):
                return False
            self._detached.add(request)
            return True

    def resume(self, queue: ServiceQueue, request: Request) -> None:
        """Give such a request a thread again."""
        with self._lock:
            self._schedule.resume(queue, request)
            self._wake()

    def finish(self, queue: ServiceQueue, request: Request) -> None:
        """Take note that such a request has ended."""
        with self._lock:
            if request in self._detached:
                queue.attach(request)
                self._schedule.finished(queue)
                self._detached.discard(request)
                if self.is_closed:
                    self._note_quiet()
                if self._schedule.ring:
                    self._wake()

    def deliver(self, queue: ServiceQueue) -> None:
        """Have a thread take a message of a service's select."""
        with self._lock:
            if not self.is_closed and self._schedule.deliver(queue, Delivery(self, queue)):
                self._wake()

    def running(self) -> "Set[Request]":
        """Return the requests that were begun and haven't ended, with a thread or without. Under the lock."""
        tasks = [worker.task for worker in self._crew.workers if worker.task is not None]
        return self._detached.union(request for _, request in tasks if not request.is_detached)

    # Threads

    def _wake(self) -> bool:
        return self._crew.wake(self._waiting_room.thread_count(), self._work, self._blocks, self._goes_on)

    def _work(self, worker: Worker) -> None:
        """Do what is to be done until this thread is no longer needed."""
        set_current(worker)
        lock, crew, ring, due = self._lock, self._crew, self._ring, self._due
        queue = None  # type: Optional[ServiceQueue]
        request = None  # type: Any
        while True:
            with lock:
                is_idle = not (ring or due or self.is_closed or len(crew.workers) > crew.size)
                # A queue that isn't in the ring may have what couldn't run beside this request.
                if queue is not None and is_idle and queue.invoker.max_concurrency <= 0:
                    task = None
                    queue.running -= 1
                    self._ended_count += 1
                    worker.task = None
                    if worker.is_busy:
                        worker.is_busy = False
                        crew.busy -= 1
                    crew.lay_down(worker)
                else:
                    task = self._next_task(worker, queue)
                    if task is None and (self.is_closed or not crew.rest(worker, self._waiting_room)):
                        crew.leave(worker)
                        return
            if task is None:
                request = None  # which may answer itself once nobody holds it
                self._park(worker.parking)
                task = worker.task
                if crew.handed is worker:
                    crew.handed = None
            queue, request = task or (None, None)
            if queue is not None:
                if self._is_helped:
                    self._serve_timed(queue, request)
                else:
                    _serve(queue, request)
                if request.is_detached:
                    queue = None
            elif request is not None:
                self._activate(request)

    def _serve_timed(self, queue: ServiceQueue, request: Request) -> None:
        """Run a request while answers may wait for its own. Not if it is one that took long, or wasn't seen yet."""
        method = None if request.job is None else request.job.method
        if method not in queue.quick:
            self._release()
        begun = monotonic()
        _serve(queue, request)
        if request.is_started and monotonic() - begun < QUICK_S:
            queue.quick.add(method)
        else:
            queue.quick.discard(method)

    def _next_task(self, worker: Worker, queue: "Optional[ServiceQueue]") -> "Optional[Task]":
        """Take note that a thread has ended a request of `queue`. Return what it does next, None to rest."""
        crew, ring, due = self._crew, self._ring, self._due
        if queue is not None:
            self._ended_count += 1
            if ring and not (due or self.is_closed) and crew.busy <= crew.size:
                # Mostly there is one service that is busy: it goes on with that, and all counts stay as they are.
                if self._surplus and self._latest not in (None, worker):
                    # Another one ends calls as well, and both wait for one interpreter: it does as much alone.
                    self._surplus -= 1
                    self._schedule.finished(queue)
                    crew.end(worker)
                    worker.task = None
                    return None
                request = self._schedule.following(queue)
                if request is not None:
                    self._latest = worker
                    worker.task = queue, request
                    return queue, request
        if worker.is_busy:
            worker.is_busy = False
            crew.busy -= 1
        worker.task = None
        if self.is_closed:
            self._note_quiet()
        # A queue that isn't in the ring may have what couldn't run beside that request.
        if ring or due or (queue is not None and queue.invoker.max_concurrency > 0 and queue.has_waiting()):
            return self._choose_task(worker, queue)
        if queue is not None:
            queue.running -= 1
        return None

    def _choose_task(self, worker: Worker, last: "Optional[ServiceQueue]") -> "Optional[Task]":
        """Return whatever has its turn now."""
        crew = self._crew
        activation = self._waiting_room.begin()
        if activation is not None or crew.busy >= crew.size:
            self._schedule.finished(last)
            if activation is not None and self._schedule.ring:
                # Somebody else has to do what this thread would have done next.
                self._wake()
            return None if activation is None else (None, activation)
        task = self._schedule.next(last, crew.has_room_beside(self._waiting_room.thread_count()))
        if task is not None:
            crew.begin(worker)
            worker.task = task
        return task

    def _blocks(self, worker: Worker) -> None:
        """Have another thread work in the place of one that is about to wait within Plasmid."""
        requests = []  # type: List[Request]
        with self._lock:
            self._crew.block(worker)
            if self._crew.is_stuck(self._waiting_room.thread_count()):
                requests = self._take_waiting()
            elif self._schedule.ring:
                self._wake()
        # Among them may be the very call that this thread is about to wait for.
        for request in requests:
            request.job.fail(stuck(request.job))

    def _goes_on(self, worker: Worker) -> None:
        with self._lock:
            self._crew.unblock(worker)

    def _activate(self, activation: Activation) -> None:
        """Start a service for the first caller who may have that done, and give it the calls that wait for it."""
        name = activation.name
        job = self._permitted_job(activation)
        service = None  # type: Optional[Service]
        error = None  # type: Optional[BaseException]
        if job is not None:
            service, error = attempt(activated, self, job)
        invoker = None  # type: Optional[Invoker]
        if service is not None:
            invoker, error = attempt(service.invoker_class, service=service)
            if invoker is None:
                service = None
                found = "making its invoker failed: %s: %s" % (type(error).__name__, error)
                error = Refused("" if job is None else call_text(job), "", found)
        failed = []  # type: List[Tuple[Message, Refuse]]
        with self._lock:
            waiting = ([] if job is None else [job]) + self._waiting_room.end(activation)
            if service is not None and invoker is not None:
                self._register(service, [name] + names_of(service), invoker)
            # This thread takes the first of them itself, if the pool has room for it.
            has_taker = self._crew.busy < self._crew.size
            for each in waiting:
                refuse = self._file(each, wake=not has_taker) if service is not None else not_active
                has_taker = False
                if refuse is not None:
                    failed.append((each, refuse))
            failed += [(request.job, overloaded) for request in self._schedule.squeezed]
            self._schedule.squeezed = []
        if service is not None:
            service.watch_select()
        for each, refuse in failed:
            # Without its traceback, which would make it an error of the method's own.
            each.fail(refuse(each) if error is None else error.with_traceback(None))

    def _permitted_job(self, activation: Activation) -> "Optional[Message]":
        """Return the first of the waiting calls that may have the service started; those before it are refused."""
        while True:
            with self._lock:
                job = self._waiting_room.take_first(activation)
            if job is None:
                return None
            is_permitted, error = attempt(self.activator.is_permitted, activation.name, job)
            if error is None and is_permitted is True:
                return job
            if error is not None:
                report("%s.is_permitted() failed; the call was refused" % type(self.activator).__name__, error)
            job.fail(not_active(job))


def _serve(queue: ServiceQueue, request: Request) -> None:
    try:
        (request if type(request) is Delivery else queue.invoker).serve(request)
    except BaseException as error:  # noqa: BLE001  as in attempt(), which would cost a call
        # An invoker of the user's own.
        report("%s failed" % type(queue.invoker).__name__, error)
        request.job.fail(answerable(request, error))


def names_of(service: Service) -> "List[Name]":
    return [service.name()] if service.handle is None else [service.name(), service.handle]


def fail(job: "Message", refuse: "Refuse") -> None:
    job.fail(refuse(job))


def no_thread(job: "Message") -> Overloaded:
    return Overloaded(call_text(job), "", "no thread could be started to serve it")


def closed(job: "Message") -> NotSent:
    return NotSent(call_text(job), "", "the pool there was closed before the call was started")


def not_active(job: "Message") -> Refused:
    found = "no service of this name is active there, and %s may not start one: only a parent of that context may"
    return Refused(call_text(job), "", found % caller_text(job))


def stuck(job: "Message") -> Overloaded:
    """Return the error for a call that no thread is left for."""
    found = "every thread there waits for a call of its own: its services call one another too deep, or too often"
    return Overloaded(call_text(job), "", found)
