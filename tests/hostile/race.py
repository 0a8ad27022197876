"""A race: one thread opens a file below a registered folder while another swaps links in and out on the way to it."""

import os
import threading
from pathlib import Path

from plasmid.builtin.files import FileService

# What may come of a try. Anything else is what the link leads to.
CORRECT_OUTCOMES = {"inside", "PermissionError", "FileNotFoundError"}


class Sibling:
    """As much of a call as is asked: that it isn't a parent's."""

    from_parent = False


def prepare(folder: Path, swaps_folder: bool) -> "tuple[Path, Path]":
    """Make what is served, what is outside, and a link to it; return what is to be swapped, and the link."""
    for below, content in (folder / "outside", "secret"), (folder / "served" / "folder", "inside"):
        below.mkdir(parents=True)
        (below / "f").write_text(content)
    name = "" if swaps_folder else "f"
    (folder / "link").symlink_to(folder / "outside" / name)
    return folder / "served" / "folder" / name, folder / "link"


def run(service: FileService, folder: Path, swaps_folder: bool, tries: int) -> "dict[str, int]":
    """Try so often, in a folder that isn't there yet; return how often what came of it: a content or an error."""
    place, link = prepare(folder, swaps_folder)
    aside = folder / "aside"
    service.register_prefix(folder / "served")
    ended = threading.Event()

    def swap() -> None:
        while not ended.is_set():
            place.rename(aside)
            link.rename(place)
            place.rename(link)
            aside.rename(place)

    thread = threading.Thread(target=swap)
    thread.start()
    path = os.fsencode(folder / "served" / "folder" / "f")
    found: dict[str, int] = {}
    try:
        for _ in range(tries):
            outcome = attempt(service, path)
            found[outcome] = found.get(outcome, 0) + 1
    finally:
        ended.set()
        thread.join()
    return found


def attempt(service: FileService, path: bytes) -> str:
    """Open it; return what is in it, or the error."""
    try:
        fd = service._open(path, Sibling())  # type: ignore[arg-type]
    except OSError as error:
        return type(error).__name__
    try:
        return os.read(fd, 10).decode()
    finally:
        os.close(fd)
