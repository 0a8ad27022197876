"""What each MessagePack extension means: the types that a value may have beyond MessagePack's own.

`export` gives an object's code and data, `build` makes the object again; `values` does the packing and calls both.
The data of a code is bytes, or a list of values (marked [...]). Numbers are big-endian, text is UTF-8:

    code  type         data
      1   blob         u8 kind (0 bytes, 1 bytearray, 2 memoryview), u64 size; the bytes follow the pack
      2   tuple        [item, ...]
      3   set          [item, ...]
      4   frozenset    [item, ...]
      5   int          two's complement; for what doesn't fit MessagePack's 64 bits
      6   complex      f64 real, f64 imaginary
      7   bytearray    the bytes
      8   memoryview   the bytes
      9   datetime     u16 year, u8 month, day, hour, minute, second, u32 microsecond, u8 fold, zone
     10   date         u16 year, u8 month, day
     11   time         u8 hour, minute, second, u32 microsecond, u8 fold, zone
     12   timedelta    i32 days, u32 seconds, u32 microseconds
     13   Decimal      its text
     14   UUID         16 bytes
     15   path         u8 class (see PATHS), its text
     16   enum         [class, member name]
     17   dataclass    [class, {field: value, ...}]
     18   NamedTuple   [class, [item, ...]]
     19   exception    [class, text, [argument, ...]]
     20   Context      as the runtime says
     21   Sender       as the runtime says

    zone: nothing (naive); u8 0, i64 microseconds east of UTC; u8 1, the same and a name; u8 2, a zoneinfo key.
    class: `module:qualname`, only ever looked up among those that the receiver declared.

No module is imported here before a value needs it: `datetime` or `decimal` would cost every boot milliseconds.
"""

import struct
import sys

from plasmid.core import errors, values
from plasmid.core.errors import RemoteError, UnsendableValue, ValueDecodeError
from plasmid.core.values import HANDLE_CONTEXT, HANDLE_SENDER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, List, Optional, Tuple, Union

    from plasmid.core.values import Classes, Handles

TUPLE, SET, FROZENSET, INT, COMPLEX, BYTEARRAY, MEMORYVIEW, DATETIME, DATE, TIME, TIMEDELTA = range(2, 13)
DECIMAL, UUID, PATH, ENUM, DATACLASS, NAMEDTUPLE, EXCEPTION = range(13, 20)
NESTED = (TUPLE, SET, FROZENSET, ENUM, DATACLASS, NAMEDTUPLE, EXCEPTION)  # their data is a packed list

SCALAR_SIZE_MAX = 4096  # the data of a single int, Decimal, path ...: longer buffers are blobs, others cost too much
HASH_CLASHES_MAX = 64  # items of one set that share another's hash: building a set takes the square of them

PATHS = ("PurePosixPath", "PureWindowsPath", "PosixPath", "WindowsPath")
_DAY = "year month day"
_CLOCK = "hour minute second microsecond fold"
# Types whose data is a few numbers: the type's name, their form, and their names, in the order it is called with.
_NUMBERS = {
    COMPLEX: ("builtins.complex", ">dd", "real imag"),
    DATETIME: ("datetime.datetime", ">HBBBBBIB", _DAY + " " + _CLOCK),
    DATE: ("datetime.date", ">HBB", _DAY),
    TIME: ("datetime.time", ">BBBIB", _CLOCK),
    TIMEDELTA: ("datetime.timedelta", ">iII", "days seconds microseconds"),
}
_CODES = {row[0]: code for code, row in _NUMBERS.items()}
_FIXED_EXT = {1: 0xD4, 2: 0xD5, 4: 0xD6, 8: 0xD7, 16: 0xD8}
_ARRAYS = bytes(range(0x90, 0xA0)) + b"\xdc\xdd"
_ZONE = struct.Struct(">Bq")


def weight(code: int, data: "Union[bytes, List[Any]]") -> int:
    """Return how many nodes an extension costs beside what its data holds, so that one node is <= 128 bytes."""
    if code == SET or code == FROZENSET:
        return 3 + 2 * len(data)  # a hash table with room to spare
    if code == PATH:
        return 3 + 2 * sum(map(data.count, (b"/", b"\\")))  # every part becomes a str
    return 8 if code == EXCEPTION else 3


# ---------------------------------------------------------------- in the pack


def put(value: "Any", out: bytearray, writer: "values.Writer", depth: int) -> None:
    """Write a value that isn't one of MessagePack's own: as an extension, or beside the pack."""
    kind = type(value)
    if kind is memoryview and (value.format != "B" or value.ndim != 1):
        raise ValueError("memoryview of format %r and %d dimensions; cast it to bytes" % (value.format, value.ndim))
    data = None  # type: Any
    if kind in values.BUFFERS and len(value) >= values.BLOB_SIZE_MIN and writer.blobs is not None:
        code, data = values.BLOB, values.BLOB_DATA.pack(values.BUFFERS.index(kind), len(value))
        view = memoryview(value)
        writer.blobs.append(value if kind is bytes else view if view.contiguous else memoryview(bytes(view)))
    else:
        # An exception's arguments are tried before they are written. They may hold exceptions, the same one even, so
        # they get only a part of the depth, lest there are as many tries as two to the depth.
        inner = min(depth, depth // 2 + 2)
        if isinstance(value, BaseException):
            depth = inner
            if inner < 2:
                raise ValueError(values.TOO_MUCH)
        code, data = export(value, kind, lambda argument: _travels(argument, inner - 2))
        writer.room -= weight(code, data)
    mark = len(out)
    if type(data) is list:
        try:
            values.put(data, out, writer, depth)
        except (ValueError, AttributeError):
            if code >= ENUM and writer.steps:
                writer.steps.pop()  # the user knows of the parts, not of the list [class, parts]
            raise
    else:
        out += data
    size = len(out) - mark
    head = values.HEADS[0](_FIXED_EXT[size], code) if size in _FIXED_EXT else values.head(0xC7, size) + bytes((code,))
    out[mark:mark] = head


def _travels(value: "Any", depth: int) -> bool:
    try:
        values.write(value, "", [], depth)
    except UnsendableValue:
        return False
    return True


def read(reader: "values.Reader", code: int, start: int, end: int, depth: int) -> "Any":
    """Return the value of the extension whose data stands at `start` to `end`, and leave the reader behind it."""
    data = None  # type: Any
    if code in NESTED:
        # Only an array: extensions directly in one another would be levels that nobody counts.
        if reader.buf[start] not in _ARRAYS:
            raise ValueDecodeError("extension %d without an array" % code)
        reader.pos = start
        data = reader.read(depth)
        if reader.pos != end:
            raise ValueDecodeError("extension %d of another size than its array" % code)
    else:
        data = reader.buf[start:end]
    reader.pos = end
    reader.room -= weight(code, data)
    if reader.room < 0:
        raise reader.too_much(0)
    return build(code, data, reader.classes, reader.handles)


# ---------------------------------------------------------------- objects to data


def export(value: "Any", kind: type, travels: "Callable[[Any], bool]") -> "Tuple[int, Union[bytes, List[Any]]]":
    """Return the code and the data of a value that MessagePack has no type for, or raise ValueError.

    Its text says what was found; `values` makes an UnsendableValue of it, with the path to the part.
    travels(argument) tells whether an argument of an exception can be sent.
    """
    code, data = _export(value, kind, travels)
    if type(data) is bytes and len(data) > SCALAR_SIZE_MAX:
        raise ValueError("%s of %d bytes; the limit is %d" % (kind.__name__, len(data), SCALAR_SIZE_MAX))
    return code, data


def _export(value: "Any", kind: type, travels: "Callable[[Any], bool]") -> "Tuple[int, Union[bytes, List[Any]]]":
    if kind is tuple:
        return TUPLE, list(value)
    if kind is set or kind is frozenset:
        return SET if kind is set else FROZENSET, list(value)
    if kind is bytearray or kind is memoryview:
        return BYTEARRAY if kind is bytearray else MEMORYVIEW, bytes(value)
    if kind is int:
        return INT, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)
    name = "%s.%s" % (kind.__module__, kind.__qualname__)
    if name in _CODES:
        code = _CODES[name]
        _, form, names = _NUMBERS[code]
        data = struct.pack(form, *[getattr(value, part) for part in names.split()])
        return code, data + _export_zone(value.tzinfo) if code in (DATETIME, TIME) else data
    if name == "decimal.Decimal":
        return DECIMAL, str(value).encode()
    if name == "uuid.UUID":
        return UUID, value.bytes
    if kind.__name__ in PATHS and name.startswith("pathlib."):  # or pathlib._local, as the Python version has it
        return PATH, bytes((PATHS.index(kind.__name__),)) + str(value).encode()
    return _export_declared(value, kind, travels)


def _export_declared(value: "Any", kind: type, travels: "Callable[[Any], bool]") -> "Tuple[int, List[Any]]":
    name = "%s:%s" % (kind.__module__, kind.__qualname__)
    if isinstance(value, BaseException):
        return EXCEPTION, [name, text_of(value), arguments_of(value, travels)]
    # While another thread imports enum it isn't whole yet, and no value is one.
    enum = getattr(sys.modules.get("enum"), "Enum", ())  # type: Any
    if isinstance(value, enum):
        if value.name not in kind.__members__:  # type: ignore[attr-defined]
            raise ValueError("a combination of %s; send its .value" % kind.__name__)
        return ENUM, [name, value.name]
    if "__dataclass_fields__" in kind.__dict__:
        import dataclasses

        return DATACLASS, [name, {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}]
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return NAMEDTUPLE, [name, list(value)]
    if hasattr(kind, "plasmid_handle"):
        return value.plasmid_handle()  # type: ignore[no-any-return]
    raise ValueError(kind.__name__)


def text_of(error: BaseException) -> str:
    """Return str(error), made sendable, of at most 8 KiB; whatever the error's own class does in its __str__."""
    try:
        text = str(error)
    except Exception as failure:  # noqa: BLE001 - a user's code: whatever it raises must not hide the error
        text = "<no text: its __str__ raised %s>" % type(failure).__name__
    return text.encode("utf-8", "backslashreplace")[:8192].decode("utf-8", "ignore")


def arguments_of(error: BaseException, travels: "Callable[[Any], bool]") -> "List[Any]":
    """Return the arguments that make the error again.

    One that can't travel is replaced by `<its type>`, so that the others keep their places; an only one by the text.
    """
    args = error.args  # type: Tuple[Any, ...]
    if isinstance(error, OSError) and len(args) == 2 and error.filename is not None:
        args += (error.filename,) if error.filename2 is None else (error.filename, None, error.filename2)
    sent = [arg if travels(arg) else "<%.80s>" % type(arg).__name__ for arg in args[:64]]
    return [text_of(error)] if len(args) == 1 and sent[0] is not args[0] else sent


def _export_zone(zone: "Any") -> bytes:
    import datetime

    if zone is None:
        return b""
    if type(zone) is datetime.timezone:
        args = zone.__getinitargs__()  # type: ignore[attr-defined]  # (offset,) or (offset, name), made for pickle
        east = args[0] // datetime.timedelta(microseconds=1)
        return _ZONE.pack(len(args) - 1, east) + "".join(args[1:]).encode()
    if type(zone).__module__.partition(".")[0] == "zoneinfo" and zone.key:
        return b"\2" + zone.key.encode()  # type: ignore[no-any-return]
    raise ValueError("tzinfo of type %s; use datetime.timezone or zoneinfo" % type(zone).__name__)


# ---------------------------------------------------------------- data to objects


def build(code: int, data: "Any", classes: "Classes", handles: "Handles") -> "Any":
    """Return the object of an extension.

    The data is hostile. What is wrong with it may raise anything, from here or from the class that is given it.
    """
    if code == TUPLE:
        return tuple(data)
    if code == SET or code == FROZENSET:
        # Ints are hashed as themselves, and equal ones are one item: this set can't be made slow.
        if len(data) - len(set(map(hash, data))) > HASH_CLASHES_MAX:
            raise ValueDecodeError("a set whose items were chosen to share their hashes")
        items = set(data) if code == SET else frozenset(data)
        if len(items) != len(data):
            raise ValueDecodeError("a set with an item twice")
        return items
    if code in (ENUM, DATACLASS, NAMEDTUPLE, EXCEPTION):
        return _build_declared(code, data, classes)
    if len(data) > SCALAR_SIZE_MAX:
        raise ValueDecodeError("extension %d of %d bytes; the limit is %d" % (code, len(data), SCALAR_SIZE_MAX))
    if code == BYTEARRAY or code == MEMORYVIEW:
        return bytearray(data) if code == BYTEARRAY else memoryview(data)
    if code == HANDLE_CONTEXT or code == HANDLE_SENDER:
        if handles is None:
            raise ValueDecodeError("a Context or a Sender, which has no meaning here")
        return handles(code, data)
    return _build_scalar(code, data)


def _build_scalar(code: int, data: bytes) -> "Any":
    if code in _NUMBERS:
        name, form, _ = _NUMBERS[code]
        module, _, name = name.partition(".")
        kind = getattr(__import__(module), name)
        if code not in (DATETIME, TIME):
            return kind(*struct.unpack(form, data))
        numbers = struct.unpack_from(form, data)
        return kind(*numbers[:-1], tzinfo=_build_zone(data[struct.calcsize(form) :]), fold=numbers[-1])
    if code == INT:
        return int.from_bytes(data, "big", signed=True)
    if code == DECIMAL:
        import decimal

        return decimal.Decimal(data.decode("ascii"))
    if code == UUID:
        import uuid

        return uuid.UUID(bytes=data)
    if code != PATH:
        raise ValueDecodeError("the unknown extension %d" % code)
    import pathlib

    index = data[0]
    if index > 1 and PATHS[index] != type(pathlib.Path()).__name__:
        index -= 2  # a path that can be opened only on the other family of systems
    return getattr(pathlib, PATHS[index])(data[1:].decode())


_STOPS = (StopIteration, StopAsyncIteration)


def make_exception(name: str, args: "List[Any]", classes: "Classes") -> "Optional[Exception]":
    """Return the exception of a class `module:qualname` that is built in, declared here or Plasmid's own, or None."""
    import builtins

    module, _, short = name.partition(":")
    kind = None  # type: Any
    if module == "builtins":
        kind = getattr(builtins, short, None)
    elif module == errors.__name__:
        kind = getattr(errors, short, None)
    elif name == "plasmid.core.connect_error:ConnectError":
        from plasmid.core.connect_error import ConnectError

        kind = ConnectError
    elif classes is not None:
        kind = classes(name)
    # SystemExit and its like would end a thread or the program of whoever meets them: they aren't Exceptions.
    # And StopIteration would end a `for` or a `map` around the call as if nothing were wrong.
    if not isinstance(kind, type) or not issubclass(kind, Exception) or issubclass(kind, _STOPS):
        return None
    if issubclass(kind, SyntaxError):
        args = args[:1]  # printing the rest of them takes positions in the source at their word
    try:
        error = kind(*args)  # type: Any
        unicode = isinstance(error, (UnicodeDecodeError, UnicodeEncodeError, UnicodeTranslateError))
        if unicode and not 0 <= error.start <= error.end <= len(error.object):
            return None  # str() of it reads beyond its object on some Python versions
        str(error)  # what it was made of may be of types that only its text trips over
        return error if isinstance(error, Exception) else None
    except Exception:  # noqa: BLE001 - a user's class: whatever it raises, the error then arrives as RemoteError
        return None


def _build_declared(code: int, data: "Any", classes: "Classes") -> "Any":
    """Return the object of a class that the receiver must have declared."""
    name, content = data[0], data[-1]
    if type(name) is not str or len(data) != (3 if code == EXCEPTION else 2):
        raise ValueDecodeError("extension %d without its class and content" % code)
    if code == EXCEPTION:
        if type(data[1]) is not str or type(content) is not list:
            raise ValueDecodeError("an exception without a text and arguments")
        error = make_exception(name, content, classes)
        return RemoteError(plain_name(name), data[1], args_sent=tuple(content)) if error is None else error
    kind = classes(name) if classes is not None else None  # type: Any
    if kind is None:
        shown = ascii(name[:200])[1:-1]
        raise ValueDecodeError(
            "the class %s isn't declared here; call plasmid.declare(%s), or annotate the method with it"
            % (plain_name(shown), shown.rpartition(":")[2])
        )
    if code == ENUM:
        import enum

        if issubclass(kind, enum.Enum) and type(content) is str and content in kind.__members__:
            return kind.__members__[content]
    elif code == DATACLASS:
        import dataclasses

        names = [field.name for field in dataclasses.fields(kind)]
        if type(content) is dict and content.keys() == set(names):
            made = object.__new__(kind)
            for field in names:
                object.__setattr__(made, field, content[field])
            return made
    elif issubclass(kind, tuple) and type(content) is list and len(content) == len(kind._fields):  # pyright: ignore
        return tuple.__new__(kind, content)
    raise ValueDecodeError("the class %.200r has another kind or other fields here" % plain_name(name))


def plain_name(name: str) -> str:
    """Return a class's name as people write it: `mymodule.DbError`, and `ValueError` for one that is built in."""
    return name[9:] if name.startswith("builtins:") else name.replace(":", ".")


def _build_zone(data: bytes) -> "Any":
    import datetime

    if not data:
        return None
    if data[0] == 2:
        return _find_zone(data[1:].decode())
    named, east = _ZONE.unpack_from(data)
    # On 3.6 an offset has whole minutes, and timezone() refuses others.
    return datetime.timezone(datetime.timedelta(microseconds=east), *[data[_ZONE.size :].decode()][:named])


def _find_zone(key: str) -> "Any":
    """Return the zone of this name from this machine's own files.

    ZoneInfo(key) alone would import the modules `tzdata.zoneinfo.<parts of the key>` when there is no such file,
    and a peer's word must never become an import.
    """
    import pathlib

    try:
        import zoneinfo
    except ImportError:
        raise ValueDecodeError("the time zone %.80r needs Python 3.9; send the time in UTC" % key) from None
    if not any(pathlib.Path(root, key).is_file() for root in zoneinfo.TZPATH):
        raise ValueDecodeError("the time zone %.80r isn't known here; install tzdata, or send the time in UTC" % key)
    return zoneinfo.ZoneInfo(key)
