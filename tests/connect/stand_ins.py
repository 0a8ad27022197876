"""Programs that stand in for the far side's Python: scripts to be given to a connector as python_path."""

import sys
from pathlib import Path

# `nonce`, `mark(version)` and `say(bytes)` for the script, which is run with the arguments that Python would get.
PRELUDE = """#!%s -S
import os, sys, time
nonce = sys.argv[3].partition('(("')[2].partition('"')[0]
def say(data, fd=1):
    while data:
        data = data[os.write(fd, data):]
def mark(version="3.11.7", magic="00"):
    say(("PLASMID 1 %%s %%s %%s\\n" %% (nonce, version, magic)).encode())
def run(argv=sys.argv[1:]):
    os.execv(sys.executable, [sys.executable] + argv)
"""


def stand_in(folder: Path, body: str) -> str:
    """Make a script of this Python code, and return its path."""
    path = folder / "python-stand-in"
    path.write_text(PRELUDE % sys.executable + body)
    path.chmod(0o755)
    return str(path)
