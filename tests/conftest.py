"""What every test gets: the fixtures for real servers and interpreters, and the checks that nothing is left behind.

Two checks. After each test marked `real`, this process holds no descriptor and no thread it didn't hold before.
After the last test of each pytest process, no process that it started is left, however indirectly, and no temporary
file. A failed check is an error of the test it follows, so it is in the closing line.
"""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real import leftovers, sshd, users

pytest_plugins = ["tests.matrix", "tests.real.lab.fixtures"]

TESTS = Path(__file__).parent

# What administers networks and mounts isn't on every user's PATH, and the lab's programs start it by name.
os.environ["PATH"] = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"

# A far side may take 2 s to go once its link is closed; that is promised, and the machine may be busy.
PROCESS_END_TIMEOUT_S = float(os.environ.get("PLASMID_TEST_END_TIMEOUT_S", "6"))
# Threads and descriptors go with the objects that hold them; only daemon threads may need a moment.
RELEASE_TIMEOUT_S = PROCESS_END_TIMEOUT_S / 2


def heed_signals() -> None:
    """Have what the tests start end by Ctrl-C and by a hang-up.

    A shell that runs something in the background has it ignore Ctrl-C, and nohup the hang-up; that would be handed on.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGHUP, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


heed_signals()


def pytest_collection_modifyitems(items: "list[pytest.Item]") -> None:
    """Mark all of tests/real as `real`, and as `sshd` what uses the private server."""
    for item in items:
        if TESTS / "real" in item.path.parents:
            item.add_marker("real")
        if {"ssh_server", "ssh_client"} & set(getattr(item, "fixturenames", ())):
            item.add_marker("sshd")


@pytest.fixture(scope="session", autouse=True)
def session_leaves_nothing() -> "Iterator[leftovers.Session]":
    """Check after the last test that no process and no temporary file of this run is left."""
    session = leftovers.Session()
    session.start()
    yield session
    left = leftovers.until_empty(session.left, PROCESS_END_TIMEOUT_S)
    leftovers.kill(leftovers.of_session(session.mark))
    session.stop()
    assert left == [], "the tests of this pytest process left something behind (this test was only the last of them)"


@pytest.fixture(autouse=True)
def real_test_leaves_nothing(request: pytest.FixtureRequest) -> "Iterator[None]":
    """Check after a test marked `real` that no thread and no descriptor is left."""
    if request.node.get_closest_marker("real") is None:
        yield
        return
    before = leftovers.Holdings()
    yield
    assert before.still_added(RELEASE_TIMEOUT_S) == [], "the test left these open"


@pytest.fixture(scope="session")
def ssh_server(session_leaves_nothing: leftovers.Session) -> "Iterator[sshd.Server]":
    """Give a private ssh server that all tests of this pytest process share; get a Client of your own from it."""
    with sshd.running_server(session_leaves_nothing.folder / "sshd") as server:
        yield server


@pytest.fixture(scope="session")
def ssh_client(ssh_server: sshd.Server) -> sshd.Client:
    """Give a client that may log in to the private ssh server."""
    return ssh_server.client()


@pytest.fixture(scope="session")
def machine_users(session_leaves_nothing: leftovers.Session) -> "Iterator[users.Users]":
    """Give users of this machine that all tests of this pytest process share, with rules for sudo and doas."""
    with users.made_users() as made:
        yield made
