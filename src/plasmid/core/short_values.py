"""Short maps of texts to scalars, as arguments and results mostly are, to MessagePack and back in one go.

A far side has no C extension, so this stands underneath `values` there: see values.install(). What isn't such a map, or
has anything wrong with it, is answered NotImplemented, and `values` does it from the start. So this can only be faster.
Fields reads those maps of which the keys, and the class of each item, are known before they come. No I/O here.
"""

import struct

from plasmid.core import values
from plasmid.core.values import CONSTANTS, HEADS, NUMBERS, head

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterable, List, Tuple

    from plasmid.core.values import Limits

_FLOAT = struct.Struct(">Bd").pack
_START = struct.Struct(">IB").unpack_from

# The classes of items that Fields reads.
SCALARS = (str, int, bool, float)

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
    out = bytearray((0x80 | len(value),))
    try:
        for key, item in value.items():
            if type(key) is not str:
                return NotImplemented
            out += _keys.get(key) or _pack_key(key)
            kind = type(item)
            if kind is str:
                data = item.encode()
                size = len(data)
                if size < 32:
                    out.append(0xA0 | size)
                else:
                    out += head(0xD9, size)
                out += data
            elif kind is int:
                if 0 <= item < 128:
                    out.append(item)
                elif 0 < item < 1 << 64:
                    out += head(0xCC, item) if item < 1 << 32 else HEADS[3](0xCF, item)
                elif -32 <= item < 0:
                    out.append(item + 0x100)
                else:
                    return NotImplemented
            elif kind is bool:
                out.append(0xC3 if item else 0xC2)
            elif item is None:
                out.append(0xC0)
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
    packed = bytes((0xA0 | len(data),)) + data
    if len(_keys) < KEYS_MAX:
        _keys[key] = packed
    return packed


class Fields:
    """Reads the payloads of maps with these keys, in this order, each with a scalar of its own class; some may lack."""

    def __init__(self, fields: "Iterable[Tuple[str, type, bool]]") -> None:
        """fields: the name, the class, one of SCALARS, and whether it may be missing."""
        self._fields = []  # type: List[Tuple[bytes, int, str, type, bool]]
        for name, kind, is_optional in fields:
            key = values.pack(name)
            self._fields.append((key, len(key) + 1, name, kind, is_optional))

    def read(self, payload: "Any") -> "Any":
        """Return the map as `values` would, or NotImplemented if it isn't exactly such a one."""
        if type(payload) is not bytes or len(payload) < 5:
            return NotImplemented
        size, count = _START(payload)
        items = {}  # type: Dict[str, Any]
        pos = 5
        try:
            for key, step, name, kind, is_optional in self._fields:
                if payload.startswith(key, pos):
                    pos += step
                    code = payload[pos - 1]
                    if kind is str and code & 0xE0 == 0xA0:
                        end = pos + code - 0xA0
                        items[name] = payload[pos:end].decode()
                        pos = end
                    elif kind is int and code < 0x80:
                        items[name] = code
                    else:
                        items[name], pos = _read_scalar(payload, pos, code, kind)
                elif not is_optional:
                    return NotImplemented
        except (IndexError, ValueError, struct.error):  # cut short, no UTF-8, another class
            return NotImplemented
        return items if pos == len(payload) == size + 4 and len(items) + 0x80 == count else NotImplemented


def _read_scalar(data: bytes, pos: int, code: int, kind: type) -> "Tuple[Any, int]":
    """Return the scalar of class `kind` of which the first byte is `code`, and where it ends; ValueError if none is."""
    if code == 0xD9 and kind is str:
        end = pos + 1 + data[pos]
        return data[pos + 1 : end].decode(), end
    item = None  # type: Any
    if code in NUMBERS:
        number = NUMBERS[code]
        item = number.unpack_from(data, pos)[0]
        pos += number.size
    elif code >= 0xE0:
        item = code - 0x100
    elif code in CONSTANTS:
        item = CONSTANTS[code]
    if type(item) is not kind:
        raise ValueError(code)
    return item, pos


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
            elif code in CONSTANTS:
                items[key] = CONSTANTS[code]
            elif code in NUMBERS:
                number = NUMBERS[code]
                items[key] = number.unpack_from(data, pos)[0]
                pos += number.size
            elif code >= 0xE0:
                items[key] = code - 0x100
            else:
                return NotImplemented
    except (IndexError, ValueError, struct.error):  # cut short, no UTF-8: `values` will say so
        return NotImplemented
    return items if pos == len(data) and len(items) == size else NotImplemented
