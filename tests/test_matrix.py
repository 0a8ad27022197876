"""docs/matrix.md names every connector, far Python and feature that is tried, and nothing that isn't there."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from plasmid.connect import SCHEMES
from tests import matrix
from tests.real import interpreters

ROOT = Path(__file__).parent.parent
DOCUMENT = ROOT / "docs" / "matrix.md"
# A part that only some machines have may be skipped; whoever writes the document must have them all.
CELL = re.compile(r"\d+\.\d\d?|–")


def tables() -> "list[list[list[str]]]":
    """Return the document's tables, each a list of rows, the first with the headings."""
    found: list[list[list[str]]] = [[]]
    for line in DOCUMENT.read_text().splitlines():
        if line.startswith("|---"):
            continue
        if line.startswith("| "):
            found[-1].append([cell.strip() for cell in line.strip("|").split(" | ")])
        elif found[-1]:
            found.append([])
    return [table for table in found if table]


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> "list[matrix.Trial]":
    """Give what the tests say that they are about."""
    path = tmp_path_factory.mktemp("matrix") / "marks.json"
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    command += ["-m", "(connector or features) and not heavy", f"--matrix-marks={path}", "tests/real"]
    done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return [matrix.Trial(*values) for values in json.loads(path.read_text())]


def test_the_marks_name_ways_that_there_are_and_every_way_is_tried(trials: "list[matrix.Trial]") -> None:
    assert {trial.on for trial in trials if trial.kind == matrix.CONNECTOR} == set(SCHEMES)


def test_each_feature_is_tried_on_every_supported_python(trials: "list[matrix.Trial]") -> None:
    features = [trial for trial in trials if trial.kind == matrix.FEATURE]
    for name in {trial.what for trial in features}:
        assert sorted(trial.on for trial in features if trial.what == name) == sorted(interpreters.SUPPORTED), name


def test_the_document_has_a_row_for_each_python_and_a_column_for_each_feature(trials: "list[matrix.Trial]") -> None:
    (corner, *names), *rows = tables()[0]
    assert corner == "Python"
    assert set(names) == {trial.what for trial in trials if trial.kind == matrix.FEATURE}
    assert [row[0] for row in rows] == list(interpreters.SUPPORTED)
    assert [cell for row in rows for cell in row[1:] if not CELL.fullmatch(cell)] == []


def test_the_document_has_a_row_for_each_way_and_none_for_what_is_not_tried(trials: "list[matrix.Trial]") -> None:
    _, (_, *ways), *details = tables()
    assert [row[0] for row in ways] == [f"`{scheme}`" for scheme in sorted(SCHEMES)]
    assert [row for row in ways if row[2] != "0"] == []
    there = {(f"`{trial.on}`", trial.what) for trial in trials}
    for (_, *schemes), *rows in details:
        named = [(scheme, row[0]) for row in rows for scheme, cell in zip(schemes, row[1:], strict=True) if cell != "–"]
        assert [each for each in named if each not in there] == [], "run `make matrix`"
