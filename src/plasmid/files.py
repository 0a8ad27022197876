"""plasmid.files: files and folders from one context to another.

    plasmid.files.fetch(web, "/var/log/syslog", "logs/web1")      # from there to here
    plasmid.files.put(web, "release.tar", "/srv/release.tar")     # from here to there

What arrives is whole and verified and appears at once, or its place is as it was and there is an error. Contexts above
one may fetch and put what they like there; all others get what its FileService was told to hand out.
"""

import os
from binascii import hexlify
from time import monotonic

from plasmid.builtin import beneath, reading
from plasmid.builtin.files import ITEM_SIZE_MAX, WINDOW, FileService
from plasmid.builtin.landing import COUNT_MAX, SIZE_MAX, SKIPPED_MAX, Landing, TransferError
from plasmid.core.errors import ProtocolError, ReceiverClosed
from plasmid.core.remote import shown
from plasmid.runtime.context import deadline_after
from plasmid.runtime.receivers import Sender
from plasmid.service.streams import Inflow, open_stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, NamedTuple, Optional, Tuple

    from plasmid.builtin.files import Path
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
    landing = Landing(what, os.fsencode(destination), size_max, count_max, resume, skip_special, digest, flush)
    try:
        args = {"path": remote_path, "by_digest": landing.by_digest, "start": landing.start, "prefix": landing.prefix}
        with _open_stream(context, "send", args, deadline_after(timeout)) as stream:
            for item in stream:
                landing.take(item)
        landing.finish()
    finally:
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
    try:
        with _open_stream(context, "receive", args, deadline) as stream:
            sender, start, prefix = _place(stream, context)
            try:
                for item in reading.items_of(fd, digest or resume, start, prefix):
                    if type(item) is list and item and item[-1][0] == "fail":
                        raise TransferError(what, item[-1][1])
                    sender.put(item, None if deadline is None else max(0.0, deadline - monotonic()))
                found = stream.get()
            except ReceiverClosed:
                stream.get()  # it takes no more, and says itself why not
                raise
            finally:
                sender.close()
    finally:
        os.close(fd)
    return _arrived(found, what)


def _open_stream(context: "Context", method: str, args: "Dict[str, Any]", deadline: "Optional[float]") -> "Stream":
    name = context.service_name(FileService)
    return open_stream(context, name, method, args, deadline, _CLASSES.get, FileInflow)


def _place(stream: "Stream", context: "Context") -> "Tuple[Sender, int, bytes]":
    """Return where the other side wants the items, how much it has already, and the digest of that."""
    found = stream.get()
    if type(found) is list and [type(part) for part in found] == [Sender, int, bytes]:
        if found[0].address == context.address and found[1] >= 0:
            return found[0], found[1], found[2]
    raise ProtocolError("FileService.receive", str(context), "it doesn't say where the items are to go")


def _arrived(facts: "Any", what: str) -> Arrived:
    """Return the facts that a landing gave, the other side's perhaps."""
    shape = [int, int, bytes, list, int]
    if type(facts) is not list or [type(part) for part in facts] != shape or len(facts[3]) > SKIPPED_MAX:
        raise TransferError(what, "it was taken, but what is said of it isn't what a FileService says")
    size, count, digest, skipped, resumed_at = facts
    return Arrived(size, count, hexlify(digest).decode(), [shown(str(path)) for path in skipped], resumed_at)
