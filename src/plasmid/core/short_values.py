"""Short maps of texts to scalars, as arguments and results mostly are, to MessagePack and back in one go.

A far side has no C extension, so this stands underneath `values` there: see values.install(). What isn't such a map, or
has anything wrong with it, is answered NotImplemented, and `values` does it from the start. So this can only be faster.
No I/O here.
"""

import struct

from plasmid.core import values
from plasmid.core.values import HEADS, head

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict

    from plasmid.core.values import Limits

_FLOAT = struct.Struct(">Bd").pack
_BYTES = [bytes((code,)) for code in range(256)]
# The packs of keys that were packed before: what a method returns has the same ones each time.
_keys = {}  # type: Dict[str, bytes]
KEYS_MAX = 1024


def install() -> None:
    """Put this underneath `values`."""
    values.install(pack_short, unpack_short)


def pack_short(value: "Any") -> "Any":
    """Return the pack of a value, the same bytes as from `values`, or NotImplemented."""
    if type(value) is not dict or len(value) > 15:
        return NotImplemented
    out = bytearray(_BYTES[0x80 | len(value)])
    try:
        for key, item in value.items():
            if type(key) is not str:
                return NotImplemented
            out += _keys.get(key) or _pack_key(key)
            kind = type(item)
            if kind is str:
                data = item.encode()
                size = len(data)
                out += _BYTES[0xA0 | size] if size < 32 else head(0xD9, size)
                out += data
            elif kind is int and -32 <= item < 1 << 64:
                if item < 128:
                    out += _BYTES[item & 255]
                else:
                    out += head(0xCC, item) if item < 1 << 32 else HEADS[3](0xCF, item)
            elif item is None:
                out += b"\xc0"
            elif kind is bool:
                out += b"\xc3" if item else b"\xc2"
            elif kind is float:
                out += _FLOAT(0xCB, item)
            else:
                return NotImplemented
    except ValueError:  # a long key, a lone surrogate: `values` will do it, or say so
        return NotImplemented
    # One that is too long as well.
    return out if len(out) < values.DEFAULT_LIMITS.pack_size_max else NotImplemented


def _pack_key(key: str) -> bytes:
    """Return the pack of a short text that is a key; ValueError if it's none."""
    data = key.encode()
    if len(data) > 31:
        raise ValueError(key)
    packed = _BYTES[0xA0 | len(data)] + data
    if len(_keys) < KEYS_MAX:
        _keys[key] = packed
    return packed


def unpack_short(data: bytes, limits: "Limits") -> "Any":
    """Return the value of a pack as `values` would, or NotImplemented."""
    size = data[0] - 0x80 if data else 16
    if not 0 <= size < 16 or limits is not values.DEFAULT_LIMITS:
        return NotImplemented
    items = {}  # type: Dict[str, Any]
    pos = 1
    try:
        for _ in range(size):
            code = data[pos]
            if code & 0xE0 != 0xA0:
                return NotImplemented
            end = pos + code - 0x9F
            key = data[pos + 1 : end].decode()
            code = data[end]
            pos = end + 1
            if code < 0x80:
                items[key] = code
            elif code & 0xE0 == 0xA0:
                pos += code - 0xA0
                items[key] = data[end + 1 : pos].decode()
            elif code in values.CONSTANTS:
                items[key] = values.CONSTANTS[code]
            elif code in values.NUMBERS:
                number = values.NUMBERS[code]
                items[key] = number.unpack_from(data, pos)[0]
                pos += number.size
            elif code >= 0xE0:
                items[key] = code - 0x100
            else:
                return NotImplemented
    except (IndexError, ValueError, struct.error):  # cut short, no UTF-8: `values` will say so
        return NotImplemented
    return items if pos == len(data) and len(items) == size else NotImplemented
