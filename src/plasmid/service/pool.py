"""Pool: the threads of a context's services, and the table of what is served there.

The runtime hands each service call to submit(), which only files it and wakes a thread if need be. What the threads do
then is in workshop.py; here is what users see: what is served, what comes in, and the end.
"""

from threading import Event, Lock, Thread, current_thread
from time import monotonic, process_time

from plasmid.core.errors import Cancelled, Overloaded, PlasmidError, Refused
from plasmid.service.activator import Activator
from plasmid.service.backlog import PoolBacklog
from plasmid.service.invokers import Invoker, Request, attempt, call_text, overloaded, report
from plasmid.service.lanes import lane_of
from plasmid.service.queues import Offer, ServiceQueue
from plasmid.service.service import Service
from plasmid.service.workshop import Workshop, closed, fail, names_of, no_thread, not_active, stuck

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple, Union

    from plasmid.service.coroutines import EventLoop
    from plasmid.service.interfaces import Host, Message
    from plasmid.service.selects import PoolSelect
    from plasmid.service.workshop import Refuse

    Name = Union[str, int]

DEFERRED_MAX = 10000
LANES_KEPT_MAX = 1024
# If so many calls have ended since the loop's own thread looked, a millisecond or so ago, they are short.
QUICK_COUNT = 8
# What part of one processor's time a process uses whose threads all wait for its interpreter.
BUSY_MIN, BUSY_MAX = 0.8, 1.2
CLOSE_TIMEOUT_S = 5.0
# What close() allows the services' on_shutdown() beyond that.
HOOKS_TIMEOUT_S = 1.0


def takes_one_processor(ended: int, passed_s: float, used_s: float) -> bool:
    """Say whether the threads of this process wait for one interpreter, by what they have done since the last look.

    That is when they end many calls and use all of one processor's time together, and no more than that.
    """
    return ended >= QUICK_COUNT and BUSY_MIN * passed_s <= used_s <= BUSY_MAX * passed_s


class Deferred:
    """Stands in a queue where a service's invoker does; its requests are functions."""

    max_concurrency = 0
    max_queued = DEFERRED_MAX
    keeps_order = True

    def serve(self, request: Request) -> None:
        """Call the function and report what it raises."""
        func, args, kwargs = request.args
        _, error = attempt(lambda: func(*args, **kwargs))
        if error is not None:
            report("a function given to Pool.defer() failed: %r" % (func,), error)


class Pool(Workshop):
    """Serves services on up to `size` threads, shared fairly among them and among their callers.

        pool = Pool(router, services=[Catalog(router)], size=4)

    A child makes its own at the first call from a parent. In the root you make it, and close() it, or use it in a
    `with`. overwrite: take the place of an earlier pool of the router, which is closed. Any thread may call any method.
    """

    def __init__(
        self, router: "Host", services: "Iterable[Service]" = (), size: int = 1, overwrite: bool = False
    ) -> None:
        if size < 1:
            raise ValueError("a pool needs at least one thread, not %d" % size)
        earlier = router.jobs.pool
        if earlier is not None and not earlier.is_closed and not overwrite:
            raise PlasmidError("this router has a pool already; add() services to it, or pass overwrite=True")
        super().__init__(size)
        self.router = router
        self.size = size
        self.here = router.myself().address
        self._park = router.jobs.park  # type: ignore[method-assign]
        self._release = router.jobs.release  # type: ignore[method-assign]
        self._queues = {}  # type: Dict[Name, ServiceQueue]
        self._services = {}  # type: Dict[int, ServiceQueue]
        # How many calls had ended when help() was last called, when that was, and the processor time used by then.
        self._ended_seen, self._seen_at, self._used_seen = 0, 0.0, 0.0
        self._lanes = {}  # type: Dict[bytes, bytes]  # of callers that called lately
        self._deferred = ServiceQueue(Deferred())
        self._select = None  # type: Optional[PoolSelect]
        self._event_loop = None  # type: Optional[EventLoop]
        self._making = Lock()
        self._settled = Event()  # close() need wait no longer
        self._over = Event()  # the last on_shutdown() has returned
        self._closer = None  # type: Optional[Thread]
        for service in services:
            self.add(service)
        router.jobs.pool = self
        if earlier is not None:
            earlier.stop(join=False)

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
        names = names_of(service) if name is None else [name]
        invoker = service.invoker_class(service=service)
        with self._lock:
            if self.is_closed:
                raise PlasmidError("the pool is closed; it takes no more services")
            for each in names:
                if type(each) not in (str, int):
                    raise TypeError("a service is called by a str or an int, not by %r" % (each,))
                if each in self._queues:
                    raise PlasmidError("the pool serves %r already" % (each,))
            self._register(service, names, invoker)
        service.watch_select()

    def _register(self, service: Service, names: "List[Name]", invoker: Invoker) -> None:
        queue = self._services.get(id(service))
        if queue is None:
            queue = self._services[id(service)] = ServiceQueue(invoker)
            invoker.backlog = PoolBacklog(self, queue)
            service.invoker = invoker
        for name in names:
            self._queues.setdefault(name, queue)

    def active(self) -> "List[Tuple[Service, List[Name]]]":
        """Return the services that are active, each with the names that it goes by."""
        with self._lock:
            names = {id(queue): [] for queue in self._services.values()}  # type: Dict[int, List[Name]]
            for name, queue in self._queues.items():
                names[id(queue)].append(name)
            return [(queue.invoker.service, names[id(queue)]) for queue in self._services.values()]

    @property
    def select(self) -> "PoolSelect":
        """The selects of all services, in one: see Service.select."""
        with self._making:
            if self._select is None:
                from plasmid.service.selects import PoolSelect

                self._select = PoolSelect()
            return self._select

    def event_loop(self) -> "EventLoop":
        """Return the event loop of the async methods, which is started now if it hasn't been."""
        with self._making:
            if self._event_loop is None:
                from plasmid.service.coroutines import EventLoop

                self._event_loop = EventLoop(self.router)
            return self._event_loop

    # What comes in

    def submit(self, job: "Message") -> None:
        """Take a call that has arrived: file it, and wake a thread if need be. Called with the router lock held."""
        crew = self._crew
        idle = crew.idle
        name = job.name
        with self._lock:
            queue = self._queues.get(name) if type(name) is str else None
            # One that leads and has nothing to do has just read it.
            is_burst = (not idle or idle[-1].parking.wake_fd < 0) and self._is_burst()
            if queue is None:
                pass
            elif is_burst:
                if queue.is_listed and not self.is_closed and self._is_helped and queue.has_room():
                    queue.arrived.push(Request(job, self._lane(job.source)))
                    return
            elif idle and not self._ring and crew.busy < crew.size:
                # Nothing waits that might come before it. Where a thread rests the pool is neither closed nor stuck.
                limit = queue.invoker.max_concurrency
                if limit <= 0 or queue.running < limit:
                    queue.running += 1
                    crew.hand_over((queue, Request(job)))
                    return
            refuse = self._file(job, wake=not is_burst)
            squeezed = self._schedule.squeezed
            if squeezed:
                self._schedule.squeezed = []
            needs_help = is_burst and not self._is_helped
            self._is_helped = self._is_helped or is_burst
        if needs_help:
            self.router.jobs.hold(self.help)
        # Not here: an answer takes the router lock, and a good text asks the runtime for the caller's name.
        if refuse is not None:
            self.router.jobs.defer(fail, job, refuse)
        for request in squeezed:
            self.router.jobs.defer(fail, request.job, overloaded)

    def _is_burst(self) -> bool:
        """Say whether a thread at work, or about to begin, may do this call too: it does them all, or gets help."""
        return self._crew.handed is not None or (bool(self._ring) and (self._is_helped or not self._crew.idle))

    def help(self, everyone: bool) -> bool:
        """Wake a thread, or as many as there is work for, if those at work take long. Return whether to look again.

        everyone: nobody has looked for what comes since the last time, so each thread at work may take very long.
        """
        with self._lock:
            waiting = sum(queue.waiting() for queue in self._schedule.ring) + len(self._waiting_room.due)
            ended = self._ended_count - self._ended_seen
            now, used = monotonic(), process_time()
            is_one = takes_one_processor(ended, now - self._seen_at, used - self._used_seen)
            self._ended_seen, self._seen_at, self._used_seen = self._ended_count, now, used
            self._surplus, self._latest = self._crew.busy - 1 if is_one else 0, None
            # Calls as short as that are done sooner by those at work than by more threads, which would take turns.
            if ended < QUICK_COUNT:
                for _ in range(min(waiting, self.size if everyone else 1)):
                    self._wake()
            may_help_more = not everyone and self._crew.has_spare(self._waiting_room.thread_count())
            self._is_helped = waiting > 0 and (ended > 0 or may_help_more)
            return self._is_helped

    def _file(self, job: "Message", wake: bool = True) -> "Optional[Refuse]":
        """Put a call where it belongs. Return what makes the error to answer it with, if it can't be taken."""
        name = job.name
        if self.is_closed:
            return closed
        if self._crew.blocked and self._crew.is_stuck(self._waiting_room.thread_count()):
            return stuck
        queue = self._queues.get(name) if type(name) in (str, int) else None
        if queue is not None:
            offer = self._schedule.offer(queue, Request(job, self._lane(job.source)))
        elif type(name) not in (str, int):
            return not_active
        elif type(self.activator).is_permitted is Activator.is_permitted and not job.from_parent:
            # The usual refusal is decided here and at once: it needs no thread, and all of them may be busy.
            return not_active
        else:
            offer = self._waiting_room.offer(name, job)
        if offer is Offer.FULL:
            return overloaded
        return None if offer is Offer.WAIT or not wake or self._wake() else no_thread

    def _lane(self, source: bytes) -> bytes:
        """Return the lane of a caller, and keep it: most call more than once."""
        lane = self._lanes.get(source)
        if lane is None:
            lane = lane_of(source, self.here)
            if len(self._lanes) < LANES_KEPT_MAX:
                self._lanes[source] = lane
        return lane

    def queue_of(self, job: "Message") -> "Optional[ServiceQueue]":
        """Return where a call is filed, None if its service isn't active. Under the lock."""
        return self._queues.get(job.name) if type(job.name) in (str, int) else None

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

    # The end

    def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Take no more calls, answer those that wait with NotSent, and let running ones and deferred functions finish.

        Returns when the threads have ended and every service's on_shutdown() was called, or after `timeout_s`. Calls
        that run longer are answered with Cancelled then; async methods and generators are stopped, other methods are
        left to themselves, and on_shutdown() comes after them. Called by a thread of this pool it returns at once.
        Calling it again only waits, for what still runs as well.
        """
        self.stop(join=True, timeout_s=timeout_s)

    def stop(self, join: bool = True, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Like close(); with join=False without waiting for anything."""
        with self._lock:
            is_first = not self.is_closed
            self.is_closed = True
            threads = [worker.thread for worker in self._crew.workers]
            jobs = []  # type: List[Message]
            if is_first:
                jobs = [request.job for request in self._take_waiting()] + self._waiting_room.take_all()
                self._crew.wake_all()
                self._closer = Thread(target=self._finish, args=(timeout_s,), name="plasmid-pool-end", daemon=True)
                self._note_quiet()
        for job in jobs:
            job.fail(closed(job))
        if is_first and self._closer is not None:
            try:
                self._closer.start()
            except RuntimeError:
                # The interpreter is on its way out; there are no threads left to wait for.
                self._finish(0)
        own = threads if self._closer is None else [*threads, self._closer]
        if self._event_loop is not None and self._event_loop.is_current():
            return
        if join and current_thread() not in own:
            (self._settled if is_first else self._over).wait(timeout_s + HOOKS_TIMEOUT_S)

    def _take_waiting(self) -> "List[Request]":
        """Return and forget all calls that wait for a thread."""
        return [request for queue in self._services.values() for request in queue.take_all()]

    def _note_quiet(self) -> None:
        if not self.running() and not self._deferred.arrived:
            self._quiet.set()

    def _finish(self, timeout_s: float) -> None:
        """Wait for what runs, answer what takes too long, and call each service's on_shutdown() once."""
        self._quiet.wait(timeout_s)
        with self._lock:
            dropped = len(self._deferred.take_all())
            self._note_quiet()
            late = [request for request in self.running() if request.job is not None]
            invokers = [queue.invoker for queue in self._services.values()]
        if dropped:
            report("the pool was closed before %d deferred functions were called" % dropped)
        for request in late:
            _give_up(request)
        for invoker in invokers:
            for request in invoker.abandon():
                found = "the pool was closed while the call that it shares a result with still ran"
                request.job.fail(Cancelled(call_text(request.job), "", found))
        if self._event_loop is not None:
            self._event_loop.close()
        if late:
            self._settled.set()
        self._quiet.wait()
        self._join()
        with self._lock:
            services = [queue.invoker.service for queue in self._services.values()]
        for service in services:
            _, error = attempt(service.on_shutdown)
            if error is not None:
                report("%s.on_shutdown() failed" % type(service).__name__, error)
        self._settled.set()
        self._over.set()

    def _join(self) -> None:
        """Wait until the last thread has ended."""
        while True:
            with self._lock:
                threads = [worker.thread for worker in self._crew.workers]
            if not threads:
                return
            for thread in threads:
                thread.join()


def _give_up(request: Request) -> None:
    """Answer a call that the pool won't wait for any longer."""
    job = request.job
    job.fail(Cancelled(call_text(job), "", "the pool there was closed before it had ended"))
    job.cancelled = True
    if request.course is not None:
        request.course.stop()
