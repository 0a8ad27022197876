"""A file, or a folder with all that is in it, as the items in which it travels.

    item = b"..."                     the next bytes of the file that was begun
         | [record, ...]              as many as fit; none at all is a sign of life
    record = ["dir", name, mode, mtime_ns]                        a folder begins; what follows is in it
           | ["up"]                                               ... until here
           | ["file", name, mode, mtime_ns, data, check]          a small file, whole
           | ["files", packed]                                    small files of one folder, see PACKED
           | ["begin", name, mode, mtime_ns, size, start]         a larger one; its bytes from `start` on follow,
           | ["end", check]                                       ... and this
           | ["handed"]                                           ... or this, if its descriptor was handed over
           | ["skip", name, kind]                                 what is neither, and isn't sent
           | ["fail", text]                                       the reader gives up; nothing follows

What is sent itself has the empty name. check: of the whole file, its CRC-32, or its SHA-256 where that was asked for.
Many small files share an item, since each item costs a frame and two wake-ups; bytes of a large one have an item of
their own, and are never copied on the way. A file that was changed while it was read is a failure and no mix of the
two.
"""

import hashlib
import os
import stat
import zlib
from struct import Struct

from plasmid.builtin import beneath

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterator, List, Tuple, Union

    Record = List[Any]
    Item = Union[bytes, List[Record]]
    Check = Union["hashlib._Hash", "Checksum"]

# Above the credit that a body has unasked: so one for which there is no room waits, and is not refused.
BLOCK_SIZE = 1 << 19
SMALL_SIZE_MAX = 1 << 16
# What stands before each of packed files: the sizes of its name and its data, permissions, time in ns. The check, the
# name and the data follow. As values of their own they would take longer than all else that's done with such a file.
PACKED = Struct(">HIHq")
_TIME_MAX = 1 << 62
# What small files together may be until they're sent.
BATCH_SIZE = 1 << 18
BATCH_COUNT = 256
# One descriptor is open for each level, at both ends.
DEPTH_MAX = 100
# Between two signs of life while the beginning of a file is hashed that needn't be sent.
HASHED_IN_SILENCE = 32


class Checksum:
    """A CRC-32, to be used as what hashlib makes."""

    __slots__ = ("_value",)

    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes) -> None:
        """Take further bytes into account."""
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        """Return the checksum of all of them."""
        return self._value.to_bytes(4, "big")


def check_of(data: "Union[bytes, memoryview]", by_digest: bool) -> bytes:
    """Return the check of a file that is all there."""
    return hashlib.sha256(data).digest() if by_digest else zlib.crc32(data).to_bytes(4, "big")


def new_check(by_digest: bool) -> "Check":
    """Return what makes the check of a file: see the head of this file."""
    return hashlib.sha256() if by_digest else Checksum()


class Changed(Exception):
    """What was being read has changed meanwhile."""


class Level:
    """A folder that is being read: its descriptor, and the names that are still to come, the last one first."""

    __slots__ = "fd", "names", "path"

    def __init__(self, fd: int, path: bytes) -> None:
        self.fd = fd
        self.path = path
        self.names = sorted((os.fsencode(name) for name in os.listdir(fd)), reverse=True)


def items_of(fd: int, by_digest: bool = False, start: int = 0, prefix: bytes = b"") -> "Iterator[Item]":
    """Give the items of the file or folder that is open there, to be closed by the caller.

    by_digest: the check of each file is its SHA-256. start, prefix: how much of the file its reader has already, and
    the SHA-256 of that; only by_digest. If it isn't so, all of it comes.
    """
    reading = Reading(by_digest)
    try:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            yield from reading.folder(os.dup(fd))
        else:
            yield from reading.file(fd, b"", start, prefix)
    except Changed as change:
        yield reading.taken() + [["fail", str(change)]]
        return
    finally:
        reading.close()
    yield reading.taken()


def handed(fd: int) -> "Item":
    """Return what is sent of a single file whose content goes by its descriptor."""
    status = os.fstat(fd)
    return [["begin", b"", stat.S_IMODE(status.st_mode), status.st_mtime_ns, status.st_size, 0], ["handed"]]


class Reading:
    """Reads a tree without recursion, so that it can be stopped between any two items."""

    def __init__(self, by_digest: bool) -> None:
        self._by_digest = by_digest
        self._levels = []  # type: List[Level]
        self._batch = []  # type: List[Record]
        self._batch_size = self._batch_count = 0
        self._packed = []  # type: List[bytes]  # small files, to be added to the batch

    def close(self) -> None:
        """Close what is open."""
        while self._levels:
            os.close(self._levels.pop().fd)

    def taken(self) -> "List[Record]":
        """Return what has been gathered, and begin anew."""
        self._unite()
        batch, self._batch = self._batch, []
        self._batch_size = self._batch_count = 0
        return batch

    def _add(self, record: "Record", size: int = 0) -> bool:
        """Gather a record; return whether it's time to send."""
        self._unite()
        self._batch.append(record)
        return self._count(size)

    def _count(self, size: int) -> bool:
        self._batch_size += size
        self._batch_count += 1
        return self._batch_size >= BATCH_SIZE or self._batch_count >= BATCH_COUNT

    def _unite(self) -> None:
        if self._packed:
            self._batch.append(["files", b"".join(self._packed)])
            self._packed = []

    def _add_small(self, name: bytes, status: "os.stat_result", data: bytes) -> bool:
        """Gather a small file; return whether it's time to send."""
        check = check_of(data, self._by_digest)
        mode = stat.S_IMODE(status.st_mode)
        time = status.st_mtime_ns
        if not self._levels or not -_TIME_MAX < time < _TIME_MAX:
            return self._add(["file", name, mode, time, data, check], len(data))
        self._packed += PACKED.pack(len(name), len(data), mode, time), check, name, data
        return self._count(len(data))

    def folder(self, fd: int) -> "Iterator[Item]":
        """Give the items of a folder."""
        self._enter(fd, b"", b"")
        while self._levels:
            level = self._levels[-1]
            if not level.names:
                os.close(self._levels.pop().fd)
                if self._add(["up"]):
                    yield self.taken()
                continue
            name = level.names.pop()
            try:
                fd, status = beneath.open_member(level.fd, name)
            except FileNotFoundError:
                raise Changed("%s was there and is gone" % self._path_of(name)) from None
            except OSError:
                kind = _kind_beneath(level.fd, name)
                if not kind:
                    raise
                full = self._add(["skip", name, kind])
            else:
                if stat.S_ISDIR(status.st_mode):
                    full = self._enter(fd, name, level.path + name + b"/")
                else:
                    try:
                        if status.st_size <= SMALL_SIZE_MAX:
                            full = self._read_small(fd, name, status)
                        else:
                            yield from self.file(fd, name)
                            full = self._batch_size >= BATCH_SIZE
                    finally:
                        os.close(fd)
            if full:
                yield self.taken()

    def _enter(self, fd: int, name: bytes, path: bytes) -> bool:
        try:
            if len(self._levels) >= DEPTH_MAX:
                raise OSError("%s: folders in it are nested more than %d deep" % (beneath.text_of(path), DEPTH_MAX))
            status = os.fstat(fd)
            level = Level(fd, path)
        except BaseException:
            os.close(fd)
            raise
        self._levels.append(level)
        return self._add(["dir", name, stat.S_IMODE(status.st_mode), status.st_mtime_ns])

    def file(self, fd: int, name: bytes, start: int = 0, prefix: bytes = b"") -> "Iterator[Item]":
        """Give the items of one file, but for what is gathered."""
        before = os.fstat(fd)
        size = before.st_size
        mode = stat.S_IMODE(before.st_mode)
        if size <= SMALL_SIZE_MAX and not start:
            if self._read_small(fd, name, before):
                yield self.taken()
            return
        done = new_check(self._by_digest)
        if 0 < start <= size and self._by_digest:
            for count in range(start, 0, -BLOCK_SIZE):
                done.update(read(fd, min(BLOCK_SIZE, count)))
                if count // BLOCK_SIZE % HASHED_IN_SILENCE == 0:
                    yield []
            if done.digest() != prefix:
                start, done = 0, new_check(self._by_digest)
                os.lseek(fd, 0, os.SEEK_SET)
        else:
            start = 0
        yield self.taken() + [["begin", name, mode, before.st_mtime_ns, size, start]]
        left = size - start
        while left:
            data = read(fd, min(BLOCK_SIZE, left))
            if not data:
                break
            left -= len(data)
            yield data
            done.update(data)  # after it was sent: the far side can work on it meanwhile
        self._check(fd, name, before, size - left + len(os.read(fd, 1)))
        self._add(["end", done.digest()])

    def _read_small(self, fd: int, name: bytes, status: "os.stat_result") -> bool:
        """Gather a small file; return whether it's time to send."""
        size = status.st_size
        data = os.read(fd, size + 1)  # one more, to see that it ends there; so does the status that comes next
        if len(data) != size:
            data += read(fd, size + 1 - len(data))
        self._check(fd, name, status, len(data))
        return self._add_small(name, status, data)

    def _check(self, fd: int, name: bytes, before: "os.stat_result", size: int) -> None:
        """Raise Changed unless the file is as it was before, and was of this size."""
        if size != before.st_size or stamp(os.fstat(fd)) != stamp(before):
            raise Changed("%s was changed while it was read" % (self._path_of(name) or "it"))

    def _path_of(self, name: bytes) -> str:
        path = self._levels[-1].path if self._levels else b""
        return beneath.text_of(path + name)


def stamp(status: "os.stat_result") -> "Tuple[int, int, int]":
    """Return what changes when a file's content does."""
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def read(fd: int, size: int) -> bytes:
    """Return so many bytes, fewer only at the end of the file."""
    data = os.read(fd, size)
    if len(data) == size or not data:
        return data
    parts = [data]
    size -= len(data)
    while size:
        data = os.read(fd, size)
        if not data:
            break
        parts.append(data)
        size -= len(data)
    return b"".join(parts)


def _kind_beneath(folder: int, name: bytes) -> str:
    """Return what kind of thing a name stands for that is neither a file nor a folder; "" if it is one of these."""
    mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
    return "" if stat.S_ISREG(mode) or stat.S_ISDIR(mode) else beneath.kind_of(mode)
