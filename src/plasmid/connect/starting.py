"""How a connection is made with a connector, step by step.

`start` runs its program and brings the far side to the point where it has the whole of ours; from then on the link
speaks for itself. It blocks, with one deadline for all its steps.

    start PROGRAM -> wait for the far side's first line -> send the program -> (say hello: the link's)

Where `python3` turns out to be missing or too old, and nobody said which Python to take, the first two are done again,
with a line of shell that looks for others. It isn't used at once: it would start two interpreters where one will do.
"""

import errno
import os
import select
import time

from plasmid.boot.first_stage import first_stage
from plasmid.connect.connector import Connector
from plasmid.connect.handshake import STEP_HELLO, STEP_MARK, STEP_SEND, Handshake, HandshakeState, describe_end
from plasmid.connect.process import AROUND_NOTHING, BESIDE, NO_TERMINAL, ChildProcess, NoTerminal
from plasmid.core.connect_error import ConnectError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Dict, List, Optional, Tuple, Union

    from plasmid.connect.secret import Secret

    # The configuration; or a function of the far side's magic number and of the program started here that returns it.
    Config = Union[bytes, Callable[[bytes, ChildProcess], bytes]]
    # Called with a step's name and None when it begins, and with the seconds it took when it has succeeded.
    Progress = Callable[[str, Optional[float]], None]

LOOK_S = 0.25  # how often we look whether the program has ended while something else holds its output open
LAST_WORDS_S = 1.0  # how long a far side that hung up may take to leave its exit status
GIVEN_UP = "it was given up, because the router here was closed"


class Started:
    """A far side that has the whole program; its hello comes over the link next.

    process: what runs here; it holds the link until take_link(), and stderr_fd, which somebody must read (see
    ChildProcess). leftover: bytes of the link that came with the mark. version: of the Python
    there. magic: its bytecode magic number in hex. boot_bytes: what was sent, arguments included. steps: each step's
    name and seconds. deadline: on time.monotonic(), when connect_timeout is over.
    """

    def __init__(
        self, connector: Connector, process: ChildProcess, handshake: Handshake, deadline: float, boot_bytes: int
    ) -> None:
        self.target = connector.target
        self.process = process
        self.leftover = handshake.leftover
        self.version = handshake.version
        self.magic = handshake.magic
        self.deadline = deadline
        self.boot_bytes = boot_bytes
        self.steps: "List[Tuple[str, float]]" = []
        self._handshake = handshake

    def take_link(self) -> int:
        """Return the link's descriptor, for both directions and non-blocking; the caller's to close from now on."""
        return self.process.take_link()

    def failure(self, found: str = "", output: bytes = b"") -> ConnectError:
        """Return the error for a hello that didn't come, with what the far side printed and how it ended.

        found: what the link saw, `no hello within 30 s`; empty for an end of the link, which the exit status says
        better. output: bytes that came over the link and are no frames. Waits up to 1 s for an exit status if the
        link has ended. Call close() after it.
        """
        status = self.process.wait(0 if found else LAST_WORDS_S)
        _drain_sides(self.process, self._handshake)
        self._handshake.feed_error(output)
        return self._handshake.failure(STEP_HELLO, found or describe_end(self.process.program, status), status)

    def close(self) -> None:
        """Kill the process, reap it and close its descriptors: those that weren't taken. Again is no error."""
        self.process.close()


def start(
    connector: Connector,
    config: "Config",
    bundle: "Union[bytes, Callable[[], bytes]]",
    progress: "Optional[Progress]" = None,
    given_up: "Callable[[], str]" = str,
    inherited_fd: int = -1,
    guard: "Optional[Callable[[ChildProcess], None]]" = None,
) -> Started:
    """Start a far side and send it the program. Blocks up to connect_timeout; any thread.

    bundle: the bytes, or a function that makes them: it is called while the interpreter over there starts.
    given_up: asked every LOOK_S or so why nobody wants this connection any more, "" while somebody does.
    inherited_fd: a descriptor that what is started here gets besides. guard: called with that once it is started.
    Raises ConnectError, which names the step; the process is gone then.
    """
    clock = _Clock(connector.connect_timeout)
    steps = Steps(progress)
    pack = _Once(bundle)
    spawn = _Spawn(inherited_fd, guard)
    process, handshake, argv = _reach(connector, pack, steps, clock, given_up, spawn)
    if handshake.lacks_python and connector.python_path is None:
        first = handshake.error
        process, handshake, argv = _reach(connector.with_any_python(), pack, steps, clock, given_up, spawn)
        if handshake.error and not handshake.has_looked:
            handshake.error = first  # not even a shell to look with
    if handshake.error:
        raise handshake.error
    try:
        steps.begin(STEP_SEND)
        program = pack()
        config = config if isinstance(config, bytes) else config(handshake.magic, process)
        sizes = len(config).to_bytes(4, "big") + len(program).to_bytes(4, "big")
        _send(process, handshake, sizes + config + program, clock, given_up)
        steps.end()
    except BaseException:
        process.close()
        raise
    boot_bytes = sum(len(word.encode()) + 1 for word in argv) + len(sizes) + len(config) + len(program)
    started = Started(connector, process, handshake, clock.deadline, boot_bytes)
    started.steps = steps.taken
    return started


def _reach(
    connector: Connector,
    pack: "_Once",
    steps: "Steps",
    clock: "_Clock",
    given_up: "Callable[[], str]",
    spawn: "_Spawn",
) -> "Tuple[ChildProcess, Handshake, List[str]]":
    """Start the program and read until the mark. The process is closed if the handshake has failed.

    Raises ConnectError for what no other Python can mend.
    """
    nonce = os.urandom(8).hex()
    text = first_stage(nonce)
    argv = connector.argv(text, _ps_name(connector.name))
    secrets = connector.secrets()
    handshake = Handshake(
        connector.target,
        nonce,
        connector.program,
        " ".join(connector._python_words),
        connector.known_failures,
        connector.prompts(text),
        list(secrets),
        connector.has_shell,
    )
    step = "start %s" % connector.program
    steps.begin(step)
    try:
        process = spawn(connector, argv, bool(secrets))
        process.program = connector.program  # argv may start with a helper of its
    except OSError as error:
        raise _spawn_failure(handshake, step, argv[0], error) from error
    try:
        steps.begin(STEP_MARK)
        spawn.guard(process)
        pack()  # while the interpreter over there starts
        _await_mark(process, handshake, secrets, clock, given_up)
        if handshake.error:
            process.close()
    except BaseException:
        process.close()
        raise
    return process, handshake, argv


class _Spawn:
    """How the program is started here, and guarded from then on."""

    def __init__(self, inherited_fd: int, guard: "Optional[Callable[[ChildProcess], None]]") -> None:
        self._inherited_fd = inherited_fd
        self._guard = guard

    def __call__(self, connector: Connector, argv: "List[str]", has_secrets: bool) -> ChildProcess:
        options = connector.buffer_size, self._inherited_fd
        try:
            return ChildProcess.spawn(argv, connector.environment(), connector.terminal, *options)
        except NoTerminal:
            # In a container without /dev/pts, say. Who isn't asked needs none.
            if has_secrets:
                raise
            instead = NO_TERMINAL if connector.terminal == BESIDE else AROUND_NOTHING
            return ChildProcess.spawn(argv, connector.environment(), instead, *options)

    def guard(self, process: ChildProcess) -> None:
        if self._guard is not None:
            self._guard(process)


class _Clock:
    """The time for one connection. What a user takes to say a password doesn't count."""

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self.deadline = time.monotonic() + timeout_s

    def left_s(self) -> float:
        return self.deadline - time.monotonic()

    def ask(self, secret: "Secret") -> str:
        begun = time.monotonic()
        try:
            return secret.reveal()
        finally:
            self.deadline += time.monotonic() - begun


class _Once:
    """The bundle, made when it is first wanted."""

    def __init__(self, bundle: "Union[bytes, Callable[[], bytes]]") -> None:
        self._bundle = bundle

    def __call__(self) -> bytes:
        if not isinstance(self._bundle, bytes):
            self._bundle = self._bundle()
        return self._bundle


class Steps:
    """Times the steps and tells `progress` of them."""

    def __init__(self, progress: "Optional[Progress]") -> None:
        self.taken: "List[Tuple[str, float]]" = []
        self._progress = progress
        self._step = ""
        self._begun = 0.0

    def begin(self, step: str) -> None:
        self.end()
        self._step = step
        self._begun = time.monotonic()
        if self._progress:
            self._progress(step, None)

    def end(self) -> None:
        if self._step:
            seconds = time.monotonic() - self._begun
            self.taken.append((self._step, seconds))
            if self._progress:
                self._progress(self._step, seconds)
            self._step = ""


def _ps_name(name: str) -> str:
    return "plasmid:%s" % "".join(c if c.isprintable() else "?" for c in name)[:64]


def _spawn_failure(handshake: Handshake, step: str, program: str, error: OSError) -> ConnectError:
    if isinstance(error, NoTerminal):
        return handshake.failure(step, "there is no terminal to be had here for its questions: %s" % error.strerror)
    if error.errno == errno.ENOENT:
        return handshake.failure(step, "there is no program %s here" % program, None, "Install it, or give its path.")
    if error.errno in (errno.EMFILE, errno.ENFILE):
        advice = "Raise the limit (`ulimit -n`; `resource.setrlimit`), or have fewer contexts or files open at a time."
        return handshake.failure(step, "no descriptor is left here to start %s with" % program, None, advice)
    return handshake.failure(step, "%s can't be started here: %s" % (program, os.strerror(error.errno or 0)))


def _await_mark(
    process: ChildProcess,
    handshake: Handshake,
    secrets: "Dict[str, Secret]",
    clock: _Clock,
    given_up: "Callable[[], str]",
) -> None:
    """Read until the mark or a failure, and answer prompts. Raises ConnectError only if it was given up."""
    poller = select.poll()
    for fd in [process.link_fd] + process.side_fds:
        poller.register(fd, select.POLLIN)
    while handshake.state not in (HandshakeState.MARKED, HandshakeState.FAILED):
        if handshake.state == HandshakeState.ASKED:
            _answer(process, handshake, secrets, clock)
            continue
        left_s = clock.left_s()
        if left_s <= 0:
            handshake.expired(clock.timeout_s)
            break
        why = given_up()
        if why:
            raise handshake.failure(STEP_MARK, why)
        ready = [fd for fd, _ in poller.poll(min(left_s, LOOK_S) * 1000)]
        for fd in ready:
            if fd != process.link_fd and _take_side(process, handshake, fd) is None:
                poller.unregister(fd)
        if process.link_fd in ready:
            data = _read_link(process)
            if data is None:
                status = process.wait(min(LAST_WORDS_S, left_s))
                _drain_sides(process, handshake)
                handshake.ended(status)
            elif data:
                handshake.feed(data)
        elif process.poll() is not None:
            # It is gone, but something it left behind holds the link's other end.
            _drain_link(process, handshake)
            _drain_sides(process, handshake)
            handshake.ended(process.poll())


def _answer(process: ChildProcess, handshake: Handshake, secrets: "Dict[str, Secret]", clock: _Clock) -> None:
    """Type the secret that is asked for. It stands in no variable of ours afterwards, and in no traceback."""
    secret = secrets[handshake.asked]
    process.type_line(clock.ask(secret))
    handshake.answered(secret)


def _send(
    process: ChildProcess, handshake: Handshake, data: bytes, clock: _Clock, given_up: "Callable[[], str]"
) -> None:
    """Write all of data to the link. Raises ConnectError.

    Nothing is read from the link meanwhile: an honest far side is silent until it has the program, and a hostile
    one could send without end.
    """
    poller = select.poll()
    poller.register(process.link_fd, select.POLLOUT)
    for fd in process.side_fds:
        poller.register(fd, select.POLLIN)
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(process.link_fd, view) :]
            continue
        except BlockingIOError:
            pass
        except OSError:
            raise _send_failure(process, handshake, clock) from None
        left_s = clock.left_s()
        if left_s <= 0:
            found = "only %d of %d bytes were taken within %g s" % (len(data) - len(view), len(data), clock.timeout_s)
            _drain_sides(process, handshake)
            raise handshake.failure(STEP_SEND, found)
        why = given_up()
        if why:
            raise handshake.failure(STEP_SEND, why)
        for fd, _ in poller.poll(min(left_s, LOOK_S) * 1000):
            if fd != process.link_fd and _take_side(process, handshake, fd) is None:
                poller.unregister(fd)


def _send_failure(process: ChildProcess, handshake: Handshake, clock: _Clock) -> ConnectError:
    status = process.wait(min(LAST_WORDS_S, clock.left_s()))
    _drain_sides(process, handshake)
    found = "%s before it had the program" % describe_end(process.program, status)
    return handshake.failure(STEP_SEND, found, status)


def _read_link(process: ChildProcess) -> "Optional[bytes]":
    """Return bytes, b"" if there are none yet, None at the end."""
    try:
        return os.read(process.link_fd, 65536) or None
    except BlockingIOError:
        return b""
    except OSError:
        return None  # reset: the far side ended with our bytes unread


def _drain_link(process: ChildProcess, handshake: Handshake) -> None:
    for _ in range(16):  # a bound: whoever holds the other end may write without end
        data = _read_link(process)
        if not data:
            break
        handshake.feed(data)


def _take_side(process: ChildProcess, handshake: Handshake, fd: int) -> "Optional[bytes]":
    """Pass on what is on stderr or on the terminal, and return it: b"" if there is nothing, None at its end."""
    data = process.read_side(fd)
    if data and fd == process.terminal_fd:
        handshake.feed_terminal(data)
    elif data:
        handshake.feed_error(data)
    return data


def _drain_sides(process: ChildProcess, handshake: Handshake) -> None:
    for fd in process.side_fds:
        for _ in range(16):
            if not _take_side(process, handshake, fd):
                break
