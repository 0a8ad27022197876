"""The service `plasmid.modules`: gives children the source of modules, and of no others than they may have.

A child asks with `find`, names=[...], for=address (itself, or a context below it that it asks for). The answer:

    found     [[name, is_package, path, source, code], ...]: what was asked for, then what that will want next.
              source is zlib-compressed UTF-8, None for a namespace package. code is empty, or, where the asking
              interpreter has this one's magic number, that number and the compressed code (see bytecode.py). For
              `__main__`, is_package is the package that its relative imports start from, or "".
    missing   [name, ...]
    refused   {name: why}
    compiled  {name: the distribution that would provide it}

**What a context may have.** Plasmid itself; what `allow_modules=` names; the top-level package of each module that
its parent asked it to run something of, and the top-level packages that the modules sent to it import, by their
import statements. Never the standard library, never what `deny_modules=` names, never a file that isn't a module.
Nothing is imported here because somebody asked.

A relay, a context that has children without being the root, answers from what it has itself, and asks its own parent
for the rest, which decides by the same rules for the context that wants it; magic= of that request is the number of
its interpreter.
"""

import os
import sys
import threading
import zlib
from collections import deque

from plasmid.builtin import bytecode
from plasmid.builtin.main_module import find_main
from plasmid.builtin.source_finder import Found, Unreadable, find, is_name, stdlib_names
from plasmid.core.address import STEP_SIZE, text
from plasmid.core.errors import PlasmidError, Refused
from plasmid.runtime import importer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType
    from typing import Any, Deque, Dict, Iterable, List, Optional, Set, Tuple

    from plasmid.runtime.context import Call, Context
    from plasmid.runtime.jobs import Job

    Reply = Dict[str, Any]

NAMES_COUNT_MAX = 256
# What is sent ahead in one answer. A package of 100 modules then takes one round trip or two, and a wrong guess
# costs a slow link no more than about a second.
PUSH_COUNT_MAX = 200
PUSH_SIZE_MAX = 2 << 20

# Stands before the near path of a sent module, so that it names no file of the far machine: a folder that only the
# far machine's root could make.
SENT = "/<sent>"

_NOT_ALLOWED = (
    "this context was not asked to run anything that imports it; to send it nevertheless, "
    "name it in allow_modules= of the Router: allow_modules=[%r]"
)
_STDLIB = "it belongs to Python's standard library, which is never sent; install it with the Python of that machine"
_DENIED = "deny_modules= of the Router names it"


class Entry:
    """One module as it is sent, with what it imports; good while the file's stamp is the same.

    code: what the source makes, or what the parent sent of that; None if there is none.
    """

    __slots__ = ("wire", "at_import", "later", "path", "stamp", "distribution", "_code", "_packed")

    def __init__(
        self, wire: "List[Any]", code: "Optional[CodeType]" = None, name: str = "", path: str = "", packed: bytes = b""
    ) -> None:
        self.wire = wire
        self.at_import: "List[str]" = []
        self.later: "List[str]" = []
        if code is not None:
            self.at_import, self.later = bytecode.imports_of(code, name or wire[0], wire[1] is True)
        self.path = path
        self.stamp = stamp_of(path)
        self.distribution: "Optional[str]" = None  # of a compiled module, which isn't sent
        self._code = code
        self._packed = packed

    def size_for(self, magic: bytes) -> int:
        return len(self.wire[3] or b"") + len(self.code_for(magic))

    def code_for(self, magic: bytes) -> bytes:
        """Return the packed code for interpreters with that magic number, empty if there is none."""
        if self._code is not None and magic == bytecode.MAGIC and self._packed[:4] != magic:
            self._packed = bytecode.packed(self._code)
            self._code = None
        return self._packed if self._packed[:4] == magic else b""


class Grant:
    """What one context, and those below it, may have."""

    __slots__ = ("packages", "modules", "asked")

    def __init__(self) -> None:
        self.packages: "Set[str]" = set()  # with all that is in them
        self.modules: "Set[str]" = set()  # these alone
        self.asked: "Dict[str, None]" = {}  # modules that the parent asked it to run something of, in that order

    def permits(self, name: str) -> bool:
        return name in self.modules or any(part in self.packages for part in lineage(name))

    def add(self, name: str) -> None:
        """Permit a package or module with all that is in it, and the packages around it by themselves."""
        self.packages.add(name)
        self.modules.update(lineage(name))


def lineage(name: str) -> "List[str]":
    """Return the packages that a module is in, outermost first, and the module: a.b.c gives a, a.b, a.b.c."""
    parts = name.split(".")
    return [".".join(parts[: count + 1]) for count in range(len(parts))]


def stamp_of(path: str) -> "Tuple[int, int]":
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return 0, 0  # not a file: in a zip, or in memory
    return status.st_mtime_ns, status.st_size


class ModuleServer:
    """Decides which modules a context below this one may have, finds them, and keeps them packed.

    parent: the Context to ask for what isn't here; None at the root. permit() may be called from any thread,
    handle() is called on the housekeeping thread; the lock guards all state.
    """

    def __init__(
        self,
        allow_modules: "Iterable[str]" = (),
        deny_modules: "Iterable[str]" = (),
        parent: "Optional[Context]" = None,
    ) -> None:
        self._parent = parent
        self._denied = frozenset(deny_modules)
        self._everyone = Grant()
        for name in allow_modules:
            self._everyone.add(name)
        self._lock = threading.Lock()
        self._grants: "Dict[bytes, Grant]" = {}
        self._sent: "Dict[bytes, Dict[str, int]]" = {}
        self._magics: "Dict[bytes, bytes]" = {}
        self._entries: "Dict[str, Entry]" = {}
        self._stdlib: "frozenset[str]" = frozenset()

    def permit(self, address: bytes, module_name: str) -> None:
        """Let the context at `address`, and those below it, have a module that it was asked to run something of.

        Its whole top-level package becomes permitted. Called for every call that goes down; cheap after the first.
        """
        grant = self._grants.get(address)
        if grant is not None and module_name in grant.asked:
            return
        with self._lock:
            grant = self._grants.setdefault(address, Grant())
            grant.add(module_name.partition(".")[0])
            grant.asked[module_name] = None

    def expect(self, address: bytes, magic_digits: bytes, names: "Iterable[str]") -> None:
        """Get ready for a new child: pack what it will ask for first. magic_digits: in hex, as its mark said it."""
        try:
            magic = bytes.fromhex(magic_digits.decode("ascii"))
        except ValueError:  # somebody's, who won't be sent code
            magic = b""
        with self._lock:
            self._magics[address] = magic
            for name in names:
                entry = self._entry(name)
                if entry is not None:
                    entry.code_for(magic)

    def forget(self, address: bytes) -> None:
        """Drop what is known of a context that is gone, and of all below it."""
        with self._lock:
            tables: "Tuple[Dict[bytes, Any], ...]" = (self._grants, self._sent, self._magics)
            for table in tables:
                for known in [known for known in table if known.startswith(address)]:
                    table.pop(known)

    def sent_to(self, address: bytes) -> "Tuple[int, int]":
        """Return how many modules went to the context at `address` and those below it, and how many bytes that was."""
        with self._lock:
            sizes = [size for known, sent in self._sent.items() if known.startswith(address) for size in sent.values()]
            return len(sizes), sum(sizes)

    def handle(self, job: "Job") -> None:
        """Answer a call of `plasmid.modules`."""
        try:
            names, address, magic = _request(job)
        except PlasmidError as error:
            job.fail(error.with_traceback(None))  # our own word, not an error of a method's
            return
        magic = self._magics.get(address, magic)
        reply, unknown = self._find(names, address, magic)
        if self._parent is None or not unknown:
            job.reply(reply)
            return
        # Not waited for: this thread has other work, and the answer may take as long as the links above.
        asked = {"names": unknown, "for": address, "magic": magic}
        call = self._parent.call_service_async("plasmid.modules", "find", **asked)
        call.add_done_callback(lambda call: self._relay(job, address, reply, unknown, call))

    def find(self, names: "Iterable[str]", for_address: bytes) -> "Reply":
        """Return the answer that the context at `for_address` gets for these names, from what is here."""
        return self._find(names, for_address, self._magics.get(for_address, b""))[0]

    def _find(self, names: "Iterable[str]", address: bytes, magic: bytes) -> "Tuple[Reply, List[str]]":
        """Return the answer, and the names that the parent may know more about."""
        reply: "Reply" = {"found": [], "missing": [], "refused": {}, "compiled": {}}
        unknown: "List[str]" = []
        entries: "List[Entry]" = []
        with self._lock:
            for name in names:
                why = self._refusal(name)
                if why is None and not self._is_permitted(name, address):
                    why = _NOT_ALLOWED % name.partition(".")[0]
                    unknown.append(name)
                if why is not None:
                    reply["refused"][name] = why
                    continue
                try:
                    entry = self._entry(name)
                except Unreadable as error:
                    reply["refused"][name] = "its source can't be read: %s" % error
                    continue
                if entry is None:
                    reply["missing"].append(name)
                    unknown.append(name)
                elif entry.distribution is not None:
                    reply["compiled"][name] = entry.distribution or name.partition(".")[0]
                else:
                    self._send(entry, address, magic, reply)
                    entries.append(entry)
            self._push_related(entries, address, magic, reply)
        self._audit(reply, address)
        return reply, unknown

    def _refusal(self, name: str) -> "Optional[str]":
        """Say why nobody gets this name, None if some may."""
        if not is_name(name):
            return "it is no name of a module"
        if not self._stdlib:
            self._stdlib = stdlib_names()
        if name.partition(".")[0] in self._stdlib:
            return _STDLIB
        if not self._denied.isdisjoint(lineage(name)):
            return _DENIED
        return None

    def _is_permitted(self, name: str, address: bytes) -> bool:
        if name.partition(".")[0] == "plasmid" or self._everyone.permits(name):
            return True
        # What a context may have, those below it may too: it could hand it on anyway.
        for size in range(0, len(address) + 1, STEP_SIZE):
            grant = self._grants.get(address[:size])
            if grant is not None and grant.permits(name):
                return True
        return False

    def _send(self, entry: Entry, address: bytes, magic: bytes, reply: "Reply") -> None:
        name = entry.wire[0]
        reply["found"].append([*entry.wire, entry.code_for(magic)])
        self._sent.setdefault(address, {})[name] = entry.size_for(magic)
        if name.partition(".")[0] != "plasmid":  # what Plasmid itself would like to use isn't the program's
            grant = self._grants.setdefault(address, Grant())
            for wanted in entry.at_import + entry.later:
                grant.add(wanted.partition(".")[0])

    def _push_related(self, entries: "List[Entry]", address: bytes, magic: bytes, reply: "Reply") -> None:
        """Add to the answer what the modules in it will import, nearest first, as far as it wasn't sent before."""
        sent = self._sent.get(address, {})
        own = {entry.wire[0].partition(".")[0] for entry in entries}
        near: "Deque[str]" = deque()
        far: "Deque[str]" = deque()

        def follow(names: "Iterable[str]") -> None:
            for name in names:
                (near if name.partition(".")[0] in own else far).append(name)

        for entry in entries:
            follow(entry.at_import)
        grant = self._grants.get(address)
        if grant is not None and entries:
            follow(name for name in grant.asked if name.partition(".")[0] in own)
        count = size = 0
        seen: "Set[str]" = set()
        while near or far:
            for name in lineage((near or far).popleft()):
                if name in seen or name in sent:
                    continue
                seen.add(name)
                entry_ahead = self._entry_to_push(name, address)
                if entry_ahead is None:
                    break  # nor is there anything in it
                count += 1
                size += entry_ahead.size_for(magic)
                if count > PUSH_COUNT_MAX or size > PUSH_SIZE_MAX:
                    return
                self._send(entry_ahead, address, magic, reply)
                follow(entry_ahead.at_import)

    def _entry_to_push(self, name: str, address: bytes) -> "Optional[Entry]":
        if name == "plasmid" or name.startswith(("plasmid.core", "plasmid.runtime")):
            return None  # it was booted with those
        if self._refusal(name) is not None or not self._is_permitted(name, address):
            return None
        try:
            entry = self._entry(name)
        except Unreadable:
            return None
        return entry if entry is not None and entry.distribution is None else None

    def _entry(self, name: str) -> "Optional[Entry]":
        entry = self._entries.get(name)
        if entry is None or entry.stamp != stamp_of(entry.path):
            entry = make_entry(name)
            if entry is not None:
                self._entries[name] = entry
        return entry

    def _relay(self, job: "Job", address: bytes, reply: "Reply", unknown: "List[str]", call: "Call") -> None:
        """Answer with what was here and what the parent said, and keep that for the next who asks."""
        error = call.exception(0)
        if error is not None:
            job.fail(error)
            return
        upper = call.result(0)
        if importer.current is not None:
            importer.current.take(upper)
        with self._lock:
            grant = self._grants.setdefault(address, Grant())
            grant.modules.update(entry[0] for entry in upper["found"])
        reply["found"].extend(upper["found"])
        reply["missing"] = upper["missing"]
        for name in unknown:
            reply["refused"].pop(name, None)
        reply["refused"].update(upper["refused"])
        reply["compiled"].update(upper["compiled"])
        job.reply(reply)

    def _audit(self, reply: "Reply", address: bytes) -> None:
        # Where nobody imported logging, nobody listens; its import costs a relay 19 ms.
        # While another thread is at it, getLogger is missing.
        get_logger = getattr(sys.modules.get("logging"), "getLogger", None)
        log = get_logger("plasmid.modules") if get_logger is not None else None
        if log is None or not log.isEnabledFor(10):  # logging.DEBUG
            return
        where = text(address)
        for name, _, path, data, _ in reply["found"]:
            log.debug("sent %s to %s: %d bytes of %s", ascii(name), where, len(data or b""), ascii(path))
        for name in reply["missing"]:
            log.debug("%s has no module %s for %s", "this machine", ascii(name), where)
        for name, why in reply["refused"].items():
            log.debug("refused %s to %s: %s", ascii(name)[:200], where, why)
        for name, distribution in reply["compiled"].items():
            log.debug("didn't send %s to %s: it is compiled, of %s", ascii(name), where, ascii(distribution))


def _request(job: "Job") -> "Tuple[List[str], bytes, bytes]":
    """Return the names asked for, whom they are for, and the magic number there; Refused if it's no proper request."""
    found = ""
    if job.method != "find":
        found = "it has no method %r, only 'find'" % (job.method,)
    else:
        args = job.args()
        names = args.get("names") if isinstance(args, dict) else None
        address = args.get("for", job.source) if isinstance(args, dict) else None
        if not isinstance(names, list) or not all(type(name) is str for name in names):
            found = "names= must be a list of str"
        elif len(names) > NAMES_COUNT_MAX:
            found = "%d names at once; at most %d are answered" % (len(names), NAMES_COUNT_MAX)
        elif not isinstance(address, bytes) or len(address) % STEP_SIZE or not address.startswith(job.source):
            found = "for= must be the address of the caller, or of a context below it"
        else:
            # A lie about the number harms only who told it: code that can't be used.
            magic = args.get("magic")
            return names, address, magic if isinstance(magic, bytes) else b""
    raise Refused("plasmid.modules", "", found)


def make_entry(name: str) -> "Optional[Entry]":
    """Find a module on this machine and pack it; None if it isn't here."""
    current = importer.current
    loader = current.modules.get(name) if current is not None else None
    if loader is not None:
        # Came from this context's parent, or with its boot.
        data = loader.data.encode() if isinstance(loader.data, str) else loader.data
        packed = zlib.compress(data) if isinstance(loader.data, str) and data is not None else data
        try:
            code = None if data is None else loader.get_code()
        except (SyntaxError, ValueError, RecursionError):  # for another version of Python, perhaps
            code = None
        return Entry([name, loader.package, loader.path, packed], code, packed=loader.code)
    if name == "__main__":
        # A relay's own `__main__` is the root's, or the first stage.
        found, package = find_main() if current is None else (None, "")
        return None if found is None else _pack(name, found, package)
    found = find(name)
    if found is None:
        return None
    if found.kind == Found.COMPILED:
        entry = Entry([name, found.is_package, "", None], path=found.path)
        entry.distribution = found.distribution
        return entry
    return _pack(name, found, found.is_package)


def _pack(name: str, found: Found, package: object) -> Entry:
    if found.kind == Found.NAMESPACE:
        return Entry([name, True, "", None])
    source = found.text.encode("utf-8", "surrogatepass")
    path = SENT + os.path.abspath(found.path)
    if name.partition(".")[0] == "plasmid":
        path = "<plasmid>/%s%s.py" % (name.partition(".")[2].replace(".", "/"), "/__init__" if package else "")
    # `pkg.__main__` imports relative to pkg, and so does the `__main__` that it is run as.
    inside = "%s.__main__" % package if name == "__main__" and package else name
    code = bytecode.compiled(found.text, path, found.file)
    return Entry([name, package, path, zlib.compress(source, 6)], code, inside, found.path)
