"""The importer in real interpreters, with prepared replies in place of a parent."""

from pathlib import Path

import pytest

from tests.real.interpreters import SUPPORTED
from tests.runtime.far_side import Ended, run

pytestmark = pytest.mark.real

# In the script: `parent` holds what the parent has, `asked` what it was asked for, `ask` is the blocking call.
PARENT = """
import zlib
parent, asked, refused = {}, [], {}

def has(name, source, package=False, path=None):
    path = path or "/<sent>/near/" + name.replace(".", "/") + ("/__init__.py" if package is True else ".py")
    parent[name] = [name, package, path, None if source is None else zlib.compress(source.encode()), b""]

pushed = []

def ask(names):
    asked.extend(names)
    return {
        "python": "3.99.0",
        "found": [parent[name] for name in names if name in parent] + pushed,
        "missing": [name for name in names if name not in parent],
        "refused": {name: refused[name] for name in names if name in refused},
    }

def failure(function, *args):
    try:
        function(*args)
    except Exception as error:
        return "%s: %s" % (type(error).__name__, error)

def connect(ask):
    it.ask = ask
    return missing.Missing(it)

it = importer.install({
    "plasmid": (True, "<plasmid>/__init__.py", "NAME = 'plasmid'"),
    "plasmid.core": (True, "<plasmid>/core/__init__.py", ""),
    "plasmid.core.link": (False, "<plasmid>/core/link.py", "def cut():\\n    raise ValueError('cut')\\n"),
})
"""


def far(version: str, script: str, *options: str, folder: "Path | None" = None) -> Ended:
    return run(version, PARENT + script, *options, modules=("importer", "missing"), folder=folder)


@pytest.fixture(params=SUPPORTED)
def version(request: pytest.FixtureRequest) -> str:
    """Give each supported version in turn."""
    return str(request.param)


def ok(ended: Ended) -> str:
    assert (ended.errors, ended.status) == ("", 0)
    return ended.output


def test_what_was_sent_at_boot_is_imported_from_memory_and_shows_its_source(version: str) -> None:  # U2
    script = """
import inspect, traceback
import plasmid.core.link as link
print(link.__file__, link.__package__, link.__spec__.parent, sys.modules["plasmid.core"].__path__)
print(inspect.getsource(link.cut))
try:
    link.cut()
except ValueError:
    print(traceback.format_exc().splitlines()[-3:-1])
print(link.__loader__.is_package("plasmid.core.link"))
"""
    output = ok(far(version, script))
    assert output == (
        "<plasmid>/core/link.py plasmid.core plasmid.core []\n"
        "def cut():\n    raise ValueError('cut')\n\n"
        "['  File \"<plasmid>/core/link.py\", line 2, in cut', \"    raise ValueError('cut')\"]\n"
        "False\n"
    )


def test_what_this_machine_lacks_is_asked_for_and_what_it_has_is_not(version: str) -> None:  # U4
    script = """
has("shop", "from shop.goods import price\\nfrom . import till", package=True)
has("shop.goods", "import json\\nprice = 7")
has("shop.till", "till = 'open'")
lacks = connect(ask)
import shop, colorsys
print(shop.price, shop.till.till, shop.__file__, shop.__path__)
print(asked, colorsys.__file__.startswith("/<sent>"))
"""
    output = ok(far(version, script))
    assert output == (
        "7 open /<sent>/near/shop/__init__.py ['/<sent>/near/shop']\n['shop', 'shop.goods', 'shop.till'] False\n"
    )


def test_a_module_that_was_pushed_ahead_costs_no_question(version: str) -> None:  # U4
    script = """
has("shop", "import shop.goods", package=True)
has("shop.goods", "price = 7")
pushed.append(parent["shop.goods"])
lacks = connect(ask)
import shop.goods
print(asked, shop.goods.price, it.pushed)
"""
    assert ok(far(version, script)) == "['shop'] 7 0\n"


def test_code_of_this_interpreters_own_is_run_and_any_other_is_not(version: str) -> None:  # U4
    script = """
import marshal
from importlib.util import MAGIC_NUMBER
def code(magic, source, path):
    return magic + zlib.compress(marshal.dumps(compile(source, path, "exec")))
has("shop", "price = 7\\ndef fail(): 1 / 0")
has("other", "price = 7")
parent["shop"][4] = code(MAGIC_NUMBER, "price = 8\\ndef fail(): 1 / 0", "/<sent>/near/shop.py")
parent["other"][4] = code(b"\\0\\0\\r\\n", "price = 8", "")
lacks = connect(ask)
import shop, other, inspect
print(shop.price, other.price, inspect.getsource(shop.fail).strip(), it.modules["shop"].code[:4] == MAGIC_NUMBER)
"""
    assert ok(far(version, script)) == "8 7 def fail(): 1 / 0 True\n"
    optimized = ok(far(version, script, "-S", "-O"))
    assert optimized == "7 7 def fail(): 1 / 0 True\n", "asserts are left out there, so its own compiler has to do it"


def test_what_is_pushed_ahead_and_not_imported_has_a_limit() -> None:
    script = """
importer.PUSHED_SIZE_MAX = 1000
has("shop", "", package=True)
pushed.extend(["shop.m%d" % number, False, "", b"x" * 300, b""] for number in range(9))
lacks = connect(ask)
import shop
print(sorted(name for name in it.modules if name.startswith("shop")), it.pushed)
"""
    assert ok(far("3.11", script)) == "['shop', 'shop.m0', 'shop.m1', 'shop.m2'] 900\n"


def test_what_this_machine_has_is_never_hidden_by_what_was_pushed() -> None:
    script = """
has("shop", "", package=True)
pushed.append(["colorsys", False, "", zlib.compress(b"raise SystemError"), b""])
lacks = connect(ask)
import shop, colorsys
print(colorsys.__name__, asked)
"""
    assert ok(far("3.11", script)) == "colorsys ['shop']\n"


def test_a_standard_module_that_is_missing_is_not_asked_for() -> None:
    script = """
lacks = connect(ask)
print(failure(__import__, "winreg"), asked)
"""
    assert ok(far("3.11", script)) == "ModuleNotFoundError: No module named 'winreg' []\n"


def test_a_missing_module_is_asked_for_once_in_a_while(version: str) -> None:  # U4
    script = """
lacks = connect(ask)
for missing.monotonic in (lambda: 100.0, lambda: 104.9, lambda: 105.1, lambda: 110.0):
    print(failure(__import__, "nowhere"), len(asked))
has("nowhere", "")
for missing.monotonic in (lambda: 110.05, lambda: 110.2):
    print(failure(__import__, "nowhere"), len(asked))
"""
    missing = "ModuleNotFoundError: No module named 'nowhere'"
    lines = [f"{missing} {count}" for count in (1, 1, 2, 2, 2)]
    assert ok(far(version, script)).splitlines() == [*lines, "None 3"]


def test_what_is_said_to_be_missing_ahead_is_not_asked_for_for_a_while(version: str) -> None:  # U4
    script = """
def ask_one(names):
    reply = ask(names)
    reply["refused"]["fastmath_"] = "it is compiled"
    return dict(reply, missing=reply["missing"] + ["nowhere"])
lacks = connect(ask_one)
has("shop", "")
import shop
print(failure(__import__, "nowhere"))
print(failure(__import__, "fastmath_"), asked)
missing.monotonic = lambda: 1e9
has("nowhere", "")
import nowhere
print(asked)
"""
    assert ok(far(version, script)) == (
        "ModuleNotFoundError: No module named 'nowhere'\n"
        "ModuleNotFoundError: No module named 'fastmath_': it is compiled ['shop']\n"
        "['shop', 'nowhere']\n"
    )


def test_a_refused_or_compiled_module_says_why_and_is_still_an_optional_one(version: str) -> None:  # U4
    script = """
refused["secret"] = "name it in allow_modules="
refused["fastmath_"] = "it is compiled"
lacks = connect(ask)
print(failure(__import__, "secret"))
print(failure(__import__, "fastmath_"))
print(failure(__import__, "fastmath_"))
import importlib.util
print(importlib.util.find_spec("secret"), importlib.util.find_spec("fastmath_"), asked)
"""
    why = "it is compiled"
    assert ok(far(version, script)) == (
        "ModuleNotFoundError: No module named 'secret': name it in allow_modules=\n"
        f"ModuleNotFoundError: No module named 'fastmath_': {why}\n"
        f"ModuleNotFoundError: No module named 'fastmath_': {why}\n"
        "None None ['secret', 'fastmath_']\n"
    )


def test_a_question_that_fails_is_an_import_error_with_its_cause(version: str) -> None:
    script = """
def lost(names):
    raise OSError("link lost")
lacks = connect(lost)
try:
    import shop
except ImportError as error:
    print(type(error).__name__, error, error.name, repr(error.__cause__))
lacks = connect(ask)
has("shop", "price = 7")
import shop
print(shop.price)
"""
    output = ok(far(version, script)).replace("OSError('link lost',)", "OSError('link lost')")  # as 3.6 writes it
    assert output == "ImportError asking the parent for module 'shop': link lost shop OSError('link lost')\n7\n"


def test_two_threads_that_want_one_module_ask_once(version: str) -> None:  # U4
    script = """
import threading
has("shop", "price = 7")
entered, go = threading.Event(), threading.Event()
def slow(names):
    entered.set()
    go.wait(10)
    return ask(names)
lacks = connect(slow)
results = []
def work():
    import shop
    results.append(shop.price)
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads: thread.start()
entered.wait(10)
go.set()
for thread in threads: thread.join(10)
print(results, asked)
"""
    assert ok(far(version, script)) == "[7, 7, 7, 7] ['shop']\n"


@pytest.mark.parametrize("name", ["shop", "plasmid.shop"])
def test_a_thread_that_waits_for_the_parent_stops_no_import_of_another(version: str, name: str) -> None:
    # Python calls finders under its lock over all imports; kept, it would stop the thread the answer depends on.
    script = """
import threading, _imp
has("NAME", "price = 7")
entered, go = threading.Event(), threading.Event()
held = []
def slow(names):
    held.append(_imp.lock_held())
    entered.set()
    held.append(go.wait(10))
    return ask(names)
lacks = connect(slow)
def work():
    import NAME
thread = threading.Thread(target=work)
thread.start()
entered.wait(10)
assert "colorsys" not in sys.modules
import colorsys
go.set()
thread.join(10)
print(held, sys.modules["NAME"].price, _imp.lock_held())
"""
    assert ok(far(version, script.replace("NAME", name))) == "[False, True] 7 False\n"


def test_main_is_the_roots_and_comes_when_something_of_it_is_wanted(version: str) -> None:  # U3
    script = """
import importlib
has("__main__", "import sys\\nclass Disk: pass\\nME = sys.modules['__main__'].__dict__ is globals()", package="")
first = sys.modules["__main__"]
lacks = connect(ask)
main = importlib.import_module("__main__")
print(asked, hasattr(main, "__file__"), main is first)
Disk = main.Disk
print(asked, Disk.__module__, importlib.import_module("__main__").Disk is Disk, main.Disk is Disk, main.ME)
print(missing.load_main() is sys.modules["__main__"], sys.modules["__main__"].__file__, asked)
"""
    assert ok(far(version, script)) == (
        "[] False False\n['__main__'] __main__ True True True\nTrue /<sent>/near/__main__.py ['__main__']\n"
    )


def test_a_main_that_fails_leaves_the_next_one_to_try_again(version: str) -> None:
    script = """
has("__main__", "1 / 0", package="")
lacks = connect(ask)
print(failure(getattr, sys.modules["__main__"], "work"))
it.modules.clear()
has("__main__", "work = 5", package="")
print(sys.modules["__main__"].work)
"""
    assert ok(far(version, script)) == "ZeroDivisionError: division by zero\n5\n"


def test_threads_that_want_main_at_once_get_one_and_the_same(version: str) -> None:
    script = """
import threading
has("__main__", "import threading\\nthreading.Event().wait(0.05)\\nclass Disk: pass", package="")
lacks = connect(ask)
main, got = sys.modules["__main__"], []
threads = [threading.Thread(target=lambda: got.append(main.Disk)) for _ in range(5)]
for thread in threads: thread.start()
for thread in threads: thread.join(10)
print(len(got), len(set(got)), asked)
"""
    assert ok(far(version, script)) == "5 1 ['__main__']\n"


def test_a_main_started_with_m_imports_relative_to_its_package(version: str) -> None:
    script = """
import warnings
warnings.simplefilter("error")
has("tool", "", package=True)
has("tool.parts", "count = 3")
has("__main__", "from .parts import count\\nfrom . import parts", package="tool")
lacks = connect(ask)
main = missing.load_main()
print(main.count, main.__package__, main.__name__, main.parts.__name__)
"""
    assert ok(far(version, script)) == "3 tool __main__ tool.parts\n"


def test_a_namespace_package_may_have_parts_on_both_sides(version: str, tmp_path: Path) -> None:  # U4
    (tmp_path / "firm" / "here").mkdir(parents=True)
    (tmp_path / "firm" / "here" / "__init__.py").write_text("place = 'here'")
    script = """
has("firm.there", "place = 'there'")
has("other", None, package=True)
has("other.part", "place = 'other'")
lacks = connect(ask)
sys.path.append(".")
import firm.here, firm.there, other.part
print(firm.here.place, firm.there.place, other.part.place, asked, getattr(other, "__file__", None))
"""
    output = ok(far(version, script, folder=tmp_path))
    assert output == "here there other ['firm.there', 'other', 'other.part'] None\n"


def test_a_package_of_this_machine_is_never_completed_from_elsewhere(version: str, tmp_path: Path) -> None:
    (tmp_path / "local").mkdir()
    (tmp_path / "local" / "__init__.py").write_text("")
    script = """
has("local.more", "")
lacks = connect(ask)
sys.path.append(".")
import local
print(failure(__import__, "local.more"), asked)
"""
    assert ok(far(version, script, folder=tmp_path)) == "ModuleNotFoundError: No module named 'local.more' []\n"


def test_nothing_in_the_current_folder_poses_as_part_of_a_sent_package(version: str, tmp_path: Path) -> None:
    # Another local user may be able to write there.
    for package in ("<plasmid>", "<plasmid>/core", "plasmid", "<sent>/near/shop", "near/shop", "shop"):
        (tmp_path / package).mkdir(parents=True, exist_ok=True)
        (tmp_path / package / "planted.py").write_text("print('planted code ran')")
    script = """
has("shop", "", package=True)
lacks = connect(ask)
import plasmid.core, shop
for name in ("plasmid.planted", "plasmid.core.planted", "shop.planted"):
    print(failure(__import__, name))
"""
    assert ok(far(version, script, folder=tmp_path)) == "".join(
        f"ModuleNotFoundError: No module named '{name}'\n"
        for name in ("plasmid.planted", "plasmid.core.planted", "shop.planted")
    )


def test_site_runs_once_and_what_it_brings_comes_before_the_parents(version: str, tmp_path: Path) -> None:
    # The user's site-packages, found by way of a .pth file that `site` reads.
    script = f"""
import site, os
folder = {str(tmp_path)!r}
with open(os.path.join(folder, "extra.py"), "w") as file: file.write("where = 'here'")
runs = []
def main():
    runs.append(1)
    failure(__import__, "sitecustomize")
    sys.path.append(folder)
site.main = main
has("extra", "where = 'parent'")
has("shop", "")
lacks = connect(ask)
import json
print(runs, lacks.site)
import extra, shop
print(runs, lacks.site, extra.where, asked, lacks.run_site())
"""
    assert ok(far(version, script)) == "[] 0\n[1] 2 here ['shop'] True\n"
    without = ok(far(version, script, "-s"))
    assert without == "[] 2\n[] 2 parent ['extra', 'shop'] True\n"


def test_an_error_in_site_is_shown_and_imports_go_on(version: str) -> None:
    script = """
import site
def main():
    raise SystemExit("from a .pth file")
site.main = main
has("shop", "price = 7")
lacks = connect(ask)
import shop
print(shop.price)
"""
    ended = far(version, script)
    assert (ended.output, ended.status) == ("7\n", 0)
    assert ended.errors.splitlines()[-1] == "SystemExit: from a .pth file"


def test_a_hook_runs_when_its_module_is_imported_and_at_once_if_it_was(version: str) -> None:  # U6
    script = """
import importlib.util
calls = []
lacks = missing.Missing(it)
lacks.after_import("logging", lambda module: calls.append(module.getLogger().name))
print(importlib.util.find_spec("logging").name, calls)
import logging
print(calls, logging.__loader__.get_source("logging")[:3] != "", "exec_module" in vars(logging.__loader__))
lacks.after_import("logging", lambda module: calls.append(2))
print(calls, lacks.hooks)
"""
    assert ok(far(version, script)) == "logging []\n['root'] True False\n['root', 2] {}\n"


def test_a_syntax_error_in_a_sent_module_names_its_file_and_line(version: str) -> None:
    script = """
has("shop", "a = 1\\nb = = 2\\n")
lacks = connect(ask)
try:
    import shop
except SyntaxError as error:
    where = "in /<sent>/near/shop.py, line 2: this is Python " + sys.version.split()[0]
    print(error.filename, error.lineno, where in error.msg)
"""
    assert ok(far(version, script)) == "/<sent>/near/shop.py 2 True\n"


def test_a_reload_takes_the_source_that_was_sent(version: str) -> None:
    script = """
import importlib
has("shop", "price = 7")
lacks = connect(ask)
import shop
shop.price = 8
print(importlib.reload(shop).price, asked)
"""
    assert ok(far(version, script)) == "7 ['shop']\n"
