"""Values and bytes for the tests of the codecs: samples, strategies, and a comparison that sees types."""

import dataclasses
import datetime
import decimal
import enum
import math
import pathlib
import uuid
from collections.abc import Callable
from typing import Any, NamedTuple

from hypothesis import strategies as st

from plasmid.core import values
from plasmid.core.errors import PlasmidError


class Color(enum.Enum):
    """Some enum that both ends declare."""

    RED = "red"
    BLUE = 2


@dataclasses.dataclass
class Disk:
    """Some dataclass that both ends declare."""

    path: str
    free: int = 0
    parts: "list[Any]" = dataclasses.field(default_factory=list)


class Point(NamedTuple):
    """Some NamedTuple that both ends declare."""

    x: Any
    y: Any


class DiskError(Exception):
    """Some exception that both ends declare."""


DECLARED = {f"{kind.__module__}:{kind.__qualname__}": kind for kind in (Color, Disk, Point, DiskError)}


class Handle:
    """What a Context or a Sender is to the codecs."""

    def __init__(self, code: int, data: bytes) -> None:
        self.code = code
        self.data = data

    def plasmid_handle(self) -> "tuple[int, bytes]":
        """Return what travels."""
        return self.code, self.data

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Handle) and (self.code, self.data) == (other.code, other.data)

    def __hash__(self) -> int:
        return hash((self.code, self.data))

    def __repr__(self) -> str:
        return f"Handle({self.code}, {self.data!r})"


def send(value: Any) -> bytes:
    """Return the payload of a value as the receiver gets it."""
    return b"".join(values.encode(value))


def packed(value: Any) -> bytes:
    """Return the pack of a value that has no blobs."""
    return send(value)[4:]


def receive(body: "bytes | bytearray") -> Any:
    """Return the value of a payload, with all of the above declared."""
    return values.decode(body, DECLARED.get, Handle)


def shape(value: Any) -> Any:
    """Return what tells a value from every other one, its types and the order of its dicts included."""
    kind = type(value).__name__
    if isinstance(value, dict):
        return kind, [(shape(key), shape(item)) for key, item in value.items()]
    if isinstance(value, (set, frozenset)):
        return kind, sorted((shape(item) for item in value), key=repr)
    if isinstance(value, (list, tuple)):
        return kind, [shape(item) for item in value]
    if isinstance(value, float):
        return kind, "nan" if math.isnan(value) else value.hex()
    if isinstance(value, memoryview):
        return kind, bytes(value), value.format
    if isinstance(value, Disk):
        return kind, shape(vars(value))
    if isinstance(value, BaseException):
        return kind, shape(value.args)
    if isinstance(value, datetime.datetime):
        return kind, repr(value), value.fold
    return kind, repr(value)


def name_of(value: Any) -> str:
    """Return a short text for the name of a test, the same in every run: no address, no order of a set."""
    if type(value) is int and abs(value) > 1 << 64:
        return f"int-of-{value.bit_length()}-bits"
    if isinstance(value, (set, frozenset, memoryview)):
        return f"{type(value).__name__}-of-{len(value)}"
    return repr(value)[:40]


def outcome(act: "Callable[[], Any]") -> Any:
    """Return the shape of what `act` gives, or the error of Plasmid's that it raises. Any other error isn't caught."""
    try:
        return "value", shape(act())
    except PlasmidError as error:
        return "refused", type(error).__name__, str(error)


UTC = datetime.timezone.utc
EVERY_KIND: list[Any] = [
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        1.5,
        float("inf"),
        "",
        "text",
        "žluť",
        b"",
        b"bytes",
        [],
        {},
        (),
        set(),
        frozenset(),
    ),
    *(127, 128, 255, 256, 65535, 65536, 2**32 - 1, 2**32, 2**64 - 1, -32, -33, -128, -129, -32768, -32769, -(2**31)),
    *(-(2**31) - 1, -(2**63), 2**64, -(2**63) - 1, 3**2000, -(3**2000)),
    *("x" * 31, "x" * 32, "x" * 255, "x" * 256, "x" * 65535, "x" * 65536),
    *(b"x" * 255, b"x" * 256, b"x" * 4095, b"x" * 4096, b"x" * 70000),
    *(bytearray(), bytearray(b"small"), bytearray(b"x" * 5000), memoryview(b"small"), memoryview(b"x" * 5000)),
    *([0] * 15, [0] * 16, [0] * 65535, [0] * 65536, dict.fromkeys(range(15)), dict.fromkeys(range(16))),
    dict.fromkeys(range(65536)),
    {"a": 1, 2: "b", 2.5: None, False: 0, b"k": [], None: {}, "": ""},
    (1, (2, (3,)), [4], {"k": (5,)}),
    {1, "a", (2, 3), frozenset([4]), b"x", None},
    *(complex(1.5, -0.0), complex(float("inf"), 2)),
    datetime.datetime(2024, 2, 29, 23, 59, 58, 999999),
    datetime.datetime(2024, 10, 27, 2, 30, fold=1),
    datetime.datetime(1, 1, 1, tzinfo=UTC),
    datetime.datetime(9999, 12, 31, tzinfo=datetime.timezone(datetime.timedelta(hours=-5, minutes=-30))),
    datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone(datetime.timedelta(seconds=1), "odd")),
    datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone(datetime.timedelta(0), "")),
    datetime.date(2024, 2, 29),
    datetime.time(1, 2, 3, 4, fold=1),
    datetime.time(1, tzinfo=UTC),
    *(datetime.timedelta(-1, 5, 6), datetime.timedelta.max, datetime.timedelta.min),
    *(decimal.Decimal(text) for text in ("0", "-0.00", "1E+30", "123.4500", "NaN", "sNaN12", "-Infinity")),
    uuid.UUID("12345678-1234-5678-1234-567812345678"),
    *(pathlib.Path("/a/b"), pathlib.PurePosixPath("//a/b"), pathlib.PureWindowsPath("c:\\a\\b"), pathlib.Path()),
    Color.RED,
    Disk("/", 5, [(1, 2)]),
    Point(1, [2]),
    *(ValueError("bad", 1), KeyError("k"), DiskError("disk", {"n": 1}), OSError(2, "No such file", "/x")),
    [Handle(values.HANDLE_CONTEXT, b"\0\0\0\3"), Handle(values.HANDLE_SENDER, b"token")],
]


def view_of(data: bytes) -> "memoryview[int]":
    """Return a memoryview of bytes; the type itself is generic, and type checkers can't tell of what."""
    return memoryview(data)


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=40)
    | st.binary(max_size=40)
)
plain_keys = st.text(max_size=8) | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.booleans() | st.none()
leaves = (
    scalars
    | st.complex_numbers(allow_nan=False)
    | st.datetimes()
    | st.datetimes(timezones=st.just(UTC))
    | st.dates()
    | st.times()
    | st.timedeltas()
    | st.decimals()
    | st.uuids()
    | st.binary(max_size=20).map(bytearray)
    | st.binary(max_size=20).map(view_of)
    | st.sampled_from([b"x" * 4096, bytearray(b"y" * 5000), memoryview(b"z" * 4097), "s" * 300, Color.BLUE])
)
# What C can do alone, so that its own path is tried often.
plain_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=20) | st.dictionaries(plain_keys, inner, max_size=20), max_leaves=40
)
any_values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=6)
        | st.dictionaries(plain_keys, inner, max_size=6)
        | st.lists(inner, max_size=6).map(tuple)
        | st.sets(scalars, max_size=6)
        | st.frozensets(scalars | st.tuples(scalars), max_size=6)
        | st.builds(Disk, st.text(max_size=5), st.integers(), st.lists(inner, max_size=3))
        | st.builds(Point, inner, inner)
        # An exception's arguments get half of the levels left, so those of exceptions in exceptions would run out.
        | st.lists(leaves, max_size=3).map(lambda args: ValueError(*args))
    ),
    max_leaves=25,
)
unsendable_parts = st.sampled_from([object(), "\ud800", 1 << 40000, range(3), {(1, 2): 3}, {1 << 64: 0}, [[object()]]])
mixed_values = st.one_of(plain_values, any_values, st.lists(any_values | unsendable_parts, max_size=4))


@st.composite
def hostile_bodies(draw: "st.DrawFn") -> bytes:
    """A payload that was changed on its way: bytes replaced, put in, taken out, cut, or made up from the start."""
    if draw(st.integers(0, 9)) == 0:
        data = draw(st.binary(max_size=60))
        return len(data).to_bytes(4, "big") + data
    body = bytearray(send(draw(st.sampled_from(EVERY_KIND).filter(is_short) | any_values | plain_values)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(4, len(body)))
        piece = draw(st.binary(max_size=4) | st.sampled_from(INTERESTING))
        body[at : at + draw(st.integers(0, 4))] = piece
    if draw(st.booleans()):
        body[:4] = (len(body) - 4).to_bytes(4, "big")
    return bytes(body)


def is_short(value: Any) -> bool:
    """Tell if a sample is short enough for a change to hit what matters."""
    return len(send(value)) < 300


INTERESTING = [
    *(bytes([code]) for code in (0x80, 0x81, 0x90, 0x91, 0xA0, 0xC0, 0xC1, 0xC4, 0xC7, 0xCA, 0xD4, 0xDC, 0xDF, 0xFF)),
    *(b"\xdd\xff\xff\xff\xff", b"\xdf\x00\x00\x00\x02", b"\xdb\x7f\xff\xff\xff", b"\xc6\xff\xff\xff\xff"),
    *(b"\xd4\x02\x90", b"\xd4\x03\x90", b"\xd6\xff\0\0\0\0", b"\xc7\x0c\xff" + bytes(12), b"\xca\x3f\x80\0\0"),
    *(b"\x82\xa1a\x01\xa1a\x02", b"\x82\x01\x01\xc3\x02", b"\xcd\x00\x01", b"\xa3\xed\xa0\x80", b"\x81\x90\x01"),
]
