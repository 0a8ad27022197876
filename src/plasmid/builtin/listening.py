"""A Unix socket by which other processes of the same user join the tree, each as a child of this context.

    joining process                      listener
    "PLASMID JOIN 1\\n"        ────────>
                              <────────  u32 size, a pack: its address and what goes with it, or why not
    frames, HELLO first       <───────>  frames, HELLO first

What joins is a child like any other: its frames are checked at this hop, it has no authority, and it may make this
context hold no more than any child. But no process here leads to it: it was there before, and goes on when its link
ends. Until its hello nothing of it is kept but the line above. One thread per listener, which blocks nobody.
"""

import os
import select
import threading
import weakref
from time import monotonic

from plasmid.builtin import sockets
from plasmid.builtin.lending import Lending
from plasmid.connect.process import ChildProcess
from plasmid.core import address as addresses
from plasmid.core import values
from plasmid.core.errors import PlasmidError
from plasmid.core.events import LinkEnded, LinkOpened
from plasmid.router import Child
from plasmid.runtime.context import Context
from plasmid.runtime.loop import pipe, write_byte

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import Any, Dict, List, Optional

    from plasmid.router import Router

REQUEST = b"PLASMID JOIN 1\n"
ANSWER_SIZE_MAX = 16384
NAME_SIZE_MAX = 1024  # characters of a name in it

# How many may be at the door at a time, what one of them may take for all up to its hello, and how many may have joined
# unless limit= says otherwise.
HANDSHAKES_MAX = 16
HANDSHAKE_S = 10.0
JOINED_MAX = 64
# After a connection couldn't be taken, for want of descriptors, until the next try.
AGAIN_S = 1.0

NONE, LENT = "none", "lent"


class JoinedProcess(ChildProcess):
    """Stands for the process that a child is when it has joined: nothing here leads to it, and nothing here ends it."""

    def __init__(self, pid: int) -> None:
        self.program = "the joined process"
        self.pid = pid
        self.stderr_tail = b""
        self.link_fd = self.stderr_fd = -1
        self._terminal = None
        self.is_guarded = False

    def poll(self) -> "Optional[int]":
        """Return None: its end isn't seen here, only that of its link."""

    def wait(self, timeout_s: float) -> "Optional[int]":
        """Return None."""

    def close(self) -> None:
        """Do nothing: the process goes on."""

    abandon = kill = close


class Guest:
    """Somebody at the door: what was read of the request so far, and by when all must have come."""

    def __init__(self, connection: "socket.socket") -> None:
        self.connection = connection
        self.until = monotonic() + HANDSHAKE_S
        self.uid, self.pid = sockets.peer_of(connection)
        self._said = b""

    def read(self) -> "Optional[bool]":
        """Take in what has come. True: it asks to join. False: it left, or says something else. None: not yet."""
        try:
            data = self.connection.recv(len(REQUEST) - len(self._said))
        except BlockingIOError:
            return None
        except OSError:
            return False
        self._said += data
        if not data or not REQUEST.startswith(self._said):
            return False
        return True if self._said == REQUEST else None

    def answer(self, told: "Dict[str, Any]") -> bool:
        """Send the answer; False if it is gone. The socket is new, so there is room for it."""
        body = values.pack(told)
        try:
            return self.connection.send(len(body).to_bytes(4, "big") + body) == len(body) + 4
        except OSError:
            return False


class Listener:
    """The socket at `path` by which processes of the same user join. From Router.listen(); close() is any thread's.

    authority: what those have who join, "none" or "lent". limit: how many may have joined at a time.
    """

    def __init__(self, router: "Router", path: "Any", authority: str = NONE, limit: int = JOINED_MAX) -> None:
        if authority not in (NONE, LENT):
            raise ValueError("authority must be %r or %r, not %r" % (NONE, LENT, authority))
        if type(limit) is not int or limit < 1:
            raise ValueError("limit must be a whole number from 1 on, not %r" % (limit,))
        self.path = sockets.checked_path(path)
        self.authority = authority
        self.limit = limit
        self._router = router
        self._runtime = router.runtime
        self._guests = {}  # type: Dict[int, Guest]  # by descriptor; the thread's own
        self._joined = {}  # type: Dict[int, Child]
        self._awaited = {}  # type: Dict[int, float]  # by when those must have said hello that haven't yet
        self._told_at = float("-inf")  # when somebody was last turned away in the log
        self._closing = False
        self._owner = os.getpid()
        self._lending = Lending.of(router) if authority == LENT else None
        self._own = sockets.OwnSocket(self.path)
        self._wake_read, self._wake_write = pipe()
        self._thread = threading.Thread(target=self._run, name="plasmid-listener", daemon=True)
        with self._runtime.lock:
            self._runtime.on_link.append(self._on_link)
        router.first_closers.append(self.close)
        _open_ones.add(self)
        self._thread.start()

    def __enter__(self) -> "Listener":
        return self

    def __exit__(self, *error: "Any") -> None:
        self.close()

    def contexts(self) -> "List[Context]":
        """Return those that have joined here and are still there."""
        with self._runtime.lock:
            return [child.context for child in self._joined.values() if child.info and not child.lost]

    def close(self) -> None:
        """Let nobody else join, and remove the socket. Those that have joined stay. Again is no error."""
        if self._owner != os.getpid():
            return  # a copy, in a process that was forked
        with self._runtime.lock:
            self._closing = True
            write_byte(self._wake_write)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    # -- the thread

    def _run(self) -> None:
        try:
            self._serve()
        finally:
            self._own.close()
            self._dismiss(float("inf"))
            with self._runtime.lock:
                self._runtime.on_link.remove(self._on_link)
                for fd in self._wake_read, self._wake_write:
                    os.close(fd)
                self._wake_read = self._wake_write = -1
            self._router.first_closers.remove(self.close)

    def _serve(self) -> None:
        again_at = 0.0
        while not self._closing:
            now = monotonic()
            self._dismiss(now)
            poller = select.poll()
            poller.register(self._wake_read, select.POLLIN)
            for fd in self._guests:
                poller.register(fd, select.POLLIN)
            takes_more = len(self._guests) < HANDSHAKES_MAX
            if takes_more and now >= again_at:
                poller.register(self._own.socket, select.POLLIN)
            due = [guest.until for guest in self._guests.values()]
            due += list(self._awaited.values())
            due += [again_at] if takes_more and now < again_at else []
            for fd, _ in poller.poll(max(0.0, min(due) - now) * 1000 + 1 if due else None):
                if fd == self._wake_read:
                    os.read(fd, 4096)
                elif fd in self._guests:
                    self._hear(fd)
                elif not self._welcome():
                    again_at = monotonic() + AGAIN_S

    def _welcome(self) -> bool:
        """Take a connection. False if that can't be done just now."""
        try:
            connection, _ = self._own.socket.accept()
        except (BlockingIOError, ConnectionError):
            return True
        except OSError:
            return False
        connection.setblocking(False)
        try:
            guest = Guest(connection)
        except (OSError, PlasmidError) as error:
            connection.close()
            self._tell("nobody can join at %s: %s", self.path, error)
            return True
        self._guests[connection.fileno()] = guest
        return True

    def _hear(self, fd: int) -> None:
        """Take in what a guest says, and let it in or send it away once it has asked."""
        asks = self._guests[fd].read()
        if asks is None:
            return
        guest = self._guests.pop(fd)
        try:
            if asks:
                why = self._objection(guest)
                if why:
                    self._tell("%s was asked by process %d: %s", self.path, guest.pid, why)
                    guest.answer({"refused": why})
                else:
                    self._let_in(guest)
        finally:
            guest.connection.close()  # what was let in has given its descriptor away

    def _objection(self, guest: Guest) -> str:
        """Return why this one may not join, "" if it may."""
        own = os.geteuid()
        if guest.uid != own:
            return "the user %d asks to join a process of the user %d, and only that user may" % (guest.uid, own)
        if len(self._joined) >= self.limit:
            return "%d processes have joined, and no more may (limit=)" % len(self._joined)
        if len(self._runtime.node.address) >= addresses.ADDRESS_SIZE_MAX:
            return "the listener stands at the depth where a tree ends"
        return ""

    def _let_in(self, guest: Guest) -> None:
        router, runtime = self._router, self._runtime
        with runtime.lock:
            number = runtime.node.new_child_number()
        address = addresses.child(runtime.node.address, number)
        name = "joined-%d" % number
        told = {"address": address, "name": name, "authority": self.authority}  # type: Dict[str, Any]
        told["parent"] = runtime.myself.name[:NAME_SIZE_MAX]
        told["root"] = runtime.name_of(addresses.ROOT)[:NAME_SIZE_MAX]
        if not guest.answer(told):
            return
        with runtime.lock:
            if router._closed:
                return
            runtime.names[address] = name
            child = Child(number, Context(runtime, address), JoinedProcess(guest.pid))
            child.is_detached = True
            router.children[number] = self._joined[number] = child
            self._awaited[number] = guest.until
            if self._lending is not None:
                self._lending.borrowers[address] = child
        fd = guest.connection.detach()
        runtime.loop.attach(number, fd, fd)

    def _dismiss(self, now: float) -> None:
        """Let go of those who are gone, and of those who took too long."""
        for fd in [fd for fd, guest in self._guests.items() if now >= guest.until]:
            self._guests.pop(fd).connection.close()
        with self._runtime.lock:
            late = {number for number, until in self._awaited.items() if now >= until}
            gone = {number: child for number, child in self._joined.items() if child.lost or number in late}
            unheard = [child for number, child in gone.items() if self._awaited.pop(number, None) is not None]
            for number in gone:
                del self._joined[number]
        for child in unheard:
            self._router._end(child)  # one that has said hello is reaped by the router itself

    def _on_link(self, event: "Any") -> None:
        """Have the thread look when the link of one that has joined opens or ends. Under the router lock."""
        number = event.link.id
        if number in self._joined and isinstance(event, (LinkOpened, LinkEnded)):
            if isinstance(event, LinkOpened):
                self._awaited.pop(number, None)
            write_byte(self._wake_write)

    def _tell(self, text: str, *details: "Any") -> None:
        """Log that somebody was turned away; once a second, whoever comes how often."""
        import logging

        now = monotonic()
        if now - self._told_at >= AGAIN_S:
            self._told_at = now
            logging.getLogger("plasmid").warning(text, *details)

    def close_copy(self) -> None:
        """Close the descriptors of this listener in a process that was forked: it is the other one's."""
        self._own.socket.close()
        for fd in self._wake_read, self._wake_write:
            if fd >= 0:
                os.close(fd)
        for guest in self._guests.values():
            guest.connection.close()


_open_ones = weakref.WeakSet()  # type: weakref.WeakSet[Listener]


def _close_copies() -> None:
    for listener in list(_open_ones):
        listener.close_copy()
    _open_ones.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_copies)
