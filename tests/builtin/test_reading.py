"""A file or folder as items, and that nothing is read of what isn't to be."""

import hashlib
import os
import socket
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plasmid.builtin.landing import Landing
from plasmid.builtin.reading import BATCH_COUNT, BATCH_SIZE, BLOCK_SIZE, DEPTH_MAX, SMALL_SIZE_MAX, items_of


@pytest.fixture(autouse=True)
def no_descriptor_left() -> "Iterator[None]":
    before = len(os.listdir("/proc/self/fd"))
    yield
    assert len(os.listdir("/proc/self/fd")) == before


def digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def check(data: bytes) -> bytes:
    return zlib.crc32(data).to_bytes(4, "big")


def items(path: Path, *args: Any) -> "Iterator[Any]":
    fd = os.open(path, os.O_RDONLY)
    try:
        yield from items_of(fd, *args)
    finally:
        os.close(fd)


def unpacked(record: "list[Any]", check_size: int = 4) -> "list[tuple[Any, ...]]":
    """Return (permissions, time, check, name, data) of each file of a record of packed ones."""
    assert record[0] == "files"
    found = []
    packed = record[1]
    while packed:
        name_size, data_size, mode, time = struct.unpack(">HIHq", packed[:16])
        sizes = check_size, name_size, data_size
        packed = packed[16:]
        parts = []
        for size in sizes:
            parts.append(packed[:size])
            packed = packed[size:]
        found.append((mode, time, *parts))
    return found


def pattern(size: int) -> bytes:
    return (b"0123456789abcdef" * (size // 16 + 1))[:size]


def file(path: Path, size: int) -> "tuple[bytes, os.stat_result]":
    """Write a file; return its content and status."""
    data = pattern(size)
    path.write_bytes(data)
    path.chmod(0o640)
    return data, path.stat()


def test_a_small_file_is_one_record(tmp_path: Path) -> None:
    for size in 0, 1, SMALL_SIZE_MAX:
        data, status = file(tmp_path / "f", size)
        found = list(items(tmp_path / "f"))
        assert found == [[["file", b"", 0o640, status.st_mtime_ns, data, check(data)]]]
        found = list(items(tmp_path / "f", True))
        assert found == [[["file", b"", 0o640, status.st_mtime_ns, data, digest(data)]]]


def test_a_larger_one_comes_in_blocks_between_its_beginning_and_its_check(tmp_path: Path) -> None:
    for size in SMALL_SIZE_MAX + 1, BLOCK_SIZE, 2 * BLOCK_SIZE + 1:
        data, status = file(tmp_path / "f", size)
        first, *blocks, last = items(tmp_path / "f")
        assert first == [["begin", b"", 0o640, status.st_mtime_ns, size, 0]]
        assert (b"".join(blocks), last) == (data, [["end", check(data)]])
        assert list(items(tmp_path / "f", True))[-1] == [["end", digest(data)]]
        assert max(map(len, blocks)) <= BLOCK_SIZE


# U8
def test_who_has_the_beginning_gets_the_rest_and_who_has_another_one_gets_all(tmp_path: Path) -> None:
    size = 2 * BLOCK_SIZE + 3
    data, status = file(tmp_path / "f", size)
    beginning = ["begin", b"", 0o640, status.st_mtime_ns, size]
    for start in 1, BLOCK_SIZE, size - 1, size:
        found = [item for item in items(tmp_path / "f", True, start, digest(data[:start])) if item]
        assert found[0] == [[*beginning, start]]
        assert (b"".join(found[1:-1]), found[-1]) == (data[start:], [["end", digest(data)]])
    for start, prefix in (1, b""), (BLOCK_SIZE, digest(b"other")), (size + 1, digest(data)), (-1, digest(b"")):
        found = [item for item in items(tmp_path / "f", True, start, prefix) if item]
        assert (found[0], b"".join(found[1:-1])) == ([[*beginning, 0]], data)
    # Without a digest of all of it the two can't be compared.
    assert next(items(tmp_path / "f", False, BLOCK_SIZE, digest(data[:BLOCK_SIZE]))) == [[*beginning, 0]]


def test_a_long_beginning_that_is_only_hashed_gives_signs_of_life(tmp_path: Path) -> None:
    size = 65 * BLOCK_SIZE
    with (tmp_path / "f").open("wb") as sparse:
        sparse.truncate(size)
    found = list(items(tmp_path / "f", True, size, digest(bytes(size))))
    assert found[:2] == [[], []]
    assert [item[0][0] for item in found if item] == ["begin", "end"]


def test_many_small_files_share_an_item_up_to_a_size_and_a_number(tmp_path: Path) -> None:
    for number in range(BATCH_COUNT):
        (tmp_path / f"{number:04}").write_bytes(b"")
    first, last = items(tmp_path)
    assert [record[0] for record in first + last] == ["dir", "files", "files", "up"]
    assert [len(unpacked(record)) for record in (first[1], last[0])] == [BATCH_COUNT - 1, 1]
    (tmp_path / "large").mkdir()
    for number in range(9):
        (tmp_path / "large" / str(number)).write_bytes(pattern(BATCH_SIZE // 4))
    found = [unpacked(record) for item in items(tmp_path / "large") for record in item if record[0] == "files"]
    assert [sum(len(data) for *_, data in each) for each in found] == [BATCH_SIZE, BATCH_SIZE, BATCH_SIZE // 4]


def test_packed_files_have_their_facts_their_check_and_their_data(tmp_path: Path) -> None:
    _, status = file(tmp_path / "a", 0)
    data, _ = file(tmp_path / "b", 5)
    os.utime(tmp_path / "b", ns=(0, -5))
    (only,) = items(tmp_path)
    first = (0o640, status.st_mtime_ns, check(b""), b"a", b"")
    assert unpacked(only[1]) == [first, (0o640, -5, check(data), b"b", data)]
    (only,) = items(tmp_path, True)
    assert unpacked(only[1], 32)[1] == (0o640, -5, digest(data), b"b", data)


# U8
def test_a_folder_arrives_as_it_was_read_and_only_its_links_are_missing(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "a" / "empty").mkdir(parents=True)
    (source / "a" / "link").symlink_to("/etc/passwd")
    os.mkfifo(source / "fifo")
    file(source / "large", BLOCK_SIZE + 1)
    file(source / "a" / "small", 7)
    (source / "a").chmod(0o751)
    os.utime(source / "a", ns=(1, 1_500_000_000_000_000_001))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(source / "socket"))
        landing = Landing("fetch", os.fsencode(tmp_path / "copy"), skips=True)
        for item in items(source):
            landing.take(item)
        landing.finish()
        landing.close()
    assert sorted(landing.skipped) == ["a/link", "fifo", "socket"]
    assert landing.count == 8
    for name in "a", "a/small", "a/empty", "large":
        before, after = (source / name).stat(), (tmp_path / "copy" / name).stat()
        assert (after.st_mode, after.st_mtime_ns) == (before.st_mode, before.st_mtime_ns)
    for name in "a/small", "large":
        assert (tmp_path / "copy" / name).read_bytes() == (source / name).read_bytes()


# U8, D10
@pytest.mark.parametrize("change", ["written", "longer", "shorter", "its time"])
def test_a_file_that_is_changed_while_it_is_read_is_a_failure(tmp_path: Path, change: str) -> None:
    path = tmp_path / "f"
    file(path, 3 * BLOCK_SIZE)
    os.utime(path, ns=(0, 0))
    reading = items(path)
    assert next(reading)[0][0] == "begin"
    assert len(next(reading)) == BLOCK_SIZE
    with path.open("r+b") as other:
        if change == "written":
            other.write(b"x")
        elif change == "its time":
            os.utime(path, ns=(1, 1))
        else:
            other.truncate(2 * BLOCK_SIZE if change == "shorter" else 4 * BLOCK_SIZE)
    *_, last = reading
    assert last[-1] == ["fail", "it was changed while it was read"]


def test_one_in_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    file(tmp_path / "sub" / "f\n", BLOCK_SIZE)
    reading = items(tmp_path)
    assert [record[0] for record in next(reading)] == ["dir", "dir", "begin"]
    (tmp_path / "sub" / "f\n").write_bytes(b"")
    assert [item[-1] for item in reading if isinstance(item, list)][-1] == [
        "fail",
        "sub/f\\n was changed while it was read",
    ]


def test_a_file_that_says_it_is_empty_and_is_not_is_a_failure() -> None:
    # Those of /proc are such.
    assert list(items(Path("/proc/version"))) == [[["fail", "it was changed while it was read"]]]


def test_what_vanishes_from_a_folder_is_named(tmp_path: Path) -> None:
    for number in range(BATCH_COUNT + 1):
        (tmp_path / f"{number:04}").write_bytes(b"")
    reading = items(tmp_path)
    assert len(unpacked(next(reading)[1])) == BATCH_COUNT - 1
    (tmp_path / f"{BATCH_COUNT:04}").unlink()
    (last,) = reading
    assert last[1:] == [["fail", f"{BATCH_COUNT:04} was there and is gone"]]


def test_folders_are_read_down_to_a_limit(tmp_path: Path) -> None:
    path = tmp_path
    for _ in range(DEPTH_MAX):
        path = path / "d"
        path.mkdir()
    with pytest.raises(OSError, match="folders in it are nested more than 100 deep"):
        list(items(tmp_path))
    assert [record[0] for item in items(tmp_path / "d") for record in item] == ["dir"] * 100 + ["up"] * 100


def test_a_reader_that_is_stopped_anywhere_leaves_nothing_open(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    for name in "a/b/f", "a/g":
        file(tmp_path / name, 2 * BLOCK_SIZE)
    count = len(list(items(tmp_path)))
    for taken in range(count):
        before = len(os.listdir("/proc/self/fd"))
        reading = items(tmp_path)
        for _ in range(taken):
            next(reading)
        reading.close()  # type: ignore[attr-defined]
        assert len(os.listdir("/proc/self/fd")) == before
