"""kept.py: what was packed once is there for the next program, and nothing else is."""

import marshal
import os
import subprocess
import sys
from pathlib import Path

import pytest

from plasmid.boot import kept

KEY = kept.key_of([b"one", b"two"])
MEASURE = "from plasmid.boot import bundle; print(bundle.bundle()[:5], bundle.booted_code()[:5])"


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give the name of a source in a folder of its own, beside which Python may write."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(sys, "pycache_prefix", None)
    (tmp_path / "__pycache__").mkdir()
    return str(tmp_path / "source.py")


def files(source: str) -> "list[Path]":
    return list((Path(source).parent / "__pycache__").iterdir())


def test_what_was_kept_is_found_under_its_key_alone(source: str) -> None:
    assert kept.find(source, KEY) is None
    kept.keep(source, KEY, (b"packed", b"code"))
    assert kept.find(source, KEY) == (b"packed", b"code")
    assert [path.suffix for path in files(source)] == [".kept"]
    other = kept.key_of([b"onet", b"wo"])
    assert kept.find(source, other) is None
    kept.keep(source, other, b"another")
    assert (kept.find(source, KEY), kept.find(source, other)) == (None, b"another")
    assert len(files(source)) == 1


@pytest.mark.parametrize("data", [b"", KEY[:9], KEY, KEY + b"\xff", KEY + b"s\xff\xff\xff\x7f"])
def test_what_is_no_longer_whole_counts_as_nothing(source: str, data: bytes) -> None:
    kept.keep(source, KEY, b"packed")
    files(source)[0].write_bytes(data)
    assert kept.find(source, KEY) is None
    kept.keep(source, KEY, b"again")
    assert kept.find(source, KEY) == b"again"


def test_where_python_writes_nothing_nothing_is_kept(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (Path(source).parent / "__pycache__").rmdir()
    kept.keep(source, KEY, b"packed")
    assert kept.find(source, KEY) is None
    (Path(source).parent / "__pycache__").mkdir()
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    kept.keep(source, KEY, b"packed")
    assert (kept.find(source, KEY), files(source)) == (None, [])


def test_the_next_program_finds_the_bundle_of_the_one_before(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment.update(PYTHONPYCACHEPREFIX=str(tmp_path), PYTHONPATH=str(Path(kept.__file__).parents[2]))

    def run() -> str:
        return subprocess.run(
            [sys.executable, "-c", MEASURE], env=environment, capture_output=True, text=True, timeout=50, check=True
        ).stdout

    first = run()
    (path,) = tmp_path.rglob("*.kept")
    assert run() == first
    # That it's read is seen by what else could stand there.
    key = path.read_bytes()[: kept.KEY_SIZE]
    path.write_bytes(key + marshal.dumps((b"packed before", b"compiled before")))
    assert run() == "b'packe' b'compi'\n"
    path.write_bytes(bytes(kept.KEY_SIZE) + marshal.dumps((b"of other sources", b"")))
    assert run() == first
