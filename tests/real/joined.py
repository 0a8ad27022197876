"""Starts programs that join a test's tree, and tells them what to do there."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
END_TIMEOUT_S = 30


class Program:
    """One running joiner.py. first: what it said of joining."""

    def __init__(self, path: Path, prefix: "Sequence[str]" = (), python: str = sys.executable) -> None:
        argv = [*prefix, python, "-m", "tests.real.joiner", str(path)]
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        self.first = self._read()

    def __call__(self, action: str, *args: Any, **options: Any) -> Any:
        """Have it do something, and return the answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([action, args, options]) + "\n")
        self.process.stdin.flush()
        return self._read()

    def value(self, action: str, *args: Any, **options: Any) -> Any:
        """Have it do something that succeeds, and return the value."""
        kind, value, *more = self(action, *args, **options)
        assert kind == "ok", (value, more)
        return value

    def refusal(self, action: str, *args: Any, **options: Any) -> str:
        """Have it do something that fails, and return `Type: text`."""
        kind, *found = self(action, *args, **options)
        assert kind == "error", found
        return ": ".join(found)

    def end(self) -> int:
        """Have it leave and end; return its exit status."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass
        try:
            return self.process.wait(END_TIMEOUT_S)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            self.process.stdout.close()

    def _read(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        return json.loads(line) if line else ["ended"]


@contextmanager
def joined(path: Path, prefix: "Sequence[str]" = ()) -> "Iterator[Program]":
    """Give a program that has joined at this path, and end it."""
    program = Program(path, prefix)
    try:
        yield program
    finally:
        program.end()
