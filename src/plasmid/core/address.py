"""Addresses: where a context stands in the tree.

An address is the path from the root. On the wire and in code it is `bytes`, four big-endian bytes for each step,
so that "lies within" is one `startswith`: steps have one width, hence a byte prefix is a path prefix. The root is
`b""`. For people it is written `/3/1`: the first child of the root's third child.

A context numbers its own children from 1 and never reuses a number, so an address never means two contexts.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

ROOT = b""
STEP_SIZE = 4
NUMBER_MAX = 0xFFFFFFFF

# Deep enough for any chain of bastions and sudos; it bounds the header of a frame to 16 + 2 * 128 bytes.
DEPTH_MAX = 32
ADDRESS_SIZE_MAX = DEPTH_MAX * STEP_SIZE


def child(address: bytes, number: int) -> bytes:
    """Return the address of the child `number` of the context at `address`.

    Raises ValueError beyond DEPTH_MAX steps or NUMBER_MAX children.
    """
    if len(address) >= ADDRESS_SIZE_MAX:
        raise ValueError("a context at %s can have no children: a tree is %d deep at most" % (text(address), DEPTH_MAX))
    if not 0 < number <= NUMBER_MAX:
        raise ValueError("a child's number is 1 to %d, not %r" % (NUMBER_MAX, number))
    return address + number.to_bytes(STEP_SIZE, "big")


def parent(address: bytes) -> "Optional[bytes]":
    """Return the address of the parent, None for the root."""
    return address[:-STEP_SIZE] if address else None


def text(address: bytes) -> str:
    """Return the address as people write it: `/`, `/3/1`."""
    steps = [str(int.from_bytes(address[i : i + STEP_SIZE], "big")) for i in range(0, len(address), STEP_SIZE)]
    return "/" + "/".join(steps)


def number_below(ancestor: bytes, address: bytes) -> int:
    """Return the number of the child of `ancestor` beneath which, or at which, `address` lies.

    `address` must lie strictly within `ancestor`.
    """
    start = len(ancestor)
    assert len(address) > start and address.startswith(ancestor)
    return int.from_bytes(address[start : start + STEP_SIZE], "big")
