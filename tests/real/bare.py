"""The harshest Python: what Debian calls `python3-minimal`, without json, queue, pty, termios, asyncio, uuid and more.

`minimal_python` makes one of the files that the machine has anyway, in a folder of links, in no time. `root_folder`
makes a whole small machine with nothing else in it, which takes half a minute and a package mirror.
"""

import os
import shutil
import subprocess
from pathlib import Path

from tests.real import parts

SYSTEM_PYTHON = "/usr/bin/python3"
MAKE_TIMEOUT_S = 240
LACKING = ("json", "queue", "pty", "termios", "asyncio", "uuid", "hmac", "secrets", "ctypes", "shutil", "gzip")


def minimal_python(folder: Path) -> "list[str]":
    """Return the words that start such a Python, made in this folder. Skips where the machine isn't Debian's."""
    parts.require(f"Debian's {SYSTEM_PYTHON}", os.access(SYSTEM_PYTHON, os.X_OK) and shutil.which("dpkg"))
    name = Path(os.path.realpath(SYSTEM_PYTHON)).name
    listed = subprocess.run(["dpkg", "-L", f"lib{name}-minimal"], capture_output=True, text=True, check=False)
    parts.require(f"the package lib{name}-minimal", listed.returncode == 0)
    for line in listed.stdout.splitlines():
        path = Path(line)
        if line.startswith(f"/usr/lib/{name}/") and path.is_file():
            link = folder / "lib" / path.relative_to("/usr/lib")
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path)
    return ["env", f"PYTHONHOME={folder}", os.path.realpath(SYSTEM_PYTHON)]


def root_folder(folder: Path) -> "list[str]":
    """Return the words that start the only Python of a machine of its own, whose root this folder becomes."""
    parts.require("root's rights, to make a machine", os.getuid() == 0)
    program = parts.required_program("mmdebstrap")
    argv = [program, "--quiet", "--variant=essential", "--include=python3-minimal", "--mode=root"]
    argv += [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale")]
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    parts.require("Debian's own packages, to make a machine of", release.get("ID") == "debian")
    made = subprocess.run(
        [*argv, release["VERSION_CODENAME"], str(folder), *mirrors()],
        capture_output=True,
        text=True,
        timeout=MAKE_TIMEOUT_S,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    # Processes and mounts of its own; all end with the first of them.
    return [
        *(parts.required_program("unshare"), "--mount", "--pid", "--fork", "--kill-child"),
        *("chroot", str(folder), "python3"),
    ]


def mirrors() -> "list[str]":
    """Return where this machine has its packages from."""
    sources = Path("/etc/apt/sources.list.d/debian.sources")
    lines = sources.read_text().splitlines() if sources.exists() else []
    return [line.split()[1] for line in lines if line.startswith("URIs:")][:1]
