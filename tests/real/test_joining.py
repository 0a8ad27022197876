"""Another process of the same user joins the tree by a Unix socket: with no authority, or with what is lent to it."""

import contextlib
import logging
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import plasmid
from plasmid.builtin.listening import REQUEST, Listener
from plasmid.core import address as addresses
from plasmid.core import values
from plasmid.core.address_text import parse
from plasmid.service import Pool
from tests.real import far_joining, leftovers, users
from tests.real.conftest import one_way, ways
from tests.real.interpreters import interpreter
from tests.real.joined import END_TIMEOUT_S, Program, joined
from tests.real.users import Users

ONLY_PARENTS = "only a parent may call functions here; expose a service method instead"


@pytest.fixture
def path() -> "Iterator[Path]":
    """Give the path of a socket in a folder that isn't there yet."""
    around = Path(tempfile.mkdtemp())
    yield around / "own" / "s"
    assert list(around.iterdir()) == []
    around.rmdir()


@pytest.fixture
def desk(router: plasmid.Router) -> "Iterator[None]":
    """Have the root serve a Desk."""
    pool = Pool(router, services=[far_joining.Desk(router)], size=2)
    yield
    pool.close()


def those_at(listener: Listener, count: int) -> "list[plasmid.Context]":
    """Return who has joined, once there are so many: a process knows of that before the listener does."""

    def missing() -> "list[str]":
        found = [str(one) for one in listener.contexts()]
        return [] if len(found) == count else found or ["nobody"]

    assert leftovers.until_empty(missing, END_TIMEOUT_S) == []
    return listener.contexts()


def await_begin(context: plasmid.Context) -> None:
    """Wait until wait_for_cancel() runs there."""
    desk = context.service(far_joining.Desk)
    assert leftovers.until_empty(lambda: [] if desk.noted() else ["it hasn't begun"], END_TIMEOUT_S) == []


@pytest.mark.usefixtures("desk")
def test_a_process_that_joins_may_do_what_policies_allow_to_any_child(router: plasmid.Router, path: Path) -> None:  # U9
    below = router.local(name="below")
    below.service(far_joining.Desk).parents_only()
    with router.listen(path) as listener, joined(path) as program:
        pid = program.process.pid
        assert program.first == ["ok", ["joined-2 (/2)", "root (/)", "none", pid]]
        assert [str(one) for one in those_at(listener, 1)] == ["joined-2 (/2)"]
        assert program.value("ask", "/", "open_to_all") == [os.getpid(), "joined-2 (/2)"]
        assert program.value("ask", "/1", "open_to_all") == [below.call(far_joining.process_id), "/2"]
        refused = "AllowParents() doesn't allow it"
        assert program.refusal("ask", "/", "parents_only").endswith(refused)
        assert program.refusal("ask", "/1", "parents_only").endswith(refused)
        for address in ("/", "/1"):
            assert program.refusal("call", address, "process_id").endswith(ONLY_PARENTS)
            assert "only a parent may start or end the children" in program.refusal("start_by", address)
        assert "only a parent may" in program.refusal("shut_down", "/1")
        assert program.refusal("contexts").startswith("Refused: plasmid.lending.contexts on root (/): no service")


@pytest.mark.usefixtures("desk")
def test_with_lent_authority_a_process_does_what_the_listener_may(router: plasmid.Router, path: Path) -> None:  # U9
    below = router.local(name="below")
    pid = below.call(far_joining.process_id)
    with router.listen(path, authority="lent"), joined(path) as program:
        assert program.value("facts")[2] == "lent"
        assert program.value("contexts") == ["below (/1)"]
        assert program.value("ask", "/", "parents_only") == os.getpid()
        assert program.value("ask", "/", "open_to_all") == [os.getpid(), "root (/)"]
        assert program.value("call", "/", "process_id") == os.getpid()
        assert program.value("call", "/1", "process_id") == pid
        assert program.value("ask", "/1", "parents_only") == pid
        assert program.value("ask", "/1", "count", 1000) == list(range(1000))
        assert program.value("receive", "/1") == [0, 1, 2]
        assert program.value("start_by", "/", name="new") == "new (/3)"
        assert program.value("start_by", "/3", name="deeper") == "deeper (/3/1)"
        assert program.value("call", "/3/1", "process_id") != program.value("call", "/3", "process_id")
        assert program.value("contexts") == ["below (/1)", "new (/3)"]
        program.value("shut_down", "/3/1")
        program.value("shut_down", "/3")
        assert program.value("contexts") == ["below (/1)"]
        assert program.refusal("call", "/3", "process_id").startswith(
            "NotSent: tests.real.far_joining.process_id on new (/3): no link leads to /3"
        )


@one_way
def test_an_error_of_a_lent_call_arrives_as_its_own(
    router: plasmid.Router, context: plasmid.Context, path: Path
) -> None:
    pid = context.call(far_joining.process_id)
    with router.listen(path, authority="lent"), joined(path) as program:
        assert program.refusal("call", "/1", "thread_name", "one too many").startswith("TypeError: thread_name()")
        program.value("start_call", "/1", "wait_for_cancel")
        await_begin(context)
        os.kill(pid, 9)
        assert program.refusal("await_call").startswith(
            "ContextLost: tests.real.far_joining.wait_for_cancel on /1: /1 was lost: "
        )


def test_who_finds_the_door_full_is_told_so(tmp_path: Path) -> None:  # U9
    with socket.socket(socket.AF_UNIX) as door, contextlib.ExitStack() as crowd:
        door.bind(str(tmp_path / "s"))
        door.listen(0)
        for _ in range(2):
            one = crowd.enter_context(socket.socket(socket.AF_UNIX))
            one.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                one.connect(str(tmp_path / "s"))
        with pytest.raises(plasmid.ConnectError) as caught:
            plasmid.join(tmp_path / "s")
        assert caught.value.found == "the listener takes nobody in just now"


@ways
def test_lent_authority_ends_with_the_connection(  # U9
    router: plasmid.Router, context: plasmid.Context, way: str, path: Path
) -> None:
    address = addresses.text(context.address)
    with router.listen(path, authority="lent") as listener:
        program = Program(path)
        program.value("start_call", address, "wait_for_cancel")
        await_begin(context)
        lent = those_at(listener, 1)
        # Killed, it can ask for nothing more, and what it had asked for is taken back.
        program.process.kill()
        program.end()
        assert context.call(far_joining.notes) == ["began", "cancelled"]
        assert those_at(listener, 0) == []
        borrowers = router.jobs.builtin["plasmid.lending"].__self__.borrowers  # type: ignore[attr-defined]
        assert leftovers.until_empty(lambda: [str(one) for one in borrowers], END_TIMEOUT_S) == []
        with joined(path):
            assert those_at(listener, 1) != lent


def test_what_was_lent_by_one_socket_is_not_lent_by_another(router: plasmid.Router, path: Path) -> None:  # U9
    below = router.local()
    with router.listen(path, authority="lent"), router.listen(path.with_name("t")):
        with joined(path) as lent, joined(path.with_name("t")) as plain:
            assert lent.value("call", "/1", "process_id") == below.call(far_joining.process_id)
            assert plain.refusal("call", "/1", "process_id").endswith(ONLY_PARENTS)
            assert plain.refusal("contexts") == (
                "Refused: plasmid.lending.contexts on root (/): no authority was lent to /3"
            )
            # Nor does one that has borrowed lend.
            assert lent.refusal("listen").startswith(
                "PlasmidError: a process that has joined a tree doesn't let others"
            )


def test_a_joined_process_outlives_its_listener_and_joins_the_next(path: Path) -> None:  # U9
    with plasmid.Router() as first:
        first.listen(path, authority="lent")
        program = Program(path)
        program.value("start_call", "/", "wait_for_cancel")
    try:
        assert program.refusal("await_call").startswith(
            "ContextLost: tests.real.far_joining.wait_for_cancel on root (/)"
        )
        assert program.refusal("call", "/", "process_id") == (
            "NotSent: tests.real.far_joining.process_id on root (/): this process has left the tree of "
            f"{path}, or was left by it: it closed its end. The method was not started; it is safe to repeat the call."
        )
        assert program.value("add", 1) == 11
        program.value("leave")
        program.value("leave")
    finally:
        assert program.end() == 0


def test_a_listener_that_is_killed_leaves_a_socket_that_the_next_one_replaces(path: Path) -> None:  # U9
    with plasmid.Router() as router:
        listening = router.local(name="listening")
        listening.call(far_joining.listen, str(path), "none")
        pid = listening.call(far_joining.process_id)
        with joined(path) as program:
            assert program.first[1][:3] == ["joined-1 (/1/1)", "listening (/1)", "none"]
            os.kill(pid, 9)
            assert leftovers.until_empty(lambda: leftovers.running([pid]), END_TIMEOUT_S) == []
            found = program.refusal("ask", "/1", "open_to_all")
            assert found.startswith(("NotSent: ", "ContextLost: "))
            assert program.value("add", 2) == 12
        assert path.is_socket()
        with joined(path) as late:
            assert late.first == [
                *("error", f"unix:{path}", "connect", "nobody listens there any more"),
                "Start the program that listens: it replaces the socket left there.",
            ]
        with router.listen(path), joined(path) as program:
            assert program.first[0] == "ok"
        path.parent.rmdir()  # it was the killed one that made it


@pytest.mark.parametrize("version", ["3.6", "3.11"])
def test_a_far_side_listens_as_well_and_lends_what_it_has(path: Path, version: str) -> None:  # U9
    with plasmid.Router() as router:
        listening = router.local(python_path=interpreter(version), name="listening")
        below = router.local(via=listening, name="below")
        pids = [one.call(far_joining.process_id) for one in (listening, below)]
        listening.call(far_joining.listen, str(path), "lent")
        with joined(path) as program:
            assert program.first[1][:3] == ["joined-2 (/1/2)", "listening (/1)", "lent"]
            assert [program.value("call", one, "process_id") for one in ("/1", "/1/1")] == pids
            assert program.value("contexts") == ["below (/1/1)"]
            # It has no more than the listener has, which is nothing above it.
            assert program.refusal("call", "/", "process_id").endswith(ONLY_PARENTS)
            # What stands above may call it, as any child.
            child = plasmid.Context(router.runtime, parse("/1/2"))
            assert child.call(far_joining.process_id) == program.process.pid
            assert listening.call(far_joining.joined) == ["joined-2 (/1/2)"]  # it has been called, so it is known
        assert listening.call(far_joining.process_id) == pids[0]


def test_a_joined_process_is_called_like_any_child_but_is_a_program_of_its_own(
    router: plasmid.Router, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with router.listen(path) as listener, joined(path) as first, joined(path) as second:
        one, other = those_at(listener, 2)
        assert one.call(far_joining.thread_name) == "plasmid-functions"
        assert first.value("add", 3) == 13
        # Its classes are its own, and so is its __main__.
        assert one.service(far_joining.Desk).parents_only() == first.process.pid
        assert second.value("ask", "/1", "open_to_all") == [first.process.pid, "/2"]
        second.value("serve")
        assert one.call(far_joining.ask, other.address)[0] == second.process.pid
        assert second.refusal("ask", "/1", "parents_only").endswith("AllowParents() doesn't allow it")
        assert first.refusal("start_here").startswith("PlasmidError: starting local: a process that has joined a tree")
        # It ends for the tree alone.
        one.shutdown()
        assert [str(context) for context in those_at(listener, 1)] == ["joined-2 (/2)"]
        assert first.value("add", 4) == 14
        assert first.end() == 0
        with pytest.raises(plasmid.NotSent):
            one.call(far_joining.process_id)
    assert [record.getMessage() for record in caplog.records] == []


def test_the_programs_of_both_ends_stay_apart(router: plasmid.Router, path: Path) -> None:
    router.local()
    with router.listen(path, authority="lent") as listener, joined(path) as program:
        found = "__main__ here is another program than that of the joined process"
        for address in ("/", "/1"):
            assert found in program.refusal("main_function", address)
        call = those_at(listener, 1)[0].send_call("f", "__main__", "facts", [[], {}])
        assert call is not None
        with pytest.raises(plasmid.Refused, match="__main__ there is another program"):
            call.result(END_TIMEOUT_S)
        assert program.refusal("start_by", "/", allow_modules=["json"]).startswith(
            "PlasmidError: starting local: what a context may have beyond its connection"
        )


def test_only_so_many_may_have_joined(router: plasmid.Router, path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with router.listen(path, limit=1) as listener:
        with joined(path) as first:
            assert first.first[0] == "ok"
            with joined(path) as second:
                assert second.first[2:] == [
                    *("ask to join", "the listener refused: 1 processes have joined, and no more may (limit=)", "")
                ]
        assert those_at(listener, 0) == []
        with joined(path) as third:
            assert third.first[0] == "ok"
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


@pytest.mark.parametrize(("option", "value"), [("authority", "all"), ("limit", 0), ("limit", True), ("limit", "3")])
def test_what_is_no_option_is_refused_and_nothing_is_left(
    router: plasmid.Router, path: Path, option: str, value: object
) -> None:
    with pytest.raises(ValueError, match=f"^{option} must be "):
        router.listen(path, **{option: value})  # type: ignore[arg-type]


def test_nobody_joins_where_nobody_listens_or_something_else_does(path: Path) -> None:
    with pytest.raises(plasmid.ConnectError) as caught:
        plasmid.join(path)
    assert (caught.value.target, caught.value.step) == (f"unix:{path}", "connect")
    assert caught.value.found == "there is no such socket: nobody listens there"
    path.parent.mkdir(mode=0o700)
    try:
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
            other.listen(1)
            with pytest.raises(plasmid.ConnectError) as caught:
                plasmid.join(path, connect_timeout=0.2)
        assert (caught.value.step, caught.value.found) == ("ask to join", "no answer came in the time allowed")
    finally:
        shutil.rmtree(path.parent)


# Programs of another user's: one that joins, and one that says what a client of any kind can say.
JOINER = """
import sys, plasmid
try:
    plasmid.join(sys.argv[1])
except plasmid.ConnectError as error:
    print(error.step, error.found, error.advice, sep="|")
"""
STRANGER = f"""
import socket, sys
client = socket.socket(socket.AF_UNIX)
client.connect(sys.argv[1])
client.sendall({REQUEST!r})
data = client.recv(4096)
print((data + client.recv(4096)).hex())
"""


@pytest.fixture
def public_folder() -> "Iterator[Path]":
    """Give a folder that everybody may enter, with the package and two programs in it."""
    folder = Path(tempfile.mkdtemp(prefix="plasmid-test-", dir="/tmp"))
    folder.chmod(0o755)
    shutil.copytree(Path(plasmid.__file__).parent, folder / "plasmid", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "joiner.py").write_text(JOINER)
    (folder / "stranger.py").write_text(STRANGER)
    yield folder
    shutil.rmtree(folder)


def test_another_user_is_refused_at_every_door(  # U9
    router: plasmid.Router, public_folder: Path, machine_users: Users, caplog: pytest.LogCaptureFixture
) -> None:
    path = public_folder / "own" / "s"
    user, own = machine_users.free, os.geteuid()

    def run_as_user(program: str) -> str:
        command = f"{users.PYTHON} -B {public_folder / program} {path}"
        return users.run("su", user.name, "-c", command, check=True).strip()

    with router.listen(path, authority="lent") as listener:
        advice = "Only the user who listens may join."
        assert run_as_user("joiner.py") == (
            f"connect|this process runs as the user {user.uid}, and may not enter the folder of the user {own}|{advice}"
        )
        # As nobody should have them: the folder and the socket open to everybody.
        path.parent.chmod(0o755)
        path.chmod(0o666)
        assert run_as_user("joiner.py") == (
            f"connect|the user {own} listens there, and this process runs as the user {user.uid}|{advice}"
        )
        answer = bytes.fromhex(run_as_user("stranger.py"))
        path.parent.chmod(0o700)
        why = f"the user {user.uid} asks to join a process of the user {own}, and only that user may"
        assert values.unpack(answer[4:]) == {"refused": why}
        assert listener.contexts() == []
        assert list(router.children) == []
    assert [record.getMessage().partition(": ")[2] for record in caplog.records] == [why]
