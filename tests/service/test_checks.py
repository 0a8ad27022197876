"""Annotations of every spelling mean the same checks, as objects and as text."""

# The older spellings are what is tested.
# ruff: noqa: UP006, UP007, UP035, UP045

import collections.abc
import dataclasses
import datetime
import decimal
import enum
import pathlib
import typing
from typing import Annotated, Any, Dict, List, Literal, NamedTuple, NewType, Optional, Tuple, TypeVar, Union

import pytest

from plasmid.service.checks import declared_classes, from_annotation
from plasmid.service.methods import Check

T = TypeVar("T")
Bytes = NewType("Bytes", int)


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Level(enum.IntEnum):
    LOW = 1


class Point(NamedTuple):
    x: int
    y: "Optional[Colour]" = None


@dataclasses.dataclass
class Node:
    name: str
    children: "list[Node]" = dataclasses.field(default_factory=list)
    kind: typing.ClassVar[str] = "node"


class Options(typing.TypedDict, total=False):
    depth: int
    inner: "Options"


class Needed(typing.TypedDict):
    name: str


class DbError(Exception):
    pass


class Shape(typing.Protocol):
    def area(self) -> float: ...


def check(annotation: Any) -> Check:
    return from_annotation(annotation, [globals()])


NOT_SENT = object()
FITS = [
    (int, [0, -(2**70), Level.LOW], [True, 1.0, "1", None, b"1"]),
    (bool, [True], [1, None]),
    (float, [1.5, 1, float("nan")], [True, "1", 1j]),
    (complex, [1j, 1.0, 1], [True, "1"]),
    (str, ["", "x"], [b"x", None]),
    (bytes, [b""], ["", bytearray(b""), memoryview(b"")]),
    (None, [None], [0, "None"]),
    ("None", [None], [0]),
    (Any, [None, 1, NOT_SENT], []),
    (object, [None, 1, NOT_SENT], []),
    (T, [None, 1], []),
    (Bytes, [1], ["1", True]),
    (Annotated[int, "bytes"], [1], ["1"]),
    (Optional[int], [1, None], ["1", True]),
    (Union[int, str], [1, "1"], [None, 1.0, b"1"]),
    (int | None, [1, None], ["1"]),
    (Literal[1, "a", None, -1], [1, "a", None, -1], [True, 1.0, "b", 2, "1"]),
    ("Literal[1, 'a', None, -1]", [1, "a", None, -1], [True, 1.0, "b", 2]),
    (Literal[Colour.RED], [Colour.RED], [Colour.BLUE, 1]),
    (list, [[], [1, "a"]], [(), None]),
    (List, [[], [1, "a"]], [()]),
    (List[int], [[], [1]], [[1, "a"], (1,), [True]]),
    (list[int], [[], [1]], [[1, "a"], (1,)]),
    ("list[int]", [[], [1]], [[1, "a"], (1,)]),
    ("List['int']", [[], [1]], [[1, "a"], (1,)]),
    (List["int"], [[1]], [["a"]]),
    (dict[str, int], [{}, {"a": 1}], [{"a": "1"}, {1: 1}, []]),
    (Dict[str, List[int]], [{"a": [1]}], [{"a": [None]}, {"a": 1}]),
    (set[int], [set(), {1}], [{"a"}, frozenset({1})]),
    (frozenset[int], [frozenset({1})], [{1}]),
    (tuple, [(), (1, "a")], [[]]),
    (Tuple[int, str], [(1, "a")], [(1,), (1, 2), [1, "a"], (1, "a", 2)]),
    ("tuple[int, str]", [(1, "a")], [(1,), (1, 2)]),
    (tuple[int, ...], [(), (1, 2)], [(1, "a"), [1]]),
    ("Tuple[int, ...]", [(), (1, 2)], [(1, "a")]),
    (collections.abc.Sequence[int], [[1], (1,)], [{1}, ["a"]]),
    (typing.Mapping[str, int], [{"a": 1}], [{"a": "b"}, []]),
    (typing.Iterable, [[], {}, ""], [1]),
    (Colour, [Colour.RED], [1, "RED", Level.LOW]),
    (pathlib.Path, [pathlib.Path("/")], ["/", pathlib.PureWindowsPath("/")]),
    (datetime.datetime, [datetime.datetime(2020, 1, 1)], [datetime.date(2020, 1, 1)]),
    ("decimal.Decimal", [decimal.Decimal(1)], [1]),
    (Point, [Point(1), Point(1, Colour.RED)], [Point("1"), Point(1, "RED"), (1, None)]),  # type: ignore[arg-type]
    (Node, [Node("a", [Node("b")])], [Node(1), Node("a", [Node(b"b")]), Node("a", ["b"]), "a"]),  # type: ignore[arg-type, list-item]
    ("Node | int | None", [Node("a"), 1, None], ["a", Node(1)]),  # type: ignore[arg-type]
    (Options, [{}, {"depth": 1}, {"inner": {"depth": 1}}], [{"depth": "1"}, {"x": 1}, {"inner": {"depth": "1"}}, []]),
    (Needed, [{"name": "a"}], [{}, {"name": 1}]),
    (DbError, [DbError()], [ValueError()]),
    ("'int'", [1], ["1"]),
    (" int ", [1], ["1"]),
]


# S17
@pytest.mark.parametrize(("annotation", "fit", "misfit"), FITS, ids=[str(row[0]) for row in FITS])
def test_an_annotation_lets_through_what_it_says_and_nothing_else(annotation: Any, fit: Any, misfit: Any) -> None:
    made = check(annotation)
    assert [made.wrong(value, "argument 'x'") for value in fit] == [None] * len(fit)
    assert [value for value in misfit if made.wrong(value, "argument 'x'") is None] == []


@pytest.mark.parametrize(
    ("annotation", "value", "message"),
    [
        (int, True, "x: expected int, got bool"),
        (Optional[int], "1", "x: expected int or None, got str"),
        ("None | str | int", b"", "x: expected str or int or None, got bytes"),
        (Dict[str, List[int]], {"a\x1b": [1, None]}, "x['a\\x1b'][1]: expected int, got None"),
        (Dict[str, int], {2**200: 1}, "x, key a value of type int: expected str, got int"),
        (Optional[List[int]], ["a"], "x[0]: expected int, got str"),
        (Tuple[int, str], (1,), "x: expected tuple[int, str], got a tuple of 1"),
        (tuple[int, ...], [1], "x: expected tuple[int, ...], got list"),
        (Literal["a", 1], "b" * 100, "x: expected one of 'a', 1, got 'bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb'"),
        (Node, Node("a", [Node(1)]), "x.children[0].name: expected str, got int"),  # type: ignore[arg-type]
        (Options, {"size": 1}, "x: Options has no key 'size'"),
        (Needed, {}, "x: the key 'name' of Needed is missing"),
    ],
)
def test_an_error_names_the_part_what_was_expected_and_what_came(annotation: Any, value: Any, message: str) -> None:
    assert check(annotation).wrong(value, "x") == message


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        ("Missing", "the name 'Missing' is not defined"),
        ("nowhere.Missing", "the name 'Missing' is not defined"),
        ("int(", "'int(' is no annotation"),
        ("open('/etc/passwd')", "an annotation can't hold syntax of the kind Call"),
        ("[int]", "an annotation can't hold syntax of the kind List"),
        ("int" + " | int" * 2000, "it is 12003 characters long"),
        (3, "3 is not a kind of value that can be checked"),
        (Optional, "Optional needs its [...]"),
        (Shape, "Shape is a Protocol, which says nothing of data"),
    ],
)
def test_an_annotation_that_cannot_be_checked_is_an_error(annotation: Any, message: str) -> None:
    with pytest.raises(TypeError) as error:
        check(annotation)
    assert str(error.value) == message


def test_names_that_were_imported_for_type_checkers_only_still_mean_what_they_mean() -> None:
    made = from_annotation("Optional[Dict[str, typing.Sequence[int]]]", [{}])
    assert made.text == "dict[str, Sequence[int]] or None"


def test_classes_within_annotations_are_declared_by_their_name_on_the_wire() -> None:
    checks = [
        check(annotation) for annotation in ("dict[str, Node] | None", Tuple[Point, ...], DbError, Literal[Level.LOW])
    ]
    lookup = declared_classes(checks)
    assert lookup is not None
    names = ["Node", "Point", "Colour", "DbError", "Level", "Options"]
    assert [lookup(f"{__name__}:{name}") for name in names] == [Node, Point, Colour, DbError, Level, None]
    assert declared_classes([check("list[int]"), check(Options), check(Any)]) is None
