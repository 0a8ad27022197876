"""Find what this machine lacks: the user's modules, and the root's `__main__`.

Two places on `sys.meta_path` belong to it. The one at the front answers for `__main__`, and tells who wants to know
of an import; the one at the end is asked for whatever no other finder had. What this machine has is therefore always
its own; a pushed module never hides it.

The lock over all imports, under which Python calls a finder, is let go while one waits here: other threads go on
importing, and none that the answer depends on can be stuck.
"""

import _imp
import sys
from _frozen_importlib import ModuleSpec
from _thread import RLock, allocate_lock
from time import monotonic

from plasmid.runtime.importer import Finder, Importer, Loader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, ModuleType
    from typing import Any, Callable, Dict, List, Optional

# A "no" is remembered for this long: an import loop over optional modules costs one round trip per name, and a
# module that was just permitted can be imported soon after.
ABSENT_MAX_AGE_S = 5.0
ABSENT_COUNT_MAX = 4096


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


class Sent(Loader):
    """A module of the user's in memory; Plasmid's own need no more than Loader."""

    __slots__ = ()

    def get_code(self, name: str = "") -> "CodeType":
        try:
            return super().get_code(name)
        except SyntaxError as error:
            # With the place in the text, which is what of it travels.
            text = "%s in %s, line %s: this is Python %d.%d.%d, and it was sent by Python %s"
            sender = current.importer.python if current else ""
            text %= (error.msg, error.filename, error.lineno, *sys.version_info[:3], sender)
            raise SyntaxError(text, (error.filename, error.lineno, error.offset, error.text)) from None

    def get_data(self, path: str) -> bytes:
        return hook("get_data")(self, path)  # type: ignore[no-any-return]

    def get_resource_reader(self, name: str) -> "Any":
        return hook("reader")(name, self.path.rpartition("/")[0])


def hook(name: str) -> "Any":
    """Return what a layer above supplies under this name, imported now."""
    from plasmid.runtime import main

    assert main.runtime is not None
    return main.runtime.hook(name)


class FirstFinder(Finder):
    """At the front of `sys.meta_path`."""

    __slots__ = ("run_site",)

    def __init__(self, find_spec: "Any", run_site: "Callable[[], bool]") -> None:
        super().__init__(find_spec)
        self.run_site = run_site

    def find_distributions(self, context: "Any" = None) -> "Any":
        self.run_site()  # the next ones are to see this machine's site-packages
        return iter(())


class LastFinder(Finder):
    """At the end of `sys.meta_path`."""

    __slots__ = ()

    def find_distributions(self, context: "Any" = None) -> "Any":
        return hook("metadata")(context)


class SentFolder:
    """What pkgutil asks which modules are in a folder of a sent package; they are found elsewhere."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        if not path.startswith("/<sent>/"):
            raise ImportError("another folder", path=path)
        self.path = path

    def find_spec(self, name: str, target: "Any" = None) -> None:
        return None

    def iter_modules(self, prefix: str = "") -> "Any":
        return hook("modules_in")(self.path, prefix)


class Missing:
    """Finds, with an importer that can ask, what no other finder has. Any thread may use it."""

    def __init__(self, importer: Importer) -> None:
        global current
        current = self
        self.importer = importer
        self.absent: "Dict[str, float]" = {}
        self.prefer_near = False
        self.hooks: "Dict[str, Callable[[ModuleType], object]]" = {}
        self.site = 0 if sys.flags.no_site else 2  # 0 not yet, 1 being done, 2 done
        self.lock = RLock()
        self.stdlib = getattr(sys, "stdlib_module_names", ())  # since 3.10; for older ones the server knows
        plain = importer.ask

        def ask(names: "List[str]") -> "Dict[str, Any]":
            with ImportLockReleased():  # of Plasmid's own modules, too
                reply = plain(names)  # type: ignore[misc]  # it is there
            for name in list(reply["refused"]) + reply["missing"]:
                self.keep_absent(name)  # said ahead, some of them, as others are sent
            return reply

        importer.ask = ask
        # Kept, since the interpreter's own start (`python -c`) still runs in it.
        self.first_main = sys.modules.get("__main__")
        sys.modules["__main__"] = MainStandIn("__main__")
        sys.meta_path.insert(0, FirstFinder(self.find_first, self.run_site))  # type: ignore[arg-type,unused-ignore]
        sys.path_hooks.append(SentFolder)  # type: ignore[arg-type,unused-ignore]
        sys.meta_path.append(LastFinder(self.find_last))  # type: ignore[arg-type,unused-ignore]

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
        if name == "__main__":
            with ImportLockReleased():
                return self.find(name)
        if self.prefer_near and name.partition(".")[0] not in self.stdlib and not is_own_part(name):
            with ImportLockReleased():
                spec = self.find(name, may_raise=False)
            if spec:
                return spec
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
            spec = find_spec and not isinstance(finder, Finder) and find_spec(name, path, target)
            if spec:
                return spec  # type: ignore[no-any-return,unused-ignore]
        return None

    def find_last(self, name: str, path: "Any" = None, target: "Any" = None) -> "Optional[ModuleSpec]":
        if name.partition(".")[0] in self.stdlib or is_own_part(name):
            return None
        with ImportLockReleased():
            if self.site < 2:
                # What site itself tries to import (sitecustomize) is this machine's business.
                spec = self.find_elsewhere(name, path, target) if self.run_site() else None
                if spec or self.site < 2:
                    return spec
            return self.find(name)

    def find(self, name: str, may_raise: bool = True) -> "Optional[ModuleSpec]":
        """Find a module among those that were sent, or ask for it; ModuleNotFoundError that says why it isn't sent."""
        if self.absent.get(name, 0.0) < monotonic():
            spec = self.importer.find(name)
            if spec:
                return with_location(spec, self.importer.modules[name])
            self.keep_absent(name)
        why = self.importer.refused.get(name)
        # importlib.util.find_spec(name) is how libraries ask whether something is there: to them the answer is
        # None, as for any other missing module. Depth: find, find_first or find_last, _find_spec, the caller.
        if why and may_raise and sys._getframe(3).f_code.co_name != "find_spec":
            raise ModuleNotFoundError("No module named %r: %s" % (name, why), name=name)
        return None

    def keep_absent(self, name: str) -> None:
        """Remember for a while that the parent has no such module for us."""
        if len(self.absent) >= ABSENT_COUNT_MAX:
            self.absent.clear()
            self.importer.refused.clear()
        self.absent[name] = monotonic() + ABSENT_MAX_AGE_S


def is_own_part(name: str) -> bool:
    """Whether the module is inside of a package of this machine's own, which is whole as it is.

    One without a file is a namespace, which may have parts on both sides.
    """
    around = sys.modules.get(name.rpartition(".")[0])
    return bool(getattr(around, "__file__", None)) and not isinstance(getattr(around, "__loader__", None), Loader)


def with_location(spec: ModuleSpec, loader: Loader) -> ModuleSpec:
    """Return the spec with what code looks for that was written for files."""
    loader.__class__ = Sent
    as_loader: "Any" = loader
    spec.loader = as_loader  # of a namespace package too, which had none, and may have data
    if loader.package is True and loader.path[:1] == "/":
        # For code that looks at __path__[0]. A relative one would be looked for in the current folder, where
        # somebody else may write.
        spec.submodule_search_locations = [loader.path.rpartition("/")[0]]
    if spec.name == "__main__" and loader.package:
        # `python -m pkg.tool` imports relative to pkg. Python derives that from the name, which is `__main__`.
        spec.__class__ = type("MainSpec", (ModuleSpec,), {"parent": loader.package})
    return spec


# What finds what this machine lacks, None before it is in place.
current = None  # type: Optional[Missing]

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
