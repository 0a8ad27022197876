"""What a program marks its functions with: `main`, `takes_router`, `takes_econtext`."""

import sys

from plasmid.runtime import main as far_main

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, TypeVar

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
