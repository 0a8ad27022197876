"""process.py with real programs: both directions, the end and its status, and that nothing is left."""

import os
import select
import signal
import sys
import time

import pytest

from plasmid.connect.process import TAIL_MAX, ChildProcess

pytestmark = pytest.mark.real

END_TIMEOUT_S = 10.0


def python(code: str) -> ChildProcess:
    """Start an interpreter with this program."""
    return ChildProcess.spawn([sys.executable, "-S", "-c", "import os, sys, time, signal\n" + code])


def read(fd: int) -> bytes:
    """Return the next bytes, or b"" at the end."""
    assert select.select([fd], [], [], END_TIMEOUT_S)[0], "nothing came"
    return os.read(fd, 1 << 16)


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
    assert (process.read_stderr(), process.read_stderr(), process.stderr_tail) == (b"complaint", None, b"complaint")
    process.close()
    assert (process.link_fd, process.stderr_fd, process.read_stderr(), process.poll()) == (-1, -1, None, 0)


def test_nothing_written_is_nothing_read_and_no_end() -> None:
    process = python("os.read(0, 1)")
    assert (process.read_stderr(), process.poll(), process.wait(0)) == (b"", None, None)
    process.close()
    assert process.poll() == -signal.SIGKILL


def test_of_its_complaints_only_the_newest_are_kept() -> None:
    process = python("os.write(2, b'a' * 5000 + b'b' * 8191 + b'c')")
    assert process.wait(END_TIMEOUT_S) == 0
    assert process.read_stderr() == b"a" * 5000 + b"b" * 8191 + b"c"
    assert process.stderr_tail == b"b" * 8191 + b"c"
    assert len(process.stderr_tail) == TAIL_MAX
    process.close()


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


@pytest.mark.parametrize("then", ["time.sleep(600)", "signal.raise_signal(signal.SIGSTOP)", "os.read(0, 1)", ""])
def test_what_it_started_goes_with_it(then: str) -> None:
    process = python(GRANDCHILD + then)
    grandchild = int(read(process.link_fd))
    if not then:
        assert process.wait(END_TIMEOUT_S) == 0
    process.close()
    wait_gone(grandchild)
    assert process.poll() == (-signal.SIGKILL if then else 0)


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
