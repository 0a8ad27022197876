"""The pool that a child makes itself. The runtime finds it here by name."""

from plasmid.service.pool import Pool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from plasmid.runtime.context import Context
    from plasmid.runtime.jobs import Jobs
    from plasmid.runtime.runtime import Runtime

# The most threads of the pool that a child makes itself. They are started when they're needed.
CHILD_POOL_SIZE = 16


class Host:
    """What services of a child get as their `router`: its Router, which is imported when more than this is asked."""

    def __init__(self, runtime: "Runtime") -> None:
        self.runtime = runtime

    @property
    def jobs(self) -> "Jobs":
        """What arrives here to be served."""
        return self.runtime.jobs

    def myself(self) -> "Context":
        """Return this context."""
        return self.runtime.myself

    def __getattr__(self, name: str) -> "Any":
        return getattr(self.runtime.hook("router")(self.runtime).router, name)


def make_pool(runtime: "Runtime") -> None:
    """Make the pool of a child, at the first service call of a parent. It closes when the context ends."""
    runtime.closers.append(Pool(Host(runtime), size=CHILD_POOL_SIZE).close)
