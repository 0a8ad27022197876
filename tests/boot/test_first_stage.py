"""first_stage.py on every interpreter: the mark, what it reads and what it leaves, whom it trusts."""

import os
import socket
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from plasmid.boot.first_stage import first_stage
from tests.real.interpreters import SUPPORTED, TOO_OLD, interpreter

pytestmark = pytest.mark.real

NONCE = "0123456789abcdef"
END_TIMEOUT_S = 20


@pytest.fixture(params=SUPPORTED)
def python(request: pytest.FixtureRequest) -> str:
    """Give each supported interpreter in turn."""
    return interpreter(request.param)


@pytest.fixture
def sockets() -> "Iterator[tuple[socket.socket, socket.socket]]":
    """Give both ends of a link."""
    near, far = socket.socketpair()
    near.settimeout(END_TIMEOUT_S)
    with near, far:
        yield near, far


def argv(python: str) -> "list[str]":
    """Return the command that a connector runs."""
    return [python, "-S", "-c", first_stage(NONCE), "plasmid:test"]


def packed(loader: str, rest: bytes = b"") -> bytes:
    """Return a bundle with this loader."""
    return zlib.compress(len(loader).to_bytes(4, "big") + loader.encode() + rest)


def framed(config: bytes, bundle: bytes) -> bytes:
    """Return what the first stage reads."""
    return len(config).to_bytes(4, "big") + len(bundle).to_bytes(4, "big") + config + bundle


def test_the_text_is_short_and_any_shell_takes_it_between_single_quotes() -> None:
    text = first_stage(NONCE)
    assert len(text) < 500
    assert [c for c in "'!\\\n\r\t" if c in text] == []
    assert text.isascii()


def test_an_echo_of_the_text_is_not_taken_for_the_mark() -> None:
    assert "PLASMID 1 " + NONCE not in first_stage(NONCE)


def test_a_nonce_that_could_end_the_text_is_refused() -> None:
    with pytest.raises(ValueError) as caught:
        first_stage('a"b')
    assert str(caught.value) == "the nonce of a first stage must be letters and digits only; it is 'a\"b'"


# U2
def test_it_says_its_version_and_magic_and_leaves_what_follows_the_bundle(python: str) -> None:
    said = subprocess.run(
        [python, "-c", "import sys,importlib.util as u;print('%d.%d.%d'%sys.version_info[:3], u.MAGIC_NUMBER.hex())"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    loader = "print(len(c), len(b), s[-4:], sys.dont_write_bytecode, '' in sys.path, sys.argv[1:], os.read(0, 100))"
    bundle = packed(loader, b"rest")
    result = subprocess.run(
        argv(python), input=framed(b"config", bundle) + b"the link", capture_output=True, timeout=END_TIMEOUT_S
    )
    expected = f"PLASMID 1 {NONCE} {said}6 {len(bundle)} b'rest' 1 False ['plasmid:test'] b'the link'\n"
    assert (result.stdout.decode(), result.stderr, result.returncode) == (expected, b"", 0)


def test_a_non_blocking_stdin_and_bytes_that_come_singly_are_read_whole(
    python: str, sockets: "tuple[socket.socket, socket.socket]"
) -> None:
    near, far = sockets
    far.setblocking(False)
    bundle = packed("os.write(1, b'got %d' % len(c) + os.read(0, 100))")
    config = os.urandom(3 << 20)  # more than the link's buffers hold: every read of it is a short one
    with subprocess.Popen(argv(python), stdin=far.fileno(), stdout=far.fileno(), stderr=subprocess.PIPE) as process:
        far.close()
        mark = near.recv(1000)
        for byte in framed(config, bundle)[:64]:
            near.sendall(bytes([byte]))
        near.sendall(framed(config, bundle)[64:] + b" and the link")
        near.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: near.recv(1000), b""))
        _, errors = process.communicate(timeout=END_TIMEOUT_S)
    assert mark.startswith(b"PLASMID 1 ")
    assert (answer, errors, process.returncode) == (b"got 3145728 and the link", b"", 0)


def test_a_near_side_that_is_gone_before_the_bundle_is_the_end(python: str) -> None:
    for sent in (b"", b"\0\0", framed(b"config", packed("print('run')"))[:-1]):
        result = subprocess.run(argv(python), input=sent, capture_output=True, timeout=END_TIMEOUT_S)
        assert (result.stdout.count(b"\n"), b"run" in result.stdout, result.returncode) == (1, False, 1)


def test_modules_in_the_current_directory_are_not_imported_and_nothing_is_written(python: str, tmp_path: Path) -> None:
    for name in ("os", "io", "zlib", "encodings", "codecs"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a stranger ran')\n")
    before = sorted(tmp_path.iterdir())
    result = subprocess.run(
        argv(python),
        input=framed(b"", packed("import zlib, os; print(sorted(c.__class__.__name__ for c in [c]))")),
        cwd=tmp_path,
        capture_output=True,
        timeout=END_TIMEOUT_S,
    )
    assert (result.stdout.splitlines()[1:], result.stderr, result.returncode) == ([b"['bytes']"], b"", 0)
    assert sorted(tmp_path.iterdir()) == before


def test_a_python_that_is_too_old_says_which_it_is_and_ends() -> None:
    result = subprocess.run(argv(interpreter(TOO_OLD)), stdin=subprocess.DEVNULL, capture_output=True)
    words = result.stdout.decode().split(" ")
    assert (words[:3], words[3][:4], words[4:]) == (["PLASMID", "1", NONCE], "2.7.", ["0\n"])
    assert (result.stderr, result.returncode) == (b"", 0)
