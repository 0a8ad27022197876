"""The `plasmid` command over a real sshd."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.cli.command import TASKS, arguments, environment, plasmid, waiting
from tests.real import leftovers, sshd

pytestmark = pytest.mark.connector("ssh")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a folder with a file of functions in it, tasks.py."""
    (tmp_path / "tasks.py").write_text(TASKS)
    return tmp_path


def options(client: sshd.Client) -> "list[str]":
    """Return the options with which the command's ssh uses the client's configuration."""
    return [f"--ssh-arg={argument}" for argument in client.ssh_args]


def test_a_function_of_a_file_runs_over_ssh(ssh_client: sshd.Client, folder: Path) -> None:
    target = f"ssh://{ssh_client.username}@{ssh_client.hostname}:{ssh_client.port}"
    ended = plasmid("run", target, "tasks.py::Tool.double", "21", *options(ssh_client), folder=folder)
    assert ended == (0, "42\n", "")


def test_several_hosts_and_this_machine_answer_side_by_side(ssh_client: sshd.Client, folder: Path) -> None:
    words = ("run", "web1,web2", "local:", "tasks.py::speak", "--json", *options(ssh_client))
    ended = plasmid(*words, folder=folder)
    found = sorted((document["target"], document["context"], document["result"]) for document in ended.documents)
    names = ["local:", "web1", "web2"]
    assert (ended.status, found) == (0, [(name, name.rstrip(":"), "said") for name in names])
    assert sorted(ended.err.splitlines()) == sorted(
        f"{name.rstrip(':')}: {said}" for name in names for said in ("WARNING tasks: logged", "printed \\x1b[31mred")
    )


def test_a_key_that_is_refused_is_status_3_with_advice(ssh_server: sshd.Server) -> None:
    ended = plasmid("run", "web1", "os.getpid", *options(ssh_server.client_with_refused_key()))
    lines = ended.err.splitlines()
    assert (ended.status, ended.out) == (3, "")
    assert lines[0] == (
        "web1: connecting to ssh://web1: wait for the far side's first line: ssh exited with status 255"
    )
    assert "Permission denied (publickey)." in lines[2]
    assert lines[-1].startswith("    The host refused every key that ssh offered, and no password was given.")
    assert "--identity" in lines[-1]


def test_the_way_through_a_host_is_told_hop_by_hop(ssh_client: sshd.Client) -> None:
    ended = plasmid("doctor", "local:", "--via", "web1", *options(ssh_client))
    heads = [line for line in ended.out.splitlines() if not line.startswith(" ")]
    assert (ended.status, heads, ended.err) == (0, ["ssh://web1", "local through web1"], "")


def test_doctor_tells_of_a_host_without_python(ssh_server: sshd.Server) -> None:
    ended = plasmid("doctor", "web1", *options(ssh_server.client_without_python()))
    assert ended.status == 3
    assert "✗ wait for the far side's first line" in ended.out
    assert ended.out.splitlines()[-1] == (
        "    There is no such program: install Python 3 there, or name it with --python."
    )


def test_ctrl_c_ends_the_far_side_over_ssh_too(ssh_client: sshd.Client, folder: Path) -> None:
    with waiting("run", "web1", "tasks.py::wait", *options(ssh_client), folder=folder) as (process, far_pid):
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (130, "", "")
    assert leftovers.until_empty(lambda: [str(one) for one in leftovers.processes() if one.pid == far_pid], 4) == []


def test_ctrl_c_while_connecting_leaves_no_ssh(ssh_server: sshd.Server, folder: Path) -> None:
    logged_in = folder / "logged_in"
    os.mkfifo(logged_in)
    client = ssh_server.client(f"echo yes >{logged_in}; exec cat >/dev/null")
    process = subprocess.Popen(
        arguments(["run", "web1", "tasks.py::wait", *options(client)]),
        cwd=folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert logged_in.read_text() == "yes\n"  # waits until the far side runs our command
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (130, "", "")
    ours = f"-F {client.config_path}"
    assert leftovers.until_empty(lambda: [str(one) for one in leftovers.processes() if ours in one.command], 2) == []
