"""Servers of a test run's own: started, waited for, ended by their process ids; and the control groups they leave."""

import contextlib
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.real import leftovers, parts

START_TIMEOUT_S = 20
STOP_TIMEOUT_S = 10
CGROUP_ROOT = Path("/sys/fs/cgroup")


class Daemon:
    """A program that runs in the foreground, in a session of its own, and writes a log. Owner: the fixture."""

    def __init__(
        self, argv: "Sequence[str | Path]", log_path: Path, environment: "Mapping[str, str] | None" = None
    ) -> None:
        self.log_path = log_path
        with log_path.open("ab") as log:
            self._process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=None if environment is None else {**os.environ, **environment},
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def wait_until(self, is_ready: "Callable[[], bool]") -> None:
        """Return once it is ready. Raises RuntimeError with its log if it ends before that, or takes too long."""

        def look() -> "list[str]":
            if self._process.poll() is not None:
                raise RuntimeError(f"{self._process.args!r} ended; its log says:\n{self.log_path.read_text()}")
            return [] if is_ready() else ["not ready"]

        if leftovers.until_empty(look, START_TIMEOUT_S):
            raise RuntimeError(f"{self._process.args!r} isn't ready; its log says:\n{self.log_path.read_text()}")

    def kill(self) -> None:
        """End it at once. For what has nothing to put in order."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """Ask it to end, and end it if it doesn't."""
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()


def run(*argv: "str | Path", environment: "Mapping[str, str] | None" = None) -> str:
    """Run a program to its end and return what it printed. Raises RuntimeError with all of it if it fails."""
    ended = subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=None if environment is None else {**os.environ, **environment},
    )
    if ended.returncode:
        raise RuntimeError(f"{argv} ended with status {ended.returncode}:\n{ended.stdout}{ended.stderr}")
    return ended.stdout


def require_root() -> None:
    """Skip or fail the test of somebody who may make no namespaces."""
    parts.require_linux()
    parts.require("root, who may make namespaces and mounts (run the tests with sudo)", os.getuid() == 0)


def write_script(path: Path, text: str) -> Path:
    """Write a shell script that can be run in a program's place."""
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def remove_cgroups(mark: str) -> None:
    """Remove the control groups with this in their name, which engines leave: as soon as nothing runs in them.

    One that stays busy is told by the check after the last test.
    """

    def remove() -> "list[str]":
        for folder in leftovers.cgroups(mark):
            with contextlib.suppress(OSError):
                folder.rmdir()
        return [str(folder) for folder in leftovers.cgroups(mark)]

    leftovers.until_empty(remove, STOP_TIMEOUT_S)
