"""Fields: the arguments of a call, read from their payload when their names and plain classes are known before.

What `values` would make of it, checked as it comes, in one go; whatever else comes is answered NotImplemented, and is
read and checked by `values` and the method, which say what is wrong. So this can only be faster. No I/O here.
"""

import struct

from plasmid.core.values import CONSTANTS, NUMBERS, pack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterable, List, Tuple

_START = struct.Struct(">IB").unpack_from

# The classes that can be read.
SCALARS = (str, int, bool, float)


class Fields:
    """Reads the payloads of maps with these keys, in this order, each with a scalar of its own class; some may lack."""

    def __init__(self, fields: "Iterable[Tuple[str, type, bool]]") -> None:
        """fields: the name, the class, one of SCALARS, and whether it may be missing."""
        self._fields = []  # type: List[Tuple[bytes, int, str, type, bool]]
        for name, kind, is_optional in fields:
            key = pack(name)
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
