"""Finding modules without importing them: packages of each kind, in files, zips and memory."""

import os
import sys
import zipfile
from pathlib import Path

import pytest

from plasmid.builtin.modules import ModuleServer
from plasmid.builtin.source_finder import SOURCE_SIZE_MAX, find
from plasmid.core.address_text import parse
from plasmid.runtime.importer import Finder
from plasmid.runtime.missing import FirstFinder, LastFinder
from tests.builtin.module_files import Files, sent

CHILD = parse("/3")

COMPILED = (
    "it is compiled, of the distribution %s, and only source is sent; have that installed for the context with "
    "requires=['%s'], or install it on this machine"
)


def test_a_namespace_package_in_another_has_no_source_and_its_modules_are_found(files: Files) -> None:  # U4
    files.write(firm__shop__till="open = 1")
    server = ModuleServer(allow_modules=["firm"])
    reply = server.find(["firm", "firm.shop", "firm.shop.till"], CHILD)
    assert sent(reply) == {"firm": None, "firm.shop": None, "firm.shop.till": "open = 1"}
    assert [entry[1] for entry in reply["found"]] == [True, True, False]


def test_modules_in_a_zip_file_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # U4
    with zipfile.ZipFile(tmp_path / "goods.zip", "w") as archive:
        archive.writestr("zipped/__init__.py", "import zipped.part")
        archive.writestr("zipped/part.py", "price = 7")
    monkeypatch.syspath_prepend(str(tmp_path / "goods.zip"))
    reply = ModuleServer(allow_modules=["zipped"]).find(["zipped"], CHILD)
    assert sent(reply) == {"zipped": "import zipped.part", "zipped.part": "price = 7"}
    assert reply["found"][1][2] == f"/<sent>{tmp_path}/goods.zip/zipped/part.py"
    assert "zipped" not in sys.modules


def test_a_compiled_module_is_named_with_its_distribution(files: Files) -> None:  # U4
    suffix = __import__("importlib.machinery").machinery.EXTENSION_SUFFIXES[0]
    packages = files.folder / "site-packages"
    (packages / "fast").mkdir(parents=True)
    (packages / "fast" / "__init__.py").write_text("")
    (packages / "fast" / f"core{suffix}").write_bytes(b"")
    (packages / f"alone{suffix}").write_bytes(b"")
    (packages / "fastmath-1.2.dist-info").mkdir()
    (packages / "fastmath-1.2.dist-info" / "RECORD").write_text(f"fast/__init__.py,,\nfast/core{suffix},,\n")
    sys.path.insert(0, str(packages))
    reply = ModuleServer(allow_modules=["fast", "alone"]).find(["fast", "fast.core", "alone"], CHILD)
    sys.path.remove(str(packages))
    assert list(sent(reply)) == ["fast"]
    assert reply["refused"] == {
        "fast.core": COMPILED % ("fastmath", "fastmath"),
        "alone": COMPILED % ("alone", "alone"),
    }


def test_a_source_in_another_encoding_travels_as_utf8(files: Files) -> None:
    (files.folder / "latin.py").write_bytes(b"# coding: latin-1\nname = '\xe4'\n")
    reply = ModuleServer(allow_modules=["latin"]).find(["latin"], CHILD)
    assert sent(reply) == {"latin": "# coding: latin-1\nname = 'ä'\n"}


def test_a_source_travels_as_python_reads_it(files: Files) -> None:
    sources = {
        "windows": b'a = 1\r\nb = """x\ry"""\r\n',
        "marked": b"\xef\xbb\xbfa = '\xc3\xa4'\n",
        "second": b"#!/usr/bin/python3\n# -*- coding: latin-1 -*-\na = '\xe4'\n",
        "third": b"# one\n# two\n# coding: latin-1\na = '\xc3\xa4'\n",
        "empty": b"",
        "unended": b"# coding: latin-1\na = '\xe4'",
    }
    for name, source in sources.items():
        (files.folder / f"{name}.py").write_bytes(source)
    reply = ModuleServer(allow_modules=list(sources)).find(list(sources), CHILD)
    assert sent(reply) == {
        "windows": 'a = 1\nb = """x\ny"""\n',
        "marked": "a = 'ä'\n",
        "second": "#!/usr/bin/python3\n# -*- coding: latin-1 -*-\na = 'ä'\n",
        "third": "# one\n# two\n# coding: latin-1\na = 'ä'\n",
        "empty": "",
        "unended": "# coding: latin-1\na = 'ä'",
    }


def test_what_looks_like_a_source_and_is_no_file_is_no_module(files: Files) -> None:
    os.mkfifo(files.folder / "pipe.py")
    (files.folder / "folder.py").mkdir()
    files.write(good="")
    reply = ModuleServer(allow_modules=["pipe", "folder", "good"]).find(["pipe", "folder", "good"], CHILD)
    assert (list(sent(reply)), reply["missing"], reply["refused"]) == (["good"], ["pipe", "folder", "org"], {})


def test_a_source_that_cannot_be_read_is_refused_and_says_why(files: Files) -> None:
    (files.folder / "broken.py").write_bytes(b"name = '\xff'\n")
    with open(files.folder / "huge.py", "wb") as file:
        file.truncate(SOURCE_SIZE_MAX + 1)
    reply = ModuleServer(allow_modules=["broken", "huge"]).find(["broken", "huge"], CHILD)
    assert sorted(reply["refused"]) == ["broken", "huge"]
    encoding = "SyntaxError: invalid or missing encoding declaration"
    assert reply["refused"]["broken"] == f"its source can't be read: {encoding}"
    size = f"it is {SOURCE_SIZE_MAX + 1} bytes long; the limit is {SOURCE_SIZE_MAX}"
    assert reply["refused"]["huge"] == f"its source can't be read: {size}"


def test_a_lazy_module_in_memory_is_not_loaded_by_being_asked_for(files: Files) -> None:
    import importlib.util

    files.write(lazy="print('loaded')")
    spec = importlib.util.find_spec("lazy")
    assert spec is not None
    assert spec.loader is not None
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = sys.modules["lazy"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    try:
        reply = ModuleServer(allow_modules=["lazy"]).find(["lazy"], CHILD)
        assert sent(reply) == {"lazy": "print('loaded')"}
        assert type(module).__name__ == "_LazyModule"
    finally:
        del sys.modules["lazy"]


def test_names_in_memory_under_an_alias_are_found_by_their_name_only() -> None:
    assert find("os.path") is None


def test_what_is_asked_for_is_never_asked_for_of_the_parent_here(monkeypatch: pytest.MonkeyPatch) -> None:
    # A relay's own finders, at both ends of sys.meta_path. While they asked, an import of the same name in the relay
    # itself found nothing.
    asked: list[str] = []
    finders = [kind(lambda name, path, target: asked.append(name)) for kind in (Finder, LastFinder)]
    first = FirstFinder(lambda name, path, target: asked.append(name), lambda: True)
    monkeypatch.setattr(sys, "meta_path", [first, *finders, *sys.meta_path])
    assert find("nowhere") is None
    assert asked == []
