"""What arrives, item by item: checked, written, verified, and then put into its place.

    state     "file"    "begin"   bytes     "end"       "dir"     "up"              [] or "skip"
    NOTHING   WHOLE     FILE      refused   refused     FOLDER    refused           stays; no skip
    FOLDER    FOLDER    FILE      refused   refused     FOLDER    FOLDER or WHOLE   stays
    FILE      refused   refused   FILE      as before   refused   refused           stays; no skip
    WHOLE     refused   refused   refused   refused     refused   refused           stays; no skip

"files" come in a FOLDER alone, which stays. "handed" is as "end", for a single file of which no bytes came, and only
after take_handed().

take() is fed the items of reading.py, and they may come from anybody: a name is one name, nothing is opened through a
link, no more is written than was announced, and no more announced than size_max and count_max. place.py keeps all of it
out of sight until it is whole.
"""

import hashlib
import os

from plasmid.builtin import beneath, place, reading
from plasmid.core.errors import PlasmidError
from plasmid.core.remote import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, NoReturn, Optional, Tuple, Union

    from plasmid.builtin.reading import Check, Item, Record

    Buffer = Union[bytes, memoryview]

# What may arrive at most, unless the caller says otherwise.
SIZE_MAX = 16 << 30
COUNT_MAX = 100000
DEPTH_MAX = 100
SKIPPED_MAX = 1000

_NUMBER_MAX = 1 << 62
_CUT = "a file among others is longer than what came of it"
_KEPT_BLOCK_SIZE = 1 << 20
# After so many bytes of a file, the system is told to write them to the disk.
_FLUSH_SIZE = 8 << 20


class TransferError(PlasmidError):
    """A file or folder didn't arrive whole. Its destination is as it was.

    what: what was to be done, `fetch '/var/log/x' from web1 (/1)`. found: why it wasn't.
    """

    def __init__(self, what: str, found: str) -> None:
        self.what = what
        self.found = found
        super().__init__(what, found)

    def __str__(self) -> str:
        return "%s: %s. The destination is as it was" % (self.what, self.found)


class State:
    """How far a Landing is."""

    NOTHING = "nothing"  # nothing has come
    FOLDER = "folder"  # within a folder, between two of its members
    FILE = "file"  # the bytes of a file are coming
    WHOLE = "whole"  # all has come, and was as announced


class Landing:
    """Takes one file or folder in and puts it into its place. One thread at a time; close() it in any case.

    destination: what it will be called. A file there is replaced; a folder must not be there, unless it's empty.
    resume: keep what has come of a file for the next try, and go on from where the last one stopped; `start` and
    `prefix` say how much there is and its SHA-256. skips: let links and the like be left out of a folder. by_digest:
    the check of each file is its SHA-256, as it is with `resume`. flush: have a single file on the disk before it is
    in its place.
    """

    def __init__(
        self,
        what: str,
        destination: bytes,
        size_max: int = SIZE_MAX,
        count_max: int = COUNT_MAX,
        resume: bool = False,
        skips: bool = False,
        by_digest: bool = False,
        flush: bool = False,
    ) -> None:
        self.what = what
        self.state = State.NOTHING
        self.start = 0
        self.prefix = b""
        self.size = 0
        self.count = 0
        self.by_digest = by_digest or resume
        self.digest = b""  # of a single file, if its check is one
        self.skipped = []  # type: List[str]
        self._size_max = size_max
        self._count_max = count_max
        self._skips = skips
        self._flush = flush
        self._levels = []  # type: List[Tuple[int, Record]]
        self._fd = -1  # of the file that is coming
        self._size = self._mtime_ns = self._left = 0  # what was announced of it, and how much of it hasn't come
        self._flushed = 0
        self._single = None  # type: Optional[Tuple[int, int]]  # if no folder comes: permissions and time
        self._kept = hashlib.sha256()
        self._done = self._kept  # type: Check
        self._resumed_at = 0
        self._take_content = None  # type: Optional[Callable[[int, int], str]]
        self._place = place.Place(what, destination)
        if resume:
            try:
                self._look_at_kept()
            except BaseException:
                self._place.close()
                raise

    def _look_at_kept(self) -> None:
        found = self._place.open_kept()
        if found:
            self._refuse(found)
        while True:
            data = os.read(self._place.fd, _KEPT_BLOCK_SIZE)
            if not data:
                break
            self._kept.update(data)
            self.start += len(data)
        self.prefix = self._kept.digest()

    def take(self, item: "Item") -> None:
        """Take the next item. Raises TransferError if it isn't one, OSError if it can't be written."""
        if type(item) is bytes:
            self._take_bytes(item)
            return
        if type(item) is not list:
            self._refuse("an item of the type %s came" % type(item).__name__)
        for record in item:
            if not _is_record(record):
                self._refuse("what came isn't a file, a folder or a part of one")
            _RECORDS[record[0]][1](self, record)

    @property
    def device(self) -> int:
        """The number of the file system that it comes to."""
        return self._place.device

    def take_handed(self, take_content: "Callable[[int, int], str]") -> None:
        """Let a single file's content come by a descriptor, see descriptors.py.

        take_content: called with the file's own descriptor and its size; has it filled by then, or says why it isn't.
        """
        self._take_content = take_content

    def open_file(self) -> int:
        """Return the descriptor of the single file that is to come."""
        self._place.open_file()
        return self._place.fd

    @property
    def is_whole(self) -> bool:
        """Whether all has come."""
        return self.state is State.WHOLE

    def finish(self) -> None:
        """Put what came into its place."""
        if not self.is_whole:
            self._refuse("it ended before all had come")
        if self._single is not None:
            self._place.put_file(*self._single, flush=self._flush)
        else:
            self._place.put_folder()

    def facts(self) -> "List[Any]":
        """Return [bytes, members, digest, what was left out, bytes that were here already]."""
        return [self.size, self.count, self.digest, self.skipped, self._resumed_at]

    def close(self) -> None:
        """Take away what isn't in its place, and close what is open."""
        if self._levels and self._fd >= 0:
            os.close(self._fd)
        while self._levels:
            os.close(self._levels.pop()[0])
        self._place.close()

    # -- checks

    def _refuse(self, found: str) -> "NoReturn":
        raise TransferError(self.what, found)

    def _refuse_content(self) -> "NoReturn":
        kind = "digest" if self.by_digest else "checksum"
        self._refuse("what arrived isn't what was sent: its %s differs" % kind)

    def _expect(self, *states: str) -> None:
        if self.state not in states:
            self._refuse("its parts came in a wrong order")

    def _enter(self, name: bytes, size: int) -> None:
        """Take a member into account that was announced to have this name and size."""
        if self._levels:
            found = beneath.objection_to_name(name)
            if found:
                self._refuse("a member has an impossible name: %s" % found)
        elif name:
            self._refuse("what was asked for has no name of its own, but %s came" % beneath.text_of(name[:300]))
        self.count += 1
        self.size += size
        if self.count > self._count_max:
            self._refuse("it has more than %d files and folders; count_max= allows more" % self._count_max)
        if size < 0 or self.size > self._size_max:
            self._refuse(
                "it has %d bytes or more, and %d are allowed; size_max= allows more" % (self.size, self._size_max)
            )

    # -- one for each kind of record

    def _take_dir(self, record: "Record") -> None:
        self._expect(State.NOTHING, State.FOLDER)
        self._enter(record[1], 0)
        if len(self._levels) >= DEPTH_MAX:
            self._refuse("folders are nested more than %d deep" % DEPTH_MAX)
        if self._levels:
            fd = place.make_folder(self._levels[-1][0], record[1])
        elif self._place.is_kept:
            self._refuse("it is a folder; resume= is for files")
        else:
            fd = self._place.open_folder()
        self._levels.append((fd, record))
        self.state = State.FOLDER

    def _take_up(self, record: "Record") -> None:
        self._expect(State.FOLDER)
        fd, (_, _, mode, mtime_ns) = self._levels.pop()
        try:
            place.finish(fd, mode, mtime_ns)
        finally:
            os.close(fd)
        if not self._levels:
            self.state = State.WHOLE

    def _take_file(self, record: "Record") -> None:
        _, name, mode, mtime_ns, data, check = record
        if self._levels:
            self._expect(State.FOLDER)
            self._take_member(name, mode, mtime_ns, data, check)
            return
        self._take_begin(["begin", name, mode, mtime_ns, len(data), 0])
        self._take_bytes(data)
        self._take_end(["end", check])

    def _take_files(self, record: "Record") -> None:
        self._expect(State.FOLDER)
        packed = memoryview(record[1])
        check_size = 32 if self.by_digest else 4
        at = 0
        while at < len(packed):
            name_at = at + reading.PACKED.size + check_size
            if name_at > len(packed):
                self._refuse(_CUT)
            name_size, data_size, mode, mtime_ns = reading.PACKED.unpack_from(packed, at)
            data_at = name_at + name_size
            at = data_at + data_size
            if at > len(packed):
                self._refuse(_CUT)
            check = bytes(packed[name_at - check_size : name_at])
            self._take_member(bytes(packed[name_at:data_at]), mode, mtime_ns, packed[data_at:at], check)

    def _take_member(self, name: bytes, mode: int, mtime_ns: int, data: "Buffer", check: bytes) -> None:
        """Take a file of a folder that came whole."""
        self._enter(name, len(data))
        if reading.check_of(data, self.by_digest) != check:
            self._refuse_content()
        fd = place.make_file(self._levels[-1][0], name, mode)
        try:
            place.write(fd, data)
            os.utime(fd, ns=(mtime_ns, mtime_ns))
        finally:
            os.close(fd)

    def _take_begin(self, record: "Record") -> None:
        self._expect(State.NOTHING, State.FOLDER)
        _, name, mode, self._mtime_ns, size, start = record
        self._enter(name, size)
        if start and (start != self.start or start > size):
            self._refuse("it goes on at byte %d of %d, but %d are here" % (start, size, self.start))
        self._done = self._kept if start else reading.new_check(self.by_digest)
        self._resumed_at = start
        if self._levels:
            self._fd = place.make_file(self._levels[-1][0], name, mode)
        else:
            if self._place.is_kept:
                os.lseek(self._place.fd, start, os.SEEK_SET)
                os.ftruncate(self._place.fd, start)
            else:
                self._place.open_file()
            self._fd = self._place.fd
            self._single = mode, self._mtime_ns
        self._size = size
        self._left = size - start
        self._flushed = start
        self.state = State.FILE

    def _take_bytes(self, data: bytes) -> None:
        self._expect(State.FILE)
        self._left -= len(data)
        if self._left < 0:
            self._refuse("more came of a file than the %d bytes that were announced" % self._size)
        self._done.update(data)
        place.write(self._fd, data)
        come = self._size - self._left
        if self._flush and come - self._flushed >= _FLUSH_SIZE and not self._levels:
            place.start_flush(self._fd, self._flushed, come - self._flushed)
            self._flushed = come

    def _take_end(self, record: "Record") -> None:
        self._expect(State.FILE)
        if self._left:
            self._refuse("%d bytes of a file are missing" % self._left)
        if self._done.digest() != record[1]:
            self._place.forget()
            self._refuse_content()
        if self._levels:
            os.utime(self._fd, ns=(self._mtime_ns, self._mtime_ns))
            os.close(self._fd)
            self.state = State.FOLDER
        else:
            self.digest = record[1] if self.by_digest else b""
            self.state = State.WHOLE
        self._fd = -1

    def _take_handed(self, record: "Record") -> None:
        self._expect(State.FILE)
        if self._take_content is None or self._levels or self._left != self._size:
            self._refuse("its content was handed over where none was asked for")
        found = self._take_content(self._fd, self._size)
        if found:
            self._refuse(found)
        self._left = 0
        self._fd = -1
        self.state = State.WHOLE

    def _take_skip(self, record: "Record") -> None:
        self._expect(State.FOLDER)
        _, name, kind = record
        self._enter(name, 0)
        path = beneath.text_of(b"/".join([*(level[1][1] for level in self._levels[1:]), name]))
        if not self._skips:
            self._refuse("%s in it is %s; skip_special=True leaves such things out" % (path, shown(kind[:100])))
        if len(self.skipped) < SKIPPED_MAX:
            self.skipped.append(path)

    def _take_fail(self, record: "Record") -> None:
        self._refuse(shown(record[1][:1000]))


# By the first part of a record: the types of the others, and who takes it.
_RECORDS = {
    "dir": ((bytes, int, int), Landing._take_dir),
    "up": ((), Landing._take_up),
    "file": ((bytes, int, int, bytes, bytes), Landing._take_file),
    "files": ((bytes,), Landing._take_files),
    "begin": ((bytes, int, int, int, int), Landing._take_begin),
    "end": ((bytes,), Landing._take_end),
    "handed": ((), Landing._take_handed),
    "skip": ((bytes, str), Landing._take_skip),
    "fail": ((str,), Landing._take_fail),
}  # type: Dict[str, Tuple[Tuple[type, ...], Callable[[Landing, Record], None]]]


def _is_record(record: "Any") -> bool:
    if type(record) is not list or not record or type(record[0]) is not str or record[0] not in _RECORDS:
        return False
    numbers = [part for part in record if type(part) is int]
    types = tuple(type(part) for part in record[1:])
    return types == _RECORDS[record[0]][0] and all(-_NUMBER_MAX < number < _NUMBER_MAX for number in numbers)
