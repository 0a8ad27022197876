"""Proxy: a service on another context, used like an object of its class.

`ctx.service(Disk)` returns one, and type checkers see a Disk. Arguments are bound to names here, by the signature of
the class on this side, so that a slip is a TypeError before anything is sent; the far side checks them again. What a
method returns here is what its kind promises: the result, something to await for an async one, an iterator for a
generator.
"""

from plasmid.runtime.context import deadline_after
from plasmid.service.methods import PLAIN, Method

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Tuple, Type

    from plasmid.service.service import Service


class Proxy:
    """The exposed methods of `service_class`, called on `context`; each call may take `timeout` seconds.

    disk.free_bytes("/") returns the result, disk.free_bytes.start("/") at once the Call.
    """

    __slots__ = "_context", "_service_class", "_timeout_s"

    def __init__(self, context: "Any", service_class: "Type[Service]", timeout: "Optional[float]" = None) -> None:
        # Service itself needn't be imported for this: whoever derived a class from it has done so.
        if not isinstance(service_class, type) or not isinstance(getattr(service_class, "exposed", None), dict):
            raise TypeError("a class derived from plasmid.Service is needed, not %r" % (service_class,))
        self._context = context
        self._service_class = service_class
        self._timeout_s = timeout

    def __getattr__(self, name: str) -> "RemoteMethod":
        cls = self._service_class
        method = cls.exposed.get(name)
        if method is None:
            known = ", ".join(self.__dir__()) or "nothing"
            raise AttributeError("%s exposes no method %r; it exposes %s" % (cls.__name__, name, known))
        return RemoteMethod(self, method)

    def __dir__(self) -> "List[str]":
        return sorted(name for name in self._service_class.exposed if name is not None)

    def __repr__(self) -> str:
        return "<%s on %s>" % (self._service_class.__name__, self._context)


class RemoteMethod:
    """One method of a Proxy, ready to be called. Its type for checkers is interfaces.ExposedMethod."""

    __slots__ = "_proxy", "_method"

    def __init__(self, proxy: Proxy, method: Method) -> None:
        self._proxy = proxy
        self._method = method

    def __call__(self, *args: "Any", **kwargs: "Any") -> "Any":
        sent = self._send(args, kwargs)
        return sent if sent is None or self._method.kind is not PLAIN else sent.result()

    def start(self, *args: "Any", **kwargs: "Any") -> "Any":
        """Call without waiting. Return the Call, a future that can be awaited; of a generator the Stream of its items.

        Raises TypeError for a @no_reply method: nothing comes of it that could be waited for.
        """
        if self._method.is_no_reply:
            raise TypeError("%r is @no_reply: nothing comes of it that could be waited for; just call it" % (self,))
        return self._send(args, kwargs)

    def _send(self, args: "Tuple[Any, ...]", kwargs: "Dict[str, Any]") -> "Any":
        """Return the Call under way; of a generator its Stream, of a @no_reply method None."""
        proxy = self._proxy
        method = self._method
        payload = method.bind(args, kwargs)
        context = proxy._context
        name = context.service_name(proxy._service_class)
        deadline = None if proxy._timeout_s is None else deadline_after(proxy._timeout_s)
        classes = method.result_classes()
        if method.is_stream:
            from plasmid.service.streams import open_stream

            return open_stream(context, name, method.name, payload, deadline, classes)
        return context.send_call(
            "s", name, method.name, payload, deadline=deadline, no_reply=method.is_no_reply, classes=classes
        )

    def __repr__(self) -> str:
        return "<%s on %s>" % (self._method.title, self._proxy._context)
