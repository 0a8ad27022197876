"""What the tests of the command share."""

from pathlib import Path

import pytest

from tests.cli.command import TASKS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a folder with a file of functions in it, tasks.py."""
    (tmp_path / "tasks.py").write_text(TASKS)
    return tmp_path
