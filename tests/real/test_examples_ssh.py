"""The examples over a real sshd."""

import platform
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real import parts, sshd
from tests.test_examples import EXAMPLES, check_demo, run_example

pytestmark = pytest.mark.connector("ssh")


@pytest.fixture
def ssh_folder(ssh_client: sshd.Client, tmp_path: Path) -> "Iterator[str]":
    """Give a folder whose `ssh` goes to the private server, whatever host it is asked for."""
    command = tmp_path / "bin" / "ssh"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {parts.required_program("ssh")} -F {ssh_client.config_path} "$@"\n')
    command.chmod(0o755)
    yield str(command.parent)
    shutil.rmtree(command.parent)


def test_disks_says_what_is_free_on_a_host(ssh_folder: str) -> None:
    ended = run_example("disks.py", "web1", path_first=ssh_folder)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert [line.split(":")[0] for line in ended.stdout.splitlines()] == ["web1", "web1"]


def test_file_service_hands_out_its_files_to_a_host(ssh_folder: str) -> None:  # S16
    ended = run_example("file_service.py", "web1", path_first=ssh_folder)
    expected = [f"{path.stem:16} {path.stat().st_size:6} bytes, whole" for path in sorted(EXAMPLES.glob("*.py"))]
    assert (ended.returncode, ended.stdout.splitlines(), ended.stderr) == (0, expected, "")


def test_the_demo_does_the_same_over_ssh(ssh_folder: str) -> None:
    ended = run_example("demo.py", "web1", "web2", path_first=ssh_folder)
    check_demo(ended, ["web1", "web2"])
    assert platform.node() in ended.stdout
