"""The programs of this folder mean to type checkers what they should: what must pass passes, what must fail fails."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PROGRAMS = sorted(path for path in Path(__file__).parent.glob("*.py") if not path.name.startswith(("test_", "__")))


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_every_line_of_a_program_means_what_it_should(checker: str, program: Path) -> None:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    found = shutil.which(checker, path=path)
    if found is None:
        pytest.skip(f"{checker} isn't installed; `make check` reads the same programs")
    command = [found, str(program)]
    if checker == "pyright":
        command[1:1] = ["--pythonpath", sys.executable]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=55, check=False)
    own = [line for line in result.stdout.splitlines() if program.name in line]
    assert own == []
    assert "error: unrecognized" not in result.stderr
