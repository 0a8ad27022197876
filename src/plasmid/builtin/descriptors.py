"""A descriptor, handed by a child to its parent where both are processes of one machine and one user.

So the content of a file goes from one to the other by the system alone, through neither of them: the parent copies from
what it was handed, or into it. Descriptors go up only, to whoever may run any code in the child anyway: one that may be
read can often be opened anew to be written, and so is more than the content of a file.

    parent   listens at a name that nobody can guess, and tells the child: the offer
    child    connects, makes sure of the user at the other end, sends the token of the offer and a descriptor

Whoever else finds the name has no token. Where the two can't meet, on other systems than Linux for one, or in different
network namespaces, nothing is handed over, and nothing is lost: the content is sent as any other.
"""

import errno
import os
from binascii import hexlify
from struct import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

# Below this a file is there sooner than a socket.
SIZE_MIN = 1 << 19
# What one call of the system copies: between two of them we look whether to go on, and Python for Ctrl-C.
PIECE_SIZE = 1 << 24

_RANDOM_SIZE = 16
_NAME_SIZE = 1 + len(b"plasmid-") + 2 * _RANDOM_SIZE
_DEVICE = Struct(">Q")
_OFFER_SIZE = _NAME_SIZE + _RANDOM_SIZE + _DEVICE.size
_PEER = Struct("iII")  # struct ucred: process, user, group
_DESCRIPTOR = Struct("i")
# More find that they can't connect.
_BACKLOG = 8
_READ_SIZE = 1 << 20
# What a file system says that doesn't copy by itself.
_NOT_SO = errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EXDEV


class Inlet:
    """Where a parent takes in one descriptor of a regular file on this device. One thread; close() it in any case.

    offer: what the child has to be told. Raises OSError where there is no such socket.
    """

    def __init__(self, device: int) -> None:
        from _socket import AF_UNIX, SOCK_STREAM, socket  # `socket` would take a relay 11 ms for the same

        name = b"\0plasmid-" + hexlify(os.urandom(_RANDOM_SIZE))
        self._token = os.urandom(_RANDOM_SIZE)
        self._socket = socket(AF_UNIX, SOCK_STREAM)
        self._socket.bind(name)
        self._socket.listen(_BACKLOG)
        self._socket.setblocking(False)
        self.offer = name + self._token + _DEVICE.pack(device)

    def close(self) -> None:
        """Take nothing more in."""
        self._socket.close()

    def take(self) -> int:
        """Return the descriptor that has come with the token, the caller's to close; -1 if none has."""
        from _socket import AF_UNIX, SOCK_STREAM, socket

        while True:
            try:
                fd, _ = self._socket._accept()  # type: ignore[attr-defined]  # known to `socket` alone
            except OSError:
                return -1
            connection = socket(AF_UNIX, SOCK_STREAM, 0, fd)
            try:
                found = self._take_from(connection)
            except OSError:
                continue
            finally:
                connection.close()
            if found >= 0:
                return found

    def _take_from(self, connection: "Any") -> int:
        from _socket import CMSG_LEN, MSG_CMSG_CLOEXEC

        connection.setblocking(False)
        if _peer(connection) != os.geteuid():
            return -1
        # Room for one: the kernel closes what doesn't fit.
        token, ancillary, _, _ = connection.recvmsg(_RANDOM_SIZE, CMSG_LEN(_DESCRIPTOR.size), MSG_CMSG_CLOEXEC)
        fds = [_DESCRIPTOR.unpack(data)[0] for _, _, data in ancillary if len(data) == _DESCRIPTOR.size]
        if fds and token != self._token:
            os.close(fds.pop())
        return fds[0] if fds else -1


def hand_over(offer: bytes, fd: int) -> bool:
    """Hand a file's descriptor to the parent that made this offer; False if that can't be, or isn't worth it."""
    from _socket import AF_UNIX, SCM_RIGHTS, SOCK_STREAM, SOL_SOCKET, socket

    if len(offer) != _OFFER_SIZE or _DEVICE.unpack(offer[-_DEVICE.size :])[0] != os.fstat(fd).st_dev:
        return False
    connection = socket(AF_UNIX, SOCK_STREAM)
    try:
        connection.setblocking(False)
        connection.connect(offer[:_NAME_SIZE])
        if _peer(connection) != os.geteuid():
            return False
        token = offer[_NAME_SIZE : -_DEVICE.size]
        return connection.sendmsg([token], [(SOL_SOCKET, SCM_RIGHTS, _DESCRIPTOR.pack(fd))]) == len(token)
    except OSError:
        return False
    finally:
        connection.close()


def _peer(connection: "Any") -> int:
    """Return the user at the other end."""
    from _socket import SO_PEERCRED, SOL_SOCKET

    return _PEER.unpack(connection.getsockopt(SOL_SOCKET, SO_PEERCRED, _PEER.size))[1]  # type: ignore[no-any-return]


def are_possible() -> bool:
    """Whether this system has what is needed to take a descriptor and copy by it."""
    import _socket

    return hasattr(os, "copy_file_range") and hasattr(_socket, "SO_PEERCRED") and hasattr(_socket, "MSG_CMSG_CLOEXEC")


def copy(source: int, target: int, size: int, check: "Callable[[], None]") -> int:
    """Copy the first `size` bytes of a file to another one; return how many there were.

    check: called before each piece; raises what is to end it.
    """
    done = 0
    while done < size:
        check()
        piece = min(PIECE_SIZE, size - done)
        try:
            copied = os.copy_file_range(source, target, piece, done, done)
        except OSError as error:
            if error.errno not in _NOT_SO:
                raise
            copied = os.pwrite(target, os.pread(source, min(_READ_SIZE, piece), done), done)
        if not copied:
            break
        done += copied
    return done
