"""Modules as they are sent: found on this machine or among those that were sent here, and packed.

Nothing is decided here about who may have what; see module_policy.py.
"""

import os
import zlib
from struct import Struct

from plasmid.boot import kept
from plasmid.builtin import bytecode
from plasmid.builtin.main_module import find_main
from plasmid.builtin.source_finder import Found, find, stamp_of
from plasmid.runtime import importer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, List, Optional, Tuple

    from plasmid.builtin.source_finder import Folders, Stamp

# Stands before the near path of a sent module, so that it names no file of the far machine: a folder that only the
# far machine's root could make.
SENT = "/<sent>"
# Of zlib: 4 bytes in 100 more than with level 6, in half the time, and it is done while somebody waits.
SOURCE_LEVEL = 4
# A block of zlib's that isn't compressed (RFC 1951, 3.2.4): whether it is the last, its size, and the same inverted.
_STORED_HEAD = Struct("<BHH")
_STORED_MAX = 0xFFFF
# Of what is kept of an entry; another one if that changes.
_FORM = b"1"


class Entry:
    """One module as it is sent, with what it imports; good while the file's stamp is the same.

    package: whether it is one; of `__main__` the package that its relative imports start from, or "". shown: the path
    that it's sent under. source: None for a namespace package. compiled: what the source makes; None if it has an error
    of syntax here. path: its file here, if it has one.
    """

    __slots__ = (
        *("name", "package", "at_import", "later", "path", "stamp", "distribution"),
        *("_shown", "_source", "_packed_source", "_compiled", "_packed_code", "_is_loose"),
    )

    def __init__(
        self,
        name: str,
        package: object,
        shown: str = "",
        source: "Optional[bytes]" = None,
        compiled: "Optional[bytecode.Compiled]" = None,
        path: str = "",
        stamp: "Optional[Stamp]" = None,
    ) -> None:
        self.name = name
        self.package = package
        self.at_import: "List[str]" = []
        self.later: "List[str]" = []
        if compiled is not None:
            # `pkg.__main__` imports relative to pkg, and so does the `__main__` that it is run as.
            inside = "%s.__main__" % package if name == "__main__" and package else name
            self.at_import, self.later = bytecode.imports_of(compiled.code, inside, package is True)
        self.path = path
        self.stamp = stamp_of(path) if stamp is None else stamp
        self.distribution: "Optional[str]" = None  # of a compiled module, which isn't sent
        self._shown = shown
        self._source = source
        self._packed_source: "Optional[bytes]" = None
        self._compiled = compiled
        self._packed_code = b""
        self._is_loose = False  # whether some of what is packed isn't compressed

    def take_packed(self, source: "Optional[bytes]", code: bytes) -> None:
        """Take what the parent sent of it, to be handed on as it is."""
        self._packed_source = source
        self._packed_code = code
        self._is_loose = _is_stored(source or b"") or _is_stored(code[4:])

    def pack(self, magic: bytes, tight: bool = True) -> None:
        """Put into the form in which it is sent what isn't yet, the code for interpreters with that magic number.

        tight: compressed. What was compressed once stays so.
        """
        if tight and self._is_loose:
            self._tighten()
        source, compiled = self._source, self._compiled
        if source is not None and self._packed_source is None:
            self._packed_source = zlib.compress(source, SOURCE_LEVEL) if tight else stored(source)
            self._source = None
            self._is_loose = not tight
        if compiled is not None and magic == bytecode.MAGIC and self._packed_code[:4] != magic:
            self._packed_code = compiled.packed() if tight else bytecode.MAGIC + stored(compiled.marshalled())
            self._compiled = None
            self._is_loose = self._is_loose or not tight

    def packed(self) -> "Tuple[List[str], List[str], Optional[bytes], bytes]":
        """Return what it imports, and how it is packed."""
        return self.at_import, self.later, self._packed_source, self._packed_code

    def _tighten(self) -> None:
        """Compress what is packed without that."""
        source, code = self._packed_source or b"", self._packed_code
        if _is_stored(source):
            self._packed_source = zlib.compress(zlib.decompress(source), SOURCE_LEVEL)
        if _is_stored(code[4:]):
            self._packed_code = code[:4] + zlib.compress(zlib.decompress(code[4:]), bytecode.LEVEL)
        self._is_loose = False

    def wire(self, magic: bytes, tight: bool = True) -> "List[Any]":
        """Return what `found` has of it; the code is empty where there is none for that magic number."""
        self.pack(magic, tight or self._shown.startswith("<plasmid>"))
        code = self._packed_code if self._packed_code[:4] == magic else b""
        return [self.name, self.package, self._shown, self._packed_source, code]


def size_of(wire: "List[Any]") -> int:
    """Return how many bytes it takes to send a module."""
    return len(wire[3] or b"") + len(wire[4])


def stored(data: bytes) -> bytes:
    """Return what zlib.compress(data, 0) might, in a tenth of the time: that takes memory to compress all the same."""
    parts = [b"\x78\x01"]
    for start in range(0, len(data) or 1, _STORED_MAX):
        block = data[start : start + _STORED_MAX]
        is_last = start + _STORED_MAX >= len(data)
        parts += [_STORED_HEAD.pack(is_last, len(block), len(block) ^ 0xFFFF), block]
    return b"".join([*parts, zlib.adler32(data).to_bytes(4, "big")])


def _is_stored(packed: bytes) -> bool:
    """Whether data of zlib's begins with a block that isn't compressed, as all do at level 0."""
    return len(packed) > 2 and not packed[2] & 6


def make_entry(name: str, folders: "Folders") -> "Optional[Entry]":
    """Find a module on this machine, or among what was sent to it; None if it isn't here. Raises Unreadable.

    folders: see source_finder.find().
    """
    current = importer.current
    loader = current.modules.get(name) if current is not None else None
    if loader is not None:
        return _sent_here(name, loader)
    if name == "__main__":
        # A relay's own `__main__` is the root's, or the first stage.
        found, package = find_main() if current is None else (None, "")
        return None if found is None else _entry_of(name, found, package)
    found = find(name, folders)
    if found is None:
        return None
    if found.kind == Found.COMPILED:
        entry = Entry(name, found.is_package, path=found.path)
        entry.distribution = found.distribution
        return entry
    return _entry_of(name, found, found.is_package)


def _sent_here(name: str, loader: "importer.Loader") -> Entry:
    """Return what came from this context's parent, or with its boot."""
    data = loader.data
    try:
        compiled = None if data is None else bytecode.Compiled(loader.get_code())
    except (SyntaxError, ValueError, RecursionError):  # for another version of Python, perhaps
        compiled = None
    source = data.encode() if isinstance(data, str) else None
    entry = Entry(name, loader.package, loader.path, source, compiled)
    entry.take_packed(data if isinstance(data, bytes) else None, loader.code)
    return entry


def _entry_of(name: str, found: Found, package: object) -> Entry:
    if found.kind == Found.NAMESPACE:
        return Entry(name, True)
    if name.partition(".")[0] == "plasmid":
        return _own_entry(name, found, package)
    shown = SENT + os.path.abspath(found.path)
    return Entry(name, package, shown, found.data, _compiled(found, shown), found.path, found.stamp)


def _own_entry(name: str, found: Found, package: object) -> Entry:
    """Return a module of Plasmid's own, as it was packed for an earlier program if it was.

    Every program sends a dozen of them to its first context, most of which no near side imports and so compiles.
    """
    shown = "<plasmid>/%s%s.py" % (name.partition(".")[2].replace(".", "/"), "/__init__" if package else "")
    if found.stamp is None:
        return Entry(name, package, shown, found.data, _compiled(found, shown), found.path)
    key = kept.key_of([_FORM, name.encode(), b"%d %d" % found.stamp])
    packed = kept.find(found.file, "packed", key)
    if packed is None:
        entry = Entry(name, package, shown, found.data, _compiled(found, shown), found.path, found.stamp)
        entry.pack(bytecode.MAGIC)
        kept.keep(found.file, "packed", key, entry.packed())
        return entry
    entry = Entry(name, package, shown, path=found.path, stamp=found.stamp)
    entry.at_import, entry.later, source, code = packed
    entry.take_packed(source, code)
    return entry


def _compiled(found: Found, shown: str) -> "Optional[bytecode.Compiled]":
    compiled = None
    if found.stamp is not None:
        compiled = bytecode.cached(found.file, *found.stamp)
    return bytecode.compiled(found.text, shown) if compiled is None else compiled
