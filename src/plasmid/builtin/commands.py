"""The service Commands: runs programs on the machine that its context runs on. `plasmid.commands` is its near side.

What a program prints goes to the caller as it comes, under the credit of a stream: a caller that doesn't read stops
the program at a full pipe, and nothing piles up here. Each program leads a session and a process group of its own. The
group is ended when the program itself has ended, when the caller has cancelled or is lost, when the context ends in
order, and by the watchdog when it doesn't. Processes that left the group are nobody's.

One thread serves a program, and waits for it in poll(); the pool has another one work in its place meanwhile.
"""

import errno
import os
import select
import signal
import time

from plasmid.core.errors import Overloaded, PlasmidError
from plasmid.runtime import ports, watchdog
from plasmid.runtime.receivers import Receiver
from plasmid.runtime.select import unwatch, watch
from plasmid.service.invokers import current_job
from plasmid.service.methods import expose
from plasmid.service.policy import AllowParents
from plasmid.service.service import Service

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess
    from typing import Any, Dict, Generator, Iterator, List, Optional, Set, Tuple

PIECE_SIZE_MAX = 48 * 1024  # of output: with what it takes to name it, one frame
# What a program may take to leave that was asked to; then it is killed.
TERM_S = 0.5
# How often the program is looked for where no descriptor tells of its end.
LOOK_S = 0.05
# How many may run at once: each holds a thread of the pool, which takes other threads for those that wait, up to 64.
RUNNING_MAX = 48
# Runs the program once a line has come on stdin; `read` takes no byte more than that. So the program doesn't start
# before the watchdog knows its group, and if this process ends before, it never does.
GATE = ["/bin/sh", "-c", 'read -r _ && exec "$@"', "sh"]


class Commands(Service):
    """Runs programs here, for parents."""

    def __init__(self, router: "Any") -> None:
        super().__init__(router)
        self._running = set()  # type: Set[Running]
        self._is_over = False
        # The root, and its children on its own machine; and a context that was detached.
        self._has_watchdog_later = watchdog._groups_fd < 0 or not self.router.runtime.node.address
        if self._has_watchdog_later:
            from plasmid.builtin import root_watchdog

            root_watchdog.use(self)
        if self.router.runtime.node.address:
            # Before the pool is closed, which waits for what runs.
            self.router.runtime.closers.append(self.on_shutdown)

    @expose(AllowParents())
    def run(
        self,
        argv: list,  # type: ignore[type-arg]  # the types here are looked at on Python 3.6, too
        cwd: str,
        env: dict,  # type: ignore[type-arg]
        feeds: bool,
    ) -> "Generator[Any, None, Optional[int]]":
        """Run a program: yield what it prints, ["stdout", bytes] and ["stderr", bytes]; return its exit status.

        cwd: "" for the context's own. env: what differs from the context's environment, None for what isn't to be
        there. feeds: the first item is the Sender by which bytes are put to its stdin, which ends when that is closed.
        The status is negative for a signal. OSError if the program can't be started.
        """
        if len(self._running) >= RUNNING_MAX or self._is_over:
            raise Overloaded("Commands.run", "", "%d programs run there already" % RUNNING_MAX)
        stdin = Receiver(self.router) if feeds else None
        try:
            running = Running(argv, cwd, env, stdin)
        except BaseException:
            if stdin is not None:
                stdin.close()
            raise
        self._running.add(running)
        try:
            job = current_job()
            with job.runtime.lock:
                job.stops.add(running.stop)
                if job.cancelled or self._is_over:
                    running.stop()
            if stdin is not None:
                yield ["stdin", stdin.to_sender()]
            for piece in running.output():
                yield piece
        finally:
            if stdin is not None:
                stdin.close()
            running.end()
            self._running.discard(running)
        return running.status

    def on_shutdown(self) -> None:
        """Stop what runs, and start nothing any more."""
        self._is_over = True
        for running in list(self._running):
            running.stop()
        if self._has_watchdog_later:
            from plasmid.builtin import root_watchdog

            root_watchdog.leave(self)


class Running:
    """A program, its pipes, and its process group. Owned by the thread that serves it, but for stop().

    status: once it has ended; None before.
    """

    def __init__(
        self, argv: "List[str]", cwd: str, env: "Dict[str, Optional[str]]", stdin: "Optional[Receiver]"
    ) -> None:
        self._process = _start(argv, cwd, env)
        self.group = self._process.pid
        self.status = None  # type: Optional[int]
        self._stopped = False
        self._wake, self._waker = os.pipe()
        os.set_blocking(self._waker, False)
        self._outputs = {}  # type: Dict[int, str]
        self._stdin = stdin
        self._unwritten = memoryview(b"")
        self._poller = select.poll()
        self._poller.register(self._wake, select.POLLIN)
        for name, file in ("stdout", self._process.stdout), ("stderr", self._process.stderr):
            assert file is not None
            os.set_blocking(file.fileno(), False)
            self._outputs[file.fileno()] = name
            self._poller.register(file.fileno(), select.POLLIN)
        self._exited = _exit_descriptor(self.group)
        if self._exited >= 0:
            self._poller.register(self._exited, select.POLLIN)
        assert self._process.stdin is not None
        if stdin is None:
            self._process.stdin.close()
            return
        os.set_blocking(self._process.stdin.fileno(), False)
        with ports.guard:
            watch(stdin, self)
            if stdin.has():
                self.source_ready(stdin)

    def stop(self) -> None:
        """Ask the group to leave, and the thread that serves it to end it. Any thread, under any lock."""
        self._stopped = True
        if self.status is None:
            _signal(self.group, signal.SIGTERM)
        self.source_ready(None)

    def source_ready(self, source: object) -> None:
        """Wake the thread: something came for stdin. Stands among the selects of that receiver."""
        try:
            os.write(self._waker, b"\0")
        except OSError:
            pass  # it is awake, or has ended

    def output(self) -> "Iterator[Tuple[str, bytes]]":
        """Give what it prints, until it has ended and all is read, or stop() is called."""
        has_ended = False
        while self._outputs or not has_ended:
            ready = self._wait(0 if has_ended else None)
            if self._stopped:
                return
            if self._wake in ready:
                os.read(self._wake, 4096)
            if self._stdin is not None:
                self._feed()
            pieces = [(self._outputs[fd], self._read(fd)) for fd in ready if fd in self._outputs]
            for name, data in pieces:
                if data:
                    yield name, data
            if has_ended and not any(data for _, data in pieces):
                return  # what still holds a pipe has left the group
            if not has_ended and _has_exited(self.group):
                # What it left behind in its group goes with it, before its number may be given to another one.
                _signal(self.group, signal.SIGKILL)
                has_ended = True

    def end(self) -> None:
        """End the group if it hasn't ended, and give back all that was held for it."""
        if self._stdin is not None:
            with ports.guard:
                unwatch(self._stdin, self)
        if not _has_exited(self.group):
            _signal(self.group, signal.SIGTERM)
            until = time.monotonic() + TERM_S
            while not _has_exited(self.group) and time.monotonic() < until:
                time.sleep(0.005)
        _signal(self.group, signal.SIGKILL)
        try:
            watchdog.guard(-self.group)
        finally:
            self.status = self._process.wait()
            for file in self._process.stdin, self._process.stdout, self._process.stderr:
                if file is not None:
                    file.close()
            for fd in self._wake, self._waker, self._exited:
                if fd >= 0:
                    os.close(fd)

    def _wait(self, timeout_s: "Optional[float]") -> "List[int]":
        """Return the descriptors that are ready."""
        if timeout_s is None and self._exited < 0:
            timeout_s = LOOK_S
        waited = ports.about_to_wait and ports.about_to_wait(self)
        try:
            return [fd for fd, _ in self._poller.poll(None if timeout_s is None else timeout_s * 1000)]
        finally:
            if waited:
                waited()

    def _read(self, fd: int) -> bytes:
        try:
            data = os.read(fd, PIECE_SIZE_MAX)
        except BlockingIOError:
            return b""
        if not data:
            self._poller.unregister(fd)
            del self._outputs[fd]
        return data

    def _feed(self) -> None:
        """Write to stdin what there is, as far as it goes."""
        assert self._stdin is not None and self._process.stdin is not None
        fd = self._process.stdin.fileno()
        try:
            while True:
                if not self._unwritten:
                    self._unwritten = memoryview(self._stdin.get(0))
                self._unwritten = self._unwritten[os.write(fd, self._unwritten) :]
        except BlockingIOError:
            self._poller.register(fd, select.POLLOUT)
            return
        except ports.TimedOut:
            pass  # nothing more has come
        except (OSError, TypeError, ValueError, PlasmidError):
            # The sender has closed or is lost, the program has closed its stdin, or this isn't bytes.
            with ports.guard:
                unwatch(self._stdin, self)
            self._stdin.close()
            self._stdin = None
            self._process.stdin.close()
        try:
            self._poller.unregister(fd)
        except KeyError:
            pass


def _start(argv: "List[str]", cwd: str, env: "Dict[str, Optional[str]]") -> "subprocess.Popen[bytes]":
    """Start a program in a group that the watchdog knows of. OSError if it can't be."""
    import subprocess

    environment = dict(os.environ)
    for name, value in env.items():
        if value is None:
            environment.pop(name, None)
        else:
            environment[name] = value
    _check_program(argv[0], cwd, environment.get("PATH", os.defpath))
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        GATE + argv,
        bufsize=0,
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        cwd=cwd or None,
        env=environment,
        start_new_session=True,
    )  # type: subprocess.Popen[bytes]
    assert process.stdin is not None
    try:
        watchdog.guard(process.pid)
        os.write(process.stdin.fileno(), b"\n")
    except OSError:
        process.kill()
        process.wait()
        raise
    return process


def _check_program(program: str, cwd: str, path: str) -> None:
    """Raise the OSError that says why the program can't be run, if that can be seen beforehand."""
    folders = [""] if os.sep in program else path.split(os.pathsep)
    found = [file for file in (os.path.join(cwd, folder, program) for folder in folders) if os.path.isfile(file)]
    number = errno.EACCES if found else errno.ENOENT
    if not any(os.access(file, os.X_OK) for file in found):
        raise OSError(number, "%s: %s" % (os.strerror(number), program))


def _signal(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except OSError:
        pass  # nothing is left of it


def _exit_descriptor(pid: int) -> int:
    """Return a descriptor that can be read once the process has ended, -1 where there is none."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return -1


def _has_exited(pid: int) -> bool:
    """Whether the process has ended; it isn't reaped."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except OSError as error:
        return error.errno == errno.ECHILD
