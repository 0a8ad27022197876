"""Far side: the data files of packages that were sent here, for importlib.resources and pkgutil.

Their names are asked for once for each package, their bytes when they're first read; both stay in memory, up to a
limit. What Python itself wants differs by version: 3.7 and 3.8 a ResourceReader, 3.9 real files, and newer ones the
`files()` of a reader. `Reader` is all of these, and `Resource` is a Traversable.
"""

import io
import sys
import zlib
from time import monotonic

from plasmid.builtin.kept_data import kept
from plasmid.core.errors import CallError
from plasmid.runtime import importer
from plasmid.runtime import main as far_main
from plasmid.runtime.context import Context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterator, List, Optional, Tuple

    from plasmid.runtime.importer import Loader

ASK_TIMEOUT_S = 60.0

_listings = {}  # type: Dict[str, Tuple[List[str], str]]


def ask(method: str, **arguments: "Any") -> "Any":
    """Return the parent's answer to a request for data or metadata. OSError if there is none."""
    runtime = far_main.runtime
    assert runtime is not None
    parent = Context(runtime, runtime.node.address[:-4])
    try:
        call = parent.send_call("s", "plasmid.modules", method, arguments, deadline=monotonic() + ASK_TIMEOUT_S)
        assert call is not None
        return call.result()
    except CallError as error:
        raise OSError("asking the parent for %s: %s" % (method, error)) from error


def _listing(package: str) -> "Tuple[List[str], str]":
    """Return the paths of a package's files, and why others aren't sent."""
    if package not in _listings:
        reply = ask("files", package=package)
        _listings[package] = reply["files"], reply["why"]
    return _listings[package]


def read(package: str, path: str, shown: str) -> bytes:
    """Return a file's bytes. Raises FileNotFoundError, which says why it isn't sent. shown: its path in the error."""
    names, why = _listing(package)
    known = kept.get(package, path)
    if known is None and path in names:
        reply = ask("data", package=package, path=path)
        why = reply["why"]
        if reply["data"] is not None:
            known = kept.put(package, path, reply["data"])
    if known is None:
        text = "No such file among the data that was declared" + (": " + why if why else "")
        raise FileNotFoundError(2, text, shown)
    return zlib.decompress(known.data)


def get_data(loader: "Loader", path: str) -> bytes:
    """Return the bytes of a file in the folder of a module that was sent; what pkgutil.get_data() asks for."""
    if path == loader.path:
        return loader.get_source().encode()
    folder = loader.path.rpartition("/")[0] + "/"
    package = _package_of(loader)
    inside = path[len(folder) :].replace("\\", "/")
    if not package or not path.startswith(folder):
        raise FileNotFoundError(2, "only what lies in the folder of a sent package can be had", path)
    return read(package, inside, path)


def _package_of(loader: "Loader") -> str:
    assert importer.current is not None
    for name, known in list(importer.current.modules.items()):
        if known is loader:
            return name if loader.package is True else name.rpartition(".")[0]
    return ""


def modules_in(folder: str, prefix: str) -> "List[Tuple[str, bool]]":
    """Return the modules in a folder of a package that was sent, and whether each is a package; for pkgutil."""
    assert importer.current is not None
    for package, loader in list(importer.current.modules.items()):
        home = loader.path.rpartition("/")[0]
        if loader.package is True and (folder + "/").startswith(home + "/"):
            return sorted(_modules_among(_listing(package)[0], folder[len(home) + 1 :], prefix))
    return []


def _modules_among(names: "List[str]", inside: str, prefix: str) -> "Iterator[Tuple[str, bool]]":
    start = inside + "/" if inside else ""
    for name in names:
        if not name.startswith(start) or not name.endswith(".py"):
            continue
        first, _, rest = name[len(start) : -len(".py")].partition("/")
        if first.isidentifier() and first != "__init__" and rest in ("", "__init__"):
            yield prefix + first, bool(rest)


class Reader:
    """What importlib.resources asks a package's loader for."""

    def __init__(self, package: str, folder: str) -> None:
        self._package = package
        self._folder = folder

    def files(self) -> "Resource":
        """Return the package's folder."""
        return Resource(self._package, self._folder, "")

    def open_resource(self, resource: str) -> "io.BytesIO":
        """Return a file of the package, open for reading."""
        return io.BytesIO(self.files().joinpath(resource).read_bytes())

    def resource_path(self, resource: str) -> str:
        """Say that there is no file on this machine; importlib.resources makes a temporary one then."""
        raise FileNotFoundError(2, "it is in memory only", resource)

    def is_resource(self, resource: str) -> bool:
        """Whether the name is that of a file, and not of a folder."""
        return self.files().joinpath(resource).is_file()

    def contents(self) -> "Iterator[str]":
        """Give the names in the package's folder."""
        return (entry.name for entry in self.files().iterdir())


class Resource:
    """A file or folder of a package, in memory: what importlib.resources calls a Traversable."""

    def __init__(self, package: str, folder: str, path: str) -> None:
        self._package = package
        self._folder = folder
        self._path = path

    def __str__(self) -> str:
        return self._folder + ("/" + self._path if self._path else "")

    def __repr__(self) -> str:
        return "<Resource %s>" % self

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Resource) and str(other) == str(self) and other._package == self._package

    def __hash__(self) -> int:
        return hash(str(self))

    @property
    def name(self) -> str:
        """The last part of its path."""
        return str(self).rpartition("/")[2]

    @property
    def suffix(self) -> str:
        """The last part of its name, from the dot on."""
        return "." + self.name.rpartition(".")[2] if "." in self.name[1:] else ""

    def joinpath(self, *parts: "Any") -> "Resource":
        """Return the file or folder of that name in this one; it needn't be there."""
        steps = self._path.split("/") if self._path else []
        for part in parts:
            for step in str(part).split("/"):
                if step == "..":
                    if not steps:
                        raise ValueError("%s/%s is not in the package" % (self, part))
                    steps.pop()
                elif step not in ("", "."):
                    steps.append(step)
        return Resource(self._package, self._folder, "/".join(steps))

    def __truediv__(self, part: "Any") -> "Resource":
        return self.joinpath(part)

    def is_file(self) -> bool:
        """Whether it is a file."""
        return self._path in _listing(self._package)[0]

    def is_dir(self) -> bool:
        """Whether it is a folder."""
        start = self._path + "/"
        return not self._path or any(name.startswith(start) for name in _listing(self._package)[0])

    def exists(self) -> bool:
        """Whether it is there."""
        return self.is_file() or self.is_dir()

    def iterdir(self) -> "Iterator[Resource]":
        """Give what is in this folder."""
        start = self._path + "/" if self._path else ""
        names = _listing(self._package)[0]
        inside = sorted({name[len(start) :].partition("/")[0] for name in names if name.startswith(start)})
        if not inside and self._path:
            raise (NotADirectoryError if self.is_file() else FileNotFoundError)(2, "there is no such folder", str(self))
        return (self.joinpath(name) for name in inside)

    def read_bytes(self) -> bytes:
        """Return the file's bytes."""
        return read(self._package, self._path, str(self))

    def read_text(self, encoding: "Optional[str]" = None, errors: "Optional[str]" = None) -> str:
        """Return the file's text."""
        with self.open("r", encoding=encoding, errors=errors) as file:
            return file.read()  # type: ignore[no-any-return]

    def open(self, mode: str = "r", *args: "Any", **kwargs: "Any") -> "Any":
        """Open the file for reading, as text unless the mode is "rb"."""
        data = io.BytesIO(self.read_bytes())
        if "b" in mode:
            return data
        kwargs.pop("buffering", None)
        if args and args[0] in (-1, 1):  # buffering, as pathlib's open() has it first
            args = args[1:]
        if not args and kwargs.get("encoding") is None:
            kwargs["encoding"] = "utf-8"
        return io.TextIOWrapper(data, *args, **kwargs)


def mend_3_9(common: "Any") -> None:
    """Have importlib.resources.files() ask loaders, which of all versions 3.9 alone doesn't."""
    plain = common.fallback_resources

    def fallback_resources(spec: "Any") -> "Any":
        if isinstance(spec.loader, importer.Loader):
            return spec.loader.get_resource_reader(spec.name).files()  # type: ignore[attr-defined]
        return plain(spec)

    common.fallback_resources = fallback_resources


if sys.version_info[:2] == (3, 9):
    from importlib import _common  # type: ignore[attr-defined]

    mend_3_9(_common)
