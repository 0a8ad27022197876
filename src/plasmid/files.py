"""plasmid.files: files and folders from one context to another.

    plasmid.files.fetch(web, "/var/log/syslog", "logs/web1")      # from there to here
    plasmid.files.put(web, "release.tar", "/srv/release.tar")     # from here to there

What arrives is whole and verified and appears at once, or its place is as it was and there is an error. Contexts above
one may fetch and put what they like there; all others get what its FileService was told to hand out.
"""

import os
import stat
from binascii import hexlify
from time import monotonic

from plasmid.builtin import beneath, descriptors, reading
from plasmid.builtin.files import ITEM_SIZE_MAX, WINDOW, FileService, widen
from plasmid.builtin.landing import COUNT_MAX, SIZE_MAX, SKIPPED_MAX, Landing, TransferError
from plasmid.core import address as addresses
from plasmid.core.errors import ProtocolError, ReceiverClosed
from plasmid.core.remote import shown
from plasmid.runtime.context import deadline_after
from plasmid.runtime.receivers import Sender
from plasmid.service.streams import Inflow, StreamEnded, open_stream
from plasmid.surroundings import surroundings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple

    from plasmid.builtin.files import Path
    from plasmid.builtin.reading import Item
    from plasmid.runtime.context import Context
    from plasmid.service.streams import Stream
else:
    from collections import namedtuple

__all__ = ["Arrived", "FileService", "TransferError", "fetch", "put"]


if TYPE_CHECKING:

    class Arrived(NamedTuple):
        """What arrived; see below."""

        size: int
        member_count: int
        digest: str
        skipped: "List[str]"
        resumed_at: int

else:

    class Arrived(namedtuple("Arrived", "size member_count digest skipped resumed_at")):
        """What arrived.

        size: bytes. member_count: files and folders. digest: the SHA-256 of a single file, with `digest` or `resume`,
        else "". skipped: what was left out of a folder. resumed_at: how many bytes of the file were there from an
        earlier try.
        """

        __slots__ = ()


_NOTHING_HANDED = "it says that it has handed over a descriptor, and none has come"
_CLASSES = {"%s:%s" % (TransferError.__module__, TransferError.__name__): TransferError}  # type: Dict[str, type]


class FileInflow(Inflow):
    """What fetch() reads from."""

    window = WINDOW
    item_size_max = ITEM_SIZE_MAX


def fetch(
    context: "Context",
    path: "Path",
    destination: "Path",
    size_max: int = SIZE_MAX,
    count_max: int = COUNT_MAX,
    resume: bool = False,
    skip_special: bool = False,
    digest: bool = False,
    flush: bool = False,
    timeout: "Optional[float]" = None,
) -> Arrived:
    """Fetch a file, or a folder with all in it, from another context; return what arrived.

    path: absolute, over there. destination: what it is to be called here; a file there is replaced, a folder must not
    be there, unless it's empty. size_max, count_max: bytes, and files and folders, that are taken at most. resume: if
    it fails, keep what has come of a file, and next time fetch only the rest. skip_special: leave out links, sockets
    and the like, which are an error otherwise. digest: check each file by its SHA-256, as `resume` does, and say that
    of a single one. flush: have a single file on the disk before it is in its place.

    Raises TransferError, what the far side met (FileNotFoundError, PermissionError), OSError of this side, or how else
    a call can end.
    """
    remote_path = os.fsencode(path).rstrip(b"/") or b"/"
    what = "fetch '%s' from %s" % (beneath.text_of(remote_path), context)
    deadline = deadline_after(timeout)
    landing = Landing(what, os.fsencode(destination), size_max, count_max, resume, skip_special, digest, flush)
    shortcut = None
    try:
        args = {"path": remote_path, "by_digest": landing.by_digest, "start": landing.start, "prefix": landing.prefix}
        shortcut = None if landing.by_digest else _shortcut(context, what, landing.device)
        if shortcut is not None:
            args["offer"] = shortcut.offer
            landing.take_handed(shortcut.copy_to)
        with _open_stream(context, "send", args, deadline) as stream:
            if shortcut is not None:
                shortcut.stream = stream
            for item in stream:
                landing.take(item)
        landing.finish()
    finally:
        if shortcut is not None:
            shortcut.close()
        landing.close()
    return _arrived(landing.facts(), what)


def put(
    context: "Context",
    path: "Path",
    destination: "Path",
    size_max: int = SIZE_MAX,
    count_max: int = COUNT_MAX,
    resume: bool = False,
    skip_special: bool = False,
    digest: bool = False,
    flush: bool = False,
    timeout: "Optional[float]" = None,
) -> Arrived:
    """Put a file, or a folder with all in it, to a context below this one; return what arrived.

    path: here. destination: absolute, over there. All else as for fetch().
    """
    remote_path = os.fsencode(destination)
    what = "put '%s' to '%s' on %s" % (beneath.text_of(os.fsencode(path)), beneath.text_of(remote_path), context)
    deadline = deadline_after(timeout)
    args = {"path": remote_path, "size_max": size_max, "count_max": count_max}
    args.update(resume=resume, skip_special=skip_special, by_digest=digest, flush=flush)
    fd = beneath.open_any(os.fsencode(path))
    shortcut = None
    try:
        status = os.fstat(fd)
        is_long = stat.S_ISREG(status.st_mode) and descriptors.SIZE_MIN <= status.st_size <= size_max
        shortcut = _shortcut(context, what, status.st_dev) if is_long and not (digest or resume) else None
        if shortcut is not None:
            args["offer"] = shortcut.offer
        else:
            widen(context.runtime)
        with _open_stream(context, "receive", args, deadline) as stream:
            sender, start, prefix, is_handed = _place(stream, context)
            try:
                if is_handed and shortcut is not None:
                    shortcut.stream = stream
                    items = shortcut.items_of(fd)
                else:
                    items = reading.items_of(fd, digest or resume, start, prefix)
                for item in items:
                    if type(item) is list and item and item[-1][0] == "fail":
                        raise TransferError(what, item[-1][1])
                    sender.put(item, None if deadline is None else max(0.0, deadline - monotonic()))
                found = _said(stream, context)
            except ReceiverClosed:
                _said(stream, context)  # it takes no more, and says itself why not
                raise
            finally:
                sender.close()
    finally:
        if shortcut is not None:
            shortcut.close()
        os.close(fd)
    return _arrived(found, what)


def _open_stream(context: "Context", method: str, args: "Dict[str, Any]", deadline: "Optional[float]") -> "Stream":
    name = context.service_name(FileService)
    return open_stream(context, name, method, args, deadline, _CLASSES.get, FileInflow)


def _place(stream: "Stream", context: "Context") -> "Tuple[Sender, int, bytes, bool]":
    """Return where the other side wants the items, how much it has already, the digest of that, and what it handed."""
    found = _said(stream, context)
    if type(found) is list and [type(part) for part in found] == [Sender, int, bytes, bool]:
        if found[0].address == context.address and found[1] >= 0:
            return found[0], found[1], found[2], found[3]
    raise ProtocolError("FileService.receive", str(context), "it doesn't say where the items are to go")


def _said(stream: "Stream", context: "Context") -> "Any":
    """Return what the other side says next."""
    try:
        return stream.get()
    except StreamEnded:
        found = "its answer ended before it said what became of what was put there"
        raise ProtocolError("FileService.receive", str(context), found) from None


def _shortcut(context: "Context", what: str, device: int) -> "Optional[Shortcut]":
    """Return how a file goes to or from a child of ours on this machine; None for any other context."""
    runtime = context.runtime
    if addresses.parent(context.address) != runtime.node.address or not descriptors.are_possible():
        return None
    child = surroundings(runtime).router.child(context)
    if child is None or not child.is_here:
        return None
    try:
        return Shortcut(what, device)
    except OSError:
        return None  # no descriptor is left for it, say


class Shortcut(descriptors.Inlet):
    """A file's way to or from a child on this machine: by a descriptor that the child hands over.

    stream: of the call that hands it over, before anything is copied.
    """

    def __init__(self, what: str, device: int) -> None:
        super().__init__(device)
        self.stream = None  # type: Optional[Stream]
        self._what = what
        self._device = device

    def copy_to(self, target: int, size: int) -> str:
        """Copy what was handed over to a file of ours; return why that can't be, "" if it was done."""
        source = self.take()
        if source < 0:
            return _NOTHING_HANDED
        try:
            return self._copy(source, target, size, source)
        finally:
            os.close(source)

    def items_of(self, source: int) -> "Iterator[Item]":
        """Copy a file of ours to what was handed over; give the items that say so."""
        target = self.take()
        if target < 0:
            raise TransferError(self._what, _NOTHING_HANDED)
        try:
            items = reading.handed(source)
            found = self._copy(source, target, os.fstat(source).st_size, target)
        finally:
            os.close(target)
        if found:
            raise TransferError(self._what, found)
        yield items

    def _copy(self, source: int, target: int, size: int, handed: int) -> str:
        """Copy a whole file; return what is wrong with either, "" if nothing is."""
        assert self.stream is not None
        # What stands on the same file system as a file of ours is none that the child itself answers for, and hangs.
        status, before = os.fstat(handed), os.fstat(source)
        if not stat.S_ISREG(status.st_mode) or status.st_dev != self._device or before.st_size != size:
            return "what it has handed over isn't the file that it has announced"
        copied = descriptors.copy(source, target, size, self.stream.check)
        changed = copied < size or reading.stamp(os.fstat(source)) != reading.stamp(before)
        return "it was changed while it was read" if changed else ""


def _arrived(facts: "Any", what: str) -> Arrived:
    """Return the facts that a landing gave, the other side's perhaps."""
    shape = [int, int, bytes, list, int]
    if type(facts) is not list or [type(part) for part in facts] != shape or len(facts[3]) > SKIPPED_MAX:
        raise TransferError(what, "it was taken, but what is said of it isn't what a FileService says")
    size, count, digest, skipped, resumed_at = facts
    return Arrived(size, count, hexlify(digest).decode(), [shown(str(path)) for path in skipped], resumed_at)
