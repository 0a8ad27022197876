"""FileService: hands out files and folders that were registered, and takes in what a parent puts here.

Whoever may call gets what was registered, and nothing beside it: a path is cut into names, matched name by name, and
opened beneath what it was registered under. A parent of the context may have any path, as it may run any code here
anyway. No path is ever relative to the folder that this process is in.

Both ways the content is a stream of the items of reading.py, under credit, taken in by landing.py.
"""

import errno
import os
import stat
import threading
from time import monotonic

from plasmid.builtin import beneath, descriptors, reading
from plasmid.builtin.landing import COUNT_MAX, SIZE_MAX, Landing
from plasmid.core.address import STEP_SIZE
from plasmid.core.errors import Overloaded
from plasmid.runtime.receivers import Receiver
from plasmid.service.invokers import current_job
from plasmid.service.methods import expose
from plasmid.service.policy import AllowAny, AllowParents
from plasmid.service.service import Service

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterator, List, Set, Tuple, Union

    from plasmid.builtin.reading import Item
    from plasmid.runtime.jobs import Job
    from plasmid.runtime.runtime import Runtime

    Path = Union[str, bytes, os.PathLike[str]]
    Names = Tuple[bytes, ...]

# What is on its way to one receiver: enough for 80 MB/s where an answer takes 50 ms.
WINDOW = 8 * reading.BLOCK_SIZE
# How many transfers those behind one link may have under way. Each holds two blocks here while it isn't read.
TRANSFERS_MAX = 32
# What may wait in a pipe that a link goes by, where Linux would have 64 KiB: see docs/design/0022.
PIPE_SIZE = 1 << 18
# And in a socketpair, in place of 208 KiB.
SOCKET_SIZE = 1 << 19
_SET_PIPE_SIZE = 1031  # F_SETPIPE_SZ, for which Python has a name from 3.10 on
# An item is a block, or a batch that its last small file has made larger than it was to be.
ITEM_SIZE_MAX = 2 * reading.BLOCK_SIZE


class FileReceiver(Receiver):
    """Where the items of a file are put to."""

    window = WINDOW
    item_size_max = ITEM_SIZE_MAX


class FileService(Service):
    """Serves what register() and register_prefix() were given, to every context of the tree; in a pool of yours.

    In a child it is there when a parent first fetches something from it, or puts something there.
    """

    # A path and a few numbers; nobody needs more.
    max_message_size = 16384

    def __init__(self, router: "Any") -> None:
        super().__init__(router)
        self._files = set()  # type: Set[Names]
        self._prefixes = set()  # type: Set[Names]
        self._lock = threading.Lock()
        self._transfers = {}  # type: Dict[bytes, int]

    def register(self, path: "Path") -> None:
        """Let others have this one file. It needn't be there yet: it is looked for each time."""
        names = _own(path, "register")
        if not names:
            raise ValueError("register('/'): it is a folder; register_prefix() is for folders")
        self._files.add(names)

    def register_prefix(self, path: "Path") -> None:
        """Let others have this folder and all that is below it, now or later; nothing through a symbolic link."""
        self._prefixes.add(_own(path, "register_prefix"))

    @expose(AllowAny())
    def send(
        self, path: bytes, by_digest: bool = False, start: int = 0, prefix: bytes = b"", offer: bytes = b""
    ) -> "Iterator[Item]":
        """Give the items of a file or folder; plasmid.files.fetch() takes them in.

        by_digest: check each file by its SHA-256. start, prefix: how much of the file the caller has, and the SHA-256
        of that; only by_digest. offer: of a parent that takes descriptors.
        """
        job = current_job()
        widen(self.router.runtime)
        # By the link: what is below it may call itself by many addresses.
        link = job.source[: len(self.router.myself().address) + STEP_SIZE]
        with self._lock:
            count = self._transfers.get(link, 0)
            if count >= TRANSFERS_MAX and not job.from_parent:
                raise Overloaded("FileService.send", "", "%d transfers are under way to that side" % count)
            self._transfers[link] = count + 1
        try:
            fd = self._open(path, job)
            try:
                if offer and job.from_parent and _is_long(fd) and descriptors.hand_over(offer, fd):
                    yield reading.handed(fd)
                    return
                yield from reading.items_of(fd, by_digest, start, prefix)
            finally:
                os.close(fd)
        finally:
            with self._lock:
                self._transfers[link] -= 1
                if not self._transfers[link]:
                    del self._transfers[link]

    @expose(AllowParents())
    def receive(
        self,
        path: bytes,
        size_max: int = SIZE_MAX,
        count_max: int = COUNT_MAX,
        resume: bool = False,
        skip_special: bool = False,
        by_digest: bool = False,
        flush: bool = False,
        offer: bytes = b"",
    ) -> "Iterator[List[Any]]":
        """Take a file or folder in; plasmid.files.put() sends it.

        Gives [where to put its items, how much is here already, the SHA-256 of that, whether a descriptor was handed
        over], and when it is in its place what Landing.facts() says of it. offer: for the descriptor of the file, to
        be written to; none for a folder.
        """
        _split(path)
        widen(self.router.runtime)
        deadline = current_job().deadline
        what = "put to '%s'" % beneath.text_of(path)
        landing = Landing(what, path, size_max, count_max, resume, skip_special, by_digest, flush)
        try:
            is_handed = bool(offer) and descriptors.hand_over(offer, landing.open_file())
            if is_handed:
                landing.take_handed(_missing)
            receiver = FileReceiver(self.router)
            try:
                yield [receiver.to_sender(), landing.start, landing.prefix, is_handed]
                while not landing.is_whole:
                    landing.take(receiver.get(None if deadline is None else max(0.0, deadline - monotonic())))
            finally:
                receiver.close()
            landing.finish()
        finally:
            landing.close()
        yield landing.facts()

    def _open(self, path: bytes, msg: "Job") -> int:
        """Return a descriptor of what the caller has asked for, if it may have it."""
        names = tuple(_split(path))
        try:
            if msg.from_parent:
                return beneath.open_any(path)
            if names in self._files:
                return _open_in(names[:-1], names[-1:], is_file=True)
            for count in range(len(names), -1, -1):
                if names[:count] in self._prefixes:
                    return _open_in(names[:count], names[count:])
        except OSError as error:
            raise beneath.explained(error, path) from None
        found = "it isn't registered there; FileService.register() or register_prefix() would do that"
        raise PermissionError(errno.EACCES, found, beneath.text_of(path))


def _is_long(fd: int) -> bool:
    """Whether it is a file that is worth handing its descriptor over."""
    status = os.fstat(fd)
    return stat.S_ISREG(status.st_mode) and status.st_size >= descriptors.SIZE_MIN


def _missing(fd: int, size: int) -> str:
    """Say what is wrong with a file that a parent has written to by its descriptor, "" if nothing is."""
    found = os.fstat(fd).st_size
    return "" if found == size else "%d bytes were written of a file of %d" % (found, size)


def widen(runtime: "Runtime") -> None:
    """Let more wait in the pipes and socketpairs that this context's links go by; what is neither stays as it is."""
    import fcntl

    loop = runtime.loop
    with loop.lock:
        for io in loop.ios.values():
            for fd in {io.read_fd, io.write_fd}:
                if stat.S_ISSOCK(os.fstat(fd).st_mode):
                    _widen_socket(fd)
                    continue
                try:
                    fcntl.fcntl(fd, _SET_PIPE_SIZE, PIPE_SIZE)
                except OSError:
                    pass  # no pipe, another system, or this user has many of them


def _widen_socket(fd: int) -> None:
    from _socket import AF_UNIX, SO_SNDBUF, SOCK_STREAM, SOL_SOCKET, socket

    end = socket(AF_UNIX, SOCK_STREAM, 0, fd)
    try:
        # The system chooses better for a network.
        if isinstance(end.getsockname(), (str, bytes)):
            end.setsockopt(SOL_SOCKET, SO_SNDBUF, SOCKET_SIZE)
    finally:
        end.detach()


def _open_in(root: "Names", below: "Names", is_file: bool = False) -> int:
    """Open what was registered as `root`, as whoever did so meant it, and in it what the names lead to."""
    folder = os.open(b"/" + b"/".join(root), beneath.FOLDER)
    try:
        fd = beneath.open_beneath(folder, below)
    finally:
        os.close(folder)
    if is_file and not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise PermissionError(errno.EACCES, "it was registered as a file and is a folder")
    return fd


def _split(path: bytes) -> "List[bytes]":
    """Return the names of a path that came in a message."""
    try:
        return beneath.split(path)
    except ValueError as error:
        raise PermissionError(errno.EACCES, "no path that is served: %s" % error, beneath.text_of(path[:300])) from None


def _own(path: "Path", method: str) -> "Names":
    """Return the names of a path that this program registers."""
    written = os.fsencode(path)
    try:
        return tuple(beneath.split(written.rstrip(b"/") or b"/"))
    except ValueError as error:
        found = "%s; os.path.abspath() makes a path that can be registered" % error
        raise ValueError("FileService.%s('%s'): %s" % (method, beneath.text_of(written[:300]), found)) from None
