"""Run the `plasmid` command as its users do: a process of its own, in a folder of its own."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent.parent
TIMEOUT_S = 50

# What the tests have run on other contexts.
TASKS = '''
"""Functions to call."""
import dataclasses, datetime, enum, logging, os, sys, time

class Colour(enum.Enum):
    RED = 1

@dataclasses.dataclass
class Disk:
    path: str
    used: set
    when: datetime.date
    colour: Colour
    data: bytes

class Odd(Exception):
    pass

class Tool:
    @staticmethod
    def double(number: int) -> int:
        return 2 * number

    @classmethod
    def title(cls) -> str:
        return cls.__name__

def disk(path: str) -> Disk:
    return Disk(path, {2, 1}, datetime.date(2024, 5, 6), Colour.RED, b"\\xff")

def echo(*args, **kwargs):
    return [list(args), kwargs]

def module_name():
    return __name__

def speak():
    print("printed \\x1b[31mred")
    logging.getLogger("tasks").warning("logged")
    return "said"

def two_lines():
    return "one\\nlocal-9: two \\x1b]0;title\\x07"

def fail():
    raise KeyError("nothing")

def fail_oddly():
    raise Odd("oddly\\nlocal: forged \\x1b[2J")

def fail_on(pid):
    if os.getpid() == pid:
        raise KeyError(pid)

def unsendable():
    return {"rows": [1, open(os.devnull)]}

def die():
    os._exit(7)

def wait():
    print("waiting", os.getpid(), flush=True)
    time.sleep(600)

if __name__ == "__main__":
    raise SystemExit("the main part ran")
'''


class Ended(NamedTuple):
    """How the command ended."""

    status: int
    out: str
    err: str

    @property
    def documents(self) -> "list[dict[str, Any]]":
        """The JSON documents that it printed."""
        return [json.loads(line) for line in self.out.splitlines()]


def arguments(words: "Sequence[str]") -> "list[str]":
    """Return what to start for `plasmid WORDS`."""
    return [sys.executable, "-m", "plasmid", *words]


def environment() -> "dict[str, str]":
    """Return an environment in which this repository's package is found, and no terminal."""
    return {**os.environ, "PYTHONPATH": str(ROOT / "src"), "NO_COLOR": "1", "COLUMNS": "80", "TERM": "dumb"}


@contextlib.contextmanager
def waiting(*words: str, folder: Path) -> "Iterator[tuple[subprocess.Popen[str], int]]":
    """Run a command that calls tasks.wait; give its process and that of the far side, once that one waits."""
    process = subprocess.Popen(
        arguments(words),
        cwd=folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stderr is not None
            line = process.stderr.readline()
            _, _, rest = line.partition(": waiting ")
            assert rest, f"instead of waiting it said: {line}{process.stderr.read() if not line else ''}"
            yield process, int(rest)
        finally:
            process.kill()


def plasmid(*words: str, folder: "Path | None" = None) -> Ended:
    """Run `plasmid WORDS` in the folder, and return how it ended."""
    result = subprocess.run(
        arguments(words),
        cwd=folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    return Ended(result.returncode, result.stdout, result.stderr)
