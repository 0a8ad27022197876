"""The C extension of `msgpack` underneath `core.values`, for the near side. No I/O, and no format of its own.

C does what can be proven to come out as `values` would do it: None, bool, float, str, bytes, list, dict and ints of
64 bits, within the limits. Whatever else it meets, or fails at, is answered NotImplemented, and the pure code does
it from the start. So extensions, blobs and every refusal have one implementation, and this file can only be faster.
"""

from __future__ import annotations

import re
import sys
from itertools import chain

from msgpack import Packer, Unpacker, unpackb  # type: ignore[import-untyped]

from plasmid.core import values
from plasmid.core.values import BLOB_SIZE_MIN, DEFAULT_LIMITS, Limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

# All bytes but those that can start an array or a map. What is left of a pack without these bounds how many there
# are. Such bytes within texts and numbers are counted along, which costs a slower proof but never a wrong one.
_NO_STARTS = bytes(code for code in range(256) if not 0x80 <= code < 0xA0 and not 0xDC <= code < 0xE0)
_PLAIN = frozenset((type(None), bool, int, float, str, list, dict))
_EXTENSION_STARTS = frozenset(b"\xc7\xc8\xc9\xd4\xd5\xd6\xd7\xd8")
_find_bytes = re.compile(b"[\xc4-\xc6]").search
_SLOTS_MAX = 1 << 20  # items that C may make room for on the word of counts alone
_KEPT_SIZE_MAX = 1 << 20  # a packer keeps its buffer, so those that got larger are let go

# Packers in wait: to make one takes as long as to pack a small value.
_packers: list[Packer] = []


def install() -> None:
    """Put C underneath `values.encode`, `decode`, `pack` and `unpack`. May be called again."""
    # C interns every key of a map. On 3.12 what was interned is never freed, so a peer could fill our memory with keys.
    values.install(pack_plain, None if sys.version_info[:2] == (3, 12) else unpack_plain)


def pack_plain(value: Any) -> Any:
    """Return the pack of a value, the same bytes as from `values`, or NotImplemented."""
    # Two levels are looked at, since the payload of a call is [args, kwargs], so that C seldom starts in vain:
    # it would copy a large buffer into the pack, and a tuple costs it an exception.
    kind = type(value)
    if kind is list:
        if not _PLAIN.issuperset(map(type, value)):
            return NotImplemented
        if len(value) == 2:
            for item in value:
                if type(item) is list:
                    if not _PLAIN.issuperset(map(type, item)):
                        return NotImplemented
                elif type(item) is dict and not _PLAIN.issuperset(map(type, item.values())):
                    return NotImplemented
    elif kind is dict:
        if not _PLAIN.issuperset(map(type, value.values())):
            return NotImplemented
    elif kind not in _PLAIN:
        return NotImplemented
    data = _pack(value)
    if data is None or len(data) > DEFAULT_LIMITS.pack_size_max:
        return NotImplemented
    if len(data) <= DEFAULT_LIMITS.depth_max and not _find_bytes(data):
        return data  # as most are: too short for anything that would have to be looked at
    # C takes a bytearray or a memoryview for bytes and knows of no blobs. Where none of the bytes that start bytes
    # occurs, there are none; else they are looked for.
    if _find_bytes(data) or not _is_small(data, DEFAULT_LIMITS):
        return data if _is_within(value, DEFAULT_LIMITS) else NotImplemented
    return data


def unpack_plain(data: bytes, limits: Limits) -> Any:
    """Return the value of a pack as `values` would, or NotImplemented."""
    size = len(data)
    if not size or data[0] in _EXTENSION_STARTS:
        return NotImplemented
    if size > limits.nodes_max:
        return NotImplemented  # it may hold more nodes than the limit, and C would make them all before one can look
    try:
        # A count is believed by C before the items are there. skip() allocates nothing and finds the liars.
        if size * size > _SLOTS_MAX and size * len(data.translate(None, _NO_STARTS)) > _SLOTS_MAX:
            unpacker = Unpacker(max_buffer_size=size)
            unpacker.feed(data)
            unpacker.skip()
            if unpacker.tell() != size:
                return NotImplemented
        value = unpackb(data, strict_map_key=False, ext_hook=_refuse_extension, timestamp=1)
    except Exception:  # noqa: BLE001 - a dozen types over msgpack's versions; `values` will say what is wrong
        return NotImplemented
    # Packed again it must be the same: so no key came twice, and no timestamp became a float.
    if _pack(value) != data:
        return NotImplemented
    is_short = size <= limits.depth_max and 2 * size <= limits.nodes_max
    return value if is_short or _is_small(data, limits) or _is_within(value, limits) else NotImplemented


def _pack(value: Any) -> bytes | None:
    try:
        packer = _packers.pop()
    except IndexError:
        packer = Packer(strict_types=True)
    try:
        data: bytes = packer.pack(value)
    except Exception:  # noqa: BLE001 - as above; `values` will name the part that can't travel
        return None
    if len(data) < _KEPT_SIZE_MAX:
        _packers.append(packer)
    return data


def _refuse_extension(code: int, data: bytes) -> NoReturn:
    raise ValueError(code)


def _is_small(data: bytes, limits: Limits) -> bool:
    """Tell if a pack is too short for more levels or nodes than the limits allow. Takes no look at the value."""
    size = len(data)
    if 2 * size > limits.nodes_max:
        return False
    return size <= limits.depth_max or len(data.translate(None, _NO_STARTS)) <= limits.depth_max


def _is_within(value: Any, limits: Limits) -> bool:
    """Tell if a value keeps to the limits and has no bytes that would be a blob. Counts as `values` does.

    Level by level, with what runs at C speed: a tenth of the time that the pure code takes.
    """
    room = limits.nodes_max
    level = [value]
    for _ in range(limits.depth_max + 1):
        kinds = set(map(type, level))
        if bytearray in kinds or memoryview in kinds:
            return False
        if bytes in kinds and any(type(item) is bytes and len(item) >= BLOB_SIZE_MIN for item in level):
            return False
        lists = [item for item in level if type(item) is list] if list in kinds else []
        dicts = [item for item in level if type(item) is dict] if dict in kinds else []
        if not lists and not dicts:
            return True
        room -= sum(map(len, lists)) + 2 * sum(map(len, dicts)) + len(dicts)
        if room < 0:
            return False
        level = list(chain(chain.from_iterable(lists), chain.from_iterable(map(dict.values, dicts))))
    return False
