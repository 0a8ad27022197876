"""Which of the words of `plasmid run` is the function, what it stands for here, and its arguments.

    local:  web1,web2  ssh://me@db1   disk.py::free_bytes   /var  unit=MiB
    \\_____________ targets _________/ \\____ function ____/  \\_ arguments _/

The first word is a target. The function is the first word after it that has the form of one, whatever it means:
FILE.py::NAME, MODULE:NAME, MODULE::NAME or MODULE.NAME. So the answer never depends on what is installed.
"""

import importlib
import importlib.util
import json
import os
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from plasmid.builtin.source_finder import stdlib_names

_NAME = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"
_DOTTED = re.compile(rf"{_NAME}\.[^\W\d]\w*")
_WITH_COLON = re.compile(rf"(?P<module>{_NAME})::?(?P<name>{_NAME})")
_IN_FILE = re.compile(r"(?P<path>.*\.py)::(?P<name>.*)")


class NoFunction(Exception):
    """The words don't say which function to run, or it isn't to be found here; the text says why."""


class Words(NamedTuple):
    """The words of the command line, told apart."""

    targets: "list[str]"
    function: str
    arguments: "list[str]"


class Function(NamedTuple):
    """A function as a far side finds it, and the object that it is here."""

    module: str
    qualname: str
    here: Any


def tell_apart(words: "tuple[str, ...] | list[str]") -> Words:
    """Return which words are targets, which the function, and which its arguments. Raises NoFunction."""
    if words and _IN_FILE.fullmatch(words[0]):
        raise NoFunction(f"there is no target before {words[0]!r}; for this machine it is local:")
    for number, word in enumerate(words[1:], 1):
        if is_function(word):
            return Words(list(words[:number]), word, list(words[number + 1 :]))
    after = f" after {words[0]!r}" if words else ""
    raise NoFunction(f"there is no function{after}; it is written FILE.py::NAME or MODULE.NAME")


def is_function(word: str) -> bool:
    """Return whether a word has the form of a function."""
    return any(form.fullmatch(word) for form in (_IN_FILE, _WITH_COLON, _DOTTED))


def find_function(written: str) -> Function:
    """Import what the function is in, here, and return it. Raises NoFunction."""
    # As `python FILE` and `python -m` have it. This late, so that no file there hides a module of the command's own.
    in_file = _IN_FILE.fullmatch(written)
    with_colon = _WITH_COLON.fullmatch(written)
    if in_file:
        module, qualname = _import_file(Path(in_file["path"])), in_file["name"]
    else:
        _put_on_path(Path.cwd())
        if with_colon:
            module, qualname = _import(with_colon["module"], written), with_colon["name"]
        else:
            module, qualname = _import_longest(written)
    found: Any = sys.modules[module]
    for part in qualname.split("."):
        if not hasattr(found, part):
            raise NoFunction(f"{written}: {_named(found, module)} has no {part!r}")
        found = getattr(found, part)
    if not callable(found):
        raise NoFunction(f"{written} is no function but {_a(type(found).__name__)}")
    return Function(module, qualname, found)


def parse_arguments(words: "list[str]") -> "tuple[list[Any], dict[str, Any]]":
    """Return the positional and the keyword arguments that words stand for. Raises NoFunction on a word too many."""
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not name.isidentifier():
            args.append(parse_value(word))
        elif name in kwargs:
            raise NoFunction(f"the argument {name}= is there twice")
        else:
            kwargs[name] = parse_value(text)
    return args, kwargs


def parse_value(text: str) -> Any:
    """Return what the text is as JSON, or the text itself if it is none."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return text


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} isn't JSON, though Python would take it")


def _import_file(path: Path) -> str:
    """Import a file as the module that it is, and return the module's name."""
    if not path.is_file():
        raise NoFunction(f"there is no file {path}")
    path = path.resolve()
    folder, parts = path.parent, [] if path.stem == "__init__" else [path.stem]
    while (folder / "__init__.py").is_file():
        parts.insert(0, folder.name)
        folder = folder.parent
    _put_on_path(folder)
    name = ".".join(parts)
    # A file called calendar.py, or check-disks.py: the far side has a module of the one name, and no module can have
    # the other.
    if len(parts) == 1 and (not name.isidentifier() or name in stdlib_names() or not _is_at(name, path)):
        return _import_as("file_" + re.sub(r"\W", "_", name), path)
    module = sys.modules[_import(name, str(path))]
    if not _is_file_of(module, path):
        raise NoFunction(f"{path} would be the module {name}, but that is {module.__file__}")
    return name


def _is_at(name: str, path: Path) -> bool:
    """Whether importing a top-level name would give this file."""
    if name in sys.modules:
        return _is_file_of(sys.modules[name], path)
    spec = importlib.util.find_spec(name)
    return spec is not None and spec.origin is not None and Path(spec.origin).resolve() == path


def _is_file_of(module: ModuleType, path: Path) -> bool:
    return bool(module.__file__) and Path(str(module.__file__)).resolve() == path


def _import_as(name: str, path: Path) -> str:
    """Import a file under a name that isn't its own."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(sys.modules[name])
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise _failed(str(path), error) from error
    return name


def _import(name: str, written: str) -> str:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(error.name + ".")):
            raise NoFunction(_not_here(written, error.name)) from None
        raise _failed(written, error) from error
    except (Exception, SystemExit) as error:
        raise _failed(written, error) from error
    return name


def _import_longest(written: str) -> "tuple[str, str]":
    """Import as much of a dotted name as is a module; return that and the rest."""
    parts = written.split(".")
    name = _import(parts[0], written)
    for part in parts[1:-1]:
        inner = f"{name}.{part}"
        is_package = hasattr(sys.modules[name], "__path__")
        if inner not in sys.modules and not (is_package and importlib.util.find_spec(inner)):
            break
        name = _import(inner, written)
    return name, written.removeprefix(name + ".")


def _put_on_path(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _failed(written: str, error: BaseException) -> NoFunction:
    if isinstance(error, SystemExit):
        return NoFunction(f'importing {written} ended the program; its main part needs `if __name__ == "__main__":`')
    where = ""
    traceback = error.__traceback__
    while traceback is not None:
        # The last frame in a file of the user's, not of the import system.
        if "importlib" not in traceback.tb_frame.f_code.co_filename:
            where = f" (line {traceback.tb_lineno} of {os.path.relpath(traceback.tb_frame.f_code.co_filename)})"
        traceback = traceback.tb_next
    return NoFunction(f"importing {written} here failed with {type(error).__name__}: {error}{where}")


def _not_here(written: str, name: str) -> str:
    text = f"{written}: there is no module {name!r} here"
    if _DOTTED.fullmatch(written):
        text += f". If {written!r} is a target, join it to the one before by a comma, or write ssh://{written}"
    return text


def _named(found: object, module: str) -> str:
    return f"the module {module}" if isinstance(found, ModuleType) else getattr(found, "__qualname__", repr(found))


def _a(name: str) -> str:
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"
