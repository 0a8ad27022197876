"""starting.py with real processes: the steps, and each way a far side can fail before it has said hello.

The far sides are real interpreters, or scripts that stand in for one. That nothing is left of a failed one, no
process, descriptor or thread, is checked after each test, see conftest.py.
"""

import contextlib
import importlib.util
import os
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from plasmid.boot.first_stage import first_stage
from plasmid.connect.connector import Connector
from plasmid.connect.local import Local
from plasmid.connect.process import ChildProcess
from plasmid.connect.starting import Started, start
from plasmid.core.connect_error import ConnectError
from tests.boot.test_first_stage import packed
from tests.connect.stand_ins import stand_in
from tests.real.interpreters import TOO_OLD, interpreter

pytestmark = pytest.mark.real

# What any failure may take; most must take a small part of it.
FAIL_MAX_S = 10.0
ECHO = "os.write(1, b'config ' + c + b' hello ' + os.read(0, 100))"


def failure_of(python: str, bundle: bytes = b"", connect_timeout: float = FAIL_MAX_S) -> ConnectError:
    """Return the error that a connection to this far side ends in, which must come in time."""
    begun = time.monotonic()
    with pytest.raises(ConnectError) as caught:
        start_local(bundle or packed(ECHO), python_path=python, connect_timeout=connect_timeout)
    assert time.monotonic() - begun < FAIL_MAX_S + 2
    return caught.value


def start_local(bundle: "bytes | Callable[[], bytes]", config: bytes = b"config", **options: Any) -> Started:
    """Start a far side on this machine."""
    return start(Local(**options), config, bundle)


def read_all(started: Started) -> bytes:
    """Return what comes over a link until its end."""
    link = socket.socket(fileno=started.take_link())
    link.settimeout(FAIL_MAX_S)
    said = [started.leftover]
    with link:
        try:
            while not said[1:] or said[-1]:
                said.append(link.recv(65536))
        except ConnectionResetError:
            pass  # it ended with bytes of ours unread
    return b"".join(said)


def hello(started: Started) -> bytes:
    """Send a word over the link and return all that comes back until the far side has ended."""
    with contextlib.closing(started):
        with contextlib.suppress(BrokenPipeError):  # one that doesn't listen may have ended
            os.write(started.process.link_fd, b"near side")
        said = read_all(started)
        assert started.process.wait(FAIL_MAX_S) == 0
    return said


def test_a_far_side_gets_the_program_and_then_the_link_is_its_own() -> None:
    progress: list[tuple[str, bool]] = []
    connector = Local(name="db", python_path=sys.executable)
    started = start(connector, b"config", packed(ECHO), lambda step, seconds: progress.append((step, seconds is None)))
    names = [f"start {connector.program}", "wait for the far side's first line", "send the program"]
    assert [step for step, _ in started.steps] == names
    assert progress == [(name, is_begin) for name in names for is_begin in (True, False)]
    assert all(0 <= seconds < FAIL_MAX_S for _, seconds in started.steps)
    assert started.version == sys.version_info[:3]
    argv = connector.argv(first_stage("0" * 16), "plasmid:db")
    assert started.boot_bytes == sum(len(word) + 1 for word in argv) + 8 + len(b"config") + len(packed(ECHO))
    assert hello(started) == b"config config hello near side"


def test_the_configuration_may_depend_on_the_far_interpreter_and_a_descriptor_be_inherited() -> None:
    asked = []

    def fit(magic: bytes, process: ChildProcess) -> bytes:
        asked.append((magic, process.poll()))
        return b"%d" % read_fd

    read_fd, write_fd = os.pipe()
    os.write(write_fd, b"inherited")
    loader = "os.write(1, os.read(int(c), 100))"
    with contextlib.closing(start(Local(), fit, packed(loader), inherited_fd=read_fd)) as started:
        assert read_all(started) == b"inherited"
    for fd in (read_fd, write_fd):
        os.close(fd)
    assert asked == [(importlib.util.MAGIC_NUMBER.hex().encode(), None)]
    argv = Local().argv(first_stage("0" * 16), "plasmid:local")
    assert started.boot_bytes == sum(len(word) + 1 for word in argv) + 8 + len(b"%d" % read_fd) + len(packed(loader))


def test_the_bundle_may_be_made_while_the_far_side_starts() -> None:
    assert hello(start_local(lambda: packed(ECHO))) == b"config config hello near side"


def test_the_name_is_seen_in_the_process_list_and_nothing_secret_is() -> None:
    bundle = packed(
        "print(sys.argv[1:], open('/proc/self/cmdline').read().count(c.decode()), dict(os.environ).get('A'))"
    )
    started = start(Local(name="d\x1bb\n" + "x" * 100), b"the secret", bundle)
    assert hello(started) == b"['plasmid:d?b?%s'] 0 None\n" % (b"x" * 60)


# U2
@pytest.mark.parametrize("noise", [b"Welcome\r\n" * 1200 + b"\r\nuser@web1:~$ ", b"\x1b[?2004h$ ", b"\0" * 70000])
def test_a_noisy_login_is_no_obstacle(tmp_path: Path, noise: bytes) -> None:
    (tmp_path / "noise").write_bytes(noise)
    python = stand_in(tmp_path, f"say(open({str(tmp_path / 'noise')!r}, 'rb').read())\nsay(b'and\\n' * 9, 2)\nrun()")
    assert hello(start_local(packed(ECHO), python_path=python)) == b"config config hello near side"


def test_bytes_of_the_link_that_come_with_the_mark_are_handed_on(tmp_path: Path) -> None:
    python = stand_in(tmp_path, "mark(magic='0a\\nlink')\nos.read(0, 9999)")
    with contextlib.closing(start_local(packed(ECHO), python_path=python)) as started:
        assert (read_all(started), started.version, started.magic) == (b"link\n", (3, 11, 7), b"0a")


def test_a_banner_of_more_than_a_mebibyte_ends_the_attempt_at_once(tmp_path: Path) -> None:
    python = stand_in(tmp_path, "say(b'banner line\\n' * 100000)\ntime.sleep(600)")
    begun = time.monotonic()
    error = failure_of(python)
    assert time.monotonic() - begun < FAIL_MAX_S
    assert (error.step, error.advice) == (
        "wait for the far side's first line",
        "Something there prints without end before Python starts: look at the shell's start files.",
    )
    assert error.found.endswith(" bytes came that aren't Plasmid's, and more than 1048576 are not taken")
    assert error.output.splitlines()[-2:] == ["banner line"] * 2 or error.output.splitlines()[-2] == "banner line"


def test_a_banner_below_the_limit_and_then_silence_ends_at_the_timeout(tmp_path: Path) -> None:
    error = failure_of(stand_in(tmp_path, "say(b'Last login: today\\n')\ntime.sleep(600)"), connect_timeout=0.7)
    assert str(error) == (
        "connecting to local: wait for the far side's first line: no word of Plasmid's came within 0.7 s, only 18 "
        "other bytes\nIt printed:\n    Last login: today\nCheck that a login there ends at once in a shell that runs "
        "commands, without a question; connect_timeout= allows more time."
    )


def test_a_far_side_that_never_says_anything_ends_at_the_timeout(tmp_path: Path) -> None:
    begun = time.monotonic()
    error = failure_of(stand_in(tmp_path, "os.closerange(1, 3)\ntime.sleep(600)"), connect_timeout=0.7)
    assert 0.7 <= time.monotonic() - begun < 5
    assert error.found == "nothing came within 0.7 s"


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (127, "There is no such program: install Python 3 there, or name it with python_path=."),
        (126, "There is such a program, but it can't be run: check that python_path= names an executable Python."),
        (255, ""),
        (0, ""),
    ],
)
def test_an_end_before_the_mark_is_told_with_status_and_last_words(tmp_path: Path, status: int, advice: str) -> None:
    begun = time.monotonic()
    error = failure_of(stand_in(tmp_path, f"say(b'banner\\n')\nsay(b'sh: it went wrong\\n', 2)\nos._exit({status})"))
    assert time.monotonic() - begun < 5
    assert (error.target, error.step, error.found) == (
        "local",
        "wait for the far side's first line",
        f"python-stand-in exited with status {status}",
    )
    assert (error.output, error.advice, error.status) == ("banner\nsh: it went wrong", advice, status)


def test_a_far_side_that_is_killed_is_told_by_the_signals_name(tmp_path: Path) -> None:
    error = failure_of(stand_in(tmp_path, "os.kill(os.getpid(), 9)"))
    assert (error.found, error.status) == ("python-stand-in was killed by signal 9 (SIGKILL)", -9)
    assert error.advice == "It was killed: the machine may be out of memory."


def test_an_end_is_seen_though_something_left_behind_holds_the_link_open(tmp_path: Path) -> None:
    # Like a daemon that a .bashrc starts. It stays in the killed process's group, so it goes with it.
    body = "if os.fork():\n    say(b'started a daemon\\n')\n    os._exit(5)\ntime.sleep(4)"
    begun = time.monotonic()
    error = failure_of(stand_in(tmp_path, body))
    assert time.monotonic() - begun < 3
    assert (error.found, error.output) == ("python-stand-in exited with status 5", "started a daemon")


def test_a_far_side_that_closes_its_output_and_stays_does_not_hold_us_up(tmp_path: Path) -> None:
    begun = time.monotonic()
    error = failure_of(stand_in(tmp_path, "os.closerange(0, 3)\ntime.sleep(600)"))
    assert time.monotonic() - begun < 5
    assert (error.found, error.status) == ("the far side closed its output", None)


def test_a_program_that_is_not_there_is_named() -> None:
    error = failure_of("/nowhere/python3")
    assert str(error) == (
        "connecting to local: start python3: there is no program /nowhere/python3 here\nInstall it, or give its path."
    )


def test_a_program_that_may_not_be_run_is_named(tmp_path: Path) -> None:
    (tmp_path / "python3").write_text("")
    error = failure_of(str(tmp_path / "python3"))
    assert error.found == f"{tmp_path / 'python3'} can't be started here: Permission denied"


@pytest.mark.parametrize("version", ["2.7.18", "3.5.10"])
def test_a_python_that_says_it_is_too_old_is_refused(tmp_path: Path, version: str) -> None:
    error = failure_of(stand_in(tmp_path, f"mark({version!r}, '0')\ntime.sleep(600)"))
    assert error.found.endswith(f"python-stand-in there is Python {version}, and Plasmid needs 3.6 or newer")


def test_a_real_python_that_is_too_old_is_refused() -> None:
    error = failure_of(interpreter(TOO_OLD))
    assert error.found.startswith(f"{interpreter(TOO_OLD)} there is Python 2.7.")
    assert error.advice == "Name a newer one with python_path=, or install one."


def test_garbage_in_place_of_the_mark_is_shown(tmp_path: Path) -> None:
    error = failure_of(stand_in(tmp_path, "say(b'PLASMID 1 ' + nonce.encode() + b' \\x1b[31m\\n')\ntime.sleep(600)"))
    assert error.found == "its first line isn't one of Plasmid's: \\x1b[31m"


def test_a_far_side_that_closes_in_the_middle_of_the_program_is_told_with_its_last_words(tmp_path: Path) -> None:
    python = stand_in(tmp_path, "mark()\nos.read(0, 10)\nsay(b'disk on fire\\n', 2)\nos._exit(9)")
    error = failure_of(python, bundle=os.urandom(8 << 20))
    assert (error.step, error.found, error.output, error.status) == (
        "send the program",
        "python-stand-in exited with status 9 before it had the program",
        "disk on fire",
        9,
    )


def test_a_far_side_that_stops_reading_the_program_ends_at_the_timeout(tmp_path: Path) -> None:
    # It also talks without end, on both outputs, which must not keep us from our deadline or fill our memory.
    body = "mark()\nos.set_blocking(1, False)\nwhile True:\n    say(b'x' * 4096, 2)\n    time.sleep(0.01)"
    error = failure_of(stand_in(tmp_path, body), bundle=os.urandom(8 << 20), connect_timeout=1)
    assert error.step == "send the program"
    assert error.found.endswith(" of 8388622 bytes were taken within 1 s")


def test_a_program_that_crashes_is_told_with_its_traceback() -> None:
    crash = packed("\n\nraise RuntimeError('no luck')")
    with contextlib.closing(start_local(crash, python_path=sys.executable)) as started:
        assert read_all(started) == b""
        error = started.failure()
    assert (error.step, error.found, error.status) == (
        "say hello",
        f"{os.path.basename(sys.executable)} exited with status 1",
        1,
    )
    assert error.output.splitlines()[-1] == "RuntimeError: no luck"


def test_a_hello_that_does_not_come_is_told_without_a_wait(tmp_path: Path) -> None:
    python = stand_in(tmp_path, "say(b'stuck\\n', 2)\nmark()\ntime.sleep(600)")
    with contextlib.closing(start_local(b"any", python_path=python)) as started:
        begun = time.monotonic()
        error = started.failure("no hello within 30 s", output=b"no frame")
        assert time.monotonic() - begun < 0.5
    assert (error.step, error.found, error.output) == ("say hello", "no hello within 30 s", "stuck\nno frame")
    started.close()


def test_an_error_in_making_the_bundle_leaves_no_process() -> None:
    def fail() -> bytes:
        raise KeyError("no source")

    with pytest.raises(KeyError, match="no source"):
        start_local(fail)


@pytest.mark.parametrize("timeout", [0, -1, float("nan")])
def test_a_timeout_must_be_a_positive_number(timeout: float) -> None:
    with pytest.raises(ValueError) as caught:
        Connector("x", connect_timeout=timeout)
    assert str(caught.value) == f"connect_timeout must be more than 0 seconds; it is {timeout!r}"


@pytest.mark.parametrize("python_path", ["", [], ["python3", ""], "-c"])
def test_the_python_must_be_a_program(python_path: "str | list[str]") -> None:
    with pytest.raises(ValueError) as caught:
        Connector("x", python_path)
    assert str(caught.value) == f"python_path must name a program; it is {python_path!r}"
