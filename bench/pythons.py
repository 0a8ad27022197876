"""The interpreters that are measured: the system's own, as far sides mostly have it, and that of this environment.

They differ in more than their age. Where an interpreter is a program by itself its code may lie at the same address in
each process; where it is a shared library that is another one each time. Processes that take turns on one core then
spoil for each other what the processor has learnt of their branches, see docs/design/0021.
"""

import atexit
import functools
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import NamedTuple

# The interpreter itself, which -S keeps from its packages.
BARE_PYTHON = str(getattr(sys, "_base_executable", "") or sys.executable)
SYSTEM_PYTHON = "/usr/bin/python3"
# The id of a type that is part of the interpreter is its address.
ABOUT = "import platform; print(platform.python_version(), id(int))"
STARTS = 3


class Python(NamedTuple):
    """An interpreter. executable: of an environment with the packages of this one."""

    executable: str
    version: str
    is_of_system: bool
    keeps_its_place: bool

    def description(self) -> str:
        """Return what to say of it beside figures."""
        whose = "the system's own" if self.is_of_system else "not the system's own"
        place = "the same address" if self.keeps_its_place else "another address"
        return f"Python {self.version}, {whose}, with its code at {place} in each process,"


def measured(folder: Path) -> "list[Python]":
    """Return the interpreters to measure with, first the system's own where that can have packages.

    These are compiled for one version of Python, so it must be of that. folder: where an environment can be made.
    """
    version, keeps_its_place = about(BARE_PYTHON)
    is_of_system = os.path.realpath(SYSTEM_PYTHON) == os.path.realpath(BARE_PYTHON)
    found = [Python(sys.executable, version, is_of_system, keeps_its_place)]
    if not is_of_system and os.access(SYSTEM_PYTHON, os.X_OK):
        version, keeps_its_place = about(SYSTEM_PYTHON)
        if version.split(".")[:2] == platform.python_version().split(".")[:2]:
            made = environment(folder, SYSTEM_PYTHON, sysconfig.get_path("purelib"))
            found.insert(0, Python(made, version, True, keeps_its_place))
    return found


def about(python: str) -> "tuple[str, bool]":
    """Return the version of an interpreter, and whether its code lies at the same address in each of its processes."""
    argv = [python, "-I", "-S", "-c", ABOUT]
    said = {subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True).stdout for _ in range(STARTS)}
    return min(said).split()[0], len(said) == 1


@functools.cache
def without_packages() -> str:
    """Return the path of this interpreter as an environment in which nothing is installed, gone when this process ends.

    Else what is measured is what .pth files of this machine's own packages import.
    """
    folder = Path(tempfile.mkdtemp(prefix="plasmid-bench-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return environment(folder, BARE_PYTHON)


def environment(folder: Path, python: str, packages: str = "") -> str:
    """Make that interpreter's environment in a folder, with the packages of another folder if any; return its path."""
    (folder / "bin").mkdir()
    made = folder / "bin" / "python3"
    made.symlink_to(python)
    (folder / "pyvenv.cfg").write_text(f"home = {Path(python).parent}\ninclude-system-site-packages = false\n")
    if packages:
        site = folder / "lib" / Path(packages).parent.name / "site-packages"
        site.parent.mkdir(parents=True)
        site.symlink_to(packages)
    return str(made)
