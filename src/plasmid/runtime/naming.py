"""By which name a far side finds a function. Sent to those far sides that call functions of others."""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Tuple


def name_of(fn: "Any") -> "Tuple[str, str]":
    """Return (module, qualname) by which the far side finds a function or class. TypeError if it can't."""
    module = getattr(fn, "__module__", None) or getattr(getattr(fn, "__objclass__", None), "__module__", None)
    qualname = getattr(fn, "__qualname__", None)
    bound = getattr(fn, "__self__", None)
    if isinstance(bound, type):
        # By the class that it was taken from, not by the one that defines it.
        module, qualname = bound.__module__, "%s.%s" % (bound.__qualname__, fn.__name__)
    problem = ""
    if not callable(fn) or not module or not qualname:
        problem = "it has no module and name"
    elif "<" in qualname:
        problem = "it is a lambda or stands inside another function, where no import reaches it"
    elif bound is not None and not isinstance(bound, (type, type(sys))):
        problem = "it is bound to an object, which doesn't travel"
    if problem:
        raise TypeError("%r can't be called on another context: %s. Move it to the top of a module." % (fn, problem))
    return module, qualname  # type: ignore[return-value]
