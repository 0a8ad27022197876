"""The pages hang together: links lead somewhere, each page can be found, and the architecture page has every file."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from plasmid.boot import bundle

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "plasmid"
INDEX = ROOT / "docs" / "index.md"
ARCHITECTURE = ROOT / "docs" / "architecture.md"
ON_DEMAND = ROOT / "docs" / "design" / "0003-modules-on-demand.md"
LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")
FENCE = re.compile(r"^\s*```")
HEADING = re.compile(r"^#+ (?P<text>.*)$")


class Link(NamedTuple):
    """One link of a page to a file of the repository."""

    page: Path
    line: int
    path: Path  # of what it leads to
    anchor: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}: {self.path.name}#{self.anchor}"


def pages() -> "list[Path]":
    """Return every page that people read."""
    return [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("**/*.md"))]


def prose_of(page: Path) -> "Iterator[tuple[int, str]]":
    """Give the lines of a page that stand in no fence, with their numbers."""
    in_fence = False
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if FENCE.match(line):
            in_fence = not in_fence
        elif not in_fence:
            yield number, line


def links_of(page: Path) -> "Iterator[Link]":
    """Give the links of a page that stay within the repository."""
    for number, line in prose_of(page):
        for target in LINK.findall(line):
            if "://" not in target and not target.startswith("mailto:"):
                path, _, anchor = target.partition("#")
                yield Link(page, number, (page.parent / path).resolve() if path else page, anchor)


def anchors_of(page: Path) -> "set[str]":
    """Return the anchors that a viewer makes of a page's headings."""
    headings = [match["text"] for _, line in prose_of(page) if (match := HEADING.match(line))]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_link_leads_to_a_page_that_exists_and_a_heading_on_it() -> None:
    broken = []
    for page in pages():
        for link in links_of(page):
            if not link.path.exists() or (link.anchor and link.anchor not in anchors_of(link.path)):
                broken.append(str(link))
    assert broken == []


def test_every_page_of_the_documentation_can_be_found_from_its_index() -> None:
    linked = {link.path for link in links_of(INDEX)} | {INDEX}
    lost = [path for path in sorted((ROOT / "docs").glob("**/*.md")) if path not in linked]
    assert [str(path.relative_to(ROOT)) for path in lost] == []


def test_the_architecture_page_names_every_source_file() -> None:
    text = ARCHITECTURE.read_text()
    unnamed = []
    for path in sorted(PACKAGE.glob("**/*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        folder, _, file = name.rpartition("/")
        is_whole = folder.startswith("cli") and "`cli/`" in text
        if file != "__init__.py" and not is_whole and f"`{name}`" not in text and f"`{file}`" not in text:
            unnamed.append(name)
    assert unnamed == []


def test_the_architecture_page_names_no_file_that_is_gone() -> None:
    named = re.findall(r"`((?:core|runtime|boot|connect|service|builtin|cli)/\w+\.py)`", ARCHITECTURE.read_text())
    assert sorted(name for name in set(named) if not (PACKAGE / name).exists()) == []


def test_the_note_on_modules_that_come_later_names_each_of_them_and_no_other() -> None:
    files = [path for folder in ("core", "runtime") for path in (PACKAGE / folder).glob("*.py")]
    modules = {f"{path.parent.name}.{path.stem}" for path in files if path.stem != "__init__"}
    named = set(re.findall(r"`((?:core|runtime)\.\w+)`", ON_DEMAND.read_text()))
    assert named == modules - set(bundle.BOOTED)
