"""Import from memory what was sent at boot, and from the parent what this machine lacks.

The boot loader runs this file by hand before anything else of Plasmid exists, so it imports nothing of
Plasmid's own. Two places on `sys.meta_path` belong to it. The one at the front answers for `plasmid` itself and
for `__main__`; the one at the end is asked for whatever no other finder had. What this machine has is therefore
always its own; a pushed module never hides it.

Nothing is written to disk. Modules wait as compressed source until they are imported. Python's lock per module
makes two threads that want the same name ask once. The lock over all imports, under which Python calls a finder,
is let go while one waits here: other threads go on importing, and none that the answer depends on can be stuck.
"""

import _imp
import sys
import zlib
from _frozen_importlib import ModuleSpec  # importlib.machinery would cost 1 ms
from _thread import RLock, allocate_lock
from time import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, ModuleType
    from typing import Any, Callable, Dict, List, Optional, Tuple, Union

    Ask = Callable[[List[str]], Dict[str, Any]]

# A "no" is remembered for this long: an import loop over optional modules costs one round trip per name, and a
# module that was just permitted can be imported soon after.
ABSENT_MAX_AGE_S = 5.0
ABSENT_COUNT_MAX = 4096
# What the parent pushes ahead and nobody has imported yet. The parent is trusted; this only bounds waste.
PUSHED_SIZE_MAX = 32 << 20


class Loader:
    """One module in memory: loads it, and shows its source to tracebacks and to `inspect`."""

    __slots__ = ("package", "path", "data", "pushed")

    def __init__(
        self, package: "Union[bool, str]", path: str, data: "Union[str, bytes, None]", pushed: int = 0
    ) -> None:
        self.package = package  # is it a package? For `__main__`: the package that it was started from, or ""
        self.path = path
        self.data = data  # source; compressed if bytes; None: a namespace package
        self.pushed = pushed  # bytes that count as pushed ahead until it's imported

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: "ModuleType") -> None:
        exec(self.get_code(), module.__dict__)

    def get_source(self, name: str = "") -> str:
        return zlib.decompress(self.data).decode() if isinstance(self.data, bytes) else self.data or ""

    def get_code(self, name: str = "") -> "CodeType":
        return compile(self.get_source(), self.path, "exec", dont_inherit=True)

    def get_filename(self, name: str = "") -> str:
        return self.path

    def is_package(self, name: str = "") -> bool:
        return self.package is True

    def get_data(self, path: str) -> bytes:
        if path != self.path:
            raise OSError(2, "only a module's own source was sent, not this file", path)
        return self.get_source().encode()


class ImportLockReleased:
    """While in it, this thread doesn't hold Python's lock over all imports, however deep it held it before."""

    def __enter__(self) -> None:
        self.depth = 0
        try:
            while True:
                _imp.release_lock()
                self.depth += 1
        except RuntimeError:  # it isn't held (any more)
            pass

    def __exit__(self, *error: object) -> None:
        while self.depth:
            _imp.acquire_lock()
            self.depth -= 1


class Finder:
    """A place on `sys.meta_path`; `find_spec` is one of the Importer's methods."""

    __slots__ = ("find_spec",)

    def __init__(self, find_spec: "Callable[..., Optional[ModuleSpec]]") -> None:
        self.find_spec = find_spec


class Importer:
    """Every module that was sent to this context, and how to get more.

    Any thread may use it; dict operations are atomic, and Python's import lock orders the rest.
    `modules` holds all that came, imported or not, for children of this context to be served from.
    """

    def __init__(self, sources: "Dict[str, Tuple[bool, str, str]]") -> None:
        self.modules = {name: Loader(*entry) for name, entry in sources.items()}
        self.ask: "Optional[Ask]" = None
        self.absent: "Dict[str, Tuple[float, Optional[str]]]" = {}
        self.hooks: "Dict[str, Callable[[ModuleType], object]]" = {}
        self.pushed = 0
        self.site = 0 if sys.flags.no_site else 2  # 0 not yet, 1 being done, 2 done
        self.lock = RLock()
        self.stdlib = getattr(sys, "stdlib_module_names", ())  # since 3.10; for older ones the server knows

    def connect(self, ask: "Ask") -> None:
        """From now on `ask([name])` is called for what this machine lacks.

        It blocks until the parent's reply to "find" is there, and raises if there's none.
        """
        self.ask = ask
        # Kept, since the interpreter's own start (`python -c`) still runs in it.
        self.first_main = sys.modules.get("__main__")
        sys.modules["__main__"] = MainStandIn("__main__")

    def after_import(self, name: str, hook: "Callable[[ModuleType], object]") -> None:
        """Call hook(module) as soon as the module is imported, or now if it is already."""
        if name in sys.modules:
            hook(sys.modules[name])
        else:
            self.hooks[name] = hook

    def run_site(self) -> bool:
        """Add this machine's site-packages, once; say whether they are there.

        The boot leaves them out (-S): that costs 30 ms which the first call needn't wait for.
        """
        # Bounded: what a .pth file imports may be just what another thread, which waits here, is importing.
        if self.site < 2 and self.lock.acquire(timeout=10):
            try:
                if not self.site:
                    self.site = 1
                    try:
                        import site

                        site.main()
                    except (Exception, SystemExit) as error:  # noqa: BLE001 - what a .pth file raises is shown
                        sys.excepthook(type(error), error, error.__traceback__)
                    self.site = 2
            finally:
                self.lock.release()
        return self.site == 2

    def find_first(self, name: str, path: "Any" = None, target: "Any" = None) -> "Optional[ModuleSpec]":
        if name == "__main__" or name.partition(".")[0] == "plasmid":
            with ImportLockReleased():
                return self.find(name)
        hook = self.hooks.get(name)
        return self.hooked(name, hook, self.find_elsewhere(name, path, target)) if hook else None

    def hooked(self, name: str, hook: "Any", spec: "Optional[ModuleSpec]") -> "Optional[ModuleSpec]":
        loader: "Any" = spec and spec.loader

        def exec_module(module: "ModuleType") -> None:
            del loader.exec_module
            loader.exec_module(module)
            if self.hooks.pop(name, None):
                hook(module)

        # On the loader that the module will keep: a wrapper would hide its get_source and its resources.
        if hasattr(loader, "__dict__"):
            loader.exec_module = exec_module
        return spec

    def find_elsewhere(self, name: str, path: "Any", target: "Any") -> "Optional[ModuleSpec]":
        for finder in sys.meta_path:
            find_spec = getattr(finder, "find_spec", None)
            spec = find_spec and type(finder) is not Finder and find_spec(name, path, target)
            if spec:
                return spec  # type: ignore[no-any-return,unused-ignore]
        return None

    def find_last(self, name: str, path: "Any" = None, target: "Any" = None) -> "Optional[ModuleSpec]":
        top, dot, _ = name.partition(".")
        if not self.ask or top in self.stdlib:
            return None
        if dot:
            # A package of this machine's own is whole as it is: never half of it from elsewhere. One without a
            # file is a namespace, which may have parts on both sides.
            parent = sys.modules.get(name.rpartition(".")[0])
            if getattr(parent, "__file__", None) and type(getattr(parent, "__loader__", None)) is not Loader:
                return None
        with ImportLockReleased():
            if self.site < 2:
                # What site itself tries to import (sitecustomize) is this machine's business.
                spec = self.find_elsewhere(name, path, target) if self.run_site() else None
                if spec or self.site < 2:
                    return spec
            return self.find(name)

    def find(self, name: str) -> "Optional[ModuleSpec]":
        """Find a module among those that were sent, or ask for it."""
        if name not in self.modules and self.absent.get(name, (0.0,))[0] < monotonic() and self.ask:
            try:
                self.take(self.ask([name]), name)
            except Exception as error:
                raise ImportError("asking the parent for module %r: %s" % (name, error), name=name) from error
        loader = self.modules.get(name)
        if loader:
            self.pushed -= loader.pushed
            loader.pushed = 0
            return make_spec(name, loader)
        why = self.absent.get(name, (0.0, None))[1]
        # importlib.util.find_spec(name) is how libraries ask whether something is there: to them the answer is
        # None, as for any other missing module. Depth: find, find_first or find_last, _find_spec, the caller.
        if why and sys._getframe(3).f_code.co_name != "find_spec":
            raise ModuleNotFoundError("No module named %r: %s" % (name, why), name=name)
        return None

    def take(self, reply: "Dict[str, Any]", asked: str = "") -> None:
        """Keep what a reply to "find" brought: modules, and for the name that was asked for, why it isn't there."""
        for name, package, path, data in reply["found"]:
            size = len(data or b"") if name != asked else 0
            if name not in self.modules and self.pushed + size <= PUSHED_SIZE_MAX:
                self.pushed += size
                self.modules[name] = Loader(package, path, data, size)
        if asked not in self.modules:
            if len(self.absent) >= ABSENT_COUNT_MAX:
                self.absent.clear()
            why = reply["refused"].get(asked)
            if asked in reply["compiled"]:
                why = "it is compiled, and only source is sent; install %s on this machine" % reply["compiled"][asked]
            self.absent[asked] = (monotonic() + ABSENT_MAX_AGE_S, why)


# The Importer at work here; None in an interpreter that wasn't started by Plasmid.
current: "Optional[Importer]" = None
main_lock = allocate_lock()


class MainStandIn(type(sys)):  # type: ignore[misc,unused-ignore]
    """What `sys.modules["__main__"]` is until somebody wants something of the root's program."""

    def __getattr__(self, name: str) -> "Any":
        if name[:2] == "__":  # libraries look at __file__, __spec__ and the like of every module
            raise AttributeError(name)
        return getattr(load_main(), name)


def load_main() -> "ModuleType":
    """Import the root's `__main__`, its main part left out; at once if that has happened.

    Raises ImportError; then the stand-in is back, and the next one tries again.
    """
    stand_in = sys.modules.get("__main__")
    with main_lock:  # so that no thread takes away what another has just begun to import
        if type(sys.modules.get("__main__")) is MainStandIn:
            del sys.modules["__main__"]
    try:
        return __import__("__main__")
    finally:
        if type(stand_in) is MainStandIn:
            sys.modules.setdefault("__main__", stand_in)


def make_spec(name: str, loader: Loader) -> ModuleSpec:
    if loader.data is None:
        return ModuleSpec(name, None, is_package=True)  # without a loader: a namespace package
    kind: "Any" = ModuleSpec
    if name == "__main__" and loader.package:
        # `python -m pkg.tool` imports relative to pkg. Python derives that from the name, which is `__main__`.
        kind = type("MainSpec", (ModuleSpec,), {"parent": loader.package})
    spec: "ModuleSpec" = kind(name, loader, origin=loader.path, is_package=loader.package is True)
    spec.has_location = True
    if loader.package is True and loader.path[:1] == "/":
        # For code that looks at __path__[0]. A relative one would be looked for in the current folder, where
        # somebody else may write.
        spec.submodule_search_locations = [loader.path.rpartition("/")[0]]
    return spec


def install(sources: "Dict[str, Tuple[bool, str, str]]") -> Importer:
    """Make `sources`, {name: (is_package, path, source)}, importable; the boot loader calls it once."""
    global current
    current = Importer(sources)
    sys.meta_path.insert(0, Finder(current.find_first))  # type: ignore[arg-type,unused-ignore]
    sys.meta_path.append(Finder(current.find_last))  # type: ignore[arg-type,unused-ignore]
    return current
