"""Pyro5: a daemon in a child process serves an object; the near side has a proxy to it."""

# pyright: reportMissingImports=false

import subprocess
import sys
import threading
from importlib.metadata import version
from pathlib import Path
from typing import Any

import Pyro5.api

from bench.subject import Subject

ROOT = str(Path(__file__).resolve().parent.parent.parent)
DAEMON = f"""
import sys
sys.path.insert(0, {ROOT!r})
import Pyro5.api
from bench.peers import far_functions

@Pyro5.api.expose
class Served:
    def small(self, key, n):
        return far_functions.small(key, n)

daemon = Pyro5.api.Daemon(host="127.0.0.1")
print(daemon.register(Served), flush=True)
daemon.requestLoop()
"""


class Daemon:
    """A daemon's process. A proxy belongs to one thread, so each that calls gets its own."""

    def __init__(self) -> None:
        argv = [sys.executable, "-c", DAEMON]
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.uri = self.process.stdout.readline().strip()
        self.local = threading.local()
        self.proxy().small("key", 0)

    def proxy(self) -> Any:
        """Return this thread's proxy."""
        found = getattr(self.local, "proxy", None)
        if found is None:
            found = self.local.proxy = Pyro5.api.Proxy(self.uri)
        return found


class Pyro(Subject):
    """Over a loopback port, serialised as it does unless told otherwise; bytes it doesn't carry as they are."""

    name = "Pyro5"
    version = version("Pyro5")

    def start(self) -> Daemon:
        return Daemon()

    def stop(self, child: Daemon) -> None:
        child.process.terminate()
        child.process.wait()

    def pid(self, child: Daemon) -> int:
        return child.process.pid

    def call(self, child: Daemon, n: int) -> Any:
        return child.proxy().small("key", n)
