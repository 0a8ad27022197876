"""Mitogen: the same tree of contexts and service framework."""

# pyright: reportMissingImports=false

import os
from collections import deque
from importlib.metadata import version
from typing import Any

import mitogen.core
import mitogen.master
import mitogen.service

from bench import pythons
from bench.peers.mitogen_service import Probe, calls_up, echo
from bench.subject import Subject


class MitogenChild:
    """A context, and its process id."""

    def __init__(self, context: Any) -> None:
        self.context = context
        self.pid = int(context.call(os.getpid))


class Mitogen(Subject):
    """Contexts by router.local()."""

    name = "mitogen"
    version = version("mitogen")

    def open(self) -> None:
        self.broker: Any = mitogen.master.Broker()
        self.router: Any = mitogen.master.Router(self.broker, max_message_size=1 << 28)
        self.pool: Any = mitogen.service.Pool(self.router, services=[Probe(self.router)], size=8)

    def close(self) -> None:
        self.pool.stop()
        self.broker.shutdown()
        self.broker.join()

    def start(self) -> MitogenChild:
        return MitogenChild(self.router.local(python_path=pythons.without_packages()))

    def start_behind(self, hops: int) -> MitogenChild:
        context = self.router.local(python_path=pythons.without_packages())
        for _ in range(hops):
            context = self.router.local(via=context, python_path=pythons.without_packages())
        return MitogenChild(context)

    def stop(self, child: MitogenChild) -> None:
        child.context.shutdown(wait=True)

    def pid(self, child: MitogenChild) -> int:
        return child.pid

    def call(self, child: MitogenChild, n: int) -> Any:
        return child.context.call_service(Probe, "small", key="key", n=n)

    def calls_up(self, child: MitogenChild, count: int) -> "list[float]":
        return list(child.context.call(calls_up, count))

    def pipeline(self, child: MitogenChild, count: int, window: int) -> None:
        receivers: deque[Any] = deque()
        for n in range(count):
            if len(receivers) == window:
                receivers.popleft().get().unpickle()
            receivers.append(child.context.call_service_async(Probe, "small", key="key", n=n))
        while receivers:
            receivers.popleft().get().unpickle()

    def call_each(self, children: "list[MitogenChild]") -> None:
        receivers = [
            child.context.call_service_async(Probe, "small", key="key", n=n) for n, child in enumerate(children)
        ]
        for receiver in receivers:
            receiver.get().unpickle()

    def echo(self, child: MitogenChild, data: bytes) -> bytes:
        # Its marked form for binary data, which it doesn't copy through a text.
        return bytes(child.context.call(echo, mitogen.core.Blob(data)))
