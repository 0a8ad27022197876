"""PushFileService: files that are read once and pushed down the tree, each over each link once.

    push() ── take(name, digest, content, [addresses below]) ──> child ── take(...) ──> its children, as they are named

Every context on the way keeps the content, so that whoever is added later gets it from the nearest one above; a link
over which it has gone carries only its name and digest from then on. What a context keeps is bounded, and nothing is
dropped by itself: over the bound a push is refused, and forget() makes room.
"""

import errno
import hashlib
import os
import stat
import threading

from plasmid.builtin import beneath, reading
from plasmid.builtin.landing import TransferError
from plasmid.core.address import STEP_SIZE
from plasmid.core.errors import Overloaded, PlasmidError
from plasmid.runtime.context import Context
from plasmid.service.invokers import NO_REPLY
from plasmid.service.methods import expose
from plasmid.service.policy import AllowParents
from plasmid.service.service import Service

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Iterable, List, Optional, Set, Tuple

    from plasmid.builtin.files import Path
    from plasmid.runtime.context import Call
    from plasmid.service.replies import Reply

WAITING_MAX = 1000


class Held:
    """A file that is kept here. children: the addresses of those children that have it as well."""

    __slots__ = "children", "content", "digest"

    def __init__(self, content: bytes, digest: bytes) -> None:
        self.content = content
        self.digest = digest
        self.children = set()  # type: Set[bytes]


class PushFileService(Service):
    """Pushes files to contexts below, and hands out in a context what was pushed to it.

    In the context that pushes it needs no pool; in the others a parent's first push brings it to life.
    """

    # Bytes of all files that one context keeps.
    held_size_max = 64 << 20

    def __init__(self, router: "Any") -> None:
        super().__init__(router)
        self._lock = threading.Lock()  # of the tables
        self._held = {}  # type: Dict[str, Held]
        self._waiting = {}  # type: Dict[str, List[Reply]]
        # By child, held while something is on its way there: who comes second finds that it is there.
        self._lanes = {}  # type: Dict[bytes, threading.Lock]
        router.runtime.on_gone.append(self._gone)

    def push(self, path: "Path", contexts: "Iterable[Context]", name: "Optional[str]" = None) -> None:
        """Read a file and see to it that these contexts have it; they lie below this one.

        name: what get() asks for, the absolute path unless you say otherwise. A name that was pushed before with other
        content stands for the new one from now on. If some can't be reached, the others get it, and the first error
        is raised.
        """
        path = os.path.abspath(os.fsdecode(path))
        content = _content_of(path, self.held_size_max)
        held = self._keep(name or path, content, hashlib.sha256(content).digest())
        self._pass_on(name or path, held, [context.address for context in contexts])

    @expose(AllowParents())
    def take(
        self,
        name: str,
        digest: bytes,
        to: list,  # type: ignore[type-arg]  # of addresses; List[bytes] would cost the far side a module more
        content: bytes = b"",
        is_known: bool = False,
    ) -> None:
        """Keep a file, or use the one that is known, and pass it on to the addresses `to`."""
        if is_known:
            held = self._held.get(name)
            if held is None or held.digest != digest:
                raise PlasmidError("push of %r: %s has forgotten it; push it again" % (name, self.router.myself()))
        else:
            if hashlib.sha256(content).digest() != digest:
                raise PlasmidError("push of %r: what arrived isn't what was sent" % name)
            held = self._keep(name, content, digest)
        self._pass_on(name, held, to)

    @expose(AllowParents())
    def get(self, name: str) -> bytes:
        """Return the content of a file that was pushed here, waiting for it as long as the call has time."""
        with self._lock:
            held = self._held.get(name)
            if held is not None:
                return held.content
            waiting = [reply for reply in self._waiting.get(name, ()) if reply.is_wanted]
            if sum(map(len, self._waiting.values())) >= WAITING_MAX:
                raise Overloaded("PushFileService.get", "", "%d calls wait for files already" % WAITING_MAX)
            self._waiting[name] = [*waiting, self.reply_later()]
        return NO_REPLY  # type: ignore[no-any-return]

    @expose(AllowParents())
    def held(self) -> "Dict[str, int]":
        """Return the names of the files that are kept here, and their sizes."""
        with self._lock:
            return {name: len(held.content) for name, held in self._held.items()}

    @expose(AllowParents())
    def forget(self, name: str) -> None:
        """Keep a file no longer, here and below."""
        with self._lock:
            held = self._held.pop(name, None)
        children = sorted(held.children) if held is not None else []
        self._call_all({child: ("forget", {"name": name}) for child in children})

    def _keep(self, name: str, content: bytes, digest: bytes) -> Held:
        """Enter a file, and answer those who wait for it."""
        with self._lock:
            held = self._held.get(name)
            if held is not None and held.digest == digest:
                return held
            size = sum(len(other.content) for key, other in self._held.items() if key != name)
            if size + len(content) > self.held_size_max:
                found = "%d bytes of files are kept here and %d is the limit; forget() some" % (
                    size,
                    self.held_size_max,
                )
                raise Overloaded("push of %s" % name, str(self.router.myself()), found)
            held = self._held[name] = Held(content, digest)
            waiting = self._waiting.pop(name, [])
        for reply in waiting:
            reply.send(content)
        return held

    def _pass_on(self, name: str, held: Held, to: "Iterable[bytes]") -> None:
        """See to it that these addresses have the file, by way of the children that they lie below."""
        here = self.router.myself().address
        below = {}  # type: Dict[bytes, List[bytes]]
        for address in to:
            if address == here:
                continue
            if not address.startswith(here):
                raise ValueError(
                    "push of %r: files are pushed to contexts below %s only" % (name, self.router.myself())
                )
            child = address[: len(here) + STEP_SIZE]
            below.setdefault(child, []).append(address)
        with self._lock:
            lanes = [self._lanes.setdefault(child, threading.Lock()) for child in sorted(below)]
        for lane in lanes:  # in the order of their addresses, so that two who want several never wait for each other
            lane.acquire()
        try:
            calls = {}  # type: Dict[bytes, Tuple[str, Dict[str, Any]]]
            for child, addresses in below.items():
                is_known = child in held.children
                args = {"name": name, "digest": held.digest, "to": addresses, "is_known": is_known}
                calls[child] = "take", args if is_known else dict(args, content=held.content)
            self._call_all(calls, held.children.add)
        finally:
            for lane in lanes:
                lane.release()

    def _call_all(
        self, calls: "Dict[bytes, Tuple[str, Dict[str, Any]]]", succeeded: "Optional[Callable[[bytes], None]]" = None
    ) -> None:
        """Call this service on several children at once. Raises the first error when all calls have ended."""
        started = []  # type: List[Tuple[bytes, Call]]
        errors = []  # type: List[BaseException]
        for child, (method, args) in calls.items():
            try:
                context = Context(self.router.runtime, child)
                started.append((child, context.call_service_async(PushFileService, method, **args)))
            except PlasmidError as error:
                errors.append(error)
        for child, call in started:
            failure = call.exception()
            if failure is not None:
                errors.append(failure)
            elif succeeded is not None:
                succeeded(child)
        if errors:
            raise errors[0]

    def _gone(self, address: bytes, reason: str) -> None:
        """Forget a child that is lost."""
        with self._lock:
            self._lanes.pop(address, None)
            for held in self._held.values():
                held.children.discard(address)


def _content_of(path: str, size_max: int) -> bytes:
    """Return the content of a file, as it was at one moment."""
    fd = beneath.open_any(os.fsencode(path))
    try:
        before = os.fstat(fd)
        if not stat.S_ISREG(before.st_mode):
            raise IsADirectoryError(errno.EISDIR, "files are pushed, one by one, not folders", path)
        if before.st_size > size_max:
            found = "it is %d bytes, and a context keeps %d; fetch() and put() are for large files"
            raise Overloaded("push of %s" % path, "", found % (before.st_size, size_max))
        content = reading.read(fd, before.st_size + 1)
        if len(content) != before.st_size or reading.stamp(os.fstat(fd)) != reading.stamp(before):
            raise TransferError("push of %s" % path, "it was changed while it was read")
        return content
    finally:
        os.close(fd)
