"""Each example runs, here for real; over ssh in tests/real/test_examples_ssh.py."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.command import environment

EXAMPLES = Path(__file__).parent.parent / "examples"
TIMEOUT_S = 50

pytestmark = pytest.mark.real


def run_example(name: str, *arguments: str, path_first: str = "") -> "subprocess.CompletedProcess[str]":
    """Run one example to its end."""
    variables = environment()
    if path_first:
        variables["PATH"] = f"{path_first}:{variables['PATH']}"
    return subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments],
        env={**variables, "COLUMNS": "200"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def test_disks_says_what_is_free_on_this_machine() -> None:
    ended = run_example("disks.py")
    lines = [line.split() for line in ended.stdout.splitlines()]
    assert (ended.returncode, ended.stderr) == (0, "")
    assert [(words[0], words[2:]) for words in lines] == [
        ("local:", ["GiB", "free", "under", "/"]),
        ("local:", ["GiB", "free", "under", "/tmp"]),
    ]


def test_file_service_hands_out_every_file_of_its_shelf_whole() -> None:  # S16
    ended = run_example("file_service.py")
    expected = [f"{path.stem:16} {path.stat().st_size:6} bytes, whole" for path in sorted(EXAMPLES.glob("*.py"))]
    assert (ended.returncode, ended.stdout.splitlines(), ended.stderr) == (0, expected, "")


def check_demo(ended: "subprocess.CompletedProcess[str]", names: "list[str]") -> None:
    """Check what the demo says of these contexts."""
    assert (ended.returncode, ended.stderr) == (0, "")
    lines = ended.stdout.splitlines()
    table = next(number for number, line in enumerate(lines) if line.startswith("context"))
    assert lines[table].split() == "context machine Python boot boot sent modules sent same/other".split()
    rows = lines[table + 1 : table + 1 + len(names)]
    assert [row.split()[0] for row in rows] == names
    # Its own Python is the root's here, so all of its library is the same.
    assert all(row.split()[-1].endswith("/0") and not row.split()[-1].startswith("0/") for row in rows)
    heads = next(number for number, line in enumerate(lines) if line.startswith("service here"))
    assert lines[heads].split() == ["service", "here", "asked", "by", "calls", "executions", "hashed"]
    assert lines[heads + 1].split()[: len(names) + 3] == [
        "Catalog.hashes",
        *(f"{name}," for name in names[:-1]),
        names[-1],
        str(len(names)),
        "1",
    ]
    for name in names:
        assert any(line.split()[:4] == [name, "stdout", "looking", "around"] for line in lines)
        assert any(line.split()[:2] == [name, "audit"] for line in lines)
    failure = "except FileNotFoundError as error: [Errno 2] No such file or directory: '/no/such/file'"
    assert failure in lines
    assert f"error.__cause__ has the traceback of {names[0]} (/1):" in lines
    assert any(line.startswith('  File "/<sent>') and line.endswith(", in first_line") for line in lines)


def test_the_demo_sends_itself_to_three_contexts_and_hashes_once_for_all() -> None:  # S2 S9
    check_demo(run_example("demo.py"), ["local-1", "local-2", "local-3"])


def test_the_demo_goes_on_without_a_host_that_can_not_be_reached() -> None:
    ended = run_example("demo.py", "ssh://host.invalid:1,local:")
    assert ended.returncode == 1
    assert "connecting to ssh://host.invalid:1: wait for the far side's first line:" in ended.stdout
    assert any(
        line.split()[:1] == ["Catalog.hashes"] and line.split()[2:4] == ["1", "1"] for line in ended.stdout.splitlines()
    )
