"""A root file system of a few programs, copied together from this machine: its Python, a shell and their libraries.

Containers of every kind run in it. Nothing is downloaded and nothing of it is the machine's own: a container can
write wherever it likes.
"""

import os
import re
import shutil
import stat
import subprocess
import sys
import tarfile
from pathlib import Path

from tests.real import parts
from tests.real.sshd import OWN_PYTHON

# What Plasmid and its tests don't use of the standard library, and is large.
LEFT_OUT = shutil.ignore_patterns(
    *("test", "tests", "idlelib", "ensurepip", "site-packages", "dist-packages", "lib2to3", "tkinter", "turtledemo"),
    *("pydoc_data", "config-*", "__pycache__", "*.a", "_tkinter*", "_test*"),
)
PROGRAMS = ("sh", "sleep", "umount", "getent")  # systemd-nspawn asks getent
USER = "worker"
USER_ID = 1234

# A line of `ldd`: a library by its name and where it is, or the loader, which has only its path.
LIBRARY = re.compile(r"(?:=> )?(?P<path>/\S+) \(0x")


def make(folder: Path) -> Path:
    """Copy a root file system into a folder that doesn't exist yet, and return it. Takes half a second."""
    for name in ("bin", "dev", "etc", "proc", "root", "run", "sys", "tmp", "usr/bin", f"home/{USER}"):
        (folder / name).mkdir(parents=True, mode=0o755)
    (folder / "tmp").chmod(0o1777)
    os.chown(folder / "home" / USER, USER_ID, USER_ID)
    (folder / "etc" / "passwd").write_text(
        f"root:x:0:0:root:/root:/bin/sh\n{USER}:x:{USER_ID}:{USER_ID}:{USER}:/home/{USER}:/bin/sh\n"
    )
    (folder / "etc" / "group").write_text(f"root:x:0:\n{USER}:x:{USER_ID}:\n")
    (folder / "etc" / "os-release").write_text("ID=plasmid-test\n")  # systemd-nspawn takes no tree without one
    os.mknod(folder / "dev" / "null", stat.S_IFCHR, os.makedev(1, 3))
    (folder / "dev" / "null").chmod(0o666)
    for name in PROGRAMS:
        path = parts.required_program(name)
        _copy(folder, Path(path), folder / "bin" / name)
    _copy_python(folder)
    return folder


def archive(folder: Path, path: Path) -> Path:
    """Write the root file system to a tar archive, as engines import it."""
    with tarfile.open(path, "w") as tar:
        tar.add(folder, ".")
    return path


def _copy_python(folder: Path) -> None:
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    library = Path(os.__file__).parent
    shutil.copytree(library, _inside(folder, library), ignore=LEFT_OUT, symlinks=True)
    _copy(folder, OWN_PYTHON, _inside(folder, OWN_PYTHON))
    for extension in sorted(_inside(folder, library).glob("lib-dynload/*.so")):
        _copy_libraries(folder, extension)
    # A login's PATH has no folder of ours.
    for name in ("python3", version):
        (folder / "usr" / "bin" / name).symlink_to(OWN_PYTHON)


def _copy(folder: Path, program: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(program, to)
    _copy_libraries(folder, program)


def _copy_libraries(folder: Path, binary: Path) -> None:
    said = subprocess.run(["ldd", str(binary)], capture_output=True, text=True, check=False).stdout
    for match in LIBRARY.finditer(said):
        path = Path(match["path"])
        to = _inside(folder, path)
        if not to.exists():
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, to)


def _inside(folder: Path, path: Path) -> Path:
    return folder / path.relative_to("/")
