"""RPyC: its classic way, a connection to a Python of its own over pipes."""

# pyright: reportMissingImports=false

import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rpyc.core import ClassicService
from rpyc.utils.factory import connect_subproc

from bench.subject import Subject

SERVER = """
from rpyc.core import ClassicService
from rpyc.utils.factory import connect_stdpipes

connect_stdpipes(service=ClassicService).serve_all()
"""
ROOT = str(Path(__file__).resolve().parent.parent.parent)


class Connection:
    """A connection, and what it calls."""

    def __init__(self) -> None:
        service: Any = ClassicService  # its own types, where they are installed, say it fits no connection
        self.connection: Any = connect_subproc([sys.executable, "-c", SERVER], service=service)
        self.connection.modules.sys.path.append(ROOT)
        self.functions = self.connection.modules["bench.peers.far_functions"]
        self.small = self.connection.eval("lambda key, n: (key, n, True)")
        self.echo = self.functions.echo
        self.small("key", 0)


class Rpyc(Subject):
    """A dict would come as a reference that asks back for each item; the call returns a tuple, its plain form."""

    name = "rpyc"
    version = version("rpyc")

    def start(self) -> Connection:
        return Connection()

    def stop(self, child: Connection) -> None:
        child.connection.close()
        child.connection.proc.wait()

    def pid(self, child: Connection) -> int:
        return int(child.connection.proc.pid)

    def call(self, child: Connection, n: int) -> Any:
        key, n, ok = child.small("key", n)
        return {"key": key, "n": n, "ok": ok}

    def echo(self, child: Connection, data: bytes) -> Any:
        return child.echo(data)
