"""Invokers: how calls of a service become calls of its methods.

The pool hands an invoker one request at a time per thread; what may run side by side is told by `max_concurrency`,
which the pool heeds when it hands out requests. An async method or a generator gives its thread back while it waits;
the pool goes on counting it as running. The order is always the same: is the caller still waiting, does the method
exist, do the policies allow the caller, is the message within its limit, does the caller's side read its answers, and
only then are the arguments decoded and checked. Whatever user code raises, SystemExit included, is caught in attempt()
and becomes an answer.
"""

from itertools import count
from time import monotonic

from plasmid.core.errors import (
    CallError,
    Cancelled,
    DeadlineExceeded,
    Overloaded,
    PlasmidError,
    Refused,
    ValueDecodeError,
)
from plasmid.core.flow import OUTBOX_SIZE_MAX
from plasmid.runtime.context import deadline_var, job_var
from plasmid.runtime.jobs import current_call
from plasmid.service.methods import PLAIN
from plasmid.service.policy import caller_text, objection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, List, Optional, Tuple

    from plasmid.runtime.jobs import Job
    from plasmid.runtime.receivers import Sender
    from plasmid.service.interfaces import Backlog, Message
    from plasmid.service.methods import Method

NAME_SHOWN_MAX = 80


class NoReply:
    """The type of NO_REPLY."""

    def __repr__(self) -> str:
        return "NO_REPLY"


# Returned by a method, it means: no answer now. Whoever holds the message may answer it later; if nobody does, the
# caller gets an error. (None, on the other hand, is an answer.)
NO_REPLY = NoReply()  # type: Any


# Of requests, in the order of their arrival; whoever takes one later gets a larger one.
numbers = count()


class Request:
    """One call on its way through an invoker: the message, and what reading it has found.

    number: less than that of every request that comes later. lane: whose turn it takes, see lanes.py. is_detached: it
    goes on without a thread of the pool. course: what goes on then, once it has begun: an Outflow or a Task.
    """

    # What most requests have to the end is said once, here.
    method = None  # type: Optional[Method]
    args = None  # type: Any
    sender = None  # type: Optional[Sender]
    key = None  # type: Optional[bytes]
    is_started = False
    is_detached = False
    course = None  # type: Any

    def __init__(self, job: "Message", lane: bytes = b"") -> None:
        self.job = job
        self.number = next(numbers)
        self.lane = lane


class Invoker:
    """Runs the calls of one service, as many at once as the pool has threads."""

    # How many calls of the service may run at once; 0 means as many as there are threads.
    max_concurrency = 0
    # How many calls may wait for a thread. Further ones get Overloaded.
    max_queued = 1000
    # How many async calls and streams may be under way at once. One caller may have half of them, the next half of what
    # is left, and so on; further ones get Overloaded.
    max_detached = 4096
    # Whether calls are served in the order of their arrival, and not by turns of their callers.
    keeps_order = False

    # Set by the pool.
    backlog = None  # type: Optional[Backlog]

    # Whether nobody has overridden invoke(), so that it needn't be called for each call.
    _invokes_plainly = False

    def __init__(self, service: "Any") -> None:
        self.service = service
        self._invokes_plainly = type(self).invoke is Invoker.invoke

    def invoke(self, method_name: "Optional[str]", kwargs: "Any", msg: "Message") -> "Any":
        """Return what the method returns. Override to do something around each call, which is checked by now."""
        method = type(self.service).exposed[method_name]
        return method.call(self.service, kwargs, msg)

    def serve(self, request: Request) -> None:
        """Run one call and answer it. Called on a pool thread, again for each part of a stream; raises nothing."""
        if request.course is not None:
            request.course.go_on()
            return
        job = request.job
        try:
            method = self.permit(request)
            args = method.read(job.payload)
            if args is NotImplemented:
                args = self._decode_args(request, method)
            if method.is_bare and self._invokes_plainly and job.deadline is None and deadline_var.get() is None:
                # What run() would do where there is no deadline, which is most of the time.
                request.is_started = True
                served = job_var.set(job)  # type: ignore[arg-type]
                try:
                    result = method.function(self.service, **args)
                finally:
                    if deadline_var.get() is not None:
                        deadline_var.set(None)
                    job_var.reset(served)
            else:
                request.args = args
                if method.kind is PLAIN:
                    result = self.run(request)
                else:
                    error = self._begin(request, method)
                    if error is not None:
                        self.answer(request, None, error)
                    return
        except BaseException as raised:  # noqa: BLE001  as in attempt(), which would cost a call for each step
            self.answer(request, None, raised)
            return
        if result is not NO_REPLY:
            job.reply(None if method.is_no_reply else result)

    def _begin(self, request: Request, method: "Method") -> "Optional[BaseException]":
        """Start an async method or a generator. Returns an error if it can't be; else it is answered when it ends."""
        backlog = self.backlog
        if backlog is None:
            return PlasmidError("%s is %s; only a pool can run it" % (method.title, method.kind))
        if not backlog.detach(request):
            found = "its caller has as many streams and async calls under way there as one may"
            return Overloaded(call_text(request.job), "", found)
        result, error = attempt(self.run, request)
        if error is None and method.is_stream:
            from plasmid.service.outflow import begin_stream

            _, error = attempt(begin_stream, self, request, result)
        elif error is None and hasattr(result, "__await__"):
            # An event loop takes descriptors, of which there may be none left.
            _, error = attempt(lambda: backlog.event_loop().begin(self, request, result))
            if error is not None and hasattr(result, "close"):
                result.close()  # nobody will await it
        elif error is None:
            # An invoke() of the user's own has made a plain result of it.
            self.end(request, result, None)
        if error is not None:
            self.end(request, None, error)
        return None

    def end(self, request: Request, result: "Any", error: "Optional[BaseException]") -> None:
        """Answer a call that went on without a thread."""
        self.answer(request, result, error)
        if self.backlog is not None:
            self.backlog.finish(request)

    def permit(self, request: Request) -> "Method":
        """Return the method, once the policies have been asked. Raises CallError if the request may not be served."""
        job = request.job
        service = self.service
        if job.cancelled or job.done or job.deadline is not None:
            check_is_wanted(job)
        method = type(service).exposed.get(job.method)  # type: Optional[Method]
        if method is None:
            raise Refused(call_text(job), "", self._no_such_method(job))
        if not method.is_open and not (method.is_for_parents and job.from_parent):
            policies = method.own_policies or method.policies(service)
            objector = objection(policies, service, job)
            if objector is not None or not policies:
                reason = "%r doesn't allow it" % objector if policies else "no policy allows anybody"
                raise method.refused("not open to %s: %s" % (caller_text(job), reason))
        limit = service.max_message_size
        if limit and job.size > limit:
            raise method.refused("its arguments are %d bytes; the service takes at most %d" % (job.size, limit))
        # Many calls may have come before their answers were made. Who doesn't read these isn't served with more.
        if self.backlog is not None and self.backlog.is_unread(job.source):
            found = "more than %d bytes of answers wait to be sent to that side" % OUTBOX_SIZE_MAX
            raise Overloaded(call_text(job), "", found)
        request.method = method
        return method

    def take_args(self, request: Request, method: "Method") -> None:
        """Decode and check the arguments of a request that is permitted. Raises CallError if they don't fit."""
        args = method.read(request.job.payload)
        request.args = self._decode_args(request, method) if args is NotImplemented else args

    def _decode_args(self, request: Request, method: "Method") -> "Any":
        """Return the arguments that method.read() can't, checked."""
        job = request.job
        args = job.args(method.classes())
        if method.is_stream:
            request.sender = method.take_sender(args, job)
        method.check(self.service, args)
        check_is_wanted(job)  # that may have taken long
        return args

    def run(self, request: Request) -> "Any":
        """Return what the call of a request that was read just now returns, or raise what it raises."""
        job = request.job
        request.is_started = True
        # As `with job.running()` would do it; mostly there is no deadline, and was none.
        around = deadline_var.get()
        if around is not job.deadline:
            deadline_var.set(job.deadline)
        served = job_var.set(job)  # type: ignore[arg-type]
        method = request.method
        try:
            if method is None or not self._invokes_plainly:
                return self.invoke(job.method, request.args, job)
            if method.is_bare:
                return method.function(self.service, **request.args)
            return method.call(self.service, request.args, job)
        finally:
            if deadline_var.get() is not around:  # or the method has left one behind
                deadline_var.set(around)
            job_var.reset(served)

    def answer(self, request: Request, result: "Any", error: "Optional[BaseException]") -> None:
        """Send what came of a request to its caller, unless that is NO_REPLY."""
        if error is not None:
            fail(request, answerable(request, error))
        elif result is not NO_REPLY:
            method = request.method
            request.job.reply(None if method is not None and method.is_no_reply else result)

    def abandon(self) -> "List[Request]":
        """Return and forget the requests that wait inside the invoker. Called when the pool has been closed."""
        return []

    def _no_such_method(self, job: "Message") -> str:
        names = sorted(name for name in type(self.service).exposed if name is not None)
        if job.method is None:
            return "the service has no dispatch(); a call has to name a method"
        found = "the service exposes no such method"
        # Strangers needn't learn what there is.
        return "%s; it exposes %s" % (found, ", ".join(names) or "none") if job.from_parent else found


class SerializedInvoker(Invoker):
    """Runs the calls of one service one after the other, in the order of their arrival.

    They stay on one thread of the pool until none is left, unless another service would have to wait for a thread.
    An async method or a generator is one call until it ends.
    """

    max_concurrency = 1
    keeps_order = True


def attempt(act: "Callable[..., Any]", *args: "Any", **kwargs: "Any") -> "Tuple[Any, Optional[BaseException]]":
    """Return (result, None) of act(*args, **kwargs), or (None, error). The one place around what users wrote."""
    try:
        return act(*args, **kwargs), None
    except BaseException as error:  # noqa: BLE001  SystemExit in a method must end neither the thread nor the process
        return None, error


def current_job() -> "Job":
    """Return the message of the call that runs in this thread."""
    job = current_call()
    if job is None:
        raise PlasmidError("no service call runs in this thread; only the thread of a call knows its caller")
    return job


def fail(request: Request, error: BaseException) -> None:
    """Answer a request with an error. One that nobody waits for is logged: a stranger's only if it did run."""
    job = request.job
    if job.no_reply and (request.is_started or job.from_parent):
        report("%s failed, and nobody waits for its answer" % call_text(job), error)
    job.fail(error)


def check_is_wanted(job: "Message") -> None:
    """Raise Cancelled or DeadlineExceeded if nobody waits for the answer of `job` any more."""
    if job.cancelled or job.done:
        raise Cancelled(call_text(job), "", "it was cancelled before it was started", started=False)
    if job.deadline is not None and monotonic() >= job.deadline:
        raise DeadlineExceeded(call_text(job), "", "its time ran out before it was started", started=False)


def answerable(request: Request, error: BaseException) -> BaseException:
    """Return the error to answer a request with, given what was raised.

    A CallError without a traceback is read as our own word on this call, one with a traceback as the method's own
    error, about a call that it made itself.
    """
    job = request.job
    if not request.is_started:
        if isinstance(error, CallError):
            return error.with_traceback(None)
        if isinstance(error, ValueDecodeError):
            return Refused(call_text(job), "", "its arguments can't be read: %s" % error)
        # A policy or a check of the user's own. Its text stays here: the caller may not be one who may read it.
        report("a check before %s failed; the call was refused" % call_text(job), error)
        return Refused(call_text(job), "", "a check before the method raised %s" % type(error).__name__)
    # Users want to see their own lines, not how their method came to be called.
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_globals.get("__name__", "").startswith("plasmid.service."):
        trace = trace.tb_next
    return error if trace is None else error.with_traceback(trace)


def call_text(job: "Message") -> str:
    """Return the call as errors name it: `Disk.free_bytes`. Both names are the caller's and may be anything."""
    name = str(job.name)
    short = name if name.rpartition(".")[2] == "" else name.rpartition(".")[2]
    called = "service " + short if type(job.name) is int else short
    text = called if job.method is None else "%s.%s" % (called, job.method)
    return ascii(text)[1:-1][:NAME_SHOWN_MAX]


def report(text: str, error: "Optional[BaseException]" = None) -> None:
    """Log what no caller can be told."""
    import logging

    logging.getLogger("plasmid.service").error("%s", text, exc_info=error)


def overloaded(job: "Message") -> Overloaded:
    """Return the error for a call that finds the queue of its service full."""
    return Overloaded(call_text(job), "", "as many calls as may wait for this service wait already")
