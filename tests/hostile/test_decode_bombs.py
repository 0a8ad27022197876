"""Some 450 payloads made to blow up who decodes them: each ends in one named error, within 64 MiB.

Both codecs meet all of them: the pure one, and the C one underneath it.
"""

import decimal
import struct
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from plasmid import codec
from plasmid.core import extensions, values
from plasmid.core.errors import ValueDecodeError
from tests.core.value_samples import DECLARED, Handle, packed

MEMORY_MAX = 64 << 20
HASH_MODULUS = (1 << 61) - 1  # numbers that differ by it share their hash
SAMPLES = "tests.core.value_samples:"


class Bomb(NamedTuple):
    """A payload and what it is called."""

    name: str
    body: bytes


def payload(pack: bytes, blobs: bytes = b"") -> bytes:
    return struct.pack(">I", len(pack)) + pack + blobs


def array(items: "list[bytes]") -> bytes:
    return struct.pack(">BI", 0xDD, len(items)) + b"".join(items)


def mapping(pairs: "list[tuple[bytes, bytes]]") -> bytes:
    return struct.pack(">BI", 0xDF, len(pairs)) + b"".join(key + value for key, value in pairs)


def extension(code: int, data: bytes) -> bytes:
    return struct.pack(">BIB", 0xC9, len(data), code) + data


def declared(code: int, name: str, *content: Any) -> bytes:
    return extension(code, packed([name, *content]))


def integer(value: int) -> bytes:
    return extension(extensions.INT, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


def counts_and_lengths() -> Iterator[Bomb]:
    """Heads that announce more than there is."""
    for code, form, counts in (
        *((code, ">BI", (1, 1 << 20, 1 << 31, (1 << 32) - 1)) for code in (0xDD, 0xDF, 0xDB, 0xC6)),
        *((code, ">BH", (1, 1 << 15, 65535)) for code in (0xDC, 0xDE, 0xDA, 0xC5)),
    ):
        for count in counts:
            head = struct.pack(form, code, count)
            yield Bomb(f"{code:#x} of {count} and nothing", payload(head))
            if count > 1:
                yield Bomb(f"{code:#x} of {count} and a little", payload(head + bytes(50)))
    for count in (1 << 16, (1 << 32) - 1):
        for depth in (2, 30, 63, 500):
            yield Bomb(f"{depth} arrays of {count}", payload(struct.pack(">BI", 0xDD, count) * depth + bytes(100)))
            yield Bomb(f"{depth} maps of {count}", payload((struct.pack(">BI", 0xDF, count) + b"\x01") * depth))
    heads = struct.pack(">BI", 0xDD, 500_000) * 60
    yield Bomb("60 arrays of as many as there are bytes", payload(heads + b"\0" * 500_000))
    for size in (0, 1 << 31, (1 << 32) - 1):
        yield Bomb(f"a pack of {size} bytes", struct.pack(">I", size) + b"\x90")
    yield Bomb("a pack over the limit", struct.pack(">I", (64 << 20) + 1) + bytes((64 << 20) + 1))


COUNT = 524_289
UNKNOWN_ERROR = declared(extensions.EXCEPTION, "no:Such", "", [])
# More parts than the limit, of the kinds that cost most for a byte. Made only when their test runs: they are large.
NODES: dict[str, Callable[[], bytes]] = {
    "numbers": lambda: array([b"\x01"] * COUNT),
    "texts": lambda: array([b"\xa3\xe4\xb8\xad"] * COUNT),
    "arrays of one": lambda: array([b"\x91\x90"] * (COUNT // 2 + 1)),
    "maps of one": lambda: array([b"\x81\x01\x01"] * (COUNT // 4 + 1)),
    "a map of many": lambda: mapping([(b"\xce" + struct.pack(">I", n), b"\x90") for n in range(COUNT // 2)]),
    "empty tuples": lambda: array([b"\xd4\x02\x90"] * (COUNT // 4 + 1)),
    "sets of one": lambda: array([b"\xd5\x03\x91\x01"] * (COUNT // 7 + 1)),
    "a set of many": lambda: extension(3, array([b"\xce" + struct.pack(">I", n) for n in range(COUNT // 3)])),
    "ids": lambda: array([b"\xd8\x0e" + bytes(16)] * (COUNT // 4 + 1)),
    "paths of many parts": lambda: array([extension(extensions.PATH, b"\0" + b"ab/" * 1300)] * 202),
    "exceptions": lambda: array([UNKNOWN_ERROR] * (COUNT // 12 + 1)),
}
# Packs of more bytes than there may be nodes are never given to C. These are shorter.
NODES_FOR_C = ("maps of one", "empty tuples", "sets of one")


def nesting() -> Iterator[Bomb]:
    """Levels over the limit, of every kind of container and of all of them together."""
    wraps: dict[str, Callable[[bytes], bytes]] = {
        "arrays": lambda inner: b"\x91" + inner,
        "maps": lambda inner: b"\x81\x01" + inner,
        "tuples": lambda inner: extension(extensions.TUPLE, b"\x91" + inner),
        "sets": lambda inner: extension(extensions.SET, b"\x91" + inner),
        "frozensets": lambda inner: extension(extensions.FROZENSET, b"\x91" + inner),
        "Points": lambda inner: extension(extensions.NAMEDTUPLE, b"\x92" + packed(SAMPLES + "Point") + inner),
        "exceptions": lambda inner: extension(extensions.EXCEPTION, b"\x93\xa3x:Y\xa0\x91" + inner),
        "extensions without arrays": lambda inner: extension(extensions.TUPLE, inner),
    }
    for name, wrap in wraps.items():
        for depth in (65, 500):
            pack = b"\x90"
            for _ in range(depth):
                pack = wrap(pack)
            yield Bomb(f"{depth} {name}", payload(pack))
    for depth in (65, 1025, 1 << 20):
        yield Bomb(f"{depth} open arrays", payload(b"\x91" * depth))
        yield Bomb(f"{depth} open maps", payload(b"\x81\x01" * depth))
        yield Bomb(f"{depth} arrays and maps", payload((b"\x91\x81\x01" * depth)[:depth] + b"\x90"))
    mixed = b"\x90"
    for level in range(65):
        mixed = list(wraps.values())[level % 3](mixed)
    yield Bomb("65 of all kinds", payload(mixed))


def keys_and_items() -> Iterator[Bomb]:
    """Keys that aren't scalars, keys and items twice, and those chosen to share a hash."""
    odd = {
        "array": b"\x90",
        "map": b"\x80",
        "tuple": b"\xd4\x02\x90",
        "set": b"\xd4\x03\x90",
        "frozenset": b"\xd4\x04\x90",
        "long int": integer(1 << 64),
        "complex": b"\xd8\x06" + bytes(16),
        "bytearray": b"\xd4\x07a",
        "Decimal": b"\xd4\x0d1",
        "UUID": b"\xd8\x0e" + bytes(16),
        "path": b"\xd5\x0f\x00a",
        "Context": b"\xd4\x14a",
        "exception": declared(extensions.EXCEPTION, "builtins:ValueError", "", []),
    }
    for name, key in odd.items():
        yield Bomb(f"a key that is a {name}", payload(b"\x81" + key + b"\x01"))
    for name in ("array", "map", "set", "bytearray"):
        yield Bomb(f"a set of a {name}", payload(extension(extensions.SET, b"\x91" + odd[name])))
        yield Bomb(
            f"a set of a tuple of a {name}",
            payload(extension(extensions.SET, b"\x91" + extension(2, b"\x91" + odd[name]))),
        )
    same = [b"\x01", b"\xc3", b"\xcb" + struct.pack(">d", 1), b"\xcc\x01", b"\xca" + struct.pack(">f", 1)]
    for index, other in enumerate(same):
        yield Bomb(f"one key twice, {index}", payload(mapping([(b"\x01", b"\x05"), (other, b"\x06")])))
        yield Bomb(f"one item twice, {index}", payload(extension(extensions.FROZENSET, array([b"\x01", other]))))
    for twin in (b"\xa1a", b"\xc0", b"\xc4\x01a", b"\x00"):
        yield Bomb(
            f"{twin!r} twice among many",
            payload(mapping([(b"\xcd" + struct.pack(">H", n + 9), b"\0") for n in range(999)] + [(twin, b"\0")] * 2)),
        )
    alike = {
        "ints": [integer(n * HASH_MODULUS + 5) for n in range(1 << 10, 1 << 12)],
        "Decimals": [extension(extensions.DECIMAL, str(n * HASH_MODULUS).encode()) for n in range(1 << 10, 1 << 12)],
        "tuples of ints": [extension(2, b"\x91" + integer(n * HASH_MODULUS)) for n in range(1 << 10, 1 << 12)],
        "ids": [b"\xd8\x0e" + (n * HASH_MODULUS).to_bytes(16, "big") for n in range(1 << 12)],
        "complex numbers": [b"\xd8\x06" + struct.pack(">dd", -1000003.0 * n, n) for n in range(1, 1 << 12)],
    }
    for name, items in alike.items():
        for code in (extensions.SET, extensions.FROZENSET):
            yield Bomb(f"{code}: {name} of one hash", payload(extension(code, array(items))))


def scalars() -> Iterator[Bomb]:
    """Numbers and texts that are too long, or are none."""
    for size in (4097, 1 << 16, 20 << 20):
        for code in (extensions.INT, extensions.DECIMAL, extensions.PATH, values.HANDLE_SENDER):
            yield Bomb(f"extension {code} of {size} bytes", payload(extension(code, b"1" * size)))
    for text in ("", "abc", "1e99999999999999999999", "\u0661" * 2, "1 2", "NaN" * 5):
        yield Bomb(f"Decimal {text!r}", payload(extension(extensions.DECIMAL, text.encode())))
    surrogate = b"\xed\xa0\x80"
    for name, bad in {
        "surrogate": surrogate,
        "overlong": b"\xc0\x80",
        "beyond": b"\xf4\x90\x80\x80",
        "cut": b"\xe4\xb8",
    }.items():
        written = struct.pack(">BB", 0xD9, len(bad)) + bad
        yield Bomb(f"{name} in a text", payload(written))
        yield Bomb(f"{name} in a short text", payload(bytes([0xA0 + len(bad)]) + bad))
        yield Bomb(f"{name} in a key", payload(b"\x81" + written + b"\x01"))
        yield Bomb(f"{name} in a path", payload(extension(extensions.PATH, b"\0" + bad)))
        yield Bomb(f"{name} in a class", payload(extension(extensions.ENUM, b"\x92" + written + written)))
        yield Bomb(f"{name} in a zone", payload(extension(extensions.TIME, bytes(8) + b"\2" + bad)))
    yield Bomb(
        "a surrogate behind 8 MiB", payload(struct.pack(">BI", 0xDB, (8 << 20) + 3) + b"x" * (8 << 20) + surrogate)
    )


def times() -> Iterator[Bomb]:
    """Days, clocks and zones that don't exist, fixed forms of another size, and paths of no class."""
    for fields in ((0, 1, 1), (2024, 13, 1), (2024, 2, 30), (65535, 1, 1), (2024, 0, 0)):
        yield Bomb(f"the date {fields}", payload(extension(extensions.DATE, struct.pack(">HBB", *fields))))
    for clock in ((24, 0, 0, 0, 0), (0, 60, 0, 0, 0), (0, 0, 60, 0, 0), (0, 0, 0, 1_000_000, 0), (0, 0, 0, 0, 2)):
        yield Bomb(f"the time {clock}", payload(extension(extensions.TIME, struct.pack(">BBBIB", *clock))))
    for zone in (
        b"\0",
        b"\0" + bytes(7),
        *(b"\0" + struct.pack(">q", 1_000_000 * seconds) for seconds in (86400, -86400, 1 << 40, -(1 << 43))),
        *(
            b"\2" + key
            for key in (b"", b"/etc/passwd", b"../../../etc/passwd", b"No/Such", b"a\0b", b"x" * 4000, b"zone.tab")
        ),
    ):
        yield Bomb(f"the zone {zone[:20]!r}", payload(extension(extensions.TIME, bytes(8) + zone)))
    for days in ((1 << 31) - 1, -(1 << 31), 1_000_000_000):
        yield Bomb(f"{days} days", payload(extension(extensions.TIMEDELTA, struct.pack(">iII", days, 0, 0))))
    for code in (
        extensions.COMPLEX,
        extensions.DATETIME,
        extensions.DATE,
        extensions.TIME,
        extensions.TIMEDELTA,
        extensions.UUID,
    ):
        for size in (0, 1, 3, 15, 17):
            yield Bomb(f"extension {code} of {size} bytes", payload(extension(code, b"\xff" * size)))
    for index in (4, 255):
        yield Bomb(f"a path of class {index}", payload(extension(extensions.PATH, bytes([index]) + b"a")))
    yield Bomb("a path of no class", payload(extension(extensions.PATH, b"")))


def unknown_codes() -> Iterator[Bomb]:
    """Extensions that nobody assigned, MessagePack's own timestamp, and the byte that starts nothing."""
    for code in (0, 22, 23, 64, 127, 128, 200, 254):
        yield Bomb(f"extension {code}", payload(extension(code, b"abc")))
    for head, size in ((b"\xd6", 4), (b"\xd7", 8), (b"\xc7\x0c", 12)):
        yield Bomb(f"a timestamp of {size} bytes", payload(head + b"\xff" + bytes(size)))
        yield Bomb(f"a timestamp of {size} bytes among others", payload(b"\x92\x01" + head + b"\xff" + bytes(size)))
    yield Bomb("the byte 0xc1", payload(b"\xc1"))
    yield Bomb("the byte 0xc1 within", payload(b"\x92\x01\xc1"))


def blobs() -> Iterator[Bomb]:
    """Blobs that are cut, overlong, more or fewer than announced, or of no kind."""
    large = b"x" * 5000
    for size in (4999, 5001, 0, 1 << 31, (1 << 64) - 1):
        for kind in (0, 1, 2):
            yield Bomb(
                f"a blob of {size}, kind {kind}",
                payload(extension(values.BLOB, struct.pack(">BQ", kind, size)), large),
            )
    good = extension(values.BLOB, struct.pack(">BQ", 0, 5000))
    yield Bomb("a blob for nothing", payload(b"\x01", large))
    yield Bomb("one blob for two", payload(b"\x92" + good * 2, large))
    yield Bomb("two blobs for one", payload(good, large * 2))
    yield Bomb(
        "a blob as two kinds", payload(b"\x92" + good + extension(values.BLOB, struct.pack(">BQ", 1, 5000)), large)
    )
    yield Bomb("a blob of kind 3", payload(extension(values.BLOB, struct.pack(">BQ", 3, 5000)), large))
    for size in (0, 8, 10):
        yield Bomb(f"a blob told in {size} bytes", payload(extension(values.BLOB, bytes(size)), large))


def classes() -> Iterator[Bomb]:
    """Classes that weren't declared, that are of another kind, and that are none."""
    content: Any
    for code in (extensions.ENUM, extensions.DATACLASS, extensions.NAMEDTUPLE):
        for name in (
            "os:system",
            "builtins:eval",
            "builtins:dict",
            "builtins:ValueError",
            "",
            ":",
            "x" * 100_000,
            "a\0\n\x1b[2J:b",
        ):
            yield Bomb(f"extension {code}, {name[:20]!r}", payload(declared(code, name, [])))
        for content in ([], [SAMPLES + "Color"], [5, 5], [[], []], [SAMPLES + "Color", [], []], [None]):
            yield Bomb(f"extension {code}, {content!r}", payload(extension(code, packed(content))))
        for short in ("Color", "Disk", "Point", "DiskError"):
            yield Bomb(f"extension {code}, {short} of itself", payload(declared(code, SAMPLES + short, {"_value_": 1})))
            yield Bomb(f"extension {code}, {short} of names", payload(declared(code, SAMPLES + short, "__class__")))
    for content in ({"path": 1}, {"path": 1, "free": 2, "parts": 3, "__class__": 4}, {"path": 1, "free": 2, 3: 4}):
        yield Bomb(f"a Disk of {content!r}", payload(declared(extensions.DATACLASS, SAMPLES + "Disk", content)))
    for content in ([], ["a:B"], ["a:B", 1, []], ["a:B", "t", {}], ["a:B", "t", [], []], [1, "t", []]):
        yield Bomb(f"an exception of {content!r}", payload(extension(extensions.EXCEPTION, packed(content))))


def cuts() -> Iterator[Bomb]:
    """A good payload that ends too early, or goes on."""
    good = packed([{"rows": [(1, "a"), {2.5}], "at": decimal.Decimal("1.5")}, b"x" * 300, "y" * 40])
    for end in range(0, len(good), 9):
        yield Bomb(f"cut at {end}", payload(good[:end]))
        yield Bomb(f"cut in the body at {end}", struct.pack(">I", len(good)) + good[:end])
    for extra in (b"\0", b"\xc1", good):
        yield Bomb(f"{len(extra)} bytes more in the pack", payload(good + extra))
        yield Bomb(f"{len(extra)} bytes more behind it", payload(good, extra))


FAMILIES = (counts_and_lengths, nesting, keys_and_items, scalars, times, unknown_codes, blobs, classes, cuts)


@pytest.fixture(params=["pure", "c"])
def underneath(request: pytest.FixtureRequest) -> Iterator[None]:
    """Put one codec underneath, and put back what was there."""
    before = values._fast_pack, values._fast_unpack
    if request.param == "pure":
        values.install(None, None)
    else:
        values.install(codec.pack_plain, codec.unpack_plain)
    yield
    values.install(*before)


def harm(body: bytes) -> str:
    """Return what a payload did that it mustn't: empty if it ended in ValueDecodeError and took little memory."""
    tracemalloc.start()
    try:
        values.decode(body, DECLARED.get, Handle)
        end = "a value"
    except Exception as error:  # noqa: BLE001 - any other is what is looked for
        end = "" if type(error) is ValueDecodeError else repr(error)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return f"{end} and {peak} bytes" if end or peak > MEMORY_MAX else ""


def test_there_are_at_least_200_bombs() -> None:
    assert len({bomb.body for family in FAMILIES for bomb in family()}) >= 200


@pytest.mark.usefixtures("underneath")
@pytest.mark.parametrize("family", FAMILIES, ids=[family.__name__ for family in FAMILIES])
def test_a_bomb_ends_in_one_named_error_and_little_memory(family: Callable[[], Iterator[Bomb]]) -> None:
    harms = ((bomb.name, harm(bomb.body)) for bomb in family())
    assert [(name, what) for name, what in harms if what] == []


@pytest.mark.parametrize("name", NODES)
def test_more_nodes_than_the_limit_end_in_one_named_error_and_little_memory(name: str) -> None:
    assert harm(payload(NODES[name]())) == ""


@pytest.mark.usefixtures("underneath")
@pytest.mark.parametrize("name", NODES_FOR_C)
def test_more_nodes_than_the_limit_are_refused_when_c_has_read_them_too(name: str) -> None:
    pack = NODES[name]()
    assert len(pack) <= values.DEFAULT_LIMITS.nodes_max
    assert harm(payload(pack)) == ""
