"""The Python interpreters of this machine, by version.

Looked for in pyenv's folder of versions and on PATH. Each one found was run once and has said its own version, since
the launchers that pyenv puts on PATH exist for versions that they then refuse to run.
"""

import functools
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.real.parts import require

# What a far side may run; 2.7 is there to be refused.
SUPPORTED = ("3.6", "3.7", "3.8", "3.9", "3.10", "3.11", "3.12", "3.13")
TOO_OLD = "2.7"

SAY_VERSION = "import sys; print('%d.%d' % sys.version_info[:2]); print(sys.executable)"
START_TIMEOUT_S = 20


@functools.cache
def find(version: str) -> "str | None":
    """Return the path of an interpreter of this version, "3.6", or None. Asked once per process and version."""
    for candidate in _candidates(version):
        path = _run_and_ask(candidate, version)
        if path is not None:
            return path
    return None


def interpreter(version: str) -> str:
    """Return the path of an interpreter of this version; without one the test is skipped, or fails if it must run."""
    path = find(version)
    require(f"python{version}", path)
    assert path is not None
    return path


def _candidates(version: str) -> "Iterator[Path]":
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    for folder in sorted(root.glob(f"versions/{version}*")):
        # "3.1*" would also match 3.10, so the third part has to start with a dot.
        if folder.name == version or folder.name.startswith(f"{version}."):
            yield folder / "bin" / f"python{version}"
    for folder_name in os.environ.get("PATH", os.defpath).split(os.pathsep):
        yield Path(folder_name) / f"python{version}"


def _run_and_ask(candidate: Path, version: str) -> "str | None":
    if not os.access(candidate, os.X_OK):
        return None
    try:
        answer = subprocess.run(
            [str(candidate), "-c", SAY_VERSION],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=START_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = answer.stdout.splitlines()
    if answer.returncode != 0 or len(lines) != 2 or lines[0] != version:
        return None
    return lines[1]
