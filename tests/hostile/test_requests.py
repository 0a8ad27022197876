"""A hostile child asks for modules, methods and contexts that aren't its to have, and gets none."""

import importlib.abc
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.hostile import bad_values
from tests.hostile.raw_child import scene

pytestmark = pytest.mark.real


class Tripwire(importlib.abc.MetaPathFinder):
    """Stands first in this process's import system and notes the names that are looked for."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def find_spec(self, fullname: str, path: "Sequence[str] | None", target: "ModuleType | None" = None) -> None:
        self.names.append(fullname)


@pytest.fixture
def tripwire() -> "Iterator[Tripwire]":
    """Give a Tripwire that is in place during the test."""
    wire = Tripwire()
    sys.meta_path.insert(0, wire)
    yield wire
    sys.meta_path.remove(wire)


# D12, U4
def test_no_module_goes_to_a_child_that_was_not_asked_to_run_it(tmp_path: Path, tripwire: Tripwire) -> None:
    with scene(tmp_path) as played:
        loaded = set(sys.modules)
        played.attack("modules_not_given")
        answers: list[list[Any]] = played.reports()
        names = [name for name, _ in answers]
        hostile = bad_values.hostile_names()
        assert len(hostile) >= 1000
        assert names[: len(hostile)] == hostile
        assert [answer for answer in answers if isinstance(answer[1], list) and answer[1] != []] == []
        assert [answer[1] for answer in answers if isinstance(answer[1], str)] == ["Refused"] * 9
    # Modules that were loaded before tell nothing. Any child may have Plasmid's own, so those are looked for.
    asked = {name for name in hostile if name not in loaded and not name.startswith("plasmid.")}
    assert [name for name in tripwire.names if name in asked] == []
    assert [name for name in hostile if name in sys.modules and name not in loaded] == []


# S1, D12
def test_nothing_is_reached_that_is_not_exposed(tmp_path: Path) -> None:
    with scene(tmp_path) as played:
        played.attack("everything_not_exposed")
        answers = played.reports()
        assert len(answers) > 20
        assert [answer for answer in answers if answer[1] not in ("Refused", "ProtocolError", "Remote")] == []
