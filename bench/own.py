"""Plasmid, used as its documentation says: a typed client for calls down and up, a function for the echo."""

import contextlib
import os
from collections import deque
from collections.abc import Iterator, Sequence
from functools import partial
from time import perf_counter
from typing import Any

import plasmid
from bench import probe, pythons, shared
from bench.moves import Copier
from bench.subject import Subject


class OwnChild:
    """A context, and a client of its probe."""

    def __init__(self, context: Any) -> None:
        self.context = context
        self.probe: Any = context.service(probe.Probe)


class Own(Subject):
    """Plasmid itself."""

    name = "plasmid"
    version = plasmid.__version__

    def open(self) -> None:
        self.router = plasmid.Router()
        self.pool = plasmid.service.Pool(self.router, services=[probe.Probe(self.router)], size=8)

    def close(self) -> None:
        self.router.close()

    def start(self) -> OwnChild:
        return first_answer(self.router.local(python_path=pythons.without_packages()))

    def start_over_ssh(self, hostname: str, ssh_args: "list[str]") -> OwnChild:
        """Return a new child that has answered once, over ssh."""
        return first_answer(self.router.ssh(hostname, ssh_args=ssh_args))

    def start_behind(self, hops: int) -> OwnChild:
        context = self.router.local(python_path=pythons.without_packages())
        for _ in range(hops):
            context = self.router.local(via=context, python_path=pythons.without_packages())
        return first_answer(context)

    def stop(self, child: OwnChild) -> None:
        child.context.shutdown()

    def pid(self, child: OwnChild) -> int:
        known = self.router.child(child.context)
        assert known is not None
        return int(known.info["pid"])

    def boot_bytes(self, child: OwnChild) -> int:
        known = self.router.child(child.context)
        assert known is not None
        return known.boot_bytes

    def call(self, child: OwnChild, n: int) -> Any:
        return child.probe.small(key="key", n=n)

    def calls_up(self, child: OwnChild, count: int) -> "list[float]":
        return child.context.call(probe.calls_up, count)  # type: ignore[no-any-return]

    def pipeline(self, child: OwnChild, count: int, window: int) -> None:
        small = child.probe.small.start
        calls: deque[Any] = deque()
        for n in range(count):
            if len(calls) == window:
                calls.popleft().result()
            calls.append(small(key="key", n=n))
        while calls:
            calls.popleft().result()

    def call_each(self, children: "list[OwnChild]") -> None:
        calls = [child.probe.small.start(key="key", n=n) for n, child in enumerate(children)]
        for call in calls:
            call.result()

    def shared_key(self, child: OwnChild, callers: int) -> "tuple[float, int]":
        client = child.context.service(shared.Shared)
        client.find(key="first", seconds=0.0)  # it is there
        start = perf_counter()
        for call in [client.find.start(key="key", seconds=0.2) for _ in range(callers)]:
            call.result()
        return perf_counter() - start, int(child.context.call(shared.runs_of, "key"))

    def echo(self, child: OwnChild, data: bytes) -> bytes:
        return child.context.call(probe.echo, data)  # type: ignore[no-any-return]

    @contextlib.contextmanager
    def copying(self, ssh_args: "Sequence[str]") -> "Iterator[Copier]":
        context = (
            self.router.ssh("bench", ssh_args=list(ssh_args))
            if ssh_args
            else self.router.local(python_path=pythons.without_packages())
        )
        yield Copier(partial(plasmid.files.put, context), partial(plasmid.files.fetch, context))
        context.shutdown()


def first_answer(context: Any) -> OwnChild:
    """Return the context as a child once it has answered its first call."""
    context.call(os.getpid)
    return OwnChild(context)
