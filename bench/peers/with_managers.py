"""multiprocessing.managers, of the standard library: a manager's process, started afresh, serves an object."""

import multiprocessing
import os
import platform
from multiprocessing.managers import BaseManager
from typing import Any

from bench.peers import far_functions
from bench.subject import Subject


class Served:
    """The object that the manager's process holds."""

    def small(self, key: str, n: int) -> "dict[str, Any]":
        """Return a small dict."""
        return far_functions.small(key, n)

    def echo(self, data: bytes) -> bytes:
        """Return the same bytes."""
        return data

    def pid(self) -> int:
        """Return the process id."""
        return os.getpid()


class Manager(BaseManager):
    """A manager that knows Served."""


Manager.register("Served", Served)


class ManagedChild:
    """A manager and its object."""

    def __init__(self) -> None:
        self.manager = Manager(ctx=multiprocessing.get_context("spawn"))
        self.manager.start()
        self.served: Any = self.manager.Served()  # type: ignore[attr-defined]
        self.served.small("key", 0)


class Managers(Subject):
    """Children are found on this machine only, and have the same modules."""

    name = "managers"
    version = platform.python_version()

    def start(self) -> ManagedChild:
        return ManagedChild()

    def stop(self, child: ManagedChild) -> None:
        child.manager.shutdown()

    def pid(self, child: ManagedChild) -> int:
        return int(child.served.pid())

    def call(self, child: ManagedChild, n: int) -> Any:
        return child.served.small("key", n)

    def echo(self, child: ManagedChild, data: bytes) -> Any:
        return child.served.echo(data)
