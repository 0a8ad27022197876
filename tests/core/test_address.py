"""Addresses: bytes whose prefixes are ancestors, and their text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plasmid.core import address
from plasmid.core.address import ADDRESS_SIZE_MAX, DEPTH_MAX, NUMBER_MAX, ROOT
from plasmid.core.address_text import parse

numbers = st.lists(st.integers(1, NUMBER_MAX), max_size=DEPTH_MAX)


def of(steps: "list[int]") -> bytes:
    """Return the address of these steps."""
    found = ROOT
    for step in steps:
        found = address.child(found, step)
    return found


def test_a_childs_address_is_its_parents_and_four_bytes_more() -> None:
    assert address.child(ROOT, 3) == b"\0\0\0\3"
    assert address.child(b"\0\0\0\3", 0x01020304) == b"\0\0\0\3\1\2\3\4"


def test_the_deepest_context_can_have_no_children() -> None:
    deepest = of([1] * DEPTH_MAX)
    assert len(deepest) == ADDRESS_SIZE_MAX
    with pytest.raises(ValueError) as caught:
        address.child(deepest, 1)
    assert str(caught.value) == "a context at %s can have no children: a tree is 32 deep at most" % ("/1" * 32)


@pytest.mark.parametrize("number", [-1, 0, NUMBER_MAX + 1])
def test_a_childs_number_is_one_to_four_billion(number: int) -> None:
    with pytest.raises(ValueError) as caught:
        address.child(ROOT, number)
    assert str(caught.value) == "a child's number is 1 to 4294967295, not %d" % number
    assert address.child(ROOT, NUMBER_MAX) == b"\xff\xff\xff\xff"


def test_the_root_has_no_parent_and_every_other_has_one() -> None:
    assert address.parent(ROOT) is None
    assert address.parent(of([3])) == ROOT
    assert address.parent(of([3, 1])) == of([3])


@pytest.mark.parametrize(
    ("steps", "written"), [([], "/"), ([3], "/3"), ([3, 1], "/3/1"), ([NUMBER_MAX], "/4294967295")]
)
def test_addresses_are_written_as_paths(steps: "list[int]", written: str) -> None:
    assert address.text(of(steps)) == written
    assert parse(written) == of(steps)


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("", "invalid literal for int() with base 10: ''"),
        ("3/1", "invalid literal for int() with base 10: ''"),
        ("//", "invalid literal for int() with base 10: ''"),
        ("/3/", "invalid literal for int() with base 10: ''"),
        ("x3", "that would be written /3"),
        ("/x", "invalid literal for int() with base 10: 'x'"),
        ("/+1", "that would be written /1"),
        ("/ 1", "that would be written /1"),
        ("/01", "that would be written /1"),
        ("/1_0", "that would be written /10"),
        ("/\u0663", "that would be written /3"),
        ("/\u00b2", "invalid literal for int() with base 10: '\u00b2'"),
        ("/-1", "a child's number is 1 to 4294967295, not -1"),
        ("/0", "a child's number is 1 to 4294967295, not 0"),
        ("/4294967296", "a child's number is 1 to 4294967295, not 4294967296"),
        ("/1" * 33, "a context at %s can have no children: a tree is 32 deep at most" % ("/1" * 32)),
    ],
)
def test_what_text_would_not_write_is_no_address(written: str, why: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse(written)
    assert str(caught.value) == "%r is no address such as / or /3/1: %s" % (written, why)


@given(numbers)
def test_every_address_survives_being_written(steps: "list[int]") -> None:
    assert parse(address.text(of(steps))) == of(steps)


@given(numbers, numbers)
def test_a_byte_prefix_is_a_path_prefix(one: "list[int]", other: "list[int]") -> None:
    assert of(other).startswith(of(one)) == (other[: len(one)] == one)


def test_number_below_names_the_child_towards_an_address() -> None:
    assert address.number_below(ROOT, of([3, 1])) == 3
    assert address.number_below(of([3]), of([3, 1])) == 1
    assert address.number_below(of([3]), of([3, 9, 4])) == 9


@pytest.mark.parametrize("other", [[3], [4, 1], []])
def test_number_below_is_only_for_what_lies_strictly_below(other: "list[int]") -> None:
    with pytest.raises(AssertionError):
        address.number_below(of([3]), of(other))
