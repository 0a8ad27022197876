"""Slips that mypy must find. Never run.

It complains about a comment that lets an error pass where there is none, so this program passes exactly if each of its
lines with such a comment is the error that it says.
"""

import plasmid
from plasmid.service import AllowParents, expose
from tests.typing.clients import Disk


class Closed(Disk):
    def free_bytes(self, path: str = "/", *, unit: int = 1) -> int:  # type: ignore[override]
        return 0  # without @expose nobody can call it


def mistakes(disk: Disk, context: plasmid.Context, router: plasmid.Router) -> None:
    disk.free_bytes(5)  # type: ignore[arg-type]
    disk.free_byte("/")  # type: ignore[attr-defined]
    disk.free_bytes("/", depth=1)  # type: ignore[call-arg]
    disk.rows()  # type: ignore[call-arg]
    disk.free_bytes.start(5)  # type: ignore[arg-type]
    text: str = disk.free_bytes.start().result()  # type: ignore[assignment]
    disk.rows.start("three")  # type: ignore[call-overload]
    disk.free_bytes.begin()  # type: ignore[attr-defined]
    for number in disk.rows(3):
        number.bit_length()  # type: ignore[attr-defined]
    expose("parents")  # type: ignore[arg-type]
    expose(AllowParents)  # type: ignore[arg-type]
    AllowParents() | 5  # type: ignore[operator]
    plasmid.Pool(router, [Disk])  # type: ignore[list-item]
    context.service("Disk")  # type: ignore[arg-type]
    print(text)
