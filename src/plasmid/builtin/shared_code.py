"""The code of what is booted, in one piece of memory that children on this machine share instead of compiling it.

    16 bytes     a token, by which a child knows that the descriptor is this one
    marshalled   ({name: code} of what is booted, which is marshalled; the answer to a far side's first question)

It has no name in the file system. Each child inherits a descriptor of it and closes that once it has read. So nothing
of it goes over a link. No child can change what the others run: it is sealed, and read again, before the first is told
that the code is there (memfd_create(2), fcntl(2)).
"""

import marshal
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

TOKEN_SIZE = 16


class SharedCode:
    """That of one router, made when it is first lent. Any thread.

    lock: of the router, so that a fork finds it free. is_filled: whether all is there.
    """

    def __init__(self, lock: "Any") -> None:
        self._lock = lock
        self._fd = -1
        self.is_filled = False
        self._is_over = False
        self.token = os.urandom(TOKEN_SIZE)

    def lend(self) -> int:
        """Return a descriptor of it, the caller's to close; -1 where there is none, as on other systems than Linux."""
        with self._lock:
            try:
                if self._fd < 0 and not self._is_over:
                    self._fd = os.memfd_create("plasmid", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
                    os.pwrite(self._fd, self.token, 0)
                return os.dup(self._fd) if self._fd >= 0 else -1
            except (AttributeError, OSError):
                return -1

    def fill(self, code: bytes, answer: bytes) -> bool:
        """Write it, unless it is there; say whether it is. code: marshalled. answer: packed."""
        with self._lock:
            if not self.is_filled and self._fd >= 0:
                data = self.token + marshal.dumps((code, answer))
                try:
                    self.is_filled = _write_sealed(self._fd, data)
                except (ImportError, OSError):
                    pass
                if not self.is_filled:
                    self._close()
            return self.is_filled

    def close(self) -> None:
        """Lend it no more. Again is no error."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        self._is_over = True
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _write_sealed(fd: int, data: bytes) -> bool:
    """Make this the content for good; say whether that is so: who was lent it before may have written to it."""
    import fcntl

    os.pwrite(fd, data, 0)
    seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return os.pread(fd, os.fstat(fd).st_size, 0) == data
