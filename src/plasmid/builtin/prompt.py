"""What was typed at Python's own prompt, or given as standard input: functions without a file, sent as they are now.

Python 3.13 keeps what is typed at its prompt as source, which goes as the cells of a notebook do (typed.py). Before, it
keeps only the code. A function is then sent as that, to a far side with the same bytecode; where a console of another
make keeps sources for tracebacks (`linecache`), as source too. With it go those names of `__main__` that it uses: other
such functions, modules, what was imported from modules, and values. What can't be sent stands on the far side as
`Unsent`, which says why as soon as it is used. Code goes down only, as that of modules does.

Each item that travels is [kind, name, ...]:

    module   name, module                       import module as name
    member   name, module, qualname             from module import qualname as name
    value    name, value
    code     name, function                     as a map: see describe()
    unsent   name, why
"""

import linecache
import sys
import textwrap
from types import CodeType, FunctionType, ModuleType

from plasmid.builtin import bytecode
from plasmid.builtin.main_module import path_of_program
from plasmid.core import values
from plasmid.core.errors import PlasmidError
from plasmid.runtime.importer import Loader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterator, List, Optional

_VERSION = "%d.%d.%d" % sys.version_info[:3]
ADVICE = "put it in a file, or type it where its source is kept, as in IPython or at the usual prompt of Python 3.13"


def definitions(names: "Dict[str, Any]") -> "List[List[Any]]":
    """Near side: return the items for all functions among the names of `__main__` that have no file."""
    found: "Dict[str, List[Any]]" = {}
    is_program = bool(path_of_program(names))
    pending = [name for name, value in list(names.items()) if _is_typed(value, is_program)]
    while pending:
        name = pending.pop()
        if name in found or name not in names:
            continue
        item = _item(name, names[name])
        if is_program and item[0] in ("code", "unsent") and not _is_typed(names[name], is_program):
            continue  # it is in the file, which has gone there
        found[name] = item
        if item[0] == "code":
            pending.extend(_names_in(names[name].__code__))
    return list(found.values())


def _is_typed(value: object, is_program: bool = False) -> bool:
    """Whether it is a function or class of `__main__` that no file has. is_program: whether `__main__` has a file."""
    if isinstance(value, type) and value.__module__ == "__main__":
        functions = [one for one in vars(value).values() if isinstance(one, FunctionType)]
        return any(map(_is_without_file, functions)) or not (is_program or functions)
    return isinstance(value, FunctionType) and value.__module__ == "__main__" and _is_without_file(value)


def _is_without_file(function: "Any") -> bool:
    name = function.__code__.co_filename
    return name in ("<stdin>", "<console>") or (name[:1] == "<" and name in linecache.cache)


def _names_in(code: "CodeType") -> "Iterator[str]":
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names_in(constant)


def _item(name: str, value: "Any") -> "List[Any]":
    if isinstance(value, ModuleType):
        return ["module", name, value.__name__]
    if isinstance(value, (type, FunctionType)) and value.__module__ == "__main__":
        why = _objection(value)
        return ["unsent", name, why] if why or isinstance(value, type) else ["code", name, describe(value)]
    module, qualname = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if isinstance(module, str) and isinstance(qualname, str) and _is_member(value, module, qualname):
        return ["member", name, module, qualname]
    why = _unsendable(value)
    return ["unsent", name, why] if why else ["value", name, value]


def _is_member(value: "Any", module: str, qualname: str) -> bool:
    return getattr(sys.modules.get(module), qualname, None) is value and module != "__main__"


def _unsendable(value: "Any") -> str:
    try:
        values.decode(b"".join(values.encode(value)))  # an object of an undeclared class would be refused over there
    except (PlasmidError, RecursionError) as error:
        return "it can't be sent: %s" % error
    return ""


def _objection(value: "Any") -> str:
    """Return why a function or class can't be sent, "" if it can."""
    if isinstance(value, type):
        return "it is a class, of whose source Python %s keeps nothing; %s" % (_VERSION, ADVICE)
    if value.__closure__:
        return "it uses variables of the function that it was made in"
    for part in (value.__defaults__, value.__kwdefaults__, value.__dict__):
        why = _unsendable(part)
        if why:
            return "of what belongs to it, %s" % why
    return ""


def describe(function: "FunctionType") -> "Dict[str, Any]":
    """Return a function as it travels: its source where it was kept, its code, and what belongs to it."""
    code = function.__code__
    return {
        "name": function.__name__,
        "source": _source_of(code),
        "line": code.co_firstlineno,
        "file": code.co_filename,
        "code": bytecode.Compiled(code).packed(),
        "python": _VERSION,
        "defaults": function.__defaults__,
        "kwdefaults": function.__kwdefaults__,
        "attributes": function.__dict__,
    }


def _source_of(code: "CodeType") -> str:
    import inspect

    try:
        text = textwrap.dedent(inspect.getsource(code)) if linecache.getlines(code.co_filename) else ""
    except (OSError, TypeError):
        return ""
    # A prompt that calls everything `<stdin>` may have kept something else by now.
    return text if _code_in(_placed(text, code.co_firstlineno), code.co_filename, code.co_name) == code else ""


def _placed(text: str, line: int) -> str:
    """Return a text that begins in that line."""
    return "\n" * (line - 1) + text


class Unsent:
    """Stands for something of the root's `__main__` that wasn't sent; whatever is done with it says why."""

    def __init__(self, name: str, why: str) -> None:
        self.__dict__["_text"] = "%r was typed at a prompt: %s" % (name, why)

    def _fail(self, *args: "Any", **kwargs: "Any") -> "Any":
        raise ImportError(self.__dict__["_text"])

    def __getattr__(self, name: str) -> "Any":
        if name[:2] == "__" or name == "_fail":  # what libraries look for in everything
            raise AttributeError(name)
        return self._fail()

    __call__ = __iter__ = __len__ = __getitem__ = __contains__ = __add__ = __eq__ = __lt__ = __bool__ = _fail
    __hash__ = None  # type: ignore[assignment]


def define(items: "List[List[Any]]") -> None:
    """Far side: put these names into the `__main__` here."""
    from plasmid.runtime.missing import load_main

    names = load_main().__dict__
    for kind, name, *rest in items:
        if kind == "module":
            names[name] = _imported(name, rest[0])
        elif kind == "member":
            names[name] = _imported(name, rest[0], rest[1])
        elif kind == "value":
            names[name] = rest[0]
        elif kind == "code":
            names[name] = _function(name, rest[0], names)
        else:
            names[name] = Unsent(name, rest[0])


def _imported(name: str, module: str, member: str = "") -> "Any":
    try:
        __import__(module)
        return getattr(sys.modules[module], member) if member else sys.modules[module]
    except (ImportError, AttributeError) as error:
        return Unsent(name, "%s: %s" % (type(error).__name__, error))


def _function(name: str, said: "Dict[str, Any]", names: "Dict[str, Any]") -> "Any":
    text = _placed(said["source"], said["line"])
    if said["source"]:
        linecache.cache[said["file"]] = len(text), None, text.splitlines(True), said["file"]
    code = None  # type: Optional[CodeType]
    if said["code"][:4] == bytecode.MAGIC and not sys.flags.optimize:
        code = Loader(False, said["file"], None, said["code"]).get_code()
    elif said["source"]:
        code = _code_in(text, said["file"], said["name"])
    if code is None:
        why = "of its source Python %s kept nothing, and its code doesn't run on this Python, %s; %s"
        return Unsent(name, why % (said["python"], _VERSION, ADVICE))
    made = FunctionType(code, names, said["name"], said["defaults"])
    made.__kwdefaults__ = said["kwdefaults"]
    made.__dict__.update(said["attributes"])
    return made


def _code_in(text: str, file: str, name: str) -> "Optional[CodeType]":
    """Return the code of a `def`; its decorators and defaults, which are values already, aren't evaluated."""
    try:
        outer = compile(text, file, "exec", dont_inherit=True)
    except SyntaxError:
        return None
    inner = (one for one in outer.co_consts if isinstance(one, CodeType) and one.co_name == name)
    return next(inner, None)
