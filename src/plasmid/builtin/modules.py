"""The service `plasmid.modules`: gives children the source of modules, and of no others than they may have.

A child asks with `find`, names=[...], for=address (itself, or a context below it that it asks for). The answer:

    found     [[name, is_package, path, source, code], ...]: what was asked for, then what that will want next.
              source is zlib-compressed UTF-8, None for a namespace package. code is empty, or, where the asking
              interpreter has this one's magic number, that number and the compressed code (see bytecode.py). For
              `__main__`, is_package is the package that its relative imports start from, or "".
    held      [name, ...]: to a relay alone: found as well, and sent over this link before, for another context
    missing   [name, ...]
    refused   {name: why}; of both also what wasn't asked for, if it will be
    python    the version of the Python that the modules come from

Which modules those may be is module_policy.py's to say. Never a file that isn't a module; data files are
data_server.py's. Nothing is imported here because somebody asked.

A relay, a context that has children without being the root, answers from what it has itself, and asks its own parent
for the rest, which decides by the same rules for the context that wants it; magic= of that request is the number of
its interpreter.
"""

import sys
import threading

from plasmid.builtin import pieces
from plasmid.builtin.ahead import Ahead
from plasmid.builtin.data_server import DataServer, address_of, refused
from plasmid.builtin.module_audit import audit_modules
from plasmid.builtin.module_policy import ModulePolicy
from plasmid.builtin.packing import Entry, make_entry, size_of
from plasmid.builtin.source_finder import Unreadable, stamp_of
from plasmid.core.errors import Overloaded, PlasmidError
from plasmid.core.flow import OUTBOX_SIZE_MAX
from plasmid.runtime import importer
from plasmid.runtime.context import Context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterable, List, Optional, Sequence, Set, Tuple

    from plasmid.builtin.source_finder import Folders
    from plasmid.runtime.context import Call
    from plasmid.runtime.jobs import Job
    from plasmid.runtime.runtime import Runtime

    Reply = Dict[str, Any]

NAMES_COUNT_MAX = 256
# What is sent ahead in one answer. A package of 100 modules then takes one round trip or two, and a wrong guess
# costs a slow link no more than about a second.
PUSH_COUNT_MAX = 200
PUSH_SIZE_MAX = 2 << 20
# How many modules and bytes one piece of an answer has at most, as far as a single module doesn't.
PIECE_COUNT_MAX = 16
PIECE_SIZE = 64 << 10
# Far sides are booted with those, and ask for what else they need of them.
_BOOTED_WITH = ("plasmid.core", "plasmid.runtime")
# What a far side asks for first, unless it found it in memory that is shared with it.
FIRST_ASKED = "plasmid.runtime.life"
# What a module needs soon and names by text, since it may not import upwards.
_NAMED_THERE = {FIRST_ASKED: ["plasmid.builtin.pieces"]}
# What `copy` and `pickle` try to import, of another Python; a far side needn't ask whether it is here.
ASKED_BY_STDLIB = ("org",)

_COMPILED = (
    "it is compiled, of the distribution %s, and only source is sent; have that installed for the context with "
    "requires=[%r], or install it on this machine"
)


def _why_compiled(entry: Entry) -> str:
    provider = entry.distribution or entry.name.partition(".")[0]
    return _COMPILED % (provider, provider)


class ModuleServer:
    """Finds modules for contexts below this one, as far as they may have them, and keeps them packed.

    parent: the Context to ask for what isn't here; None at the root. permit() may be called from any thread,
    handle() is called on helper threads; the lock guards all state.
    """

    def __init__(
        self,
        allow_modules: "Iterable[str]" = (),
        deny_modules: "Iterable[str]" = (),
        parent: "Optional[Context]" = None,
        allow_data: "Iterable[str]" = (),
    ) -> None:
        self.policy = ModulePolicy()
        self.policy.set_options(None, allow_modules, deny_modules, allow_data)
        self.permit = self.policy.permit
        self._parent = parent
        self._data = DataServer(self.policy, parent)
        self._lock = threading.Lock()
        self._sent: "Dict[bytes, Dict[str, int]]" = {}  # by the context that it was for
        self._passed: "Dict[bytes, Set[str]]" = {}  # by the child whose link carried it
        self._magics: "Dict[bytes, bytes]" = {}
        self._near: "Set[bytes]" = set()  # the children on this machine
        self._sources_only: "Set[bytes]" = set()  # by context, which speaks for those below it
        self._entries: "Dict[str, Entry]" = {}
        self._open: "Set[object]" = set()  # what the parent was asked and hasn't answered
        self._answered: "List[Answered]" = []  # answers that can't be passed on yet

    def expect(
        self, address: bytes, magic_digits: bytes, names: "Iterable[str]", is_on_this_machine: bool = False
    ) -> None:
        """Get ready for a new child: pack what it will ask for first. magic_digits: in hex, as its mark said it."""
        try:
            magic = bytes.fromhex(magic_digits.decode("ascii"))
        except ValueError:  # somebody's, who won't be sent code
            magic = b""
        with self._lock:
            self._magics[address] = magic
            if is_on_this_machine:
                self._near.add(address)
            folders: "Folders" = {}
            for name in names:
                entry = self._entry(name, folders)
                if entry is not None:
                    entry.pack(magic)

    def send_sources_only(self, address: bytes) -> None:
        """Send no code from now on to this context and those below it."""
        with self._lock:
            self._sources_only.add(address)

    def forget(self, address: bytes) -> None:
        """Drop what is known of a context that is gone, and of all below it."""
        self.policy.forget(address)
        with self._lock:
            tables: "Tuple[Dict[bytes, Any], ...]" = (self._sent, self._passed, self._magics)
            for table in tables:
                for known in [known for known in table if known.startswith(address)]:
                    table.pop(known)
            self._near = {known for known in self._near if not known.startswith(address)}
            self._sources_only = {known for known in self._sources_only if not known.startswith(address)}

    def sent_to(self, address: bytes) -> "Tuple[int, int]":
        """Return how many modules went to the context at `address` and those below it, and how many bytes that was.

        What a relay on the way had already counts as a module and as no bytes.
        """
        with self._lock:
            sizes = [size for known, sent in self._sent.items() if known.startswith(address) for size in sent.values()]
            return len(sizes), sum(sizes)

    def handle(self, job: "Job") -> None:
        """Answer a call of `plasmid.modules`."""
        try:
            if job.method in DataServer.METHODS:
                self._data.handle(job)
                return
            pieces.settle()
            request = Request(job)
            _check_read(job)
        except PlasmidError as error:
            job.fail(error.with_traceback(None))  # our own word, not an error of a method's
            return
        request.magic = self._magics.get(request.address, request.magic)
        if any(request.address.startswith(known) for known in self._sources_only):
            request.magic = b""
        unknown = self._find(request)
        if self._parent is None or not unknown:
            job.reply(request.reply)
            return
        self._ask_parent(job, request, unknown)

    def _ask_parent(self, job: "Job", request: "Request", unknown: "List[str]", again: bool = False) -> None:
        # Not waited for: this thread has other work, and the answer may take as long as the links above.
        assert self._parent is not None
        asked = {"names": unknown, "for": request.address, "magic": request.magic, "again": again}
        question = object()
        with self._lock:
            self._open.add(question)
        try:
            call = self._parent.call_service_async("plasmid.modules", "find", **asked)
        except BaseException:
            with self._lock:
                self._open.discard(question)
            raise
        call.add_done_callback(lambda call: self._take(job, request, unknown, call, question))

    def find(self, names: "Iterable[str]", for_address: bytes) -> "Reply":
        """Return the answer that the context at `for_address` gets for these names, from what is here."""
        request = Request(None, list(names), for_address, self._magics.get(for_address, b""))
        self._find(request)
        return request.reply

    def _find(self, request: "Request") -> "List[str]":
        """Add to the reply what is known here; return the names that the parent may know more about."""
        reply = request.reply
        unknown: "List[str]" = []
        entries: "List[Entry]" = []
        if FIRST_ASKED in request.names:  # so it has nothing: what was shared with it hasn't reached it
            with self._lock:
                self._sent.pop(request.address, None)
        for name in request.names:
            why = self.policy.refusal(name, request.address)
            if why is None:
                why = self.policy.not_permitted(name, request.address)
                unknown.extend([name] if why is not None else [])
            if why is not None:
                reply["refused"][name] = why
                continue
            with self._lock:
                try:
                    entry = self._entry(name, request.folders)
                except Unreadable as error:
                    reply["refused"][name] = "its source can't be read: %s" % error
                    continue
                if entry is None:
                    reply["missing"].append(name)
                    unknown.append(name)
                elif entry.distribution is not None:
                    reply["refused"][name] = _why_compiled(entry)
                else:
                    self._send(entry, request)
                    entries.append(entry)
        if reply["found"] and self._parent is None:
            with self._lock:
                request.in_vain = [name for name in ASKED_BY_STDLIB if self._entry(name, request.folders) is None]
        if entries:
            self._push_related(entries, request, in_pieces=not unknown)
        audit_modules(reply, request.address)
        reply["missing"] += request.in_vain
        return unknown

    def _send(self, entry: Entry, request: "Request") -> int:
        size = self._add(entry, request)
        self.policy.sent(request.address, entry.name, entry.at_import + entry.later)
        return size

    def _add(self, entry: Entry, request: "Request") -> int:
        passed = self._passed.setdefault(request.link, set())
        size = 0
        if request.is_relayed and entry.name in passed and not request.again:
            request.reply["held"].append(entry.name)  # the relay has it, of when it was sent for another
        else:
            wire = entry.wire(request.magic, request.link not in self._near)
            request.reply["found"].append(wire)
            size = size_of(wire)
        passed.add(entry.name)
        self._sent.setdefault(request.address, {})[entry.name] = size
        return size

    def _push_related(self, entries: "List[Entry]", request: "Request", in_pieces: bool) -> None:
        """Add to the answer what the modules in it will import, as far as it wasn't sent before.

        in_pieces: send it as it is ready, if who asked can take that, and leave only the rest for the reply.
        """
        sent = self._sent.get(request.address, {})
        ahead = Ahead({entry.name.partition(".")[0] for entry in entries})
        own = [name for name in self.policy.asked(request.address) if ahead.is_own(name)]
        self._follow(own, ahead, request)
        for entry in reversed(entries):
            self._follow([entry.name, *entry.at_import, *_NAMED_THERE.get(entry.name, ())], ahead, request)
        count = size = piece_size = 0
        due = 1
        while True:
            name = ahead.next()
            if name is None or request.is_cancelled:
                return
            # Before there is work to do; what is packed already makes nobody wait.
            is_due = name not in self._entries and (len(request.reply["found"]) >= due or piece_size >= PIECE_SIZE)
            if in_pieces and is_due and request.send_piece(name, ahead):
                due = min(due * 2, PIECE_COUNT_MAX)
                piece_size = 0
            with self._lock:
                known = name in sent
                entry_ahead = self._entries.get(name) if known else None
                if entry_ahead is None:
                    entry_ahead = self._entry_to_push(name, request)
                if entry_ahead is None or entry_ahead.package is False:
                    ahead.end(name)
                if known or entry_ahead is None:
                    continue
                size_ahead = size_of(entry_ahead.wire(request.magic, request.link not in self._near))
                count += 1
                size += size_ahead
                piece_size += size_ahead
                if count > PUSH_COUNT_MAX or size > PUSH_SIZE_MAX:
                    return
                self._send(entry_ahead, request)
            self._follow(entry_ahead.at_import, ahead, request)

    def _follow(self, names: "Iterable[str]", ahead: Ahead, request: "Request") -> None:
        """Have those of the names sent ahead that this context may have."""
        address = request.address
        ahead.follow(
            name
            for name in names
            if not ahead.was_given(name)
            and not name.startswith(_BOOTED_WITH)
            and self.policy.refusal(name, address) is None
            and self.policy.not_permitted(name, address) is None
        )

    def _entry_to_push(self, name: str, request: "Request") -> "Optional[Entry]":
        """Return the module if it is to be sent ahead; add to the reply what is certain of one that can't be."""
        try:
            entry = self._entry(name, request.folders)
        except Unreadable:
            return None
        if entry is None and self._parent is None:
            request.reply["missing"].append(name)
        if entry is not None and entry.distribution is not None:
            request.reply["refused"][name] = _why_compiled(entry)
            return None
        return entry

    def _entry(self, name: str, folders: "Folders") -> "Optional[Entry]":
        entry = self._entries.get(name)
        if entry is None or entry.stamp != stamp_of(entry.path):
            entry = make_entry(name, folders)
            if entry is not None:
                self._entries[name] = entry
        return entry

    def _take(self, job: "Job", request: "Request", unknown: "List[str]", call: "Call", question: object) -> None:
        """Take in what the parent said, and pass on what can be by now."""
        error = call.exception(0)
        if error is None and importer.current is not None:
            importer.current.take(call.result(0))
            for name in call.result(0)["held"]:
                pieces.settle(name)
        with self._lock:
            self._open.discard(question)
            if error is None:
                self._answered.append(Answered(job, request, unknown, call.result(0), set(self._open)))
            ready = [one for one in self._answered if not one.waits(self._open)]
            self._answered = [one for one in self._answered if one not in ready]
        if error is not None:
            job.fail(error)
        for one in ready:
            self._relay(one)

    def _relay(self, answered: "Answered") -> None:
        """Answer with what was here and what the parent said, and keep that for the next who asks."""
        job, request, unknown, upper = answered.job, answered.request, answered.unknown, answered.upper
        reply = request.reply
        names = [entry[0] for entry in upper["found"]] + upper["held"]
        self.policy.permit_alone(request.address, names)
        lost = []
        before = len(reply["found"])
        with self._lock:
            for entry in upper["found"]:
                self._passed.setdefault(request.link, set()).add(entry[0])
                self._sent.setdefault(request.address, {})[entry[0]] = len(entry[3] or b"") + len(entry[4])
            for name in upper["held"]:
                is_here = importer.current is not None and name in importer.current.modules
                held = self._entry(name, request.folders) if is_here else None
                if held is not None:
                    self._add(held, request)
                elif name in unknown:
                    lost.append(name)  # dropped here, since nobody imported it
        reply["found"].extend(upper["found"])
        audit_modules({"found": reply["found"][before:], "held": [], "missing": [], "refused": {}}, request.address)
        reply["missing"] = [name for name in reply["missing"] if name not in unknown] + upper["missing"]
        for name in unknown:
            reply["refused"].pop(name, None)
        reply["refused"].update(upper["refused"])
        reply["python"] = upper["python"]
        if lost:
            self._ask_parent(job, request, lost, again=True)
        else:
            job.reply(reply)


class Answered:
    """What the parent said to a request; what it says was sent this way before may be in an answer still on its way."""

    __slots__ = ("job", "request", "unknown", "upper", "_open")

    def __init__(
        self, job: "Job", request: "Request", unknown: "List[str]", upper: "Reply", still_open: "Set[object]"
    ) -> None:
        self.job = job
        self.request = request
        self.unknown = unknown
        self.upper = upper
        self._open = still_open

    def waits(self, still_open: "Set[object]") -> bool:
        """Whether it needs a module that isn't here, and that others were asked for when it came."""
        known = importer.current.modules if importer.current is not None else {}
        return not self._open.isdisjoint(still_open) and any(name not in known for name in self.upper["held"])


class Request:
    """One request for modules, and the reply to it as far as it has come.

    link: the child that asks. address: whom the modules are for, and magic the number of the interpreter there. again:
    the modules are wanted even if they went over this link before. folders: see source_finder.find(). question: by
    what number who asked knows pieces of the answer, None if it takes none. in_vain: names that aren't here, to be said
    whether or not somebody asks.
    """

    __slots__ = ("names", "link", "address", "magic", "again", "reply", "folders", "question", "in_vain", "_job")

    def __init__(
        self, job: "Optional[Job]", names: "Sequence[str]" = (), address: bytes = b"", magic: bytes = b""
    ) -> None:
        """Read it from a job; Refused if it's no proper request."""
        self.names = names
        self.link = self.address = address
        self.magic = magic
        self.again = False
        self.question: "Optional[int]" = None
        self.in_vain: "List[str]" = []
        self._job = job
        self.folders: "Folders" = {}
        self.reply: "Reply" = {"found": [], "held": [], "missing": [], "refused": {}}
        self.reply["python"] = "%d.%d.%d" % sys.version_info[:3]
        if job is not None:
            self._read(job)

    @property
    def is_relayed(self) -> bool:
        return self.link != self.address

    def _read(self, job: "Job") -> None:
        if job.method != "find":
            raise refused(
                "it has no method %r, only %s" % (job.method, ", ".join(map(repr, ("find",) + DataServer.METHODS)))
            )
        args = job.args()
        self.address = address_of(job, args)
        self.link = job.source
        args = args if isinstance(args, dict) else {}
        names = args.get("names")
        if not isinstance(names, list) or not all(type(name) is str for name in names):
            raise refused("names= must be a list of str")
        self.names = names
        if len(self.names) > NAMES_COUNT_MAX:
            raise refused("%d names at once; at most %d are answered" % (len(self.names), NAMES_COUNT_MAX))
        # A lie about the number harms only who told it: code that can't be used.
        magic = args.get("magic")
        self.magic = magic if isinstance(magic, bytes) else b""
        self.again = args.get("again") is True
        question = args.get("question")
        if type(question) is int and not self.is_relayed:
            self.question = question
            self.reply["pieces"] = 0

    @property
    def is_cancelled(self) -> bool:
        """Whether nobody waits for the answer any more."""
        return self._job is not None and self._job.cancelled

    def send_piece(self, name: str, ahead: Ahead) -> bool:
        """Send what is in the reply by now; False if it has to stay there, for now.

        name, ahead: what the next pieces, or the reply, will be about.
        """
        if self.question is None:
            return False
        assert self._job is not None
        if not _is_clear(self._job.runtime, self.address):
            return False
        reply = self.reply
        piece = {"question": self.question, "coming": [name, *ahead.announce()], "python": reply["python"]}
        piece.update(found=reply["found"], missing=reply["missing"] + self.in_vain, refused=reply["refused"])
        try:
            Context(self._job.runtime, self.address).send_call("s", pieces.SERVICE, "take", piece, no_reply=True)
        except PlasmidError:  # nobody is there any more, perhaps; the reply will meet that as well
            self.question = None
            return False
        audit_modules(dict(reply, held=[]), self.address)
        reply.update(found=[], missing=[], refused={}, pieces=reply["pieces"] + 1)
        self.in_vain = []
        return True


def _check_read(job: "Job") -> None:
    """Raise Overloaded if too much waits already for the child that asks: it may have asked for that at once."""
    with job.runtime.lock:
        link = job.runtime.node.switch.route(job.source)
        waiting = 0 if link is None else link.outbox.owed_size
    if waiting > OUTBOX_SIZE_MAX:
        raise Overloaded("plasmid.modules", "", "%d bytes of answers wait to be sent to that side" % waiting)


def _is_clear(runtime: "Runtime", address: bytes) -> bool:
    """Whether nothing waits to be sent to a child of this context.

    Pieces aren't counted as what is owed to it, as answers are, so one that doesn't read must not have many waiting.
    And they would come no sooner than the reply.
    """
    with runtime.lock:
        switch = runtime.node.switch
        link = switch.route(address)
        return link is not None and not link.outbox and all(other is not link for _, other in switch.outgoing.values())
