"""Find a module's source without importing anything.

`importlib.util.find_spec("a.b")` imports `a`, and that is code run because of a name that a child sent. So the
path is walked here by hand, from the top-level name down, as the import system would: first what is in
`sys.modules` already, then each finder of `sys.meta_path`. Which names may be asked for is the module server's
business; here is only what a name stands for.
"""

import importlib.machinery
import importlib.util
import os
import stat
import sys
from types import ModuleType

from plasmid.runtime.importer import Finder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterable, List, Optional, Tuple

    Stamp = Tuple[int, int]
    Folders = Dict[str, Optional[List[str]]]

SOURCE_SIZE_MAX = 8 << 20
NAME_SIZE_MAX = 500
_TOO_LARGE = "it is %d bytes long; the limit is %d"

# A far side's version may have these, or did; this one's standard library may not.
_MOVED_STDLIB = "asynchat asyncore binhex distutils formatter imp lib2to3 parser smtpd symbol macpath dummy_threading"


NO_FILE = 0, 0
_SOURCE_SUFFIXES = tuple(importlib.machinery.SOURCE_SUFFIXES)
_COMPILED_SUFFIXES = (*importlib.machinery.EXTENSION_SUFFIXES, *importlib.machinery.BYTECODE_SUFFIXES)
# A FIFO by the name of a module would keep an open() waiting without O_NONBLOCK.
_READ = os.O_RDONLY | os.O_NONBLOCK


class Found:
    """What a name stands for. data: the source, in UTF-8, if `kind` is SOURCE. path: where it was found.

    file: `path`, if the source is what stands in that file, and stamp what it then was; "" if a loader, or we, made it.
    """

    SOURCE = "source"
    NAMESPACE = "namespace"  # a package without a file of its own
    COMPILED = "compiled"  # an extension module, or bytecode without source; `distribution` is what installs it

    __slots__ = ("kind", "path", "is_package", "data", "distribution", "file", "stamp")

    def __init__(self, kind: str, path: str = "", is_package: bool = False, data: bytes = b"", distribution: str = ""):
        self.kind = kind
        self.path = path
        self.is_package = is_package
        self.data = data
        self.distribution = distribution
        self.file = ""
        self.stamp: "Optional[Stamp]" = None

    @property
    def text(self) -> str:
        """The source as text."""
        return self.data.decode("utf-8", "surrogatepass")


class Unreadable(Exception):
    """A module is here, but its source can't be had; the text says why."""


def is_name(name: object) -> bool:
    """Whether it could be a module's dotted name at all."""
    return type(name) is str and len(name) <= NAME_SIZE_MAX and all(part.isidentifier() for part in name.split("."))


def stdlib_names() -> "frozenset[str]":
    """Return the top-level names that belong to Python itself, here or in another version."""
    names = set(_MOVED_STDLIB.split()) | set(sys.builtin_module_names)
    names.update(getattr(sys, "stdlib_module_names", ()))  # since 3.10
    if not hasattr(sys, "stdlib_module_names"):
        import pkgutil

        folder = os.path.dirname(os.__file__)
        for path in (folder, os.path.join(folder, "lib-dynload")):
            names.update(module.name for module in pkgutil.iter_modules([path]))
    return frozenset(names)


def stamp_of(path: str) -> "Stamp":
    """Return what changes with a file; NO_FILE for all that is none."""
    try:
        return _stamp(os.stat(path))
    except (OSError, ValueError):
        return NO_FILE  # in a zip, or in memory


def _stamp(status: os.stat_result) -> "Stamp":
    return status.st_mtime_ns, status.st_size


def find(name: str, folders: "Optional[Folders]" = None) -> "Optional[Found]":
    """Return what the module `name` is on this machine, or None if it's not here. Nothing is imported.

    folders: of packages that were looked for a moment ago, by name; they aren't looked for again. More are added.
    Raises Unreadable if its source can't be had.
    """
    spec = spec_of(name, folders)
    return _found(name, spec) if spec else None


def spec_of(name: str, folders: "Optional[Folders]" = None) -> "Optional[importlib.machinery.ModuleSpec]":
    """Return the spec of the module `name` on this machine, or None if it's not here. Nothing is imported."""
    spec = _loaded_spec(name)
    if spec is not None:
        return spec
    around = name.rpartition(".")[0]
    path = _folders_of(around, {} if folders is None else folders) if around else None
    return None if around and path is None else _find_spec(name, path)


def _folders_of(name: str, known: "Folders") -> "Optional[List[str]]":
    """Return the folders of a package, which is looked for from the top-level name down; None if it's not here."""
    if name in known:
        return known[name]
    path: "Optional[List[str]]" = None
    parts = name.split(".")
    for count in range(1, len(parts) + 1):
        package = ".".join(parts[:count])
        if package not in known:
            spec = _loaded_spec(package) or _find_spec(package, path)
            known[package] = None if spec is None else package_path(spec)
        path = known[package]
        if path is None:
            break
    return path


def dict_of(module: "Any") -> "Dict[str, Any]":
    """Return the names of what stands in `sys.modules`, {} if that is no module."""
    # Past any __getattribute__ and __getattr__: a lazy module's would load it.
    return ModuleType.__getattribute__(module, "__dict__") if issubclass(type(module), ModuleType) else {}


def _loaded_spec(name: str) -> "Optional[importlib.machinery.ModuleSpec]":
    spec = dict_of(sys.modules.get(name)).get("__spec__")
    # One that is there under an alias (os.path) is looked for anew under its name.
    return spec if type(spec) is importlib.machinery.ModuleSpec and spec.name == name else None


def package_path(spec: "importlib.machinery.ModuleSpec") -> "Optional[List[str]]":
    """Return the folders that a package is in, None for what is no package."""
    # What pkgutil.extend_path and the like made of it counts.
    path = dict_of(sys.modules.get(spec.name)).get("__path__", spec.submodule_search_locations)
    return None if path is None else [item for item in path if isinstance(item, str)]


def _find_spec(name: str, path: "Optional[List[str]]") -> "Optional[importlib.machinery.ModuleSpec]":
    for finder in list(sys.meta_path):
        if finder in (importlib.machinery.BuiltinImporter, importlib.machinery.FrozenImporter):
            continue
        if finder is importlib.machinery.PathFinder:
            spec = _find_on_path(name, sys.path if path is None else path)
        elif isinstance(finder, Finder) or not hasattr(finder, "find_spec"):
            continue  # our own would ask the parent, for this context
        else:
            try:
                spec = finder.find_spec(name, path, None)
            except Exception:  # noqa: BLE001 - somebody's finder, which may need the parent package imported
                continue
        if spec is not None:
            return spec
    return None


def _find_on_path(name: str, path: "Iterable[str]") -> "Optional[importlib.machinery.ModuleSpec]":
    """Do what PathFinder does, which for a namespace package in another one wants that one to be imported."""
    portions: "List[str]" = []
    for item in path:
        finder = _finder_of(item or os.getcwd())
        if not hasattr(finder, "find_spec"):
            continue
        spec: "Optional[importlib.machinery.ModuleSpec]" = finder.find_spec(name)
        if spec is None:
            continue
        if spec.loader is not None:
            return spec
        portions.extend(spec.submodule_search_locations or ())
    if not portions:
        return None
    namespace = importlib.machinery.ModuleSpec(name, None, is_package=True)
    namespace.submodule_search_locations = portions
    return namespace


def _finder_of(folder: str) -> "Any":
    """Return what finds modules in one entry of a path, as pkgutil.get_importer() does, None if nothing does.

    pkgutil takes 4 ms to import, which every program would spend before its first context.
    """
    finder = sys.path_importer_cache.get(folder)
    for hook in sys.path_hooks if finder is None else ():
        try:
            finder = hook(folder)
        except ImportError:
            continue
        return sys.path_importer_cache.setdefault(folder, finder)
    return finder


def _found(name: str, spec: "importlib.machinery.ModuleSpec") -> "Optional[Found]":
    loader: "Any" = spec.loader
    is_package = spec.submodule_search_locations is not None
    origin = spec.origin if isinstance(spec.origin, str) else ""
    if is_package and (loader is None or type(loader).__name__.endswith("NamespaceLoader")):
        return Found(Found.NAMESPACE, is_package=True)
    if origin.endswith(_COMPILED_SUFFIXES):
        return Found(Found.COMPILED, origin, is_package, distribution=distribution_of(origin))
    read = _read_source(name, loader, origin)
    if read is None:
        return None
    found = Found(Found.SOURCE, origin, is_package, read[0])
    found.stamp = read[1]
    found.file = origin if read[1] is not None else ""
    return found


def source_of(name: str, loader: "Any", path: str) -> "Optional[str]":
    """Return a module's source, from its file or by its loader; None if there's none to be had.

    Raises Unreadable.
    """
    read = _read_source(name, loader, path)
    return None if read is None else read[0].decode("utf-8", "surrogatepass")


def _read_source(name: str, loader: "Any", path: str) -> "Optional[Tuple[bytes, Optional[Stamp]]]":
    """Return a module's source in UTF-8, and the stamp of its file if it was read from there. Raises Unreadable."""
    try:
        read = _read_file(path) if path.endswith(_SOURCE_SUFFIXES) else None
        if read is not None:
            return _as_utf8(read[0]), read[1]
        get_source = getattr(loader, "get_source", None)
        text: "Optional[str]" = get_source(name) if get_source else None
    except Unreadable:
        raise
    except Exception as error:
        raise Unreadable("%s: %s" % (type(error).__name__, error)) from error
    if text is None:
        return None
    if len(text) > SOURCE_SIZE_MAX:
        raise Unreadable(_TOO_LARGE % (len(text), SOURCE_SIZE_MAX))
    return utf8(text), None


def _read_file(path: str) -> "Optional[Tuple[bytes, Stamp]]":
    """Return what is in a file, and its stamp; None if there's no such file."""
    try:
        fd = os.open(path, _READ)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            return None
        size = status.st_size
        if size > SOURCE_SIZE_MAX:
            raise Unreadable(_TOO_LARGE % (size, SOURCE_SIZE_MAX))
        data = os.read(fd, size + 1)
        if len(data) != size:  # it is just being changed, or in a file system that knows no sizes
            data += os.read(fd, SOURCE_SIZE_MAX)
    finally:
        os.close(fd)
    return data, _stamp(status)


def _as_utf8(data: bytes) -> bytes:
    """Return the source in a file as UTF-8, as Python reads it: by the encoding that it names, lines ended by \\n."""
    end = data.find(b"\n", data.find(b"\n") + 1)
    if b"\r" in data or data.startswith(b"\xef\xbb\xbf") or b"coding" in data[: end if end >= 0 else None]:
        return utf8(importlib.util.decode_source(data))
    try:
        data.decode()
    except UnicodeDecodeError:
        importlib.util.decode_source(data)  # which says it as Python would
        raise
    return data


def utf8(text: str) -> bytes:
    """Return a source as it is sent."""
    return text.encode("utf-8", "surrogatepass")


def distribution_of(path: str) -> str:
    """Return the name of the installed distribution that a file belongs to, "" if no record says so.

    Reads the RECORD files beside it: importlib.metadata would take ten times as long to import alone.
    """
    folder, inside = os.path.split(path)
    while os.path.dirname(folder) != folder:
        for entry in sorted(os.listdir(folder)):
            record = os.path.join(folder, entry, "RECORD")
            if entry.endswith(".dist-info") and os.path.isfile(record):
                with open(record, encoding="utf-8", errors="replace") as file:
                    if any(line.startswith((inside + ",", '"' + inside + '"')) for line in file):
                        return entry.partition("-")[0]
        folder, upper = os.path.split(folder)
        inside = upper + "/" + inside
        if upper in ("site-packages", "dist-packages"):
            break
    return ""
