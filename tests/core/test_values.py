"""Values as payloads and back. The C codec underneath is held to the same in tests/test_codec.py."""

import datetime
import decimal
import enum
import pathlib
import socket
import struct
import subprocess
import sys
import threading
import zlib
from typing import Any, NamedTuple

import pytest
from hypothesis import given

from plasmid.core import extensions, values
from plasmid.core.errors import ContextLost, RemoteError, UnsendableValue, ValueDecodeError
from tests.core.value_samples import (
    DECLARED,
    EVERY_KIND,
    Color,
    Disk,
    DiskError,
    Handle,
    any_values,
    name_of,
    outcome,
    packed,
    receive,
    send,
    shape,
)


@pytest.fixture(autouse=True)
def pure_codec() -> "Any":
    """Take the C codec away for these tests, and put back whatever was there."""
    before = values._fast_pack, values._fast_unpack
    values.install(None, None)
    yield
    values.install(*before)


def unsendable(value: Any, what: str = "value") -> str:
    """Return the text with which a value is refused."""
    with pytest.raises(UnsendableValue) as caught:
        values.encode(value, what)
    return str(caught.value)


def refused(body: bytes) -> str:
    """Return the text with which a payload is refused."""
    with pytest.raises(ValueDecodeError) as caught:
        receive(body)
    assert type(caught.value) is ValueDecodeError
    return str(caught.value)


def payload(pack: bytes, blobs: bytes = b"") -> bytes:
    """Return a payload of a pack written by hand."""
    return struct.pack(">I", len(pack)) + pack + blobs


def extension(code: int, data: bytes) -> bytes:
    """Return an extension in its widest form, which decoders take too."""
    return struct.pack(">BIB", 0xC9, len(data), code) + data


# ---------------------------------------------------------------- what arrives


@pytest.mark.parametrize("value", EVERY_KIND, ids=name_of)
def test_a_value_of_every_kind_arrives_equal_and_of_its_type(value: Any) -> None:
    # U3
    assert shape(receive(send(value))) == shape(value)


@given(any_values)
def test_any_value_arrives_equal_and_of_its_type(value: Any) -> None:
    assert shape(receive(send(value))) == shape(value)


@given(any_values)
def test_any_value_arrives_the_same_from_a_bytearray_and_from_a_memoryview(value: Any) -> None:
    body = send(value)
    for buffer in (bytearray(body), memoryview(body), memoryview(bytearray(b"__" + body))[2:]):
        assert shape(values.decode(buffer, DECLARED.get, Handle)) == shape(value)


def test_the_bytes_of_messagepack_are_those_of_its_specification() -> None:
    value = {"compact": True, "schema": 0, "list": [None, -1, -33, 200, 70000, 1.5, b"\xff"]}
    assert packed(value) == (
        b"\x83\xa7compact\xc3\xa6schema\x00\xa4list\x97\xc0\xff\xd0\xdf\xcc\xc8\xce\x00\x01\x11\x70"
        b"\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00\xc4\x01\xff"
    )


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ((1, 2), b"\xc7\x03\x02\x93\x01\x02".replace(b"\x93", b"\x92")),
        ({5}, b"\xd5\x03\x91\x05"),
        (frozenset(), b"\xd4\x04\x90"),
        (2**64, b"\xc7\x09\x05\x01" + bytes(8)),
        (-(2**64), b"\xc7\x09\x05\xff" + bytes(8)),
        (1 + 2j, b"\xd8\x06" + struct.pack(">dd", 1, 2)),
        (bytearray(b"ab"), b"\xd5\x07ab"),
        (memoryview(b"abc"), b"\xc7\x03\x08abc"),
        (datetime.datetime(2024, 2, 29, 1, 2, 3, 4), b"\xc7\x0c\x09\x07\xe8\x02\x1d\x01\x02\x03\x00\x00\x00\x04\x00"),
        (datetime.date(2024, 2, 29), b"\xd6\x0a\x07\xe8\x02\x1d"),
        (
            datetime.time(1, 2, 3, 4, datetime.timezone.utc, fold=1),
            b"\xc7\x11\x0b\x01\x02\x03\x00\x00\x00\x04\x01\x00" + bytes(8),
        ),
        (datetime.timedelta(-1, 2, 3), b"\xc7\x0c\x0c\xff\xff\xff\xff\x00\x00\x00\x02\x00\x00\x00\x03"),
        (decimal.Decimal("1.50"), b"\xd6\x0d1.50"),
        (pathlib.PurePosixPath("/a"), b"\xc7\x03\x0f\x00/a"),
        (Color.RED, b"\xc7\x25\x10\x92\xbetests.core.value_samples:Color\xa3RED".replace(b"\x25", b"\x24")),
        (Handle(20, b"\0\0\0\1"), b"\xd6\x14\x00\x00\x00\x01"),
    ],
    ids=name_of,
)
def test_extensions_are_written_as_the_table_says(value: Any, written: bytes) -> None:
    assert packed(value) == written


def test_large_bytes_and_buffers_are_sent_as_they_are_behind_the_pack() -> None:
    large, buffer, view = b"a" * 4096, bytearray(b"b" * 5000), memoryview(b"c" * 4097)
    parts = values.encode([large, buffer, view, b"small"])
    assert len(parts) == 4
    assert parts[1] is large
    assert parts[2].obj is buffer  # type: ignore[union-attr]
    assert parts[3].obj is view.obj  # type: ignore[union-attr]
    assert parts[0][:4] == struct.pack(">I", len(parts[0]) - 4)
    assert receive(b"".join(parts)) == [large, buffer, view, b"small"]


def test_bytes_below_the_limit_stay_in_the_pack() -> None:
    assert len(values.encode(b"a" * (values.BLOB_SIZE_MIN - 1))) == 1
    assert len(values.encode(b"a" * values.BLOB_SIZE_MIN)) == 2


def test_a_head_holds_its_large_bytes_in_the_pack() -> None:
    value = [b"a" * 5000, {b"k" * 5000: 1}]
    assert values.unpack(values.pack(value)) == value


def test_a_head_holds_no_extension() -> None:
    # Heads are read on the loop's thread. It can't wait for the module that knows extensions.
    for value in ((1,), bytearray(b"x"), 1 << 64, ValueError("x")):
        with pytest.raises(UnsendableValue) as sent:
            values.pack(["f", value], "head")
        assert str(sent.value) == f"head[1]: {type(value).__name__}, which a head can't hold"
        with pytest.raises(ValueDecodeError) as received:
            values.unpack(packed(["f", value]))
        assert str(received.value).endswith(", which a head can't hold")


def test_plain_values_and_blobs_that_arrive_need_no_extensions() -> None:
    # So a child needs it neither to ask its parent for that module nor for the answer, which may hold blobs.
    value = [1, "a", None, 2.5, {"k": b"x" * 9000}, bytearray(9000), {b"key": True}]
    program = (
        "import sys; from plasmid.core import values\n"
        "value = [1, 'a', None, 2.5, {'k': b'x' * 9000}, bytearray(9000), {b'key': True}]\n"
        f"import zlib; assert values.decode(zlib.decompress({zlib.compress(send(value))!r})) == value\n"
        "assert values.decode(b''.join(values.encode(value[:4]))) == value[:4]\n"
        "sys.exit('plasmid.core.extensions' in sys.modules)"
    )
    path = str(pathlib.Path(values.__file__).parents[2])
    assert subprocess.run([sys.executable, "-c", program], env={"PYTHONPATH": path}, timeout=30).returncode == 0


def test_a_strided_buffer_arrives_as_the_bytes_it_shows() -> None:
    for size in (100, 20000):
        view = memoryview(bytes(range(250)) * size)[::2]
        assert receive(send(view)) == view


def test_a_decoded_value_holds_nothing_of_the_body() -> None:
    body = bytearray(send([b"x" * 5000, memoryview(b"y" * 5000), bytearray(b"z" * 5000)]))
    value = receive(body)
    body[:] = b""  # a bytearray that is referred to can't be resized
    assert [bytes(part)[:1] for part in value] == [b"x", b"y", b"z"]


def test_a_refused_body_can_be_reused_while_its_error_is_kept() -> None:
    body = bytearray(send([b"x" * 5000, b"y" * 5000])[:-1])
    with pytest.raises(ValueDecodeError) as caught:
        receive(body)
    body[:] = b""
    assert "blob" in str(caught.value)


def test_a_zone_arrives_by_its_name() -> None:
    zoneinfo = pytest.importorskip("zoneinfo")
    zone = zoneinfo.ZoneInfo("Europe/Prague")
    for fold in (0, 1):
        value = datetime.datetime(2024, 10, 27, 2, 30, tzinfo=zone, fold=fold)
        arrived = receive(send(value))
        assert (arrived, arrived.fold, arrived.tzinfo) == (value, fold, zone)


def test_an_unknown_zone_is_refused_and_imports_nothing() -> None:
    zone = b"\x02No/Such_Zone"
    before = set(sys.modules) | {"zoneinfo", "zoneinfo._common", "zoneinfo._tzpath", "_zoneinfo"}
    text = refused(payload(extension(extensions.DATETIME, struct.pack(">HBBBBBIB", 2024, 1, 1, 0, 0, 0, 0, 0) + zone)))
    assert text == "the time zone 'No/Such_Zone' isn't known here; install tzdata, or send the time in UTC"
    assert {name for name in sys.modules if "tzdata" in name} <= before


def test_a_path_of_the_other_system_arrives_as_its_pure_class() -> None:
    arrived = receive(payload(extension(extensions.PATH, b"\x03c:\\a")))
    assert (type(arrived).__name__, str(arrived)) == ("PureWindowsPath", "c:\\a")


def test_floats_of_32_bits_and_wide_numbers_of_other_writers_are_read() -> None:
    assert receive(payload(b"\x93\xca\x3f\x80\x00\x00\xd3" + bytes(7) + b"\x05\xdc\x00\x00")) == [1.0, 5, []]


def test_a_dataclass_is_made_of_its_fields_without_its_init() -> None:
    arrived = receive(send(Disk("/var", 3, [1])))
    assert (type(arrived), vars(arrived)) == (Disk, {"path": "/var", "free": 3, "parts": [1]})


# ---------------------------------------------------------------- exceptions as values


@pytest.mark.parametrize(
    "error",
    [
        ValueError("bad", 1),
        FileNotFoundError(2, "No such file or directory", "/x"),
        OSError(18, "Invalid cross-device link", "/a", None, "/b"),
        UnicodeDecodeError("utf-8", b"abc", 1, 2, "bad byte"),
        DiskError("disk", (1, 2)),
        ContextLost("f", "db1 (/1)", "gone"),
    ],
    ids=repr,
)
def test_a_builtin_or_declared_exception_arrives_as_itself(error: Exception) -> None:
    arrived = receive(send(error))
    assert (type(arrived), arrived.args, str(arrived)) == (type(error), error.args, str(error))


def test_an_error_of_the_system_keeps_its_file_names() -> None:
    arrived = receive(send(OSError(18, "Invalid cross-device link", "/a", None, "/b")))
    assert (arrived.errno, arrived.filename, arrived.filename2) == (18, "/a", "/b")


class Unknown(Exception):
    """An exception that nobody declared."""


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt("k"), GeneratorExit(), Unknown("u", 1)], ids=repr)
def test_what_would_end_a_thread_and_what_is_unknown_arrive_as_remote_errors(error: BaseException) -> None:
    arrived = receive(send(error))
    name = type(error).__name__ if type(error) is not Unknown else "tests.core.test_values.Unknown"
    assert type(arrived) is RemoteError
    assert (arrived.type_name, arrived.text, arrived.args_sent) == (name, str(error), error.args)


def test_an_argument_that_cannot_travel_keeps_its_place() -> None:
    assert receive(send(ValueError("a", object(), "b"))).args == ("a", "<object>", "b")


def test_an_only_argument_that_cannot_travel_is_its_text() -> None:
    assert receive(send(ValueError(range(3)))).args == ("range(0, 3)",)


def test_exceptions_in_exceptions_arrive_as_they_are_until_the_levels_run_out() -> None:
    error: Exception = DiskError({"disk": [1, (2,)]})
    for _ in range(3):
        error = ValueError("outer", [error])
    assert shape(receive(send(error))) == shape(error)
    for _ in range(3):
        error = ValueError("outer", [error])
    arrived = receive(send(error))
    for _ in range(4):
        assert arrived.args[0] == "outer"
        arrived = arrived.args[1][0]
    assert arrived.args == ("outer", "<list>")


def test_an_exception_within_itself_ends() -> None:
    error = ValueError("a")
    error.args = (error, error)
    arrived = receive(send(error))
    assert type(arrived) is ValueError
    assert type(arrived.args[0]) is ValueError


def test_a_unicode_error_that_points_beyond_its_object_is_not_built() -> None:
    # str() of one reads beyond the object on some Python versions.
    pack = packed(["builtins:UnicodeDecodeError", "text", ["utf-8", b"abc", 70, 2, "r"]])
    assert type(receive(payload(extension(extensions.EXCEPTION, pack)))) is RemoteError


def test_a_syntax_error_arrives_without_its_positions() -> None:
    # Printing one makes as many marks as its positions say.
    error = SyntaxError("bad", ("f.py", 1, 1, "x y", 1, 1 << 40))
    assert receive(send(error)).args == ("bad",)


# ---------------------------------------------------------------- what can't be sent


def test_the_part_that_cannot_travel_is_named() -> None:
    with socket.socket() as one:
        assert unsendable({"rows": [1, 2, 3, one]}, "result") == "result['rows'][3]: socket"


class Odd(str):
    """A subclass of a type that travels."""

    __slots__ = ()


class Shade(enum.Flag):
    """Flags, whose combinations have no name."""

    LIGHT = 1
    DARK = 2


class Pair(NamedTuple):
    """A NamedTuple."""

    left: Any
    right: Any


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Odd("x"), "value: Odd"),
        ([1, Odd("x")], "value[1]: Odd"),
        (["\ud800"], "value[0]: str with a lone surrogate"),
        ({"\udc80": 1}, r"value['\udc80']: str with a lone surrogate"),
        ({(1, 2): 3}, "value[tuple]: a key of type tuple"),
        ({1 << 64: 3}, "value[int]: a key of type int"),
        ({1: {2.5: {b"k": threading}}}, "value[1][2.5][b'k']: module"),
        (1 << 40000, "value: int of 5001 bytes; the limit is 4096"),
        (decimal.Decimal("1." + "3" * 5000), "value: Decimal of 5002 bytes; the limit is 4096"),
        (pathlib.Path("x" * 5000), "value: PosixPath of 5001 bytes; the limit is 4096"),
        ((1, (2, {3: {object}})), "value[1][1][3][0]: type"),
        (Disk("/", 1, [object()]), "value['parts'][0]: object"),
        (Pair(1, object()), "value[1]: object"),
        (Shade.LIGHT | Shade.DARK, "value: a combination of Shade; send its .value"),
        (
            memoryview(struct.pack("3i", 1, 2, 3)).cast("i"),
            "value: memoryview of format 'i' and 1 dimensions; cast it to bytes",
        ),
        (
            datetime.datetime(2024, 1, 1, tzinfo=type("Zone", (datetime.tzinfo,), {})()),
            "value: tzinfo of type Zone; use datetime.timezone or zoneinfo",
        ),
        ([0] * 524289, "value: it has too many items, is nested too deep, or contains itself"),
    ],
    ids=name_of,
)
def test_what_cannot_travel_is_refused_with_a_reason(value: Any, text: str) -> None:
    assert unsendable(value) == text


def test_a_dataclass_whose_field_is_not_set_is_refused() -> None:
    disk = Disk("/")
    del disk.path
    assert unsendable([disk]) == "value[0]: 'Disk' object has no attribute 'path'"


def test_a_value_that_contains_itself_is_refused_with_a_short_path() -> None:
    value: dict[str, Any] = {}
    value["parent_of_all"] = [value]
    text = unsendable(value)
    assert text.startswith("value['parent_of_all'][0]['parent_of_all'][0]")
    assert text.endswith("contains itself")
    assert len(text) < 300


def nested(depth: int) -> "list[Any]":
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


def test_64_levels_travel_and_65_do_not() -> None:
    assert receive(send(nested(64))) == nested(64)
    assert "nested too deep" in unsendable(nested(65))


def test_524288_nodes_travel_and_one_more_does_not() -> None:
    value = [0] * 524288
    assert receive(send(value)) == value
    assert "more than the rest can hold" in refused(payload(b"\xdd" + struct.pack(">I", 524289) + bytes(524289)))


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize("value", [value for value in EVERY_KIND if len(send(value)) < 400], ids=name_of)
def test_every_cut_of_a_payload_is_refused(value: Any) -> None:
    body = send(value)
    for end in range(len(body)):
        refused(body[:end])
        if end > 4:
            refused(struct.pack(">I", end - 4) + body[4:end])
    refused(body + b"\0")


@pytest.mark.parametrize(
    ("pack", "text"),
    [
        (b"\xc1", "the byte 0xC1, which starts no value"),
        (b"\x82\xa1a\x01\xa1a\x02", "a map with a key twice"),
        (b"\x82\x01\x01\xc3\x02", "a map with a key twice"),
        (
            b"\x81\xc7\x01\x02\x90\x01",
            "at byte 5 of 6: 0 items, which is more than the rest can hold, or over the limit of nodes or depth",
        ),
        (b"\x81\xc7\x09\x05\x01" + bytes(8) + b"\x01", "a key of type int"),
        (b"\xd6\xff\x00\x00\x00\x00", "the unknown extension 255"),
        (extension(22, b""), "the unknown extension 22"),
        (extension(extensions.TUPLE, b"\x01"), "extension 2 without an array"),
        (extension(extensions.TUPLE, b"\x91\x01\x01"), "extension 2 of another size than its array"),
        (extension(extensions.TUPLE, b"\x92\x01") + b"\x01", "extension 2 of another size than its array"),
        (extension(extensions.SET, b"\x92\x01\x01"), "a set with an item twice"),
        (extension(extensions.SET, b"\x92\x01\xcb" + struct.pack(">d", 1)), "a set with an item twice"),
        (extension(extensions.INT, b"\x01" * 4097), "extension 5 of 4097 bytes; the limit is 4096"),
        (extension(values.BLOB, struct.pack(">BQ", 0, 1)), "a blob of 1 bytes where 0 are left"),
        (extension(extensions.UUID, bytes(15)), "at byte 21 of 21: bytes is not a 16-char string"),
        (b"\xa2\xff\xff", "at byte 3 of 3: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
        (b"\x91\xa5abc", "the value ends at byte 7 of 5, its blobs at 0 of 0"),
        (b"\x01\x01", "the value ends at byte 1 of 2, its blobs at 0 of 0"),
        (
            packed(Pair(1, 2)),
            "the class tests.core.test_values.Pair isn't declared here; "
            "call plasmid.declare(Pair), or annotate the method with it",
        ),
    ],
    ids=name_of,
)
def test_bytes_that_are_no_value_are_refused_with_a_reason(pack: bytes, text: str) -> None:
    assert refused(payload(pack)) == text


@pytest.mark.parametrize(
    "content",
    [
        {"path": "/", "free": 1},
        {"path": "/", "free": 1, "parts": [], "more": 1},
        {"path": "/", "free": 1, "Parts": []},
        ["/", 1, []],
    ],
    ids=repr,
)
def test_a_dataclass_with_other_fields_is_refused(content: Any) -> None:
    pack = packed(["tests.core.value_samples:Disk", content])
    expected = "the class 'tests.core.value_samples.Disk' has another kind or other fields here"
    assert refused(payload(extension(extensions.DATACLASS, pack))) == expected


@pytest.mark.parametrize("code", [extensions.ENUM, extensions.DATACLASS, extensions.NAMEDTUPLE])
@pytest.mark.parametrize("name", ["Color", "Disk", "Point", "DiskError"])
def test_a_declared_class_is_built_only_as_what_it_is(code: int, name: str) -> None:
    content: Any
    for content in ([], {}, "RED", "name", 5, [1, 2], None):
        pack = packed(["tests.core.value_samples:" + name, content])
        result = outcome(lambda pack=pack: receive(payload(extension(code, pack))))  # type: ignore[misc]
        fits = (code, name, content) in (
            (extensions.ENUM, "Color", "RED"),
            (extensions.NAMEDTUPLE, "Point", [1, 2]),
        )
        assert (result[0] == "value") is fits, result


def test_a_smaller_limit_is_kept() -> None:
    small = values.Limits(pack_size_max=20, nodes_max=4, depth_max=2)
    assert values.unpack(packed([[1], 2]), small) == [[1], 2]
    value: Any
    for value in (["x" * 20], [1, 2, 3, 4, 5], [[[]]]):
        with pytest.raises(ValueDecodeError):
            values.unpack(packed(value), small)
        with pytest.raises(ValueDecodeError):
            values.decode(send(value), limits=small)


def test_a_handle_means_nothing_without_a_runtime() -> None:
    with pytest.raises(ValueDecodeError) as caught:
        values.decode(send(Handle(values.HANDLE_CONTEXT, b"")))
    assert str(caught.value) == "a Context or a Sender, which has no meaning here"
