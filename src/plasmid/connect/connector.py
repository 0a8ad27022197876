"""What every way to reach a machine supplies, and how a connection is made with it, step by step.

A connector says which program to run here so that Python runs there with the first stage (`argv`), and nothing else
about it. `start` runs that program and brings the far side to the point where it has the whole program; from then on
the link speaks for itself. It blocks, with one deadline for all its steps.

    start PROGRAM -> wait for the far side's first line -> send the program -> (say hello: the link's)
"""

import errno
import os
import select
import time

from plasmid.boot.first_stage import first_stage
from plasmid.connect.handshake import STEP_HELLO, STEP_MARK, STEP_SEND, Handshake, HandshakeState, describe_end
from plasmid.connect.process import ChildProcess
from plasmid.core.errors import ConnectError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple, Union

    # Called with a step's name and None when it begins, and with the seconds it took when it has succeeded.
    Progress = Callable[[str, Optional[float]], None]

LOOK_S = 0.25  # how often we look whether the program has ended while something else holds its output open
LAST_WORDS_S = 1.0  # how long a far side that hung up may take to leave its exit status
GIVEN_UP = "it was given up, because the router here was closed"


class Connector:
    """A way to reach a machine. The parameters are those of the constructor, under the same names.

    name: of the new context, for logs and the process list there. python_path: the Python there, a word or a list
    of words. connect_timeout: seconds for everything until the far side has answered.
    """

    scheme = ""
    # What the program prints when it fails, in lower case, and what to do about it: looked at in this order.
    known_failures: "Sequence[Tuple[str, str]]" = ()
    # The constructor's parameters, which spec() carries to another context.
    PARAMETERS: "Tuple[str, ...]" = ("name", "python_path", "connect_timeout")

    def __init__(
        self, name: str, python_path: "Union[str, List[str]]" = "python3", connect_timeout: float = 30.0
    ) -> None:
        if not connect_timeout > 0:
            raise ValueError("connect_timeout must be more than 0 seconds; it is %r" % (connect_timeout,))
        words = [python_path] if isinstance(python_path, str) else list(python_path)
        if not words or not all(words) or words[0].startswith("-"):
            raise ValueError("python_path must name a program; it is %r" % (python_path,))
        self.name = name
        self.python_path = python_path
        self.connect_timeout = connect_timeout
        self._python_words = words

    @classmethod
    def url_fields(cls, url: str, rest: str) -> "Dict[str, Any]":
        """Return the parameters that a URL of this scheme gives. rest: what stands behind `scheme://`.

        Raises ValueError for a URL that makes no sense. One without anything behind the scheme is the only one here.
        """
        if rest:
            raise ValueError("%r: `%s:` takes nothing after it" % (url, cls.scheme))
        return {}

    @property
    def target(self) -> str:
        """What is to be reached, as messages name it: `ssh://web1`."""
        raise NotImplementedError

    @property
    def program(self) -> str:
        """The program started here, as messages name it: `ssh`."""
        raise NotImplementedError

    def argv(self, first_stage: str, ps_name: str) -> "List[str]":
        """Return the command that runs Python there with this text. ps_name: the last argument, seen in `ps`."""
        raise NotImplementedError

    def spec(self) -> "Dict[str, Any]":
        """Return this connector as a value that can travel; plasmid.connect.from_spec() makes it one again."""
        spec: "Dict[str, Any]" = {key: getattr(self, key) for key in self.PARAMETERS}
        spec["scheme"] = self.scheme
        return spec

    def _python_argv(self, first_stage: str, ps_name: str) -> "List[str]":
        # -S: `site` costs 20 ms and more, and runs after the far side has answered.
        return self._python_words + ["-S", "-c", first_stage, ps_name]


def split_user(url: str, rest: str) -> "Tuple[Optional[str], str]":
    """Return the user of `user@place`, None without one, and the place. For url_fields(); ValueError for a password."""
    user, at, place = rest.rpartition("@")
    if ":" in user:
        raise ValueError("a URL must not hold a password: %s:...@%s" % (user.partition(":")[0], place))
    return (user if at else None), place


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
        _drain_stderr(self.process, self._handshake)
        self._handshake.feed_error(output)
        return self._handshake.failure(STEP_HELLO, found or describe_end(self.process.program, status), status)

    def close(self) -> None:
        """Kill the process, reap it and close its descriptors: those that weren't taken. Again is no error."""
        self.process.close()


def start(
    connector: Connector,
    config: bytes,
    bundle: "Union[bytes, Callable[[], bytes]]",
    progress: "Optional[Progress]" = None,
    given_up: "Callable[[], str]" = str,
) -> Started:
    """Start a far side and send it the program. Blocks up to connect_timeout; any thread.

    bundle: the bytes, or a function that makes them: it is called while the interpreter over there starts.
    given_up: asked every LOOK_S or so why nobody wants this connection any more, "" while somebody does.
    Raises ConnectError, which names the step; the process is gone then.
    """
    deadline = time.monotonic() + connector.connect_timeout
    steps = _Steps(progress)
    nonce = os.urandom(8).hex()
    argv = connector.argv(first_stage(nonce), _ps_name(connector.name))
    python = " ".join(connector._python_words)
    handshake = Handshake(connector.target, nonce, connector.program, python, connector.known_failures)

    step = "start %s" % connector.program
    steps.begin(step)
    try:
        process = ChildProcess.spawn(argv)
    except OSError as error:
        raise _spawn_failure(handshake, step, argv[0], error) from error
    try:
        steps.begin(STEP_MARK)
        program = bundle if isinstance(bundle, bytes) else bundle()
        _await_mark(process, handshake, connector.connect_timeout, deadline, given_up)
        steps.begin(STEP_SEND)
        sizes = len(config).to_bytes(4, "big") + len(program).to_bytes(4, "big")
        _send(process, handshake, sizes + config + program, deadline, connector.connect_timeout, given_up)
        steps.end()
    except BaseException:
        process.close()
        raise
    boot_bytes = sum(len(word.encode()) + 1 for word in argv) + len(sizes) + len(config) + len(program)
    started = Started(connector, process, handshake, deadline, boot_bytes)
    started.steps = steps.taken
    return started


class _Steps:
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
    if error.errno == errno.ENOENT:
        return handshake.failure(step, "there is no program %s here" % program, None, "Install it, or give its path.")
    return handshake.failure(step, "%s can't be started here: %s" % (program, os.strerror(error.errno or 0)))


def _await_mark(
    process: ChildProcess, handshake: Handshake, timeout_s: float, deadline: float, given_up: "Callable[[], str]"
) -> None:
    """Read until the mark. Raises ConnectError."""
    poller = select.poll()
    poller.register(process.link_fd, select.POLLIN)
    poller.register(process.stderr_fd, select.POLLIN)
    while handshake.state == HandshakeState.WAITING:
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            handshake.expired(timeout_s)
            break
        why = given_up()
        if why:
            raise handshake.failure(STEP_MARK, why)
        ready = [fd for fd, _ in poller.poll(min(left_s, LOOK_S) * 1000)]
        if process.stderr_fd in ready and not _take_stderr(process, handshake):
            poller.unregister(process.stderr_fd)
        if process.link_fd in ready:
            data = _read_link(process)
            if data is None:
                status = process.wait(min(LAST_WORDS_S, left_s))
                _drain_stderr(process, handshake)
                handshake.ended(status)
            elif data:
                handshake.feed(data)
        elif process.poll() is not None:
            # It is gone, but something it left behind holds the link's other end.
            _drain_link(process, handshake)
            _drain_stderr(process, handshake)
            handshake.ended(process.poll())
    if handshake.error:
        raise handshake.error


def _send(
    process: ChildProcess,
    handshake: Handshake,
    data: bytes,
    deadline: float,
    timeout_s: float,
    given_up: "Callable[[], str]",
) -> None:
    """Write all of data to the link. Raises ConnectError.

    Nothing is read from the link meanwhile: an honest far side is silent until it has the program, and a hostile
    one could send without end.
    """
    poller = select.poll()
    poller.register(process.link_fd, select.POLLOUT)
    poller.register(process.stderr_fd, select.POLLIN)
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(process.link_fd, view) :]
            continue
        except BlockingIOError:
            pass
        except OSError:
            raise _send_failure(process, handshake, deadline) from None
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            found = "only %d of %d bytes were taken within %g s" % (len(data) - len(view), len(data), timeout_s)
            _drain_stderr(process, handshake)
            raise handshake.failure(STEP_SEND, found)
        why = given_up()
        if why:
            raise handshake.failure(STEP_SEND, why)
        ready = [fd for fd, _ in poller.poll(min(left_s, LOOK_S) * 1000)]
        if process.stderr_fd in ready and not _take_stderr(process, handshake):
            poller.unregister(process.stderr_fd)


def _send_failure(process: ChildProcess, handshake: Handshake, deadline: float) -> ConnectError:
    status = process.wait(min(LAST_WORDS_S, deadline - time.monotonic()))
    _drain_stderr(process, handshake)
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


def _take_stderr(process: ChildProcess, handshake: Handshake) -> bool:
    """Pass on what is on stderr; return False at its end."""
    data = process.read_stderr()
    if data:
        handshake.feed_error(data)
    return data is not None


def _drain_stderr(process: ChildProcess, handshake: Handshake) -> None:
    for _ in range(16):
        data = process.read_stderr()
        if not data:
            break
        handshake.feed_error(data)
