"""Results as JSON, and errors as text."""

import dataclasses
import datetime
import decimal
import enum
import json
import pathlib
import uuid
from typing import Any, NamedTuple

import pytest

import plasmid
from plasmid.cli import statuses
from plasmid.cli.output import as_json, describe, document_of


class Colour(enum.Enum):
    """An enum."""

    RED = 1


class Pair(NamedTuple):
    """A named tuple."""

    left: int
    right: "set[str]"


@dataclasses.dataclass
class Disk:
    """A dataclass."""

    path: pathlib.Path
    pair: Pair


@pytest.mark.parametrize(
    ("value", "document"),
    [
        (None, None),
        (True, True),
        (2**53, 2**53),
        (2**53 + 1, "9007199254740993"),
        (1.5, 1.5),
        (float("inf"), "inf"),
        ((1, [2]), [1, [2]]),
        ({3, 1, 2}, [1, 2, 3]),
        ({1: 2, None: 3, "x": 4, b"k": 5}, {"1": 2, "null": 3, "x": 4, "k": 5}),
        (b"text", "text"),
        (b"\xff\x00", "/wA="),
        (datetime.date(2024, 5, 6), "2024-05-06"),
        (datetime.datetime(2024, 5, 6, 7, 8), "2024-05-06T07:08:00"),
        (decimal.Decimal("1.10"), "1.10"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (2j, "2j"),
        (Colour.RED, "RED"),
        (Disk(pathlib.Path("/x"), Pair(1, {"r"})), {"path": "/x", "pair": {"left": 1, "right": ["r"]}}),
        (ValueError("bad"), "ValueError: bad"),
    ],
    ids=repr,
)
def test_every_kind_of_result_has_a_form_in_json(value: Any, document: Any) -> None:
    assert json.loads(json.dumps(as_json(value))) == document


def test_a_lost_context_is_told_as_plasmid_tells_it() -> None:
    error = plasmid.ContextLost("f.f", "web1 (/1)", "/1 was lost")
    document = document_of("web1", "web1", None, error, 1.0)
    assert document == {
        "target": "web1",
        "context": "web1",
        "status": 4,
        "result": None,
        "error": {"type": "ContextLost", "text": str(error), "traceback": None},
        "seconds": 1.0,
    }


def test_an_error_from_afar_is_told_with_its_traceback() -> None:
    error = KeyError("k")
    error.__cause__ = plasmid.RemoteError("KeyError", "'k'", "Traceback ...\nKeyError: 'k'\n", "web1 (/1)")
    assert describe(error) == "KeyError: 'k'\nTraceback ...\nKeyError: 'k'"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (None, 0),
        (KeyError(), 1),
        (TimeoutError(), 1),
        (plasmid.RemoteError("x", "y"), 1),
        (plasmid.Refused("f"), 1),
        (plasmid.UnsendableValue("a", "b"), 1),
        (plasmid.ConnectError("t", "s", "f"), 3),
        (plasmid.ContextLost("f"), 4),
        (plasmid.DeadlineExceeded("f"), 4),
        (plasmid.NotSent("f"), 4),
    ],
    ids=repr,
)
def test_each_error_has_its_exit_status(error: "BaseException | None", status: int) -> None:
    assert statuses.status_of(error) == status
