"""What Mitogen's children run. A module of its own, as it travels to them."""

# pyright: reportMissingImports=false

from time import perf_counter
from typing import Any

import mitogen.core
import mitogen.service


class Probe(mitogen.service.Service):  # type: ignore[misc]
    """A service as small as can be."""

    @mitogen.service.expose(policy=mitogen.service.AllowAny())  # type: ignore
    @mitogen.service.arg_spec({"key": str, "n": int})  # type: ignore
    def small(self, key: str, n: int) -> "dict[str, Any]":
        """Return a small dict."""
        return {"key": key, "n": n, "ok": True}


def echo(data: Any) -> Any:
    """Return the same bytes."""
    return data


@mitogen.core.takes_econtext  # type: ignore
def calls_up(count: int, econtext: Any) -> "list[float]":
    """Call the master's Probe so many times; return the seconds of each call."""
    times = []
    for n in range(count):
        start = perf_counter()
        econtext.master.call_service(Probe, "small", key="key", n=n)
        times.append(perf_counter() - start)
    return times
