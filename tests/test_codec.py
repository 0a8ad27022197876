"""The C codec gives what the pure one gives: the same bytes, equal values of the same types, the same refusals."""

import struct
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import example, given, settings

from plasmid import codec
from plasmid.core import values
from plasmid.core.values import Limits
from tests.core.value_samples import (
    DECLARED,
    EVERY_KIND,
    INTERESTING,
    Handle,
    hostile_bodies,
    mixed_values,
    name_of,
    outcome,
    packed,
    plain_values,
    send,
)

SMALL = Limits(pack_size_max=2000, nodes_max=30, depth_max=3)


@pytest.fixture(autouse=True)
def installed_codec() -> Iterator[None]:
    """Put back after a test what was underneath before."""
    before = values._fast_pack, values._fast_unpack
    yield
    values.install(*before)


def both(act: "Callable[[], Any]") -> "tuple[Any, Any]":
    """Return the outcome with the C codec and without."""
    values.install(codec.pack_plain, codec.unpack_plain)  # on 3.12 too, where codec.install() leaves decoding alone
    fast = outcome(act)
    values.install(None, None)
    return fast, outcome(act)


def assert_same_encoding(value: Any) -> None:
    for fast, pure in (both(lambda: values.encode(value, "result")), both(lambda: values.pack(value))):
        assert fast == pure


def assert_same_decoding(body: bytes) -> None:
    for limits in (values.DEFAULT_LIMITS, SMALL):
        fast, pure = both(lambda limits=limits: values.decode(body, DECLARED.get, Handle, limits))  # type: ignore[misc]
        assert fast == pure
        fast, pure = both(lambda limits=limits: values.unpack(body[4:], limits))  # type: ignore[misc]
        assert fast == pure


@pytest.mark.parametrize("value", EVERY_KIND, ids=name_of)
def test_every_kind_of_value_is_written_and_read_alike(value: Any) -> None:
    assert_same_encoding(value)
    assert_same_encoding([[value], {"k": value}])
    assert_same_decoding(send(value))
    assert_same_decoding(send([[value], {"k": value}]))


@settings(max_examples=300)
@given(mixed_values)
def test_any_value_is_written_alike_or_refused_alike(value: Any) -> None:
    assert_same_encoding(value)


@settings(max_examples=300)
@given(plain_values)
def test_any_plain_value_is_read_alike(value: Any) -> None:
    values.install(None, None)
    assert_same_decoding(send(value))


@settings(max_examples=1000)
@given(hostile_bodies())
@example(struct.pack(">I", 6) + b"\xd6\xff\0\0\0\0")
@example(struct.pack(">I", 15) + b"\xc7\x0c\xff" + bytes(12))
@example(struct.pack(">I", 7) + b"\x82\xa1a\x01\xa1a\x01")
@example(struct.pack(">I", 65) + b"\x91" * 64 + b"\x90")
@example(struct.pack(">I", 64) + b"\x91" * 63 + b"\x90")
@example(struct.pack(">I", 0))
def test_hostile_bytes_are_read_alike_or_refused_alike(body: bytes) -> None:
    assert_same_decoding(body)


@pytest.mark.parametrize("piece", INTERESTING, ids=repr)
def test_an_odd_piece_anywhere_is_read_alike_or_refused_alike(piece: bytes) -> None:
    pack = send([[1, "a", {"k": 2.5, "l": [None, True]}], {"m": "text", "n": -70000}])[4:]
    for at in range(len(pack) + 1):
        for changed in (pack[:at] + piece + pack[at:], pack[:at] + piece + pack[at + len(piece) :]):
            assert_same_decoding(struct.pack(">I", len(changed)) + changed)


def nested(depth: int, inner: Any) -> Any:
    for level in range(depth):
        inner = [inner] if level % 2 else {"k": inner}
    return inner


@pytest.mark.parametrize("beside", [None, list(range(100)), [[]] * 100, "\u0390" * 100], ids=name_of)
@pytest.mark.parametrize("depth", [62, 63, 64, 65, 600, 2000])
def test_depth_is_counted_alike_with_and_without_much_beside(depth: int, beside: Any) -> None:
    assert_same_encoding([beside, nested(depth, 1)]) if depth < 600 else assert_same_encoding(nested(depth, beside))
    pack = (
        b"\x92" + packed(beside) + b"\x81\xa1k\x91" * (depth // 2) + b"\x90" * (depth % 2) + b"\x01" * (1 - depth % 2)
    )
    assert_same_decoding(struct.pack(">I", len(pack)) + pack)


@pytest.mark.parametrize("size", [524286, 524287, 524288, 524289])
def test_nodes_are_counted_alike(size: int) -> None:
    value = [0] * size
    assert_same_encoding(value)
    pack = b"\xdd" + struct.pack(">I", size) + bytes(size)
    values.install(codec.pack_plain, codec.unpack_plain)
    fast = outcome(lambda: len(values.unpack(pack)))
    values.install(None, None)
    assert fast == outcome(lambda: len(values.unpack(pack)))
    assert_same_encoding([{}] * (size // 2))


def test_install_puts_c_underneath() -> None:
    codec.install()
    assert values._fast_pack is codec.pack_plain
    # C interns every key of a map, and 3.12 never frees what was interned.
    assert values._fast_unpack is (None if sys.version_info[:2] == (3, 12) else codec.unpack_plain)


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, 5, 2**64 - 1, -(2**63), 1.5, "text", [], {}, [["/var", 5], {"follow": True}], {1: 2, None: 3}),
        *([{"id": n, "name": f"row {n}", "size": n * 1.5} for n in range(5000)], [[b"small"]], "x" * 1_000_000),
    ],
    ids=name_of,
)
def test_plain_values_are_done_by_c(value: Any) -> None:
    # Else the tests above would hold the pure code to itself.
    pack = codec.pack_plain(value)
    assert pack == values.pack(value)
    if len(pack) <= values.DEFAULT_LIMITS.nodes_max:
        assert codec.unpack_plain(pack, values.DEFAULT_LIMITS) == value


def test_a_bytearray_and_large_bytes_deep_within_are_left_to_the_pure_code() -> None:
    for part in (bytearray(b"x"), memoryview(b"x"), b"x" * 4096, (1,), {1}):
        value = [[[[[part]]]]]
        assert codec.pack_plain(value) is NotImplemented
        assert_same_encoding(value)
