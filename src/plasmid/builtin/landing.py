"""Where a file or folder arrives: hidden until it is whole and verified, then in its place at once, or gone.

    state     "file"    "begin"   bytes     "end"       "dir"     "up"              [] or "skip"
    NOTHING   WHOLE     FILE      refused   refused     FOLDER    refused           stays
    FOLDER    FOLDER    FILE      refused   refused     FOLDER    FOLDER or WHOLE   stays
    FILE      refused   refused   FILE      as before   refused   refused           stays; no skip
    WHOLE     refused   refused   refused   refused     refused   refused           stays; no skip

take() is fed the items of reading.py, and they may come from anybody: a name is one name, nothing is opened through a
link, no more is written than was announced, and no more announced than size_max and count_max. What arrives stands in
a file without a name, where the system has such, or below a name that nobody can guess, for nobody else to open; it is
put into its place by a rename, after its digest was compared. With `resume` it has a name that can be found again, and
stays if the rest didn't come.
"""

import errno
import hashlib
import os
import stat
from binascii import hexlify

from plasmid.builtin import beneath
from plasmid.core.errors import PlasmidError
from plasmid.core.remote import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, NoReturn, Tuple, Type

    from plasmid.builtin.reading import Item, Record

# What may arrive at most, unless the caller says otherwise.
SIZE_MAX = 16 << 30
COUNT_MAX = 100000
DEPTH_MAX = 100
SKIPPED_MAX = 1000

_CREATE = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
_FOLDER_READ = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_NUMBER_MAX = 1 << 62


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
    resume: keep what has come of a file for the next try, and go on from where the last one stopped. Then `start`
    and `prefix` say how much there is and its digest. skips: let links and the like be left out of a folder.
    """

    def __init__(
        self,
        what: str,
        destination: bytes,
        size_max: int = SIZE_MAX,
        count_max: int = COUNT_MAX,
        resume: bool = False,
        skips: bool = False,
    ) -> None:
        self.what = what
        self.state = State.NOTHING
        self.start = 0
        self.prefix = b""
        self.size = 0
        self.count = 0
        self.digest = b""  # of a single file
        self.skipped = []  # type: List[str]
        self._size_max = size_max
        self._count_max = count_max
        self._skips = skips
        self._levels = []  # type: List[Tuple[int, Record]]
        self._temporary = b""  # the name that has to go if this fails
        self._file = -1
        self._record = []  # type: Record  # of the file that is coming
        self._done = hashlib.sha256()
        self._left = 0
        self._partial = -1
        self._so_far = self._done
        self._went_on_at = 0
        parent, self._name = os.path.split(os.path.abspath(destination))
        self._folder = os.open(parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            if destination.endswith(b"/") or not self._name:
                raise IsADirectoryError(errno.EISDIR, "the destination must be named, not only its folder")
            self._look_at_place()
            if resume:
                self._open_partial()
        except BaseException:
            self.close()
            raise

    # -- what comes

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

    def finish(self) -> None:
        """Put what came into its place."""
        if self.state is not State.WHOLE:
            self._refuse("it ended before all had come")
        try:
            if self._file >= 0:
                self._place_file()
            else:
                os.rename(self._temporary, self._name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
                self._temporary = b""
        except OSError as error:
            raise beneath.explained(error, self._name) from None
        os.fsync(self._folder)

    @property
    def is_whole(self) -> bool:
        """Whether all has come."""
        return self.state is State.WHOLE

    def facts(self) -> "List[Any]":
        """Return [bytes, members, digest, what was left out, bytes that were here already]."""
        return [self.size, self.count, self.digest, self.skipped, self._went_on_at]

    def close(self) -> None:
        """Take away what isn't in its place, and close what is open."""
        while self._levels:
            os.close(self._levels.pop()[0])
        if self._partial >= 0 and not os.fstat(self._partial).st_size:
            self._forget_partial()
        if self._file >= 0:
            os.close(self._file)
        if self._temporary:
            remove(self._folder, self._temporary)
        if self._folder >= 0:
            os.close(self._folder)
        self._file = self._folder = self._partial = -1
        self._temporary = b""

    def _refuse(self, found: str) -> "NoReturn":
        raise TransferError(self.what, found)

    def _expect(self, *states: str) -> None:
        if self.state not in states:
            self._refuse("it came in a wrong order")

    def _count(self, size: int) -> None:
        """Take a member into account that was announced to have this size."""
        self.count += 1
        self.size += size
        if self.count > self._count_max:
            self._refuse("it has more than %d members; allow more by count_max" % self._count_max)
        if size < 0 or self.size > self._size_max:
            self._refuse("it is %d bytes or more; the limit is %d, allow more by size_max" % (self.size, self._size_max))

    def _check_name(self, name: bytes) -> None:
        if not self._levels:
            if name:
                self._refuse("what was to come has no name, this is called %s" % beneath.text_of(name[:300]))
            return
        found = beneath.objection_to_name(name)
        if found:
            self._refuse("a member has an impossible name: %s" % found)

    # -- one for each kind of record

    def _take_dir(self, record: "Record") -> None:
        self._expect(State.NOTHING, State.FOLDER)
        _, name, _, _ = record
        self._check_name(name)
        self._count(0)
        if self._partial >= 0:
            self._refuse("it is a folder; resume= is for files")
        if len(self._levels) >= DEPTH_MAX:
            self._refuse("folders are nested more than %d deep" % DEPTH_MAX)
        if self._levels:
            above = self._levels[-1][0]
        else:
            if self._look_at_place() == "file":
                raise self._in_the_way(FileExistsError, "a file")
            above = self._folder
            name = self._temporary = _new_name()
        os.mkdir(name, 0o700, dir_fd=above)
        self._levels.append((os.open(name, _FOLDER_READ, dir_fd=above), record))
        self.state = State.FOLDER

    def _take_up(self, record: "Record") -> None:
        self._expect(State.FOLDER)
        fd, (_, _, mode, mtime_ns) = self._levels.pop()
        try:
            os.chmod(fd, mode & 0o777 & ~umask())
            os.utime(fd, ns=(mtime_ns, mtime_ns))
        finally:
            os.close(fd)
        if not self._levels:
            self.state = State.WHOLE

    def _take_file(self, record: "Record") -> None:
        _, name, mode, mtime_ns, data, digest = record
        self._take_begin(["begin", name, mode, mtime_ns, len(data), 0])
        if data:
            self._take_bytes(data)
        self._take_end(["end", digest])

    def _take_begin(self, record: "Record") -> None:
        self._expect(State.NOTHING, State.FOLDER)
        _, name, mode, _, size, start = record
        self._check_name(name)
        self._count(size)
        self._done = hashlib.sha256()
        if self._levels:
            self._file = os.open(name, os.O_WRONLY | _CREATE, mode & 0o777, dir_fd=self._levels[-1][0])
        elif self._partial >= 0:
            self._go_on_at(start)
        elif self._look_at_place() == "folder":
            raise self._in_the_way(IsADirectoryError, "a folder")
        else:
            self._open_temporary()
        if start and self._partial < 0:
            self._refuse("its beginning was left out")
        self._left = size - start
        if self._left < 0:
            self._refuse("it begins behind its end")
        self._record = record
        self.state = State.FILE

    def _take_bytes(self, data: bytes) -> None:
        self._expect(State.FILE)
        self._left -= len(data)
        if self._left < 0:
            self._refuse("more came of a file than the %d bytes that were announced" % self._record[4])
        self._done.update(data)
        view = memoryview(data)
        while view:
            view = view[os.write(self._file, view) :]

    def _take_end(self, record: "Record") -> None:
        self._expect(State.FILE)
        if self._left:
            self._refuse("%d bytes of a file are missing" % self._left)
        if self._done.digest() != record[1]:
            self._forget_partial()
            self._refuse("what arrived isn't what was sent: the digests differ")
        if self._levels:
            os.utime(self._file, ns=(self._record[3], self._record[3]))
            os.close(self._file)
            self._file = -1
            self.state = State.FOLDER
        else:
            self.digest = self._done.digest()
            self.state = State.WHOLE

    def _take_skip(self, record: "Record") -> None:
        self._expect(State.FOLDER)
        _, name, kind = record
        self._check_name(name)
        self._count(0)
        path = beneath.text_of(b"/".join([*(level[1][1] for level in self._levels[1:]), name]))
        if not self._skips:
            self._refuse("%s in it is %s; skip_special=True leaves such things out" % (path, shown(kind[:100])))
        if len(self.skipped) < SKIPPED_MAX:
            self.skipped.append(path)

    def _take_fail(self, record: "Record") -> None:
        self._refuse(shown(record[1][:1000]))

    # -- files

    def _look_at_place(self) -> str:
        """Return what is in the place: "", "file" for all but folders, "folder" for an empty one."""
        try:
            mode = os.stat(self._name, dir_fd=self._folder, follow_symlinks=False).st_mode
        except FileNotFoundError:
            return ""
        if not stat.S_ISDIR(mode):
            return "file"
        fd = os.open(self._name, _FOLDER_READ, dir_fd=self._folder)
        try:
            if os.listdir(fd):
                raise self._in_the_way(FileExistsError, "a folder with something in it")
        finally:
            os.close(fd)
        return "folder"

    def _in_the_way(self, kind: "Type[OSError]", found: str) -> OSError:
        return kind(errno.EEXIST, "%s: %s is in its place" % (self.what, found), beneath.text_of(self._name))

    def _open_temporary(self) -> None:
        # A file without a name vanishes with its last descriptor, even if this process is killed.
        if hasattr(os, "O_TMPFILE"):
            try:
                self._file = os.open(".", os.O_TMPFILE | os.O_WRONLY, 0o600, dir_fd=self._folder)
                return
            except OSError:
                pass  # not every file system has them
        name = _new_name()
        self._file = os.open(name, os.O_WRONLY | _CREATE, 0o600, dir_fd=self._folder)
        self._temporary = name

    def _place_file(self) -> None:
        mode, mtime_ns = self._record[2], self._record[3]
        os.chmod(self._file, mode & 0o777 & ~umask())
        os.utime(self._file, ns=(mtime_ns, mtime_ns))
        os.fsync(self._file)
        if not self._temporary and self._partial < 0:
            name = _new_name()
            link = "/proc/self/fd/%d" % self._file
            os.link(link, name, dst_dir_fd=self._folder, follow_symlinks=True)
            self._temporary = name
        name = self._temporary or partial_name(self._name)
        os.rename(name, self._name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        self._temporary = b""
        self._partial = -1

    # -- what is kept of an earlier try

    def _open_partial(self) -> None:
        """Open what an earlier try has left, or a new file, and lock it."""
        import fcntl

        name = partial_name(self._name)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        self._file = self._partial = os.open(name, flags, 0o600, dir_fd=self._folder)
        status = os.fstat(self._file)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_nlink != 1:
            self._refuse("%s isn't a file of an earlier try; remove it" % beneath.text_of(name))
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._refuse("another transfer is writing %s" % beneath.text_of(name))
        # The other transfer may have ended just before the lock, and then this is the file in its place.
        if not os.path.samestat(status, os.stat(name, dir_fd=self._folder, follow_symlinks=False)):
            self._refuse("another transfer has just ended; try again")
        os.chmod(self._file, 0o600)
        while True:
            data = os.read(self._file, 1 << 20)
            if not data:
                break
            self._done.update(data)
            self.start += len(data)
        self.prefix = self._done.digest()
        self._so_far = self._done

    def _go_on_at(self, start: int) -> None:
        """Keep what there is, or, at 0, none of it."""
        if start == self.start:
            self._done = self._so_far
            self._went_on_at = start
            return
        if start:
            self._refuse("it goes on at byte %d, but %d are here" % (start, self.start))
        os.ftruncate(self._file, 0)
        os.lseek(self._file, 0, os.SEEK_SET)

    def _forget_partial(self) -> None:
        """Don't keep what turned out wrong."""
        if self._partial >= 0:
            os.unlink(partial_name(self._name), dir_fd=self._folder)
            self._partial = -1


# By the first part of a record: the types of the others, and who takes it.
_RECORDS = {
    "dir": ((bytes, int, int), Landing._take_dir),
    "up": ((), Landing._take_up),
    "file": ((bytes, int, int, bytes, bytes), Landing._take_file),
    "begin": ((bytes, int, int, int, int), Landing._take_begin),
    "end": ((bytes,), Landing._take_end),
    "skip": ((bytes, str), Landing._take_skip),
    "fail": ((str,), Landing._take_fail),
}  # type: Dict[str, Tuple[Tuple[type, ...], Callable[[Landing, Record], None]]]


def _is_record(record: "Any") -> bool:
    if type(record) is not list or not record or type(record[0]) is not str or record[0] not in _RECORDS:
        return False
    numbers = [part for part in record if type(part) is int]
    types = tuple(type(part) for part in record[1:])
    return types == _RECORDS[record[0]][0] and all(-_NUMBER_MAX < number < _NUMBER_MAX for number in numbers)


def partial_name(name: bytes) -> bytes:
    """Return what a file is called that is to be resumed, beside the place that it will have."""
    return b"." + name + b".plasmid-partial"


def _new_name() -> bytes:
    """Return a name that nobody can guess."""
    return b".plasmid-" + hexlify(os.urandom(16))


def umask() -> int:
    """Return the permissions that this process doesn't give to what it makes."""
    try:
        # To ask by os.umask() is to set it, for all threads.
        with open("/proc/self/status", "rb") as status:
            found = [line for line in status if line.startswith(b"Umask:")]
        return int(found[0].split()[1], 8)
    except (OSError, IndexError):
        mask = os.umask(0o077)
        os.umask(mask)
        return mask


def remove(folder: int, name: bytes) -> None:
    """Remove what is called so in a folder, with all that is in it. Never through a link."""
    try:
        os.unlink(name, dir_fd=folder)
        return
    except OSError as error:
        if error.errno not in (errno.EISDIR, errno.EPERM):
            raise
    fd = os.open(name, _FOLDER_READ, dir_fd=folder)
    try:
        os.chmod(fd, 0o700)
        for member in os.listdir(fd):
            remove(fd, os.fsencode(member))
    finally:
        os.close(fd)
    os.rmdir(name, dir_fd=folder)
