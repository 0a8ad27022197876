"""Cutting a program's main part out of its source."""

import ast

import pytest

from plasmid.builtin.main_part import cut


def check(source: str, expected: str) -> None:
    """Assert what is left, that it has as many lines as before, and that it's still Python."""
    left = cut(source)
    assert left == expected
    assert left.count("\n") == source.count("\n")
    ast.parse(left)


@pytest.mark.parametrize(
    "test", ['__name__ == "__main__"', "'__main__' == __name__", '__name__ == "__main__" and True']
)
def test_the_guarded_block_goes_and_all_else_stays(test: str) -> None:  # U3
    check(f"x = run()\nif {test}:\n    one()\n    two(\n    )\nprint(x)\n", "x = run()\n\n\n\npass\nprint(x)\n")


def test_the_else_of_a_guard_is_run() -> None:
    source = 'if __name__ == "__main__":\n    run()\nelse:\n    a = 1\n'
    check(source, "\n\nif 1:\n    a = 1\n")
    source = 'if __name__ == "__main__": run()\nelif x:\n    a = 1\nelse: b = 1\n'
    check(source, "\nif x:\n    a = 1\nelse: b = 1\n")


def test_another_comparison_is_no_guard() -> None:
    source = 'def f(): pass\nif __name__ == "other":\n    a = 1\nif name == "__main__":\n    b = 1\n'
    check(source, source)


@pytest.mark.parametrize(
    ("head", "mark"),
    [
        ("import plasmid", "@plasmid.main()"),
        ("import plasmid as p", "@p.main"),
        ("from plasmid import main", "@main()"),
        ("from plasmid import main as start", "@start"),
    ],
)
def test_a_script_with_the_main_decorator_is_sent_whole(head: str, mark: str) -> None:  # S16
    source = f"{head}\nnow = clock()\n{mark}\ndef run(router):\n    pass\nprint(1)\n"
    check(source, source)


def test_without_guard_and_decorator_only_definitions_stay() -> None:  # U3
    source = '''"""What it does."""
import os, sys
try:
    import fast
except ImportError:
    fast = None
if sys.version_info > (3,):
    text = str
LOG = make_log("x")
SIZE: int = 5
class Disk:
    def free(self): return router
@cached
def work(x, y=SIZE): return x
print("started")
work(1)
for item in work(2):
    total = item
with open("x") as file: data = file
while True: break
'''
    expected = source[: source.index("print(")] + "pass\npass\n\npass\npass\npass\n"
    check(source, expected)


def test_what_a_router_made_goes_and_what_was_made_from_that() -> None:  # U3
    source = """import plasmid
router = plasmid.Router()
db = router.ssh(
    "db1",
)
answer: int = db.call(f)
other = [1, 2]; router2 = plasmid.Router(); third = 3
def f(router=None): return router.x
def g(context=db): pass
@db.wrap
def h(): pass
class K(g): pass
z, (y, *w) = answer, 1
v = w
"""
    expected = """import plasmid
pass


pass
pass
other = [1, 2]; pass; third = 3
def f(router=None): return router.x
pass

pass
pass
pass
pass
"""
    check(source, expected)


def test_what_the_user_typed_in_goes() -> None:
    source = "import argparse\nparser = argparse.ArgumentParser()\nargs = parser.parse_args()\nname = input('?')\n"
    check(source, "import argparse\nparser = argparse.ArgumentParser()\npass\npass\n")


def test_columns_are_counted_in_bytes_and_line_ends_don_t_matter() -> None:
    check("x = 'äöü€'; run('ä'); y = 'ß'\n", "x = 'äöü€'; pass; y = 'ß'\n")
    assert cut("x = 1\r\nrun(\r\n)\r\ny = 2\r\n") == "x = 1\n\npass\ny = 2\n"


def test_a_source_that_is_no_python_stays_as_it_is() -> None:
    assert cut("if if") == "if if"
