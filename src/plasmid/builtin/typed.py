"""What is typed into IPython or a notebook goes to a far side cell by cell, once something of it is called there.

A program that is typed in is never finished, so its `__main__` can't be sent once. Before each call of a function of
it, the cells that were typed since the last one are sent, cut to their definitions as a script is, and run in the
`__main__` there.
"""

import sys

from plasmid.builtin import bytecode
from plasmid.builtin.main_module import cut, typed_cells

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Dict, List

    from plasmid.builtin.modules import ModuleServer
    from plasmid.runtime.runtime import Runtime


def permitting(runtime: "Runtime", modules: "ModuleServer") -> "Callable[[bytes, str], None]":
    """Return what Runtime.permit is at the root: it permits, and sends what was typed."""
    sent: "Dict[bytes, int]" = {}

    def permit(address: bytes, module_name: str) -> None:
        modules.permit(address, module_name)
        cells = typed_cells() if module_name == "__main__" and address else None
        if not cells or sent.get(address, 0) >= len(cells):
            return
        from plasmid.runtime.context import Context

        definitions = definitions_of(cells)
        new = {number: definitions[number] for number in range(sent.get(address, 0), len(cells))}
        for text in new.values():
            compiled = bytecode.compiled(text, "<typed>")
            if compiled is not None:
                at_import, later = bytecode.imports_of(compiled.code, "__main__", False)
                modules.policy.sent(address, "__main__", at_import + later)
        sent[address] = len(cells)
        call = Context(runtime, address).send_call(
            "f", __name__, "run", [[[[number, new[number]] for number in new]], {}]
        )
        assert call is not None
        call.result()

    def forget(address: bytes, reason: str) -> None:
        sent.pop(address, None)

    runtime.on_gone.append(forget)
    return permit


def definitions_of(cells: "List[str]") -> "List[str]":
    """Return the part of each cell that a far side may execute, judged by the whole: later cells use earlier ones."""
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
