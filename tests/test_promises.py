"""docs/promises.md and the tests say the same about which promise is kept where.

A test keeps a promise by naming it in a comment of its own, `# S8` or `# S8, D2: why`, inside it or right above it.
The document's last column holds the files with such tests, or "not yet". Run as a program (`make promises`), this
writes that column.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
DOCUMENT = ROOT / "docs" / "promises.md"
NUMBERS = [*(f"S{n}" for n in range(1, 25)), *(f"U{n}" for n in range(1, 10)), *(f"D{n}" for n in range(1, 14))]
NOT_YET = "not yet"

# A row's cells may hold an escaped bar, `\|`.
ROW = re.compile(r"^\| (?P<number>[A-Z]\d+) \| (?P<promise>(?:[^|\\]|\\.)+) \| (?P<kept_by>(?:[^|\\]|\\.)+) \|$")
COMMENT = re.compile(r"^#\s*(?P<numbers>[SUD]\d+(?:\s*,\s*[SUD]\d+)*)(?![\w.])")
PATH = re.compile(r"tests/[\w/]+\.py")


class Row(NamedTuple):
    """One promise as the document has it."""

    number: str
    promise: str
    kept_by: str

    @property
    def files(self) -> "set[str]":
        """The test files that it says keep the promise."""
        return set(PATH.findall(self.kept_by))


class Naming(NamedTuple):
    """One place in the tests that names a promise."""

    number: str
    file: str
    line: int
    test: str  # the name of the test it belongs to, empty if it belongs to none


def rows() -> "list[Row]":
    """Return the document's promises in its order."""
    matches = (ROW.match(line) for line in DOCUMENT.read_text().splitlines())
    return [Row(**match.groupdict()) for match in matches if match]


def namings() -> "list[Naming]":
    """Return every place in the tests that names a promise."""
    return [one for path in sorted((ROOT / "tests").glob("**/*.py")) for one in namings_in(path)]


def namings_in(path: Path) -> "Iterator[Naming]":
    """Give the places of one file that name a promise."""
    source = path.read_text()
    comments = {
        token.start[0]: token.string
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    tests = spans_of_tests(ast.parse(source, str(path)), comments)
    for line, text in comments.items():
        match = COMMENT.match(text)
        if match is None:
            continue
        test = next((name for name, lines in tests if line in lines), "")
        for number in re.split(r"\s*,\s*", match["numbers"]):
            yield Naming(number, path.relative_to(ROOT).as_posix(), line, test)


def spans_of_tests(tree: ast.Module, comments: "dict[int, str]") -> "list[tuple[str, range]]":
    """Return each test's name and lines, from the comments right above it to its end."""
    spans = []
    for node in ast.walk(tree):
        is_test = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test_")
        is_group = isinstance(node, ast.ClassDef) and node.name.startswith("Test")
        if not (is_test or is_group):
            continue
        assert isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
        first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
        while first - 1 in comments:
            first -= 1
        assert node.end_lineno is not None
        spans.append((node.name, range(first, node.end_lineno + 1)))
    return spans


def files_by_number() -> "dict[str, set[str]]":
    """Return which test files keep each promise that a test names."""
    files: dict[str, set[str]] = {}
    for one in namings():
        if one.test:
            files.setdefault(one.number, set()).add(one.file)
    return files


def write_column() -> None:
    """Write into the document which files keep each promise. Text after the files, "; not yet: ...", stays."""
    files = files_by_number()
    lines = []
    for line in DOCUMENT.read_text().splitlines():
        match = ROW.match(line)
        if match:
            row = Row(**match.groupdict())
            names = ", ".join(f"`{file}`" for file in sorted(files.get(row.number, ())))
            _, separator, rest = row.kept_by.partition(f"; {NOT_YET}: ")
            kept_by = (names or NOT_YET) + (separator + rest if names else "")
            line = f"| {row.number} | {row.promise} | {kept_by} |"
        lines.append(line)
    DOCUMENT.write_text("\n".join(lines) + "\n")


def test_the_document_has_every_promise_once_and_in_order() -> None:
    assert [row.number for row in rows()] == NUMBERS


def test_every_promise_that_is_said_to_be_kept_is_kept_by_a_test_in_each_file_it_names() -> None:
    files = files_by_number()
    broken = [f"{row.number}: {file}" for row in rows() for file in sorted(row.files - files.get(row.number, set()))]
    assert broken == [], "docs/promises.md names files without a test for that promise; `make promises` writes it anew"


def test_a_promise_that_a_test_keeps_is_not_called_open() -> None:
    files = files_by_number()
    stale = [f"{row.number}: {file}" for row in rows() for file in sorted(files.get(row.number, set()) - row.files)]
    assert stale == [], "docs/promises.md doesn't name these tests yet; `make promises` writes them in"


def test_every_promise_names_files_or_says_not_yet() -> None:
    assert [row for row in rows() if not row.files and row.kept_by != NOT_YET] == []


def test_tests_name_only_promises_that_exist() -> None:
    unknown = [f"{one.file}:{one.line}: {one.number}" for one in namings() if one.number not in NUMBERS]
    assert unknown == []


def test_a_promise_is_named_on_the_test_that_keeps_it() -> None:
    loose = [f"{one.file}:{one.line}: {one.number}" for one in namings() if not one.test]
    assert loose == []


if __name__ == "__main__":
    write_column()
