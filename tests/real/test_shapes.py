"""Modules of every shape that a program may have them in, sent from real programs: what runs there is what is here."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.real import interpreters

pytestmark = pytest.mark.real

HEAD = "import sys\nimport plasmid\n"
CALL = """
if __name__ == "__main__":
    with plasmid.Router() as router:
        context = router.local(python_path=sys.argv[-1])
        for function, arguments in CALLS:
            print(context.call(function, *arguments))
"""


@pytest.fixture(params=["3.6", "3.11", "3.13"])
def python(request: pytest.FixtureRequest) -> str:
    """Give the path of a far side's Python."""
    return interpreters.interpreter(request.param)


def write(folder: Path, files: "dict[str, str]") -> None:
    """Write files, given by their paths below the folder."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def run(folder: Path, *arguments: str) -> "list[str]":
    """Run Python there; return the lines that it printed."""
    environment = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=folder, env=environment)
    assert (done.stderr, done.returncode) == ("", 0), done.stdout
    return done.stdout.splitlines()


FIRM = {
    "__init__.py": "from firm.tax import rate\n",
    "tax.py": "rate = 7\n\ndef due(price):\n    from firm.deep.below import extra\n    return price * rate + extra\n",
    "deep/__init__.py": "",
    "deep/below.py": "extra = 1\n",
}

EDITABLE = """
import os
import sys
import zipfile
from setuptools import build_meta

site = sys.argv[1]  # setuptools has arguments of its own put there
os.mkdir("wheels")
name = build_meta.build_editable("wheels")
zipfile.ZipFile(os.path.join("wheels", name)).extractall(site)
"""


# U4
def test_an_editable_install_with_a_finder_of_its_own_is_sent(tmp_path: Path, python: str) -> None:
    project = {f"lib/python/{name}": text for name, text in FIRM.items()}
    project["pyproject.toml"] = (
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "firm"\nversion = "1"\n'
        '[tool.setuptools]\npackages = ["firm", "firm.deep"]\npackage-dir = {"firm" = "lib/python"}\n'
    )
    write(tmp_path / "project", project)
    # As pip does it, which unpacks this wheel among the packages of an environment.
    site = tmp_path / "site"
    subprocess.run(
        [sys.executable, "-c", EDITABLE, str(site)], cwd=tmp_path / "project", check=True, capture_output=True
    )
    assert [path.name for path in site.glob("__editable__*finder.py")] == ["__editable___firm_1_finder.py"]
    program = (
        f"import site\nsite.addsitedir({str(site)!r})\n{HEAD}from firm import tax\nCALLS = [(tax.due, [3])]\n{CALL}"
    )
    write(tmp_path, {"program.py": program})
    assert run(tmp_path, "program.py", python) == ["22"]


# U4
def test_a_zip_of_modules_is_sent_with_its_data(tmp_path: Path, python: str) -> None:
    read = "import pkgutil\n\ndef page():\n    return pkgutil.get_data('firm', 'deep/page.html').decode()\n"
    with zipfile.ZipFile(tmp_path / "firm.zip", "w") as file:
        for name, text in {**FIRM, "pages.py": read, "deep/page.html": "<p>"}.items():
            file.writestr(f"firm/{name}", text)
    program = f"import sys\nsys.path.insert(0, 'firm.zip')\n{HEAD}from firm import pages, tax\n"
    program += f"CALLS = [(tax.due, [3]), (pages.page, [])]\n{CALL}"
    write(tmp_path, {"program.py": program})
    assert run(tmp_path, "program.py", python) == ["22", "<p>"]


# U4
def test_a_program_in_a_zip_is_sent(tmp_path: Path, python: str) -> None:
    program = f"{HEAD}from firm import tax\ndef work(n):\n    return tax.due(n)\nCALLS = [(work, [3])]\n{CALL}"
    with zipfile.ZipFile(tmp_path / "program.pyz", "w") as file:
        for name, text in {**{f"firm/{name}": text for name, text in FIRM.items()}, "__main__.py": program}.items():
            file.writestr(name, text)
    assert run(tmp_path, "program.pyz", python) == ["22"]


REWRITTEN = """
import sys
import plasmid

PYTHON = {python!r}

def double(n):
    assert n > 0, "not even the assertions that pytest writes anew hinder it"
    return n * 2

class Till(plasmid.Service):
    @plasmid.expose(plasmid.AllowParents())
    def total(self, prices: list) -> int:
        assert prices
        return sum(prices)

def test_what_it_defines_is_sent():
    assert "@pytest_ar" in globals(), "pytest has rewritten this"
    with plasmid.Router() as router:
        context = router.local(python_path=PYTHON)
        assert context.call(double, 4) == 8
        assert context.service(Till).total([3, 4]) == 7
        try:
            context.call(double, -1)
        except AssertionError as error:
            assert "assert n > 0" in str(error.__cause__), "its traceback shows the line"
        else:
            raise RuntimeError
"""


# U4
@pytest.mark.parametrize("mode", ["prepend", "importlib"])
def test_a_test_module_that_pytest_has_rewritten_sends_its_own_functions(
    tmp_path: Path, python: str, mode: str
) -> None:
    write(tmp_path, {"test_own.py": REWRITTEN.format(python=python), "pytest.ini": "[pytest]\n"})
    lines = run(
        tmp_path,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        f"--import-mode={mode}",
        "test_own.py",
    )
    assert lines[-1].startswith("1 passed")


IN_MEMORY = """
import importlib.util
import types

class Loader:
    def __init__(self, text): self.text = text
    def create_module(self, spec): return None
    def exec_module(self, module): exec(self.text, module.__dict__)
    def get_source(self, name): return self.text

spec = importlib.util.spec_from_loader("made_here", Loader("def work(n):\\n    return n * 2\\n"))
made_here = importlib.util.module_from_spec(spec)
spec.loader.exec_module(made_here)
sys.modules["made_here"] = made_here

import on_disk
on_disk.rate = 70
with open("on_disk.py", "a") as file:
    file.write("more = 1\\n")

bare = types.ModuleType("bare")
exec("def work(n):\\n    return n", bare.__dict__)
sys.modules["bare"] = bare
bare.work.__module__ = "bare"
CALLS = [(made_here.work, [3]), (on_disk.work, [3])]
"""


# U4
def test_a_module_made_in_memory_is_sent_by_its_loader_and_one_changed_there_as_its_source(
    tmp_path: Path, python: str
) -> None:
    on_disk = "rate = 7\nmore = 0\n\ndef work(n):\n    return [n * rate, more]\n"
    call = CALL + "        try:\n            context.call(bare.work, 1)\n"
    call += "        except ModuleNotFoundError as error:\n            print(str(error)[:22])\n"
    write(tmp_path, {"on_disk.py": on_disk, "program.py": HEAD + IN_MEMORY + call})
    assert run(tmp_path, "program.py", python) == ["6", "[21, 1]", "No module named 'bare'"]


WALK = """
import pkgutil

def walk(name):
    package = __import__(name)
    found = [[one.name, one.ispkg] for one in pkgutil.iter_modules(package.__path__)]
    return found + [one.name for one in pkgutil.walk_packages(package.__path__, name + ".")]
"""


# U4
def test_pkgutil_finds_the_modules_of_a_package_that_was_sent(tmp_path: Path, python: str) -> None:
    program = f"{HEAD}import firm\n{WALK}\nCALLS = [(walk, ['firm'])]\n{CALL}"
    write(tmp_path, {"program.py": program, **{f"firm/{name}": text for name, text in FIRM.items()}})
    names = "['firm.deep', 'firm.deep.below', 'firm.tax']"
    expected = f"[['deep', True], ['tax', False], {names[1:]}"
    assert run(tmp_path, "program.py", python) == [expected]
