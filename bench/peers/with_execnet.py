"""execnet: a channel to a gateway whose loop answers what comes."""

# pyright: reportMissingImports=false

from importlib.metadata import version
from typing import Any

import execnet

from bench import pythons
from bench.subject import Subject

# A channel has no methods: what a call would do is written out.
LOOP = """
import os
from time import perf_counter

channel.send(os.getpid())
for what, argument in channel:
    if what == "small":
        channel.send({"key": argument[0], "n": argument[1], "ok": True})
    elif what == "echo":
        channel.send(argument)
    else:
        times = []
        for n in range(argument):
            start = perf_counter()
            channel.send(("small", ("key", n)))
            channel.receive()
            times.append(perf_counter() - start)
        channel.send(("times", times))
"""


class Gateway:
    """A gateway, and the channel to its loop."""

    def __init__(self) -> None:
        self.gateway: Any = execnet.makegateway(f"popen//python={pythons.without_packages()}")
        self.channel: Any = self.gateway.remote_exec(LOOP)
        self.pid = int(self.channel.receive())


class Execnet(Subject):
    """Popen gateways."""

    name = "execnet"
    version = version("execnet")

    def start(self) -> Gateway:
        return Gateway()

    def stop(self, child: Gateway) -> None:
        child.channel.close()
        child.gateway.exit()

    def close(self) -> None:
        execnet.default_group.terminate(timeout=2)

    def pid(self, child: Gateway) -> int:
        return child.pid

    def call(self, child: Gateway, n: int) -> Any:
        child.channel.send(("small", ("key", n)))
        return child.channel.receive()

    def calls_up(self, child: Gateway, count: int) -> "list[float]":
        child.channel.send(("up", count))
        while True:
            what, argument = child.channel.receive()
            if what == "times":
                return list(argument)
            child.channel.send({"key": argument[0], "n": argument[1], "ok": True})

    def pipeline(self, child: Gateway, count: int, window: int) -> None:
        channel = child.channel
        for n in range(count):
            if n >= window:
                channel.receive()
            channel.send(("small", ("key", n)))
        for _ in range(min(count, window)):
            channel.receive()

    def echo(self, child: Gateway, data: bytes) -> Any:
        child.channel.send(("echo", data))
        return child.channel.receive()
