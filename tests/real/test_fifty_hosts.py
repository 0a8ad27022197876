"""Fifty hosts, each with a network, a process space and an sshd of its own; five of them can't be connected to."""

import os
import platform
import re
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

import plasmid
from tests.cli.command import arguments, environment
from tests.real import far, leftovers
from tests.real.lab import netlab

pytestmark = [pytest.mark.connector("ssh"), pytest.mark.lab, pytest.mark.timeout(240)]

HOSTS = 50
REFUSING, PYTHONLESS, CHANGED, HANGING, PARTITIONED = "host3", "host11", "host19", "host27", "host35"
KINDS = {3: netlab.REFUSES_KEY, 11: netlab.HAS_NO_PYTHON, 19: netlab.HAS_ANOTHER_KEY, 27: netlab.LOGIN_HANGS}
# Those that say nothing are waited for so long. The others answer; how soon is this machine's matter.
SILENT_TIMEOUT_S = 4.0
ANSWER_TIMEOUT_S = 120.0

# What is to be found, and what the advice has to name.
FOUND = {
    REFUSING: ("ssh exited with status 255", "The host refused every key that ssh offered"),
    PYTHONLESS: ("ssh exited with status 127", "There is no such program: install Python 3 there"),
    CHANGED: ("ssh exited with status 255", "The host answers with another key than known_hosts has."),
    HANGING: ("nothing came within 4 s", "Check that a login there ends at once in a shell that runs commands"),
    PARTITIONED: ("ssh exited with status 255", "check that it is up and that no firewall drops the packets"),
}
PRINTED = {
    REFUSING: "Permission denied (publickey)",
    PYTHONLESS: "python3: not found",
    CHANGED: "Host key verification failed.",
    HANGING: "",
    PARTITIONED: "Connection timed out",
}


@pytest.fixture(scope="module")
def lab(session_leaves_nothing: leftovers.Session) -> "Iterator[netlab.Lab]":
    """Give the fifty hosts, one of them cut off."""
    with netlab.running_lab(session_leaves_nothing.folder / "lab", HOSTS, KINDS) as lab:
        lab.partition(int(PARTITIONED[4:]))
        yield lab


def target(lab: netlab.Lab, name: str) -> "dict[str, Any]":
    """Return a host as a target."""
    is_silent = name in (HANGING, PARTITIONED)
    timeout_s = SILENT_TIMEOUT_S if is_silent else ANSWER_TIMEOUT_S
    return {"hostname": name, "ssh_path": str(lab.ssh), "connect_timeout": timeout_s}


def test_of_fifty_hosts_five_fail_each_by_its_own_error_and_the_others_work(  # U1
    router: plasmid.Router, lab: netlab.Lab
) -> None:
    told: list[str] = []
    result = router.connect_all(
        [target(lab, name) for name in lab.names], progress=lambda done, count, name, outcome: told.append(name)
    )
    assert {name: error.found for name, error in result.failures.items()} == {
        name: found for name, (found, _) in FOUND.items()
    }
    for name, error in result.failures.items():
        assert error.target == f"ssh://{name}"
        assert error.step == "wait for the far side's first line"
        assert FOUND[name][1] in error.advice
        assert PRINTED[name] in error.output
    assert sorted(told) == sorted(lab.names)
    working = [name for name in lab.names if name not in FOUND]
    assert [context.name for context in result] == working
    calls = [context.call_async(platform.node) for context in result]
    assert [call.result() for call in calls] == working


def test_a_tree_over_ssh_needs_few_connections_here(router: plasmid.Router, lab: netlab.Lab) -> None:  # U1
    names = [name for name in lab.names if name not in FOUND][:12]
    result = router.connect_all([PYTHONLESS, *(target(lab, name) for name in names)], fan_out=3, ssh_path=str(lab.ssh))
    assert list(result.failures) == [PYTHONLESS]
    assert [context.name for context in result] == names
    assert len(router.children) == 3
    calls = [context.call_async(platform.node) for context in result]
    assert [call.result() for call in calls] == names
    assert [call.result() for call in [context.call_async(far.add, 1) for context in result]] == [11] * len(names)


def test_doctor_names_what_is_wrong_with_each_of_the_five(lab: netlab.Lab) -> None:
    running = {
        name: subprocess.Popen(
            arguments(["doctor", name, "--connect-timeout", f"{target(lab, name)['connect_timeout']:g}"]),
            env={**environment(), "PATH": os.pathsep.join([str(lab.bin), os.environ["PATH"]])},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in FOUND
    }
    said = {name: process.communicate() for name, process in running.items()}
    for name, (found, advice) in FOUND.items():
        out, err = said[name]
        assert (running[name].returncode, err) == (3, "")
        # Lines are broken to the terminal's width.
        text = re.sub(r"\s+", " ", out)
        assert found in text
        assert PRINTED[name] in text
        assert advice.replace("python_path=", "--python") in text


def test_a_host_that_crashes_is_lost_alone(router: plasmid.Router, lab: netlab.Lab) -> None:  # D4
    result = router.connect_all([target(lab, "host49"), target(lab, "host50")])
    waiting = result["host50"].call_async(time.sleep, 600)
    lab.crash(50)
    assert isinstance(waiting.exception(), plasmid.ContextLost)
    assert result["host49"].call(far.add, 1) == 11
