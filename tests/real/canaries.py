"""Looks for secrets where they mustn't be: in arguments and environments of processes, and in files."""

from collections.abc import Iterable
from pathlib import Path

from tests.real import leftovers


def in_processes(*secrets: str) -> "list[str]":
    """Return a line for each process of the machine whose arguments or environment have one of these."""
    found = []
    for process in leftovers.processes():
        for name in ("cmdline", "environ"):
            try:
                data = Path(f"/proc/{process.pid}/{name}").read_bytes()
            except OSError:
                continue
            found += [f"{name} of {process}" for secret in secrets if secret.encode() in data]
    return found


def in_files(folders: "Iterable[Path]", *secrets: str) -> "list[str]":
    """Return the files below these folders in which one of these stands."""
    found = []
    for folder in folders:
        for path in folder.rglob("*"):
            try:
                data = path.read_bytes() if path.is_file() else b""
            except FileNotFoundError:
                continue  # another test's, and gone
            found += [str(path) for secret in secrets if secret.encode() in data]
    return found


def in_error(error: BaseException, *secrets: str) -> "list[str]":
    """Return which of these an error would show, by itself or by its fields."""
    shown = str(error) + repr(error) + repr(vars(error))
    return [secret for secret in secrets if secret in shown]
