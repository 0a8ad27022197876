"""Run tools inside a container and call them by their types: `python examples/sandbox_tools.py docker://web`.

The container needs Python and nothing else. What the tools do, they do in there: whoever uses them, a model that was
given them for instance, reads and writes that container's files and runs its programs, not this machine's. Without an
argument they run in a process beside this one, which keeps nobody from anything.
"""

import os
import subprocess
import sys
from typing import NamedTuple

import plasmid

PROGRAM = """
import sys
a, b = 0, 1
for _ in range(int(sys.argv[1])):
    print(a, end=" ")
    a, b = b, a + b
"""


class Ran(NamedTuple):
    """How a program ended, and what it printed."""

    status: int
    output: str


class Tools(plasmid.Service):
    """What may be done in the container. Arguments are checked against the annotations before a tool runs."""

    @plasmid.expose(plasmid.AllowParents())
    def write_file(self, path: str, text: str) -> int:
        """Write a file and return its size in bytes."""
        with open(path, "w") as file:
            return file.write(text)

    @plasmid.expose(plasmid.AllowParents())
    def read_file(self, path: str, size_max: int = 65536) -> str:
        """Return the beginning of a file."""
        with open(path) as file:
            return file.read(size_max)

    @plasmid.expose(plasmid.AllowParents())
    def list_files(self, folder: str = "/") -> "list[str]":
        """Return the names in a folder."""
        return sorted(os.listdir(folder))

    @plasmid.expose(plasmid.AllowParents())
    def run(self, command: "list[str]", timeout_s: float = 10.0) -> Ran:
        """Run a program and return its exit status and what it printed."""
        ended = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout_s, check=False
        )
        return Ran(ended.returncode, ended.stdout.decode(errors="replace"))


@plasmid.main()
def main(router: plasmid.Router) -> None:
    """Write a program in the container, run it there, and look at what there is."""
    sandbox = router.connect(sys.argv[1] if len(sys.argv) > 1 else "local:", name="sandbox")
    tools = sandbox.service(Tools, timeout=30)  # type checkers know it as a Tools
    size = tools.write_file("/tmp/fibonacci.py", PROGRAM)
    ran = tools.run(["python3", "/tmp/fibonacci.py", "10"])
    print(f"{size} bytes written; run there: status {ran.status}, {ran.output}")
    try:
        tools.read_file("/no/such/file")
    except FileNotFoundError as error:
        print(f"an error of a tool is its own: {error}")
    print("in /:", *tools.list_files("/"))
    for service in sandbox.services():
        for method in service.methods:
            print(f"tool {method.signature}: {method.doc}")
