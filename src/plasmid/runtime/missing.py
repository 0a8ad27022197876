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
    from types import ModuleType
    from typing import Any, Callable, Dict, Optional

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


class Missing:
    """Finds, with an importer that can ask, what no other finder has. Any thread may use it."""

    def __init__(self, importer: Importer) -> None:
        self.importer = importer
        self.absent: "Dict[str, float]" = {}
        self.hooks: "Dict[str, Callable[[ModuleType], object]]" = {}
        self.site = 0 if sys.flags.no_site else 2  # 0 not yet, 1 being done, 2 done
        self.lock = RLock()
        self.stdlib = getattr(sys, "stdlib_module_names", ())  # since 3.10; for older ones the server knows
        # Kept, since the interpreter's own start (`python -c`) still runs in it.
        self.first_main = sys.modules.get("__main__")
        sys.modules["__main__"] = MainStandIn("__main__")
        sys.meta_path.insert(0, Finder(self.find_first))  # type: ignore[arg-type,unused-ignore]
        sys.meta_path.append(Finder(self.find_last))  # type: ignore[arg-type,unused-ignore]

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
        if top in self.stdlib:
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
        """Find a module among those that were sent, or ask for it; ModuleNotFoundError that says why it isn't sent."""
        if self.absent.get(name, 0.0) < monotonic():
            spec = self.importer.find(name)
            if spec:
                return with_location(spec)
            if len(self.absent) >= ABSENT_COUNT_MAX:
                self.absent.clear()
                self.importer.refused.clear()
            self.absent[name] = monotonic() + ABSENT_MAX_AGE_S
        why = self.importer.refused.get(name)
        # importlib.util.find_spec(name) is how libraries ask whether something is there: to them the answer is
        # None, as for any other missing module. Depth: find, find_first or find_last, _find_spec, the caller.
        if why and sys._getframe(3).f_code.co_name != "find_spec":
            raise ModuleNotFoundError("No module named %r: %s" % (name, why), name=name)
        return None


def with_location(spec: ModuleSpec) -> ModuleSpec:
    """Return the spec with what code looks for that was written for files."""
    loader = spec.loader
    if not isinstance(loader, Loader):
        return spec
    if loader.package is True and loader.path[:1] == "/":
        # For code that looks at __path__[0]. A relative one would be looked for in the current folder, where
        # somebody else may write.
        spec.submodule_search_locations = [loader.path.rpartition("/")[0]]
    if spec.name == "__main__" and loader.package:
        # `python -m pkg.tool` imports relative to pkg. Python derives that from the name, which is `__main__`.
        spec.__class__ = type("MainSpec", (ModuleSpec,), {"parent": loader.package})
    return spec


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
