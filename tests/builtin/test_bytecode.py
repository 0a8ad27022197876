"""bytecode.py: code comes from Python's own cache where that is good, and tells its imports on every version."""

import gc
import importlib.util
import json
import marshal
import os
import py_compile
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import plasmid
from plasmid.boot.bundle import syntax_tree
from plasmid.builtin import bytecode
from plasmid.builtin.main_part import cut
from plasmid.builtin.modules import ModuleServer
from plasmid.runtime.importer import Loader
from tests.builtin.module_files import Files
from tests.real.interpreters import SUPPORTED, interpreter

IMPORTS = """
import a, b.c as d
from e import f, g
from . import h
from .i import j
from ..k import *
from .... import beyond
if TYPE_CHECKING:
    import later_a
if typing.TYPE_CHECKING:
    import later_d
    from .later_e import y
else:
    import r
if __name__ == "__main__":
    import later_f
    from later_g import z
elif "__main__" == __name__:
    import later_h
else:
    import s
try:
    import l
except ImportError:
    import m
class C:
    import p
    def method(self):
        import later_b
def function():
    from later_c import x
    return lambda: __import__("never")
with a: import q
""" + "".join(f"import n{number}\n" for number in range(300))

AT_IMPORT = [
    *("a", "b.c", "e", "e.f", "e.g", "top.mid", "top.mid.h", "top.mid.i", "top.mid.i.j", "top.k", "r", "s"),
    *("l", "m", "q", *(f"n{number}" for number in range(300)), "p"),
]
LATER = ["later_a", "later_d", "top.mid.later_e", "top.mid.later_e.y", "later_b", "later_c", "later_c.x"]
LATER += ["later_f", "later_g", "later_g.z", "later_h"]

SCRIPT = """
import json, sys
module = type(sys)("bytecode")
with open(sys.argv[1]) as file:
    exec(compile(file.read(), sys.argv[1], "exec"), module.__dict__)
at_import, later = module.imports_of(compile(sys.stdin.read(), "x", "exec"), "top.mid.here", False)
print(json.dumps([at_import, later]))
"""


@pytest.mark.real
@pytest.mark.parametrize("version", SUPPORTED)
def test_imports_are_told_apart_by_when_they_happen(version: str) -> None:  # U4
    # A relay, which looks through what it was sent, may run on any version.
    result = subprocess.run(
        [interpreter(version), "-S", "-c", SCRIPT, bytecode.__file__], input=IMPORTS, capture_output=True, text=True
    )
    assert (result.stderr, result.returncode) == ("", 0)
    at_import, later = json.loads(result.stdout)
    assert sorted(at_import) == sorted(AT_IMPORT)
    assert at_import[0] == "a"
    assert sorted(later) == sorted(LATER)


def test_a_package_imports_from_itself_and_nothing_from_above_the_top() -> None:
    relative = bytecode.compiled("from . import x", "x")
    above = bytecode.compiled("from .. import x", "x")
    assert relative is not None
    assert above is not None
    assert bytecode.imports_of(relative.code, "top", True) == (["top", "top.x"], [])
    assert bytecode.imports_of(above.code, "top", True) == ([], [])


def test_what_does_not_compile_here_has_no_code() -> None:
    assert bytecode.compiled("not python at all", "x") is None
    assert bytecode.compiled("a = '\0'", "x") is None


def cached(path: Path) -> "bytecode.Compiled | None":
    """Return what is taken from Python's cache for a source file."""
    status = path.stat()
    return bytecode.cached(str(path), status.st_mtime_ns, status.st_size)


def test_what_python_keeps_compiled_is_used_while_it_is_that_of_the_source(tmp_path: Path) -> None:
    path = tmp_path / "shop.py"
    path.write_text("price = 7")
    assert cached(path) is None, "there is none"
    cache = Path(str(py_compile.compile(str(path), doraise=True)))
    # What stands in the cache is not looked at twice, so this tells where the code came from.
    cache.write_bytes(cache.read_bytes()[:16] + marshal.dumps(compile("price = 8", "elsewhere", "exec")))
    found = cached(path)
    assert found is not None
    names: dict[str, object] = {}
    exec(found.code, names)
    assert names["price"] == 8

    path.write_text("price = 70")
    assert cached(path) is None, "another source"
    os.utime(path, (1, 1))
    assert cached(path) is None, "another time"
    py_compile.compile(str(path), doraise=True)
    good = cache.read_bytes()
    for bad in (b"", good[:3], good[:16], good[:-3], b"\0\0\0\0" + good[4:], good[:16] + marshal.dumps(7)):
        cache.write_bytes(bad)
        assert cached(path) is None
    py_compile.compile(str(path), doraise=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    assert cached(path) is None, "one that isn't checked by time and size"


def test_functions_say_that_they_come_from_where_they_were_sent(tmp_path: Path) -> None:
    path = tmp_path / "shop.py"
    path.write_text("def price():\n    return [lambda: 7]")
    py_compile.compile(str(path), doraise=True)
    found = cached(path)
    assert found is not None
    code = Loader(False, "/<sent>/shop.py", None, found.packed()).get_code()
    assert code.co_filename == "/<sent>/shop.py"
    names: dict[str, object] = {}
    exec(code, names)
    price = names["price"]
    assert price.__code__.co_filename == "/<sent>/shop.py"  # type: ignore[attr-defined]
    assert price()[0].__code__.co_filename == "/<sent>/shop.py"  # type: ignore[operator]


def test_packed_code_is_the_magic_number_and_the_compressed_code() -> None:
    code = compile("price = 7", "shop.py", "exec")
    data = bytecode.Compiled(code).packed()
    assert data[:4] == importlib.util.MAGIC_NUMBER
    assert marshal.loads(zlib.decompress(data[4:])) == code


@pytest.fixture
def collections_that_switch_threads() -> "Iterator[None]":
    """Collect garbage all the time, and let another thread run in the middle of it."""

    def switch(phase: str, info: object) -> None:
        time.sleep(0)

    interval, threshold = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(1e-6)
    gc.set_threshold(50, 1, 1)
    gc.callbacks.append(switch)
    yield
    gc.callbacks.remove(switch)
    gc.set_threshold(*threshold)
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("collections_that_switch_threads")
def test_threads_that_look_through_sources_at_once_do_not_spoil_each_others(files: Files) -> None:
    # Python 3.11 raises SystemError in threads that make syntax trees at once.
    sources = [path.read_text() for path in sorted(Path(str(plasmid.__file__)).parent.glob("service/*.py"))]
    files.write(**{f"shop__m{number}": source for number, source in enumerate(sources)}, shop__="")
    names = [f"shop.m{number}" for number in range(len(sources))]
    found: list[object] = []

    def work() -> None:
        try:
            reply = ModuleServer(allow_modules=["shop"]).find(names, b"\0\0\0\1")
            cuts = [cut(source) for source in sources]
            trees = [type(syntax_tree(source)).__name__ for source in sources]
            found.append([[entry[0] for entry in reply["found"]][: len(names)], len(cuts), set(trees)])
        except BaseException as error:  # noqa: BLE001 - it is the result
            found.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [[names, len(sources), {"Module"}]] * 4
