"""The codec of short maps gives what `values` does, or leaves it to that."""

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plasmid.core import short_values, values
from plasmid.core.errors import ValueDecodeError

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=300)
ITEMS = SCALARS | st.binary(max_size=5) | st.lists(st.integers(), max_size=2)
MAPS = st.dictionaries(st.text(max_size=35) | st.integers() | st.booleans(), ITEMS, max_size=17)


def packed(value: Any) -> "bytes | None":
    """Return the pack of a value as the pure code makes it, None if it can't travel."""
    try:
        return bytes(values.write(value, "value", None))
    except TypeError:
        return None


def unpacked(data: bytes) -> Any:
    """Return [the value] of a pack as the pure code reads it, the class of what it raises if it can't be read."""
    reader = values.Reader(data, None, None, None, values.DEFAULT_LIMITS)
    try:
        value = reader.read(64)
    except (ValueDecodeError, ValueError, IndexError, struct.error):
        return None
    return [value] if reader.pos == len(data) else None


@given(MAPS | SCALARS)
def test_a_value_is_packed_as_values_would_or_left_to_it(value: Any) -> None:
    found = short_values.pack_short(value)
    assert found is NotImplemented or bytes(found) == packed(value)


@given(
    st.dictionaries(
        st.text(max_size=5), st.booleans() | st.integers(-32, (1 << 64) - 1) | st.text(max_size=40), max_size=15
    )
)
def test_a_short_map_of_scalars_is_not_left_to_it(value: Any) -> None:
    data = short_values.pack_short(value)
    assert data is not NotImplemented
    if not any(isinstance(item, str) and len(item.encode()) > 31 for item in value.values()):
        assert short_values.unpack_short(bytes(data), values.DEFAULT_LIMITS) == value


@given(MAPS, st.integers(0, 200), st.integers(0, 255))
def test_a_pack_with_a_byte_changed_is_read_as_values_would_or_left_to_it(value: Any, where: int, byte: int) -> None:
    data = packed(value)
    if data:
        where %= len(data)
        changed = data[:where] + bytes([byte]) + data[where + 1 :]
        for each in (data, data[:where], changed, changed + b"\0"):
            found = short_values.unpack_short(each, values.DEFAULT_LIMITS)
            # Text tells NaN from NaN, and 1 from True, as equality doesn't.
            assert found is NotImplemented or repr([found]) == repr(unpacked(each))


@given(st.binary(max_size=40))
def test_bytes_of_any_kind_are_read_as_values_would_or_left_to_it(data: bytes) -> None:
    found = short_values.unpack_short(data, values.DEFAULT_LIMITS)
    assert found is NotImplemented or repr([found]) == repr(unpacked(data))


@pytest.mark.parametrize(
    "value",
    [
        {"a": "\ud800"},
        {"\ud800": 1},
        {1: 2},
        {"a" * 32: 1},
        dict.fromkeys("abcdefghijklmnop", 1),
        {"a": 1 << 64},
        {"a": -33},
        [1],
        5,
    ],
)
def test_what_is_no_short_map_of_scalars_is_left_to_values(value: Any) -> None:
    assert short_values.pack_short(value) is NotImplemented


def test_a_key_that_comes_twice_is_left_to_values() -> None:
    assert short_values.unpack_short(b"\x82\xa1a\x01\xa1a\x02", values.DEFAULT_LIMITS) is NotImplemented


def test_limits_of_ones_own_are_left_to_values() -> None:
    assert short_values.unpack_short(b"\x81\xa1a\x01", values.Limits(nodes_max=1)) is NotImplemented
