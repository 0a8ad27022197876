"""Programs that nobody saved: given by -c, or typed into IPython."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

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
