"""What the tests of file transfer run on far sides. It is sent there, so it runs on Python 3.6 too."""

import os

import plasmid
import plasmid.files
from plasmid.builtin import files as services

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from plasmid.router import Router
    from plasmid.surroundings import ExternalContext


@plasmid.takes_econtext
def fetch_from_root(path: str, destination: str, econtext: "ExternalContext") -> "list[Any]":
    """Fetch from the root's FileService; return what arrived."""
    arrived = plasmid.files.fetch(econtext.master, path, destination)
    return [arrived.size, arrived.member_count, arrived.digest]


@plasmid.takes_econtext
def errors_of_root(paths: "list[bytes]", destination: str, econtext: "ExternalContext") -> "list[tuple[str, str]]":
    """Ask the root for each path; return the type and the text of each error, and what arrived for none."""
    found = []
    for path in paths:
        try:
            found.append(("arrived", repr(plasmid.files.fetch(econtext.master, path, destination))))
        except Exception as error:  # noqa: BLE001 - the test looks at it
            found.append((type(error).__name__, str(error)))
    return found


@plasmid.takes_econtext
def put_to_root(path: str, destination: str, econtext: "ExternalContext") -> None:
    """Put a file to the root, which no child may."""
    plasmid.files.put(econtext.master, path, destination)


@plasmid.takes_router
def serve(path: str, router: "Router") -> None:
    """Serve a folder from here, to everybody."""
    service = services.FileService(router)
    service.register_prefix(path)
    plasmid.Pool(router, services=[service], size=2)


def limit_file_size(size: int) -> None:
    """Let this process write files up to this size only."""
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def pipe_sizes() -> "list[int]":
    """Return how much may wait in each pipe that is open here."""
    import fcntl

    found = []
    for fd in map(int, os.listdir("/proc/self/fd")):
        try:
            found.append(fcntl.fcntl(fd, 1032))  # F_GETPIPE_SZ
        except OSError:
            pass  # no pipe, or that of the listing itself, which is closed by now
    return found


def file_descriptors() -> int:
    """Return how many descriptors are open here."""
    return len(os.listdir("/proc/self/fd"))


@plasmid.takes_econtext
def get_pushed(name: str, timeout_s: float, econtext: "ExternalContext") -> bytes:
    """Return the content of what was, or will be, pushed here."""
    return econtext.myself.service(plasmid.PushFileService, timeout=timeout_s).get(name)


@plasmid.takes_econtext
def get_pushed_later(name: str, econtext: "ExternalContext") -> None:
    """Wait for what will be pushed here, on a thread; taken() returns it."""
    content = econtext.myself.call_service_async(plasmid.PushFileService, "get", name=name)
    _waited.append(content)


_waited = []  # type: list[Any]


def taken() -> bytes:
    """Return what get_pushed_later() waited for."""
    return _waited.pop().result(30)  # type: ignore[no-any-return]


def bytes_moved() -> "tuple[int, int]":
    """Return how many bytes this process has read and written in all, on files, pipes and sockets."""
    with open("/proc/self/io") as file:
        fields = dict(line.split(": ") for line in file.read().splitlines())
    return int(fields["rchar"]), int(fields["wchar"])
