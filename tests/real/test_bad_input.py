"""What goes wrong with hosts, modules, values and frames: each with its own words, in time, and nothing else lost.

In every test another context, the bystander, is there before and must work as before afterwards. That nothing is left
of the failure, no descriptor, thread or process, is checked after each test.
"""

import contextlib
import platform
import socket
import sys
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import plasmid
from plasmid.core import values
from plasmid.core.frames import FRAME_BODY_SIZE_MAX, HEADER, Kind, encode
from tests.connect.stand_ins import stand_in
from tests.real import far, ports, sshd
from tests.real.conftest import DEEP, LOCAL, connect, one_way, ways

TIMEOUT_S = 30
CONNECT_TIMEOUT_S = 2.0
AT_ONCE_S = 10.0  # for what doesn't have to wait for its timeout; ssh alone takes a good part of a second

FIRST_LINE = "wait for the far side's first line"


@pytest.fixture(autouse=True)
def bystander(router: plasmid.Router) -> "Iterator[plasmid.Context]":
    """Give a context that must outlast whatever the test does."""
    bystander = router.local(name="bystander")
    counter = bystander.service(far.Counter)
    counter.add(1)
    yield bystander
    assert counter.add(1) == 2
    assert bystander.call(far.add, 1) == 11


def failure(connect: "Callable[[], object]", within_s: float) -> plasmid.ConnectError:
    """Return the error of a connection that must fail within a time."""
    begun = time.monotonic()
    with pytest.raises(plasmid.ConnectError) as caught:
        connect()
    assert time.monotonic() - begun < within_s
    return caught.value


# ---------------------------------------------------------------- hosts


@pytest.mark.parametrize("port", [ports.silent_port, ports.black_hole_port], ids=["silent", "black hole"])
def test_a_host_that_does_not_answer_ends_within_its_timeout(
    router: plasmid.Router, ssh_server: sshd.Server, port: "Callable[[], contextlib.AbstractContextManager[int]]"
) -> None:
    with port() as number:
        client = ssh_server.client_on_port(number)
        error = failure(
            lambda: router.ssh(client.hostname, ssh_args=client.ssh_args, connect_timeout=CONNECT_TIMEOUT_S),
            CONNECT_TIMEOUT_S + 2,
        )
    assert (error.target, error.step, error.status) == ("ssh://private-host", FIRST_LINE, 255)
    assert error.found == "ssh exited with status 255"
    assert "timed out" in error.output
    assert error.advice == "The host doesn't answer: check that it is up and that no firewall drops the packets."


def test_a_port_where_nobody_listens_is_told_at_once(router: plasmid.Router, ssh_server: sshd.Server) -> None:
    with ports.refusing_port() as number:
        client = ssh_server.client_on_port(number)
        error = failure(lambda: router.ssh(client.hostname, ssh_args=client.ssh_args), AT_ONCE_S)
    assert (error.step, error.status) == (FIRST_LINE, 255)
    assert "Connection refused" in error.output
    assert error.advice == "Nothing listens there: check that sshd runs on the host, and port=."


def test_a_host_name_that_is_unknown_is_told(router: plasmid.Router) -> None:
    error = failure(lambda: router.ssh("no-such-host.invalid", connect_timeout=20), 22)
    assert error.target == "ssh://no-such-host.invalid"
    assert "no-such-host.invalid" in error.output
    assert error.advice


CLIENTS: "list[tuple[str, str, str]]" = [
    (
        "client_with_refused_key",
        "Permission denied (publickey)",
        "The host refused every key that ssh offered, and no password was given.",
    ),
    ("client_with_changed_host_key", "Host key for private-host has changed", "remove the old key with `ssh-keygen"),
    ("client_of_unknown_host", "Host key verification failed", "pass check_host_keys='accept' to take the key"),
]


@pytest.mark.parametrize(("client_name", "output", "advice"), CLIENTS, ids=[row[0] for row in CLIENTS])
def test_a_login_that_is_refused_says_why_and_what_to_do(
    router: plasmid.Router, ssh_server: sshd.Server, client_name: str, output: str, advice: str
) -> None:
    client: sshd.Client = getattr(ssh_server, client_name)()
    error = failure(lambda: router.ssh(client.hostname, ssh_args=client.ssh_args), AT_ONCE_S)
    assert (error.step, error.found, error.status) == (FIRST_LINE, "ssh exited with status 255", 255)
    assert output in error.output
    assert advice in error.advice


def test_an_unknown_host_key_is_taken_when_asked_for(router: plasmid.Router, ssh_server: sshd.Server) -> None:
    client = ssh_server.client_of_unknown_host()
    # ssh_args come first and override; so the strictness of the test's own configuration has to go.
    options = ["-o", "StrictHostKeyChecking=accept-new"]
    context = router.ssh(client.hostname, ssh_args=[*client.ssh_args, *options], check_host_keys="accept")
    assert context.call(far.add, 1) == 11


def test_a_host_without_python_says_not_found(router: plasmid.Router, ssh_server: sshd.Server) -> None:
    client = ssh_server.client_without_python()
    error = failure(lambda: router.ssh(client.hostname, ssh_args=client.ssh_args), AT_ONCE_S)
    assert (error.step, error.found, error.status) == (FIRST_LINE, "ssh exited with status 127", 127)
    assert error.advice == "There is no such program: install Python 3 there, or name it with python_path=."


@ways
def test_a_python_that_is_too_old_is_refused_by_both_versions(
    request: pytest.FixtureRequest, router: plasmid.Router, tmp_path: Path, way: str
) -> None:
    path = stand_in(tmp_path, "mark('3.4.2', '0')\nos.read(0, 1)")
    with pytest.raises(plasmid.ConnectError) as caught:
        connect(request, router, way, "far", python_path=path)
    assert caught.value.found == f"{path} there is Python 3.4.2, and Plasmid needs 3.6 or newer"
    assert caught.value.advice == "Name a newer one with python_path=, or install one."


def test_a_login_that_prints_a_mebibyte_and_no_more_is_no_obstacle(
    router: plasmid.Router, ssh_server: sshd.Server
) -> None:  # U2
    client = ssh_server.noisy_client((1 << 20) - 2)
    assert router.ssh(client.hostname, ssh_args=client.ssh_args).call(far.add, 1) == 11


def test_a_login_that_prints_more_than_a_mebibyte_is_given_up(router: plasmid.Router, ssh_server: sshd.Server) -> None:
    client = ssh_server.noisy_client((1 << 20) + 100_000)
    error = failure(lambda: router.ssh(client.hostname, ssh_args=client.ssh_args), AT_ONCE_S)
    assert error.step == FIRST_LINE
    assert error.found.endswith(" bytes came that aren't Plasmid's, and more than 1048576 are not taken")
    assert "you are welcome here" in error.output
    assert error.advice.endswith("look at the shell's start files.")


STAND_INS: "list[tuple[str, str, str]]" = [
    # what the far side does; the step; what is found
    ("os._exit(3)", FIRST_LINE, " exited with status 3"),
    ("say(b'Welcome!\\n')\nos._exit(0)", FIRST_LINE, " exited with status 0"),
    ("mark()\nos._exit(4)", "s", " exited with status 4"),
    ("mark()\nos.read(0, 100)\nos._exit(5)", "s", " exited with status 5"),
    ("mark()\nos.read(0, 1 << 20)\ntime.sleep(.2)\nos._exit(6)", "say hello", " exited with status 6"),
    ("mark()\nos.closerange(0, 2)\ntime.sleep(600)", "s", "the far side closed its output"),
    ("mark()\nsay(b'no frame at all, and long enough')\ntime.sleep(600)", "say hello", "is unknown"),
    ("mark()\nsay(bytes(1 << 20))\ntime.sleep(600)", "say hello", "kind 0 is unknown"),
    (
        "mark()\nsay(bytes([255] * 16))\ntime.sleep(600)",
        "say hello",
        "the peer broke the protocol: kind 255 is unknown",
    ),
]


@pytest.mark.parametrize(("body", "step", "found"), STAND_INS)
def test_a_far_side_that_ends_or_misbehaves_in_mid_boot_is_told(
    router: plasmid.Router, tmp_path: Path, body: str, step: str, found: str
) -> None:
    path = stand_in(tmp_path, body)
    error = failure(lambda: router.local(python_path=path), AT_ONCE_S)
    assert error.step.startswith(step)
    assert found in error.found


@pytest.mark.parametrize("body", ["time.sleep(600)", "mark()\ntime.sleep(600)"])
def test_a_far_side_that_falls_silent_in_mid_boot_ends_within_the_timeout(
    router: plasmid.Router, tmp_path: Path, body: str
) -> None:
    path = stand_in(tmp_path, body)
    error = failure(lambda: router.local(python_path=path, connect_timeout=0.7), 4)
    assert error.step in (FIRST_LINE, "say hello")
    assert "within" in error.found


def test_a_failure_behind_another_context_is_told_by_the_root(
    router: plasmid.Router, bystander: plasmid.Context, ssh_server: sshd.Server
) -> None:
    client = ssh_server.client_with_refused_key()
    error = failure(lambda: router.ssh(client.hostname, ssh_args=client.ssh_args, via=bystander), AT_ONCE_S)
    assert (error.target, error.step, error.status) == ("ssh://private-host", FIRST_LINE, 255)
    assert "Permission denied (publickey)" in str(error)
    assert "The host refused every key that ssh offered" in error.advice


@pytest.mark.parametrize("hostname", ["-oProxyCommand=touch /tmp/x", "", "a b", "$(id)", "a;b", "h\n"])
def test_a_host_name_that_could_be_an_option_or_a_command_is_refused(router: plasmid.Router, hostname: str) -> None:
    with pytest.raises(ValueError, match="for ssh"):
        router.ssh(hostname)


# ---------------------------------------------------------------- modules and functions


def function_of(module: str, name: str = "work") -> "Callable[..., object]":
    """Return a function that says it is of a module."""

    def work() -> None:
        raise AssertionError("this runs nowhere")

    work.__module__ = module
    work.__qualname__ = name
    return work


@ways
def test_a_function_that_cannot_be_imported_there_is_told_by_name(context: plasmid.Context) -> None:
    with pytest.raises(ModuleNotFoundError) as caught:
        context.call(function_of("no_such_module_anywhere"))
    assert str(caught.value) == "No module named 'no_such_module_anywhere'"
    with pytest.raises(AttributeError) as missing:
        context.call(function_of("tests.real.far", "no_such_function"))
    assert "no_such_function" in str(missing.value)
    assert context.call(far.add, 1) == 11


@one_way
def test_a_module_that_fails_when_it_is_imported_shows_its_own_error(
    context: plasmid.Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_there.py").write_text("import os\n\nraise OSError(5, 'not on this machine')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for _ in range(2):
        with pytest.raises(OSError, match="not on this machine") as caught:
            context.call(function_of("broken_there"))
        assert 'broken_there.py", line 3' in str(caught.value.__cause__)


@one_way
def test_a_module_with_a_syntax_error_shows_where(
    context: plasmid.Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bad_syntax.py").write_text("x = 1\ny = = 2\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(SyntaxError) as caught:
        context.call(function_of("bad_syntax"))
    assert "y = = 2" in str(caught.value.__cause__)
    near, far = "%d.%d.%d" % sys.version_info[:3], context.call(platform.python_version)
    place = f"in /<sent>{tmp_path}/bad_syntax.py, line 2"
    assert str(caught.value) == f"invalid syntax {place}: this is Python {far}, and it was sent by Python {near}"


@one_way
def test_a_compiled_module_is_named_with_what_would_provide_it(
    context: plasmid.Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "native_part.abi3.so").write_bytes(b"\x7fELF")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError) as caught:
        context.call(function_of("native_part"))
    assert str(caught.value) == (
        "No module named 'native_part': it is compiled, of the distribution native_part, and only source is sent; have "
        "that installed for the context with requires=['native_part'], or install it on this machine"
    )


def test_a_module_that_may_not_be_sent_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # D12
    (tmp_path / "secret_part.py").write_text("KEY = 'k'\ndef work():\n    return KEY\n")
    (tmp_path / "open_part.py").write_text(
        "def work():\n    import importlib\n    return importlib.import_module('secret_' + 'part').KEY\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with plasmid.Router(deny_modules=["secret_part"]) as denying:
        with pytest.raises(ModuleNotFoundError) as caught:
            denying.local().call(function_of("secret_part"))
        assert str(caught.value) == "No module named 'secret_part': deny_modules= of the Router names it"
    with plasmid.Router() as cautious:
        context = cautious.local()
        with pytest.raises(ModuleNotFoundError) as caught:
            context.call(function_of("open_part"))
        assert "this context was not asked to run anything that imports it" in str(caught.value)
        assert "allow_modules=['secret_part']" in str(caught.value)
    with plasmid.Router(allow_modules=["secret_part"]) as allowing:
        assert allowing.local().call(function_of("open_part")) == "k"


# ---------------------------------------------------------------- values


class Mapping(dict):  # type: ignore[type-arg]
    """A dict that isn't exactly a dict."""


def cycle() -> "list[object]":
    """Return a list that holds itself."""
    found: list[object] = []
    found.append([found])
    return found


UNSENDABLE: "list[tuple[object, str]]" = [
    ({"rows": [1, 2, socket.socket]}, "['rows'][2]"),
    (Mapping(), "Mapping"),
    ({"text": "\ud800"}, "['text']): str with a lone surrogate"),
    ((n for n in range(3)), "generator"),
    (types, "module"),
    (cycle(), ""),
    ({(1, 2): "key"}, ""),
    (sys.stderr, ""),
]


@one_way
def test_a_value_that_cannot_be_sent_is_named_and_nothing_was_called(context: plasmid.Context) -> None:
    for value, named in UNSENDABLE:
        with pytest.raises(plasmid.UnsendableValue) as caught:
            context.call(far.note, value)
        assert named in str(caught.value)
        with pytest.raises(plasmid.UnsendableValue):
            context.call_service(far.Work, "takes_path", path=value)
    assert context.call(far.notes) == []


@ways
def test_a_result_that_cannot_be_returned_is_named(context: plasmid.Context) -> None:
    for call in (
        lambda: context.call(far.return_unsendable),
        lambda: context.service(far.Work).unsendable(),
    ):
        with pytest.raises(plasmid.UnsendableValue) as caught:
            call()
        assert str(caught.value).startswith("result of tests.real.far.")
        assert str(caught.value).endswith("['rows'][2]: lock")
    assert context.call(far.add, 1) == 11


@one_way
def test_an_exception_whose_arguments_cannot_travel_arrives_all_the_same(context: plasmid.Context) -> None:
    with pytest.raises(ValueError, match="<lock>") as caught:
        context.call(far.fail_with_lock)
    assert caught.value.args == ("<lock>", 5)


# ---------------------------------------------------------------- frames


OTHER = b"\0\0\0\1"  # the bystander's address
Frame = Callable[[bytes], bytes]
BAD_FRAMES: "dict[str, tuple[Frame, str]]" = {
    "garbage": (lambda own: b"\xfe" * 4000, "kind 254 is unknown"),
    "text": (lambda own: b"Traceback (most recent call last):\n" * 10, "kind 101 is unknown"),
    "too large": (
        lambda own: HEADER.pack(FRAME_BODY_SIZE_MAX + 1, Kind.REPLY, 0, len(own), 0, 1),
        f"a body of {FRAME_BODY_SIZE_MAX + 1} bytes was announced; the limit is {FRAME_BODY_SIZE_MAX}",
    ),
    "largest": (lambda own: HEADER.pack(0xFFFFFFFF, Kind.DATA, 0, 0, 0, 1), "a body of 4294967295 bytes was announced"),
    "as its sibling": (lambda own: encode(Kind.CALL, 0, 1, OTHER, b"", b"x"), "sent a frame in the name of /1"),
    "as the root": (lambda own: encode(Kind.REPLY, 1, 1, b"", OTHER, b"x"), "sent a frame in the name of /;"),
    "a sibling's loss": (lambda own: encode(Kind.LOST, 0, 0, OTHER, b"", b"x"), "sent a frame in the name of /1"),
    "a second hello": (
        lambda own: encode(Kind.HELLO, 0, 0, own, b"", values.pack({"versions": [1]})),
        "a hello isn't allowed while the link is open",
    ),
    "unknown flags": (lambda own: HEADER.pack(0, Kind.CALL, 0xF0, len(own), 0, 1) + own, "flags 0xf0 are unknown"),
    "crooked address": (lambda own: HEADER.pack(0, Kind.CALL, 0, 3, 0, 1) + b"\0\0\0", "the peer broke the protocol: "),
}


@pytest.mark.parametrize("way", [LOCAL, DEEP])
@pytest.mark.parametrize(("frame", "found"), BAD_FRAMES.values(), ids=BAD_FRAMES)
def test_a_frame_that_is_garbage_too_large_or_forged_costs_its_sender_the_link(  # D12, D4
    request: pytest.FixtureRequest, router: plasmid.Router, way: str, frame: Frame, found: str
) -> None:
    context = connect(request, router, way, "far")
    waiting = context.service(far.Work).hold.start()
    assert context.service(far.Work).takes_path("served") == "served"
    begun = time.monotonic()
    with pytest.raises(plasmid.ContextLost) as caught:
        context.call(far.write_to_link, frame(context.address))
    assert time.monotonic() - begun < AT_ONCE_S
    assert "the peer broke the protocol: " in str(caught.value)
    assert found in str(caught.value)
    assert isinstance(waiting.exception(TIMEOUT_S), plasmid.ContextLost)


@one_way
def test_a_call_whose_body_is_broken_costs_nothing_but_that_call(  # D12
    router: plasmid.Router, context: plasmid.Context
) -> None:
    own = context.address
    bodies = [b"", b"x", bytes(6), b"\0\0\0\0\0\1\xff", b"\xff" * 4 + b"\0\4\x93\1\2\3", bytes(10000)]
    for number, body in enumerate(bodies):
        context.call(far.write_to_link, encode(Kind.CALL, 0, number, own, b"", body))
        context.call(far.write_to_link, encode(Kind.PUT, 0, number, own, b"", body))
        context.call(far.write_to_link, encode(Kind.REPLY, 1, number, own, b"", body))
        context.call(far.write_to_link, encode(Kind.CREDIT, 3, number, own, b"", body))
        context.call(far.write_to_link, encode(Kind.CALL, 0, number, own, b"\0\0\0\7", body))
    assert context.call(far.add, 1) == 11


@one_way
def test_an_answer_that_is_no_value_is_an_error_of_that_call_alone(context: plasmid.Context) -> None:  # D12
    with pytest.raises(plasmid.ValueDecodeError) as caught:
        context.call(far.answer_with_garbage)
    assert str(caught.value).startswith("what tests.real.far.answer_with_garbage on far (/2) answered can't be taken: ")
    assert context.call(far.add, 1) == 11
