"""Classes whose objects travel in the real tests, and functions that take and return them. From Python 3.7 on."""

import dataclasses
import enum
import typing


class Colour(enum.Enum):
    """An enum."""

    RED = 1
    GREEN = "g"


@dataclasses.dataclass
class Point:
    """A dataclass."""

    x: int
    y: int
    label: str = ""


class Pair(typing.NamedTuple):
    """A named tuple."""

    left: int
    right: "Point | None" = None


def move(point: Point, by: int) -> Point:
    """Return the point, moved."""
    assert type(point) is Point
    return Point(point.x + by, point.y + by, point.label)


def swap(pair: Pair) -> Pair:
    """Return a pair with one side moved to the other."""
    assert type(pair) is Pair
    assert type(pair.right) is Point
    return Pair(pair.right.x, Point(pair.left, 0))


def other(colour: Colour) -> Colour:
    """Return the other colour."""
    assert isinstance(colour, Colour)
    return Colour.GREEN if colour is Colour.RED else Colour.RED


def point_unannounced(x: int):  # type: ignore[no-untyped-def]
    """Return a Point without saying so in an annotation."""
    return Point(x, x)
