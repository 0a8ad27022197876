"""What Plasmid's children are asked to run. A module of its own, as it travels to them, with all that it imports."""

from time import perf_counter

import plasmid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Probe(plasmid.Service):
    """A service as small as can be."""

    @plasmid.expose(plasmid.AllowAny())
    def small(self, key: str, n: int) -> "dict[str, Any]":
        """Return a small dict."""
        return {"key": key, "n": n, "ok": True}


@plasmid.takes_econtext
def calls_up(count: int, econtext: "Any") -> "list[float]":
    """Call the root's Probe so many times; return the seconds of each call."""
    probe = econtext.master.service(Probe)
    times = []
    for n in range(count):
        start = perf_counter()
        probe.small(key="key", n=n)
        times.append(perf_counter() - start)
    return times


def echo(data: bytes) -> bytes:
    """Return the same bytes."""
    return data
