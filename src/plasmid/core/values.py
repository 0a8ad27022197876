"""Values to MessagePack and blobs, and back: pure Python, no I/O, and no value is ever code.

A payload on the wire is: u32 pack_size, the pack (one MessagePack value), then the blobs back to back in the order
in which their BLOB extensions appear in the pack. Widths are the smallest that fit, floats have 64 bits, sizes are
big-endian, as MessagePack says; other widths are read too. Bytes and buffers from BLOB_SIZE_MIN on are blobs. What
MessagePack lacks or would change is an extension: `extensions` has the table.

Decoding runs under Limits, checked while it goes and before anything is allocated. Nodes stand for memory, 128 bytes
each at most beside the text and the bytes themselves: an item of an array costs 1, an entry of a map 2 and the map
itself 1 more, an extension what `extensions.weight` says. Depth counts arrays and maps, those in extensions too.
Encoding keeps to the same limits, so that what was sent isn't refused for its size.

`extensions` is imported when the first one is met: a child that meets none never asks its parent for it. A head, from
pack(), has none, since heads are read on the loop's thread, which can't wait for a module.
"""

import struct

from plasmid.core.errors import UnsendableValue, ValueDecodeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional, Union

    from plasmid.core.bulk import Body

    Classes = Optional[Callable[[str], Optional[type]]]
    Handles = Optional[Callable[[int, bytes], object]]
    Bytes = Union[bytes, bytearray, memoryview]
    Payload = Union[Bytes, Body]
    Parts = List[Union[bytes, memoryview]]

BLOB = 1  # the extensions of which this module and the runtime know; the others' codes are in `extensions`
HANDLE_CONTEXT = 20
HANDLE_SENDER = 21
BLOB_SIZE_MIN = 4096
BUFFERS = (bytes, bytearray, memoryview)  # the index is the kind of a blob

# What a map's keys may be beside str: types of which nobody can make many values that share a hash. That is why an
# int that is a key must fit into 64 bits.
KEYS = (int, float, bool, bytes, type(None))

_U32 = struct.Struct(">I")
BLOB_DATA = struct.Struct(">BQ")
_FLOAT = struct.Struct(">Bd").pack
HEADS = [struct.Struct(form).pack for form in (">BB", ">BH", ">BI", ">BQ")]
_SIGNED = [struct.Struct(form).pack for form in (">Bb", ">Bh", ">Bi", ">Bq")]
# What a first byte from 0xC0 to 0xDF means: a constant, the form of a number, the width of a size.
CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}
NUMBERS = {code: struct.Struct(">" + form) for code, form in enumerate("fdBHIQbhiq", 0xCA)}
_WIDTHS = dict(zip(b"\xc4\xc5\xc6\xc7\xc8\xc9\xd9\xda\xdb\xdc\xdd\xde\xdf", b"\1\2\4\1\2\4\1\2\4\2\4\2\4"))
TOO_MUCH = "it has too many items, is nested too deep, or contains itself"


class Limits:
    """What one value may cost the one who decodes it."""

    __slots__ = ("depth_max", "nodes_max", "pack_size_max")

    def __init__(self, pack_size_max: int = 64 << 20, nodes_max: int = 524288, depth_max: int = 64) -> None:
        self.pack_size_max = pack_size_max
        self.nodes_max = nodes_max
        self.depth_max = depth_max


DEFAULT_LIMITS = Limits()

_extensions_module = None  # type: Any
_fast_pack = None  # type: Optional[Callable[[Any], Any]]
_fast_unpack = None  # type: Optional[Callable[[bytes, Limits], Any]]


def install(pack_fn: "Optional[Callable[[Any], Any]]", unpack_fn: "Optional[Callable[[bytes, Limits], Any]]") -> None:
    """Put a faster codec underneath, or take it away again with None.

    pack_fn(value) and unpack_fn(pack, limits) either return what this module would, or NotImplemented; then this
    module does it. So refusals always come from here.
    """
    global _fast_pack, _fast_unpack
    _fast_pack, _fast_unpack = pack_fn, unpack_fn


class Encoded(list):  # type: ignore[type-arg]
    """The parts of a value, which stand for it where it is sent to many."""


def encode(value: "Any", what: str = "value") -> "Parts":
    """Return the payload as parts to send in order: size and pack, then each blob as it is, never copied.

    So a buffer mustn't change before it was sent. Raises UnsendableValue that names the part which can't travel:
    `result['rows'][3]: socket`.
    """
    if _fast_pack is not None:
        data = _fast_pack(value)
        if data is not NotImplemented:
            return [_U32.pack(len(data)) + data]
    if type(value) is Encoded:
        return value
    blobs = []  # type: Parts
    data = write(value, what, blobs)
    return [_U32.pack(len(data)) + data, *blobs]


def decode(
    body: "Payload", classes: "Classes" = None, handles: "Handles" = None, limits: Limits = DEFAULT_LIMITS
) -> "Any":
    """Return the value of a payload. It holds no reference to `body`.

    classes("module:qualname") gives a class that was declared here, or None; handles(code, data) makes a Context or
    a Sender. Raises ValueDecodeError on anything but exactly one value within the limits.
    """
    if not isinstance(body, BUFFERS):
        return body.decode(classes, handles, limits)
    body_size = len(body)
    size = _U32.unpack_from(body)[0] if body_size >= 4 else 0
    if not 0 < size <= body_size - 4 or size > limits.pack_size_max:
        raise ValueDecodeError(
            "a payload of %d bytes with a pack of %d; the limit is %d" % (body_size, size, limits.pack_size_max)
        )
    data = bytes(body[4 : 4 + size])
    if body_size == 4 + size:
        value = NotImplemented if _fast_unpack is None else _fast_unpack(data, limits)
        return read_pack(data, b"", classes, handles, limits) if value is NotImplemented else value
    with memoryview(body)[4 + size :] as blobs:  # an error's traceback would keep it, and a bytearray locked by it
        return read_pack(data, blobs, classes, handles, limits)


def pack(value: "Any", what: str = "value") -> bytes:
    """Return the value as one pack without blobs, for small heads."""
    data = _fast_pack(value) if _fast_pack is not None else NotImplemented
    return bytes(write(value, what, None)) if data is NotImplemented else data


def unpack(data: "Bytes", limits: Limits = DEFAULT_LIMITS) -> "Any":
    """Return the value of a pack without blobs, or raise ValueDecodeError."""
    if len(data) > limits.pack_size_max:
        raise ValueDecodeError("a pack of %d bytes; the limit is %d" % (len(data), limits.pack_size_max))
    if _fast_unpack is not None:
        value = _fast_unpack(bytes(data), limits)
        if value is not NotImplemented:
            return value
    return read_pack(bytes(data), None, None, None, limits)


def _extensions() -> "Any":
    global _extensions_module
    if _extensions_module is None:
        from plasmid.core import extensions

        _extensions_module = extensions
    return _extensions_module


def head(code: int, size: int, first: int = 256) -> bytes:
    """Return a first byte and a size; `code` is the one for sizes below 256, the next two are for wider ones."""
    if size < first:
        return HEADS[0](code, size)
    return HEADS[1](code + 1, size) if size < 65536 else HEADS[2](code + 2, size)


def _is_key(key: "Any") -> bool:
    return type(key) is str or (type(key) in KEYS and (type(key) is not int or -1 << 63 <= key < 1 << 64))


class Writer:
    """What all parts of one value share while it is written: room left in nodes, blobs, the path of a failure."""

    __slots__ = ("blobs", "room", "steps")

    def __init__(self, blobs: "Optional[Parts]") -> None:
        self.blobs = blobs
        self.room = DEFAULT_LIMITS.nodes_max
        self.steps = []  # type: List[str]


def write(value: "Any", what: str, blobs: "Optional[Parts]", depth_max: int = DEFAULT_LIMITS.depth_max) -> bytearray:
    """Return the pack of a value. Long bytes and buffers are added to `blobs`, if there is such a list."""
    out = bytearray()
    writer = Writer(blobs)
    try:
        put(value, out, writer, depth_max)
        if len(out) > DEFAULT_LIMITS.pack_size_max:
            raise ValueError("%d bytes; the limit is %d" % (len(out), DEFAULT_LIMITS.pack_size_max))
        return out
    except (ValueError, AttributeError, OverflowError, struct.error) as error:
        path = what + "".join(reversed(writer.steps))
        found = "str with a lone surrogate" if isinstance(error, UnicodeError) else str(error)
        raise UnsendableValue(path if len(path) < 256 else path[:128] + "..." + path[-64:], found) from None


def put(value: "Any", out: bytearray, writer: Writer, depth: int) -> None:
    kind = type(value)
    if kind is str:
        data = value.encode()
        size = len(data)
        if size < 32:
            out.append(0xA0 | size)
        else:
            out += head(0xD9, size)
        out += data
    elif kind is int and -1 << 63 <= value < 1 << 64:
        if -32 <= value < 128:
            out.append(value & 255)
        elif value > 0:
            out += head(0xCC, value) if value < 1 << 32 else HEADS[3](0xCF, value)
        else:
            width = (value < -0x80) + (value < -0x8000) + (value < -0x80000000)
            out += _SIGNED[width](0xD0 + width, value)
    elif kind is dict or kind is list:
        _put_items(value, out, writer, depth, kind is dict)
    elif value is None:
        out.append(0xC0)
    elif kind is bool:
        out.append(0xC2 + value)
    elif kind is float:
        out += _FLOAT(0xCB, value)
    elif kind is bytes and (len(value) < BLOB_SIZE_MIN or writer.blobs is None):
        out += head(0xC4, len(value))
        out += value
    elif writer.blobs is None:
        raise ValueError("%s, which a head can't hold" % kind.__name__)
    else:
        _extensions().put(value, out, writer, depth)


def _put_items(value: "Any", out: bytearray, writer: Writer, depth: int, is_dict: bool) -> None:
    size = len(value)
    writer.room -= 2 * size + 1 if is_dict else size
    if writer.room < 0 or not depth:
        raise ValueError(TOO_MUCH)
    if size < 16:
        out.append((0x80 if is_dict else 0x90) | size)
    else:
        out += head(0xDD if is_dict else 0xDB, size, 0)
    step = None  # type: Any
    try:
        if is_dict:
            for step, item in value.items():
                if type(step) is not str and not _is_key(step):
                    raise ValueError("a key of type %s" % type(step).__name__)
                if type(step) is bytes:
                    out += head(0xC4, len(step)) + step
                else:
                    put(step, out, writer, 0)
                put(item, out, writer, depth - 1)
        else:
            for item in value:
                put(item, out, writer, depth - 1)
    except (ValueError, AttributeError):
        # Which item it was is found only now: to count along would cost every call.
        if not is_dict:
            step = next((index for index, other in enumerate(value) if other is item), 0)
        writer.steps.append("[%s]" % (ascii(step) if _is_key(step) else type(step).__name__))
        raise


def read_pack(buf: bytes, blobs: "Optional[Payload]", classes: "Classes", handles: "Handles", limits: Limits) -> "Any":
    """Return the value of a pack, all of it, and of all its blobs."""
    reader = Reader(buf, blobs, classes, handles, limits)
    try:
        value = reader.read(limits.depth_max)
    except ValueDecodeError:
        raise
    except Exception as error:  # types of all kinds are given what the sender chose, a user's own among them
        found = "cut short" if isinstance(error, (IndexError, struct.error)) else str(error)
        raise ValueDecodeError("at byte %d of %d: %.200s" % (reader.pos, len(buf), found)) from error
    ends = reader.pos, len(buf), reader.blob_pos, len(blobs or b"")
    if ends[0] != ends[1] or ends[2] != ends[3]:
        raise ValueDecodeError("the value ends at byte %d of %d, its blobs at %d of %d" % ends)
    return value


class Reader:
    """Reads one pack. A size beyond the end is let pass where nothing is allocated for it: `pos` tells at the end."""

    __slots__ = ("blob_pos", "blobs", "buf", "classes", "handles", "pos", "room")

    def __init__(
        self, buf: bytes, blobs: "Optional[Payload]", classes: "Classes", handles: "Handles", limits: Limits
    ) -> None:
        self.buf = buf
        self.pos = 0
        self.room = limits.nodes_max
        self.blobs = blobs
        self.blob_pos = 0
        self.classes = classes
        self.handles = handles

    def read(self, depth: int) -> "Any":
        """Return the value at `pos`, which may hold `depth` levels of arrays and maps."""
        pos = self.pos
        code = self.buf[pos]
        self.pos = pos = pos + 1
        if code < 0x80:
            return code
        if code < 0x90:
            return self.read_map(code - 0x80, depth)
        if code < 0xA0:
            return self.read_array(code - 0x90, depth)
        if code < 0xC0:
            self.pos = end = pos + code - 0xA0
            return self.buf[pos:end].decode()
        if code >= 0xE0:
            return code - 0x100
        if code in CONSTANTS:
            return CONSTANTS[code]
        if code in NUMBERS:
            number = NUMBERS[code]
            self.pos = pos + number.size
            return number.unpack_from(self.buf, pos)[0]
        if code in _WIDTHS:
            start = pos + _WIDTHS[code]
            size = int.from_bytes(self.buf[pos:start], "big")
            self.pos = start
            if code >= 0xDC:
                return self.read_array(size, depth) if code < 0xDE else self.read_map(size, depth)
            if 0xC7 <= code <= 0xC9:
                return self.read_extension(size, depth)
            self.pos = end = start + size
            data = self.buf[start:end]
            return data if code < 0xC7 else data.decode()
        if code == 0xC1:
            raise ValueDecodeError("the byte 0xC1, which starts no value")
        return self.read_extension(1 << (code - 0xD4), depth)

    def read_array(self, size: int, depth: int) -> "List[Any]":
        self.room -= size
        if self.room < 0 or not depth or size > len(self.buf) - self.pos:
            raise self.too_much(size)
        depth -= 1
        items = []
        for _ in range(size):
            items.append(self.read(depth))
        return items

    def read_map(self, size: int, depth: int) -> "Dict[Any, Any]":
        self.room -= 2 * size + 1
        if self.room < 0 or not depth or 2 * size > len(self.buf) - self.pos:
            raise self.too_much(size)
        depth -= 1
        items = {}
        buf = self.buf
        for _ in range(size):
            pos = self.pos
            code = buf[pos]
            if 0xA0 <= code < 0xC0:
                # As read() would: nearly all keys are short texts.
                self.pos = end = pos + code - 0x9F
                key = buf[pos + 1 : end].decode()  # type: Any
            else:
                key = self.read(0)
                if type(key) is not str and not _is_key(key):
                    raise ValueDecodeError("a key of type %s" % type(key).__name__)
            items[key] = self.read(depth)
        if len(items) != size:
            raise ValueDecodeError("a map with a key twice")
        return items

    def read_extension(self, size: int, depth: int) -> "Any":
        code = self.buf[self.pos]
        start = self.pos + 1
        end = start + size
        if end > len(self.buf):
            raise IndexError
        if self.blobs is None:
            raise ValueDecodeError("extension %d, which a head can't hold" % code)
        if code == BLOB:
            self.room -= 3
            self.pos = end
            return self.read_blob(self.buf[start:end], self.blobs)
        return _extensions().read(self, code, start, end, depth)

    def read_blob(self, data: bytes, blobs: "Payload") -> "Bytes":
        kind, size = BLOB_DATA.unpack(data)
        start = self.blob_pos
        self.blob_pos = end = start + size
        if end > len(blobs) or kind >= len(BUFFERS):
            raise ValueDecodeError("a blob of %d bytes where %d are left" % (size, len(blobs) - start))
        part = blobs[start:end]  # of a Body it may be bytes, and stay what they are
        return memoryview(bytes(part)) if kind == 2 else BUFFERS[kind](part)

    def too_much(self, size: int) -> ValueDecodeError:
        return ValueDecodeError(
            "at byte %d of %d: %d items, which is more than the rest can hold, or over the limit of nodes or depth"
            % (self.pos, len(self.buf), size)
        )
