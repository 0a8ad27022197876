"""Import from memory what was sent at boot, and Plasmid's own modules that were not.

The boot loader runs this file by hand before anything else of Plasmid exists, so it imports nothing of
Plasmid's own. Its place on `sys.meta_path` is at the front, and it answers for `plasmid` only: what another Plasmid
on this machine would be never counts. All other modules that this machine lacks are found by `missing`, which comes
a moment later, to keep the boot small.

Nothing is written to disk. Modules wait compressed until they are imported: their source and, where this interpreter
has the sender's magic number, the code that it makes. Python's lock per module makes two threads that want the same
name ask once.
"""

import _imp
import marshal
import sys
import zlib
from _frozen_importlib import ModuleSpec  # importlib.machinery would cost 1 ms
from _frozen_importlib_external import MAGIC_NUMBER  # type: ignore[import-not-found,unused-ignore]
from _thread import get_ident

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, ModuleType
    from typing import Any, Callable, Dict, List, Optional, Tuple, Union

    Ask = Callable[[List[str]], Dict[str, Any]]

# What the parent pushes ahead and nobody has imported yet. The parent is trusted; this only bounds waste.
PUSHED_SIZE_MAX = 32 << 20


class Loader:
    """One module in memory: loads it, and shows its source to tracebacks and to `inspect`."""

    __slots__ = ("package", "path", "data", "code", "pushed")

    def __init__(
        self,
        package: "Union[bool, str]",
        path: str,
        data: "Union[str, bytes, None]",
        code: "Any" = b"",
        pushed: int = 0,
    ) -> None:
        self.package = package  # is it a package? For `__main__`: the package that it was started from, or ""
        self.path = path
        self.data = data  # source; compressed if bytes; None: a namespace package
        # A magic number, and the compressed code for interpreters that have it; or empty. Of what was sent at boot: the
        # code itself, until it is run.
        self.code = code
        self.pushed = pushed  # bytes that count as pushed ahead until it's imported

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: "ModuleType") -> None:
        exec(self.get_code(), module.__dict__)

    def get_source(self, name: str = "") -> str:
        return zlib.decompress(self.data).decode() if isinstance(self.data, bytes) else self.data or ""

    def get_code(self, name: str = "") -> "CodeType":
        # Only a parent sends it, and whatever that sends is run here anyway.
        if not isinstance(self.code, bytes):
            booted, self.code = self.code, b""
            return booted  # type: ignore[no-any-return]
        if self.code[:4] == MAGIC_NUMBER and not sys.flags.optimize:
            code: "CodeType" = marshal.loads(zlib.decompress(self.code[4:]))
            _imp._fix_co_filename(code, self.path)  # type: ignore[attr-defined]
            return code
        return compile(self.get_source(), self.path, "exec", dont_inherit=True)

    def get_filename(self, name: str = "") -> str:
        return self.path

    def is_package(self, name: str = "") -> bool:
        return self.package is True


class Finder:
    """A place on `sys.meta_path`; `find_spec` is a method of what answers there."""

    __slots__ = ("find_spec",)

    def __init__(self, find_spec: "Callable[..., Optional[ModuleSpec]]") -> None:
        self.find_spec = find_spec


class Importer:
    """Every module that was sent to this context, and how to get more.

    Any thread may use it; dict operations are atomic, and Python's import lock orders the rest.
    `modules` holds all that came, imported or not, for children of this context to be served from. `refused` says of
    names that were asked for why they aren't sent.
    """

    def __init__(self, sources: "Dict[str, Tuple[Any, ...]]") -> None:
        self.modules = {name: Loader(*entry) for name, entry in sources.items()}
        # ask([name]) blocks until the parent's reply to "find" is there, and raises if there's none.
        self.ask: "Optional[Ask]" = None
        self.refused: "Dict[str, str]" = {}
        self.asking: "set[Tuple[int, str]]" = set()  # by thread
        self.pushed = 0
        self.python = ""  # the version that the modules come from

    def find_own(self, name: str, path: "Any" = None, target: "Any" = None) -> "Optional[ModuleSpec]":
        # To ask, `missing` lets go of the lock over all imports: another thread may need it to take the answer in.
        return self.find(name) if name.partition(".")[0] == "plasmid" else None

    def find(self, name: str) -> "Optional[ModuleSpec]":
        """Find a module among those that were sent, or ask for it."""
        asked = get_ident(), name
        if asked in self.asking:
            return None  # it is what the answer's own error would have to be read with
        if name not in self.modules and self.ask:
            self.asking.add(asked)
            try:
                self.take(self.ask([name]))
            except Exception as error:
                raise ImportError("asking the parent for module %r: %s" % (name, error), name=name) from error
            finally:
                self.asking.discard(asked)
        loader = self.modules.get(name)
        if not loader:
            return None
        self.pushed -= loader.pushed
        loader.pushed = 0
        return make_spec(name, loader)

    def take(self, reply: "Dict[str, Any]") -> None:
        """Keep what a reply to "find" brought: modules, and why others aren't sent."""
        for name, package, path, data, code in reply["found"]:
            size = 0 if (get_ident(), name) in self.asking else len(data or b"") + len(code)
            if name not in self.modules and self.pushed + size <= PUSHED_SIZE_MAX:
                self.pushed += size
                self.modules[name] = Loader(package, path, data, code, size)
        self.refused.update(reply["refused"])
        self.python = reply["python"]


# The Importer at work here; None in an interpreter that wasn't started by Plasmid.
current: "Optional[Importer]" = None


def make_spec(name: str, loader: Loader) -> ModuleSpec:
    if loader.data is None:
        return ModuleSpec(name, None, is_package=True)  # without a loader: a namespace package
    as_loader: "Any" = loader
    spec = ModuleSpec(name, as_loader, origin=loader.path, is_package=loader.package is True)
    spec.has_location = True
    return spec


def install(sources: "Dict[str, Tuple[Any, ...]]") -> Importer:
    """Make `sources`, {name: (is_package, path, source[, code])}, importable; the boot loader calls it once."""
    global current
    current = Importer(sources)
    sys.meta_path.insert(0, Finder(current.find_own))  # type: ignore[arg-type,unused-ignore]
    return current
