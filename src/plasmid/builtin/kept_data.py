"""The data files that were sent to this context, for itself and for those below it, up to a limit."""

import threading
import zlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Optional, Tuple

SIZE_MAX = 32 << 20


class KeptFile:
    """A file as it was sent, zlib-compressed, and the SHA-256 of its bytes."""

    __slots__ = ("data", "digest")

    def __init__(self, data: bytes, digest: bytes) -> None:
        self.data = data
        self.digest = digest


class KeptData:
    """Files by package and path. Any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._files: "Dict[Tuple[str, str], KeptFile]" = {}
        self._size = 0

    def get(self, package: str, path: str) -> "Optional[KeptFile]":
        """Return what was kept of a file, None if it wasn't."""
        return self._files.get((package, path))

    def put(self, package: str, path: str, data: bytes) -> KeptFile:
        """Keep a file as it was sent; if there is no room, all others are dropped. Raises zlib.error."""
        import hashlib  # here, since most programs send no data

        kept = KeptFile(data, hashlib.sha256(zlib.decompress(data)).digest())
        with self._lock:
            before = self._files.pop((package, path), None)
            self._size += len(data) - (len(before.data) if before is not None else 0)
            if self._size > SIZE_MAX:
                self._files.clear()
                self._size = len(data)
            self._files[package, path] = kept
        return kept


# This process's.
kept = KeptData()
