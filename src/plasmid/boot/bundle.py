"""Packs core and runtime into the bytes that a far side is booted with: source without prose, one zlib stream.

No I/O but reading the package's own sources, and what was kept of them. Layout of the bundle, inside zlib:

    u32 loader size | loader source | index: a line `name is_package size` a module, an empty line | the sources

Source travels, not bytecode: 88 KB of source pack to 17 KB and compile in 14 ms; bytecode packs to 41-59 KB and fits
one version only. Docstrings, comments and annotations stay here, but every statement keeps its line number, so that
a far traceback points into the files as they are.

A relay, which was booted from a bundle, hands on the bytes it got: it has no files to read, and must not differ.
"""

import _thread
import marshal
import re
import sys
import zlib

from plasmid.boot import kept

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ast
    from typing import Any, Iterable, List, Tuple, Union

PACKAGES = ("plasmid", "plasmid.core", "plasmid.runtime")

# What is sent at boot. The rest of core and runtime is asked for when it is first needed, like any other module; so
# nothing of it may be needed on the loop's thread, which can't wait for an answer. Neighbours here resemble each
# other: zlib looks back 32 KiB only, and a third of the whole would lie further off.
BOOTED = (
    "core.calls core.events core.flow core.frames core.switch runtime.ports runtime.importer core.node runtime.runtime"
    " runtime.loop core.link core.address core.errors runtime.context runtime.main runtime.jobs runtime.watchdog"
    " core.values"
).split()

# Runs on the far side in the first stage's globals: c (configuration), b (bundle), s (b decompressed), n (read a u32).
# It starts the watchdog by hand, while there is little in memory, makes {name: (is_package, path, source, and the code
# if there is some)}, starts the importer by hand too (nothing can be imported before it is there), and leaves to main.
# c and b leave the globals on the way: `__main__` must not keep the configuration alive.
LOADER = """\
index, _, text = s[4 + n(s):].partition(b"\\n\\n")
sources = {}
for line in index.decode().split("\\n"):
 name, package, size = line.split()
 path = "<plasmid>" + name[7:].replace(".", "/") + ("/__init__.py" if package == "1" else ".py")
 size = int(size)
 sources[name] = package == "1", path, text[:size].decode()
 text = text[size:]
def load(name):
 name = "plasmid.runtime." + name
 module = sys.modules[name] = type(sys)(name)
 module.__package__ = "plasmid.runtime"
 _, module.__file__, text, *code = sources[name]
 exec(code[0] if code else compile(text, module.__file__, "exec"), module.__dict__)
 return module
watchdog = load("watchdog")
watchdog.start(0, c[0])
a = b""
if c[0] & 1:
 import marshal
 n = n(c[1:])
 try:
  if os.pread(n, 16, 0) == c[5:21]:
   if c[0] & 4:
    s, a = marshal.loads(os.pread(n, os.fstat(n).st_size, 16))
    for name, text in marshal.loads(s).items():
     sources[name] += text,
   os.close(n)
 except OSError:
  0
importer = load("importer")
importer.install(sources)
import plasmid.runtime
plasmid.runtime.importer = importer
plasmid.runtime.watchdog = watchdog
del s, text, sources, load
from plasmid.runtime.main import main
main(*map(globals().pop, "cba"))
"""

# A string, or a comment. Sources that travel parse on 3.6, so no quote of the same kind stands inside an f-string.
_STRING_OR_COMMENT = re.compile(
    rb'("""(?:\\.|[^\\])*?"""|\'\'\'(?:\\.|[^\\])*?\'\'\'|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\')|[ \t]*#[^\n]*',
    re.DOTALL,
)
_SPACE = re.compile(rb" +(?=\n)|(?<=\n)( +)")  # at the end of a line, or at its start
_NEEDLESS = re.compile(rb"(?<=[^\w\s]) +(?=\S|$)|(?:(?<=\S)|^) +(?=[^\w\s])")  # beside an operator or a bracket
_ONLY_AST = 0x400  # ast.PyCF_ONLY_AST, without the import of ast (6 ms)
_TRIES = 100

_lock = _thread.allocate_lock()
_packed = b""
_code = b""


def bundle() -> bytes:
    """Return the bytes that a far side is booted with. Any thread.

    They are packed once (some 60 ms) and then kept, in memory and for other programs.
    """
    global _packed, _code
    with _lock:  # twenty contexts started at once must not pack twenty times
        if not _packed:
            # Not an import: on the near side, runtime.main has no business in memory.
            main = sys.modules.get("plasmid.runtime.main")
            _packed = getattr(main, "BOOT_BUNDLE", b"")
        if not _packed:
            _packed, _code = _kept_or_made()
        return _packed


def booted_code() -> bytes:
    """Return {name: code} of all that the bundle has, as this interpreter compiles it: marshalled.

    For far sides with this one's bytecode magic number. Made once (some 25 ms), as the bundle. Any thread.
    """
    global _code
    packed = bundle()
    with _lock:
        _code = _code or _compiled(packed)
        return _code


def _kept_or_made() -> "Tuple[bytes, bytes]":
    """Return the bundle of our own sources, and the code of all that it has."""
    sources = own_sources()
    maker = _own_source("plasmid.boot.bundle", False)
    key = kept.key_of([part for name, _, source in sources + [maker] for part in (name.encode(), source)])
    found = kept.find(__file__, "kept", key)
    if found is None:
        packed = pack_bundle(sources)
        found = packed, _compiled(packed)
        kept.keep(__file__, "kept", key, found)
    return found  # type: ignore[no-any-return]


def _compiled(packed: bytes) -> bytes:
    codes = {}
    for name, is_package, source in read_bundle(packed):
        path = "<plasmid>" + name[7:].replace(".", "/") + ("/__init__.py" if is_package else ".py")
        codes[name] = compile(source, path, "exec", dont_inherit=True, optimize=0)
    return marshal.dumps(codes)


def own_sources() -> "List[Tuple[str, bool, bytes]]":
    """Return (name, is_package, source) of every module that is sent at boot, as it is in its file."""
    return [_own_source(name, name in PACKAGES) for name in PACKAGES + tuple("plasmid." + name for name in BOOTED)]


def _own_source(name: str, is_package: bool) -> "Tuple[str, bool, bytes]":
    # Through the package's loader, so that it works from a zip file too.
    home = name if is_package else name.rpartition(".")[0]
    __import__(home)
    package: "Any" = sys.modules[home]
    path = package.__path__[0] + ("/__init__.py" if is_package else "/%s.py" % name.rpartition(".")[2])
    loader = package.__spec__.loader if package.__spec__ else None
    source = loader.get_data(path)  # type: ignore[union-attr]
    return name, is_package, source


def pack_bundle(sources: "Iterable[Tuple[str, bool, bytes]]") -> bytes:
    """Return the bundle of these (name, is_package, source), prose and annotations stripped."""
    index = []
    texts = []
    for name, is_package, source in sources:
        text = strip(source, keep_annotations=False)
        index.append("%s %d %d\n" % (name, is_package, len(text)))
        texts.append(text)
    loader = LOADER.encode()
    head = [len(loader).to_bytes(4, "big"), loader, "".join(index).encode(), b"\n"]
    return zlib.compress(b"".join(head + texts), 9)


def read_bundle(packed: bytes) -> "List[Tuple[str, bool, bytes]]":
    """Return (name, is_package, source) of each module in a bundle, in its order."""
    data = zlib.decompress(packed)
    index, _, text = data[4 + int.from_bytes(data[:4], "big") :].partition(b"\n\n")
    found = []
    for line in index.decode().split("\n"):
        name, is_package, size = line.split()
        found.append((name, is_package == "1", text[: int(size)]))
        text = text[int(size) :]
    return found


def syntax_tree(source: "Union[bytes, str]") -> "Any":
    """Return the source's tree, an ast.Module, as ast.parse() does. Any thread.

    On Python 3.11 one thread that makes a tree can spoil that of another, which fails with a SystemError: there is one
    count of the depth for all. It is tried again then; it takes a collection of garbage at the wrong moment.
    """
    for _ in range(_TRIES):
        try:
            return compile(source, "<strip>", "exec", _ONLY_AST)
        except SystemError:
            pass
    return compile(source, "<strip>", "exec", _ONLY_AST)


def strip(source: bytes, keep_annotations: bool = True) -> bytes:
    """Return the source without docstrings, comments and `if TYPE_CHECKING:` blocks, every statement on its line.

    For Plasmid's own modules: UTF-8, indented by four spaces, parseable on 3.6. Annotations go only on request,
    since services are checked by theirs. Near side only: on a Python before 3.8 the source comes back as it is,
    since the tree doesn't say there where a statement ends.
    """
    if sys.version_info < (3, 8):
        return source
    edits = _Edits(source, keep_annotations)
    edits.visit_body(syntax_tree(source).body, is_module=True)
    source = edits.apply()

    pieces = []
    end = 0
    for match in _STRING_OR_COMMENT.finditer(source):
        pieces.append(_tightened(source[end : match.start()]))
        pieces.append(match.group(1) or b"")
        end = match.end()
    pieces.append(_tightened(source[end:]))
    return b"".join(pieces).rstrip() + b"\n"


def _tightened(code: bytes) -> bytes:
    """Return code between two strings with one space of indentation a level, and none where none is needed."""
    code = _SPACE.sub(lambda match: (match.group(1) or b"")[3::4], code)
    return _NEEDLESS.sub(b"", code) if code.strip() else code


class _Edits:
    """What is to be cut out of one source: byte ranges and what replaces them. Line breaks inside a range stay."""

    def __init__(self, source: bytes, keep_annotations: bool) -> None:
        self._source = source
        self._keep_annotations = keep_annotations
        self._edits: "List[Tuple[int, int, bytes]]" = []
        self._line_starts = [0]
        for line in source.splitlines(True):
            self._line_starts.append(self._line_starts[-1] + len(line))

    def apply(self) -> bytes:
        pieces = []
        end = 0
        for start, stop, text in sorted(self._edits):
            pieces.append(self._source[end:start])
            pieces.append(text + b"\n" * self._source.count(b"\n", start, stop))
            end = stop
        pieces.append(self._source[end:])
        return b"".join(pieces)

    def visit_body(self, body: "List[ast.stmt]", is_module: bool = False) -> None:
        """Edit these statements and those within them; at least one statement remains, unless it's a module's."""
        kept = 0 if not is_module else 1
        for statement in body:
            if self._is_cut(statement):
                # `0` stands for the statement where a body or a semicolon needs one.
                alone = not kept and statement is body[-1]
                followed = self._source[self._end(statement) :].lstrip(b" ")[:1] == b";"
                self._cut(self._start(statement), self._end(statement), b"0" if alone or followed else b"")
                continue
            kept += 1
            self._visit(statement)

    # Any: which fields a node has follows from its kind's name, and that no type checker sees.

    def _is_cut(self, statement: "Any") -> bool:
        kind = type(statement).__name__
        if kind == "Expr":
            return isinstance(getattr(statement.value, "value", None), str)
        if kind == "AnnAssign":
            return not self._keep_annotations and statement.value is None
        return kind == "If" and getattr(statement.test, "id", "") == "TYPE_CHECKING" and not statement.orelse

    def _visit(self, statement: "Any") -> None:
        kind = type(statement).__name__
        if kind == "If" and getattr(statement.test, "id", "") == "TYPE_CHECKING":
            for one in statement.body:
                self._cut(self._start(one), self._end(one), b"0" if one is statement.body[-1] else b"")
            self.visit_body(statement.orelse)
            return
        if not self._keep_annotations:
            if kind in ("FunctionDef", "AsyncFunctionDef"):
                self._visit_signature(statement)
            elif kind == "AnnAssign":
                self._cut(self._end(statement.target), self._end(statement.annotation))
        for field in ("body", "orelse", "finalbody"):
            self.visit_body(getattr(statement, field, None) or [])
        for handler in getattr(statement, "handlers", ()):
            self.visit_body(handler.body)

    def _visit_signature(self, function: "ast.FunctionDef") -> None:
        a = function.args
        for argument in [*getattr(a, "posonlyargs", ()), *a.args, *a.kwonlyargs, a.vararg, a.kwarg]:
            if argument is not None and argument.annotation is not None:
                name_end = self._start(argument) + len(argument.arg.encode())
                self._cut(name_end, self._end(argument))
        if function.returns is not None:
            arrow = self._source.rindex(b"->", 0, self._start(function.returns))
            self._cut(len(self._source[:arrow].rstrip()), self._end(function.returns))

    def _cut(self, start: int, stop: int, text: bytes = b"") -> None:
        self._edits.append((start, stop, text))

    def _start(self, node: "ast.expr | ast.stmt | ast.arg") -> int:
        return self._line_starts[node.lineno - 1] + node.col_offset

    def _end(self, node: "ast.expr | ast.stmt | ast.arg") -> int:
        # None only on nodes that no compiler made.
        return self._line_starts[(node.end_lineno or 0) - 1] + (node.end_col_offset or 0)
