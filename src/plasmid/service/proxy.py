"""Proxy: a service on another context, used like an object of its class.

`ctx.service(Disk)` returns one, and type checkers see a Disk. Arguments are bound to names here, by the signature of
the class on this side, so that a slip is a TypeError before anything is sent; the far side checks them again. What a
method returns here is what its kind promises: the result, something to await for an async one, an iterator for a
generator.
"""

from time import monotonic

from plasmid.core.errors import ContextLost, NotSent, Overloaded
from plasmid.runtime.context import deadline_after
from plasmid.runtime.ports import Latch, TimedOut
from plasmid.service.methods import PLAIN, Method

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Tuple, Type, Union

    from plasmid.service.service import Service


# The first pause before a call that met a full queue is made again, and the longest.
PAUSE_S = 0.01
PAUSE_MAX_S = 0.25
# How often a call of an @idempotent method is sent in all: it may be what its context dies of.
SENDS_MAX = 3


class Proxy:
    """The exposed methods of `service_class`, called on `context`; each call may take `timeout` seconds.

    overload_wait: for how many of them a call that meets a full queue is made again. Nothing of it was started then.

    disk.free_bytes("/") returns the result, disk.free_bytes.start("/") at once the Call.
    """

    def __init__(
        self,
        context: "Any",
        service_class: "Type[Service]",
        timeout: "Optional[float]" = None,
        overload_wait: float = 0,
    ) -> None:
        # Service itself needn't be imported for this: whoever derived a class from it has done so.
        if not isinstance(service_class, type) or not isinstance(getattr(service_class, "exposed", None), dict):
            raise TypeError("a class derived from plasmid.Service is needed, not %r" % (service_class,))
        self._context = context
        self._service_class = service_class
        self._timeout_s = timeout
        self._overload_wait_s = overload_wait

    def __getattr__(self, name: str) -> "RemoteMethod":
        cls = self._service_class
        method = cls.exposed.get(name)
        if method is None:
            known = ", ".join(self.__dir__()) or "nothing"
            raise AttributeError("%s exposes no method %r; it exposes %s" % (cls.__name__, name, known))
        # Found there from now on, without a call of this.
        found = self.__dict__[name] = RemoteMethod(self, method)
        return found

    def __dir__(self) -> "List[str]":
        return sorted(name for name in self._service_class.exposed if name is not None)

    def __repr__(self) -> str:
        return "<%s on %s>" % (self._service_class.__name__, self._context)


class RemoteMethod:
    """One method of a Proxy, ready to be called. Its type for checkers is interfaces.ExposedMethod."""

    __slots__ = "_context", "_service_class", "_method", "_name", "_timeout_s", "_overload_wait_s", "_comes_back"

    def __init__(self, proxy: Proxy, method: Method) -> None:
        # Not the client itself, which keeps this: it should go when its user drops it.
        self._context = proxy._context
        self._service_class = proxy._service_class
        self._method = method
        self._name = None  # type: Union[str, int, None]  # once it is known and the far side may import the class
        self._timeout_s = proxy._timeout_s
        self._overload_wait_s = proxy._overload_wait_s
        # Only a supervised context has it.
        self._comes_back = getattr(proxy._context, "comes_back", None) if method.is_idempotent else None

    def __call__(self, *args: "Any", **kwargs: "Any") -> "Any":
        if self._overload_wait_s or self._comes_back:
            return self._call_again(args, kwargs)
        sent = self._send(args, kwargs, None if self._timeout_s is None else deadline_after(self._timeout_s))
        return sent if sent is None or self._method.kind is not PLAIN else sent.result()

    def _call_again(self, args: "Tuple[Any, ...]", kwargs: "Dict[str, Any]") -> "Any":
        """Call, and again while there is time: if it meets a full queue, or was lost and may be sent again."""
        deadline = deadline_after(self._timeout_s)
        until = monotonic() + self._overload_wait_s
        until = until if deadline is None else min(until, deadline)
        pause = PAUSE_S
        sends = 0
        while True:
            sent = None
            sends += 1
            try:
                sent = self._send(args, kwargs, deadline)
                return sent if sent is None or self._method.kind is not PLAIN else sent.result()
            except Overloaded as error:
                pause = min(2 * pause, PAUSE_MAX_S, until - monotonic())
                if pause <= 0 or error.started is not False:
                    raise
                _rest(pause)
            except (ContextLost, NotSent):
                if (
                    self._comes_back is None
                    or sends >= SENDS_MAX
                    or not self._comes_back(sent and sent.context, deadline)
                ):
                    raise

    def start(self, *args: "Any", **kwargs: "Any") -> "Any":
        """Call without waiting. Return the Call, a future that can be awaited; of a generator the Stream of its items.

        Raises TypeError for a @no_reply method: nothing comes of it that could be waited for.
        """
        if self._method.is_no_reply:
            raise TypeError("%r is @no_reply: nothing comes of it that could be waited for; just call it" % (self,))
        return self._send(args, kwargs, None if self._timeout_s is None else deadline_after(self._timeout_s))

    def _send(self, args: "Tuple[Any, ...]", kwargs: "Dict[str, Any]", deadline: "Optional[float]") -> "Any":
        """Return the Call under way; of a generator its Stream, of a @no_reply method None."""
        method = self._method
        payload = kwargs if not args and kwargs.keys() == method.all_names else method.bind(args, kwargs)
        context = self._context
        name = self._name
        if name is None:
            name = context.service_name(self._service_class)
            if self._service_class.__module__ != "__main__":  # what is typed into one goes on growing
                self._name = name
        classes = method.result_classes()
        if method.is_stream:
            from plasmid.service.streams import open_stream

            return open_stream(context, name, method.name, payload, deadline, classes)
        return context.send_call(
            "s", name, method.name, payload, deadline=deadline, no_reply=method.is_no_reply, classes=classes
        )

    def __repr__(self) -> str:
        return "<%s on %s>" % (self._method.title, self._context)


def _rest(seconds: float) -> None:
    """Wait, as all waits within Plasmid: a thread of a pool is replaced meanwhile."""
    try:
        Latch().get(seconds)
    except TimedOut:
        pass
