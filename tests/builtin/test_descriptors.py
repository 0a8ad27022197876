"""A descriptor from a child to its parent, both played by this process."""

import errno
import os
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from plasmid.builtin import descriptors
from plasmid.builtin.descriptors import PIECE_SIZE, Inlet, copy, hand_over

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="such sockets are Linux's")

NAME_SIZE = 41
TOKEN_SIZE = 16


@pytest.fixture(autouse=True)
def no_descriptor_left() -> "Iterator[None]":
    before = len(os.listdir("/proc/self/fd"))
    yield
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.fixture
def fd(tmp_path: Path) -> "Iterator[int]":
    """Give a descriptor of a file that holds `content`."""
    (tmp_path / "file").write_bytes(b"content")
    fd = os.open(tmp_path / "file", os.O_RDWR)
    yield fd
    os.close(fd)


@pytest.fixture
def inlet(fd: int) -> "Iterator[Inlet]":
    inlet = Inlet(os.fstat(fd).st_dev)
    yield inlet
    inlet.close()


def send(offer: bytes, token: bytes, *fds: int) -> None:
    """Connect to where an offer points and send something."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(offer[:NAME_SIZE])
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack(f"{len(fds)}i", *fds))] if fds else []
        connection.sendmsg([token], rights)


def token_of(offer: bytes) -> bytes:
    return offer[NAME_SIZE : NAME_SIZE + TOKEN_SIZE]


def taken(inlet: Inlet) -> "bytes | None":
    """Return the content of what was handed over, None for nothing."""
    fd = inlet.take()
    if fd < 0:
        return None
    try:
        assert not os.get_inheritable(fd)
        return os.pread(fd, 100, 0)
    finally:
        os.close(fd)


def test_what_is_handed_over_is_taken_once(inlet: Inlet, fd: int) -> None:
    assert taken(inlet) is None
    assert hand_over(inlet.offer, fd)
    assert [taken(inlet), taken(inlet)] == [b"content", None]


def test_what_nobody_took_is_closed_with_the_inlet(fd: int) -> None:
    inlet = Inlet(os.fstat(fd).st_dev)
    assert hand_over(inlet.offer, fd)
    inlet.close()
    assert not hand_over(inlet.offer, fd)


# D12: whoever finds the name can't speak for the child
def test_without_the_token_nothing_is_taken(inlet: Inlet, fd: int, tmp_path: Path) -> None:
    other = os.open(tmp_path, os.O_RDONLY)
    send(inlet.offer, bytes(TOKEN_SIZE), other)
    send(inlet.offer, token_of(inlet.offer)[:-1], other)
    send(inlet.offer, b"", other)
    send(inlet.offer, token_of(inlet.offer))
    os.close(other)
    assert hand_over(inlet.offer, fd)
    assert [taken(inlet), taken(inlet)] == [b"content", None]


def test_of_several_descriptors_the_first_is_taken_and_the_others_are_closed(inlet: Inlet, fd: int) -> None:
    send(inlet.offer, token_of(inlet.offer), fd, fd, fd)
    assert [taken(inlet), taken(inlet)] == [b"content", None]


def test_another_user_is_not_listened_to_and_gets_nothing(
    inlet: Inlet, fd: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert hand_over(inlet.offer, fd)
    own = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: own + 1)
    assert taken(inlet) is None
    assert not hand_over(inlet.offer, fd)


def test_nothing_is_handed_over_for_another_file_system_or_an_offer_that_is_none(inlet: Inlet, fd: int) -> None:
    offer = inlet.offer
    assert not hand_over(offer[:-1] + bytes([offer[-1] ^ 1]), fd)
    assert not hand_over(offer[:-1], fd)
    assert not hand_over(b"", fd)
    assert not hand_over(b"\0nobody-there" + offer[13:], fd)
    assert taken(inlet) is None


def test_where_many_wait_nobody_is_waited_for(inlet: Inlet, fd: int) -> None:
    handed = 0
    while hand_over(inlet.offer, fd):
        handed += 1
        assert handed < 100
    assert [taken(inlet) for _ in range(handed + 1)] == [b"content"] * handed + [None]


class Counter:
    """Counts how often it was called."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


def refusing(code: int) -> "Callable[..., int]":
    """Return what stands for a system that refuses to copy."""

    def copy_file_range(*args: Any) -> int:
        raise OSError(code, os.strerror(code))

    return copy_file_range


@pytest.mark.parametrize("code", [None, errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_is_copied_piece_by_piece_by_whatever_the_system_has(
    tmp_path: Path, code: "int | None", monkeypatch: pytest.MonkeyPatch
) -> None:
    if code is not None:
        monkeypatch.setattr(os, "copy_file_range", refusing(code))
        monkeypatch.setattr(descriptors, "PIECE_SIZE", 1 << 16)
    data = os.urandom(100_000)
    (tmp_path / "from").write_bytes(data)
    with (tmp_path / "from").open("rb") as source, (tmp_path / "to").open("wb") as target:
        source.seek(7)  # whoever else has it may move that
        check = Counter()
        assert copy(source.fileno(), target.fileno(), len(data), check) == len(data)
        assert check.count == (1 if code is None else 2)
        assert (tmp_path / "to").read_bytes() == data
        assert copy(source.fileno(), target.fileno(), len(data) + 1, check) == len(data)


def test_an_error_of_the_disk_is_one_of_the_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "copy_file_range", refusing(errno.ENOSPC))
    with (tmp_path / "file").open("wb") as file, pytest.raises(OSError, match="No space left"):
        copy(file.fileno(), file.fileno(), 1, Counter())


def test_between_two_pieces_it_is_asked_whether_to_go_on(tmp_path: Path) -> None:
    class Ended(Exception):
        pass

    class Check(Counter):
        def __call__(self) -> None:
            super().__call__()
            if self.count == 3:
                raise Ended

    with (tmp_path / "from").open("wb+") as source, (tmp_path / "to").open("wb") as target:
        source.truncate(4 * PIECE_SIZE)
        with pytest.raises(Ended):
            copy(source.fileno(), target.fileno(), 4 * PIECE_SIZE, Check())
        assert os.fstat(target.fileno()).st_size == 2 * PIECE_SIZE
