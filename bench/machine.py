"""What the machine says: of itself, of the processes measured, and of how busy it is. Linux's /proc, and no figures."""

import atexit
import functools
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

# The interpreter itself, which -S keeps from its packages.
BARE_PYTHON = str(getattr(sys, "_base_executable", "") or sys.executable)


@functools.cache
def python_without_packages() -> str:
    """Return the path of that interpreter as an environment in which nothing is installed, gone when this process ends.

    Else what is measured is what .pth files of this machine's own packages import.
    """
    folder = Path(tempfile.mkdtemp(prefix="plasmid-bench-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (folder / "bin").mkdir()
    python = folder / "bin" / "python3"
    python.symlink_to(BARE_PYTHON)
    home = f"home = {Path(BARE_PYTHON).parent}\n"
    (folder / "pyvenv.cfg").write_text(home + "include-system-site-packages = false\n")
    return str(python)


def pin() -> None:
    """Bind this process, and all that it starts from now on, to one core."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def switches(pids: "list[int]") -> int:
    """Return how often the threads of these processes gave up the processor, of their own will or not."""
    total = 0
    for status in tasks(pids, "status"):
        for line in status.splitlines():
            if "ctxt_switches" in line:
                total += int(line.rpartition(":")[2])
    return total


def cpu_seconds(pids: "list[int]") -> float:
    """Return how long the threads of these processes have run."""
    return sum(int(line.split()[0]) for line in tasks(pids, "schedstat")) / 1e9


def tasks(pids: "list[int]", name: str) -> "list[str]":
    """Return this file of /proc for each thread of these processes."""
    return [path.read_text() for pid in pids for path in Path(f"/proc/{pid}/task").glob(f"*/{name}")]


def memory_bytes(pids: "list[int]") -> int:
    """Return the memory of these processes; what is shared counts by their part in it."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total


def with_children(pid: int) -> "list[int]":
    """Return this process and all below it."""
    found = [pid]
    for children in tasks([pid], "children"):
        for child in children.split():
            found += with_children(int(child))
    return found


def ticks() -> "tuple[int, int]":
    """Return how long all cores have been busy, and how long they have been at all, in the kernel's ticks."""
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    return sum(fields) - fields[3] - fields[4], sum(fields)


def description() -> "list[str]":
    """Return what to say of this machine beside its figures: nothing that names it."""
    model = "an unnamed processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = " ".join(line.partition(":")[2].split())
    said = subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=False).stderr if has_ssh() else "no ssh"
    return [
        f"{model}, {os.cpu_count()} cores; {platform.system()} {platform.release().partition('-')[0]}",
        f"Python {platform.python_version()} on both sides; the far side's has no packages",
        said.strip().partition(",")[0],
    ]


def has_ssh() -> bool:
    """Return whether there is an ssh on PATH."""
    return any(os.access(os.path.join(folder, "ssh"), os.X_OK) for folder in os.get_exec_path())
