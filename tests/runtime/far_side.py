"""A bare interpreter with the importer or the console in it, driven by a script, without a link.

The file under test is stripped as it is when it's sent, and started as the boot loader starts it.
"""

import subprocess
from pathlib import Path

from plasmid.boot.bundle import strip
from tests.real.interpreters import interpreter

SOURCE = Path(__file__).parent.parent.parent / "src" / "plasmid"
END_TIMEOUT_S = 30

START = """
import sys
sys.dont_write_bytecode = True
sys.path[:] = [folder for folder in sys.path if folder]

def start(name, source):
    module = sys.modules[name] = type(sys)(name)
    exec(compile(source, "<plasmid>/%s.py" % name, "exec"), module.__dict__)
    return module

"""


class Ended:
    """What a script printed, and its exit status."""

    def __init__(self, output: str, errors: str, status: int) -> None:
        self.output = output
        self.errors = errors
        self.status = status


def run(
    version: str, script: str, *options: str, modules: "tuple[str, ...]" = ("importer",), folder: "Path | None" = None
) -> Ended:
    """Run a script in which `importer` and the like are the runtime modules of these names, started by hand."""
    text = START
    for name in modules:
        source = strip((SOURCE / "runtime" / f"{name}.py").read_bytes(), keep_annotations=False).decode()
        text += f"{name} = start('plasmid.runtime.{name}', {source!r})\n"
    process = subprocess.run(
        [interpreter(version), *(options or ("-S",)), "-c", text + script],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=END_TIMEOUT_S,
        cwd=folder,
        check=False,
    )
    return Ended(process.stdout.decode(), process.stderr.decode(), process.returncode)
