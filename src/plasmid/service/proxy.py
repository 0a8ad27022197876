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
    from typing import (
        Any,
        AsyncIterator,
        Awaitable,
        Callable,
        Iterator,
        List,
        Optional,
        ParamSpec,
        Type,
        TypeVar,
        overload,
    )

    from plasmid.service.interfaces import Future, ItemStream
    from plasmid.service.service import Service

    P = ParamSpec("P")
    T = TypeVar("T")


class Proxy:
    """The exposed methods of `service_class`, called on `context`; each call may take `timeout` seconds.

    disk.free_bytes("/") returns the result; start(disk.free_bytes, "/") returns a Call at once, and so does
    disk.async_.free_bytes("/"), which type checkers don't see through.
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
        return self._method(name, False)

    @property
    def async_(self) -> "AsyncProxy":
        """The same methods, each returning a Call that is under way."""
        return AsyncProxy(self)

    def _method(self, name: str, is_async: bool) -> "RemoteMethod":
        cls = self._service_class
        method = cls.exposed.get(name)
        if method is None:
            known = ", ".join(self.__dir__()) or "nothing"
            raise AttributeError("%s exposes no method %r; it exposes %s" % (cls.__name__, name, known))
        return RemoteMethod(self, method, is_async)

    def __dir__(self) -> "List[str]":
        return sorted(name for name in self._service_class.exposed if name is not None)

    def __repr__(self) -> str:
        return "<%s on %s>" % (self._service_class.__name__, self._context)


if TYPE_CHECKING:

    @overload
    def start(  # type: ignore[overload-overlap]  # what is no iterator is left to the last
        method: "Callable[P, Iterator[T]]", *args: "P.args", **kwargs: "P.kwargs"
    ) -> "ItemStream[T]": ...
    @overload
    def start(  # type: ignore[overload-overlap]
        method: "Callable[P, AsyncIterator[T]]", *args: "P.args", **kwargs: "P.kwargs"
    ) -> "ItemStream[T]": ...
    @overload
    def start(method: "Callable[P, Awaitable[T]]", *args: "P.args", **kwargs: "P.kwargs") -> "Future[T]": ...
    @overload
    def start(method: "Callable[P, T]", *args: "P.args", **kwargs: "P.kwargs") -> "Future[T]": ...


def start(method: "Any", *args: "Any", **kwargs: "Any") -> "Any":
    """Call a method of a client without waiting: `start(disk.free_bytes, "/var")` is a Call, typed as the method is.

    It is a future, can be awaited, and stands in a Select. Of a generator it is the stream of its items.
    """
    if not isinstance(method, RemoteMethod):
        raise TypeError("a method of a client is needed, as of context.service(...), not %r" % (method,))
    started = method.start(*args, **kwargs)
    if started is None:
        raise TypeError("%r is @no_reply: nothing comes of it that could be waited for; just call it" % (method,))
    return started


class AsyncProxy:
    """What `async_` of a Proxy is."""

    __slots__ = ("_proxy",)

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy

    def __getattr__(self, name: str) -> "RemoteMethod":
        return self._proxy._method(name, True)

    def __dir__(self) -> "List[str]":
        return self._proxy.__dir__()

    def __repr__(self) -> str:
        return "%r.async_" % self._proxy


class RemoteMethod:
    """One method of a Proxy, ready to be called."""

    __slots__ = "_proxy", "_method", "_is_async"

    def __init__(self, proxy: Proxy, method: Method, is_async: bool) -> None:
        self._proxy = proxy
        self._method = method
        self._is_async = is_async

    def __call__(self, *args: "Any", **kwargs: "Any") -> "Any":
        started = self.start(*args, **kwargs)
        if self._is_async or started is None or self._method.kind is not PLAIN:
            return started
        return started.result()

    def start(self, *args: "Any", **kwargs: "Any") -> "Any":
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
