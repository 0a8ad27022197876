"""The repository keeps its own rules: layers, budgets, what a far side can run, words that don't belong here.

The list of layers is the one in docs/ and is what is allowed, not what must exist. Files are read and parsed, never
imported, so a broken module shows here as what it is.
"""

import ast
import functools
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from plasmid.boot.bundle import strip
from tests.real.interpreters import interpreter

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "plasmid"

# A file may import from its own layer and from those above it in this list. A name that ends in / stands for a folder.
LAYERS = (
    (
        "core/__init__.py",
        "core/errors.py",
        "core/connect_error.py",
        "core/extensions.py",
        "core/values.py",
        "core/short_values.py",
        "core/address.py",
        "core/address_text.py",
        "core/frames.py",
        "core/events.py",
    ),
    (
        "core/remote.py",
        "core/link.py",
        "core/flow.py",
        "core/bulk.py",
        "core/relay.py",
        "core/switch.py",
        "core/calls.py",
        "core/streams.py",
    ),
    ("core/node.py", "core/express.py"),
    ("runtime/__init__.py", "runtime/ports.py", "runtime/receivers.py", "runtime/select.py"),
    (
        "runtime/jobs.py",
        "runtime/loop.py",
        "runtime/context.py",
        "runtime/importer.py",
        "runtime/console.py",
        "runtime/watchdog.py",
        "runtime/runtime.py",
        "runtime/main.py",
        "runtime/life.py",
        "runtime/functions.py",
        "runtime/awaiting.py",
        "runtime/helpers.py",
        "runtime/standby.py",
        "runtime/missing.py",
        "runtime/naming.py",
    ),
    ("boot/__init__.py", "boot/first_stage.py", "boot/kept.py", "boot/bundle.py"),
    (
        "connect/__init__.py",
        "connect/supply.py",
        "connect/connector.py",
        "connect/handshake.py",
        "connect/process.py",
        "connect/local.py",
        "connect/fork.py",
        "connect/become.py",
        "connect/options.py",
        "connect/prompts.py",
        "connect/secret.py",
        "connect/starting.py",
        "connect/ways.py",
        "connect/ssh.py",
        "connect/container.py",
        "connect/slurm.py",
        "connect/many.py",
        "connect/restarts.py",
        "connect/supervised.py",
        "service/__init__.py",
        "service/interfaces.py",
        "service/checks.py",
        "service/methods.py",
        "service/policy.py",
        "service/service.py",
        "service/invokers.py",
        "service/deduplicate.py",
        "service/activator.py",
        "service/queues.py",
        "service/pool.py",
        "service/proxy.py",
        "service/lanes.py",
        "service/circles.py",
        "service/crew.py",
        "service/backlog.py",
        "service/workshop.py",
        "service/selects.py",
        "service/replies.py",
        "service/results.py",
        "service/fields.py",
        "service/outflow.py",
        "service/coroutines.py",
        "service/streams.py",
        "service/directory.py",
        "service/child.py",
        "service/lanes.py",
    ),
    (
        "builtin/__init__.py",
        "builtin/source_finder.py",
        "builtin/bytecode.py",
        "builtin/packing.py",
        "builtin/shared_code.py",
        "builtin/first_words.py",
        "builtin/ahead.py",
        "builtin/pieces.py",
        "builtin/prompt.py",
        "builtin/typed.py",
        "builtin/forking.py",
        "builtin/preload.py",
        "builtin/environments.py",
        "builtin/supplying.py",
        "builtin/module_policy.py",
        "builtin/module_audit.py",
        "builtin/package_files.py",
        "builtin/distributions.py",
        "builtin/kept_data.py",
        "builtin/data_server.py",
        "builtin/resources.py",
        "builtin/metadata.py",
        "builtin/main_module.py",
        "builtin/main_part.py",
        "builtin/modules.py",
        "builtin/console.py",
        "builtin/detaching.py",
        "builtin/children.py",
        "builtin/lending.py",
        "builtin/listening.py",
        "builtin/sockets.py",
        "builtin/commands.py",
        "builtin/root_watchdog.py",
        "commands.py",
        "forks.py",
        "interrupts.py",
        "losses.py",
        "builtin/beneath.py",
        "builtin/reading.py",
        "builtin/descriptors.py",
        "builtin/place.py",
        "builtin/landing.py",
        "builtin/files.py",
        "builtin/push.py",
        "files.py",
        "router.py",
        "surroundings.py",
        "fleet.py",
        "joining.py",
        "inventory.py",
        "ansible.py",
        "program.py",
        "chain.py",
        "channel.py",
        "codec.py",
        "aio.py",
        "executor.py",
    ),
    ("cli/", "__main__.py", "testing.py"),
)
PUBLIC_NAMES_LAYER = 8  # `from plasmid import Router` counts as an import of router.py's layer

# The package's own files are exempt: they import lazily, from everywhere, what a user may name.
UNLAYERED = ("__init__.py", "public.py")

# Imports that point up on purpose, each with its reason.
UPWARD_ALLOWED: "dict[tuple[str, str], str]" = {}

# What travels to a far side, where Python may be 3.6.
FAR_SIDE = (
    *("core/", "runtime/", "boot/", "connect/", "service/", "builtin/"),
    *(
        "commands.py",
        "files.py",
        "losses.py",
        "router.py",
        "surroundings.py",
        "fleet.py",
        "program.py",
        "chain.py",
        "channel.py",
        "public.py",
        "__init__.py",
    ),
)

# Importing these costs nothing measurable, or the core can't do without.
CORE_STDLIB = {"struct", "_struct", "sys", "heapq", "zlib", "_collections", "_io"}  # of _io the BytesIO
# Core meets the types of these only in a value that has one, and then imports them inside a function.
CORE_STDLIB_IN_FUNCTIONS = CORE_STDLIB | {
    *("builtins", "dataclasses", "datetime", "decimal", "enum", "itertools", "math", "pathlib", "traceback", "uuid"),
    *("importlib", "types", "typing", "zoneinfo"),
}
# Each import at the head of a runtime module is paid by every boot. These are already there or cost under 1 ms, but
# for threading, which user threads need anyway.
RUNTIME_STDLIB = CORE_STDLIB | {
    *(
        "os",
        "time",
        "select",
        "errno",
        "threading",
        "_thread",
        "_imp",
        "_frozen_importlib",
        "_contextvars",
        "_io",
        "_weakref",
    ),
    *("_frozen_importlib_external", "marshal"),
}

FILE_LINES_MAX = 500
TEST_LINES_MAX = 900
CLASS_LINES_MAX = 300
FUNCTION_LINES_MAX = 50
SENT_LINES_MAX = 5020  # core/ and runtime/ together, lines of code alone; docs/design/0007 says why

# Modules whose source is a program's own, run where it was sent to; nothing else may turn data into code.
MAY_RUN_SOURCE = {
    *("boot/bundle.py", "boot/first_stage.py", "runtime/importer.py"),
    "builtin/typed.py",  # what the root's user typed, cell by cell, run where it was sent to
}
CODE_FROM_DATA_MODULES = {"pickle", "_pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle"}
# Compiled modules go down only: the importer runs what its parent sent, which as source it would run too, and a relay
# hands on what it was sent. The other packs code for that, and reads what Python keeps beside the sources of its own
# machine, as an import there does; so does what keeps the bundle. The loader of a bundle unmarshals what its parent
# shares. None of them unmarshals what a child or a sibling sent.
MAY_UNMARSHAL = {
    *("runtime/importer.py", "builtin/bytecode.py", "builtin/shared_code.py", "boot/bundle.py", "boot/kept.py"),
}

# Put together here, so that this file doesn't hold them.
FORBIDDEN_WORDS = (
    *("/wo" + "rk/", "/fa" + "rm", "TO" + "DO", "FIX" + "ME", "X" + "XX"),
    *("py" + "pi.org", "python" + "hosted.org", "npm" + "js.", "debian" + ".org", "ubuntu" + ".com"),
)
TEXT_FOLDERS = ("src", "tests", "docs", "examples", "bench", "tools", ".ci")
TEXT_SUFFIXES = {"", ".py", ".md", ".toml", ".sh", ".txt", ".cfg", ".yml"}


class Import(NamedTuple):
    """One module that a file imports."""

    module: str
    line: int
    in_function: bool


def python_files(*folders: str) -> "list[Path]":
    """Return all Python files below these folders of the repository."""
    return sorted(path for folder in folders for path in (ROOT / folder).glob("**/*.py"))


def source_files() -> "dict[str, Path]":
    """Return the package's files by their name below src/plasmid."""
    return {path.relative_to(PACKAGE).as_posix(): path for path in python_files("src/plasmid")}


def is_one_of(name: str, entries: "tuple[str, ...]") -> bool:
    """Return whether a file is in a list whose entries that end in / stand for folders."""
    return any(name == entry or (entry.endswith("/") and name.startswith(entry)) for entry in entries)


def layer_of(name: str) -> "int | None":
    """Return the layer of a file, counted from 1, or None if the list doesn't have it."""
    return next((number for number, entries in enumerate(LAYERS, 1) if is_one_of(name, entries)), None)


@functools.cache
def tree_of(path: Path) -> ast.Module:
    """Return a file's syntax tree."""
    return ast.parse(path.read_bytes(), str(path))


def is_type_checking(test: ast.expr) -> bool:
    """Return whether the condition of an `if` is TYPE_CHECKING."""
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def nodes_that_run(node: ast.AST, in_function: bool = False) -> "Iterator[tuple[ast.AST, bool]]":
    """Give each node below this one and whether it is in a function; what only a type checker reads is left out."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and is_type_checking(child.test):
            for alternative in child.orelse:
                yield from nodes_that_run(alternative, in_function)
            continue
        yield child, in_function
        inner = in_function or isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        yield from nodes_that_run(child, inner)


def imports_of(path: Path) -> "list[Import]":
    """Return what a file imports, `import_module("x")` and a use of `plasmid.x.y` after `import plasmid` included."""
    found = []
    for node, in_function in nodes_that_run(tree_of(path)):
        if isinstance(node, ast.Import):
            found += [Import(alias.name, node.lineno, in_function) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = absolute_module(node, path)
            found += [Import(f"{module}.{alias.name}", node.lineno, in_function) for alias in node.names]
        elif isinstance(node, ast.Call) and called_name(node) in ("import_module", "__import__") and node.args:
            argument = node.args[0]
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                found.append(Import(argument.value, node.lineno, in_function))
        elif isinstance(node, ast.Attribute) and dotted(node).startswith("plasmid."):
            found.append(Import(dotted(node), node.lineno, in_function))
    return found


def absolute_module(node: ast.ImportFrom, path: Path) -> str:
    """Return the full name of the module that a `from ... import` names."""
    if node.level == 0:
        return node.module or ""
    package = path.relative_to(PACKAGE.parent).parts[: -node.level]
    return ".".join([*package, *([node.module] if node.module else [])])


def called_name(call: ast.Call) -> str:
    """Return the last part of what is called: `import_module` for `importlib.import_module(...)`."""
    function = call.func
    return function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")


def dotted(node: ast.expr) -> str:
    """Return `a.b.c` for such an expression, the empty text for any other."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (before := dotted(node.value)):
        return f"{before}.{node.attr}"
    return ""


def own_file(module: str) -> "str | None":
    """Return which of the package's files `plasmid.x.y` stands in; None for one that isn't the package's."""
    if module.partition(".")[0] != "plasmid":
        return None
    parts = module.split(".")[1:]
    while parts:
        stem = "/".join(parts)
        for name in (f"{stem}.py", f"{stem}/__init__.py"):
            if (PACKAGE / name).exists() or layer_of(name):
                return name
        parts.pop()
    return "__init__.py"


def imported_layer(module: str, name: str) -> int:
    """Return the layer that an import of the package's own reaches into."""
    if name in UNLAYERED:
        public = module.partition(".")[2]
        return PUBLIC_NAMES_LAYER if public and not public.startswith("__") else 0
    layer = layer_of(name)
    assert layer is not None, f"{name} is imported but is in no layer"
    return layer


def shown(path: Path) -> str:
    """Return a file's name as it stands in messages."""
    return path.relative_to(ROOT).as_posix()


def test_every_source_file_is_in_one_layer() -> None:
    unlisted = [name for name in source_files() if name not in UNLAYERED and layer_of(name) is None]
    twice = [name for name in source_files() if sum(is_one_of(name, entries) for entries in LAYERS) > 1]
    assert (unlisted, twice) == ([], [])


def test_imports_point_down_only() -> None:
    upward = []
    for name, path in source_files().items():
        layer = layer_of(name)
        if layer is None:
            continue
        for one in imports_of(path):
            target = own_file(one.module)
            if target is None or imported_layer(one.module, target) <= layer or (name, target) in UPWARD_ALLOWED:
                continue
            upward.append(f"{name}:{one.line} (layer {layer}) imports {one.module}")
    assert upward == []


def test_there_is_one_form_of_import_the_absolute_one() -> None:
    relative = [
        f"{shown(path)}:{node.lineno}"
        for path in python_files("src", "tests", "examples", "bench")
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert relative == []


def test_an_upward_import_that_is_allowed_is_still_made() -> None:
    made = {(name, own_file(one.module)) for name, path in source_files().items() for one in imports_of(path)}
    assert [pair for pair in UPWARD_ALLOWED if pair not in made] == []


def test_no_two_modules_import_each_other_while_they_load() -> None:
    targets = {
        name: {own_file(one.module) for one in imports_of(path) if not one.in_function} - {name, None, *UNLAYERED}
        for name, path in source_files().items()
    }
    # Whatever imports nothing that is left can be taken away; what stays is on a circle or imports one.
    while free := [name for name, wanted in targets.items() if not wanted & targets.keys()]:
        for name in free:
            del targets[name]
    assert sorted(targets) == []


def test_core_imports_only_what_is_pure_and_nothing_of_the_runtime() -> None:
    wrong = []
    for name, path in source_files().items():
        if not name.startswith("core/"):
            continue
        for one in imports_of(path):
            top = one.module.partition(".")[0]
            allowed = CORE_STDLIB_IN_FUNCTIONS if one.in_function else CORE_STDLIB
            if top not in allowed and not one.module.startswith("plasmid.core"):
                wrong.append(f"{name}:{one.line} imports {one.module}")
    assert wrong == []


def test_the_runtime_loads_no_module_that_is_slow_to_import() -> None:
    wrong = [
        f"{name}:{one.line} imports {one.module}"
        for name, path in source_files().items()
        if name.startswith("runtime/")
        for one in imports_of(path)
        if not one.in_function and one.module.partition(".")[0] not in RUNTIME_STDLIB | {"plasmid"}
    ]
    assert wrong == []


def test_no_file_is_over_its_budget_of_lines() -> None:
    over = []
    for path in python_files("src", "tests", "examples", "bench"):
        lines = len(path.read_bytes().splitlines())
        # A table of cases is as long as there are cases; a file of the program is read as a whole.
        lines_max = TEST_LINES_MAX if "tests" in path.parts else FILE_LINES_MAX
        if lines > lines_max:
            over.append(f"{shown(path)}: {lines} lines, {lines_max} allowed")
    assert over == []


def test_no_class_and_no_function_is_over_its_budget_of_lines() -> None:
    over = []
    for path in python_files("src", "tests", "examples", "bench"):
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ClassDef):
                lines, lines_max = span(node), CLASS_LINES_MAX
            elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                lines, lines_max = span(node) - docstring_lines(node), FUNCTION_LINES_MAX
            else:
                continue
            if lines > lines_max:
                over.append(f"{shown(path)}:{node.lineno} {node.name}: {lines} lines, {lines_max} allowed")
    assert over == []


def span(node: "ast.stmt | ast.expr") -> int:
    """Return over how many lines a node goes."""
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


def docstring_lines(node: "ast.FunctionDef | ast.AsyncFunctionDef") -> int:
    """Return how many lines a function's docstring takes."""
    return span(node.body[0]) if ast.get_docstring(node, clean=False) is not None else 0


def test_core_and_runtime_together_are_within_their_budget_of_lines() -> None:
    files = [path for name, path in source_files().items() if name.startswith(("core/", "runtime/"))]
    codes = [strip(path.read_bytes(), keep_annotations=False) for path in files]
    lines = sum(1 for code in codes for line in code.splitlines() if line.strip())
    assert lines <= SENT_LINES_MAX


def far_side_files() -> "list[Path]":
    """Return the files that run on a far side."""
    return [path for name, path in source_files().items() if is_one_of(name, FAR_SIDE)]


def test_what_travels_has_no_syntax_newer_than_python_3_6() -> None:
    newer = []
    for path in far_side_files():
        try:
            ast.parse(path.read_bytes(), str(path), feature_version=(3, 6))
        except SyntaxError as error:
            newer.append(f"{shown(path)}:{error.lineno}: {error.msg}")
        # The parser lets these pass whatever version it is given.
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ImportFrom) and node.module == "__future__":
                newer.append(f"{shown(path)}:{node.lineno}: __future__")
    assert newer == []


COMPILE_EACH = """
import sys
for path in sys.argv[1:]:
    with open(path, "rb") as file:
        compile(file.read(), path, "exec", dont_inherit=True)
"""


def test_what_travels_compiles_on_python_3_6_itself() -> None:
    arguments = [interpreter("3.6"), "-c", COMPILE_EACH, *map(str, far_side_files())]
    result = subprocess.run(arguments, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


def test_no_data_is_turned_into_code() -> None:
    found = []
    for name, path in source_files().items():
        for one in imports_of(path):
            top = one.module.partition(".")[0]
            if top in CODE_FROM_DATA_MODULES and not (top == "marshal" and name in MAY_UNMARSHAL):
                found.append(f"{name}:{one.line} imports {one.module}")
        for node in ast.walk(tree_of(path)):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            if node.func.id == "eval" or (node.func.id == "exec" and name not in MAY_RUN_SOURCE):
                found.append(f"{name}:{node.lineno} calls {node.func.id}()")
    assert found == []


def test_every_file_opens_with_a_docstring() -> None:
    files = python_files("src", "tests", "examples", "bench")
    assert [shown(path) for path in files if not ast.get_docstring(tree_of(path))] == []


def test_no_file_holds_a_word_that_does_not_belong_here() -> None:
    found = []
    for path in text_files():
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            found += [f"{shown(path)}:{number}: {word}" for word in FORBIDDEN_WORDS if word in line]
    assert found == []


def text_files() -> "Iterator[Path]":
    """Give every file of the repository that people read."""
    # In a second working tree `.git` is a file, and Git's own.
    own = (path for path in ROOT.iterdir() if path.name != ".git")
    yield from (path for path in own if path.is_file() and path.suffix in TEXT_SUFFIXES)
    for folder in TEXT_FOLDERS:
        for path in (ROOT / folder).glob("**/*"):
            if path.is_file() and path.suffix in TEXT_SUFFIXES and "__pycache__" not in path.parts:
                yield path
