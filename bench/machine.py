"""What the machine says: of itself, of the processes measured, and of how busy it is. Linux's /proc, and no figures."""

import os
import platform
import subprocess
from pathlib import Path


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


def description(python: str = "") -> "list[str]":
    """Return what to say of this machine beside its figures: nothing that names it. python: that of this process."""
    model = "an unnamed processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = " ".join(line.partition(":")[2].split())
    said = subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=False).stderr if has_ssh() else "no ssh"
    return [
        f"{model}, {os.cpu_count()} cores; {platform.system()} {platform.release().partition('-')[0]}",
        f"{python or f'Python {platform.python_version()}'} on both sides; the far side's has no packages",
        said.strip().partition(",")[0],
    ]


def has_ssh() -> bool:
    """Return whether there is an ssh on PATH."""
    return any(os.access(os.path.join(folder, "ssh"), os.X_OK) for folder in os.get_exec_path())
