"""A program started here, with one descriptor to talk to it and one on which it complains; stopped and reaped.

Not what is said over the link: see `handshake.py` and `connector.py`. The program gets a session of its own: Ctrl-C
is for the root to handle, and ssh can't ask for a password on the user's terminal from under the program.
"""

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess
    from typing import List, Optional

TAIL_MAX = 8192  # of what it wrote on stderr, the newest is kept for error messages
KILL_WAIT_S = 2.0  # a killed process is gone in milliseconds, unless the kernel holds it


class ChildProcess:
    """A program with a socketpair as its stdin and stdout. Not thread-safe: one thread at a time.

    link_fd: our end of the socketpair, non-blocking. stderr_fd: the read end of its stderr, non-blocking; somebody
    must call read_stderr() when it's readable, or the program stops when that pipe is full. Both belong to this
    object and are -1 once closed: take them out of pollers before close() or hang_up().
    """

    __slots__ = ("_popen", "link_fd", "pid", "program", "stderr_fd", "stderr_tail")

    def __init__(self, popen: "subprocess.Popen[bytes]", program: str, link_fd: int, stderr_fd: int) -> None:
        self._popen = popen
        self.program = program
        self.pid = popen.pid
        self.link_fd = link_fd
        self.stderr_fd = stderr_fd
        self.stderr_tail = b""

    @classmethod
    def spawn(cls, argv: "List[str]") -> "ChildProcess":
        """Start argv. Raises OSError if there is no such program or it can't be started; nothing is left open then."""
        # subprocess: 20 ms where nothing has imported it yet, which a relay pays once; elsewhere it's in memory.
        # _socket: `socket` would cost a relay 11 ms more for the same call.
        import subprocess
        from _socket import AF_UNIX, SOCK_STREAM, socketpair

        near, far = socketpair(AF_UNIX, SOCK_STREAM)
        try:
            popen = subprocess.Popen(
                argv, bufsize=0, stdin=far.fileno(), stdout=far.fileno(), stderr=subprocess.PIPE, start_new_session=True
            )
        except BaseException:
            near.close()
            raise
        finally:
            far.close()
        assert popen.stderr is not None
        stderr_fd = os.dup(popen.stderr.fileno())
        popen.stderr.close()
        link_fd = near.detach()
        for fd in (link_fd, stderr_fd):
            os.set_blocking(fd, False)
        return cls(popen, os.path.basename(argv[0]), link_fd, stderr_fd)

    def poll(self) -> "Optional[int]":
        """Return its exit status, negative for a signal, or None while it runs. Never blocks."""
        if self._popen.returncode is None and self._has_ended():
            # Before it is reaped: afterwards its number may be somebody else's.
            self._kill_group()
        return self._popen.poll()

    def wait(self, timeout_s: float) -> "Optional[int]":
        """Return its exit status as poll() does, after at most timeout_s."""
        wait_until = time.monotonic() + timeout_s
        pause_s = 0.0005  # there is no waiting with a timeout in POSIX; Popen.wait() does the same
        while self.poll() is None:
            left_s = wait_until - time.monotonic()
            if left_s <= 0:
                break
            time.sleep(min(pause_s, left_s))
            pause_s = min(pause_s * 2, 0.05)
        return self._popen.returncode

    def read_stderr(self) -> "Optional[bytes]":
        """Return what it has written on stderr since, b"" if nothing, None at its end. Never blocks."""
        if self.stderr_fd < 0:
            return None
        try:
            data = os.read(self.stderr_fd, 65536)
        except BlockingIOError:
            return b""
        self.stderr_tail = (self.stderr_tail + data)[-TAIL_MAX:]
        return data or None

    def take_link(self) -> int:
        """Return the link's descriptor, which is the caller's to close from now on."""
        link_fd, self.link_fd = self.link_fd, -1
        return link_fd

    def hang_up(self) -> None:
        """Close the link: what reads from it sees its end, and should leave by itself; wait() tells when."""
        if self.link_fd >= 0:
            os.close(self.link_fd)
            self.link_fd = -1

    def kill(self) -> None:
        """Kill it and what it started in its session, if it still runs: an ssh's ProxyCommand too."""
        if self.poll() is None:
            self._kill_group()

    def close(self) -> None:
        """End it: close both descriptors, kill it, reap it. Nothing is left of it here. Again is no error."""
        self.hang_up()
        if self.stderr_fd >= 0:
            os.close(self.stderr_fd)
            self.stderr_fd = -1
        self.kill()
        self.wait(KILL_WAIT_S)

    def _has_ended(self) -> bool:
        try:
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except (AttributeError, OSError):
            return False  # macOS before Python 3.13; or somebody else has reaped it

    def _kill_group(self) -> None:
        try:
            os.killpg(self.pid, 9)
        except OSError:
            # It is just going, or became another user (sudo): then the hang-up has to do.
            pass
