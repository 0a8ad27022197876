"""A disk that is full, under what is written to it: files that are sent, logs, environments. A few KiB are enough."""

import contextlib
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import plasmid
from tests.real import far, leftovers, parts
from tests.real.conftest import one_way
from tests.real.lab import daemons
from tests.real.test_environments import options, wheel

__all__ = ["wheel"]  # a fixture

DISK_SIZE = 256 << 10
WAIT_S = 10.0
LARGE = bytes(DISK_SIZE + 1)


@pytest.fixture
def disk(tmp_path: Path) -> "Iterator[Path]":
    """Give a folder on a disk of its own, which holds 256 KiB."""
    daemons.require_root()
    mount, umount = (parts.required_program(name, "mount") for name in ("mount", "umount"))
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run([mount, "-t", "tmpfs", "-o", f"size={DISK_SIZE}", "plasmid-test", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run([umount, folder], check=True)
        assert leftovers.mounts(tmp_path) == []


def fill(disk: Path) -> Path:
    """Leave no room on a disk; return what takes it."""
    path = disk / "filling"
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    return path


# U8, D10
@one_way
@pytest.mark.parametrize("direction", ["put", "fetch"])
@pytest.mark.parametrize("is_there", [True, False])
def test_a_file_for_which_there_is_no_room_leaves_its_place_as_it_was(
    context: plasmid.Context, tmp_path: Path, disk: Path, direction: str, is_there: bool
) -> None:
    source, destination = tmp_path / "source", disk / "destination"
    transfer = plasmid.files.put if direction == "put" else plasmid.files.fetch
    source.write_bytes(LARGE)
    if is_there:
        destination.write_text("as it was")
    with pytest.raises(OSError, match="No space left on device"):
        transfer(context, str(source), str(destination))
    assert {path.name: path.read_text() for path in disk.iterdir()} == (
        {"destination": "as it was"} if is_there else {}
    )
    source.write_bytes(LARGE[:100_000])
    transfer(context, str(source), str(destination))
    assert destination.stat().st_size == 100_000
    assert context.call(far.add, 1) == 11


class Log(logging.FileHandler):
    """A log file. failed: why records couldn't be written, which logging would print."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, delay=True)
        self.path = path
        self.failed: list[BaseException | None] = []

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name that logging calls
        """Take note."""
        self.failed.append(sys.exc_info()[1])

    def has(self, text: str) -> bool:
        """Whether that was written."""
        return self.path.exists() and text in self.path.read_text()


# U6
@one_way
def test_a_log_that_cannot_be_written_stops_nobody_and_goes_on_when_there_is_room(
    context: plasmid.Context, disk: Path
) -> None:
    filling = fill(disk)
    handler = Log(disk / "log")
    logger = logging.getLogger("plasmid.ctx.far")
    logger.addHandler(handler)
    before = logger.level
    logger.setLevel(logging.INFO)
    try:
        context.call(far.print_lines, 50)
        assert leftovers.until_empty(lambda: [] if handler.failed else ["not yet"], WAIT_S) == []
        assert context.call(far.add, 1) == 11
        filling.unlink()
        context.call(print, "there is room")
        assert leftovers.until_empty(lambda: [] if handler.has("there is room") else ["not yet"], WAIT_S) == []
    finally:
        logger.setLevel(before)
        logger.removeHandler(handler)
        with contextlib.suppress(OSError):
            handler.close()
    assert "No space left on device" in str(handler.failed[0])


# U4
def test_an_environment_for_which_there_is_no_room_is_told_and_leaves_nothing(
    router: plasmid.Router, disk: Path, monkeypatch: pytest.MonkeyPatch, wheel: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(disk))
    monkeypatch.setenv("PATH", os.defpath)  # without uv
    fill(disk)
    with pytest.raises(plasmid.ConnectError) as caught:
        router.local(name="far", **options(wheel))
    assert "No space left on device" in caught.value.found
    assert [path.name for path in disk.rglob("*") if path.is_file()] == ["filling"]
    assert [path.name for path in disk.rglob("*wheels*")] == []
    assert router.local(name="far").call(far.add, 1) == 11
