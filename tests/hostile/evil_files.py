"""A child that answers for FileService with what it likes, and one that asks for what it shouldn't have."""

import os
import tempfile
import zlib

import plasmid
from plasmid.builtin import descriptors
from plasmid.runtime.receivers import Receiver

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from plasmid.router import Router
    from plasmid.surroundings import ExternalContext

NAME = "plasmid.builtin.files.FileService"
MIB = 1 << 20


def check(data: bytes) -> bytes:
    """Return what a file's content is checked by."""
    return zlib.crc32(data).to_bytes(4, "big")


def small(name: bytes, data: bytes = b"evil") -> "list[Any]":
    """Return the record of a small file."""
    return ["file", name, 0o777, 0, data, check(data)]


def begin(size: int, start: int = 0, name: bytes = b"") -> "list[Any]":
    """Return the record that begins a larger one."""
    return ["begin", name, 0o777, 0, size, start]


FOLDER = ["dir", b"", 0o777, 0]


def endless(item: "Any") -> "Iterator[Any]":
    """Give the same again and again."""
    while True:
        yield item


def named(name: bytes) -> "Any":
    """Return what sends a folder with a member of that name."""
    return lambda: iter([[FOLDER, small(name)], [["up"]]])


def announcing(size: int, *items: "Any") -> "Any":
    """Return what announces a size, then gives these items."""
    return lambda: iter([[begin(size)], *items])


def _endless_file() -> "Iterator[Any]":
    yield [begin(4)]
    yield from endless(bytes(MIB // 2))


def _endless_members() -> "Iterator[Any]":
    yield [FOLDER]
    number = 0
    while True:
        yield [small(b"%d" % (number + n), b"") for n in range(100)]
        number += 100


def _endless_depth() -> "Iterator[Any]":
    yield [FOLDER]
    yield from endless([["dir", b"d", 0o777, 0]])


def _endless_skips() -> "Iterator[Any]":
    yield [FOLDER]
    yield from endless([["skip", b"l" * 255, "x" * 100000]])


SENDING = {
    "a wrong check": announcing(4, b"evil", [["end", bytes(4)]]),
    "no check": announcing(4, b"evil", [["end", b""]]),
    "less than announced": announcing(5, b"evil", [["end", check(b"evil")]]),
    "more than announced": _endless_file,
    "far too much": announcing(1 << 50),
    "a negative size": announcing(-1),
    "no end": announcing(4, b"evil"),
    "nothing": lambda: iter([]),
    "the rest of what isn't there": lambda: iter([[begin(8, 4)], b"evil"]),
    "a huge item": lambda: iter([[begin(1 << 30)], bytes(64 * MIB)]),
    "items without end": _endless_members,
    "folders without end": _endless_depth,
    "links without end": _endless_skips,
    "a link": lambda: iter([[FOLDER, ["skip", b"l", "a\x1b[2Jlink"]]]),
    "another name": lambda: iter([[small(b"/etc/evil")]]),
    "the same name twice": lambda: iter([[FOLDER, small(b"a"), small(b"a")]]),
    "two files": lambda: iter([[small(b""), small(b"")]]),
    "too many ends": lambda: iter([[FOLDER, ["up"], ["up"]]]),
    "signs of life": lambda: endless([]),
    "a terminal's commands": lambda: iter([[["fail", "\x1b]0;evil\x07\n" * 1000]]]),
    "a number": lambda: iter([7]),
    "a text": lambda: iter([[begin(4)], "evil"]),
    "a dict": lambda: iter([{"file": b""}]),
    "small files that are none": lambda: iter([[FOLDER, ["files", bytes(19)]]]),
    "small files that are said to be huge": lambda: iter([[FOLDER, ["files", b"\0\1" + b"\xff" * 30]]]),
    "small files where there is no folder": lambda: iter([[["files", b""]]]),
    "records of a wrong kind": lambda: iter([[["file", None]]]),
    "permissions that are text": lambda: iter([[["dir", b"", "0777", 0]]]),
    "a time that is none": lambda: iter([[["dir", b"", 0, 1 << 70]]]),
    **{
        "a member called %r" % name: named(name)
        for name in (b"..", b".", b"", b"/etc/evil", b"../evil", b"a/../../evil", b"a\0b", b"x" * 300)
    },
}


def _open_there(what: str, size: int) -> int:
    """Return a descriptor of what is no file of that size on the file system where the parent's are."""
    fd, path = tempfile.mkstemp()
    try:
        if what == "a file of another size":
            os.truncate(fd, size - 1)
        elif what == "a folder":
            return os.open(os.path.dirname(path), os.O_RDONLY)
        elif what == "a file of another file system":
            return os.open("/proc/self/status", os.O_RDONLY)
        elif what == "a pipe":
            reading, writing = os.pipe()
            os.close(writing)
            return reading
        elif what == "a file that may not be read":
            os.truncate(fd, size)
            return os.open(path, os.O_WRONLY)
        return os.dup(fd)
    finally:
        os.close(fd)
        os.unlink(path)


HANDING = (
    "nothing",
    "a file of another size",
    "a folder",
    "a file of another file system",
    "a pipe",
    "a file that may not be read",
)


def hand(offer: bytes, what: str, size: int) -> None:
    """Hand one of these over, past all that would keep an honest child from it."""
    if what == "nothing":
        return
    fd = _open_there(what, size)
    device = os.fstat(fd).st_dev.to_bytes(8, "big")
    assert descriptors.hand_over(offer[:-8] + device, fd)
    os.close(fd)


class EvilFiles(plasmid.Service):
    """Stands in for the FileService of its context. doing: which attack it is at."""

    doing = ""

    @classmethod
    def name(cls) -> str:
        """Return the name of the service that it stands in for."""
        return NAME

    @plasmid.expose(plasmid.AllowAny())
    def send(self, path: bytes, **options: "Any") -> "Iterator[Any]":
        """Give the attack's items."""
        if EvilFiles.doing in HANDING:
            hand(options["offer"], EvilFiles.doing, 2 * MIB)
            yield [begin(2 * MIB), ["handed"]]
            return
        yield from SENDING[EvilFiles.doing]()

    @plasmid.expose(plasmid.AllowAny())
    def receive(self, path: bytes, **options: "Any") -> "Iterator[Any]":
        """Say where to put something, in one of several wrong ways."""
        receiver = Receiver(self.router)
        sender = receiver.to_sender()
        if EvilFiles.doing in HANDING:
            hand(options["offer"], EvilFiles.doing, 2 * MIB)
            yield [sender, 0, b"", True]
            receiver.get(10)
        elif EvilFiles.doing == "no place":
            yield 7
        elif EvilFiles.doing == "an end after the place":
            yield [sender, 0, b"", False]
            receiver.get(10)
        elif EvilFiles.doing == "a wrong place":
            yield [sender, 0, "digest", False]
        elif EvilFiles.doing == "a place before the beginning":
            yield [sender, -1, b"", False]
        elif EvilFiles.doing == "a place far behind the end":
            yield [sender, 1 << 62, b"", False]
            while True:
                item = receiver.get(10)
                if type(item) is list and item and item[-1][0] in ("end", "file"):
                    break
            yield [1, 1, b"\xff", [7, "\x1b[2J"], 1]
        elif EvilFiles.doing == "a closed place":
            receiver.close()
            yield [sender, 0, b"", False]
            yield "it is there"
        elif EvilFiles.doing == "lies":
            yield [sender, 0, b"", False]
            receiver.get(10)
            yield ["all", "is", "well"]
        receiver.close()


@plasmid.takes_router
def turn_evil(router: "Router") -> None:
    """Answer for FileService from now on."""
    plasmid.Pool(router, services=[EvilFiles(router)], size=4)


def do(what: str) -> None:
    """Be at this attack from now on."""
    EvilFiles.doing = what


@plasmid.takes_econtext
def ask(paths: "list[Any]", econtext: "ExternalContext") -> "list[Any]":
    """Ask the root's FileService for each; return what came, or the type of the error."""
    found = []  # type: list[Any]
    for path in paths:
        try:
            found.append(list(plasmid.service.stream(econtext.master, NAME, "send", path=path)))
        except Exception as error:  # noqa: BLE001 - the test looks at it
            found.append(type(error).__name__)
    return found


@plasmid.takes_econtext
def ask_for_descriptor(path: bytes, device: int, econtext: "ExternalContext") -> "tuple[list[str], int]":
    """Ask the root's FileService as a parent would; return the kinds of what came, and the descriptor."""
    inlet = descriptors.Inlet(device)
    args = {"path": path, "offer": inlet.offer}
    items = list(plasmid.service.stream(econtext.master, NAME, "send", **args))
    kinds = [record[0] for item in items if type(item) is list for record in item]
    return kinds + ["bytes" for item in items if type(item) is bytes], inlet.take()


@plasmid.takes_econtext
def hold_streams(path: bytes, count: int, econtext: "ExternalContext") -> "dict[str, int]":
    """Ask for a large file many times, and read the first item of each only; return what came, how often."""
    found = {}  # type: dict[str, int]
    for _ in range(count):
        try:
            stream = plasmid.service.stream(econtext.master, NAME, "send", path=path)
            outcome = str(stream.get(20)[0][0])
            _held.append(stream)
        except Exception as error:  # noqa: BLE001 - the test looks at it
            outcome = str(error).partition("\n")[0]
        found[outcome] = found.get(outcome, 0) + 1
    return found


_held = []  # type: list[Any]
