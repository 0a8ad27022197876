"""What the runtime of a context finds here by name: the pool that makes itself, and classes of a function's result."""

from plasmid.service.pool import Pool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Optional

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

    def __getattr__(self, name: str) -> "Any":
        return getattr(self.runtime.hook("router")(self.runtime).router, name)


def make_pool(runtime: "Runtime") -> None:
    """Make the pool of a child, at the first service call of a parent. It closes when the context ends."""
    runtime.closers.append(Pool(Host(runtime), size=CHILD_POOL_SIZE).close)


def result_classes(function: "Any") -> "Optional[Callable[[str], Optional[type]]]":
    """Return what finds the classes that the return annotation of a function declares, None if it declares none."""
    annotation = function.__annotations__.get("return")
    if annotation is None or annotation in (int, str, float, bool, bytes, list, dict):
        return None
    from plasmid.service.checks import declared_classes, from_annotation

    try:
        return declared_classes([from_annotation(annotation, [getattr(function, "__globals__", {})])])
    except TypeError:
        return None
