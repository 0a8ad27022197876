"""A program started here, with one descriptor to talk to it and one on which it complains; stopped and reaped.

Not what is said over the link: see `handshake.py` and `connector.py`. The program gets a session of its own: Ctrl-C
is for the root to handle, and ssh can't ask for a password on the user's terminal from under the program.

What asks for a password gets a terminal of its own for that, a pseudo-terminal that this process holds the other end
of, while the link stays the socketpair:

    terminal        descriptors 0, 1   2              /dev/tty       for
    NO_TERMINAL     link               stderr         none           what asks nothing
    BESIDE          link               stderr         the terminal   sudo, doas, ssh: they ask on /dev/tty
    AROUND          the terminal       the terminal   the terminal   su, whose PAM asks on stdin. Link and stderr are
                                                                     4, 5 and 6; what su runs has to move them
    AROUND_NOTHING  /dev/null, stderr  stderr         none           the same where no terminal is to be had

To close the terminal is also the one way to end a program that became another user: the kernel sends it a hang-up. And
to have it go on if it is stopped, as sudo and su are along with what they run, a while after it. So when this process
has ended, another one holds the terminal for as long as a far side may take to be gone: a hang-up at once could come
before that stop, and nothing would come after it.
"""

import os
import time

from plasmid.runtime import watchdog

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess
    from typing import Dict, List, Optional, Tuple

TAIL_MAX = 8192  # of what it wrote on stderr, the newest is kept for error messages
FROM_PROGRAM_SIZE = 512 * 1024  # how many bytes it may have written to its link that we haven't read
KILL_WAIT_S = 2.0  # a killed process is gone in milliseconds, unless the kernel holds it

NO_TERMINAL = ""
BESIDE = "beside"
AROUND = "around"
AROUND_NOTHING = "around nothing"
# A shell opens the terminal, named in $0, and so, as the leader of a new session, makes it its own; then it becomes the
# program. Not a function that runs between fork and exec: beside threads that can hang.
_SHELL = "/bin/sh"
_OPENING = {
    BESIDE: 'exec 3<>"$0" && exec 3>&- && exec "$@"',
    AROUND: 'exec 3<>"$0" && exec "$@" 4<&0 5>&1 6>&2 <&3 >&3 2>&3 3>&-',
    AROUND_NOTHING: 'exec "$@" 4<&0 5>&1 6>&2 <"$0" >&2',
}
# Its stdin ends with this process.
_HOLD = 'read -r _; exec sleep "$1"'
# How much longer than the far side's grace, at most, that other process holds the terminal.
HOLD_MORE_S = 0.4
# What children of the root have. Those of each further context have half of what it has itself: where contexts below
# one another are all stuck, only the end of one that is killed tells the next, so what they have adds up.
GRACE_S = 0.8
GRACE_MIN_S = 0.1
# For the command line of what is run within AROUND.
BACK_TO_THE_LINK = "<&4 >&5 2>&6 4<&- 5>&- 6>&-"


def child_grace_s() -> float:
    """Return how long a child of this context has to leave by itself once its link has ended."""
    return max(GRACE_MIN_S, watchdog.grace_s / 2) if watchdog.grace_s else GRACE_S


class NoTerminal(OSError):
    """This machine gives no pseudo-terminal."""


class ChildProcess:
    """A program with a socketpair as its stdin and stdout. Not thread-safe: one thread at a time.

    link_fd: our end of the socketpair. stderr_fd: the read end of its stderr. terminal_fd: our end of its terminal, -1
    without one. All are non-blocking, belong to this object and are -1 once closed: take them out of pollers before
    close() or hang_up(). Somebody must call read_side() when one of side_fds is readable, or the program stops when
    that is full. is_guarded: the watchdog of this process ends it.
    """

    __slots__ = (*("_popen", "_terminal", "is_guarded", "link_fd", "pid", "program", "stderr_fd", "stderr_tail"),)

    def __init__(self, popen: "subprocess.Popen[bytes]", program: str, link_fd: int, stderr_fd: int) -> None:
        self._popen = popen
        self.program = program
        self.pid = popen.pid
        self.link_fd = link_fd
        self.stderr_fd = stderr_fd
        self.stderr_tail = b""
        self._terminal = None  # type: Optional[Terminal]
        self.is_guarded = False

    @classmethod
    def spawn(
        cls,
        argv: "List[str]",
        environment: "Optional[Dict[str, str]]" = None,
        terminal: str = NO_TERMINAL,
        buffer_size: int = 0,
        inherited_fd: int = -1,
    ) -> "ChildProcess":
        """Start argv. environment: all of it; None for our own. terminal: one of the table above.

        buffer_size: how many bytes may be on their way to it; 0 for what the system gives.
        inherited_fd: one that it gets besides, under the same number.

        Raises OSError if there is no such program or it can't be started; nothing is left open then.
        """
        _reap_abandoned()
        # subprocess: 20 ms where nothing has imported it yet, which a relay pays once; elsewhere it's in memory.
        import subprocess

        program = os.path.basename(argv[0])
        if terminal:
            _require_program(argv[0])
        own_terminal = Terminal() if terminal in (BESIDE, AROUND) else None
        opened = []  # type: List[int]
        try:
            if terminal:
                argv = [_SHELL, "-c", _OPENING[terminal], own_terminal.name if own_terminal else os.devnull] + argv
            near, far = _socket_pair(buffer_size)
            opened += [near, far]
            # Before it is started: with no descriptor left for it, there would be a program and nothing to end it by.
            stderr_fd, far_stderr_fd = os.pipe()
            opened += [stderr_fd, far_stderr_fd]
            popen = subprocess.Popen(
                argv,
                bufsize=0,
                stdin=far,
                stdout=far,
                stderr=far_stderr_fd,
                env=environment,
                start_new_session=True,
                pass_fds=[inherited_fd] if inherited_fd >= 0 else [],
            )
        except BaseException:
            for fd in opened:
                os.close(fd)
            if own_terminal is not None:
                own_terminal.close()
            raise
        for fd in (far, far_stderr_fd):
            os.close(fd)
        for fd in (near, stderr_fd):
            os.set_blocking(fd, False)
        process = cls(popen, program, near, stderr_fd)
        process._terminal = own_terminal
        return process

    @property
    def side_fds(self) -> "List[int]":
        """The open descriptors besides the link's, on which it complains or asks."""
        return [fd for fd in (self.stderr_fd, self.terminal_fd) if fd >= 0]

    @property
    def terminal_fd(self) -> int:
        """Our end of its terminal, -1 if it has none, or none any more."""
        return -1 if self._terminal is None else self._terminal.near

    @property
    def own_fds(self) -> "List[int]":
        """All that this object holds open; some may be -1."""
        return [self.link_fd, self.stderr_fd] + ([] if self._terminal is None else self._terminal.fds)

    def poll(self) -> "Optional[int]":
        """Return its exit status, negative for a signal, or None while it runs. Never blocks."""
        if self._popen.returncode is None:
            ended = self._has_ended()
            if ended is False:
                return None  # not reaped, should it end just now: it goes with its group, or not yet
            if ended:
                # Before it is reaped: afterwards its number may be somebody else's.
                self._kill_group()
                self._unguard()
        status = self._popen.poll()
        if status is not None and self.is_guarded:
            # That couldn't be seen before. While anybody is left in its group the number is taken.
            self._kill_group()
            self._unguard()
        return status

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

    def read_side(self, fd: int) -> "Optional[bytes]":
        """Return what it has written since to this one of side_fds, b"" if nothing, None at its end. Never blocks."""
        if fd not in self.side_fds:
            return None
        try:
            data = os.read(fd, 65536)
        except BlockingIOError:
            return b""
        except OSError:
            return None  # EIO: nobody has the terminal open any more
        self.stderr_tail = (self.stderr_tail + data)[-TAIL_MAX:]
        return data or None

    def type_line(self, text: str) -> None:
        """Write a line to its terminal, as if somebody had typed it."""
        try:
            os.write(self.terminal_fd, text.encode("utf-8", "surrogateescape") + b"\n")
        except OSError:
            pass  # it has just ended, which its status says better

    def guard(self) -> None:
        """Have its process group end with this process, by the watchdog of this one. OSError if that is gone."""
        watchdog.guard(self.pid)
        self.is_guarded = True

    def take_link(self) -> int:
        """Return the link's descriptor, which is the caller's to close from now on."""
        link_fd, self.link_fd = self.link_fd, -1
        return link_fd

    def hang_up(self) -> None:
        """Close the link: what reads from it sees its end, and should leave by itself; wait() tells when."""
        if self.link_fd >= 0:
            os.close(self.link_fd)
            self.link_fd = -1

    def close_sides(self) -> None:
        """Close side_fds: where there is a terminal, it hangs up."""
        if self.stderr_fd >= 0:
            os.close(self.stderr_fd)
            self.stderr_fd = -1
        terminal, self._terminal = self._terminal, None
        if terminal is not None:
            terminal.close()

    def kill(self) -> None:
        """Kill it and what it started in its session, if it still runs: an ssh's ProxyCommand too."""
        if self.poll() is None:
            self._kill_group()

    def close(self) -> None:
        """End it: close all descriptors, kill it, reap it. Nothing is left of it here. Again is no error."""
        self.hang_up()
        self.close_sides()
        self.kill()
        self.wait(KILL_WAIT_S)

    def abandon(self) -> None:
        """Let it go on by itself: close our descriptors, and see to it that it's reaped when it ends."""
        self.hang_up()
        if self.stderr_fd >= 0:
            os.close(self.stderr_fd)
            self.stderr_fd = -1
        self._unguard()
        # Popen mustn't warn of a process that still runs; we reap it whenever we start or abandon another.
        self._popen.returncode = 0
        _abandoned.append(self.pid)
        _reap_abandoned()

    def _unguard(self) -> None:
        if self.is_guarded:
            self.is_guarded = False
            try:
                watchdog.guard(-self.pid)
            except OSError:
                pass  # there is no watchdog any more

    def _has_ended(self) -> "Optional[bool]":
        """Return whether it has, and hasn't been reaped yet; None if that can't be seen here."""
        try:
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except (AttributeError, OSError):
            return None  # macOS before Python 3.13; or somebody else has reaped it

    def _kill_group(self) -> None:
        try:
            os.killpg(self.pid, 9)
        except OSError:
            # It is just going, or became another user (sudo): then the hang-up has to do.
            pass


class Terminal:
    """A new pseudo-terminal. near: our end, non-blocking. Raises NoTerminal, and OSError if nobody can hold it.

    We keep the program's end open as well: without anybody on it, ours would tell of an end when there is none yet.
    """

    __slots__ = ("_far", "_holder", "near")

    def __init__(self) -> None:
        import subprocess

        try:
            self.near, self._far = os.openpty()
        except OSError as error:
            raise NoTerminal(error.errno, error.strerror) from None
        os.set_blocking(self.near, False)
        self._turn_echo_off()
        try:
            self._holder = subprocess.Popen(
                [_SHELL, "-c", _HOLD, "plasmid-terminal", "%g" % (child_grace_s() + HOLD_MORE_S)],
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[self.near],
                start_new_session=True,
            )  # type: subprocess.Popen[bytes]
        except BaseException:
            os.close(self.near)
            os.close(self._far)
            raise

    @property
    def name(self) -> str:
        return os.ttyname(self._far)

    @property
    def fds(self) -> "List[int]":
        assert self._holder.stdin is not None
        return [self.near, self._far, self._holder.stdin.fileno()]

    def close(self) -> None:
        """Have it hang up."""
        os.close(self.near)
        os.close(self._far)
        self._holder.kill()
        self._holder.communicate()

    def _turn_echo_off(self) -> None:
        try:
            import termios
        except ImportError:
            return  # a bare Python; who asks for a password does so anyway
        modes = termios.tcgetattr(self._far)
        modes[3] &= ~termios.ECHO
        termios.tcsetattr(self._far, termios.TCSANOW, modes)


def _socket_pair(buffer_size: int) -> "Tuple[int, int]":
    # `socket` would cost a relay 11 ms more for the same calls.
    from _socket import AF_UNIX, SO_SNDBUF, SOCK_STREAM, SOL_SOCKET, socketpair

    ends = socketpair(AF_UNIX, SOCK_STREAM)
    # What the program has for us may always wait: that is ahead of nothing that we say.
    for end, size in zip(ends, (buffer_size, FROM_PROGRAM_SIZE)):
        if size:
            end.setsockopt(SOL_SOCKET, SO_SNDBUF, size)
    return ends[0].detach(), ends[1].detach()


def _require_program(program: str) -> None:
    """Raise the OSError that starting it would, since the shell in between tells less."""
    import errno

    found = errno.ENOENT
    for folder in [""] if "/" in program else os.get_exec_path():
        path = os.path.join(folder, program)
        if os.path.isfile(path):
            if os.access(path, os.X_OK):
                return
            found = errno.EACCES
    raise OSError(found, os.strerror(found), program)


_abandoned = []  # type: List[int]


def _reap_abandoned() -> None:
    """Take leave of those that went on by themselves and have ended."""
    for pid in _abandoned[:]:
        try:
            ended, _ = os.waitpid(pid, os.WNOHANG)
        except OSError:
            ended = pid  # somebody else has reaped it
        if ended:
            _abandoned.remove(pid)
