"""Clones: this context's process forks, and its copy becomes a context of its own, a child of this one.

A fork copies one thread, and of all the others what they hold: locks that nobody will ever let go. So

    - it is done by the main thread, as a function call among others: no function of the program's runs then;
    - under all locks of Plasmid's (forks.py), so that no other thread can be amid the protocol, or get there;
    - when all other threads rest: each waits in one of RESTS, and nothing but Plasmid's own code led it there. It then
      holds no lock, of Plasmid's, of Python's imports or of the program's. What is at work is waited for;
    - not at all where a thread of the program's own runs, or an event loop: what they are at is never known.

The copy (`_become`) forgets whatever speaks for this context: links, pollers, pipes, threads, its router, its pool. It
keeps them in memory all the same, since to take them apart would be to act for the other process. Then it does what
every far side does: a watchdog, a link, which is a socketpair to this process, a hello, and its life.
"""

# None of these within a function: an import that asks the parent would wait for ever under the locks.
import atexit
import itertools
import os
import sys
import threading
import warnings
from _socket import AF_UNIX, SOCK_STREAM, socketpair
from time import monotonic, sleep

from plasmid import forks, surroundings
from plasmid.builtin import pieces
from plasmid.builtin.bytecode import MAGIC
from plasmid.connect.handshake import Handshake
from plasmid.connect.process import ChildProcess
from plasmid.connect.starting import LOOK_S, Started, Steps
from plasmid.core import values
from plasmid.core.switch import PARENT
from plasmid.runtime import importer, life, missing, watchdog
from plasmid.runtime import main as far_main
from plasmid.runtime.context import deadline_var, job_var
from plasmid.runtime.ports import guard
from plasmid.runtime.runtime import Runtime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any, Callable, Dict, List, NoReturn, Optional, Tuple

    from plasmid.connect.connector import Connector
    from plasmid.connect.starting import Progress
    from plasmid.runtime.context import Call

STEP = "clone the process"
FOUND = "it belongs to the context that this one was cloned from; ask for it anew here"
AGAIN_S = 0.001  # how soon it is looked again whether all threads rest

# Where a thread may be, and hold nothing: it waits there, for something to come or for a lock that the cloner has.
RESTS = {
    *(("plasmid.runtime.ports", name) for name in ("get", "wait", "park")),
    *(("plasmid.runtime.loop", name) for name in ("park", "lead", "poll")),
    *(("plasmid.runtime.standby", name) for name in ("_run", "_sleep", "wait")),
    ("plasmid.runtime.helpers", "_serve"),
    ("plasmid.service.workshop", "_work"),
    ("threading", "wait"),
}


class Forked:
    """As much of subprocess.Popen as a ChildProcess asks for, of a process that was forked."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode = None  # type: Optional[int]

    def poll(self) -> "Optional[int]":
        """Return its exit status, negative for a signal, None while it runs."""
        if self.returncode is None:
            try:
                ended, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:
                ended, status = self.pid, 0  # somebody else has reaped it
            if ended:
                self.returncode = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        return self.returncode


class Hindrance(Exception):
    """Why there can be no clone now. is_final: nor later, as far as is known. advice: what to do."""

    def __init__(self, found: str, advice: str, is_final: bool = True) -> None:
        super().__init__(found)
        self.found = found
        self.advice = advice
        self.is_final = is_final


class Request:
    """One clone that is wanted. The lock guards what the main thread and who asked tell each other.

    has_begun: the main thread is at it, and ends by itself at the deadline. process: the clone, once it is there.
    hindrance: why it isn't.
    """

    def __init__(self, config: bytes, deadline: float) -> None:
        self.config = config
        self.deadline = deadline
        self.lock = threading.Lock()
        self.has_begun = False
        self.process = None  # type: Optional[ChildProcess]
        self.hindrance = None  # type: Optional[Hindrance]
        self.is_wanted = True

    def give_up(self) -> None:
        """Have no clone for this, not even one that is just there."""
        with self.lock:
            self.is_wanted = False
            if self.process is not None:
                self.process.close()


_numbers = itertools.count(1)
_requests = {}  # type: Dict[int, Request]
# Clones whose links may not be with the loop yet: the next clone mustn't keep their ends open.
_begun = []  # type: List[ChildProcess]
# What a clone has of the context that it was cloned from.
_inherited = []  # type: List[Any]


def start(
    connector: "Connector", config: bytes, progress: "Optional[Progress]", given_up: "Callable[[], str]"
) -> Started:
    """Have this process cloned. Blocks until it is, up to connect_timeout; any thread but those of the program's.

    config: of the new context, as for any far side. given_up: as for connect.starting.start(). Raises ConnectError.
    """
    handshake = Handshake(connector.target, "", connector.program, "", has_shell=False)
    deadline = monotonic() + connector.connect_timeout
    steps = Steps(progress)
    steps.begin(STEP)
    try:
        process = _cloned(Request(config, deadline), given_up)
    except Hindrance as error:
        raise handshake.failure(STEP, error.found, None, error.advice) from None
    steps.end()
    handshake.version = sys.version_info[:3]
    handshake.magic = MAGIC.hex().encode()
    started = Started(connector, process, handshake, deadline, 0)
    started.steps = steps.taken
    return started


def _cloned(request: Request, given_up: "Callable[[], str]") -> ChildProcess:
    runtime = far_main.runtime
    if runtime is None:
        found = "the root can't be cloned: its main thread, and its other ones, are its program's own"
        raise Hindrance(found, "Clone a context that was started for it: router.fork(via=...).")
    if not hasattr(os, "fork"):
        raise Hindrance("Python has no os.fork() there", "Start another context instead: router.local(via=...).")
    if job_var.get() is not None:
        found = "what asks for it runs in the very context that is to be cloned, which would copy it half done"
        raise Hindrance(found, "Have a context above ask: router.fork(via=...).")
    number = next(_numbers)
    _requests[number] = request
    call = runtime.myself.send_call("f", __name__, "clone_here", [[number], {}])
    assert call is not None
    try:
        _wait(call, request, given_up)
        error = call.exception()
        if error is not None:
            raise Hindrance("%s: %s" % (type(error).__name__, error), "") from error
        if request.hindrance is not None:
            raise request.hindrance
    except BaseException:
        call.cancel()
        request.give_up()
        raise
    finally:
        del _requests[number]
    assert request.process is not None
    return request.process


def _wait(call: "Call", request: Request, given_up: "Callable[[], str]") -> None:
    while not call.done():
        with guard:
            call.wait(min(monotonic() + LOOK_S, max(request.deadline, monotonic() + AGAIN_S)))
        why = "" if call.done() else given_up()
        if why:
            raise Hindrance(why, "")
        with request.lock:
            if not request.has_begun and monotonic() >= request.deadline:
                request.is_wanted = False
                raise _busy("its main thread didn't come to it in time: it runs function calls one after the other")


def clone_here(number: int) -> None:
    """Clone this process, for the request of that number. On the main thread, as a function call."""
    request = _requests.get(number)
    runtime = far_main.runtime
    if request is None or runtime is None:
        return  # nobody waits any more
    with request.lock:
        request.has_begun = request.is_wanted
        if not request.is_wanted:
            return
    _flush()  # or the clone would print it too. Before the locks, as it may have to wait.
    ours = []  # type: List[int]
    theirs = []  # type: List[int]
    is_there = False
    try:
        for make in _link, os.pipe:
            near, far = make()
            ours.append(near)
            theirs.append(far)
        pid = _fork_at_rest(request, runtime, theirs[0], theirs[1], ours)
        is_there = True
    except Hindrance as hindrance:
        request.hindrance = hindrance
        return
    finally:
        for fd in theirs if is_there else ours + theirs:
            os.close(fd)
    for fd in ours:
        os.set_blocking(fd, False)
    popen = Forked(pid)  # type: Any
    process = ChildProcess(popen, "the clone", ours[0], ours[1])
    _begun[:] = [each for each in _begun if each.link_fd >= 0]
    with request.lock:
        request.process = process
        if request.is_wanted:
            _begun.append(process)
        else:
            process.close()


def _flush() -> None:
    for stream in sys.stdout, sys.stderr:
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            pass  # it is one of the program's own, or closed


def _link() -> "Tuple[int, int]":
    near, far = socketpair(AF_UNIX, SOCK_STREAM)
    return near.detach(), far.detach()


def _fork_at_rest(request: Request, runtime: Runtime, link_fd: int, error_fd: int, others: "List[int]") -> int:
    """Fork as soon as all other threads rest; return the clone's process id. Raises Hindrance.

    link_fd, error_fd: the clone's link and standard error. others: descriptors that aren't for the clone.
    """
    while True:
        forks.take_locks([runtime])
        try:
            hindrance = _hindrance(runtime)
            if hindrance is None:
                forks.is_cloning = True
                try:
                    pid = _fork()
                    if not pid:
                        _become(request, runtime, link_fd, error_fd, others)
                finally:
                    forks.is_cloning = False
                return pid
        finally:
            forks.release_locks()
        if hindrance.is_final or monotonic() >= request.deadline or not request.is_wanted:
            raise hindrance
        sleep(AGAIN_S)


def _fork() -> int:
    with warnings.catch_warnings():
        # From 3.12 on: that locks which other threads hold stay held. None holds one.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


# -- whether all is at rest, under all locks


def _hindrance(runtime: Runtime) -> "Optional[Hindrance]":
    pool = runtime.jobs.pool
    if pool is not None and pool._event_loop is not None:
        return Hindrance(
            "its services have async methods, and run an event loop for them, which can't be copied",
            "Clone a context in which no async method was called.",
        )
    mine = threading.get_ident()
    found = None
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for ident, frame in sys._current_frames().items():
        if ident != mine:
            hindrance = _work_of(names.get(ident, str(ident)), frame)
            if hindrance is not None and hindrance.is_final:
                return hindrance
            found = found or hindrance
    if found is None and pool is not None and (pool.running() or pool._schedule.ring):
        # A generator between two of its items has no thread, and may hold a lock all the same.
        found = _busy("a call that one of its services has begun hasn't ended")
    return found


def _work_of(name: str, frame: "Optional[FrameType]") -> "Optional[Hindrance]":
    """Return what a thread is at, None if it rests. Final for a thread of the program's own."""
    assert frame is not None
    place = frame.f_globals.get("__name__", ""), frame.f_code.co_name
    outermost = ""
    foreign = ""
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module != "threading":
            outermost = module
            if not module.startswith("plasmid."):
                foreign = foreign or "%s.%s()" % (module, frame.f_code.co_name)
        frame = frame.f_back
    is_own = outermost.startswith("plasmid.")
    if not is_own and (outermost or place == ("threading", "wait")):
        return Hindrance(
            "a thread of the program's own runs there, %r, and what it holds would stay held in the clone" % name,
            "Clone before that thread is started, or after it has ended.",
        )
    if is_own and not foreign and place in RESTS:
        return None
    return _busy("its thread %r is still in %s" % (name, foreign or "%s.%s()" % place))


def _busy(found: str) -> Hindrance:
    return Hindrance(found, "Wait until that has ended, or allow more time with connect_timeout=.", False)


# -- in the clone, which has one thread and all locks


def _become(request: Request, old: Runtime, link_fd: int, error_fd: int, others: "List[int]") -> "NoReturn":
    """Be a context of its own from now on, to the end of this process."""
    status = 1
    try:
        _let_go(old, error_fd, others)
        os.setsid()
        watchdog.start(link_fd, request.config[0])
        forks.is_cloning = False
        far_main.runtime = runtime = _boot(values.unpack(request.config[1:]), old, link_fd)
        assert missing.current is not None
        life.spend(runtime, missing.current)
        _finish()
        status = 0
    except BaseException:  # noqa: BLE001 - it has nowhere to go: the stack below is another context's
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type, unused-ignore]
    finally:
        os._exit(status)


def _let_go(old: Runtime, error_fd: int, others: "List[int]") -> None:
    """Close here what is the other process's, and forget what speaks for it."""
    forks.release_locks()
    forks.forget(old)
    routers = [closer.__self__ for closer in old.closers if hasattr(getattr(closer, "__self__", None), "start_child")]  # type: ignore[attr-defined]
    children = [child for router in routers for child in router.children.values()]
    fds = {*others, *own_descriptors(old, _begun + [child.process for child in children])}
    _inherited.append((old, children, _begun[:], sys.stdout, sys.stderr))
    forks.close_here(old, FOUND)
    for fd in 1, 2:
        os.dup2(error_fd, fd)
    for fd in fds | {error_fd}:
        if fd > 2:
            os.close(fd)
    old.loop.wake_write = -1
    del _begun[:]
    surroundings.forget_all()
    forks.drop_handlers()
    deadline_var.set(None)
    job_var.set(None)
    _forget_exits()
    if sys.version_info < (3, 7) and "random" in sys.modules:
        sys.modules["random"].seed()  # type: ignore[attr-defined]  # later ones do so by themselves


def own_descriptors(runtime: Runtime, processes: "List[ChildProcess]") -> "List[int]":
    """Return the numbers of the descriptors by which this context speaks, but for those of links. Some may be -1."""
    loop, standby, console = runtime.loop, runtime.loop.standby, life.console
    fds = [loop.wake_read, loop.wake_write, watchdog._groups_fd, watchdog._life_fd, *loop.watched]
    if standby is not None:
        fds += [standby._wake_read, standby._wake_write]
    if console is not None:
        fds += [*console.pipes, *console.write_ends, console.waker]
    for process in processes:
        fds += process.own_fds
    return fds


def _forget_exits() -> None:
    """Leave to the other process what it is to do at its exit. The clone does what is registered from now on."""
    atexit._clear()
    finalize = getattr(sys.modules.get("weakref"), "finalize", None)
    if finalize is not None:
        for each in list(finalize._registry):
            each.atexit = False
        if finalize._registered_with_atexit:
            atexit.register(finalize._exitfunc)


def _boot(settings: "Dict[str, Any]", old: Runtime, link_fd: int) -> Runtime:
    """Return the running context, once its parent has answered it. See runtime/main.py."""
    runtime = Runtime(settings["address"], settings["name"], dict(old.node.switch.facts, pid=os.getpid()))
    runtime.names[b""] = settings["root"]
    runtime.loop.attach(PARENT, link_fd, link_fd)
    found = importer.current
    assert found is not None
    found.asking.clear()
    pieces.current = None  # what was on its way came by the other process's link
    found.ask = far_main._ask_parent(runtime)
    found.ask([])  # it has all that it needs: this waits for the parent's hello
    return runtime


def _finish() -> None:
    """Do what Python does at its end, but for taking apart what it holds: much of that is shared."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    _flush()
