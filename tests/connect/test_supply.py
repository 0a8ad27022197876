"""What a context is to be supplied with: the options, and what is wrong with some."""

from pathlib import Path
from typing import Any

import pytest

from plasmid.connect.supply import OPTIONS, Supply, supply_in


def test_the_options_are_taken_out_of_those_of_the_connector() -> None:
    options: dict[str, Any] = {"name": "a", "requires": ["numpy>=2 "], "prefer": "near", "deny_modules": ["x"]}
    supply = supply_in(options)
    assert options == {"name": "a"}
    assert supply is not None
    assert [getattr(supply, name) for name in OPTIONS] == [(), ["x"], (), ["numpy>=2"], [], "near", True]
    assert supply_in(options) is None


def test_wheels_are_files_or_all_those_in_a_folder(tmp_path: Path) -> None:
    for name in ("b-1-py3-none-any.whl", "a-1-py3-none-any.whl", "notes.txt"):
        (tmp_path / name).write_text("")
    first = tmp_path / "a-1-py3-none-any.whl"
    assert Supply(requires=["a"], wheels=[tmp_path]).wheels == [str(first), str(tmp_path / "b-1-py3-none-any.whl")]
    assert Supply(requires=["a"], wheels=[str(first)]).wheels == [str(first)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"compiled": "no"}, "compiled must be True or False; it is 'no'"),
        ({"prefer": "here"}, 'prefer must be "far" or "near"; it is \'here\''),
        ({"requires": "numpy"}, 'requires must be a list such as ["numpy>=2"], or "script"; it is \'numpy\''),
        ({"requires": ["--index-url=x"]}, "requires: '--index-url=x' is no requirement, such as numpy>=2"),
        ({"requires": ["a\n-r b"]}, "requires: 'a\\n-r b' is no requirement, such as numpy>=2"),
        ({"requires": [""]}, "requires: '' is no requirement, such as numpy>=2"),
        ({"requires": [1]}, "requires: 1 is no requirement, such as numpy>=2"),
        ({"requires": ["a"], "wheels": "x.whl"}, "wheels must be a list of files or folders; it is 'x.whl'"),
        ({"requires": ["a"], "wheels": ["/nowhere.whl"]}, "wheels: there is no wheel at '/nowhere.whl'"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(options: "dict[str, Any]", message: str) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        Supply(**options)
    assert str(caught.value) == message


def test_wheels_without_requirements_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a-1-py3-none-any.whl").write_text("")
    with pytest.raises(ValueError, match="wheels= says where packages come from; requires= must say which"):
        Supply(wheels=[tmp_path])
