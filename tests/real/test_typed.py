"""Programs that nobody saved: given by -c or as standard input, typed into IPython or at Python's own prompt."""

import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

import plasmid
from tests.real import interpreters

pytestmark = pytest.mark.real

BY_COMMAND = """
import plasmid
PRICE = 7
def work(n):
    return PRICE * n
if __name__ == "__main__":
    with plasmid.Router() as router:
        print(router.local().call(work, 2))
"""

TYPED = [
    "import plasmid, colorsys",
    "router = plasmid.Router()",
    "context = router.local(python_path=PYTHON)",
    "rate = 2",
    "def price(n):\n    return rate * n\n",
    "print('first', context.call(price, 3))",
    "def price(n):\n    return [colorsys.__name__, rate * n + 1]\n",
    "print('second', context.call(price, 3))",
    "def fails():\n    return 1 / 0  # here\n",
    "try:\n    context.call(fails)\nexcept ZeroDivisionError as e:\n    print('third', '# here' in str(e.__cause__))\n",
    "router.close()",
]
SHOWN = ["first 6", "second ['colorsys', 7]", "third True"]


# U4
def test_a_program_given_by_c_is_sent(tmp_path: Path) -> None:
    run = subprocess.run([sys.executable, "-c", BY_COMMAND], capture_output=True, text=True, cwd=tmp_path)
    assert (run.stderr, run.stdout) == ("", "14\n")


# U4
def test_what_is_typed_into_ipython_is_sent_as_it_is_then(tmp_path: Path) -> None:
    cells = [cell.replace("PYTHON", repr(sys.executable)) for cell in TYPED]
    program = "from IPython.core.interactiveshell import InteractiveShell\nimport sys\ndel __file__\n"
    program += "shell = InteractiveShell.instance(user_module=sys.modules['__main__'])\n"
    program += f"for cell in {cells!r}: shell.run_cell(cell, store_history=True)\n"
    (tmp_path / "notebook.py").write_text(program)
    run = subprocess.run(
        [sys.executable, "notebook.py"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "IPYTHONDIR": str(tmp_path / "ipython")},
    )
    assert [line for line in run.stdout.splitlines() if line] == SHOWN, run.stderr


AT_THE_PROMPT = """
import plasmid, os.path as path, sys
from string import digits as numbers
rate = 2
def helper(n): return n * rate

def price(n, extra=1): return [path.basename("a/b"), numbers[:2], helper(n) + extra]

router = plasmid.Router()
from show import show
here = router.local(python_path=PYTHON)
show(here, price, 3)
rate = 10
show(here, price, 3)
def price(n): return "another"

show(here, price, 3)
class Point: x = 7

def make(): return Point().x

show(here, make)
here = router.local(python_path=OTHER)
show(here, price, 3)
router.close()
"""
# A prompt may put in blanks of its own where a statement goes on.
SHOW = """
def show(context, function, *arguments):
    try:
        value = context.call(function, *arguments)
    except Exception as error:
        value = error.args[0]
    with open("out", "a") as file:
        print(value, file=file)
"""
PRICES = ["['b', '01', 7]", "['b', '01', 31]", "another"]
NO_CLASS = "'Point' was typed at a prompt: it is a class, of whose source Python %s keeps nothing; "
OTHER_CODE = "'price' was typed at a prompt: of its source Python %s kept nothing, and its code doesn't run on this "
OTHER_CODE += "Python, %s; "
ADVICE = "put it in a file, or type it where its source is kept, as in IPython or at the usual prompt of Python 3.13"
ESCAPE = re.compile(rb"\x1b(\[[0-?]*[ -/]*[@-~]|[=>])")
PROMPT = re.compile(rb"(>>>|\.\.\.) ?\Z")


def type_in(arguments: "list[str]", text: str, folder: Path, environment: "dict[str, str]") -> str:
    """Start an interpreter on a terminal, type a program at its prompt line by line; return all that was shown."""
    child, terminal = pty.fork()
    if not child:
        os.chdir(folder)
        os.execve(arguments[0], arguments, environment)
    shown = b""
    try:
        for line in [*text.strip("\n").split("\n"), "exit()"]:
            shown += read_to_prompt(terminal)
            os.write(terminal, line.encode() + b"\r")
        shown += read_to_prompt(terminal)
    finally:
        os.close(terminal)
        os.waitpid(child, 0)
    return shown.decode()


def read_to_prompt(terminal: int) -> bytes:
    """Read up to a prompt, or the end."""
    shown = b""
    end = time.monotonic() + 20
    while not PROMPT.search(ESCAPE.sub(b"", shown)):
        assert select.select([terminal], [], [], end - time.monotonic())[0], shown
        try:
            data = os.read(terminal, 1 << 16)
        except OSError:  # it has closed the terminal
            return shown
        if not data:
            return shown
        shown += data
    return shown


# U4
@pytest.mark.parametrize(
    ("version", "options"),
    [("3.10", {}), ("3.12", {}), ("3.13", {"PYTHON_BASIC_REPL": "1"}), ("3.13", {}), ("", {"TERM": "dumb"})],
)
def test_what_is_typed_at_pythons_prompt_is_sent_as_it_is_then(
    tmp_path: Path, version: str, options: "dict[str, str]"
) -> None:
    near = interpreters.interpreter(version) if version else sys.executable
    other = interpreters.interpreter("3.9")
    environment = {"PYTHONPATH": str(Path(plasmid.__file__).parent.parent), "TERM": "xterm", "HOME": str(tmp_path)}
    environment |= {"PATH": os.environ["PATH"], "PYTHON_HISTORY": str(tmp_path / "history"), **options}
    (tmp_path / "show.py").write_text(SHOW)
    text = AT_THE_PROMPT.replace("PYTHON", repr(near)).replace("OTHER", repr(other))
    shown = type_in([near, "-i"], text, tmp_path, environment)
    number, elsewhere = (
        subprocess.check_output([path, "-c", "import platform; print(platform.python_version())"], text=True).strip()
        for path in (near, other)
    )
    expected = [*PRICES, NO_CLASS % number + ADVICE, OTHER_CODE % (number, elsewhere) + ADVICE]
    if version == "3.13":
        # The one keeps the source of all, the other what it can of the last lines.
        expected = [*PRICES, expected[3] if options else "7", "another"]
    assert (tmp_path / "out").read_text().splitlines() == expected, shown


# U4
def test_what_is_typed_after_a_script_is_sent_besides_it(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(
        "import dataclasses\nimport plasmid\n@dataclasses.dataclass\nclass Point:\n    x: int\n"
        "def of_script(n):\n    return Point(n).x\nrouter = plasmid.Router()\n"
    )
    typed = "def typed(n): return of_script(n) + 1\n\ncontext = router.local()\n"
    typed += "open('out', 'w').write(repr([context.call(typed, 1), context.call(of_script, 3)]))\nrouter.close()\n"
    environment = {"PATH": os.environ["PATH"], "TERM": "dumb", "HOME": str(tmp_path)}
    shown = type_in([sys.executable, "-i", "script.py"], typed, tmp_path, environment)
    assert (tmp_path / "out").read_text() == "[2, 3]", shown


CONSOLE = """
import code, linecache, sys, plasmid

class Kernel(code.InteractiveInterpreter):
    def run_cell(self, number, text):
        name = "<ipython-input-%d-cafe>" % number
        linecache.cache[name] = len(text), None, text.splitlines(True), name
        exec(compile(text, name, "exec"), self.locals)

kernel = Kernel(sys.modules["__main__"].__dict__)
kernel.run_cell(1, "def work(n, *, by=2):\\n    return n * by + work.more\\n\\nwork.more = 0\\nrate = 7\\n")
kernel.run_cell(2, "def fails(n):\\n    return work(n) / (rate - 7)  # here\\n")
with plasmid.Router() as router:
    for python in PYTHONS:
        context = router.local(python_path=python)
        print(context.call(work, 3), context.call(work, 3, by=4))
        try:
            context.call(fails, 1)
        except ZeroDivisionError as error:
            print("# here" in str(error.__cause__))
"""


# U4
def test_what_a_console_keeps_the_source_of_is_sent_to_any_python(tmp_path: Path) -> None:
    pythons = [sys.executable, interpreters.interpreter("3.6"), interpreters.interpreter("3.13")]
    program = CONSOLE.replace("PYTHONS", repr(pythons))
    run = subprocess.run([sys.executable, "-"], input=program, capture_output=True, text=True, cwd=tmp_path)
    assert (run.stdout.splitlines(), run.stderr) == (["6 12", "True"] * 3, "")
