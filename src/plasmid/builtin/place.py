"""Place: where a file or folder will be, and what stands for it until it is whole.

What arrives is written to a file without a name, where the system has such, or below a name that nobody can guess, and
nobody else may open it. A rename puts it into its place, so whoever looks sees what was there before or all that came.
A file without a name vanishes with this process, however that ends. With `resume` it has a name that can be found
again instead, and stays if the rest didn't come.
"""

import errno
import os
import stat
from binascii import hexlify

from plasmid.builtin import beneath

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Type, Union

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


class Place:
    """One destination, from before something arrives until it is there. One thread at a time; close() it in any case.

    destination: a path of this machine's user, or of a parent. fd: of the file that is to be there, -1 for none.
    """

    def __init__(self, what: str, destination: bytes) -> None:
        self.fd = -1
        self.is_kept = False  # the file is one to resume
        self._what = what
        self._temporary = b""  # what has to go if this fails
        parent, self._name = os.path.split(os.path.abspath(destination))
        if destination.endswith(b"/") or not self._name:
            raise IsADirectoryError(errno.EISDIR, "%s: name what arrives, not only its folder" % what)
        self._folder = os.open(parent, os.O_RDONLY | os.O_DIRECTORY)

    @property
    def device(self) -> int:
        """Of the folder that it will be in."""
        return os.fstat(self._folder).st_dev

    def close(self) -> None:
        """Take away what didn't come into its place, and close what is open."""
        if self.is_kept and not os.fstat(self.fd).st_size:
            self.forget()
        if self.fd >= 0:
            os.close(self.fd)
        if self._temporary:
            remove(self._folder, self._temporary)
        if self._folder >= 0:
            os.close(self._folder)
        self.fd = self._folder = -1
        self.is_kept = False
        self._temporary = b""

    def check(self, for_folder: bool) -> None:
        """Raise FileExistsError or IsADirectoryError if what is there is in the way of what comes."""
        try:
            mode = os.stat(self._name, dir_fd=self._folder, follow_symlinks=False).st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISDIR(mode):
            if for_folder:
                raise self._in_the_way(FileExistsError, "a file")
            return
        if not for_folder:
            raise self._in_the_way(IsADirectoryError, "a folder")
        fd = os.open(self._name, _FOLDER, dir_fd=self._folder)
        try:
            if os.listdir(fd):
                raise self._in_the_way(FileExistsError, "a folder with something in it")
        finally:
            os.close(fd)

    def _in_the_way(self, kind: "Type[OSError]", found: str) -> OSError:
        return kind(errno.EEXIST, "%s: %s is in its place" % (self._what, found), beneath.text_of(self._name))

    # -- a file

    def open_file(self) -> None:
        """Open what the file is written to, as `fd`, unless it is open."""
        if self.fd >= 0:
            return
        self.check(for_folder=False)
        if hasattr(os, "O_TMPFILE") and os.path.isdir("/proc/self/fd"):  # by which it will get its name
            try:
                self.fd = os.open(".", os.O_TMPFILE | os.O_WRONLY, 0o600, dir_fd=self._folder)
                return
            except OSError:
                pass  # not every file system has them
        name = new_name()
        self.fd = os.open(name, _CREATE, 0o600, dir_fd=self._folder)
        self._temporary = name

    def open_kept(self) -> str:
        """Open what an earlier try has left, or a new file, and lock it; return why that can't be, "" if it can."""
        import fcntl

        self.check(for_folder=False)
        name = kept_name(self._name)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        self.fd = os.open(name, flags, 0o600, dir_fd=self._folder)
        status = os.fstat(self.fd)
        # Anybody can guess this name, and put something of theirs there where they may write.
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_nlink != 1:
            return "%s isn't a file of an earlier try; remove it" % beneath.text_of(name)
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # If the other transfer has ended just before the lock, this is the file in its place.
            is_there = os.path.samestat(status, os.stat(name, dir_fd=self._folder, follow_symlinks=False))
        except OSError:
            is_there = False
        if not is_there:
            return "another transfer is writing %s" % beneath.text_of(name)
        os.chmod(self.fd, 0o600)
        self.is_kept = True
        return ""

    def forget(self) -> None:
        """Don't keep the file that is here."""
        if self.is_kept:
            os.unlink(kept_name(self._name), dir_fd=self._folder)
            self.is_kept = False

    def put_file(self, mode: int, mtime_ns: int, flush: bool = False) -> None:
        """Put the file into its place, with these permissions but for setuid and the like, and what umask takes.

        flush: once it is on the disk, and return when its name is there as well.
        """
        os.chmod(self.fd, mode & 0o777 & ~umask())
        os.utime(self.fd, ns=(mtime_ns, mtime_ns))
        if flush:
            os.fsync(self.fd)
        if not self._temporary and not self.is_kept:
            name = new_name()
            link = "/proc/self/fd/%d" % self.fd
            os.link(link, name, dst_dir_fd=self._folder, follow_symlinks=True)
            self._temporary = name
        self._rename(self._temporary or kept_name(self._name))
        if flush:
            os.fsync(self._folder)

    def _rename(self, name: bytes) -> None:
        os.rename(name, self._name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        self._temporary = b""
        self.is_kept = False

    # -- a folder

    def open_folder(self) -> int:
        """Return the descriptor of a new folder for nobody else, to be filled and closed by the caller."""
        self.check(for_folder=True)
        self._temporary = new_name()
        return make_folder(self._folder, self._temporary)

    def put_folder(self) -> None:
        """Put the folder into its place."""
        self._rename(self._temporary)


def start_flush(fd: int, start: int, size: int) -> None:
    """Have this part of a file written to the disk, without waiting: the fsync() at the end then finds little to do."""
    if hasattr(os, "posix_fadvise"):  # Linux begins to write what it is told won't be needed and isn't on the disk
        os.posix_fadvise(fd, start, size, os.POSIX_FADV_DONTNEED)


def make_folder(folder: int, name: bytes) -> int:
    """Make a folder for nobody else; return its descriptor."""
    os.mkdir(name, 0o700, dir_fd=folder)
    return os.open(name, _FOLDER, dir_fd=folder)


def make_file(folder: int, name: bytes, mode: int) -> int:
    """Make a file that wasn't there; return its descriptor, to write to."""
    return os.open(name, _CREATE, mode & 0o777, dir_fd=folder)


def write(fd: int, data: "Union[bytes, memoryview]") -> None:
    """Write all of it."""
    written = os.write(fd, data)
    while written < len(data):
        written += os.write(fd, memoryview(data)[written:])


def finish(fd: int, mode: int, mtime_ns: int) -> None:
    """Give a folder its permissions and time once it is filled."""
    os.chmod(fd, mode & 0o777 & ~umask())
    os.utime(fd, ns=(mtime_ns, mtime_ns))


def kept_name(name: bytes) -> bytes:
    """Return what a file is called that is to be resumed, beside the place that it will have."""
    return b"." + name + b".plasmid-partial"


def new_name() -> bytes:
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
    # It may be a folder that not even its owner may enter. It is ours, and nobody else gets to where it is.
    os.chmod(name, 0o700, dir_fd=folder)
    fd = os.open(name, _FOLDER, dir_fd=folder)
    try:
        for member in os.listdir(fd):
            remove(fd, os.fsencode(member))
    finally:
        os.close(fd)
    os.rmdir(name, dir_fd=folder)
