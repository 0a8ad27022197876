"""What was packed once, kept for the next program that sends the same: in a file beside what Python itself compiled.

    32 bytes   the key: a hash of all that it was made of
    the rest   marshalled bytes

It lies in `__pycache__`, and is trusted as what else lies there is. Where nothing may be written, nothing is kept.
"""

import marshal
import os
import sys
from _frozen_importlib_external import cache_from_source  # type: ignore[import-not-found,unused-ignore]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterable

KEY_SIZE = 32


def key_of(parts: "Iterable[bytes]") -> bytes:
    """Return a key that other parts, or another Python, don't have."""
    from _blake2 import blake2b  # hashlib takes longer to import than all of this

    found = blake2b(sys.version.encode(), digest_size=KEY_SIZE)
    for part in parts:
        found.update(len(part).to_bytes(8, "big"))
        found.update(part)
    return found.digest()  # type: ignore[no-any-return,unused-ignore]


def find(beside: str, kind: str, key: bytes) -> "Any":
    """Return what of this kind was kept beside this source file under the key, None if nothing was."""
    try:
        with open(_path(beside, kind), "rb") as file:
            data = file.read()
        return marshal.loads(data[KEY_SIZE:]) if data[:KEY_SIZE] == key else None
    except (OSError, ValueError, EOFError, TypeError, NotImplementedError):
        return None


def keep(beside: str, kind: str, key: bytes, value: "Any") -> None:
    """Keep a value of builtin types beside this source file, if that can be, in place of what was there."""
    if sys.dont_write_bytecode:
        return
    temporary = ""
    try:
        path = _path(beside, kind)
        temporary = "%s.%d" % (path, os.getpid())
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        with open(fd, "wb") as file:
            file.write(key + marshal.dumps(value))
        os.replace(temporary, path)
    except (OSError, NotImplementedError):
        try:
            os.unlink(temporary)
        except OSError:
            pass


def _path(beside: str, kind: str) -> str:
    compiled: str = cache_from_source(beside)
    return compiled[: -len("pyc")] + kind
