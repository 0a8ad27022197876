"""What a program starts with: a Router makes contexts, and ends them.

    with plasmid.Router() as router:
        web = router.ssh("web1")
        print(web.call(os.getloadavg))

The root has one; in a child that starts children of its own there is one too, which plasmid.takes_router gives to a
function. Everything here may be used from any thread.
"""

import atexit
import select
import sys
import threading
from time import monotonic

from plasmid import forks, interrupts
from plasmid.builtin import root_watchdog
from plasmid.builtin.first_words import FirstWords
from plasmid.builtin.modules import ModuleServer
from plasmid.builtin.shared_code import SharedCode
from plasmid.builtin.typed import permitting
from plasmid.connect import starting as connecting
from plasmid.connect.process import GRACE_S
from plasmid.connect.ways import Ways
from plasmid.core import address as addresses
from plasmid.core import relay, values
from plasmid.core.errors import PlasmidError
from plasmid.core.events import LinkEnded, LinkLeft, LinkOpened
from plasmid.core.switch import PARENT
from plasmid.runtime import main as far_main
from plasmid.runtime import standby
from plasmid.runtime.context import Context
from plasmid.runtime.helpers import Helpers
from plasmid.runtime.jobs import Jobs
from plasmid.runtime.runtime import Runtime
from plasmid.surroundings import forget, remember

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Iterable, List, Optional, Sequence, Tuple, Union

    from plasmid.connect.connector import Connector
    from plasmid.connect.process import ChildProcess
    from plasmid.connect.starting import Started
    from plasmid.connect.supervised import Supervision

# What links to children need must be in memory before the first: a switch can't wait for it.
NEEDED_BY_LINKS = (relay,)

# How long close() lets children finish what they are sending before it ends their processes.
CLOSE_MAX_S = 5.0

# How many children contexts above may have this one start at a time. Not the threads that everything else shares:
# a host that doesn't answer holds its thread for as long as a connection may take.
STARTERS_MAX = 32

# How long an error waits to say how the process ended, and of how many ended ones that is kept.
EXPLAIN_WAIT_S = 0.25
ENDED_MAX = 256


class Child:
    """One child of this context, with the process here that leads to it. Fields are guarded by the router lock.

    info: what it said of itself: python, host, pid. steps: each step of the connection and its seconds. boot_bytes:
    what was sent to start it, arguments included.
    """

    def __init__(
        self,
        number: int,
        context: Context,
        process: "ChildProcess",
        steps: "Sequence[Tuple[str, float]]" = (),
        stays_here: bool = False,
    ) -> None:
        self.number = number
        self.context = context
        self.process = process
        self.steps = list(steps)
        self._stays_here = stays_here
        self.boot_bytes = 0
        self.ticket = b""  # by which the context that asked for it can have it ended without knowing its address
        self.info = {}  # type: Dict[str, Any]
        self.opened = threading.Event()  # it has said hello, or its link has ended
        self.gone = threading.Event()  # its process has been reaped and its descriptors are closed
        self.lost = ""
        self.end = ""  # how its process ended, once it has
        self.leaving = False
        self.is_detached = False  # it goes on by itself when its link ends

    @property
    def is_here(self) -> bool:
        """Whether its process here is the context itself, and no program on the way there."""
        return self.info.get("pid") == self.process.pid

    @property
    def goes_on(self) -> bool:
        """Whether its process here is a context that was detached."""
        return self.is_detached and self.is_here

    def wait(self, patience_s: float) -> "Optional[int]":
        """Return how its process ended, None if it hasn't in that time."""
        if self._stays_here and self.process.is_guarded:
            patience_s = min(patience_s, GRACE_S)  # as if it had a watchdog of its own; only the root guards any
        return None if self.goes_on else self.process.wait(0.0 if self.is_detached else patience_s)

    def end_process(self, status: "Optional[int]") -> None:
        """End its process, unless that goes on by itself, and take note of how it ended. Under the router lock."""
        if self.goes_on:
            self.process.abandon()
        else:
            self.process.close()
        if not self.is_detached:
            self.end = _describe_end(self, status)

    def give_up(self) -> None:
        """Have whoever waits for its hello wait no longer. Under the router lock."""
        if not self.opened.is_set():
            self.lost = connecting.GIVEN_UP
            self.opened.set()


class Router(Ways):
    """The contexts below this one.

    timeout: seconds that a call may take which sets no deadline of its own, None for no limit. allow_modules,
    deny_modules: names of packages that children may, or may not, ask for besides those that they are asked to run.
    allow_data: packages, or `package:pattern`, whose data files they may read though no distribution lists them.
    name: what this context is called in logs and errors.
    """

    def __init__(
        self,
        timeout: "Optional[float]" = None,
        allow_modules: "Iterable[str]" = (),
        deny_modules: "Iterable[str]" = (),
        allow_data: "Iterable[str]" = (),
        name: str = "root",
        _runtime: "Optional[Runtime]" = None,
    ) -> None:
        if _runtime is None and far_main.runtime is not None:
            raise PlasmidError(
                "this process was started by Plasmid and has a router already: take it with @plasmid.takes_router"
            )
        self.children = {}  # type: Dict[int, Child]
        self._ended = {}  # type: Dict[bytes, Child]  # the last ones, for the texts of errors
        self._starting = []  # type: List[threading.Event]  # one for each connection being made, set at its end
        self._closed = False
        self.starters = Helpers(STARTERS_MAX)
        self.supervision = None  # type: Optional[Supervision]  # once there are supervised contexts
        self.first_closers = []  # type: List[Callable[[], None]]  # of what makes contexts, or lets them in
        self._is_own = _runtime is None or self.has_joined  # else Plasmid has started this process
        if _runtime is None:
            _runtime = _root_runtime(name)
        self.runtime = _runtime
        self.shared_code = SharedCode(_runtime.lock)
        if self._is_own:
            _use_fast_codec()
            _runtime.start()
            atexit.register(self.close)
            remember(_runtime, self)
            self._leave_process = _join_process(_runtime)
        _runtime.default_timeout_s = timeout
        parent = None if self._is_own else self.parent
        self.modules = ModuleServer(allow_modules, deny_modules, parent, allow_data)
        _runtime.permit = permitting(_runtime, self.modules) if self._is_own else self.modules.permit
        _runtime.jobs.builtin["plasmid.modules"] = self.modules.handle
        _runtime.explain_loss = self.explain_loss
        _runtime.on_link.append(self._on_link)
        _runtime.on_gone.append(Forgetting(_runtime, self.modules).forget)
        _runtime.closers.append(self.close)

    def __enter__(self) -> "Router":
        return self

    def __exit__(self, *error: "Any") -> None:
        self.close()

    # -- contexts

    def start(
        self,
        connector: "Connector",
        via: "Optional[Context]" = None,
        progress: "Optional[Callable[[str, Optional[float]], None]]" = None,
        given_up: "Optional[Callable[[], str]]" = None,
    ) -> Context:
        """Return a new context that this connector leads to, started from here or from the context `via`.

        progress: called with each step's name when it begins, and with its seconds when it has succeeded. given_up:
        asked a few times a second why nobody wants the context any more, "" while somebody does.
        """
        if via is not None and via.address != self.runtime.node.address:
            from plasmid.builtin.children import start_via

            context = start_via(self, connector, via, given_up or str)
        else:
            context = self.start_child(connector, progress, given_up or str).context
        if connector.supply is not None:
            from plasmid.builtin.supplying import supply

            supply(self.modules, connector, context, progress)
        return context

    def start_child(
        self,
        connector: "Connector",
        progress: "Optional[Callable[[str, Optional[float]], None]]" = None,
        given_up: "Callable[[], str]" = str,
    ) -> Child:
        """Return a new child of this context, once it has said hello."""
        runtime = self.runtime
        ended = threading.Event()

        def why_not() -> str:
            return connecting.GIVEN_UP if self._closed else given_up()

        with runtime.lock:
            if self._closed:
                raise PlasmidError("starting %s: the router is closed" % connector.target)
            number = runtime.node.new_child_number()
            self._starting.append(ended)
        try:
            return self._start_numbered(number, connector, progress, why_not)
        finally:
            self._starting.remove(ended)
            ended.set()

    def _start_numbered(
        self,
        number: int,
        connector: "Connector",
        progress: "Optional[Callable[[str, Optional[float]], None]]",
        given_up: "Callable[[], str]",
    ) -> Child:
        runtime = self.runtime
        address = addresses.child(runtime.node.address, number)
        config = values.pack({"address": address, "name": connector.name, "root": runtime.name_of(addresses.ROOT)})
        started = FirstWords(self, connector, address, config).start(progress, given_up)
        context = Context(runtime, address, connector.name)
        child = Child(number, context, started.process, started.steps, connector.stays_here)
        child.boot_bytes = started.boot_bytes
        with runtime.lock:
            self.children[number] = child
            runtime.names[address] = connector.name
            if self._closed:
                child.give_up()
        try:
            self._say_hello(child, started, progress, given_up)
        except BaseException:
            self._end(child)
            raise
        return child

    def _say_hello(
        self,
        child: Child,
        started: "Started",
        progress: "Optional[Callable[[str, Optional[float]], None]]",
        given_up: "Callable[[], str]",
    ) -> None:
        """Give the child's link to the loop and wait for its hello."""
        step = "say hello"
        if progress is not None:
            progress(step, None)
        begun = monotonic()
        fd = started.take_link()
        self.runtime.loop.attach(child.number, fd, fd, started.leftover)
        while not child.opened.wait(max(0.0, min(started.deadline - monotonic(), connecting.LOOK_S))):
            if monotonic() >= started.deadline:
                raise started.failure("it said nothing more within the time for connecting")
            why = given_up()
            if why:
                raise started.failure(why)
        if child.lost:
            told = "protocol" in child.lost or child.lost == connecting.GIVEN_UP
            raise started.failure(child.lost if told else "")
        for side_fd in child.process.side_fds:
            standby.watch(self.runtime.loop, side_fd, lambda fd=side_fd: self._on_side(child, fd))  # type: ignore[misc]
        child.steps.append((step, monotonic() - begun))
        if progress is not None:
            progress(step, child.steps[-1][1])

    def myself(self) -> Context:
        """Return the context that this program runs in. Can be sent, so that others call back."""
        return self.runtime.myself

    @property
    def parent(self) -> "Optional[Context]":
        """The context that started this one, None at the root."""
        above = addresses.parent(self.runtime.node.address)
        return None if above is None else Context(self.runtime, above)

    @property
    def jobs(self) -> Jobs:
        """What arrives here to be served; for the service pool."""
        return self.runtime.jobs

    def child(self, context: Context) -> "Optional[Child]":
        """Return what is known of a context that this one started itself, None of another."""
        for child in list(self.children.values()):
            if child.context == context:
                return child
        return None

    # -- end

    def shut_down(self, child: Child, wait: bool = True) -> None:
        """End a child in order. wait: until its process here is gone, at most CLOSE_MAX_S."""
        with self.runtime.lock:
            child.leaving = True
            self.runtime.node.say_goodbye(child.number, "its parent shut it down")
            self.runtime.loop.settle()
        if wait and not child.gone.wait(CLOSE_MAX_S):
            self._end(child)

    def close(self, patience_s: float = CLOSE_MAX_S) -> None:
        """End every context below this one, and, at the root, all of Plasmid in this process. Again is no error.

        Service pools finish what they run and answer what is queued. Connections that are being made are given up.
        patience_s: how long contexts may take to leave; one whose main thread is busy won't by itself.
        """
        with self.runtime.lock:
            if self._closed:
                return
            self._closed = True
            for child in self.children.values():
                child.give_up()
        try:
            self._end_children(monotonic() + patience_s)
        finally:
            # Ctrl-C, perhaps: then what is still there is ended without more patience.
            for child in list(self.children.values()):
                self._end(child)
            self.shared_code.close()
            root_watchdog.leave(self)
            if self._is_own:
                self.runtime.close("the router was closed")
                forget(self.runtime)
                self._leave_process()
                atexit.unregister(self.close)

    def _end_children(self, until: float) -> None:
        """Close the pool, give up what is being started, and have all children leave, until that time."""
        for closer in self.first_closers[:]:
            closer()
        pool = self.jobs.pool
        if pool is not None:
            pool.close()
        for ended in list(self._starting):
            ended.wait(CLOSE_MAX_S)
        self.starters.close()
        children = list(self.children.values())
        for child in children:
            self.shut_down(child, wait=False)
        for child in children:
            if not child.gone.wait(max(0.0, until - monotonic())):
                self._end(child)

    def _end(self, child: Child) -> None:
        """End a child's process now, and all that is held for it here."""
        with self.runtime.lock:
            self.runtime.node.link_closed(child.number, "its process was ended here", monotonic())
            self.runtime.loop.settle()
        self._reap(child, 0.0)

    def _reap(self, child: Child, patience_s: float) -> None:
        """Take leave of a child whose link has ended. patience_s: how long its process may take to leave by itself."""
        status = child.wait(patience_s)
        for fd in child.process.side_fds:
            standby.unwatch(self.runtime.loop, fd)
        with self.runtime.lock:
            if child.gone.is_set():
                return
            self.children.pop(child.number, None)
            child.end_process(status)
            self._ended[child.context.address] = child
            if len(self._ended) > ENDED_MAX:
                del self._ended[next(iter(self._ended))]
            child.gone.set()
        if not child.leaving and child.info:
            _log_loss(child)

    def explain_loss(self, address: bytes) -> str:
        """Return how the process ended that led to the context at `address`; "" if that isn't known here.

        Waits a moment for it: a link closes before its program has ended. Not for the loop's thread.
        """
        for child in list(self.children.values()) + list(self._ended.values()):
            if address.startswith(child.context.address):
                if child.lost:  # else it lives, and one below it was lost
                    child.gone.wait(EXPLAIN_WAIT_S)
                return child.end
        return ""

    def _on_link(self, event: "Union[LinkOpened, LinkLeft, LinkEnded]") -> None:
        """Take note of what a child's link did. Under the router lock."""
        number = event.link.id
        child = self.children.get(number)
        if number == PARENT or child is None:
            return
        if isinstance(event, LinkOpened):
            child.info = event.link.hello or {}
            child.opened.set()
        elif isinstance(event, LinkLeft):
            child.leaving = True
            self.runtime.node.say_goodbye(number, "goodbye")
        else:
            child.lost = event.reason
            if child.opened.is_set():
                self.runtime.defer(self._reap, child, CLOSE_MAX_S)
            child.opened.set()

    def _on_side(self, child: Child, fd: int) -> None:
        """Take in what the process here printed: ssh's own words, for the most part."""
        with self.runtime.lock:
            # Reaped meanwhile, the number may already be another file's.
            has_ended = not child.gone.is_set() and child.process.read_side(fd) is None
        if has_ended:
            standby.unwatch(self.runtime.loop, fd)


def _join_process(runtime: Runtime) -> "Callable[[], None]":
    """Have this context heed forks and Ctrl-C. Return what undoes that."""
    heeds_interrupts = interrupts.use()
    forks.watch(runtime)

    def leave() -> None:
        forks.forget(runtime)
        if heeds_interrupts:
            interrupts.leave()

    return leave


class Forgetting:
    """Lets go of what is kept for lost contexts; of their names, and of those below them, a while later.

    gone: whose names are still known here: their last log lines may be to come. Under the router lock.
    """

    def __init__(self, runtime: Runtime, modules: ModuleServer) -> None:
        self.runtime = runtime
        self.modules = modules
        self.gone = []  # type: List[bytes]

    def forget(self, address: bytes, reason: str) -> None:
        """Take note that the context at `address` is no more."""
        self.modules.forget(address)
        with self.runtime.lock:
            self.gone.append(address)
            if len(self.gone) > ENDED_MAX:
                long_gone = self.gone.pop(0)
                names = self.runtime.names
                for each in [each for each in names if each.startswith(long_gone)]:
                    del names[each]


def _root_runtime(name: str) -> Runtime:
    """Return what runs a root. PlasmidError on a Python that it can't wait with."""
    if not hasattr(select, "poll"):
        raise PlasmidError(
            "Plasmid waits with select.poll, where there is epoll too, and %s has none: it was built without. "
            "Run the program on another Python." % (sys.executable or "this Python")
        )
    from plasmid.builtin.console import ConsoleServer

    runtime = Runtime(addresses.ROOT, name, {"python": "%d.%d.%d" % sys.version_info[:3]})
    runtime.jobs.builtin["plasmid.console"] = ConsoleServer().handle
    runtime.jobs.in_order["plasmid.console"] = Helpers(1, CLOSE_MAX_S)
    return runtime


def _use_fast_codec() -> None:
    """Put the C codec underneath, where it is installed. In a relay it isn't, and isn't missed."""
    try:
        from plasmid import codec
    except ImportError:
        return
    codec.install()


def _describe_end(child: Child, status: "Optional[int]") -> str:
    """Return how the child's process here ended, and its last words: `ssh exited with status 255: Broken pipe`."""
    from plasmid.connect.handshake import describe_end

    last = child.process.stderr_tail.decode("utf-8", "replace").strip().splitlines()[-1:]
    return describe_end(child.process.program, status) + (": " + ascii(last[0])[1:-1] if last else "")


def _log_loss(child: Child) -> None:
    """Say what is known of a context that went without a goodbye."""
    import logging

    how = "; " + child.end if child.end else ""
    logging.getLogger("plasmid").warning("%s was lost: %s%s", child.context, child.lost, how)
