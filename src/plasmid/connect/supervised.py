"""Supervised contexts: one that is lost is started again. Router.supervise() at work, and what it gives.

restarts.py decides when. One thread for each router waits until then, for all of its supervised contexts; the starts
run on threads of the router's, as those for contexts above do. Nothing is called again but by clients, see proxy.py.
"""

import threading
from random import random
from time import monotonic
from typing import NamedTuple, Optional

from plasmid.connect import parse_chain
from plasmid.connect.connector import Connector
from plasmid.connect.handshake import STEP_PROMPT
from plasmid.connect.restarts import Restart, Restarts, State
from plasmid.connect.supply import supply_in
from plasmid.core import address as addresses
from plasmid.core.connect_error import ConnectError
from plasmid.core.errors import CallError, ContextLost, NotSent, PlasmidError
from plasmid.runtime.context import Context
from plasmid.runtime.ports import Latch, TimedOut

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Type, TypeVar, Union

    from plasmid.router import Router
    from plasmid.runtime.context import Call, Classes
    from plasmid.service.directory import ServiceInfo

    T = TypeVar("T")

# What is printed, in lower case, where somebody must do something before another try can succeed: who we are, or what
# we may, was refused. Further tries would bring an account nearer to being locked.
REFUSALS = (
    *("permission denied (", "too many authentication failures", "host key verification failed"),
    *("host identification has changed", "account has expired", "account expired", "password has expired"),
    *("password expired", "account is locked", "account locked", "incorrect password", "sorry, try again"),
    *("authentication failed", "authentication failure", "authentication required", "a password is required"),
    *("is not in the sudoers file", "may not run sudo", "is not allowed to"),
)

# How many services a context remembers to start again, and modules to send again.
REMEMBERED_MAX = 1000


class Status(NamedTuple):
    """What a supervised context was doing at one moment.

    state: starting, up, waiting, held, given up or stopped. starts: how often it was started. failures: starts in a row
    that came to nothing, or to a context that was soon lost. error: the last error of a start, or the last loss; None
    before the first. retry_after: seconds until it may be there again, None if it is, or won't be by itself.
    """

    state: str
    starts: int
    failures: int
    error: Optional[BaseException]
    retry_after: Optional[float]


class Supervised(Context):
    """A context that is started again when it is lost. Use it as any other: it stands for the one that is there now.

    While there is none, calls raise ContextLost, with `.retry_after`. Clients made of it stay good. Its own state is
    guarded by the lock of its Supervision.
    """

    def __init__(
        self,
        router: "Router",
        connector: Connector,
        via: "Optional[Context]",
        restart: Restart,
        services: "List[Any]",
        prepare: "Optional[Callable[[Context], object]]",
    ) -> None:
        # Until it is first there, an address that nobody has.
        super().__init__(
            router.runtime, addresses.child(router.runtime.node.address, addresses.NUMBER_MAX), connector.name
        )
        self._router = router
        self._connector = connector
        self._via = via
        self._services = services
        self._modules = []  # type: List[str]
        self._prepare = prepare
        self._restarts = Restarts(restart)
        self._there = None  # type: Optional[Context]
        self._prepared = None  # type: Optional[Context]  # there, and not ready for calls
        self._hops = []  # type: List[Supervised]  # made for this one's sake
        self._on_lost = []  # type: List[Callable[[Context, str], object]]
        self._waiting = []  # type: List[Latch]
        self._starts = 0
        self._error = None  # type: Optional[BaseException]
        self._supervision = _supervision_of(router)
        self._supervision.add(self)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def __str__(self) -> str:
        there = self._there
        return str(there) if there is not None else "%s (%s)" % (self.name, self._restarts.state)

    # -- what is there

    @property
    def status(self) -> Status:
        """What it is doing."""
        with self._supervision.lock:
            state = self._restarts.state
            return Status(state, self._starts, self._restarts.failures, self._error, self._retry_after())

    def now(self, what: str = "a call") -> Context:
        """Return the context that is there now. Raises ContextLost if there is none. what: for whose sake."""
        # Without the lock: this is on the way of every call, and a forked process may not find it free.
        there = self._there
        if there is None:
            raise self._absent(what)
        return there

    def wait(self, timeout: "Optional[float]" = None) -> Context:
        """Return the context once there is one. ContextLost if there is none within `timeout` seconds, or won't be."""
        self.comes_back(None, None if timeout is None else monotonic() + timeout)
        return self.now("wait()")

    def comes_back(self, lost: "Optional[Context]", until: "Optional[float]") -> bool:
        """Wait for a context other than the `lost` one; False if there is none by `until`, or won't be by itself."""
        latch = Latch()
        with self._supervision.lock:
            self._waiting.append(latch)
        try:
            while self._there is None or self._there is lost:
                if self.is_over:
                    return False
                latch.get(None if until is None else max(0.0, until - monotonic()))
        except TimedOut:
            return False
        finally:
            with self._supervision.lock:
                self._waiting.remove(latch)
        return True

    def retry(self) -> None:
        """Start it now, be it in a pause or given up. Nothing is done where it is there, or being started."""
        with self._supervision.lock:
            is_due = self._restarts.again()
        if is_due:
            self._supervision.start(self)

    def _retry_after(self) -> "Optional[float]":
        via = self._via
        if self._restarts.state == State.HELD and isinstance(via, Supervised):
            return via._retry_after()
        return self._restarts.retry_after(monotonic())

    def _absent(self, what: str) -> ContextLost:
        state = self._restarts.state
        after = self._retry_after()
        found = {
            State.STARTING: "it is being started",
            State.WAITING: "it is to be started again in %.1f s" % (after or 0.0),
            State.HELD: "it is started again once %s is there" % self._via,
            State.GIVEN_UP: "it was given up; retry() starts it anew",
            State.STOPPED: "it isn't supervised any more",
        }.get(state, "it was lost just now")
        if self._error is not None:
            found += ". The last that was heard of it: %s" % str(self._error).partition("\n")[0]
        error = ContextLost(what, self.name, found, False)
        error.retry_after = after if state != State.UP else self._restarts.restart.first_s
        error.advice = NotSent.advice
        return error

    @property
    def is_over(self) -> bool:
        """Whether it isn't started again by itself: it was given up, or isn't supervised any more."""
        return self._restarts.state in (State.GIVEN_UP, State.STOPPED)

    # -- used as a context

    def plasmid_handle(self) -> "Any":
        """Return what travels: the handle on the context that is there now."""
        return self.now("to send its handle").plasmid_handle()

    def send_function(self, fn: "Any", arguments: "Any", no_reply: bool) -> "Optional[Call]":
        """Send the call of a function to the context that is there now."""
        from plasmid.runtime.naming import name_of

        return self._on("%s.%s" % name_of(fn), lambda there: there.send_function(fn, arguments, no_reply))

    def send_call(
        self,
        what: str,
        name: "Union[str, int]",
        method: "Optional[str]",
        payload: "Any",
        deadline: "Optional[float]" = None,
        no_reply: bool = False,
        classes: "Optional[Classes]" = None,
    ) -> "Optional[Call]":
        """Send a call of any kind to the context that is there now."""
        args = what, name, method, payload, deadline, no_reply, classes
        return self._on("%s.%s" % (name, method) if method else str(name), lambda there: there.send_call(*args))

    def _on(self, what: str, send: "Callable[[Context], T]") -> "T":
        there = self.now(what)
        try:
            return send(there)
        except NotSent:
            # Gone, though nobody has said so yet.
            raise self._absent(what) from None

    def service_name(self, service: "Any") -> "Union[str, int]":
        """Return the name to call a service by. It is started again after each start of the context."""
        _remember(self._services, service)
        return self.now("the service %s" % getattr(service, "__name__", service)).service_name(service)

    def service(self, cls: "Type[T]", timeout: "Optional[float]" = None, overload_wait: float = 0) -> "T":
        """Return a client as Context.service() does, for whichever context is there."""
        return self.runtime.hook("proxy")(self, cls, timeout, overload_wait)  # type: ignore[no-any-return]

    def services(self) -> "List[ServiceInfo]":
        """Return what is active there."""
        return self.now("services()").services()

    def preload(self, *names: str) -> None:
        """Have these modules sent there, now and after each start."""
        for name in names:
            _remember(self._modules, name)
        self.now("preload()").preload(*names)

    def on_lost(self, fn: "Callable[[Context, str], object]") -> None:
        """Have fn(context, reason) called each time it is lost, on a helper thread, with the context that it was."""
        self._on_lost.append(fn)

    def shutdown(self, wait: bool = True) -> None:
        """Supervise it no more, and end it if it is there."""
        with self._supervision.lock:
            there = self._there or self._prepared
        self._supervision.remove(self)
        try:
            if there is not None:
                there.shutdown(wait)
        except CallError:
            pass  # lost, which will do
        for hop in reversed(self._hops):
            hop.shutdown(wait)

    def detach(self) -> int:
        """Supervise it no more, and let it go on by itself; return its process id."""
        there = self.now("detach()")
        self._supervision.remove(self)
        return there.detach()

    # -- starts; each on one thread, which may take long

    def bring_up(self) -> "Optional[BaseException]":
        """Start it, enter what comes of that, and return the error if it failed."""
        context = None  # type: Optional[Context]
        try:
            via = self._via
            if isinstance(via, Supervised):
                via = self._supervision.way(self, via)
                if via is None:
                    return None
            context = self._router.start(self._connector, via, None, self._why_not)
            self._make_ready(context)
            self._supervision.started(self, context)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it stands in the status, and is returned
            if context is not None:
                context.shutdown(wait=False)
            self._supervision.failed(self, error, context is None and self._is_final(error))
            return error
        context.on_lost(self._lost)
        return None

    def _why_not(self) -> str:
        return "it isn't supervised any more" if self._restarts.state == State.STOPPED else ""

    def _make_ready(self, context: Context) -> None:
        """Bring there what was there before."""
        with self._supervision.lock:
            self._prepared = context
        if self._modules:
            context.preload(*self._modules)
        for service in list(self._services):
            # A parent's call starts the service, whether or not it has such a method.
            error = context.call_service_async(service, "").exception()
            if not isinstance(error, CallError) or error.code != "Refused":
                raise error or PlasmidError("%r isn't refused a method without a name" % (service,))
        if self._services:
            active = {name for info in context.services() for name in info.names}
            for service in self._services:
                name = context.service_name(service)
                if name not in active:
                    raise PlasmidError("the service %s isn't active on %s after it was called" % (name, context))
        if self._prepare is not None:
            self._prepare(context)

    def _is_final(self, error: BaseException) -> bool:
        """Whether another start would fail, too, unless somebody does something."""
        if isinstance(error, ConnectError):
            printed = (error.output + error.found).lower()
            return error.step == STEP_PROMPT or any(sign in printed for sign in REFUSALS)
        if isinstance(error, (NotSent, ContextLost)):
            # What it was to be started by way of is gone, and may come back only where it is supervised.
            return not isinstance(self._via, Supervised) or self._via.is_over
        return isinstance(error, (ValueError, TypeError))  # its parameters make no sense

    def _lost(self, context: Context, reason: str) -> None:
        if self._supervision.lost(self, context, reason):
            for fn in self._on_lost:
                self.runtime.defer(fn, context, reason)


class Supervision:
    """The supervised contexts of one router, and the thread that starts them in time. `lock` guards all their state."""

    def __init__(self, router: "Router") -> None:
        self.lock = threading.Lock()
        self._router = router
        self._contexts = []  # type: List[Supervised]
        self._wake = Latch()
        self._thread = None  # type: Optional[threading.Thread]
        self._is_closed = False

    def add(self, context: Supervised) -> None:
        """Watch over a context from now on."""
        with self.lock:
            if self._is_closed:
                raise PlasmidError("supervising %s: the router is closed" % context.name)
            self._contexts.append(context)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="plasmid-supervision", daemon=True)
                self._thread.start()

    def remove(self, context: Supervised) -> None:
        """Start it no more."""
        with self.lock:
            context._restarts.stop()
            context._there = None
            if context in self._contexts:
                self._contexts.remove(context)
        self._changed(context)

    def start(self, context: Supervised) -> None:
        """Have it started, on another thread."""
        self._router.starters.run(context.bring_up, ())

    def way(self, context: Supervised, via: Supervised) -> "Optional[Context]":
        """Return what the context is started by way of; None, and it is held, if that isn't there now."""
        with self.lock:
            if via._there is None and not via.is_over:
                context._restarts.held()
                return None
        return via.now("starting %s" % context.name)

    def started(self, context: Supervised, there: Context) -> None:
        """Take note of a start. ContextLost if it was stopped meanwhile."""
        with self.lock:
            context._restarts.started(monotonic())
            context._prepared = None
            if context._restarts.state != State.UP:
                raise context._absent("starting it")
            context._starts += 1
            context._there = there
            context.address = there.address
        self._changed(context)

    def failed(self, context: Supervised, error: BaseException, is_final: bool) -> None:
        """Take note of a start that failed."""
        with self.lock:
            context._prepared = None
            context._error = error.with_traceback(None)
            context._restarts.failed(monotonic(), random(), is_final)
        self._changed(context)

    def lost(self, context: Supervised, there: Context, reason: str) -> bool:
        """Take note of a loss; False if it isn't supervised any more."""
        with self.lock:
            if context._there is not there:
                return False
            context._there = None
            context._error = ContextLost("keeping it", str(there), reason)
            context._error.advice = ""
            context._restarts.lost(monotonic(), random())
        self._changed(context)
        return True

    def _changed(self, context: Supervised) -> None:
        """Tell those who wait for a context of its new state."""
        with self.lock:
            state = context._restarts.state
            held = []  # type: List[Supervised]
            if state == State.UP or context.is_over:
                held = [one for one in self._contexts if one._via is context and one._restarts.released()]
            for latch in context._waiting:
                latch.put()
        self._wake.put()
        for one in held:
            self.start(one)
        if state == State.GIVEN_UP:
            import logging

            logging.getLogger("plasmid").error("%s was given up: %s", context.name, context._error)

    def _run(self) -> None:
        while True:
            with self.lock:
                if self._is_closed:
                    return
                now = monotonic()
                due = [one for one in self._contexts if one._restarts.expire(now)]
                deadlines = [one._restarts.deadline() for one in self._contexts]
            for one in due:
                self.start(one)
            next_due = min((each for each in deadlines if each is not None), default=None)
            try:
                self._wake.get(None if next_due is None else max(0.0, next_due - now))
            except TimedOut:
                pass

    def close(self) -> None:
        """Start nothing any more. What is being started is given up."""
        with self.lock:
            self._is_closed = True
            contexts = self._contexts[:]
            prepared = [one._prepared for one in contexts if one._prepared is not None]
        for context in contexts:
            self.remove(context)
        for there in prepared:
            there.shutdown(wait=False)
        self._wake.put()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()


def _supervision_of(router: "Router") -> Supervision:
    with router.runtime.lock:
        if router.supervision is None:
            router.supervision = Supervision(router)
            router.first_closers.append(router.supervision.close)
        return router.supervision


def supervise(
    router: "Router",
    target: "Union[str, Connector]",
    restart: "Optional[Restart]",
    via: "Optional[Context]",
    services: "List[Any]",
    prepare: "Optional[Callable[[Context], object]]",
    wait: bool,
    options: "Dict[str, Any]",
) -> Supervised:
    """Return a supervised context. See Router.supervise()."""
    supply = supply_in(options)
    if isinstance(target, Connector):
        if options:
            raise TypeError("a connector has its parameters already; %s came besides" % ", ".join(sorted(options)))
        connectors = [target]
    else:
        connectors = parse_chain(target, **options)
    *hops, last = connectors
    last.supply = supply or last.supply
    patience = restart or Restart()
    made = []  # type: List[Supervised]
    try:
        for hop in hops:
            via = Supervised(router, hop, via, patience, [], None)
            made.append(via)
            _begin(via, wait)
        context = Supervised(router, last, via, patience, list(services), prepare)
        context._hops = made[:]
        made.append(context)
        _begin(context, wait)
    except BaseException:
        for one in reversed(made):
            one.shutdown(wait=False)
        raise
    return context


def _begin(context: Supervised, wait: bool) -> None:
    if not wait:
        context._supervision.start(context)
        return
    error = context.bring_up()
    if error is not None:
        raise error
    context.wait()


def _remember(those: "List[Any]", one: "Any") -> None:
    if one not in those and len(those) < REMEMBERED_MAX:
        those.append(one)
