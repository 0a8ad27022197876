"""metadata.py: what is asked for when importlib.metadata looks for a distribution, and how long an answer is good."""

import importlib.metadata
from typing import Any

import pytest

from plasmid.builtin import metadata

FIRM = {"found": {"firm": {"METADATA": "Name: firm\nVersion: 2\n\n"}}, "refused": {}}
NOTHING: "dict[str, Any]" = {"found": {}, "refused": {}}


class Parent:
    """Answers what metadata.py asks; `now` is its clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self.reply = NOTHING
        self.asked: list[Any] = []
        monkeypatch.setattr(metadata, "ask", self.ask)
        monkeypatch.setattr(metadata, "monotonic", lambda: self.now)
        monkeypatch.setattr(metadata, "_kept", {})

    def ask(self, method: str, names: Any) -> "dict[str, Any]":
        self.asked.append(names)
        return self.reply

    def versions(self, name: "str | None", now: float) -> "list[str]":
        """Return the versions that are found at that time."""
        self.now = now
        named: dict[str, Any] = {"name": name} if name else {}
        context = importlib.metadata.DistributionFinder.Context(**named)
        return [one.version for one in metadata.find(context)]


def test_a_distribution_that_is_not_there_is_asked_for_again_after_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # U4
    parent = Parent(monkeypatch)
    assert [parent.versions("firm", now) for now in (100.0, 104.9)] == [[], []]
    parent.reply = FIRM
    assert [parent.versions("firm", now) for now in (104.95, 105.1, 1e9)] == [[], ["2"], ["2"]]
    assert parent.asked == [["firm"], ["firm"]], "one that was found is good for ever"
    assert [parent.versions("FIRM", 105.2), parent.versions("other_one", 105.2)] == [["2"], ["2"]]
    assert parent.asked == [["firm"], ["firm"], ["other_one"]], "names are compared as Python does"


def test_the_list_of_all_and_a_refusal_are_good_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:  # U4
    parent = Parent(monkeypatch)
    parent.reply = FIRM
    assert [parent.versions(None, now) for now in (100.0, 104.9, 105.1)] == [["2"]] * 3
    assert parent.asked == [None, None]
    parent.reply = {"found": {}, "refused": {"firm": "name it in allow_modules="}}
    for now in (200.0, 204.9, 205.1):
        with pytest.raises(importlib.metadata.PackageNotFoundError) as caught:
            parent.versions("firm", now)
        assert str(caught.value) == "No package metadata was found for firm: name it in allow_modules="
    assert parent.asked == [None, None, ["firm"], ["firm"]]
