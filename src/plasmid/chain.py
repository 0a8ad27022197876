"""Chain: function calls on one context, of which the first that fails answers the rest.

They are sent without waiting for one another, and the far side runs them in order, as it does all function calls.
There, each call of a chain is a call of step(), which knows whether an earlier one has failed. Both halves are in this
file, which is sent to those far sides that a chain leads to.
"""

import itertools
from time import monotonic

from plasmid.core import values
from plasmid.core.errors import Cancelled, DeadlineExceeded, Overloaded, PlasmidError, UnsendableValue
from plasmid.runtime.context import Call, Context, find_any, resolve
from plasmid.runtime.functions import fail, too_late
from plasmid.runtime.jobs import Job, current_call
from plasmid.runtime.naming import argument_named, name_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Optional, Tuple, TypeVar

    T = TypeVar("T")

_numbers = itertools.count(1)

# How many chains that have failed, and weren't closed, a context remembers. Beyond that it runs no chain any more: to
# forget one would be to run what mustn't be.
FAILED_MAX = 1024


class Chain:
    """Function calls on `context`, one after the other, without a wait between them. Any thread may add to it.

        with plasmid.Chain(context) as chain:
            chain.call_async(os.mkdir, "/srv/app")
            chain.call_async(os.chdir, "/srv/app")
            assert chain.call(os.listdir) == []

    Once a call has failed, been cancelled or run out of time, those after it aren't run: each ends with that same
    error. Close the chain when it's done with.
    """

    def __init__(self, context: Context) -> None:
        self.context = context
        self._number = next(_numbers)
        self._error = None  # type: Optional[PlasmidError]  # why a call couldn't even be sent

    def __enter__(self) -> "Chain":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def call(self, fn: "Callable[..., T]", *args: "Any", **kwargs: "Any") -> "T":
        """Return what fn(*args, **kwargs) returns there, after all calls made before."""
        return self.call_async(fn, *args, **kwargs).result()  # type: ignore[no-any-return]

    def call_async(self, fn: "Callable[..., Any]", *args: "Any", **kwargs: "Any") -> Call:
        """Start call() and return the Call."""
        call = self._send(fn, args, kwargs, False)
        assert call is not None
        return call

    def call_no_reply(self, fn: "Callable[..., Any]", *args: "Any", **kwargs: "Any") -> None:
        """Start call(); of an error those hear that come after it."""
        self._send(fn, args, kwargs, True)

    def close(self) -> None:
        """Have the far side forget the chain, once the calls made so far have ended there. Again is no error."""
        if not isinstance(self._error, _Closed):
            self._error = _Closed("the chain was closed")
            try:
                self.context.call_no_reply(end, self._number)
            except PlasmidError:
                pass  # the context is lost, and what it remembered with it

    def _send(self, fn: "Any", args: "Any", kwargs: "Any", no_reply: bool) -> "Optional[Call]":
        if self._error is not None:
            raise self._error
        context = self.context
        runtime = context.runtime
        module, qualname = name_of(fn)
        what = "%s.%s" % (module, qualname)
        runtime.permit(context.address, module)
        try:
            arguments = b"".join(values.encode([list(args), kwargs], what))
            payload = [[self._number, module, qualname, arguments], {}]
            classes = runtime.classes_of(fn)
            call = context.send_call("f", __name__, "step", payload, no_reply=no_reply, classes=classes)
        except PlasmidError as error:
            # Those after it mustn't run without it.
            self._error = argument_named(error, what) if isinstance(error, UnsendableValue) else error
            raise self._error from None
        if call is not None:
            call.what = what
        return call


class _Closed(PlasmidError):
    """A call was made on a chain that was closed."""


# -- the far side, on the thread of function calls alone

_failed = {}  # type: Dict[Tuple[bytes, int], BaseException]


def step(number: int, module: str, qualname: str, arguments: bytes) -> None:
    """Run one call of a chain and answer it, unless an earlier one has failed."""
    job = current_call()
    assert job is not None
    runtime = job.caller.runtime
    error = _failed.get((job.source, number))
    if error is None and len(_failed) >= FAILED_MAX:
        found = "%d chains there have failed and weren't closed, so no chain is run any more" % FAILED_MAX
        error = Overloaded("%s.%s" % (module, qualname), "", found)
    if error is not None:
        job.fail(error)
        return
    try:
        args, kwargs = values.decode(arguments, find_any, runtime.handle)
        function = resolve(module, qualname)
        for name in getattr(function, "__plasmid_takes__", ()):
            kwargs[name] = getattr(runtime.hook("router")(runtime), name)
        parts = values.encode(function(*args, **kwargs), "result of %s.%s" % (module, qualname))
    except BaseException as problem:  # noqa: BLE001 - SystemExit and KeyboardInterrupt too are the caller's answer
        _failed[job.source, number] = problem
        fail(job, problem)
        return
    job.reply_encoded(parts)
    if too_late(job) is not None:
        # Its caller was told so meanwhile.
        skip(job, number)


def skip(job: Job, number: "Optional[int]" = None) -> None:
    """Take note that a call of a chain was cancelled, or out of time, before it was begun, or `number` while it ran."""
    if number is None:
        (number, _, _, _), _ = job.args()
    assert number is not None
    # A call whose time is over is cancelled by its caller as well.
    is_late = job.deadline is not None and monotonic() >= job.deadline
    kind = DeadlineExceeded if is_late else Cancelled
    _failed.setdefault((job.source, number), kind("the chain", "", "a call before this one was cancelled or too late"))


def end(number: int) -> None:
    """Forget a chain."""
    job = current_call()
    assert job is not None
    _failed.pop((job.source, number), None)
