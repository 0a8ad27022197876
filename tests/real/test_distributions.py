"""Some of the distributions of tests/real/distributions.py, those that come with the tests, on a bare far side."""

from pathlib import Path

import pytest

from tests.real.distributions import CASES, attempt, bare_interpreter

pytestmark = pytest.mark.real

COME_WITH_THE_TESTS = ("rich", "Jinja2", "PyYAML", "tzdata", "Pygments", "sortedcontainers", "pluggy", "click")


# U4
def test_distributions_of_different_styles_work_on_a_bare_interpreter(tmp_path: Path) -> None:
    python_path = bare_interpreter(str(tmp_path / "bare"))
    outcomes = [attempt(case, python_path) for case in CASES if case.name in COME_WITH_THE_TESTS]
    assert [(one.case.name, one.shown) for one in outcomes] == [
        (case.name, case.shows) for case in CASES if case.name in COME_WITH_THE_TESTS
    ]
    assert len(outcomes) == len(COME_WITH_THE_TESTS)
