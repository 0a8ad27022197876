"""process.py with real programs: both directions, the end and its status, and that nothing is left."""

import os
import select
import signal
import socket
import sys
import time
from pathlib import Path

import pytest

from plasmid.connect.process import AROUND, AROUND_NOTHING, BESIDE, TAIL_MAX, ChildProcess

pytestmark = pytest.mark.real

END_TIMEOUT_S = 10.0


def python(code: str) -> ChildProcess:
    """Start an interpreter with this program."""
    return ChildProcess.spawn([sys.executable, "-S", "-c", "import os, sys, time, signal\n" + code])


def read(fd: int) -> bytes:
    """Return the next bytes, or b"" at the end."""
    assert select.select([fd], [], [], END_TIMEOUT_S)[0], "nothing came"
    return os.read(fd, 1 << 16)


def read_errors(process: ChildProcess) -> "bytes | None":
    """Return what is on its stderr."""
    return process.read_side(process.stderr_fd)


def wait_gone(pid: int) -> None:
    """Return when a process has ended, whoever its parent is."""
    try:
        ended = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([ended], [], [], END_TIMEOUT_S)[0], f"process {pid} still runs"
    finally:
        os.close(ended)


def test_the_link_carries_both_directions_and_stderr_is_apart() -> None:
    process = python("os.write(2, b'complaint'); os.write(1, os.read(0, 100).upper())")
    assert not os.get_blocking(process.link_fd)
    assert not os.get_blocking(process.stderr_fd)
    os.write(process.link_fd, b"hello")
    assert read(process.link_fd) == b"HELLO"
    assert read(process.link_fd) == b""
    assert process.wait(END_TIMEOUT_S) == 0
    assert (read_errors(process), read_errors(process), process.stderr_tail) == (b"complaint", None, b"complaint")
    process.close()
    assert (process.link_fd, process.stderr_fd, read_errors(process), process.poll()) == (-1, -1, None, 0)


def test_nothing_written_is_nothing_read_and_no_end() -> None:
    process = python("os.read(0, 1)")
    assert (read_errors(process), process.poll(), process.wait(0)) == (b"", None, None)
    process.close()
    assert process.poll() == -signal.SIGKILL


def test_of_its_complaints_only_the_newest_are_kept() -> None:
    process = python("os.write(2, b'a' * 5000 + b'b' * 8191 + b'c')")
    assert process.wait(END_TIMEOUT_S) == 0
    assert read_errors(process) == b"a" * 5000 + b"b" * 8191 + b"c"
    assert process.stderr_tail == b"b" * 8191 + b"c"
    assert len(process.stderr_tail) == TAIL_MAX
    process.close()


def test_as_much_may_be_on_its_way_as_was_asked_for() -> None:
    usual = ChildProcess.spawn([sys.executable, "-S", "-c", "import os; os.read(0, 1)"])
    larger = ChildProcess.spawn([sys.executable, "-S", "-c", "import os; os.read(0, 1)"], buffer_size=16384)
    sizes = []
    for process in (usual, larger):
        link = socket.socket(fileno=os.dup(process.link_fd))
        sizes.append(link.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF))
        link.close()
        process.close()
    assert sizes[0] != sizes[1]
    assert sizes[1] in (16384, 32768)  # Linux counts what it needs itself along


def test_a_hang_up_is_the_end_of_its_input() -> None:
    process = python("sys.exit(len(os.read(0, 10)) + 3)")
    process.hang_up()
    process.hang_up()
    assert process.wait(END_TIMEOUT_S) == 3
    process.close()


def test_a_link_that_was_taken_is_not_closed() -> None:
    process = python("os.read(0, 10)")
    link_fd = process.take_link()
    process.hang_up()
    process.close()
    process.close()
    os.close(link_fd)
    assert process.take_link() == -1


def test_it_has_a_session_of_its_own() -> None:
    process = python("os.write(1, b'%d %d' % (os.getsid(0), os.getpid()))")
    session, pid = read(process.link_fd).split()
    assert (session, pid) == (b"%d" % process.pid,) * 2
    process.close()


GRANDCHILD = """
if os.fork() == 0:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.write(1, b"%d" % os.getpid())
    time.sleep(600)
"""


@pytest.mark.parametrize(
    ("then", "statuses"),
    [
        ("time.sleep(600)", {-signal.SIGKILL}),
        ("signal.raise_signal(signal.SIGSTOP)", {-signal.SIGKILL}),
        # It sees the hang-up, and may be quicker than the signal.
        ("os.read(0, 1)", {-signal.SIGKILL, 0}),
        ("", {0}),
    ],
)
def test_what_it_started_goes_with_it(then: str, statuses: "set[int]") -> None:
    process = python(GRANDCHILD + then)
    grandchild = int(read(process.link_fd))
    if not then:
        assert process.wait(END_TIMEOUT_S) == 0
    process.close()
    wait_gone(grandchild)
    assert process.poll() in statuses


class EndsJustThen(ChildProcess):
    """A program that ends right after it was looked at whether it has."""

    def _has_ended(self) -> "bool | None":
        found = super()._has_ended()
        if found is False:
            os.kill(self.pid, signal.SIGKILL)
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        return found


def test_what_it_started_goes_with_it_even_if_it_ends_while_it_is_looked_at() -> None:
    code = "import subprocess, time; print(subprocess.Popen(['sleep', '600']).pid, flush=True); time.sleep(600)"
    process = EndsJustThen.spawn([sys.executable, "-c", code])
    started = int(read(process.link_fd))
    assert [process.poll(), process.poll()] == [None, -signal.SIGKILL]
    wait_gone(started)
    process.close()


def test_a_program_that_cannot_be_started_leaves_nothing_open() -> None:
    with pytest.raises(FileNotFoundError):
        ChildProcess.spawn(["/nowhere/python3"])


def test_a_wait_ends_at_its_timeout() -> None:
    process = python("time.sleep(600)")
    begun = time.monotonic()
    assert process.wait(0.1) is None
    assert 0.1 <= time.monotonic() - begun < 2
    process.kill()
    assert process.wait(END_TIMEOUT_S) == -signal.SIGKILL
    process.close()


def with_terminal(terminal: str, code: str) -> ChildProcess:
    """Start an interpreter with this program and with a terminal."""
    program = [sys.executable, "-S", "-c", "import os, sys, time, signal\n" + code]
    return ChildProcess.spawn(program, dict(os.environ, KNOWN="yes"), terminal)


def test_a_program_may_have_a_terminal_of_its_own_beside_the_link() -> None:
    process = with_terminal(
        BESIDE,
        "tty = os.open('/dev/tty', os.O_RDWR)\n"
        "os.write(tty, b'Password: ')\n"
        "answer = os.read(tty, 100)\n"
        "os.write(1, answer + os.environb[b'KNOWN'] + os.read(0, 9)); os.write(2, b'complaint')\n"
        "assert os.getsid(0) == os.getpid() and os.tcgetpgrp(tty) == os.getpgrp()",
    )
    assert not os.get_blocking(process.terminal_fd)
    assert process.side_fds == [process.stderr_fd, process.terminal_fd]
    assert select.select([process.terminal_fd], [], [], END_TIMEOUT_S)[0]
    assert (process.read_side(process.terminal_fd), process.read_side(process.terminal_fd)) == (b"Password: ", b"")
    os.write(process.link_fd, b" and data")
    process.type_line("ä secret")
    assert read(process.link_fd) == "ä secret\nyes and data".encode()
    assert process.wait(END_TIMEOUT_S) == 0
    assert (process.program, read_errors(process)) == (os.path.basename(sys.executable), b"complaint")
    # The answer isn't echoed, so it can't get into what is shown.
    assert process.read_side(process.terminal_fd) in (b"", None)
    process.close()
    assert (process.terminal_fd, process.side_fds) == (-1, [])


def test_a_terminal_may_take_the_place_of_all_three_and_the_link_comes_apart() -> None:
    process = with_terminal(
        AROUND,
        "assert all(os.isatty(fd) for fd in (0, 1, 2)) and not any(os.isatty(fd) for fd in (4, 5, 6))\n"
        "sys.stderr.write('Password: '); sys.stderr.flush()\n"
        "answer = sys.stdin.readline()\n"
        "os.write(5, answer.encode() + os.read(4, 9)); os.write(6, b'complaint')",
    )
    assert select.select([process.terminal_fd], [], [], END_TIMEOUT_S)[0]
    assert process.read_side(process.terminal_fd) == b"Password: "
    os.write(process.link_fd, b"data")
    process.type_line("secret")
    assert read(process.link_fd) == b"secret\ndata"
    assert process.wait(END_TIMEOUT_S) == 0
    assert read_errors(process) == b"complaint"
    process.close()


def test_where_there_is_no_terminal_the_link_may_come_apart_all_the_same() -> None:
    process = with_terminal(
        AROUND_NOTHING,
        "assert os.read(0, 1) == b'' and not os.isatty(1)\n"
        "os.write(5, os.read(4, 9)); os.write(6, b'a'); os.write(1, b'b')",
    )
    assert process.side_fds == [process.stderr_fd]
    os.write(process.link_fd, b"data")
    assert read(process.link_fd) == b"data"
    assert process.wait(END_TIMEOUT_S) == 0
    assert read_errors(process) == b"ab"
    process.close()


@pytest.mark.parametrize("terminal", [BESIDE, AROUND])
def test_closing_the_terminal_ends_a_program_that_cannot_be_killed_from_here(terminal: str) -> None:
    process = with_terminal(terminal, "os.write(2, b'x'); time.sleep(600)")
    fd = process.stderr_fd if terminal == BESIDE else process.terminal_fd
    assert select.select([fd], [], [], END_TIMEOUT_S)[0]
    process.close_sides()
    assert process.wait(END_TIMEOUT_S) == -signal.SIGHUP
    process.close()


@pytest.mark.parametrize("terminal", [BESIDE, AROUND])
def test_a_program_that_is_not_there_is_told_with_a_terminal_too(terminal: str, tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    with pytest.raises(FileNotFoundError):
        ChildProcess.spawn(["/nowhere/sudo"], None, terminal)
    with pytest.raises(FileNotFoundError):
        ChildProcess.spawn(["plasmid-no-such-program"], None, terminal)
    with pytest.raises(PermissionError):
        ChildProcess.spawn([str(tmp_path / "plain")], None, terminal)


def test_what_is_typed_at_a_program_that_has_gone_is_lost_without_an_error() -> None:
    process = with_terminal(BESIDE, "")
    assert process.wait(END_TIMEOUT_S) == 0
    process.type_line("nobody reads this")
    process.close()
    process.type_line("nor this")
