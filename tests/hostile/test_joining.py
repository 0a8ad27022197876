"""Whoever joins by a socket may be hostile like any child, and need not even say what one says at the door."""

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import plasmid
from plasmid.builtin import listening
from plasmid.builtin.listening import REQUEST, Listener
from plasmid.core import values
from plasmid.core.frames import PROTOCOL_VERSION, Kind, encode
from tests.hostile.raw_child import BREAKS, DEADLINE_S, GROWTH_MAX, HERE, REPOSITORY, Memory, Scene
from tests.hostile.sibling import Watched
from tests.real import leftovers

pytestmark = pytest.mark.real


@pytest.fixture
def path() -> "Iterator[Path]":
    """Give the path of a socket in a folder that isn't there yet."""
    around = Path(tempfile.mkdtemp())
    yield around / "own" / "s"
    around.rmdir()


class JoinedScene(Scene):
    """A Scene whose hostile child has joined by a socket."""

    def __init__(self, router: plasmid.Router, report: Path, path: Path, authority: str) -> None:
        super().__init__(router, report)
        self.listener = router.listen(path, authority=authority)
        self.process: subprocess.Popen[bytes]

    def attack(self, name: str) -> plasmid.Context:
        """Have it join, and tell it to do what the attack of that name does."""
        argv = [sys.executable, "-S", str(HERE / "raw_joiner.py"), self.listener.path, name]
        self.process = subprocess.Popen([*argv, str(REPOSITORY), str(self.report)])
        assert leftovers.until_empty(lambda: [] if self.listener.contexts() else ["nobody joined"], DEADLINE_S) == []
        (self.evil,) = self.listener.contexts()
        child = self.router.child(self.evil)
        assert child is not None
        self.child = child
        self.evil.send_call("s", "go", None, {}, no_reply=True)
        return self.evil


@contextmanager
def scene(folder: Path, path: Path, authority: str = "lent") -> "Iterator[JoinedScene]":
    """Give a JoinedScene; at its end the sibling must have been served all the while."""
    with plasmid.Router(name="root") as router:
        played = JoinedScene(router, folder / "report", path, authority)
        try:
            yield played
            played.end()
        finally:
            played.router.close()
            played.process.kill()
            played.process.wait(DEADLINE_S)


# U9, D12
@pytest.mark.parametrize(("attack", "reason"), BREAKS)
def test_one_that_joined_and_breaks_the_protocol_is_cut_and_nothing_else_is(
    tmp_path: Path, path: Path, attack: str, reason: str
) -> None:
    with scene(tmp_path, path) as played:
        played.is_cut_by(attack, reason)
        assert leftovers.until_empty(lambda: [str(one) for one in played.listener.contexts()], DEADLINE_S) == []


# U9, D9
@pytest.mark.parametrize("attack", ["announced_bodies", "flood_of_a_sibling", "lending_floods"])
def test_a_flood_of_one_that_joined_costs_no_memory_to_speak_of(tmp_path: Path, path: Path, attack: str) -> None:
    with scene(tmp_path, path) as played, Memory() as memory:
        played.attack(attack)
        played.sibling_goes_on()
        played.await_end_of_attack(5.0)
        played.sibling_goes_on()
        assert memory.growth < GROWTH_MAX
        played.evil.shutdown()
        assert played.child.gone.wait(DEADLINE_S)


def test_a_request_to_the_lender_that_is_none_is_refused_and_nothing_is_called(tmp_path: Path, path: Path) -> None:
    with scene(tmp_path, path) as played:
        played.attack("lending_nonsense")
        assert [answer[0] for answer in played.reports()] == ["Refused"] * 12
        assert Watched.notes == []


# U9, D12
def test_one_to_whom_nothing_was_lent_borrows_nothing(tmp_path: Path, path: Path) -> None:
    with scene(tmp_path, path, "none") as played:
        played.attack("borrows")
        # Neither where nobody lends, nor where another socket does.
        refused = played.reports()
        assert [answer[0] for answer in refused] == ["Refused"] * 2
        played.process.wait(DEADLINE_S)
        (tmp_path / "report").unlink()
        with played.router.listen(path.with_name("t"), authority="lent"):
            assert leftovers.until_empty(lambda: [str(one) for one in played.listener.contexts()], DEADLINE_S) == []
            played.attack("borrows")
            assert played.reports() == [["Refused", "no authority was lent to /3"]] * 2
        assert Watched.notes == []


@contextmanager
def knocking(listener: Listener) -> "Iterator[socket.socket]":
    """Give a connection to a listener."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(DEADLINE_S)
        connection.connect(listener.path)
        yield connection


def everything(connection: socket.socket) -> bytes:
    """Return all that comes until the other end hangs up."""
    data = b""
    while True:
        try:
            more = connection.recv(65536)
        except ConnectionResetError:
            return data
        if not more:
            return data
        data += more


def admitted(connection: socket.socket, said: bytes = REQUEST) -> "dict[str, object]":
    """Ask to join, and return what is told."""
    connection.sendall(said)
    size = int.from_bytes(connection.recv(4), "big")
    told = values.unpack(connection.recv(size))
    assert isinstance(told, dict)
    return told


@pytest.mark.parametrize(
    "said",
    [b"GET / HTTP/1.1\r\n\r\n", b"\0", b"PLASMID JOIN 2\n", b"PLASMID JOIN 1\r\n", b"P" * 1_000_000],
    ids=["http", "zero", "another version", "another line break", "without end"],
)
def test_what_is_no_request_is_hung_up_on_without_an_answer(router: plasmid.Router, path: Path, said: bytes) -> None:
    with router.listen(path) as listener, knocking(listener) as connection:
        try:
            connection.sendall(said)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it was hung up on before it had said all
        assert everything(connection) == b""
        assert router.children == {}


def test_a_request_may_come_a_byte_at_a_time(router: plasmid.Router, path: Path) -> None:
    with router.listen(path) as listener, knocking(listener) as connection:
        for byte in REQUEST[:-1]:
            connection.sendall(bytes([byte]))
        connection.sendall(REQUEST[-1:])
        told = admitted(connection, b"")
        assert told == {
            "address": b"\0\0\0\1",
            "name": "joined-1",
            "authority": "none",
            "parent": "root",
            "root": "root",
        }


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lower how long a handshake may take, so that the test needn't last 10 s."""
    monkeypatch.setattr(listening, "HANDSHAKE_S", 0.5)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("said", [b"", REQUEST[:5]])
def test_one_who_says_nothing_more_at_the_door_is_hung_up_on(router: plasmid.Router, path: Path, said: bytes) -> None:
    with router.listen(path) as listener, knocking(listener) as connection:
        connection.sendall(said)
        assert everything(connection) == b""


@pytest.mark.usefixtures("impatient")
def test_a_crowd_at_the_door_holds_others_up_no_longer_than_a_handshake_may_take(
    router: plasmid.Router, path: Path
) -> None:
    with router.listen(path) as listener:
        crowd = [socket.socket(socket.AF_UNIX) for _ in range(listening.HANDSHAKES_MAX + 4)]
        for connection in crowd:
            connection.connect(listener.path)
        with knocking(listener) as last:
            assert admitted(last)["name"] == "joined-1"
        for connection in crowd:
            connection.close()


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    "said", [b"", encode(Kind.HELLO, 0, 0, b"\0\0\0\2", b"", b"x"), b"\xff" * 100], ids=["silent", "forged", "garbage"]
)
def test_one_that_was_let_in_and_says_no_hello_is_let_go(router: plasmid.Router, path: Path, said: bytes) -> None:
    with router.listen(path, limit=1) as listener:
        with knocking(listener) as connection:
            assert admitted(connection)["name"] == "joined-1"
            connection.sendall(said)
            everything(connection)
            assert leftovers.until_empty(lambda: [str(one) for one in router.children], DEADLINE_S) == []
            assert listener.contexts() == []
        # And there is room for another.
        with knocking(listener) as connection:
            assert admitted(connection)["name"] == "joined-2"


def test_one_that_leaves_at_any_point_of_the_handshake_leaves_nothing(router: plasmid.Router, path: Path) -> None:
    hello = encode(Kind.HELLO, 0, 0, b"\0\0\0\3", b"", values.pack({"versions": [PROTOCOL_VERSION]}))
    with router.listen(path) as listener:
        for said in (b"", REQUEST[:3], REQUEST, REQUEST):
            with knocking(listener) as connection:
                connection.sendall(said)
        with knocking(listener) as connection:
            assert admitted(connection)["address"] == b"\0\0\0\3"
            connection.sendall(hello)
            assert leftovers.until_empty(lambda: [] if listener.contexts() else ["nobody"], DEADLINE_S) == []
        assert leftovers.until_empty(lambda: [str(one) for one in router.children], DEADLINE_S) == []
        assert leftovers.until_empty(lambda: [str(one) for one in listener.contexts()], DEADLINE_S) == []
        assert router.jobs.builtin.get("plasmid.lending") is None


@pytest.fixture
def router() -> "Iterator[plasmid.Router]":
    """Give a Router that is closed after the test."""
    with plasmid.Router(name="root") as router:
        yield router


def test_a_process_forked_from_the_listener_has_no_part_in_it(router: plasmid.Router, path: Path) -> None:
    listener = router.listen(path)
    stays, ends = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(ends)
        listener.close()
        os.read(stays, 1)
        os._exit(0)
    os.close(stays)
    try:
        assert path.is_socket()
        listener.close()
        assert not path.exists()
    finally:
        os.close(ends)
        assert os.waitpid(pid, 0)[1] == 0
