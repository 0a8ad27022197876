"""One context, running: its node and loop, its jobs, and the tables that join them to user threads.

The layers above are named in `plasmid.public`, and imported when they're first needed. So nothing here
imports upwards, and a far side that never has a child or a service is never sent what those take.
"""

import os
import threading

from plasmid.core import address as addresses
from plasmid.core import events
from plasmid.core.node import Node
from plasmid.runtime.context import Call, Context, declared, resolve
from plasmid.runtime.jobs import Jobs
from plasmid.runtime.loop import Loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional


class Runtime:
    """The running side of the context at `address`. Its lock is the router lock.

    names: what contexts are called, by address. default_timeout_s: for calls that set none.
    on_link: called under the lock with each LinkOpened, LinkLeft and LinkEnded.
    permit: called with (address, module) before a function or class of that module is called there.
    """

    def __init__(self, address: bytes, name: str, facts: "Dict[str, Any]") -> None:
        self.node = Node(address, int.from_bytes(os.urandom(8), "big"), facts)
        self.loop = Loop(self.node)
        self.lock = self.loop.lock
        self.names = {address: name}  # type: Dict[bytes, str]
        self.default_timeout_s = None  # type: Optional[float]
        self.permit = lambda address, module: None  # type: Callable[[bytes, str], None]
        self.on_link = []  # type: List[Callable[[Any], None]]
        self.explain_loss = None  # type: Optional[Callable[[bytes], str]]
        self.closers = []  # type: List[Callable[[], None]]  # called at an orderly end, the last one first
        self.on_gone = []  # type: List[Callable[[bytes, str], None]]
        self.find_class = declared.get  # returns the declared class of that name, None if there is none
        self.myself = Context(self, address, name)
        self.jobs = Jobs(self)
        self.ready = threading.Event()  # set once user code may run here
        self._plumbing = None  # type: Any
        self._making = threading.Lock()
        self._hooks = {}  # type: Dict[str, Any]
        self.loop.on_link_ended = self._tell_link
        self.loop.on.update(
            {
                events.CallEnded: lambda event: event.ref.end(event.body, event.is_error, event.error),
                events.CallArrived: self.jobs.arrived,
                events.CallCancelled: self.jobs.cancelled,
                events.LinkOpened: self._tell_link,
                events.LinkLeft: self._tell_link,
                events.ContextGone: self._context_gone,
            }
        )

    def start(self) -> None:
        """Have threads of its own from now on, and run user code."""
        from plasmid.runtime import helpers

        helpers.start(self.jobs)
        self.use_express()
        self.loop.start()
        self.ready.set()

    def use_express(self) -> None:
        """Have short calls take the short way."""
        from plasmid.core import express

        express.install(self.node, self.jobs.take, Call.end)

    def hook(self, name: str) -> "Any":
        """Return what a layer above supplies under this name."""
        found = self._hooks.get(name)
        if found is None:
            module, _, name_there = resolve("plasmid.public", "HOOKS")[name].partition(":")
            found = self._hooks[name] = resolve(module, name_there)
        return found

    def defer(self, fn: "Callable[..., object]", *args: "Any") -> None:
        """Have fn(*args) called on a helper thread."""
        self.jobs.defer(fn, *args)

    def name_of(self, address: bytes) -> str:
        """Return what the context is called here; its address as text if nobody said."""
        return self.names.get(address) or addresses.text(address)

    def plumbing(self) -> "Any":
        """Return what joins receivers and senders to the node, made when it is first asked for."""
        if self._plumbing is None:
            # Before the lock: on a far side this import asks the parent.
            make = self.hook("plumbing")
            with self._making:
                if self._plumbing is None:
                    self._plumbing = make(self)
        return self._plumbing

    def handle(self, code: int, data: bytes) -> "Any":
        """Return the Context or Sender that travelled as `data`; ValueDecodeError if it is none."""
        return self.hook("handle")(self, code, data)

    def classes_of(self, fn: "Any") -> "Any":
        """Return what finds the classes that results of `fn` may name: those of its annotations, and declared ones."""
        declares = isinstance(fn, type) or "return" in getattr(fn, "__annotations__", ())
        return self.hook("classes")(fn) if declares else None

    def is_parent(self, address: bytes) -> bool:
        """Whether the context at `address` has authority here: it stands above this one, or is it."""
        return self.node.address.startswith(address)

    def close(self, reason: str) -> None:
        """End every link, receiver and thread of this context."""
        if self._plumbing is not None:
            self._plumbing.close()
        if self.loop.standby is not None:
            self.loop.standby.close(reason)
        self.jobs.close()

    # -- handlers of events, under the lock

    def _tell_link(self, event: "Any") -> None:
        for fn in self.on_link:
            fn(event)

    def _context_gone(self, event: "events.ContextGone") -> None:
        for fn in self.on_gone:
            self.defer(fn, event.address, event.reason)
