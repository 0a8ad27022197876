"""The requests of `plasmid.modules` that aren't for modules: the data files of packages, and metadata.

    files          package                     {"files": [path, ...], "why": what else there may be isn't sent because}
    data           package, path               {"data": zlib-compressed bytes, None if there is none, "why": ...}
                   has: a SHA-256              ... or {"data": None, "why": "", "held": True}: the file is that one
    distributions  names, or None for all      {"found": {name: {file: text}}, "refused": {name: why}}

Each with for=, as `find`. A relay that may not answer, or has nothing, passes the request to its parent. It keeps the
files that pass; of one that it has it asks whether it's still that, so each crosses a link once, and who may have it is
still the root's to say. Requests for one file that come at once are passed on one after the other.
"""

import threading
import zlib

from plasmid.builtin import distributions
from plasmid.builtin.kept_data import kept
from plasmid.builtin.module_audit import audit_data
from plasmid.builtin.module_policy import DENIED, lineage
from plasmid.builtin.package_files import PackageFiles
from plasmid.core.address import STEP_SIZE
from plasmid.core.errors import PlasmidError, Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Tuple

    from plasmid.builtin.module_policy import ModulePolicy
    from plasmid.runtime.context import Call, Context
    from plasmid.runtime.jobs import Job

PATH_SIZE_MAX = 4096
NAMES_COUNT_MAX = 256
_UNDECLARED = (
    "of a package that isn't installed from a distribution only what is declared is sent; "
    "name it in allow_data= of the Router: allow_data=[%r]"
)


def refused(found: str) -> Refused:
    """Return the error for a request that is none."""
    return Refused("plasmid.modules", "", found)


def address_of(job: "Job", args: "Any") -> bytes:
    """Return whom a request is for; Refused if that isn't the caller, nor a context below it."""
    address = args.get("for", job.source) if isinstance(args, dict) else job.source
    if not isinstance(address, bytes) or len(address) % STEP_SIZE or not address.startswith(job.source):
        raise refused("for= must be the address of the caller, or of a context below it")
    return address


class DataServer:
    """Answers requests for data and metadata, as far as the policy lets it. Any thread."""

    METHODS = ("files", "data", "distributions")

    def __init__(self, policy: "ModulePolicy", parent: "Optional[Context]") -> None:
        self._policy = policy
        self._parent = parent
        self._files = PackageFiles()
        self._lock = threading.Lock()
        # Who else waits for a file that the parent was asked for.
        self._asking: "Dict[Tuple[str, str], List[Tuple[Job, Dict[str, Any]]]]" = {}

    def handle(self, job: "Job") -> None:
        """Answer a call of one of METHODS. Raises Refused."""
        args = job.args()
        address = address_of(job, args)
        if not isinstance(args, dict):
            raise refused("it must have arguments by name")
        if job.method == "files":
            reply = self._listed(self._package(args), address)
        elif job.method == "data":
            reply = self._data(args, address)
        else:
            # A relay's own are those of its machine, and not of the modules that it hands on.
            reply = self._distributions(args, address) if self._parent is None else {}
        if self._parent is None or not self._is_empty(reply):
            job.reply(reply)
            return
        args = dict(args, **{"for": address})
        if job.method == "data":
            self._ask_for_file(job, args)
            return
        call = self._parent.call_service_async("plasmid.modules", str(job.method), **args)
        call.add_done_callback(lambda call: _pass_on(job, call))

    def _ask_for_file(self, job: "Job", args: "Dict[str, Any]") -> None:
        assert self._parent is not None
        key = args["package"], args["path"]
        with self._lock:
            if key in self._asking:
                self._asking[key].append((job, args))
                return
            self._asking[key] = []
        known = kept.get(*key)
        asked = dict(args, has=known.digest if known is not None else b"")
        try:
            call = self._parent.call_service_async("plasmid.modules", "data", **asked)
        except PlasmidError as error:  # no link, or no room on it, just now
            with self._lock:
                waiting = self._asking.pop(key)
            for one in [job] + [other for other, _ in waiting]:
                one.fail(error)
            return

        def answered(call: "Call") -> None:
            file = known
            error = call.exception(0)
            reply = call.result(0) if error is None else {}
            if reply.get("data") is not None:
                file = kept.put(key[0], key[1], reply["data"])
            with self._lock:
                waiting = self._asking.pop(key)
            if error is not None:
                job.fail(error)
            elif file is None or (reply["data"] is None and not reply.get("held")):
                job.reply(reply)
            else:
                reply = _held_or_sent(file.data, file.digest, args)
                audit_data("data", key[0], key[1], args["for"], len(reply["data"] or b""))
                job.reply(reply)
            for other, its_args in waiting:
                self._ask_for_file(other, its_args)

        call.add_done_callback(answered)

    def _is_empty(self, reply: "Dict[str, Any]") -> bool:
        return bool(reply.get("why")) or bool(reply.get("refused")) or not any(reply.values())

    def _why_not(self, package: str, address: bytes) -> "Optional[str]":
        return self._policy.refusal(package, address) or self._policy.not_permitted(package, address)

    def _package(self, args: "Dict[str, Any]") -> str:
        package = args.get("package")
        if not isinstance(package, str):
            raise refused("package= must be a str")
        return package

    def _listed(self, package: str, address: bytes) -> "Dict[str, Any]":
        why = self._why_not(package, address)
        if why:
            return {"files": [], "why": why}
        names = self._files.names(package, self._policy.data_patterns(package, address))
        names = [name for name in names or () if not self._denies(package, name, address)]
        only_sources = all(name.endswith(".py") for name in names)
        return {"files": names, "why": _UNDECLARED % package if only_sources else ""}

    def _denies(self, package: str, path: str, address: bytes) -> bool:
        """Whether a file is of a module or package that is denied."""
        inside = path[:-3] if path.endswith(".py") else path.rpartition("/")[0]
        inner = package + "." + inside.replace("/", ".") if inside else package
        return any(self._policy.refusal(part, address) == DENIED for part in lineage(inner))

    def _data(self, args: "Dict[str, Any]", address: bytes) -> "Dict[str, Any]":
        package, path = self._package(args), args.get("path")
        if not isinstance(path, str) or len(path) > PATH_SIZE_MAX:
            raise refused("path= must be a str of at most %d characters" % PATH_SIZE_MAX)
        data = None
        why = self._why_not(package, address)
        if why is None:
            patterns = self._policy.data_patterns(package, address)
            try:
                # Not by way of _listed(), which looks at each name: some packages have hundreds, and ask for all.
                if not self._denies(package, path, address):
                    data = self._files.read(package, path, patterns)
                if data is None:
                    why = self._listed(package, address)["why"]
            except (OSError, KeyError) as error:
                why = "it can't be read there: %s" % (error,)
        if data is None:
            audit_data("data", package, path, address, why=why or "there is no such file, or it isn't declared")
            return {"data": None, "why": why or ""}
        import hashlib  # 4 ms, which each program would wait for before its first context

        reply = _held_or_sent(zlib.compress(data, 6), hashlib.sha256(data).digest(), args)
        audit_data("data", package, path, address, len(reply["data"] or b""))
        return reply

    def _distributions(self, args: "Dict[str, Any]", address: bytes) -> "Dict[str, Any]":
        names = args.get("names")
        if names is not None and not (isinstance(names, list) and all(type(name) is str for name in names)):
            raise refused("names= must be a list of str, or None")
        if names is not None and len(names) > NAMES_COUNT_MAX:
            raise refused("%d names at once; at most %d are answered" % (len(names), NAMES_COUNT_MAX))
        reply = distributions.find(names, lambda package: self._why_not(package, address))
        for name, texts in reply["found"].items():
            audit_data("metadata", name, "", address, sum(map(len, texts.values())))
        for name, why in reply["refused"].items():
            audit_data("metadata", name, "", address, why=why)
        return reply


def _held_or_sent(data: bytes, digest: bytes, args: "Dict[str, Any]") -> "Dict[str, Any]":
    """Return the answer that brings a file, or says that who asks has it."""
    if args.get("has") == digest:
        return {"data": None, "why": "", "held": True}
    return {"data": data, "why": ""}


def _pass_on(job: "Job", call: "Call") -> None:
    error = call.exception(0)
    if error is not None:
        job.fail(error)
    else:
        job.reply(call.result(0))
