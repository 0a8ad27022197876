"""plasmid.service: the service framework.

Derive from Service, say with @expose who may call what, and serve it from a Pool; on a child the pool makes itself.
The names below are fetched when they are first used: a far side that only defines a service doesn't load the threads,
and no side loads the deduplication that it doesn't use.
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, List, Type, Union

    from plasmid.service.activator import Activator as Activator
    from plasmid.service.deduplicate import DeduplicatingInvoker as DeduplicatingInvoker
    from plasmid.service.invokers import NO_REPLY as NO_REPLY
    from plasmid.service.invokers import Invoker as Invoker
    from plasmid.service.invokers import SerializedInvoker as SerializedInvoker
    from plasmid.service.methods import arg_spec as arg_spec
    from plasmid.service.methods import expose as expose
    from plasmid.service.methods import idempotent as idempotent
    from plasmid.service.methods import no_reply as no_reply
    from plasmid.service.policy import AllowAny as AllowAny
    from plasmid.service.policy import AllowContexts as AllowContexts
    from plasmid.service.policy import AllowNames as AllowNames
    from plasmid.service.policy import AllowParents as AllowParents
    from plasmid.service.policy import AllowSubtree as AllowSubtree
    from plasmid.service.policy import Policy as Policy
    from plasmid.service.pool import Pool as Pool
    from plasmid.service.proxy import Proxy as Proxy
    from plasmid.service.replies import Reply as Reply
    from plasmid.service.service import Service as Service
    from plasmid.service.streams import Stream as Stream
    from plasmid.service.streams import StreamEnded as StreamEnded
    from plasmid.service.streams import stream as stream

__all__ = [
    "Service",
    "Pool",
    "expose",
    "arg_spec",
    "no_reply",
    "idempotent",
    "NO_REPLY",
    "Policy",
    "AllowParents",
    "AllowAny",
    "AllowSubtree",
    "AllowContexts",
    "AllowNames",
    "Invoker",
    "SerializedInvoker",
    "DeduplicatingInvoker",
    "Activator",
    "Proxy",
    "Reply",
    "Stream",
    "StreamEnded",
    "call",
    "stream",
]

_HOMES = {
    "service": ("Service",),
    "pool": ("Pool",),
    "methods": ("expose", "arg_spec", "no_reply", "idempotent"),
    "policy": ("Policy", "AllowParents", "AllowAny", "AllowSubtree", "AllowContexts", "AllowNames"),
    "invokers": ("Invoker", "SerializedInvoker", "NO_REPLY"),
    "deduplicate": ("DeduplicatingInvoker",),
    "activator": ("Activator",),
    "proxy": ("Proxy",),
    "replies": ("Reply",),
    "streams": ("Stream", "StreamEnded", "stream"),
}


def call(context: "Any", service: "Union[str, int, Type[Service]]", args: "Any" = None) -> "Any":
    """Call a service in the older form, without naming a method; return what its dispatch() returned.

    plasmid.service.call(context, FileService.handle, {"path": "/etc/motd"})
    """
    return context.send_call("s", context.service_name(service), None, {} if args is None else args).result()


class _LazyModule(type(sys)):  # type: ignore[misc]
    """This module: a module-level __getattr__ would need Python 3.7."""

    def __getattr__(self, name: str) -> "Any":
        for home, names in _HOMES.items():
            if name in names:
                value = getattr(__import__("plasmid.service." + home, None, None, [name]), name)
                setattr(self, name, value)
                return value
        raise AttributeError("module %r has no attribute %r" % (self.__name__, name))

    def __dir__(self) -> "List[str]":
        return sorted(set(vars(self)) | set(__all__))


sys.modules[__name__].__class__ = _LazyModule
