"""What is opened beneath a folder, and what isn't."""

import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from plasmid.builtin.beneath import NAME_SIZE_MAX, PATH_SIZE_MAX, explained, open_any, open_beneath, split, text_of


@pytest.fixture
def folder(tmp_path: Path) -> "Iterator[int]":
    """Give the descriptor of a folder `served`, beside which there is a secret."""
    (tmp_path / "secret").write_text("secret")
    served = tmp_path / "served"
    (served / "a" / "b").mkdir(parents=True)
    (served / "a" / "b" / "file").write_text("content")
    fd = os.open(served, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def content_of(fd: int) -> bytes:
    try:
        return os.read(fd, 1000)
    finally:
        os.close(fd)


@pytest.mark.parametrize(
    ("path", "names"),
    [
        (b"/", []),
        (b"/etc", [b"etc"]),
        (b"/etc/host name\n", [b"etc", b"host name\n"]),
        (b"/\xff/...", [b"\xff", b"..."]),
        (b"/" + b"x" * NAME_SIZE_MAX, [b"x" * NAME_SIZE_MAX]),
    ],
)
def test_an_absolute_path_is_cut_into_names(path: bytes, names: "list[bytes]") -> None:
    assert split(path) == names


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (b"", "it isn't absolute"),
        (b"etc/passwd", "it isn't absolute"),
        (b"//etc", "it has an empty part"),
        (b"/etc/", "it has an empty part"),
        (b"/srv/../etc", "it holds '..', which isn't a name"),
        (b"/srv/./x", "it holds '.', which isn't a name"),
        (b"/srv/a\0b", "a name in it holds a NUL byte"),
        (b"/" + b"x" * (NAME_SIZE_MAX + 1), "a name in it is longer than 255 bytes"),
        (b"/x" * (PATH_SIZE_MAX // 2) + b"/", "it is longer than 4096 bytes"),
    ],
)
def test_any_other_path_is_refused_with_the_reason(path: bytes, found: str) -> None:
    with pytest.raises(ValueError) as caught:
        split(path)
    assert str(caught.value) == found


def test_a_file_below_is_opened_and_so_is_the_folder_itself(folder: int) -> None:
    assert content_of(open_beneath(folder, [b"a", b"b", b"file"])) == b"content"
    itself = open_beneath(folder, [])
    assert os.path.sameopenfile(itself, folder)
    os.close(itself)


def test_a_folder_on_the_way_need_not_be_readable(folder: int, tmp_path: Path) -> None:
    (tmp_path / "served" / "a").chmod(0o100)
    assert content_of(open_beneath(folder, [b"a", b"b", b"file"])) == b"content"
    (tmp_path / "served" / "a").chmod(0o700)


# U8, D12
def test_no_link_is_followed_wherever_it_stands(folder: int, tmp_path: Path) -> None:
    served = tmp_path / "served"
    (served / "link").symlink_to(tmp_path / "secret")
    (served / "a" / "up").symlink_to("..")
    (served / "out").symlink_to(tmp_path)
    before = os.listdir("/proc/self/fd")
    for names in [b"link"], [b"a", b"up", b"link"], [b"a", b"up"], [b"out", b"secret"]:
        with pytest.raises(OSError) as caught:
            open_beneath(folder, names)
        path = b"/served/" + b"/".join(names)
        told = explained(caught.value, path)
        assert (type(told), told.errno, told.filename) == (PermissionError, errno.EACCES, path.decode())
        assert told.strerror == "a part of it isn't a folder, or is a symbolic link"
    assert len(os.listdir("/proc/self/fd")) == len(before)


# U8: neither hangs, and neither is read
def test_what_is_neither_a_file_nor_a_folder_is_refused_at_once(folder: int, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "served" / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "served" / "socket"))
        with pytest.raises(PermissionError) as caught:
            open_beneath(folder, [b"fifo"])
        assert caught.value.strerror == "it is a FIFO, neither a file nor a folder"
        with pytest.raises(OSError) as no_file:
            open_beneath(folder, [b"socket"])
        assert explained(no_file.value, b"/s").strerror == "it is a socket or a device"
    with pytest.raises(PermissionError) as caught:
        open_any(b"/dev/null")
    assert caught.value.strerror == "it is a device, neither a file nor a folder"


def test_what_is_not_there_is_said_with_the_whole_path(folder: int) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        open_beneath(folder, [b"a", b"none"])
    told = explained(caught.value, b"/served/a/none")
    assert str(told) == "[Errno 2] No such file or directory: '/served/a/none'"


def test_paths_are_shown_without_anything_that_drives_a_terminal() -> None:
    assert text_of(b"/a\x1b[2J\n\xff\xc3\xa4") == "/a\\x1b[2J\\n\\xff\xe4"
