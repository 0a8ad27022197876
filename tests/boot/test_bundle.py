"""bundle.py: what is stripped and what is not, held against the syntax tree; the layout; what is in it."""

import ast
import pathlib
import zlib

import pytest

import plasmid.boot
from plasmid.boot.bundle import BOOTED, LOADER, PACKAGES, bundle, own_sources, pack_bundle, strip
from plasmid.boot.first_stage import first_stage
from plasmid.connect.ssh import Ssh
from tests.test_tidy import FAR_SIDE

PACKAGE = pathlib.Path(plasmid.boot.__file__).parents[1]
TRAVELS = sorted(path for folder in FAR_SIDE for path in PACKAGE.glob(folder + "*.py" * folder.endswith("/")))


class Undress(ast.NodeTransformer):
    """The slow, plain way to do what strip() does, on the tree."""

    def __init__(self, keep_annotations: bool) -> None:
        self.keep_annotations = keep_annotations

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        for field in ("body", "orelse", "finalbody"):
            body = getattr(node, field, None)
            if isinstance(body, list):
                kept = [statement for statement in body if not self.is_prose(statement)]
                if body and not kept and not isinstance(node, ast.Module):
                    kept = [ast.Expr(ast.Constant(0))]
                setattr(node, field, kept)
        return node

    def is_prose(self, statement: ast.stmt) -> bool:
        match statement:
            case ast.Expr(ast.Constant(str())):
                return True
            case ast.If(ast.Name("TYPE_CHECKING"), _, []):
                return True
            case ast.AnnAssign(value=None):
                return not self.keep_annotations
        return False

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        if not self.keep_annotations:
            node.returns = None
        return self.generic_visit(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        if not self.keep_annotations:
            node.returns = None
        return self.generic_visit(node)

    def visit_If(self, node: ast.If) -> ast.AST:
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING" and node.orelse:
            node.body = [ast.Expr(ast.Constant(0), lineno=node.lineno)]
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        if not self.keep_annotations:
            node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if self.keep_annotations or node.value is None:
            return node
        return ast.Assign([node.target], node.value, lineno=node.lineno)


def lines_and_trees(module: ast.Module) -> list[tuple[int, str]]:
    """Every statement with the line it is on, columns left out."""
    return [
        (node.lineno if ast.dump(node) != "Expr(value=Constant(value=0))" else 0, ast.dump(node))
        for node in ast.walk(module)
        if isinstance(node, ast.stmt)
    ]


def undressed(source: bytes, keep_annotations: bool) -> list[tuple[int, str]]:
    tree = Undress(keep_annotations).visit(ast.parse(source))
    return lines_and_trees(ast.fix_missing_locations(tree))


@pytest.mark.parametrize("keep_annotations", [False, True])
@pytest.mark.parametrize("path", TRAVELS, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_stripped_source_has_the_same_statements_on_the_same_lines(
    path: pathlib.Path, keep_annotations: bool
) -> None:
    source = path.read_bytes()
    assert lines_and_trees(ast.parse(strip(source, keep_annotations))) == undressed(source, keep_annotations)


DRESSED = b'''"""A file."""
import os  # why

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Optional


class Empty(Exception):
    """Only prose."""


class Full:
    """Some prose
    on two lines."""

    limit: int = 5  # most
    """What it is."""
    name: "Optional[str]"

    def find(self, key: "Dict[str, int]" = {}, *rest: int, # wide
             deep: bool = False, **more: str) -> "Optional[str]":
        """Return it."""
        text = """a # no comment
        'stays'"""
        if key:
            return "it's # here" + '"#"' + text  # gone
        return None

    def nothing(self) -> None: "prose"; x = 1
'''

UNDRESSED = b'''
import os

TYPE_CHECKING=False




class Empty(Exception):
 0


class Full:



 limit=5



 def find(self,key={},*rest,
   deep=False,**more):

  text="""a # no comment
        'stays'"""
  if key:
   return "it's # here"+'"#"'+text
  return None

 def nothing(self):0;x=1
'''


def test_prose_goes_and_everything_else_stays() -> None:
    assert strip(DRESSED, keep_annotations=False) == UNDRESSED


def test_annotations_stay_when_they_are_asked_for() -> None:
    source = b'class A:\n    """A."""\n\n    b: int\n\n    def c(self, d: "int" = 1) -> None:\n        "C."\n'
    expected = b'class A:\n\n\n b:int\n\n def c(self,d:"int"=1)->None:\n  0\n'
    assert strip(source) == expected


def test_text_beyond_ascii_does_not_move_what_is_cut() -> None:
    source = 'A = "\u00e4\u00f6"; "prose"\n\n\ndef f(a: "\u20ac" = "\u20ac") -> "\u20ac":  # \u20ac\n    return a\n'
    expected = 'A="\u00e4\u00f6";\n\n\ndef f(a="\u20ac"):\n return a\n'
    assert strip(source.encode(), keep_annotations=False).decode() == expected


def test_the_bundle_is_the_loader_the_index_and_the_sources() -> None:
    packed = pack_bundle([("a", True, b"x = 1  # one\n"), ("a.b", False, b'"""B."""\ny = 2\n')])
    loader = LOADER.encode()
    assert zlib.decompress(packed) == (
        len(loader).to_bytes(4, "big") + loader + b"a 1 4\na.b 0 5\n\n" + b"x=1\n" + b"\ny=2\n"
    )


def test_the_bundle_holds_what_is_booted_of_core_and_runtime_as_it_is_in_its_files() -> None:
    sources = own_sources()
    assert [name for name, _, _ in sources] == [*PACKAGES, *("plasmid." + name for name in BOOTED)]
    assert {name.partition(".")[0] for name in BOOTED} == {"core", "runtime"}
    assert {name for name, is_package, _ in sources if is_package} == {"plasmid", "plasmid.core", "plasmid.runtime"}
    for name, is_package, source in sources:
        path = PACKAGE.parent.joinpath(*name.split("."))
        assert source == (path / "__init__.py" if is_package else path.with_suffix(".py")).read_bytes()


def test_what_is_booted_imports_only_what_is_booted_at_its_top() -> None:
    booted = {*PACKAGES, *("plasmid." + name for name in BOOTED)}
    for name, _, source in own_sources():
        for statement in ast.parse(strip(source, keep_annotations=False)).body:
            if isinstance(statement, ast.ImportFrom) and (statement.module or "").startswith("plasmid"):
                module = statement.module or ""
                wanted = {module} if module not in PACKAGES else {f"{module}.{alias.name}" for alias in statement.names}
                assert wanted <= booted, name


def test_the_bundle_is_packed_once() -> None:
    assert bundle() is bundle()


def test_all_that_is_sent_at_boot_is_less_than_24_kib() -> None:
    command = len(Ssh("h" * 64, username="u" * 32).argv(first_stage("0" * 16), "plasmid:" + "n" * 64)[-1])
    configuration = 200  # address, name and the name of the root, packed
    size = command + configuration + len(bundle())
    assert size < 24 * 1024
