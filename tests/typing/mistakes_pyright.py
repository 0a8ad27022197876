"""Slips that pyright must find. Never run.

It complains about a comment that lets an error pass where there is none, so this program passes exactly if each of its
lines with such a comment is the error that it says.
"""

# pyright: basic, reportUnnecessaryTypeIgnoreComment=true
# mypy: ignore-errors

import plasmid
from plasmid.service import AllowParents, expose
from tests.typing.clients import Disk


def mistakes(disk: Disk, context: plasmid.Context, router: plasmid.Router) -> None:
    disk.free_bytes(5)  # pyright: ignore[reportArgumentType]
    disk.free_byte("/")  # pyright: ignore[reportAttributeAccessIssue]
    disk.free_bytes("/", depth=1)  # pyright: ignore[reportCallIssue]
    disk.rows()  # pyright: ignore[reportCallIssue]
    disk.free_bytes.start(5)  # pyright: ignore[reportArgumentType]
    text: str = disk.free_bytes.start().result()  # pyright: ignore[reportAssignmentType]
    disk.rows.start("three")  # pyright: ignore[reportArgumentType, reportCallIssue]
    disk.free_bytes.begin()  # pyright: ignore[reportAttributeAccessIssue]
    for number in disk.rows(3):
        number.bit_length()  # pyright: ignore[reportAttributeAccessIssue]
    expose("parents")  # pyright: ignore[reportArgumentType]
    expose(AllowParents)  # pyright: ignore[reportArgumentType]
    print(AllowParents() | 5)  # pyright: ignore[reportOperatorIssue]
    plasmid.Pool(router, [Disk])  # pyright: ignore[reportArgumentType]
    context.service("Disk")  # pyright: ignore[reportArgumentType]
    print(text)
