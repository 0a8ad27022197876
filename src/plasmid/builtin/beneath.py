"""Names that others send, and the one function that opens what they name beneath a folder.

A path that came in a message is cut into names first, and each must be a name and nothing else: `..`, an absolute path
or an empty part is refused before any file is touched. Then the folders on the way are opened one by one, each by the
descriptor of the one before and never through a symbolic link, so that nobody can swap a link in behind a check: what
was opened is what was checked. Names are bytes, as the kernel has them.
"""

import errno
import os
import stat

from plasmid.core.remote import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Sequence, Tuple

NAME_SIZE_MAX = 255
PATH_SIZE_MAX = 4096

# A folder on the way need not be readable, only passable; where there is no O_PATH it must be both.
FOLDER = os.O_DIRECTORY | getattr(os, "O_PATH", os.O_RDONLY)
# A FIFO without a writer would hang an open() without O_NONBLOCK, and a terminal could become this process's own.
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def text_of(path: bytes) -> str:
    """Return a path as errors show it: what isn't printable is escaped."""
    return shown(path.decode("utf-8", "backslashreplace"))


def objection_to_name(name: "object") -> str:
    """Return what is wrong with one name of a path, "" if nothing is."""
    if type(name) is not bytes:
        return "a name is needed, not a %s" % type(name).__name__
    if name in (b".", b".."):
        return "it holds %r, which isn't a name" % name.decode()
    if not name:
        return "it has an empty part"
    if b"/" in name or b"\0" in name:
        return "a name in it holds %s" % ("a slash" if b"/" in name else "a NUL byte")
    return "a name in it is longer than %d bytes" % NAME_SIZE_MAX if len(name) > NAME_SIZE_MAX else ""


def split(path: bytes) -> "List[bytes]":
    """Return the names of an absolute path, [] for `/`. Raises ValueError that says what is wrong with it."""
    if not path.startswith(b"/"):
        raise ValueError("it isn't absolute")
    if len(path) > PATH_SIZE_MAX:
        raise ValueError("it is longer than %d bytes" % PATH_SIZE_MAX)
    names = path[1:].split(b"/") if path != b"/" else []
    for name in names:
        found = objection_to_name(name)
        if found:
            raise ValueError(found)
    return names


def open_beneath(folder: int, names: "Sequence[bytes]") -> int:
    """Return a descriptor, to read from, of what the names lead to from the descriptor `folder`.

    Raises OSError; a link anywhere on the way is one, and so is whatever is neither a file nor a folder.
    """
    at = folder
    try:
        for name in names[:-1]:
            below = os.open(name, FOLDER | os.O_NOFOLLOW, dir_fd=at)
            if at != folder:
                os.close(at)
            at = below
        fd = os.open(names[-1] if names else b".", _READ | os.O_NOFOLLOW, dir_fd=at)
    finally:
        if at != folder:
            os.close(at)
    _status_of(fd)
    return fd


def open_member(folder: int, name: bytes) -> "Tuple[int, os.stat_result]":
    """Return what open_beneath() does for one name, and the status of what is open there."""
    fd = os.open(name, _READ | os.O_NOFOLLOW, dir_fd=folder)
    return fd, _status_of(fd)


def open_any(path: bytes) -> int:
    """Return such a descriptor for a path that this machine's own user, or a parent, has named: links are followed."""
    fd = os.open(path, _READ)
    _status_of(fd)
    return fd


def _status_of(fd: int) -> "os.stat_result":
    """Return the status of what is open there; an error, and it is closed, if that is neither a file nor a folder."""
    status = os.fstat(fd)
    mode = status.st_mode
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return status
    os.close(fd)
    raise PermissionError(errno.EACCES, "it is %s, neither a file nor a folder" % kind_of(mode))


def kind_of(mode: int) -> str:
    """Return what kind of thing has this mode, for messages."""
    return _KINDS.get(stat.S_IFMT(mode), "a file")


def explained(error: OSError, path: bytes) -> OSError:
    """Return the error with the whole path in it; one that is due to a link says so."""
    if error.errno in (errno.ELOOP, errno.ENOTDIR):
        return PermissionError(errno.EACCES, "a part of it isn't a folder, or is a symbolic link", text_of(path))
    if error.errno == errno.ENXIO:
        return PermissionError(errno.EACCES, "it is a socket or a device", text_of(path))
    return OSError(error.errno, error.strerror, text_of(path))
