"""Slips that mypy must find. Never run.

It complains about a comment that lets an error pass where there is none, so this program passes exactly if each of its
lines with such a comment is the error that it says.
"""

import plasmid
from plasmid.service import AllowParents, expose, start
from tests.typing.clients import Disk


def mistakes(disk: Disk, context: plasmid.Context, router: plasmid.Router) -> None:
    disk.free_bytes(5)  # type: ignore[arg-type]
    disk.free_byte("/")  # type: ignore[attr-defined]
    disk.free_bytes("/", depth=1)  # type: ignore[call-arg]
    disk.rows()  # type: ignore[call-arg]
    start(disk.free_bytes, 5)  # type: ignore[call-overload]
    text: str = start(disk.free_bytes).result()  # type: ignore[assignment]
    for number in disk.rows(3):
        number.bit_length()  # type: ignore[attr-defined]
    expose("parents")  # type: ignore[arg-type]
    expose(AllowParents)  # type: ignore[arg-type]
    AllowParents() | 5  # type: ignore[operator]
    plasmid.Pool(router, [Disk])  # type: ignore[list-item]
    context.service("Disk")  # type: ignore[arg-type]
    print(text)
