"""Find this process's `__main__`, which a far side runs as the module `__main__`: a script, or what is typed.

What it is cut down to is told in main_part.py.
"""

import sys

from plasmid.builtin.source_finder import Found, dict_of, source_of, utf8

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Tuple

TYPED = "<typed>"
_INPUT = "<python-input-"


def find_main() -> "Tuple[Optional[Found], str]":
    """Return this process's `__main__`, cut, and the package that its relative imports start from ("" if none).

    It is empty for a program that is typed, or came as standard input: see typed.py. None without a source to read.
    """
    from plasmid.builtin.main_part import cut

    names = dict_of(sys.modules.get("__main__"))
    spec = names.get("__spec__")
    path = path_of_program(names)
    if not path:
        typed = text_of_command() if typed_cells() is None else None
        return Found(Found.SOURCE, TYPED, False, utf8(cut(typed or ""))), ""
    text = source_of(getattr(spec, "name", "__main__"), names.get("__loader__"), path)
    package = names.get("__package__")
    found = None if text is None else Found(Found.SOURCE, path, False, utf8(cut(text)))
    return found, package if isinstance(package, str) else ""


def path_of_program(names: "Dict[str, Any]") -> str:
    """Return the file of a `__main__` with these names, "" if it has none."""
    # Python takes `__file__` away when the script has ended and its prompt comes (`python -i script.py`).
    path = names.get("__file__") or getattr(names.get("__loader__"), "path", "")
    return path if isinstance(path, str) and path != "<stdin>" else ""


def text_of_command() -> "Optional[str]":
    """Return the program that was given by -c, None if none was."""
    words: "List[str]" = getattr(sys, "orig_argv", [])  # since 3.10
    if sys.argv[:1] != ["-c"] or "-c" not in words[:-1]:
        return None
    return words[words.index("-c") + 1]


def typed_cells() -> "Optional[List[str]]":
    """Return what was typed so far into IPython, a notebook, or at the prompt of Python 3.13 and later, one by one.

    None where nothing is kept of it.
    """
    has_file = bool(path_of_program(dict_of(sys.modules.get("__main__"))))
    if has_file and not hasattr(sys, "ps1"):
        return None  # nobody types anything
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if shell is not None and not has_file:
        return list(shell.history_manager.input_hist_parsed[1:])
    return _cells_of_prompt()


def _cells_of_prompt() -> "Optional[List[str]]":
    """Return what Python 3.13 and later keep of their prompt for tracebacks."""
    linecache = sys.modules.get("linecache")
    kept: "Dict[int, List[str]]" = {}
    for table in (getattr(linecache, "cache", {}), getattr(linecache, "_interactive_cache", {})):
        for key, entry in list(table.items()):
            name = key if isinstance(key, str) else entry[3]
            if isinstance(name, str) and name.startswith(_INPUT) and len(entry) > 2:
                kept[int(name[len(_INPUT) : -1])] = entry[2]
    return ["".join(kept.get(number, ())) for number in range(max(kept) + 1)] if kept else None
