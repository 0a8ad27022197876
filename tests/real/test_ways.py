"""Chains of ways, and who may say what a way is, with real far sides."""

from pathlib import Path

import pytest

import plasmid
from plasmid.connect import SCHEMES
from tests.real import far


def test_a_chain_makes_a_context_for_each_link_and_gives_the_last(router: plasmid.Router) -> None:  # U1
    context = router.connect("local:|local:|local:", name="last")
    assert str(context) == "last (/1/1/1)"
    assert context.call(far.add, 1) == 11


def test_a_chain_that_fails_leaves_nothing_of_itself(router: plasmid.Router) -> None:
    with pytest.raises(plasmid.ConnectError) as caught:
        router.connect("local:|local:", python_path="/nowhere/python3")
    assert caught.value.found == "there is no program /nowhere/python3 here"
    assert all(child.gone.wait(10) for child in [*router.children.values()])
    assert router.children == {}


POINTS = "[plasmid.connectors]\nlab = os:system\n"


def test_a_far_side_never_looks_for_ways_of_other_packages(router: plasmid.Router, tmp_path: Path) -> None:
    info = tmp_path / "lab_plasmid-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lab-plasmid\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(POINTS)
    context = router.local()
    said = context.call(far.error_of_url, "lab://x", str(tmp_path))
    assert said == f"no way to connect is called 'lab'; there are {', '.join(sorted(SCHEMES))}"
