"""`plasmid doctor`, as a process of its own, on local contexts."""

import os
import platform
import re
import sys

import pytest

from tests.cli.command import plasmid

pytestmark = pytest.mark.real

TIME = re.compile(r" +\d+\.\d ms$")


def steps_of(out: str) -> "list[str]":
    """Return the steps that are told of, without their times."""
    return [TIME.sub("", line) for line in out.splitlines() if TIME.search(line)]


def test_every_step_is_told_of_with_its_time() -> None:
    ended = plasmid("doctor", "local:")
    assert (ended.status, ended.err, ended.out.splitlines()[0]) == (0, "", "local")
    assert steps_of(ended.out) == [
        f"  ✓ start {os.path.basename(sys.executable)}",
        "  ✓ wait for the far side's first line",
        "  ✓ send the program",
        "  ✓ say hello",
        "  ✓ first call",
        "  ✓ import of a module from here",
        "  ✓ first service call",
        "  ✓ second service call",
    ]


def test_the_facts_of_the_far_side_are_told() -> None:
    facts = plasmid("doctor", "local:").out.splitlines()[-4:]
    assert re.fullmatch(r"  sent:     \d+\.\d KiB to start it, \d+ modules more: \d+\.\d KiB compressed", facts[0])
    assert facts[1] == f"  Python:   {platform.python_version()}, {sys.executable}"
    assert facts[2].startswith(f"  machine:  {platform.node()}, Linux ")
    assert re.fullmatch(r"  process:  \d+, user \S+, in .*", facts[3])


def test_a_step_that_fails_is_told_with_its_reason_and_status_3() -> None:
    ended = plasmid("doctor", "local:", "--python", "/bin/false")
    assert (ended.status, ended.err) == (3, "")
    assert steps_of(ended.out) == ["  ✓ start false", "  ✗ wait for the far side's first line"]
    assert ended.out.splitlines()[-1] == "    false exited with status 1"


def test_a_far_side_that_says_nothing_is_told_of_within_the_time_allowed() -> None:
    ended = plasmid("doctor", "local:", "--python", "/bin/cat", "--connect-timeout", "1")
    assert ended.status == 3
    silent = plasmid("doctor", "ssh://host", "-o", "ProxyCommand=sleep 60", "--connect-timeout", "1")
    assert silent.status == 3
    assert steps_of(silent.out) == ["  ✓ start ssh", "  ✗ wait for the far side's first line"]
    assert "--connect-timeout allows more time." in silent.out.replace("\n    ", " ")


def test_targets_are_examined_one_after_the_other_and_the_highest_status_counts() -> None:
    ended = plasmid("doctor", "local:", "ssh://host", "--ssh-arg=-Q", "--ssh-arg=nonsense")
    heads = [line for line in ended.out.splitlines() if not line.startswith(" ")]
    assert (ended.status, heads) == (3, ["local", "ssh://host"])


def test_a_connection_through_a_hop_is_examined_hop_by_hop() -> None:
    ended = plasmid("doctor", "local:", "--via", "local:")
    heads = [line for line in ended.out.splitlines() if not line.startswith(" ")]
    assert (ended.status, heads) == (0, ["local", "local through local"])
    assert "  ✓ have local start it" in steps_of(ended.out)
