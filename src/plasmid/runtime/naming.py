"""Names and handles: by which name a far side finds a function, and what a Context or Sender that travelled is here.

Sent to those far sides that call functions of others, or meet such a value.
"""

import sys

from plasmid.core import address as addresses
from plasmid.core import values
from plasmid.core.errors import UnsendableValue, ValueDecodeError
from plasmid.runtime.context import Context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional, Tuple

    from plasmid.runtime.context import Call
    from plasmid.runtime.runtime import Runtime


def send_function(there: Context, fn: "Any", arguments: "Any", no_reply: bool) -> "Optional[Call]":
    """Send the call of a function there, see Context.send_function()."""
    module, qualname = name_of(fn)
    there.runtime.permit(there.address, module)
    classes = there.runtime.classes_of(fn)
    try:
        return there.send_call("f", module, qualname, arguments, no_reply=no_reply, classes=classes)
    except UnsendableValue as error:
        raise argument_named(error, "%s.%s" % (module, qualname)) from None


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


def argument_named(error: UnsendableValue, function: str) -> UnsendableValue:
    """Return the error with its path as the caller wrote the call: `mod.fn(args[1])`, `mod.fn(size=...)`."""
    where, _, rest = error.path[len(function) + 1 :].partition("]")
    if where == "0":
        path = "%s(args%s)" % (function, rest)
    else:
        name, _, inside = rest[1:].partition("]")
        path = "%s(%s=...%s)" % (function, name.strip("'"), inside)
    return UnsendableValue(path, error.found)


def handle(runtime: "Runtime", code: int, data: bytes) -> "Any":
    """Return the Context or Sender that travelled as `data`; ValueDecodeError if it is none."""
    if code == values.HANDLE_CONTEXT and data and 1 + data[0] <= len(data):
        address, name = data[1 : 1 + data[0]], data[1 + data[0] :]
        if _is_address(address) and len(name) <= 1024:
            return Context(runtime, address, runtime.names.get(address) or name.decode("utf-8", "replace"))
    elif code == values.HANDLE_SENDER and len(data) >= 24 and _is_address(data[24:]):
        from plasmid.runtime.receivers import Sender

        return Sender(runtime, data[24:], int.from_bytes(data[:8], "big"), data[8:24])
    raise ValueDecodeError("a handle of kind %d that is none, or of a kind unknown here" % code)


def _is_address(data: bytes) -> bool:
    return len(data) <= addresses.ADDRESS_SIZE_MAX and not len(data) % addresses.STEP_SIZE
