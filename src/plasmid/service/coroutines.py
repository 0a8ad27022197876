"""The event loop of a pool: where async methods and async generators run.

One asyncio loop on a thread of its own, started when it is first needed, ended with the pool. A call that is cancelled
by its caller, or whose deadline passes, has its task cancelled. The contexts of asyncio's own tasks came with Python
3.7; so that each coroutine sees its own call on 3.6 too, the call is made the current one around each step.
"""

import asyncio
import threading
import types
from time import monotonic

from plasmid.core import events
from plasmid.core.errors import Cancelled, DeadlineExceeded, PlasmidError
from plasmid.runtime import ports
from plasmid.service.invokers import attempt, call_text, report
from plasmid.service.outflow import Items

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, AsyncIterator, Awaitable, Callable, Dict, Generator, List, Optional, Sequence, Set, Tuple

    from plasmid.service.interfaces import Message
    from plasmid.service.invokers import Invoker, Request
    from plasmid.service.outflow import Buffer

    Done = Callable[[Any, Optional[BaseException]], None]

_current_task = getattr(asyncio, "current_task", None) or asyncio.Task.current_task  # type: ignore[attr-defined]  # 3.6

# What tasks may take that were cancelled when the pool was closed.
END_TIMEOUT_S = 1.0


class EventLoop:
    """The event loop of one pool. Its methods may be called by any thread."""

    def __init__(self, router: "Any") -> None:
        self._loop = asyncio.new_event_loop()
        self._tasks = set()  # type: Set[Task]
        self._is_closed = False
        self._watch = cancellations(router)
        self._thread = threading.Thread(target=self._run, name="plasmid-async", daemon=True)
        self._thread.start()

    def begin(self, invoker: "Invoker", request: "Request", awaitable: "Awaitable[Any]") -> None:
        """Run an async method; its call is answered when it ends."""
        self.start(request, awaitable, lambda result, error: invoker.end(request, result, error))

    def result(self, request: "Request", awaitable: "Awaitable[Any]") -> "Any":
        """Run an async method and return what it returns, or raise what it raises. Waits."""
        ended = threading.Event()
        outcome = []  # type: List[Any]

        def done(result: "Any", error: "Optional[BaseException]") -> None:
            outcome[:] = result, error
            ended.set()

        self.start(request, awaitable, done)
        waited = ports.about_to_wait and ports.about_to_wait(self)
        ended.wait()
        if waited:
            waited()
        request.course = None
        if outcome[1] is not None:
            raise outcome[1]
        return outcome[0]

    def start(self, request: "Request", awaitable: "Awaitable[Any]", done: "Done") -> None:
        """Run an awaitable as part of a call; call done(result, error) on the loop's thread when it has ended."""
        task = request.course = Task(self, request.job, awaitable, done)
        self._watch.add(request.job, task.stop)
        if not self.call(task.begin):
            task.refuse()

    def call(self, function: "Callable[..., object]", *args: "Any") -> bool:
        """Have the loop's thread call a function soon. Only queues and wakes. False if the loop has ended."""
        try:
            self._loop.call_soon_threadsafe(function, *args)
        except RuntimeError:
            return False
        return True

    def began(self, task: "Task") -> None:
        """Take note of a task. On the loop's thread."""
        self._tasks.add(task)

    def ended(self, task: "Task") -> None:
        """Take note that a task has ended. On the loop's thread."""
        self._tasks.discard(task)
        self._watch.discard(task.job)
        if self._is_closed and not self._tasks:
            self._loop.stop()

    def is_current(self) -> bool:
        """Say whether this is the loop's thread."""
        return threading.current_thread() is self._thread

    def close(self) -> None:
        """Cancel what still runs, and end the thread; waits for END_TIMEOUT_S at most."""
        self.call(self._cancel_all)
        self._thread.join(END_TIMEOUT_S)

    def _cancel_all(self) -> None:
        self._is_closed = True
        for task in list(self._tasks):
            task.stop()
        self._loop.call_later(END_TIMEOUT_S if self._tasks else 0, self._loop.stop)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        while not self._is_closed:
            # A task of the user's own that ends in SystemExit would end the loop for everybody.
            _, error = attempt(self._loop.run_forever)
            if error is not None:
                report("a task on the event loop of the services ended with %s" % type(error).__name__, error)
        _, error = attempt(self._loop.run_until_complete, self._loop.shutdown_asyncgens())
        if error is not None:
            report("ending the event loop of the services failed", error)
        for task in list(self._tasks):
            task.refuse()
        self._loop.close()


class Task:
    """One async method, or async generator, under way. begin() and what follows run on the loop's thread."""

    def __init__(self, owner: EventLoop, job: "Message", awaitable: "Awaitable[Any]", done: "Done") -> None:
        self.job = job
        self._owner = owner
        self._awaitable = awaitable
        self._done = done  # type: Optional[Done]
        self._task = None  # type: Optional[asyncio.Future[Any]]
        self._timer = None  # type: Optional[asyncio.TimerHandle]
        self._is_stopped = False

    def begin(self) -> None:
        """Start it."""
        self._owner.began(self)
        loop = asyncio.get_event_loop()
        self._task = loop.create_task(self._run())
        if self.job.deadline is not None:
            self._timer = loop.call_later(max(0.0, self.job.deadline - monotonic()), self.stop)
        if self._is_stopped:
            self._task.cancel()

    def stop(self) -> None:
        """Cancel it. Any thread; only queues and wakes."""
        self._is_stopped = True
        self._owner.call(self._cancel)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def refuse(self) -> None:
        """Answer that it can't be run, or not to its end: the loop has ended."""
        close = getattr(self._awaitable, "close", None)
        if self._task is None and close is not None:
            close()  # else it warns that it was never awaited
        self._end(None, Cancelled(call_text(self.job), "", "the pool was closed before it had ended"))

    def is_current(self) -> bool:
        """Say whether the coroutine that runs is this one, and not one that it has made a task of."""
        return _current_task() is self._task is not None

    async def _run(self) -> None:
        result = None
        error = None  # type: Optional[BaseException]
        try:
            result = await stepped(self.job, self._awaitable)
        except BaseException as problem:  # noqa: BLE001 - what a method raises is its caller's
            error = problem
        if isinstance(error, asyncio.CancelledError) and self._is_stopped:
            error = self._reason()
        self._end(result, error)

    def _reason(self) -> PlasmidError:
        """Return the error for a call that was stopped."""
        job = self.job
        if job.deadline is not None and monotonic() >= job.deadline:
            return DeadlineExceeded(call_text(job), "", "its time ran out while it ran")
        found = "it was cancelled while it ran" if job.cancelled else "the pool was closed while it ran"
        return Cancelled(call_text(job), "", found)

    def _end(self, result: "Any", error: "Optional[BaseException]") -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._owner.ended(self)
        done, self._done = self._done, None
        if done is not None:
            done(result, error)


class AsyncOutflow(Items):
    """The items of one async generator: see outflow.py."""

    def __init__(self, invoker: "Invoker", request: "Request", items: "AsyncIterator[Any]") -> None:
        super().__init__(invoker, request)
        self._items = items  # type: Any
        self._room = None  # type: Optional[asyncio.Future[None]]

    def begin(self) -> None:
        """Start the generator on the event loop."""
        backlog = self.invoker.backlog
        assert backlog is not None
        self._owner = backlog.event_loop()
        self._owner.start(self.request, self._run(), self._done)

    async def _run(self) -> None:
        error = None  # type: Optional[BaseException]
        try:
            async for item in self._items:
                await self._put(self.encode_item(item))
                if not self.is_wanted():
                    return
        except (PlasmidError, asyncio.CancelledError) as problem:
            if isinstance(problem, _Undelivered) or not self.is_wanted():
                raise
            error = problem
        except BaseException as problem:  # noqa: BLE001 - what a method raises is its caller's
            error = problem
        finally:
            await self._items.aclose()
        await self._put(self.encode_end(None, error))

    def _done(self, result: "Any", error: "Optional[BaseException]") -> None:
        if isinstance(error, _Undelivered):
            self.finish(error.__cause__)
        else:
            if error is not None and not isinstance(error, Cancelled):
                report("the async generator of %s failed at its end" % call_text(self.request.job), error)
            self.finish()

    async def _put(self, parts: "Sequence[Buffer]") -> None:
        sender = self.request.sender
        assert sender is not None
        while True:
            self._room = asyncio.get_event_loop().create_future()
            try:
                if sender.offer(parts, self):
                    return
            except PlasmidError as error:
                raise _Undelivered() from error
            try:
                await self._room
            finally:
                sender.forget(self)

    def release(self) -> None:
        """Go on, since the caller has read something, or never will. Called under the router lock."""
        self._owner.call(self._go_on)

    def _go_on(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)


class _Undelivered(PlasmidError):
    """The items of an async generator can't be put any more; its cause says why."""


class Cancellations:
    """Tells those who asked that the caller of a call has cancelled it. One for each runtime."""

    def __init__(self, runtime: "Any") -> None:
        self._calls = {}  # type: Dict[Tuple[bytes, int], Callable[[], None]]
        self._lock = threading.Lock()
        if runtime is not None:
            with runtime.lock:
                self._before = runtime.loop.on.get(events.CallCancelled)
                runtime.loop.on[events.CallCancelled] = self._cancelled

    def add(self, job: "Message", act: "Callable[[], None]") -> None:
        """Call act() when `job` is cancelled, under the router lock: it must only queue and wake."""
        with self._lock:
            self._calls[job.source, job.id] = act
        if job.cancelled:
            act()

    def discard(self, job: "Message") -> None:
        """Forget a job."""
        with self._lock:
            self._calls.pop((job.source, job.id), None)

    def _cancelled(self, event: "events.CallCancelled") -> None:
        if self._before is not None:
            self._before(event)
        with self._lock:
            act = self._calls.pop((event.source, event.id), None)
        if act is not None:
            act()


def cancellations(router: "Any") -> Cancellations:
    """Return the Cancellations of a router's runtime; of a stand-in without one, a table that nobody reads."""
    runtime = getattr(router, "runtime", None)
    if runtime is None:
        return Cancellations(None)
    found = getattr(runtime.loop.on.get(events.CallCancelled), "__self__", None)
    return found if isinstance(found, Cancellations) else Cancellations(runtime)


@types.coroutine
def stepped(job: "Message", awaitable: "Awaitable[Any]") -> "Generator[Any, Any, Any]":
    """Await something with `job` as the current call in each of its steps; return its result."""
    steps = awaitable.__await__()
    sent = None  # type: Any
    thrown = None  # type: Optional[BaseException]
    while True:
        with job.running():
            try:
                waited = steps.send(sent) if thrown is None else steps.throw(thrown)
            except StopIteration as end:
                return end.value
        sent = thrown = None
        try:
            sent = yield waited
        except GeneratorExit:
            steps.close()
            raise
        except BaseException as error:  # noqa: BLE001 - all of it is for the one who awaits
            thrown = error
