"""What a program uses around its functions and calls: main, takes_router, takes_econtext, timeout, declare."""

import sys

from plasmid.runtime import main as far_main
from plasmid.runtime.context import deadline_after, deadline_var, declared

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Optional, TypeVar

    F = TypeVar("F", bound="Callable[..., Any]")


def main(**options: "Any") -> "Callable[[F], F]":
    """Run the function, with a Router as its argument, when its file is run as a program; on a far side, don't.

    options: those of Router. The router is closed when the function returns, and the program ends with what it
    returned as exit status.
    """

    def mark(function: "F") -> "F":
        if function.__module__ != "__main__" or far_main.runtime is not None:
            return function
        from plasmid.router import Router

        with Router(**options) as router:
            status = function(router)
        sys.exit(status)

    return mark


def takes_router(function: "F") -> "F":
    """Have the function get the Router of the context it runs in, as the argument `router`."""
    return _take(function, "router")


def takes_econtext(function: "F") -> "F":
    """Have the function get what surrounds it there, as the argument `econtext`: .master, .parent, .router."""
    return _take(function, "econtext")


def _take(function: "F", name: str) -> "F":
    function.__plasmid_takes__ = getattr(function, "__plasmid_takes__", ()) + (name,)  # type: ignore[attr-defined]
    return function


class timeout:  # noqa: N801 - read as a verb: `with plasmid.timeout(5):`
    """A `with` block whose calls, all together, may take so many seconds. The time left travels with each.

    Blocks nest; the nearest deadline counts. None sets no limit of its own.
    """

    def __init__(self, seconds: "Optional[float]") -> None:
        self.seconds = seconds

    def __enter__(self) -> "timeout":
        self._token = deadline_var.set(deadline_after(self.seconds))
        return self

    def __exit__(self, *error: "Any") -> None:
        deadline_var.reset(self._token)


def declare(*classes: type) -> "Any":
    """Let values that arrive here, from anyone, name these dataclasses, enums, named tuples or exceptions.

    Returns the first, so that it can be used as a decorator. Classes named in the annotations of a called function
    or of a service method need no declaration there.
    """
    for cls in classes:
        declared["%s:%s" % (cls.__module__, cls.__qualname__)] = cls
    return classes[0]
