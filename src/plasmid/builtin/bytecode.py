"""Compiled code of modules: where it comes from, how it is packed to travel, and which modules it imports.

Packed, it is its interpreter's magic number, 4 bytes, and then the zlib-compressed marshalled code. Whoever gets it
uses it only if that number is its own, and compiles the source otherwise. It travels down only, from a parent to a
child that runs whatever its parent sends anyway; nothing here ever unmarshals what another context sent.

The imports are read from the code and not from a syntax tree: the code is there anyway, and on Python 3.11 two
threads that make syntax trees at once can both fail with a SystemError.
"""

import _imp
import marshal
import opcode
import os
import sys
import zlib
from _frozen_importlib_external import MAGIC_NUMBER, cache_from_source  # type: ignore[import-not-found,unused-ignore]
from struct import Struct
from types import CodeType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterator, List, Optional, Tuple

MAGIC: bytes = MAGIC_NUMBER
# Before the code: the magic number, that it is checked by time and size, and those.
_HEAD = Struct("<4sIII")
# As the interpreter names it, where it has a name for that at all.
_CACHE_TAIL = "." + sys.implementation.cache_tag + ".pyc" if sys.implementation.cache_tag else ""
CACHE_SIZE_MAX = 32 << 20
# Of zlib: 8 in 100 bytes more than with level 6, in less than half the time, and it is done while somebody waits.
LEVEL = 1

_CO_OPTIMIZED = 0x1  # of a function; the body of a class, which runs at import, lacks it
_IMPORT_NAME = opcode.opmap["IMPORT_NAME"]
_LOAD_CONST = opcode.opmap["LOAD_CONST"]
_LOAD_SMALL_INT = opcode.opmap.get("LOAD_SMALL_INT", -1)  # since 3.14
_LOADS = {
    # The lowest bit of these says something else, since 3.11 and 3.12.
    opcode.opmap["LOAD_NAME"]: 0,
    opcode.opmap["LOAD_GLOBAL"]: int(sys.version_info >= (3, 11)),
    opcode.opmap["LOAD_ATTR"]: int(sys.version_info >= (3, 12)),
}
_JUMPS_IF_FALSE = {code for name, code in opcode.opmap.items() if "POP_JUMP" in name and name.endswith("IF_FALSE")}
_JUMP_UNIT = 2 if sys.version_info >= (3, 10) else 1
# From the load of a name to the jump that tests it: a comparison, caches, a conversion to bool, an extended argument.
_TEST_LENGTH_MAX = 16


class Compiled:
    """A source's code, and the same marshalled; that may name another file, which the importer over there mends."""

    __slots__ = ("code", "_marshalled")

    def __init__(self, code: CodeType, marshalled: bytes = b"") -> None:
        self.code = code
        self._marshalled = marshalled

    def marshalled(self) -> bytes:
        """Return the code as bytes."""
        if not self._marshalled:
            self._marshalled = marshal.dumps(self.code)
        return self._marshalled

    def packed(self) -> bytes:
        """Return it as it travels to an interpreter with this one's magic number."""
        return MAGIC + zlib.compress(self.marshalled(), LEVEL)


def compiled(source: str, path: str) -> "Optional[Compiled]":
    """Return a source's code; None if it has an error of syntax here. path: where it is said to come from."""
    try:
        code = compile(source, path, "exec", dont_inherit=True, optimize=0)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # for another version of Python, perhaps
        return None
    return Compiled(code)


def cached(file: str, mtime_ns: int, size: int) -> "Optional[Compiled]":
    """Return the code that Python itself would take from its cache for this source file, None if it would compile."""
    if sys.version_info < (3, 7) or not hasattr(_imp, "_fix_co_filename"):
        return None
    try:
        fd = os.open(_cache_of(file), os.O_RDONLY)
        try:
            data = os.read(fd, min(os.fstat(fd).st_size, CACHE_SIZE_MAX))
        finally:
            os.close(fd)
    except (OSError, ValueError, NotImplementedError):
        return None
    if data[:16] != _HEAD.pack(MAGIC, 0, mtime_ns // 10**9 & 0xFFFFFFFF, size & 0xFFFFFFFF):
        return None
    marshalled = data[16:]
    try:
        code = marshal.loads(marshalled)
    except (EOFError, ValueError, TypeError):  # written in half
        return None
    return Compiled(code, marshalled) if isinstance(code, CodeType) else None


def _cache_of(file: str) -> str:
    """Return where Python keeps what it makes of a source file."""
    if getattr(sys, "pycache_prefix", None) is not None or not _CACHE_TAIL:
        return cache_from_source(file, optimization="")  # type: ignore[no-any-return, unused-ignore]
    folder, slash, name = file.rpartition("/")
    return "%s%s__pycache__/%s%s" % (folder, slash, name.rpartition(".")[0], _CACHE_TAIL)


def imports_of(code: CodeType, name: str, is_package: bool) -> "Tuple[List[str], List[str]]":
    """Return the absolute names that a module's code imports: those it needs when it is imported, and all others.

    `from a import b` gives both a and a.b, which may be a module or not.
    """
    package = name if is_package else name.rpartition(".")[0]
    at_import: "List[str]" = []
    later: "List[str]" = []
    pending = [(code, at_import)]
    while pending:
        one, names = pending.pop()
        _scan(one, package, names, later)
        inner = [constant for constant in one.co_consts if type(constant) is CodeType]
        pending += [(each, later if each.co_flags & _CO_OPTIMIZED else names) for each in reversed(inner)]
    return at_import, later


def _scan(code: CodeType, package: str, names: "List[str]", later: "List[str]") -> None:
    """Add what one code object imports to `names`; to `later` what only type checkers import, or a main part."""
    if not code.co_names or _IMPORT_NAME not in code.co_code:
        return
    operations = code.co_code[::2]
    instructions = _Instructions(code, operations)
    skipped = list(instructions.skipped())
    at = operations.find(_IMPORT_NAME)
    while at >= 0:
        argument, before = instructions.argument(at)
        parts, before = instructions.constant(before)
        level, before = instructions.constant(before)
        found = _absolute(code.co_names[argument], level if isinstance(level, int) else 0, parts or (), package)
        (later if any(start <= at < end for start, end in skipped) else names).extend(found)
        at = operations.find(_IMPORT_NAME, at + 1)


class _Instructions:
    """The instructions of one code object, by their numbers."""

    def __init__(self, code: CodeType, operations: bytes) -> None:
        self._code = code
        self._operations = operations
        self._arguments = code.co_code[1::2]

    def argument(self, at: int) -> "Tuple[int, int]":
        """Return the argument of an instruction, and the number of the one before it."""
        argument = self._arguments[at]
        shift = 8
        at -= 1
        while at >= 0 and self._operations[at] == opcode.EXTENDED_ARG:
            argument |= self._arguments[at] << shift
            shift += 8
            at -= 1
        return argument, at

    def constant(self, at: int) -> "Tuple[Any, int]":
        """Return the constant that an instruction loads, None if it loads none, and the number of the one before it."""
        argument, before = self.argument(at)
        if self._operations[at] == _LOAD_CONST:
            return self._code.co_consts[argument], before
        return argument if self._operations[at] == _LOAD_SMALL_INT else None, before

    def name(self, at: int) -> "Tuple[str, int]":
        """Return the name that an instruction loads, "" if it loads none, and the number of the one before it."""
        argument, before = self.argument(at)
        shift = _LOADS.get(self._operations[at])
        return "" if shift is None else self._code.co_names[argument >> shift], before

    def skipped(self) -> "Iterator[Tuple[int, int]]":
        """Give from where up to where the instructions go that only type checkers follow, or a main program."""
        if "TYPE_CHECKING" not in self._code.co_names and "__main__" not in self._code.co_consts:
            return
        after_jump = 0
        for at, operation in enumerate(self._operations):
            if operation not in _JUMPS_IF_FALSE:
                continue
            if any(self._is_test(one) for one in range(max(after_jump, at - _TEST_LENGTH_MAX), at)):
                start = 0 if operation in opcode.hasjabs else at + 1
                yield at, start + self.argument(at)[0] * _JUMP_UNIT // 2
            after_jump = at + 1

    def _is_test(self, at: int) -> bool:
        name, before = self.name(at)
        if name == "TYPE_CHECKING" or before < 0:
            return name == "TYPE_CHECKING"
        pair = name or self.constant(at)[0], self.constant(before)[0] or self.name(before)[0]
        return pair in (("__name__", "__main__"), ("__main__", "__name__"))


def _absolute(base: str, level: int, parts: "Any", package: str) -> "List[str]":
    """Return what an import names: the module `base`, so many levels up, and each of `parts` within it."""
    if level:
        around = package.split(".")
        if level > len(around):
            return []
        above = ".".join(around[: len(around) - level + 1])
        base = above + "." + base if above and base else above or base
    if not base:
        return []
    return [base] + [base + "." + part for part in parts if part != "*"]
