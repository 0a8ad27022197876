"""Unix sockets that are one user's own: where one may stand, and who is at its other end.

A socket stands in a folder that nobody else may enter (0700) and may itself be opened by nobody else (0600). Neither is
relied upon: each end asks the kernel which user the other one is. Whoever makes or removes a socket holds a lock on the
folder meanwhile, so that of two who find the same one left behind only one takes its place.
"""

import errno
import fcntl
import os
import socket
import stat
import struct
import sys

from plasmid.core.errors import PlasmidError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional, Tuple

# What fits into the kernel's sockaddr_un, less the zero byte at the end.
PATH_SIZE_MAX = 107 if sys.platform == "linux" else 103
# Who finds so many waiting to be let in is turned away by the kernel.
BACKLOG = 128
_LOCAL_PEERCRED = 1  # of macOS and the BSDs, which have no name for it in Python


def checked_path(path: "object") -> str:
    """Return the path of a socket, made absolute. TypeError or ValueError if no socket can stand there."""
    text = os.fspath(path)  # type: ignore[call-overload]  # raises TypeError itself
    if not isinstance(text, str):
        raise TypeError("the path of a socket must be text, not %r" % (path,))
    if not text or "\0" in text:
        raise ValueError("%r is no path of a socket: it must name a file" % text)
    text = os.path.abspath(text)
    size = len(os.fsencode(text))
    if size > PATH_SIZE_MAX:
        raise ValueError(
            "the path %s takes %d bytes, and the path of a socket may take %d here; choose a shorter one"
            % (text, size, PATH_SIZE_MAX)
        )
    return text


def peer_of(connection: socket.socket) -> "Tuple[int, int]":
    """Return the user at the other end of a socket, and its process where that is told, else 0: (uid, pid)."""
    if hasattr(socket, "SO_PEERCRED"):
        found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        pid, uid, _ = struct.unpack("iII", found)
        return uid, pid
    if sys.platform != "linux":
        found = connection.getsockopt(0, _LOCAL_PEERCRED, 76)  # struct xucred: its version, the user, groups
        return struct.unpack_from("II", found)[1], 0
    raise PlasmidError("this system doesn't tell who is at the other end of a socket")


class OwnSocket:
    """A socket that listens at a path, and is this user's own. Owned by the Listener.

    socket: non-blocking. Raises PlasmidError where it can't be, and why; nothing is left then.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.folder = os.path.dirname(path)
        self.made_folder = self._make_folder()
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with _Turn(self.folder):
                self._clear_the_way()
                self.socket.bind(path)
                # Nobody gets in before listen(): until then connections are refused.
                os.chmod(path, 0o600)
                self.socket.listen(BACKLOG)
                self._identity = _identity_of(path)
        except OSError as error:
            self._give_up()
            raise PlasmidError("listening at %s: %s" % (path, error.strerror or error)) from None
        except BaseException:
            self._give_up()
            raise
        self.socket.setblocking(False)

    def close(self) -> None:
        """Listen no more, and remove the file, unless it is another one's by now. Again is no error."""
        if self.socket.fileno() < 0:
            return
        self.socket.close()
        try:
            with _Turn(self.folder):
                if _identity_of(self.path) == self._identity:
                    os.unlink(self.path)
        except (OSError, PlasmidError):
            pass  # somebody has removed the folder already, or opened it to others: what's there isn't ours to touch
        self._remove_folder()

    def _make_folder(self) -> bool:
        try:
            os.mkdir(self.folder, 0o700)
        except FileExistsError:
            return False
        except OSError as error:
            raise PlasmidError(
                "listening at %s: its folder can't be made: %s" % (self.path, error.strerror or error)
            ) from None
        return True

    def _clear_the_way(self) -> None:
        """Remove a socket that was left behind. PlasmidError if there is anything else."""
        try:
            mode = os.lstat(self.path).st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(mode):
            raise PlasmidError(
                "listening at %s: something else is there that is no socket; name another path" % self.path
            )
        if _is_heard(self.path):
            raise PlasmidError("listening at %s: another process listens there; name another path" % self.path)
        os.unlink(self.path)

    def _give_up(self) -> None:
        self.socket.close()
        self._remove_folder()

    def _remove_folder(self) -> None:
        if self.made_folder:
            try:
                os.rmdir(self.folder)
            except OSError:
                pass  # there is more in it by now


class _Turn:
    """A `with` block that no other process enters for the same folder, which must be this user's alone."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def __enter__(self) -> None:
        try:
            self._fd = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                raise PlasmidError(
                    "the folder %s is a link, or no folder; name what it leads to" % self._folder
                ) from None
            raise
        try:
            found = os.fstat(self._fd)
            own = os.geteuid()
            if found.st_uid != own:
                raise PlasmidError(
                    "the folder %s belongs to the user %d, and this process runs as %d; name a folder of its own"
                    % (self._folder, found.st_uid, own)
                )
            if found.st_mode & 0o077:
                raise PlasmidError(
                    "the folder %s may be used by others, its mode is %04o; make that 0700, or name one that isn't "
                    "there yet" % (self._folder, stat.S_IMODE(found.st_mode))
                )
            # Only this user can hold it, and holds it for as long as it takes to look and to bind.
            fcntl.flock(self._fd, fcntl.LOCK_EX)
        except BaseException:
            os.close(self._fd)
            raise

    def __exit__(self, *error: "object") -> None:
        os.close(self._fd)


def _is_heard(path: str) -> bool:
    """Whether somebody listens at this socket."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        connection.connect(path)
    except BlockingIOError:
        pass  # so many wait there already
    except OSError:
        return False
    finally:
        connection.close()
    return True


def _identity_of(path: str) -> "Optional[Tuple[int, int]]":
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
