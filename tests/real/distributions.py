"""Try well-known distributions on a far side that has none of them, and write down which work.

    python -m tests.real.distributions FOLDER [PAGE]    prints the table, and writes it into the page

FOLDER is where they are installed, on the near side alone: `pip install --target FOLDER -r tests/distributions.txt`.
`make distributions` does both. A few of them come with the tests, and tests/real/test_distributions.py tries those.
"""

import importlib.metadata
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import plasmid
from tests.real import far_distributions, interpreters

CALL_TIMEOUT_S = 60.0


class Case(NamedTuple):
    """A distribution. use: the function that uses it. shows: what that must return. style: what is special about it."""

    name: str
    use: str
    shows: str
    style: str


CASES = (
    Case("rich", "rich", "web1 │ 7", "lazy imports"),
    Case("Jinja2", "jinja2", "<a><&amp;>", "compiles templates; a compiled part in MarkupSafe that isn't needed"),
    Case("requests", "requests", "http://web1/x?q=%C3%A4", "imports much at once; checks versions"),
    Case("certifi", "certifi", "True", "a data file wanted as a path"),
    Case("attrs", "attrs", "Point(x=7)", "makes code"),
    Case("packaging", "packaging", "True", "plain"),
    Case("PyYAML", "pyyaml", "{'a': [1, {'b': 2}]}", "a compiled part that isn't needed"),
    Case("jsonschema", "jsonschema", "False", "lazy imports, data files"),
    Case("tzdata", "tzdata", "TZif", "data alone"),
    Case("pytz", "pytz", "2:00:00", "data files"),
    Case("python-dateutil", "dateutil", "2024-02-02", "lazy imports"),
    Case("Markdown", "markdown", "<table>", "entry points"),
    Case("Pygments", "pygments", '<div class="highlight">', "imports by name"),
    Case("docutils", "docutils", "<!DOC", "imports by name, data files"),
    Case("mistune", "mistune", "<p><strong>a</strong></p>", "plain"),
    Case("tabulate", "tabulate", "a  1", "one file; metadata at import"),
    Case("tqdm", "tqdm", "6", "metadata at import"),
    Case("tomlkit", "tomlkit", "a = 2 # one", "plain"),
    Case("babel", "babel", "1.234,5", "data files"),
    Case("sqlparse", "sqlparse", "SELECT 1", "plain"),
    Case("networkx", "networkx", "[0, 1, 2, 3]", "lazy imports, entry points at import"),
    Case("mpmath", "mpmath", "1.4142135623730950488", "plain"),
    Case("more-itertools", "more_itertools", "[[1, 2], [3]]", "plain"),
    Case("sortedcontainers", "sortedcontainers", "[1, 3]", "makes code"),
    Case("bottle", "bottle", "7", "one file"),
    Case("Flask", "flask", "open", "imports much at once, lazy attributes"),
    Case("typer", "typer", "hi", "depends on rich and click"),
    Case("zope.interface", "zope_interface", "True", "a namespace package; a compiled part that isn't needed"),
    Case("jaraco.text", "jaraco_text", "TrueLorem", "a namespace package, data files at import"),
    Case("lark", "lark", "7", "data files by pkgutil"),
    Case("pyparsing", "pyparsing", "['1', '+', '2']", "plain"),
    Case("humanize", "humanize", "3.0 kB", "metadata at import"),
    Case("arrow", "arrow", "2024-03-01", "imports many languages"),
    Case("beautifulsoup4", "bs4", "c", "plug-ins"),
    Case("html5lib", "html5lib", "a", "plain"),
    Case("pluggy", "pluggy", "[7]", "plain"),
    Case("stevedore", "stevedore", "none", "entry points"),
    Case("Faker", "faker", "True", "looks for its modules in folders"),
    Case("click", "click", "hi", "plain"),
    Case("simplejson", "simplejson", '{"a": 1}', "a compiled part that isn't needed"),
)


class Outcome(NamedTuple):
    """What came of one.

    shown: what the function returned, or the error; modules: how many were sent; requires: what was installed for it.
    """

    case: Case
    works: bool
    shown: str
    modules: int
    requires: str = ""


ADVICE = re.compile(r"requires=\['([\w.-]+)'\]")


def attempt_as_advised(case: Case, python_path: str) -> Outcome:
    """Use a distribution in a context of its own; once more with what the error says is to be installed, if it does."""
    outcome = attempt(case, python_path)
    advice = ADVICE.search(outcome.shown)
    return attempt(case, python_path, advice[1]) if advice and not outcome.works else outcome


def attempt(case: Case, python_path: str, requires: str = "") -> Outcome:
    """Use a distribution in a context of its own."""
    with plasmid.Router() as router:
        context = router.local(python_path=python_path, requires=[requires] if requires else [])
        before = router.modules.sent_to(context.address)[0]
        try:
            with plasmid.timeout(CALL_TIMEOUT_S):
                shown = str(context.call(getattr(far_distributions, case.use)))
            works = shown == case.shows
        except Exception as error:  # noqa: BLE001 - whatever the distribution raises is the outcome
            works, shown = False, f"{type(error).__name__}: {error}".partition("\n")[0]
        return Outcome(case, works, shown, router.modules.sent_to(context.address)[0] - before, requires)


def bare_interpreter(folder: str) -> str:
    """Return an interpreter that has nothing but the standard library, made in the folder."""
    subprocess.run([interpreters.interpreter("3.11"), "-m", "venv", "--without-pip", folder], check=True)
    return f"{folder}/bin/python"


def row(outcome: Outcome) -> str:
    """Return one line of the table."""
    case = outcome.case
    version = importlib.metadata.version(case.name)
    shown = outcome.shown.replace(sys.path[0], "").replace("|", "\\|")[:240]
    result = "works" if outcome.works else f"no: {shown}"
    result += f" with `requires=[{outcome.requires!r}]`" if outcome.requires else ""
    return f"| {case.name} {version} | {case.style} | {outcome.modules} | {result} |"


HEAD = """# Which distributions work on a far side

`make distributions` made this table: it installs %d well-known distributions on the near side alone, uses each for
something real in a context of its own, on a Python %s that has the standard library and nothing else, and notes what
came of it. The uses are in `tests/real/far_distributions.py`. What doesn't work without help falls into three kinds:

- Code that opens files beside itself by `__file__` finds none. `importlib.resources`, `importlib.metadata` and
  `pkgutil` work.
- Compiled modules aren't sent. [`requires=`](how-to/environments.md) installs what needs them. Where an error said so,
  that was done; all else was sent.
- A module that is imported by a name made up while the program runs isn't permitted until
  [`allow_modules=`](how-to/modules.md) names it.

| distribution | what is special about it | modules sent | |
|---|---|--:|---|
"""


def main() -> None:
    """Try all, print what came of each, and write the page if its path is given."""
    sys.path.insert(0, os.path.abspath(sys.argv[1]))
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = f"{folder}/cache"
        python_path = bare_interpreter(f"{folder}/python")
        version = subprocess.run([python_path, "-V"], capture_output=True, text=True, check=True).stdout.split()[1]
        outcomes = []
        for case in CASES:
            outcomes.append(attempt_as_advised(case, python_path))
            print(row(outcomes[-1]), flush=True)
    count = sum(outcome.works for outcome in outcomes)
    if sys.argv[2:]:
        page = HEAD % (len(CASES), version) + "".join(row(outcome) + "\n" for outcome in outcomes)
        Path(sys.argv[2]).write_text(f"{page}\n{count} of {len(CASES)} work.\n")


if __name__ == "__main__":
    main()
