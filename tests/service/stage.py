"""Services that tests hold up, count and watch, and the pool that they stand in."""

import threading
from typing import Any

from plasmid.core.errors import Refused
from plasmid.runtime.context import deadline_var
from plasmid.service import (
    NO_REPLY,
    AllowAny,
    AllowParents,
    Pool,
    SerializedInvoker,
    Service,
    expose,
    no_reply,
)
from plasmid.testing import ANSWER_TIMEOUT_S, FakeCall, FakeRouter


def acquire(semaphore: threading.Semaphore) -> None:
    assert semaphore.acquire(timeout=ANSWER_TIMEOUT_S), "a thread didn't come this far in time"


class Worker(Service):
    """Methods that tests hold up, count and watch."""

    def __init__(self, router: Any) -> None:
        super().__init__(router)
        self.begun = threading.Semaphore(0)
        self.go = threading.Semaphore(0)
        self.lock = threading.Lock()
        self.running = 0
        self.most_running = 0
        self.order: list[int] = []
        self.threads: set[int] = set()
        self.shutdowns: list[str] = []
        self.held: Any = None

    @expose(AllowAny())
    def hold(self, number: int = 0) -> int:
        with self.lock:
            self.running += 1
            self.most_running = max(self.most_running, self.running)
            self.order.append(number)
            self.threads.add(threading.get_ident())
        self.begun.release()
        acquire(self.go)
        with self.lock:
            self.running -= 1
        return number

    @expose(AllowAny())
    def echo(self, value: Any = None) -> Any:
        return value

    @expose(AllowAny())
    def fail(self, kind: str) -> None:
        raise {
            "exit": SystemExit(3),
            "interrupt": KeyboardInterrupt(),
            "value": ValueError("bad"),
            "refused": Refused("x", "", "y"),
        }[kind]

    @expose(AllowAny())
    def later(self, msg) -> Any:  # type: ignore[no-untyped-def]
        self.held = msg
        return NO_REPLY

    @expose(AllowAny())
    def drop(self) -> Any:
        return NO_REPLY

    @expose(AllowAny())
    @no_reply()
    def quiet(self) -> str:
        return "never sent"

    @expose(AllowAny())
    def who(self) -> "list[str]":
        return [self.caller.name, str(deadline_var.get() is not None)]

    @expose(AllowParents())
    def guarded(self) -> None:
        return

    @expose(AllowAny())
    def close_pool(self) -> str:
        self.router.jobs.pool.close()
        return "closed"

    def on_shutdown(self) -> None:
        self.shutdowns.append(threading.current_thread().name)


class Serial(Worker):
    invoker_class = SerializedInvoker


class Stage:
    """A router at /1 with a pool and services in it."""

    def __init__(self, size: int = 1, *classes: "type[Service]") -> None:
        self.router = FakeRouter("/1")
        self.services: list[Any] = [cls(self.router) for cls in classes or (Worker,)]
        self.pool = Pool(self.router, self.services, size=size)

    def __getitem__(self, number: int) -> Any:
        return self.services[number]

    def submit(self, method: str, cls: "type[Service]" = Worker, **args: Any) -> FakeCall:
        return self.router.submit(cls, method, args)


class Older(Service):
    """The older form."""

    handle = 500
    required_args = {"path": str}

    def dispatch(self, args: Any, msg: Any) -> Any:
        return [args, msg.caller.name]
