"""Pool: the threads of a context's services, and the table of what is served there.

The runtime hands each service call to submit(), which only files it and wakes a thread. Threads are started when they
are needed, up to `size`; one that activates a service (an import, perhaps over several links) doesn't count while it
does. Who goes next is decided in queues.py, what a call does in invokers.py; this file owns the lock and the threads.
Nothing that could wait or call back into the runtime happens while the lock is held.
"""

from threading import Event, Lock, Thread, current_thread
from time import monotonic

from plasmid.core.errors import Cancelled, NotSent, Overloaded, PlasmidError, Refused
from plasmid.service.activator import Activator, activated
from plasmid.service.invokers import Request, answerable, attempt, call_text, overloaded, report
from plasmid.service.policy import caller_text
from plasmid.service.queues import Activation, Offer, Schedule, ServiceQueue, WaitingRoom
from plasmid.service.service import Service

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Iterable, List, Optional, Set, Tuple, Type, Union

    from plasmid.service.interfaces import Host, Message

    Name = Union[str, int]
    Refuse = Callable[[Message], PlasmidError]

DEFERRED_MAX = 10000
CLOSE_TIMEOUT_S = 5.0
# What close() allows the services' on_shutdown() beyond that.
HOOKS_TIMEOUT_S = 1.0


class Worker:
    """One thread. Idle, it waits for its own `wake`: exactly one thread is woken for one request."""

    __slots__ = "thread", "wake"

    def __init__(self, target: "Callable[[Worker], None]", name: str) -> None:
        self.wake = Lock()
        self.wake.acquire()
        self.thread = Thread(target=target, args=(self,), name=name, daemon=True)


class Deferred:
    """Stands in a queue where a service's invoker does; its requests are functions."""

    max_concurrency = 0
    max_queued = DEFERRED_MAX

    def serve(self, request: Request) -> None:
        """Call the function and report what it raises."""
        func, args, kwargs = request.args
        _, error = attempt(lambda: func(*args, **kwargs))
        if error is not None:
            report("a function given to Pool.defer() failed: %r" % (func,), error)


class PoolBacklog:
    """An invoker's way to its own queue."""

    __slots__ = "_pool", "_queue"

    def __init__(self, pool: "Pool", queue: ServiceQueue) -> None:
        self._pool = pool
        self._queue = queue

    def take(self) -> "List[Request]":
        """Return and remove the requests that have arrived and that nobody has read."""
        return self._pool.take_arrived(self._queue)

    def give_back(self, requests: "List[Request]") -> None:
        """Have requests that were read served next."""
        self._pool.give_back(self._queue, requests)


class Pool:
    """Serves services on up to `size` threads, shared fairly among them.

        pool = Pool(router, services=[Catalog(router)], size=4)

    A child makes its own at the first call from a parent. In the root you make it, and close() it, or use it in a
    `with`. All methods may be called by any thread.
    """

    activator_class = Activator  # type: Type[Activator]

    def __init__(
        self, router: "Host", services: "Iterable[Service]" = (), size: int = 1, overwrite: bool = False
    ) -> None:
        if size < 1:
            raise ValueError("a pool needs at least one thread, not %d" % size)
        earlier = router.jobs.pool
        if earlier is not None and not earlier.is_closed and not overwrite:
            raise PlasmidError("this router has a pool already; add() services to it, or pass overwrite=True")
        self.router = router
        self.size = size
        self.activator = self.activator_class()
        self.is_closed = False
        self._lock = Lock()
        self._schedule = Schedule()
        self._queues = {}  # type: Dict[Name, ServiceQueue]
        self._services = {}  # type: Dict[int, ServiceQueue]
        self._deferred = ServiceQueue(Deferred())
        self._waiting_room = WaitingRoom()
        self._workers = set()  # type: Set[Worker]
        self._idle = []  # type: List[Worker]
        self._worker_count = 0
        self._settled = Event()
        self._closer = None  # type: Optional[Thread]
        for service in services:
            self.add(service)
        router.jobs.pool = self

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # What is served

    def add(self, service: Service, name: "Optional[Name]" = None) -> None:
        """Serve `service` under its name() and its handle, or under `name` alone.

        Raises PlasmidError if one of these names is taken, and leaves everything as it was.
        """
        if not isinstance(service, Service):
            hint = "; make an object of it: %s(router)" % service.__name__ if isinstance(service, type) else ""
            raise TypeError("a pool serves objects of classes derived from plasmid.Service, not %r%s" % (service, hint))
        names = _names(service) if name is None else [name]
        with self._lock:
            if self.is_closed:
                raise PlasmidError("the pool is closed; it takes no more services")
            for each in names:
                if type(each) not in (str, int):
                    raise TypeError("a service is called by a str or an int, not by %r" % (each,))
                if each in self._queues:
                    raise PlasmidError("the pool serves %r already" % (each,))
            self._register(service, names)

    def _register(self, service: Service, names: "List[Name]") -> ServiceQueue:
        queue = self._services.get(id(service))
        if queue is None:
            invoker = service.invoker_class(service=service)
            queue = self._services[id(service)] = ServiceQueue(invoker)
            invoker.backlog = PoolBacklog(self, queue)
            service.invoker = invoker
        for name in names:
            self._queues.setdefault(name, queue)
        return queue

    # What comes in

    def submit(self, job: "Message") -> None:
        """Take a call that has arrived. Called with the router lock held: it files the call and wakes a thread."""
        with self._lock:
            refuse = self._file(job)
        if refuse is not None:
            # Not here: an answer takes the router lock, and a good text asks the runtime for the caller's name.
            self.router.jobs.defer(_fail, job, refuse)

    def _file(self, job: "Message", wake: bool = True) -> "Optional[Refuse]":
        """Put a call where it belongs. Return what makes the error to answer it with, if it can't be taken."""
        name = job.name
        if self.is_closed:
            return _closed
        queue = self._queues.get(name) if type(name) in (str, int) else None
        if queue is not None:
            offer = self._schedule.offer(queue, Request(job))
        elif type(name) not in (str, int):
            return _not_active
        elif type(self.activator).is_permitted is Activator.is_permitted and not job.from_parent:
            # The usual refusal is decided here and at once: it needs no thread, and all of them may be busy.
            return _not_active
        else:
            offer = self._waiting_room.offer(name, job)
        if offer is Offer.FULL:
            return overloaded
        return None if offer is Offer.WAIT or not wake or self._wake() else _no_thread

    def defer(self, func: "Callable[..., object]", *args: "Any", **kwargs: "Any") -> None:
        """Run func(*args, **kwargs) on a pool thread; what it raises is logged. Raises Refused after close()."""
        request = Request(None)  # type: ignore[arg-type]  # no call: only Deferred sees it
        request.args = (func, args, kwargs)
        with self._lock:
            if self.is_closed:
                raise Refused("Pool.defer", "", "the pool is closed")
            offer = self._schedule.offer(self._deferred, request)
            if offer is Offer.FULL:
                raise Overloaded("Pool.defer", "", "%d functions are waiting already" % DEFERRED_MAX)
            self._wake()

    def take_arrived(self, queue: ServiceQueue) -> "List[Request]":
        """Return and remove the requests in `queue` that nobody has read. For invokers."""
        with self._lock:
            return queue.take_arrived()

    def give_back(self, queue: ServiceQueue, requests: "List[Request]") -> None:
        """Have requests of `queue` that were read served next. For invokers."""
        with self._lock:
            is_closed = self.is_closed
            if not is_closed:
                self._schedule.give_back(queue, requests)
                for _ in requests:
                    self._wake()
        for request in requests if is_closed else ():
            request.job.fail(_closed(request.job))

    # Threads

    def _thread_count_max(self) -> int:
        return self.size + self._waiting_room.thread_count()

    def _wake(self) -> bool:
        """Have one more thread look for work, if one may. Return False if there is no thread at all."""
        if self._idle:
            self._idle.pop().wake.release()
        elif len(self._workers) < self._thread_count_max():
            self._worker_count += 1
            worker = Worker(self._work, "plasmid-pool-%d" % self._worker_count)
            self._workers.add(worker)
            try:
                worker.thread.start()
            except RuntimeError:
                # The machine's limit. What was filed waits for the threads there are.
                self._workers.discard(worker)
                return bool(self._workers)
        return True

    def _work(self, worker: Worker) -> None:
        """Do what is to be done until this thread is no longer needed."""
        last = None  # type: Optional[ServiceQueue]
        while True:
            with self._lock:
                is_surplus = last is None and len(self._workers) > self._thread_count_max()
                task = None if is_surplus else self._next_task(last)
                if task is None and (is_surplus or self.is_closed):
                    self._workers.discard(worker)
                    if self._schedule.ring and self._idle:
                        self._wake()
                    return
                if task is None:
                    self._idle.append(worker)
            last = None
            if task is None:
                worker.wake.acquire()
            elif isinstance(task, Activation):
                self._activate(task)
            else:
                last = task[0]
                self._serve(*task)

    def _next_task(self, last: "Optional[ServiceQueue]") -> "Union[Tuple[ServiceQueue, Request], Activation, None]":
        activation = self._waiting_room.begin()
        if activation is not None:
            self._schedule.finished(last)
            if self._schedule.ring:
                # Somebody else has to do what this thread would have done next.
                self._wake()
            return activation
        has_spare = bool(self._idle) or len(self._workers) < self._thread_count_max()
        return self._schedule.next(last, has_spare)

    def _serve(self, queue: ServiceQueue, request: Request) -> None:
        _, error = attempt(queue.invoker.serve, request)
        if error is not None:
            # An invoker of the user's own.
            report("%s failed" % type(queue.invoker).__name__, error)
            request.job.fail(answerable(request, error))

    def _activate(self, activation: Activation) -> None:
        """Start a service for the first caller who may have that done, and give it the calls that wait for it."""
        name = activation.name
        job = self._permitted_job(activation)
        service = None  # type: Optional[Service]
        error = None  # type: Optional[BaseException]
        if job is not None:
            service, error = attempt(activated, self, job)
        failed = []  # type: List[Tuple[Message, Refuse]]
        with self._lock:
            waiting = ([] if job is None else [job]) + self._waiting_room.end(activation)
            if service is not None:
                self._register(service, [name] + _names(service))
            # This thread takes the first of them itself, if the pool has room for it.
            has_taker = len(self._workers) <= self._thread_count_max()
            for each in waiting:
                refuse = self._file(each, wake=not has_taker) if service is not None else _not_active
                has_taker = False
                if refuse is not None:
                    failed.append((each, refuse))
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
            job.fail(_not_active(job))

    # The end

    def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Take no more calls, answer those that wait with NotSent, and let the running ones finish.

        Returns when the threads have ended and every service's on_shutdown() was called, or after `timeout_s`; calls
        that run longer are left to themselves, and on_shutdown() comes after them. Called by a thread of this pool it
        returns at once. Calling it again does nothing but wait.
        """
        self.stop(join=True, timeout_s=timeout_s)

    def stop(self, join: bool = True, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Like close(); with join=False without waiting for anything."""
        with self._lock:
            is_first = not self.is_closed
            self.is_closed = True
            threads = [worker.thread for worker in self._workers]
            jobs = self._drain() if is_first else []
            if is_first:
                self._closer = Thread(
                    target=self._finish, args=(threads, timeout_s), name="plasmid-pool-end", daemon=True
                )
        for job in jobs:
            job.fail(_closed(job))
        if is_first and self._closer is not None:
            try:
                self._closer.start()
            except RuntimeError:
                # The interpreter is on its way out; there are no threads left to wait for.
                self._finish([], 0)
        if join and current_thread() not in threads and current_thread() is not self._closer:
            self._settled.wait(timeout_s + HOOKS_TIMEOUT_S)

    def _drain(self) -> "List[Message]":
        """Return all calls that wait, and have the idle threads end."""
        requests = [request for queue in self._services.values() for request in queue.take_all()]
        jobs = [request.job for request in requests] + self._waiting_room.take_all()
        for worker in self._idle:
            worker.wake.release()
        self._idle = []
        return jobs

    def _finish(self, threads: "List[Thread]", timeout_s: float) -> None:
        """Wait for the threads, then call each service's on_shutdown() once."""
        until = monotonic() + timeout_s
        for thread in threads:
            thread.join(max(0.0, until - monotonic()))
        with self._lock:
            dropped = len(self._deferred.take_all())
            invokers = [queue.invoker for queue in self._services.values()]
        if dropped:
            report("the pool was closed before %d deferred functions were called" % dropped)
        for invoker in invokers:
            for request in invoker.abandon():
                found = "the pool was closed while the call that it shares a result with still ran"
                request.job.fail(Cancelled(call_text(request.job), "", found))
        if any(thread.is_alive() for thread in threads):
            self._settled.set()
        for thread in threads:
            thread.join()
        with self._lock:
            services = [queue.invoker.service for queue in self._services.values()]
        for service in services:
            _, error = attempt(service.on_shutdown)
            if error is not None:
                report("%s.on_shutdown() failed" % type(service).__name__, error)
        self._settled.set()


def _names(service: Service) -> "List[Name]":
    return [service.name()] if service.handle is None else [service.name(), service.handle]


def _fail(job: "Message", refuse: "Refuse") -> None:
    job.fail(refuse(job))


def _no_thread(job: "Message") -> Overloaded:
    return Overloaded(call_text(job), "", "no thread could be started to serve it")


def _closed(job: "Message") -> NotSent:
    return NotSent(call_text(job), "", "the pool there was closed before the call was started")


def _not_active(job: "Message") -> Refused:
    found = "no service of this name is active there, and %s may not start one: only a parent of that context may"
    return Refused(call_text(job), "", found % caller_text(job))
