"""Cut a program's `__main__` down to what a far side may execute: its definitions, never its main part.

The far side runs it as the module `__main__`, so that its functions and classes keep their names. Lines keep their
numbers: what is cut becomes `pass` and empty lines.

- With `if __name__ == "__main__":` only that block goes; the rest is importable, that is what the guard says.
- With `@plasmid.main()` nothing goes: the decorator doesn't call its function on a far side.
- With neither, everything goes but imports, definitions and plain assignments; and of those, what is made from a
  Router or from what the user typed, and what is made from that.

Loaded once a far side asks for `__main__`: many programs call functions of modules alone, and `ast` takes 3 ms.
"""

import ast

from plasmid.boot.bundle import syntax_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Set, Tuple

# What marks the main part: a value that comes from one of these belongs to this run of the program alone.
_MAIN_PART_CALLS = ("Router", "input", "getpass", "parse_args", "parse_known_args")
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def cut(text: str) -> str:
    """Return the source of a script without its main part, every remaining statement on its own line."""
    try:
        body: "List[ast.stmt]" = syntax_tree(text).body
    except (SyntaxError, ValueError, RecursionError):
        return text  # it can't be running here; the far side will say what is wrong with it
    source = _Source(text)
    guards = [node for node in body if isinstance(node, ast.If) and _is_guard(node.test)]
    for guard in guards:
        source.cut_guard(guard)
    if not guards and not _has_main_decorator(body):
        made_in_main: "Set[str]" = set()
        for node in body:
            if not _is_kept(node, made_in_main):
                made_in_main.update(_names_assigned(node))
                source.cut(node)
    return source.text()


def _is_guard(test: "ast.expr") -> bool:
    if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And):
        return any(_is_guard(value) for value in test.values)
    if not isinstance(test, ast.Compare) or len(test.ops) != 1 or not isinstance(test.ops[0], ast.Eq):
        return False
    sides = (test.left, test.comparators[0])
    return {getattr(side, "id", None) for side in sides} == {"__name__", None} and "__main__" in (
        getattr(side, "value", None) for side in sides
    )


def _has_main_decorator(body: "List[ast.stmt]") -> bool:
    """Whether a top-level function is decorated with plasmid's `main`, under whatever name it was imported."""
    modules: "Set[str]" = set()
    functions: "Set[str]" = set()
    for node in body:
        if isinstance(node, ast.Import):
            modules.update(alias.asname or "plasmid" for alias in node.names if alias.name == "plasmid")
        elif isinstance(node, ast.ImportFrom) and node.module == "plasmid":
            functions.update(alias.asname or "main" for alias in node.names if alias.name == "main")
    for node in body:
        for mark in getattr(node, "decorator_list", ()):
            mark = mark.func if isinstance(mark, ast.Call) else mark
            if isinstance(mark, ast.Name) and mark.id in functions:
                return True
            if isinstance(mark, ast.Attribute) and mark.attr == "main" and getattr(mark.value, "id", "") in modules:
                return True
    return False


def _is_kept(node: "ast.stmt", made_in_main: "Set[str]") -> bool:
    """Whether a statement only defines something, from nothing that the main part made."""
    if isinstance(node, (ast.Import, ast.ImportFrom, ast.Pass, ast.Global)):
        return True
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)  # a docstring
    if isinstance(node, (ast.Try, ast.If)):
        # `try: import x`, `if sys.version_info ...`
        parts: "List[ast.stmt]" = [*node.body, *node.orelse, *getattr(node, "finalbody", ())]
        for handler in getattr(node, "handlers", ()):
            parts.extend(handler.body)
        test = getattr(node, "test", None)
        return all(_is_kept(part, made_in_main) for part in parts) and not (test and _uses(test, made_in_main))
    if isinstance(node, (*_DEFINITIONS, ast.Assign, ast.AnnAssign)):
        return not _uses(node, made_in_main)
    return False


def _uses(node: "ast.AST", made_in_main: "Set[str]") -> bool:
    """Whether evaluating it here and now uses what the main part made, or makes more of it."""
    if isinstance(node, ast.Name):
        return node.id in made_in_main
    if isinstance(node, ast.Call):
        called = getattr(node.func, "id", getattr(node.func, "attr", ""))
        if called in _MAIN_PART_CALLS:
            return True
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
        # Not the body: it runs when it's called, and a function may well have a variable called `router`.
        parts: "List[ast.AST]" = [*getattr(node, "decorator_list", ()), node.args]
        return any(_uses(part, made_in_main) for part in parts)
    return any(_uses(child, made_in_main) for child in ast.iter_child_nodes(node))


def _names_assigned(node: "ast.stmt") -> "List[str]":
    return [name.id for name in ast.walk(node) if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)] + [
        node.name for node in [node] if isinstance(node, _DEFINITIONS)
    ]


class _Source:
    """The lines of a source, as bytes since that is how Python counts columns, and cuts in them."""

    def __init__(self, text: str) -> None:
        # As Python's parser counts lines; str.splitlines() would also break at form feeds.
        self._lines = [line.encode() for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n")]
        self._cuts: "List[Tuple[int, int, int, int, bytes]]" = []

    def cut(self, node: "ast.stmt") -> None:
        """Replace a statement, its decorators too, by `pass`, which stands where the statement ended."""
        start, column = node.lineno - 1, node.col_offset
        marks = getattr(node, "decorator_list", ())
        if marks:
            start, column = min(mark.lineno for mark in marks) - 1, 0
        self._cuts.append((start, column, *_end(node), b"pass"))

    def cut_guard(self, guard: "ast.If") -> None:
        """Cut an `if` with its body; an `else` stays, and is always run."""
        if not guard.orelse:
            self.cut(guard)
            return
        # Up to the `else` or `elif`, which is the last one before the first statement of the other branch that
        # stands where the `if` does.
        first = guard.orelse[0]
        line, column = first.lineno - 1, guard.col_offset
        while self._lines[line][column : column + 4] not in (b"else", b"elif"):
            line -= 1
        self._cuts.append((guard.lineno - 1, column, line, column + 4, self._head(line, column)))

    def _head(self, line: int, column: int) -> bytes:
        return b"if" if self._lines[line].startswith(b"elif", column) else b"if 1"

    def text(self) -> str:
        for start, column, end, end_column, text in sorted(self._cuts, reverse=True):
            tail = text + self._lines[end][end_column:]
            head = self._lines[start][:column]
            if start == end:
                self._lines[start] = head + tail
            else:
                self._lines[start : end + 1] = [head, *[b""] * (end - start - 1), tail]
        return b"\n".join(self._lines).decode()


def _end(node: "ast.stmt") -> "Tuple[int, int]":
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    return node.end_lineno - 1, node.end_col_offset
