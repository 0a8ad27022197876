"""Services that the tests of activation have imported by name."""

import threading
from typing import Any

from plasmid.service import AllowAny, AllowParents, Service, expose

# What was constructed, and what holds a construction up.
made: "list[Service]" = []
begun = threading.Semaphore(0)
go = threading.Semaphore(0)

not_a_service = print


class Disk(Service):
    """Constructed at once."""

    def __init__(self, router: Any) -> None:
        super().__init__(router)
        made.append(self)

    @expose(AllowAny())
    def ping(self) -> str:
        return "pong"

    class Inner(Service):
        """Stands within another class."""

        @expose(AllowParents())
        def ping(self) -> str:
            return "inner"


class Slow(Service):
    """Constructed when a test lets it."""

    def __init__(self, router: Any) -> None:
        super().__init__(router)
        begun.release()
        assert go.acquire(timeout=10)
        made.append(self)

    @expose(AllowAny())
    def ping(self) -> str:
        return "slow"


class Broken(Service):
    """Can't be constructed."""

    def __init__(self, router: Any) -> None:
        raise SystemExit("no disk here")


class Plain:
    """No service; constructing it is an error of the test."""

    def __init__(self, *args: object) -> None:
        raise AssertionError("constructed")
