"""How a process that is there already joins a tree: `plasmid.join(path)`, where another one listens.

    router = plasmid.join("/run/user/1000/backup/plasmid")
    print(router.parent.service(Backup).state())

It is a child of the listener: it may call what policies let it, is called like any child, and obeys what stands above
it, as every child does. But it is a program of its own: it has its own modules, its main thread, its output, and no
watchdog, and goes on when it leaves or the listener ends. It starts no contexts: those would outlive the tree that they
are in. Where the listener lends authority, calls to contexts that aren't below it go to the listener's service
`plasmid.lending`, which makes them.

Near side only: what runs on a far side is in a tree already.
"""

import os
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any, NoReturn

from plasmid.builtin import lending, listening, sockets
from plasmid.core import address as addresses
from plasmid.core import values
from plasmid.core.calls import Calls, OutCall
from plasmid.core.connect_error import ConnectError
from plasmid.core.errors import NotSent, PlasmidError, Refused
from plasmid.core.events import LinkEnded, LinkLeft, LinkOpened
from plasmid.core.remote import shown
from plasmid.core.switch import PARENT
from plasmid.router import Child, Router
from plasmid.runtime import functions
from plasmid.runtime import main as far_main
from plasmid.runtime.context import Context
from plasmid.runtime.runtime import Runtime

if TYPE_CHECKING:
    from plasmid.connect.connector import Connector
    from plasmid.runtime.jobs import Job

STEP_CONNECT, STEP_ASK, STEP_HELLO = "connect", "ask to join", "say hello"
# How long the listener may take to answer our goodbye.
LEAVE_MAX_S = 2.0
_NO_CONTEXTS = (
    "a process that has joined a tree starts no contexts in it; make a plasmid.Router for those, or, where the "
    "listener lends its authority, have it start them: via=router.parent"
)
_NO_SUPPLY = (
    "what a context may have beyond its connection (allow_modules=, requires= and the like) is said where its modules "
    "come from, and that isn't this process"
)


def join(path: "str | os.PathLike[str]", timeout: "float | None" = None, connect_timeout: float = 10.0) -> "Joined":
    """Return the Router of this process in the tree of the one that listens at `path`; see Router.listen().

    timeout: seconds that a call may take which sets no deadline of its own. connect_timeout: seconds until it has
    joined. Raises ConnectError, which names the step that failed.
    """
    if far_main.runtime is not None:
        raise PlasmidError("this process was started by Plasmid and is in a tree already")
    where = sockets.checked_path(path)
    until = monotonic() + connect_timeout
    connection = _connect(where, connect_timeout)
    try:
        told = _ask(where, connection, until)
        router = Joined(told, timeout, where)
    except BaseException:
        connection.close()
        raise
    router.begin(connection.detach(), until)
    return router


class Joined(Router):
    """The Router of a process that has joined a tree; plasmid.join() gives it.

    parent: the listener. authority: "none", or "lent": the calls of this process are then made by the listener, in its
    name and with its authority, for as long as the link lasts.
    """

    has_joined = True

    def __init__(self, told: "dict[str, Any]", timeout: "float | None", path: str) -> None:
        address = told["address"]
        self.authority: str = told["authority"]
        self._path = path
        self._opened = threading.Event()
        self._left = threading.Event()
        self._lost = ""
        facts = {"pid": os.getpid(), "python": "%d.%d.%d" % sys.version_info[:3], "host": os.uname().nodename}
        runtime = Runtime(address, told["name"], facts)
        above = address[: -addresses.STEP_SIZE]
        runtime.names.update({addresses.ROOT: told["root"], above: told["parent"]})
        if self.authority == listening.LENT:
            id_start = int.from_bytes(os.urandom(8), "big")
            # Before the runtime is started: what is fed to the node is told to the calls that are there then.
            runtime.node.calls = BorrowingCalls(runtime.node.switch, id_start, above)
        super().__init__(timeout=timeout, _runtime=runtime)
        # Nothing is sent from here: whoever is called has a parent of its own to have its modules from.
        runtime.permit = lambda address, module: None
        runtime.on_link.append(self._on_parent)
        # On a thread of their own: the main thread is the program's.
        self._functions = threading.Thread(
            target=functions.serve, args=(runtime, _run_function), name="plasmid-functions", daemon=True
        )
        self._functions.start()

    def begin(self, fd: int, until: float) -> None:
        """Open the link on this descriptor. ConnectError, and nothing is left, if that isn't done by then."""
        self.runtime.loop.attach(PARENT, fd, fd)
        self._opened.wait(max(0.0, until - monotonic()))
        if self._lost or not self._opened.is_set():
            self.close()
            raise ConnectError("unix:" + self._path, STEP_HELLO, self._lost or "the listener said no hello in time")

    @property
    def parent(self) -> Context:
        """The listener."""
        return Context(self.runtime, self.runtime.node.address[: -addresses.STEP_SIZE])

    def contexts(self) -> "list[Context]":
        """Return the contexts that the listener has started and that are there. Refused where it lent no authority."""
        call = self.parent.call_service_async(lending.SERVICE, "contexts")
        found: list[Context] = call.result()
        for context in found:
            self.runtime.names[context.address] = context.name
        return found

    def start(
        self,
        connector: "Connector",
        via: "Context | None" = None,
        progress: "Callable[[str, float | None], None] | None" = None,
        given_up: "Callable[[], str] | None" = None,
    ) -> Context:
        """Return a new context that the listener, or one below it, has started: `via`."""
        if connector.supply is not None:
            raise PlasmidError("starting %s: %s" % (connector.target, _NO_SUPPLY))
        return super().start(connector, via, progress, given_up)

    def start_child(
        self,
        connector: "Connector",
        progress: "Callable[[str, float | None], None] | None" = None,
        given_up: "Callable[[], str]" = str,
    ) -> Child:
        """Raise PlasmidError: see the head of this module."""
        raise PlasmidError("starting %s: %s" % (connector.target, _NO_CONTEXTS))

    def listen(self, path: Any, authority: str = listening.NONE, limit: int = listening.JOINED_MAX) -> NoReturn:
        """Raise PlasmidError: who joined here would be lost with this process, and may join where it did."""
        raise PlasmidError("a process that has joined a tree doesn't let others in; they may join at %s" % self._path)

    def close(self, patience_s: float = LEAVE_MAX_S) -> None:
        """Leave the tree. This process goes on. Again is no error."""
        with self.runtime.lock:
            self.runtime.node.say_goodbye(PARENT, "it left")
            self.runtime.loop.settle()
        if PARENT in self.runtime.node.links:
            self._left.wait(patience_s)
        super().close(patience_s)

    def _on_parent(self, event: "LinkOpened | LinkLeft | LinkEnded") -> None:
        """Take note of what the listener's link did. Under the router lock."""
        if event.link.id != PARENT:
            return
        if isinstance(event, LinkLeft):
            self.runtime.node.say_goodbye(PARENT, "goodbye")
        elif isinstance(event, LinkEnded):
            self._lost = event.reason
            found = "this process has left the tree of %s, or was left by it: %s" % (self._path, event.reason)
            self.runtime.node.switch.way_out = _no_way_out(self.runtime.node.address, found)  # type: ignore[assignment, method-assign]
            self._left.set()
        self._opened.set()


class BorrowingCalls(Calls):
    """The calls of a context that its parent has lent authority: all but those to itself are made by the parent."""

    def __init__(self, switch: Any, id_start: int, lender: bytes) -> None:
        super().__init__(switch, id_start)
        self._lender = lender

    def call(
        self,
        target: bytes,
        head: bytes,
        parts: "Sequence[bytes | bytearray | memoryview]",
        now: float,
        deadline: "float | None" = None,
        no_reply: bool = False,
        ref: Any = None,
    ) -> "OutCall | None":
        """Make a call, or have the lender make it."""
        if target != self._switch.address and head != CONTEXTS_HEAD:
            asked = {"target": target, "head": head, "payload": b"".join(parts)}
            target, head, parts = self._lender, CALL_HEAD, values.encode(asked)
        return super().call(target, head, parts, now, deadline, no_reply, ref)


CALL_HEAD = values.pack(["s", lending.SERVICE, "call"])
CONTEXTS_HEAD = values.pack(["s", lending.SERVICE, "contexts"])


def _connect(path: str, timeout_s: float) -> socket.socket:
    """Return a connection to the listener at `path`, who is the same user as we are."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout_s)
        connection.connect(path)
        uid, _ = sockets.peer_of(connection)
    except OSError as error:
        connection.close()
        raise ConnectError("unix:" + path, STEP_CONNECT, *_why_not(path, error)) from None
    own = os.geteuid()
    if uid != own:
        connection.close()
        found = "the user %d listens there, and this process runs as the user %d" % (uid, own)
        raise ConnectError("unix:" + path, STEP_CONNECT, found, advice="Only the user who listens may join.")
    return connection


def _why_not(path: str, error: OSError) -> "tuple[str, str, str]":
    """Return what to say of it: what was found, what it printed, the advice."""
    if isinstance(error, FileNotFoundError):
        return "there is no such socket: nobody listens there", "", "Start the program that listens, or check the path."
    if isinstance(error, ConnectionRefusedError):
        return "nobody listens there any more", "", "Start the program that listens: it replaces the socket left there."
    if isinstance(error, PermissionError):
        try:
            owner = "the user %d" % os.stat(os.path.dirname(path)).st_uid
        except OSError:
            owner = "another user"
        found = "this process runs as the user %d, and may not enter the folder of %s" % (os.geteuid(), owner)
        return found, "", "Only the user who listens may join."
    if isinstance(error, (TimeoutError, BlockingIOError)):
        return "the listener takes nobody in just now", "", "Try again, or allow more time with connect_timeout=."
    return error.strerror or str(error), "", ""


def _ask(path: str, connection: socket.socket, until: float) -> "dict[str, Any]":
    """Ask to join. Return what the listener tells one that it lets in."""

    def failure(found: str) -> ConnectError:
        return ConnectError("unix:" + path, STEP_ASK, found)

    def read(size: int) -> bytes:
        data = b""
        while len(data) < size:
            connection.settimeout(max(0.001, until - monotonic()))
            more = connection.recv(size - len(data))
            if not more:
                raise failure("the listener hung up without a word; it may be ending")
            data += more
        return data

    try:
        connection.sendall(listening.REQUEST)
        size = int.from_bytes(read(4), "big")
        if size > listening.ANSWER_SIZE_MAX:
            raise failure("what listens there isn't Plasmid: it announces an answer of %d bytes" % size)
        told = values.unpack(read(size))
    except TimeoutError:
        raise failure("no answer came in the time allowed") from None
    except (OSError, ValueError) as error:
        raise failure("what came is no answer: %s" % error) from None
    told = told if isinstance(told, dict) else {}
    if type(told.get("refused")) is str:
        raise failure("the listener refused: %s" % shown(told["refused"]))
    kinds = {"address": bytes, "name": str, "parent": str, "root": str, "authority": str}
    fits = all(type(told.get(key)) is kind for key, kind in kinds.items())
    if not fits or not told["address"] or len(told["address"]) % addresses.STEP_SIZE:
        raise failure("the listener is of another version, and told something else than this one expects")
    return told


def _run_function(runtime: Runtime, job: "Job") -> None:
    """Run a function call of one of those above, unless it is of a program that isn't this one."""
    if job.name == "__main__":
        found = "__main__ there is another program; move what is to be called into a module that it can import"
        job.fail(Refused("", "", found))
    else:
        functions.run(runtime, job)


def _no_way_out(own: bytes, found: str) -> Callable[[bytes], None]:
    """Return what says of every context but this one that no way leads there any more."""

    def way_out(target: bytes) -> None:
        if target != own:
            raise NotSent("", "", found)

    return way_out
