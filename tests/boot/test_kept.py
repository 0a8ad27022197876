"""kept.py: what was packed once is there for the next program, and nothing else is."""

import marshal
import os
import subprocess
import sys
from pathlib import Path

import pytest

from plasmid.boot import kept

KEY = kept.key_of([b"one", b"two"])
KIND = "kept"
MEASURE = "from plasmid.boot import bundle; print(bundle.bundle()[:5], bundle.booted_code()[:5])"

PACK = """
import plasmid.router
from plasmid.builtin import bytecode, packing
entry = packing.make_entry("plasmid.core.extensions", {})
name, _, path, source, code = entry.wire(bytecode.MAGIC)
print((name, entry.at_import, entry.later, source))
"""


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
    assert kept.find(source, KIND, KEY) is None
    kept.keep(source, KIND, KEY, (b"packed", b"code"))
    assert kept.find(source, KIND, KEY) == (b"packed", b"code")
    assert [path.suffix for path in files(source)] == [".kept"]
    other = kept.key_of([b"onet", b"wo"])
    assert kept.find(source, KIND, other) is None
    kept.keep(source, KIND, other, b"another")
    assert (kept.find(source, KIND, KEY), kept.find(source, KIND, other)) == (None, b"another")
    assert len(files(source)) == 1


@pytest.mark.parametrize("data", [b"", KEY[:9], KEY, KEY + b"\xff", KEY + b"s\xff\xff\xff\x7f"])
def test_what_is_no_longer_whole_counts_as_nothing(source: str, data: bytes) -> None:
    kept.keep(source, KIND, KEY, b"packed")
    files(source)[0].write_bytes(data)
    assert kept.find(source, KIND, KEY) is None
    kept.keep(source, KIND, KEY, b"again")
    assert kept.find(source, KIND, KEY) == b"again"


def test_where_python_writes_nothing_nothing_is_kept(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (Path(source).parent / "__pycache__").rmdir()
    kept.keep(source, KIND, KEY, b"packed")
    assert kept.find(source, KIND, KEY) is None
    (Path(source).parent / "__pycache__").mkdir()
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    kept.keep(source, KIND, KEY, b"packed")
    assert (kept.find(source, KIND, KEY), files(source)) == (None, [])


def run(caches: Path, program: str) -> str:
    """Return what a new program prints that keeps what it keeps in this folder."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment.update(PYTHONPYCACHEPREFIX=str(caches), PYTHONPATH=str(Path(kept.__file__).parents[2]))
    return subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=50, check=True
    ).stdout


def test_the_next_program_finds_the_bundle_of_the_one_before(tmp_path: Path) -> None:
    first = run(tmp_path, MEASURE)
    (path,) = tmp_path.rglob("*.kept")
    assert run(tmp_path, MEASURE) == first
    # That it's read is seen by what else could stand there.
    key = path.read_bytes()[: kept.KEY_SIZE]
    path.write_bytes(key + marshal.dumps((b"packed before", b"compiled before")))
    assert run(tmp_path, MEASURE) == "b'packe' b'compi'\n"
    path.write_bytes(bytes(kept.KEY_SIZE) + marshal.dumps((b"of other sources", b"")))
    assert run(tmp_path, MEASURE) == first


def test_the_next_program_finds_a_module_of_plasmid_s_as_it_was_packed(tmp_path: Path) -> None:
    first = run(tmp_path, PACK)
    (path,) = tmp_path.rglob("*.packed")
    assert path.name.startswith("extensions.")
    assert run(tmp_path, PACK) == first
    key = path.read_bytes()[: kept.KEY_SIZE]
    row = ["a"], ["b"], b"the source", b"the code"
    path.write_bytes(key + marshal.dumps(row))
    assert run(tmp_path, PACK) == "('plasmid.core.extensions', %r, %r, %r)\n" % (row[0], row[1], row[2])
    path.write_bytes(bytes(kept.KEY_SIZE) + marshal.dumps(row))  # of another source, or another Python
    assert run(tmp_path, PACK) == first
