"""What Plasmid's children are asked to run. A module of its own: it travels to them."""

from time import perf_counter, sleep
from typing import Any

import plasmid


class Probe(plasmid.Service):
    """A service as small as can be."""

    @plasmid.expose(plasmid.AllowAny())
    def small(self, key: str, n: int) -> "dict[str, Any]":
        """Return a small dict."""
        return {"key": key, "n": n, "ok": True}


class Shared(plasmid.Service):
    """A method that takes long, and is run once for all who ask the same."""

    invoker_class = plasmid.service.DeduplicatingInvoker

    @plasmid.expose(plasmid.AllowAny())
    def find(self, key: str, seconds: float) -> str:
        """Return the key after so long."""
        found.append(key)
        sleep(seconds)
        return key


found: "list[str]" = []  # by Shared.find(), a key for each time that it ran


def runs_of(key: str) -> int:
    """Return how often Shared.find() has run for a key."""
    return found.count(key)


@plasmid.takes_econtext
def calls_up(count: int, econtext: Any) -> "list[float]":
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
