"""Arguments that are read in one go are what `values` would read, or are left to it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plasmid.core import values
from plasmid.service.fields import Fields

ITEMS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=300) | st.binary()
OF_CLASS: "dict[type, Any]" = {
    str: st.text(max_size=300),
    int: st.integers(-(1 << 63), (1 << 64) - 1),
    bool: st.booleans(),
    float: st.floats(allow_nan=False),
}
FIELD = st.tuples(st.text(max_size=35), st.sampled_from(list(OF_CLASS)), st.booleans())
SHORT_MAPS = st.dictionaries(st.text(max_size=5), ITEMS, max_size=4)
FIELDS = st.lists(FIELD, max_size=17, unique_by=lambda field: field[0])


def payload_of(value: Any) -> bytes:
    return b"".join(values.encode(value))


@given(FIELDS, st.data())
def test_fields_read_a_map_of_their_keys_in_their_order_and_some_may_lack(fields: Any, data: Any) -> None:
    given = [field for field in fields if not field[2] or data.draw(st.booleans())]
    value = {name: data.draw(OF_CLASS[kind]) for name, kind, _ in given}
    is_long = any(isinstance(item, str) and len(item.encode()) > 255 for item in value.values())
    # Text tells 1 from True, and 0.0 from -0.0, as equality doesn't.
    found = repr(Fields(fields).read(payload_of(value)))
    assert found == repr(NotImplemented if is_long or len(value) > 15 else value)


@given(FIELDS, SHORT_MAPS, st.integers(0, 200), st.integers(0, 255), st.data())
def test_fields_read_nothing_that_values_would_read_otherwise(
    fields: Any, value: Any, where: int, byte: int, data: Any
) -> None:
    value.update({name: data.draw(OF_CLASS[kind]) for name, kind, _ in fields if data.draw(st.booleans())})
    whole = payload_of(value)
    where %= len(whole)
    changed = whole[:where] + bytes([byte]) + whole[where + 1 :]
    for each in (whole, whole[:where], changed, changed + b"\0"):
        found = Fields(fields).read(each)
        if found is not NotImplemented:
            assert repr(found) == repr(values.decode(each))
            assert all(type(found[name]) is kind for name, kind, _ in fields if name in found)
            assert set(found) <= {name for name, _, _ in fields}
            assert set(found) >= {name for name, _, may_lack in fields if not may_lack}


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"n": True},
        {"n": 1.0},
        {"n": None},
        {"n": "1"},
        {"text": "a", "n": 1},
        {"n": 1, "other": 2},
        {"n": 1, "text": "a" * 256},
        [],
        {"n": 1 << 64},
    ],
)
def test_what_is_no_such_map_is_left_to_values(value: Any) -> None:
    assert Fields([("n", int, False), ("text", str, True)]).read(payload_of(value)) is NotImplemented


def test_a_key_that_comes_twice_is_no_such_map() -> None:
    fields = Fields([("n", int, False)])
    assert fields.read(b"\0\0\0\4\x81\xa1n\5") == {"n": 5}
    assert fields.read(b"\0\0\0\7\x82\xa1n\5\xa1n\6") is NotImplemented
    assert fields.read(bytearray(b"\0\0\0\4\x81\xa1n\5")) is NotImplemented
