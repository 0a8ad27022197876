"""Which modules, and which of their data, a context below this one may have. No module is looked for here.

A context may have Plasmid itself; what `allow_modules=` names; the top-level package of each module that its parent
asked it to run something of, and the top-level packages that the modules sent to it import, by their import
statements. What a context may have, those below it may too: it could hand it on anyway. Never the standard library,
nor what `deny_modules=` names.
"""

import threading

from plasmid.builtin.source_finder import is_name, stdlib_names
from plasmid.core.address import STEP_SIZE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Iterable, Iterator, List, Optional, Set

_NO_NAME = "it is no name of a module"
_NOT_ALLOWED = (
    "this context was not asked to run anything that imports it; to send it nevertheless, "
    "name it in allow_modules= of the Router: allow_modules=[%r]"
)
_STDLIB = "it belongs to Python's standard library, which is never sent; install it with the Python of that machine"
DENIED = "deny_modules= of the Router names it"


def lineage(name: str) -> "List[str]":
    """Return the packages that a module is in, outermost first, and the module: a.b.c gives a, a.b, a.b.c."""
    around = [name]
    while "." in around[-1]:
        around.append(around[-1].rpartition(".")[0])
    return around[::-1]


class Grant:
    """What one context, and those below it, may have, and what they may not."""

    __slots__ = ("packages", "modules", "asked", "denied", "data")

    def __init__(self) -> None:
        self.packages: "Set[str]" = set()  # with all that is in them
        self.modules: "Set[str]" = set()  # these alone
        self.asked: "Dict[str, None]" = {}  # modules that the parent asked it to run something of, in that order
        self.denied: "Set[str]" = set()
        self.data: "Dict[str, List[str]]" = {}  # patterns of data, by package

    def permits(self, name: str) -> bool:
        top = name.partition(".")[0]
        return name in self.modules or top in self.packages or any(part in self.packages for part in lineage(name))

    def add(self, name: str) -> None:
        """Permit a package or module with all that is in it, and the packages around it by themselves."""
        self.packages.add(name)
        self.modules.update(lineage(name))


class ModulePolicy:
    """What each context below this one may have.

    Any thread; the lock guards changes. A thread that reads meanwhile sees the state before or after one.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._everyone = Grant()
        self._grants: "Dict[bytes, Grant]" = {}
        self._stdlib: "frozenset[str]" = frozenset()

    def set_options(
        self,
        address: "Optional[bytes]",
        allow_modules: "Iterable[str]" = (),
        deny_modules: "Iterable[str]" = (),
        allow_data: "Iterable[str]" = (),
    ) -> None:
        """Take the options of a context, and of those below it; of all contexts where address is None.

        Raises TypeError or ValueError for what is no name of a module.
        """
        options = {"allow_modules": allow_modules, "deny_modules": deny_modules, "allow_data": allow_data}
        for option, names in options.items():
            if isinstance(names, str):
                raise TypeError("%s must be a list of names; it is the text %r" % (option, names))
            options[option] = names = list(names)
            for name in names:
                if not is_name(name.partition(":")[0] if option == "allow_data" and isinstance(name, str) else name):
                    raise ValueError("%s: %r is no name of a module or package" % (option, name))
        with self._lock:
            grant = self._everyone if address is None else self._grants.setdefault(address, Grant())
            for name in options["allow_modules"]:
                grant.add(name)
            grant.denied.update(options["deny_modules"])
            for name in options["allow_data"]:
                package, _, pattern = name.partition(":")
                grant.data.setdefault(package, []).append(pattern or "*")

    def permit(self, address: bytes, module_name: str) -> None:
        """Let the context at `address` have a module that it was asked to run something of, and its whole package.

        Called for every call that goes down; cheap after the first.
        """
        grant = self._grants.get(address)
        if grant is not None and module_name in grant.asked:
            return
        with self._lock:
            grant = self._grants.setdefault(address, Grant())
            grant.add(module_name.partition(".")[0])
            grant.asked[module_name] = None

    def asked(self, address: bytes) -> "List[str]":
        """Return the modules that the context's parent asked it to run something of, in that order."""
        grant = self._grants.get(address)
        return list(grant.asked) if grant is not None else []

    def sent(self, address: bytes, name: str, imports: "Iterable[str]") -> None:
        """Let the context have what a module imports that was sent to it."""
        if name.partition(".")[0] == "plasmid":  # what Plasmid itself would like to use isn't the program's
            return
        tops = {wanted.partition(".")[0] for wanted in imports}
        with self._lock:
            grant = self._grants.setdefault(address, Grant())
            for top in tops - grant.packages:
                grant.add(top)

    def permit_alone(self, address: bytes, names: "Iterable[str]") -> None:
        """Let the context have these modules, and not what is in them: the parent here has sent them for it."""
        with self._lock:
            self._grants.setdefault(address, Grant()).modules.update(names)

    def forget(self, address: bytes) -> None:
        """Drop what is known of a context that is gone, and of all below it."""
        with self._lock:
            for known in [known for known in self._grants if known.startswith(address)]:
                self._grants.pop(known)

    def refusal(self, name: str, address: bytes) -> "Optional[str]":
        """Say why nobody may decide to send this name to that context, None if somebody may."""
        if not is_name(name):
            return _NO_NAME
        if not self._stdlib:
            self._stdlib = stdlib_names()
        if name.partition(".")[0] in self._stdlib:
            return _STDLIB
        denied = [grant.denied for grant in self._grants_of(address) if grant.denied]
        if denied and any(not each.isdisjoint(lineage(name)) for each in denied):
            return DENIED
        return None

    def not_permitted(self, name: str, address: bytes) -> "Optional[str]":
        """Say why this context may not send a name to that one, where nothing refuses it; None if it may."""
        if name.partition(".")[0] == "plasmid" or any(grant.permits(name) for grant in self._grants_of(address)):
            return None
        return _NOT_ALLOWED % name.partition(".")[0]

    def data_patterns(self, package: str, address: bytes) -> "Dict[str, List[str]]":
        """Return the patterns of data that allow_data= names, of the package and those around it, by package."""
        found: "Dict[str, List[str]]" = {}
        for grant in self._grants_of(address):
            for part in lineage(package):
                found.setdefault(part, []).extend(grant.data.get(part, ()))
        return found

    def _grants_of(self, address: bytes) -> "Iterator[Grant]":
        yield self._everyone
        for size in range(0, len(address) + 1, STEP_SIZE):
            grant = self._grants.get(address[:size])
            if grant is not None:
                yield grant
