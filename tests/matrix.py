"""Which ways to a machine were tried with what, and what of each far Python: docs/matrix.md, written by a run itself.

A plugin of pytest's. Two marks say what a test is about:

    connector(scheme)      it tries this way for real: what it tries is its name, read as a sentence
    features(name, ...)    its parameter `version` is a Python of the far side, which it tries these on. If it takes the
                           fixture `tried`, each is a `with tried(name):` within it; else there is one, the whole test

`make matrix` runs the tests that have them with --matrix=FILE. --matrix-marks=FILE writes down what the collected tests
are about, without running any: tests/test_matrix.py compares the document with that. What is recorded travels with the
reports, so that it is the same in one process and in many.
"""

import ast
import contextlib
import json
import platform
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
CONNECTOR, FEATURE, TRIALS = "connector", "feature", "trials"
SKIPPED = "skipped"
NOT_TRIED = "–"


class Trial(NamedTuple):
    """Something that was tried. kind: CONNECTOR or FEATURE. on: the scheme or the version. file: the test's.

    outcome: the seconds that it took, or SKIPPED.
    """

    kind: str
    on: str
    what: str
    file: str
    outcome: str = ""


def trials_of(item: pytest.Item) -> "list[Trial]":
    """Return what a test is about, by its marks. Raises UsageError for a mark that makes no sense."""
    if ROOT not in item.path.parents:
        return []  # a test that a test has written
    file = item.path.relative_to(ROOT).as_posix()
    sentence = item.name.partition("[")[0].removeprefix("test_").replace("_", " ")
    found = [Trial(CONNECTOR, mark.args[0], sentence, file) for mark in item.iter_markers("connector")]
    for mark in item.iter_markers("features"):
        callspec: Any = getattr(item, "callspec", None)
        params = callspec.params if callspec else {}
        in_steps = "tried" in getattr(item, "fixturenames", ())
        if "version" not in params or (len(mark.args) != 1 and not in_steps):
            raise pytest.UsageError(f"{item.nodeid}: features() needs a parameter `version`, and `tried` for several")
        found += [Trial(FEATURE, params["version"], name, file) for name in mark.args]
    return found


@pytest.fixture
def tried(request: pytest.FixtureRequest) -> "Iterator[Callable[[str], AbstractContextManager[None]]]":
    """Give what a test says of each of its features, while it tries it: `with tried("calls"):`."""
    expected = [name for mark in request.node.iter_markers("features") for name in mark.args]
    begun: list[str] = []

    @contextlib.contextmanager
    def step(name: str) -> "Iterator[None]":
        begun.append(name)
        before = time.perf_counter()
        yield
        request.node.user_properties.append((FEATURE, [name, time.perf_counter() - before]))

    yield step
    # A test that failed or was skipped amid them has its own word for that.
    assert begun == expected[: len(begun)], "the mark features() has other names, or in another order"
    report = request.node.stash.get(_PASSED, False)
    assert not report or begun == expected, "the mark features() has names that weren't tried"


_PASSED = pytest.StashKey[bool]()
_MATRIX = pytest.StashKey["Matrix"]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: "pytest.CallInfo[None]") -> "Any":
    """Have the report say what the test is about."""
    report = yield
    if report.when == "call":
        item.stash[_PASSED] = report.passed
    if report.when == "call" or (report.when == "setup" and not report.passed):
        report.user_properties.append((TRIALS, [list(trial) for trial in trials_of(item)]))
    return report


class Matrix:
    """What has come of the trials of one run."""

    def __init__(self) -> None:
        self.trials: list[Trial] = []
        self.failures: list[str] = []

    def add(self, report: pytest.TestReport) -> None:
        """Take note of a report, if there is something in it."""
        if report.failed:
            self.failures.append(report.nodeid)
        steps: dict[str, float] = {}
        for name, value in report.user_properties:
            values: Any = value
            if name == FEATURE:
                steps[values[0]] = values[1]
            for trial in [Trial(*each) for each in values] if name == TRIALS else ():
                taken = f"{report.duration:.1f}"
                if trial.kind == FEATURE:
                    taken = f"{steps.get(trial.what, report.duration):.2f}"
                self.trials.append(trial._replace(outcome=SKIPPED if report.skipped else taken))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the two options."""
    parser.addoption("--matrix", metavar="FILE", help="write what was tried of connectors and far Pythons")
    parser.addoption("--matrix-marks", metavar="FILE", help="write, as JSON, what the collected tests would try")


def pytest_configure(config: pytest.Config) -> None:
    """Begin."""
    config.stash[_MATRIX] = Matrix()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Write what the tests are about, if that is wanted."""
    path = session.config.getoption("--matrix-marks")
    if path:
        Path(path).write_text(json.dumps([trial for item in session.items for trial in trials_of(item)]))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep a report; in the process that hears of all of them, be there others or not."""
    for config in _configs:
        config.stash[_MATRIX].add(report)


_configs: "list[pytest.Config]" = []


def pytest_sessionstart(session: pytest.Session) -> None:
    """Take part in this run, if the matrix is wanted and this isn't one of several workers."""
    if session.config.getoption("--matrix") and not hasattr(session.config, "workerinput"):
        _configs.append(session.config)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the document, unless something failed: then it stays as it was."""
    if session.config not in _configs:
        return
    _configs.remove(session.config)
    matrix = session.config.stash[_MATRIX]
    if not matrix.failures and matrix.trials:
        Path(str(session.config.getoption("--matrix"))).write_text(document(matrix.trials))


# ---------------------------------------------------------------- the document

HEAD = """\
# What was tried, on which way and on which Python

Written by `make matrix`, which runs the tests for it: what is in here has passed, with real programs, servers,
containers and interpreters, in its last run. That was with {surroundings}.
The seconds are of that run, with other tests beside it on the same machine; they say what order of time a thing takes,
no more. Where a test was run several times, with other parameters, they are those of the longest.

"""


def document(trials: "Iterable[Trial]") -> str:
    """Return the document."""
    trials = list(trials)
    surroundings = f"Python {platform.python_version()} on the near side, on {platform.system()} ({platform.machine()})"
    connectors = [trial for trial in trials if trial.kind == CONNECTOR]
    features = [trial for trial in trials if trial.kind == FEATURE]
    parts = [HEAD.format(surroundings=surroundings), "## Far Pythons\n\n", *_features(features)]
    parts += ["\n## Ways to a machine\n\n", *_summary(connectors)]
    files = sorted({trial.file for trial in connectors})
    for file in files:
        parts += _tried_in(file, [trial for trial in connectors if trial.file == file])
    return "".join(parts)


def _features(trials: "list[Trial]") -> "Iterator[str]":
    names = list(dict.fromkeys(trial.what for trial in sorted(trials, key=lambda trial: trial.file)))
    versions = sorted({trial.on for trial in trials}, key=lambda text: [int(part) for part in text.split(".")])
    yield "Seconds. Python 2.7 and 3.5 are refused with a word that says so.\n\n"
    yield from _table("Python", names, {each: _cells(trials, each, names) for each in versions})


def _cells(trials: "list[Trial]", on: str, names: "list[str]") -> "list[str]":
    return [_longest([trial.outcome for trial in trials if (trial.on, trial.what) == (on, name)]) for name in names]


def _summary(trials: "list[Trial]") -> "Iterator[str]":
    rows = {}
    for scheme in sorted({trial.on for trial in trials}):
        outcomes = [trial.outcome for trial in trials if trial.on == scheme]
        taken = [float(outcome) for outcome in outcomes if outcome != SKIPPED]
        rows[f"`{scheme}`"] = [str(len(taken)), str(len(outcomes) - len(taken)), f"{sum(taken):.0f}"]
    yield from _table("way", ["tests passed", "skipped", "seconds together"], rows)


def _tried_in(file: str, trials: "list[Trial]") -> "Iterator[str]":
    docstring = ast.get_docstring(ast.parse((ROOT / file).read_text())) or file
    yield f"\n### {docstring.splitlines()[0].rstrip('.')}\n\n[{file}](../{file})\n\n"
    schemes = sorted({trial.on for trial in trials})
    rows = {}
    for what in dict.fromkeys(trial.what for trial in trials):
        mine = [[trial.outcome for trial in trials if (trial.on, trial.what) == (each, what)] for each in schemes]
        rows[what] = [_longest(outcomes) for outcomes in mine]
    yield from _table("what", [f"`{scheme}`" for scheme in schemes], dict(sorted(rows.items())))


def _longest(outcomes: "list[str]") -> str:
    taken = [outcome for outcome in outcomes if outcome != SKIPPED]
    return max(taken, key=float) if taken else outcomes[0] if outcomes else NOT_TRIED


def _table(corner: str, names: "list[str]", rows: "dict[str, list[str]]") -> "Iterator[str]":
    yield f"| {corner} | {' | '.join(names)} |\n|---|{'--:|' * len(names)}\n"
    for name, cells in rows.items():
        yield f"| {name} | {' | '.join(cells)} |\n"
