"""What is typed at a prompt or into a notebook goes to a far side cell by cell, once something of it is called there.

A program that is typed in is never finished, so its `__main__` can't be sent once. Before each call of a function of
it, the cells that were typed since the last one are sent, cut to their definitions as a script is, and run in the
`__main__` there. Where no cells are kept, as at the prompt of an older Python, functions go by themselves: prompt.py.
"""

import sys

from plasmid.builtin import bytecode
from plasmid.builtin.main_module import path_of_program, text_of_command, typed_cells
from plasmid.builtin.source_finder import dict_of
from plasmid.core import values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType
    from typing import Callable, Dict, List

    from plasmid.builtin.modules import ModuleServer
    from plasmid.runtime.runtime import Runtime


def permitting(runtime: "Runtime", modules: "ModuleServer") -> "Callable[[bytes, str], None]":
    """Return what Runtime.permit is at the root: it permits, and sends what was typed."""
    typed = _Typed(runtime, modules)
    runtime.on_gone.append(typed.forget)
    return typed.permit


class _Typed:
    """Sends what was typed to each context, as far as that wasn't sent before."""

    def __init__(self, runtime: "Runtime", modules: "ModuleServer") -> None:
        self._runtime = runtime
        self._modules = modules
        self._cells: "Dict[bytes, int]" = {}  # how many of them each context has
        self._items: "Dict[bytes, Dict[str, bytes]]" = {}  # digests of what was sent of a prompt without cells, by name

    def permit(self, address: bytes, module_name: str) -> None:
        self._modules.permit(address, module_name)
        if module_name != "__main__" or not address:
            return
        cells = typed_cells()
        if cells:
            self._send_cells(address, cells)
        elif is_prompt():
            self._send_names(address)

    def forget(self, address: bytes, reason: str) -> None:
        self._cells.pop(address, None)
        self._items.pop(address, None)

    def _send_cells(self, address: bytes, cells: "List[str]") -> None:
        if self._cells.get(address, 0) >= len(cells):
            return
        definitions = definitions_of(cells)
        new = {number: definitions[number] for number in range(self._cells.get(address, 0), len(cells))}
        for text in new.values():
            compiled = bytecode.compiled(text, "<typed>")
            if compiled is not None:
                self._permit_imports(address, compiled.code)
        self._cells[address] = len(cells)
        self._call(address, __name__, "run", [[number, new[number]] for number in new])

    def _send_names(self, address: bytes) -> None:
        import hashlib

        from plasmid.builtin import prompt

        names = dict_of(sys.modules["__main__"])
        sent = self._items.setdefault(address, {})
        digests = {}
        new = []
        for item in prompt.definitions(names):
            digest = hashlib.sha256(b"".join(values.encode(item))).digest()
            if sent.get(item[1]) == digest:
                continue
            digests[item[1]] = digest
            new.append(item)
            if item[0] in ("module", "member"):
                self._modules.policy.sent(address, "__main__", [item[2]])
            elif item[0] == "code":
                self._permit_imports(address, names[item[1]].__code__)
        if new:
            self._call(address, prompt.__name__, "define", new)
            sent.update(digests)

    def _permit_imports(self, address: bytes, code: "CodeType") -> None:
        at_import, later = bytecode.imports_of(code, "__main__", False)
        self._modules.policy.sent(address, "__main__", at_import + later)

    def _call(self, address: bytes, module: str, function: str, argument: object) -> None:
        from plasmid.runtime.context import Context

        call = Context(self._runtime, address).send_call("f", module, function, [[argument], {}])
        assert call is not None
        call.result()


def is_prompt() -> bool:
    """Whether things of `__main__` may have no file: it is typed, or came as standard input."""
    if text_of_command() is not None:
        return False
    return hasattr(sys, "ps1") or not path_of_program(dict_of(sys.modules.get("__main__")))


def definitions_of(cells: "List[str]") -> "List[str]":
    """Return the part of each cell that a far side may execute, judged by the whole: later cells use earlier ones."""
    from plasmid.builtin.main_part import cut

    texts = []
    for cell in cells:
        try:
            compile(cell, "<typed>", "exec", dont_inherit=True)
        except (SyntaxError, ValueError):
            cell = ""  # it never ran here either
        texts.append(cell.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n"))
    lines = cut("\n".join(texts)).split("\n")  # which keeps the number of each line
    found = []
    for text in texts:
        count = text.count("\n") + 1
        found.append("\n".join(lines[:count]))
        del lines[:count]
    return found


def run(cells: "List[List[object]]") -> None:
    """Far side: run cells, each a number and its source, in the `__main__` here; tracebacks show their lines."""
    import linecache

    from plasmid.runtime.missing import load_main

    load_main()
    for number, source in cells:
        assert isinstance(source, str)
        path = "<cell %s>" % number
        linecache.cache[path] = len(source), None, source.splitlines(True), path
        exec(compile(source, path, "exec", dont_inherit=True), sys.modules["__main__"].__dict__)
