"""The servers, ports and checks that the other real tests rely on do what they say."""

import os
import re
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from tests.real import interpreters, leftovers, parts, ports, sshd

SSH_TIMEOUT_S = 30


def run_ssh(client: sshd.Client, command: str, *options: str) -> "subprocess.CompletedProcess[str]":
    """Return what ssh did when asked to run a command on the private server."""
    return subprocess.run(
        [parts.required_program("ssh"), *client.ssh_args, *options, client.hostname, command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SSH_TIMEOUT_S,
        check=False,
    )


def test_a_command_runs_on_the_private_server_with_an_empty_home_and_a_python(
    ssh_server: sshd.Server, ssh_client: sshd.Client
) -> None:
    result = run_ssh(ssh_client, "echo $HOME; python3 -c 'import sys; print(sys.version_info[:2])'")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == f"{ssh_server.home}\n{sys.version_info[:2]}\n"


def test_a_key_that_the_server_does_not_know_is_refused(ssh_server: sshd.Server) -> None:
    result = run_ssh(ssh_server.client_with_refused_key(), "true")
    assert result.returncode == 255
    assert result.stderr.rstrip().endswith("Permission denied (publickey).")


def test_a_changed_host_key_is_refused(ssh_server: sshd.Server) -> None:
    result = run_ssh(ssh_server.client_with_changed_host_key(), "true")
    assert result.returncode == 255
    assert "REMOTE HOST IDENTIFICATION HAS CHANGED" in result.stderr


def test_an_unknown_host_key_is_refused(ssh_server: sshd.Server) -> None:
    result = run_ssh(ssh_server.client_of_unknown_host(), "true")
    assert result.returncode == 255
    assert result.stderr.endswith("Host key verification failed.\n")


def test_a_noisy_login_prints_its_noise_first_and_then_runs_the_command(ssh_server: sshd.Server) -> None:
    result = run_ssh(ssh_server.noisy_client(100_000), "echo done")
    assert (result.returncode, len(result.stdout), result.stdout[-6:]) == (0, 100_000 + len("\ndone\n"), "\ndone\n")


def test_a_login_without_python_says_not_found(ssh_server: sshd.Server) -> None:
    assert run_ssh(ssh_server.client_without_python(), "python3 -c 1").returncode == 127


def test_a_silent_port_takes_a_connection_and_ssh_gives_up_in_its_own_time(ssh_server: sshd.Server) -> None:
    with ports.silent_port() as port:
        result = run_ssh(ssh_server.client_on_port(port), "true", "-o", "ConnectTimeout=1")
    assert (result.returncode, "timed out" in result.stderr) == (255, True)


def test_a_black_hole_takes_no_connection(ssh_server: sshd.Server) -> None:
    with ports.black_hole_port() as port:
        result = run_ssh(ssh_server.client_on_port(port), "true", "-o", "ConnectTimeout=1")
    assert (result.returncode, "timed out" in result.stderr) == (255, True)


def test_a_refusing_port_refuses(ssh_server: sshd.Server) -> None:
    with ports.refusing_port() as port:
        result = run_ssh(ssh_server.client_on_port(port), "true")
    assert (result.returncode, "Connection refused" in result.stderr) == (255, True)


def test_a_server_ends_a_forgotten_connection_and_says_so(session_leaves_nothing: leftovers.Session) -> None:
    server = sshd.running_server(session_leaves_nothing.folder / "sshd-forgotten", forgotten_timeout_s=0.1)
    client = server.__enter__().client()
    connection = subprocess.Popen(
        [parts.required_program("ssh"), *client.ssh_args, client.hostname, "echo up; exec sleep 60"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert connection.stdout is not None
    assert connection.stdout.readline() == b"up\n"
    with pytest.raises(AssertionError, match="connections to the private ssh server were left open"):
        server.__exit__(None, None, None)
    connection.communicate(timeout=SSH_TIMEOUT_S)
    assert connection.returncode == 255


@pytest.mark.parametrize("version", interpreters.SUPPORTED)
def test_an_interpreter_that_is_found_has_the_version_asked_for(version: str) -> None:
    path = interpreters.interpreter(version)
    said = subprocess.run([path, "-V"], capture_output=True, text=True, check=True).stdout
    assert said.startswith(f"Python {version}.")


def test_an_orphan_is_found_by_the_mark_in_its_environment(session_leaves_nothing: leftovers.Session) -> None:
    parts.require_linux()
    # The shell ends at once; what it started goes on, as a child of somebody else.
    script = "sleep 60 >/dev/null 2>&1 & echo $!"
    orphan = int(subprocess.run(["/bin/sh", "-c", script], capture_output=True, check=True).stdout)
    found = [process for process in leftovers.of_session(session_leaves_nothing.mark) if process.pid == orphan]
    leftovers.kill(found)
    assert [(process.pid, process.command) for process in found] == [(orphan, "sleep 60")]


def test_an_open_pipe_and_a_running_thread_are_both_noticed() -> None:
    parts.require_linux()
    before = leftovers.Holdings()
    reader, writer = os.pipe()
    release = threading.Event()
    thread = threading.Thread(target=release.wait, name="waits")
    thread.start()
    added = before.added()
    release.set()
    thread.join()
    pipe = os.readlink(f"/proc/self/fd/{reader}")
    os.close(reader)
    os.close(writer)
    assert added == ["thread waits", f"descriptor {reader} on {pipe}", f"descriptor {writer} on {pipe}"]
    assert before.still_added(1) == []


def test_a_file_left_in_the_temporary_folder_is_named_and_kept() -> None:
    session = leftovers.Session()
    session.start()
    try:
        forgotten = Path(tempfile.mkdtemp(prefix="forgotten"))
        left = session.left()
    finally:
        session.stop()
    assert forgotten.parent == session.folder
    assert f"temporary file {forgotten}" in left
    forgotten.rmdir()
    session.folder.rmdir()


LEAKY_TESTS = """
import os, subprocess, pytest

kept = []

@pytest.mark.real
def test_leaves_a_pipe():
    kept.append(os.pipe())

def test_leaves_a_process():
    kept.append(subprocess.Popen(["sleep", "60"]))
"""


@pytest.mark.parametrize("workers", [0, 2])
def test_what_tests_leave_behind_is_an_error_in_the_closing_line(tmp_path: Path, workers: int) -> None:
    parts.require_linux()
    (tmp_path / "test_leaky.py").write_text(LEAKY_TESTS)
    arguments = ["-p", "tests.conftest", "-p", "no:cacheprovider", "-n", str(workers), "--rootdir", str(tmp_path)]
    options = ["-o", "markers=real", "-c", "/dev/null", str(tmp_path)]
    result = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments, *options],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "PLASMID_TEST_END_TIMEOUT_S": "0.2"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert re.search(r"descriptor \d+ on pipe:", result.stdout)
    assert re.search(r"process \d+ \(running\): sleep 60", result.stdout)
    assert re.search(r"=+ 2 passed, 2 errors in .* =+", result.stdout.splitlines()[-1]), result.stdout


def test_what_tests_start_heeds_the_signals_that_a_run_in_the_background_ignores() -> None:
    look = "import signal; print([signal.getsignal(n) == signal.SIG_IGN for n in (signal.SIGINT, signal.SIGHUP)])"
    tried = f"import subprocess, sys, tests.conftest; subprocess.run([sys.executable, '-c', {look!r}], check=True)"
    script = 'trap "" INT HUP QUIT; "$0" -c "$1"; exec "$0" -c "$2"'
    argv = ["sh", "-c", script, sys.executable, look, tried]
    found = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert found.stdout.splitlines() == ["[True, True]", "[False, False]"]
