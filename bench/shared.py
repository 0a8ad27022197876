"""The deduplicating service that Plasmid's children are asked to run."""

from time import sleep

import plasmid


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
