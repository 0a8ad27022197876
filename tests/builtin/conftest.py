"""A folder of modules that nobody may import."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builtin.module_files import Files


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "Iterator[Files]":
    """Give a folder on sys.path; afterwards nothing in it may have been imported."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield Files(tmp_path)
    loaded = [sys.modules[name] for name in set(sys.modules) - before]
    assert [module for module in loaded if str(getattr(module, "__file__", "")).startswith(str(tmp_path))] == []
