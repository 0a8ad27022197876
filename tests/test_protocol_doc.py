"""docs/reference/protocol.md and the source say the same numbers.

The page's tables are read, by their headings, and compared with the constants that they name. A limit of core/ that the
page doesn't have fails here as well, so that a new one can't come unannounced.
"""

import importlib
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from plasmid.boot import bundle
from plasmid.boot.first_stage import MARK_START, first_stage
from plasmid.core import calls, errors, frames, link

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "reference" / "protocol.md"
RULE = re.compile(r"^\|[-:| ]+\|$")

# Modules of core/ each of whose limits must be on the page, and the names in them that are no limit.
LIMITED = ("address", "frames", "link", "flow", "calls", "streams", "node", "switch", "relay", "remote")
NO_LIMITS = {
    "TYPE_CHECKING",
    # Numbers of links within one context, never on the wire.
    *("PARENT", "LOCAL", "OWN", "REACTIONS"),
    # How an end goes about it, which no peer can tell.
    "WAYS_MAX",
    # Tables of their own.
    *("ROUTED_MIN", "LANE_MASK", "FLAGS_MASK", "MORE", "NO_REPLY", "HAS_ROOM", "PAIR"),
}


def tables() -> "dict[tuple[str, ...], list[list[str]]]":
    """Return the page's tables: their rows by their headings. Tables with the same headings are put together."""
    found: dict[tuple[str, ...], list[list[str]]] = {}
    rows: list[list[str]] = []
    before = ""
    for line in PAGE.read_text().splitlines():
        if RULE.match(line):
            rows = found.setdefault(tuple(cells_of(before)), [])
        elif line.startswith("|"):
            rows.append(cells_of(line))
        else:
            rows = []  # what comes next is the headings of another table
        before = line
    return found


def cells_of(line: str) -> "list[str]":
    """Return the cells of a table's row, without quotes of code."""
    return [cell.strip().strip("`") for cell in line.strip().strip("|").split("|")]


def table(*headings: str) -> "list[list[str]]":
    """Return the rows of the table with these headings."""
    return tables()[headings]


def number(written: str) -> float:
    """Return the number that a cell says; whole ones exactly, of any size."""
    plain = written.replace(",", "")
    return float(plain) if "." in plain else int(plain)


def limits_on_the_page() -> "dict[str, float]":
    """Return each limit of the page by its name, `core.frames.CHUNK_SIZE`."""
    return {row[0]: number(row[1]) for row in table("limit", "number", "unit", "going over it")}


def own_numbers(module: ModuleType) -> "dict[str, float]":
    """Return the numbers that a module's own source defines under names in capitals."""
    source = Path(str(module.__file__)).read_text()
    names = re.findall(r"^([A-Z][A-Z0-9_]*) = ", source, re.MULTILINE)
    return {name: getattr(module, name) for name in names if type(getattr(module, name)) in (int, float)}


def words_of(kind: type) -> "dict[str, Any]":
    """Return the constants of a class such as Kind."""
    return {name: value for name, value in vars(kind).items() if name.isupper()}


def test_the_header_is_as_long_as_its_fields_and_they_stand_where_the_page_says() -> None:
    sizes = {"B": 1, "H": 2, "I": 4, "Q": 8}
    expected, offset = [], 0
    for form in frames.HEADER.format.lstrip(">"):
        expected.append([str(offset), str(sizes[form])])
        offset += sizes[form]
    rows = [row[:2] for row in table("offset", "size", "field", "meaning")]
    assert rows[: len(expected)] == expected
    assert rows[len(expected)][0] == str(frames.HEADER_SIZE)


def test_the_page_has_every_kind_with_its_number_and_says_which_are_routed() -> None:
    rows = table("kind", "name", "reaches", "id", "body")
    assert {row[1]: int(row[0]) for row in rows} == words_of(frames.Kind)
    assert {row[1]: row[2] for row in rows} == {
        name: "routed" if value >= frames.ROUTED_MIN else "link" for name, value in words_of(frames.Kind).items()
    }


def test_the_page_has_every_flag_and_no_other() -> None:
    rows = table("bit", "name", "meaning")
    assert {row[1]: int(row[0], 16) for row in rows} == {
        "LANE_MASK": frames.LANE_MASK,
        "MORE": frames.MORE,
        "NO_REPLY": frames.NO_REPLY,
        "HAS_ROOM": frames.HAS_ROOM,
    }
    assert sum(int(row[0], 16) for row in rows) == frames.FLAGS_MASK
    assert [row[:2] for row in table("bit", "of a LOST", "meaning")] == [[f"0x{frames.PAIR:02x}", "PAIR"]]
    assert frames.PAIR & frames.LANE_MASK == frames.PAIR


def test_the_page_has_every_lane() -> None:
    assert {row[1]: int(row[0]) for row in table("lane", "name", "what it is about")} == words_of(frames.Lane)


def test_the_page_has_the_states_of_a_link_and_what_each_kind_of_frame_does_in_them() -> None:
    columns = ["hello", "ping or pong", "routed frame", "goodbye"]
    rows = table("state", "HELLO", "PING or PONG", "routed frame", "GOODBYE")
    written = {(row[0], word): cell for row in rows for word, cell in zip(columns, row[1:], strict=True)}
    states = words_of(link.LinkState).values()
    expected = {(state, word): link.TRANSITIONS.get((state, word), "error") for state in states for word in columns}
    assert written == expected


def test_the_page_has_every_code_that_a_call_can_end_with() -> None:
    assert [row[0] for row in table("code", "sent by")] == list(errors.CALL_ERRORS)


def test_the_head_of_a_call_has_the_sizes_that_the_page_gives_its_fields() -> None:
    rows = table("bytes", "field", "meaning")
    assert calls.CALL_HEAD.format == ">IH"
    assert [row[:2] for row in rows[:3]] == [["4", "remaining"], ["2", "head_size"], ["head_size", "head"]]


@pytest.mark.parametrize("name", sorted(limits_on_the_page()))
def test_a_limit_on_the_page_is_the_one_in_the_source(name: str) -> None:
    module, _, constant = name.rpartition(".")
    assert getattr(importlib.import_module("plasmid." + module), constant) == limits_on_the_page()[name]


def test_every_limit_of_the_core_is_on_the_page() -> None:
    missing = []
    for name in LIMITED:
        module = importlib.import_module("plasmid.core." + name)
        constants = own_numbers(module).keys() - NO_LIMITS
        missing += [f"core.{name}.{constant}" for constant in constants]
    assert sorted(set(missing) - limits_on_the_page().keys()) == []


def test_the_first_stage_says_the_mark_that_the_page_shows() -> None:
    page = PAGE.read_text()
    assert f"`{MARK_START}`" in page
    # Apart, so that an echo of the command isn't taken for the mark.
    text = first_stage("0123456789abcdef")
    assert MARK_START in text
    assert MARK_START + "0123456789abcdef" not in text


def test_the_bundle_is_laid_out_as_the_page_says() -> None:
    import zlib

    data = zlib.decompress(bundle.pack_bundle([("plasmid", True, b"x = 1\n"), ("plasmid.core.y", False, b"y = 2\n")]))
    loader_size = int.from_bytes(data[:4], "big")
    rest = data[4 + loader_size :]
    index, empty, sources = rest.partition(b"\n\n")
    lines = [line.split(b" ") for line in index.split(b"\n")]
    assert empty == b"\n\n"
    assert [(name, package) for name, package, _ in lines] == [(b"plasmid", b"1"), (b"plasmid.core.y", b"0")]
    assert sum(int(size) for _, _, size in lines) == len(sources)
    assert [heading for heading in tables() if heading == ("bytes", "what")] == [("bytes", "what")]
