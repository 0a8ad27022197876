"""Calls that have arrived: who runs each, and how it is answered exactly once.

    function call, from a parent      the main thread, one after the other
    service built into Plasmid        a helper thread
    any other service                 the pool; in a child it is made when a parent first asks for one

Everybody else is refused here, before anything of the call's arguments is read.
"""

from _weakref import ref

from plasmid.core import values
from plasmid.core.errors import Cancelled, ProtocolError, Refused, UnsendableValue
from plasmid.runtime.context import Context, deadline_var, declared, find_any, job_var
from plasmid.runtime.ports import Latch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional, Sequence, Set, Tuple, Union

    from plasmid.core import events
    from plasmid.runtime.helpers import Helpers
    from plasmid.runtime.runtime import Runtime

    Classes = Callable[[str], Optional[type]]
    Buffer = Union[bytes, bytearray, memoryview]

HEADS_MAX = 256
# [what, name, method] of a call, by type.
_HEADS = [str, str, str], [str, str, type(None)], [str, int, str], [str, int, type(None)]


class Job:
    """One call to serve. Whoever holds it answers it with reply() or fail(), from any thread; the first counts.

    source: the caller's address, verified at every hop. key: that and the id. what: "f" for a function, "s" for a
    service. name, method: what is called. deadline: on time.monotonic(), None for none. size: bytes of its arguments.
    cancelled: nobody waits for the answer any more. A job that is dropped unanswered answers itself with an error.
    """

    # What most jobs have to the end is said once, here.
    cancelled = done = False
    _stops = None  # type: Optional[Set[Callable[[], object]]]
    _tokens = ()  # type: Tuple[Any, ...]

    def __init__(
        self,
        runtime: "Runtime",
        head: "List[Any]",
        key: "Tuple[bytes, int]",
        payload: "Any",
        deadline: "Optional[float]",
        no_reply: bool,
    ) -> None:
        self.runtime = runtime
        self.what, self.name, self.method = head
        self.source, self.id = self.key = key
        self.payload = payload
        self.deadline = deadline
        self.no_reply = no_reply

    def __str__(self) -> str:
        return "%s.%s" % (self.name, self.method) if self.method else str(self.name)

    @property
    def stops(self) -> "Set[Callable[[], object]]":
        """What is called when it is cancelled, under the router lock.

        It cancels the calls that were made while it was served; whatever else stands there must only queue and wake.
        """
        if self._stops is None:
            self._stops = set()
        return self._stops

    @property
    def size(self) -> int:
        """How many bytes its arguments are."""
        return len(self.payload)

    @property
    def from_parent(self) -> bool:
        """Whether the caller has authority here: it stands above this context, or is it."""
        return self.runtime.is_parent(self.source)

    @property
    def caller(self) -> Context:
        """The context that called."""
        return Context(self.runtime, self.source)

    def args(self, classes: "Optional[Classes]" = None) -> "Any":
        """Return the arguments. classes: finds those that the method declared; ValueDecodeError if they're no value.

        A parent's values may name any class that can be imported here: it may run any code here anyway.
        """

        def find(name: str) -> "Optional[type]":
            trusted = find_any if self.from_parent else declared.get
            return (classes and classes(name)) or trusted(name)

        return values.decode(self.payload, find, self.runtime.handle)

    def reply(self, value: "Any") -> None:
        """Answer with a value. One that can't travel becomes that error, UnsendableValue, for the caller."""
        try:
            parts = [] if self.no_reply else values.encode(value, "")
        except UnsendableValue as error:
            self.fail(UnsendableValue("result of %s%s" % (self, error.path), error.found))
            return
        self._answer(parts, False)

    def reply_encoded(self, parts: "Sequence[Buffer]") -> None:
        """Answer with a value that is encoded already."""
        self._answer(parts, False)

    def fail(self, error: BaseException) -> None:
        """Answer with an error."""
        if not self.done:
            from plasmid.core import remote
            from plasmid.runtime.helpers import traceback_of

            payload = remote.describe_error(error, traceback_of(error))
            self._answer(values.encode(payload, "error"), True)

    def _answer(self, parts: "Sequence[Buffer]", is_error: bool) -> None:
        runtime = self.runtime
        with runtime.lock:
            if self.done:
                return
            self.done = True
            runtime.jobs.running.pop(self.key, None)
            node = runtime.node
            node.calls.answer(self.source, self.id, parts, is_error)
            if node.dirty or node.events:
                runtime.loop.settle()

    def running(self) -> "Job":
        """Return a context manager: calls made in it inherit this job's deadline, and current_call() is this."""
        return self

    def __enter__(self) -> "Job":
        self._tokens += ((deadline_var.set(self.deadline), job_var.set(self)),)
        return self

    def __exit__(self, *error: "Any") -> None:
        deadline, job = self._tokens[-1]
        self._tokens = self._tokens[:-1]
        deadline_var.reset(deadline)
        job_var.reset(job)

    def __del__(self) -> None:
        if not self.done and not self.runtime.loop.closed:
            # Not here: a collector may run this anywhere, the router lock held.
            self.done = True
            jobs, dropped = self.runtime.jobs, (self.source, self.id, str(self))
            self.runtime.loop.run_soon(lambda: jobs.answer_dropped(*dropped))


class Jobs:
    """What arrives at one context. Its own state is guarded by the router lock.

    builtin: handlers of Plasmid's own services by name; each answers the job it is given. in_order: the one thread for
    those whose calls mustn't overtake each other; the others share a few. pool: the Pool, or None.
    functions: the function calls that wait, None to end; see functions.py. running: references to the jobs that haven't
    been answered, by caller and id.
    """

    def __init__(self, runtime: "Runtime") -> None:
        self.builtin = {
            "plasmid.children": lambda job: runtime.hook("children")(runtime, job),
        }  # type: Dict[Union[str, int], Callable[[Job], None]]
        self.pool = None  # type: Any
        # For threads that serve calls: they take in what comes meanwhile.
        self.park = runtime.loop.park
        self._runtime = runtime
        self.running = {}  # type: Dict[Tuple[bytes, int], Any]
        self._heads = {}  # type: Dict[bytes, List[Any]]  # those that came lately: to read one costs as much as a call
        self.awaiting_pool = None  # type: Optional[List[Job]]
        self.helpers = None  # type: Optional[Helpers]
        self.early = []  # type: List[Tuple[Callable[..., object], Any]]  # for the helpers, once they are there
        self.in_order = {}  # type: Dict[Union[str, int], Helpers]
        self.functions = Latch()

    def defer(self, fn: "Callable[..., object]", *args: "Any") -> None:
        """Have fn(*args) called on a helper thread."""
        if self.helpers is None:
            self.early.append((fn, args))
        else:
            self.helpers.run(fn, args)

    def hold(self, help: "Callable[[bool], bool]") -> None:
        """Have the loop's own thread call help() at each look, see Standby.hold(). Under the router lock."""
        standby = self._runtime.loop.standby
        if standby is None:
            help(True)
        else:
            standby.hold(help)

    def release(self) -> None:
        """Send the answers that wait for others."""
        runtime = self._runtime
        if runtime.node.calls.held and runtime.loop.standby is not None:
            with runtime.lock:
                runtime.loop.standby.release()

    def close(self) -> None:
        """End the threads; what they run is waited for no longer than a second each."""
        self.functions.put(None)
        for helpers in [*self.in_order.values(), self.helpers]:
            if helpers is not None:
                helpers.close()

    # -- under the router lock

    def arrived(self, event: "events.CallArrived") -> None:
        """Give a call to whom it concerns. A handler of the loop."""
        self.take((event.source, event.id), event.head, event.payload, event.deadline, event.no_reply)

    def take(
        self, key: "Tuple[bytes, int]", head: bytes, payload: "Any", deadline: "Optional[float]", no_reply: bool
    ) -> None:
        """Do so, with what such an event says."""
        job = None
        runtime = self._runtime
        try:
            names = self._heads.get(head) or self._read_head(head)
            job = Job(runtime, names, key, payload, deadline, no_reply)
            self.running[key] = ref(job)
            if self.pool is not None and names[0] == "s" and names[1] not in self.builtin:
                self.pool.submit(job)
                runtime.loop.passed_on = True
            else:
                self._dispatch(job)
        except (ValueError, Refused) as error:
            runtime.node.calls.answer(*key, _protocol_error(error), True)
            if job is not None:
                job.done = True
                self.running.pop(key, None)

    def _read_head(self, packed: bytes) -> "List[Any]":
        """Return a head that isn't known yet. ValueError if it is none."""
        head = values.unpack(packed)
        if not _is_head(head):
            raise ValueError("its head says %.80r" % (head,))
        if len(self._heads) >= HEADS_MAX:
            self._heads.clear()
        self._heads[packed] = head
        return head  # type: ignore[no-any-return]

    def _dispatch(self, job: Job) -> None:
        handler = self.builtin.get(job.name) if job.what == "s" else None
        if handler is not None:
            helpers = self.in_order.get(job.name)
            if helpers is not None:
                helpers.run(_run_builtin, (handler, job))
            else:
                self.defer(_run_builtin, handler, job)
        elif job.what == "f":
            if not job.from_parent:
                raise Refused("", "", "only a parent may call functions here; expose a service method instead")
            self.functions.put(job)
            self._runtime.loop.passed_on = True
            if not self._runtime.node.address:
                # The root's main thread is the user's own.
                self._runtime.hook("functions")(self._runtime)
        elif self.awaiting_pool is not None:
            self.awaiting_pool.append(job)
        elif not self._runtime.node.address:
            found = "no service pool runs in this context; make one with plasmid.service.Pool(router, services=[...])"
            raise Refused("", "", found)
        elif not job.from_parent:
            raise Refused("", "", "no service has been activated here by a parent yet")
        else:
            self.awaiting_pool = [job]
            self.defer(lambda: self._runtime.hook("make_pool")(self._runtime))

    def cancelled(self, event: "events.CallCancelled") -> None:
        """Take note that nobody waits for a call. A handler of the loop."""
        job = self.running.pop((event.source, event.id), lambda: None)()
        if job is not None:
            job.cancelled = True
            for stop in list(job.stops):
                stop()

    def answer_dropped(self, source: bytes, id: int, name: str) -> None:
        """Answer a job that nobody holds any more. An errand of the loop."""
        self.running.pop((source, id), None)
        error = Cancelled("", "", "%s dropped the request without an answer" % name)
        self._runtime.node.calls.answer(source, id, _protocol_error(error), True)


def _run_builtin(handler: "Callable[[Job], None]", job: Job) -> None:
    # Until then the main thread reads the link, and may itself wait for the lock that an import here would hold.
    job.runtime.ready.wait()
    try:
        with job.running():
            handler(job)
    except Refused as error:
        job.fail(error.with_traceback(None))  # our own word on the call, not an error of a method's
    except BaseException as error:  # noqa: BLE001 - the caller must hear of it
        job.fail(error)


def _is_head(head: "Any") -> bool:
    return type(head) is list and [type(part) for part in head] in _HEADS and head[0] in ("f", "s")


def _protocol_error(error: Exception) -> "List[Buffer]":
    """Return the encoded payload of an ERROR that comes before any user code."""
    code = getattr(error, "code", ProtocolError.code)
    found = getattr(error, "found", str(error))
    return list(values.encode([code, found, getattr(error, "started", False), "", [], ""]))


def current_call() -> "Optional[Job]":
    """Return the call that this thread is serving, None if it serves none."""
    return job_var.get()
