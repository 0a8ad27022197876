"""docs/reference/api.md has every public name, with the parameters that it has.

A heading in backquotes stands for a name of `plasmid`, and a row of a table below it for a member; where either is
written with brackets, its parameters are compared with those of the code.
"""

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import plasmid
from plasmid import files, service
from plasmid.public import find

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "reference" / "api.md"
HEADING = re.compile(r"^### `(?P<written>[^`]+)`$")
ROW = re.compile(r"^\| (?P<names>`[^|]+`) \|")

PUBLIC_NAMES: Any = find("__all__")
# What the classes that aren't made by users show of themselves: `Context`, and not how one is constructed.
MADE_ELSEWHERE = {"Connected", "Context", "Call", "Sender", "Supervised"}


class Shown(NamedTuple):
    """One name as the page writes it: `Router(timeout=None)`. owner: of a member, else empty."""

    written: str
    owner: str

    @property
    def name(self) -> str:
        """The name without parameters."""
        return self.written.partition("(")[0]

    @property
    def parameters(self) -> "list[str] | None":
        """The parameters as the page writes them, with stars; None if it shows none."""
        if "(" not in self.written:
            return None
        call = ast.parse(self.written, mode="eval").body
        assert isinstance(call, ast.Call), self.written
        return [ast.unparse(argument) for argument in call.args] + [
            keyword.arg or "**" + ast.unparse(keyword.value) for keyword in call.keywords
        ]

    @property
    def found(self) -> Any:
        """What the name stands for."""
        return getattr(getattr(plasmid, self.owner) if self.owner else plasmid, self.name)

    @property
    def default_texts(self) -> "dict[str, str]":
        """The defaults as the page writes them."""
        call = ast.parse(self.written, mode="eval").body
        keywords = call.keywords if isinstance(call, ast.Call) else []
        return {keyword.arg: ast.unparse(keyword.value) for keyword in keywords if keyword.arg}


def shown_names() -> "Iterator[Shown]":
    """Give the names of the page, from top to bottom."""
    owner = ""
    for line in PAGE.read_text().splitlines():
        heading = HEADING.match(line)
        if heading:
            yield Shown(heading["written"], "")
            owner = heading["written"].partition("(")[0]
        elif line.startswith("## "):
            owner = ""
        row = ROW.match(line)
        if row and owner and owner != "service":
            for written in re.findall(r"`([^`]+)`", row["names"]):
                yield Shown(written, owner)


def own_parameters(found: Any, is_member: bool) -> "dict[str, inspect.Parameter]":
    """Return the parameters of a function, method or class, by name with stars, without self and private ones."""
    stars: dict[Any, str] = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    parameters = [one for one in inspect.signature(found).parameters.values() if not one.name.startswith("_")]
    if is_member and parameters and parameters[0].name == "self":
        parameters = parameters[1:]
    return {stars.get(one.kind, "") + one.name: one for one in parameters}


def test_the_page_has_every_public_name_once() -> None:
    names = [one.name for one in shown_names() if not one.owner]
    assert sorted(names) == sorted(PUBLIC_NAMES)


def test_the_page_has_every_name_of_the_service_framework() -> None:
    text = PAGE.read_text()
    own = [name for name in service.__all__ if name not in PUBLIC_NAMES]
    assert [name for name in own if f"`service.{name}`" not in text] == []


def test_the_page_has_every_name_of_the_files() -> None:
    assert sorted(one.name for one in shown_names() if one.owner == "files") == sorted(files.__all__)


def test_every_member_on_the_page_exists() -> None:
    # `router` of a service and `context` of a call are made when the object is.
    instance_only = {("Service", "router"), ("Connected", "by_target"), ("Connected", "failures")}
    members = [one for one in shown_names() if one.owner and (one.owner, one.name) not in instance_only]
    assert [f"{one.owner}.{one.name}" for one in members if not hasattr(getattr(plasmid, one.owner), one.name)] == []


def test_parameters_and_their_defaults_are_those_of_the_code() -> None:
    wrong = []
    for one in shown_names():
        if one.parameters is None:
            continue
        own = own_parameters(one.found, bool(one.owner))
        if one.parameters != list(own):
            wrong.append(f"{one.owner} {one.written}: the code has {list(own)}")
        for name, text in one.default_texts.items():
            if own[name].default != ast.literal_eval(text):
                wrong.append(f"{one.owner} {one.written}: the default of {name} is {own[name].default!r}")
    assert wrong == []


def test_every_public_function_and_class_is_shown_with_its_parameters() -> None:
    without = []
    for one in shown_names():
        is_bare = one.parameters is None and not one.owner and callable(one.found)
        # Exceptions that take what any exception takes have nothing to show.
        if is_bare and one.name not in MADE_ELSEWHERE and "__init__" in vars(one.found):
            without.append(one.name)
    assert without == []
