"""The measurements run and say what they are. What they measure is not asserted: that is for `make bench`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench import pythons, reasons
from bench.figures import COMPARED, FIGURES
from tests.real import parts, sshd

RUN_PY = str(Path(__file__).parent.parent / "bench" / "run.py")


def run_bench(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run bench/run.py."""
    argv = [sys.executable, RUN_PY, *arguments]
    return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=50, check=False)


def test_a_figure_is_measured_for_plasmid_and_for_the_raw_limit_and_put_in_relation(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    result = run_bench("--quick", "--only", "call_down", "--json", "--write", str(page))
    said = json.loads(result.stdout)
    assert said["failures"] == []
    assert (result.returncode, result.stderr) == (0, "round 1 of 1: calls_down\n")
    assert sorted(said) == ["failures", "figures", "surroundings"]
    assert sorted(said["figures"]) == ["call_down"]
    figure = said["figures"]["call_down"]
    assert sorted(figure) == ["goal", "medians", "must", "ratio", "spread_percent", "unit"]
    assert sorted(figure["medians"]) == ["plasmid", "raw"]
    assert figure["unit"] == "µs"
    # One round: the ratio is that of the two medians, and nothing can be said of how it spreads.
    assert abs(figure["ratio"] * figure["medians"]["raw"] / figure["medians"]["plasmid"] - 1) < 1e-9
    assert figure["spread_percent"] is None
    heading = "| figure | unit | raw | Plasmid | x raw | spread | must | goal |"
    lines = page.read_text().splitlines()
    tables = len(pythons.measured(tmp_path))
    assert [line for line in lines if line.startswith("| figure")] == [heading] * tables
    assert len([line for line in lines if line.startswith("| service call, parent to child, p50 | µs |")]) == tables


def test_each_interpreter_that_is_measured_has_the_packages_of_this_one_and_its_address_is_told(tmp_path: Path) -> None:
    for python in pythons.measured(tmp_path):
        code = "import msgpack, platform; print(platform.python_version(), id(int))"
        argv = [python.executable, "-c", code]
        said = {subprocess.run(argv, capture_output=True, text=True, check=True).stdout for _ in range(5)}
        assert {line.split()[0] for line in said} == {python.version}
        assert (len(said) == 1) == python.keeps_its_place


def test_what_is_measured_with_a_second_interpreter_are_figures_of_the_table() -> None:
    assert set(COMPARED) <= {figure.name for figure in FIGURES}


def test_a_reason_stands_for_each_figure_that_must_be_reached_and_is_not() -> None:
    root = Path(RUN_PY).parent.parent
    page = (root / "docs" / "performance.md").read_text()
    table = [[cell.strip() for cell in line.split("|")[1:]] for line in page.splitlines() if line.startswith("| ")]
    must = table[0].index("must")
    missed = {line[0] for line in table if "**no**" in line[must]}
    names = {figure.name for figure in FIGURES if figure.title in missed}
    assert names - reasons.known().keys() == set()
    assert reasons.NONE_YET not in page


def test_a_reason_goes_on_in_lines_that_begin_with_a_space() -> None:
    assert reasons.read("hop: one\n  two\n\nmany: three\n") == {"hop": "one two", "many": "three"}


@pytest.mark.parametrize("text", ["speed: none", "hop: one\nhop: two", "hop", "  hop: one"])
def test_a_reason_for_no_figure_or_for_one_that_has_one_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^line \d begins with no figure, or with one that has a reason: "):
        reasons.read(text)


def test_a_figure_that_there_is_none_of_is_refused_with_the_names_of_those_there_are() -> None:
    result = run_bench("--only", "speed")
    assert result.returncode == 2
    last = result.stderr.splitlines()[-1]
    assert last.startswith("run.py: error: there is no figure speed; there are interpreter_start, first_answer, ")


def test_clones_are_measured_beside_new_contexts() -> None:
    argv = [sys.executable, str(Path(RUN_PY).with_name("forks.py")), "--quick"]
    result = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=50, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    names = [line[:34].strip() for line in result.stdout.splitlines()[1:-1]]
    assert names == ["a new local context", "the same by way of the warm one", "a clone of the warm one"]


def test_the_growth_of_a_tree_is_measured_and_plotted(tmp_path: Path) -> None:
    page = tmp_path / "scale.md"
    argv = [sys.executable, str(Path(RUN_PY).with_name("scale.py")), "--quick", "--write", str(page)]
    result = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=50, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    headings = [
        line for line in result.stdout.splitlines() if line.startswith("| ") and ":" in line and "--" not in line
    ]
    assert [heading for heading in headings if heading in page.read_text()] == headings
    assert len(headings) == 5
    assert page.with_suffix(".svg").read_text().count("<polyline") == 5


def test_files_are_measured_beside_the_programs_that_move_them_otherwise() -> None:
    parts.required_program("scp", "openssh-client")
    sshd.require_openssh()
    argv = [sys.executable, str(Path(RUN_PY).with_name("files.py")), "--quick"]
    result = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=50, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert [line for line in lines if line[:1] != " "][:-1] == [
        "one file of 2 MiB, local",
        "50 files of 4 KiB, local",
        "one file of 2 MiB over ssh",
    ]
    names = [line.split()[0] for line in lines if line[:1] == " "]
    assert names == ["cat", "fetch", "put", "tar", "fetch", "put", "scp", "fetch", "put"]


def test_files_there_and_back_are_in_the_table_beside_the_programs_that_move_them_otherwise() -> None:
    parts.required_program("scp", "openssh-client")
    sshd.require_openssh()
    names = ["file_local", "file_ssh", "small_files"]
    said = json.loads(run_bench("--quick", "--only", ",".join(names), "--json").stdout)
    assert said["failures"] == []
    assert sorted(said["figures"]) == names
    for figure in said["figures"].values():
        assert sorted(figure["medians"]) == ["plasmid", "raw"]
        assert isinstance(figure["must"], bool)


def test_imports_are_measured_beside_those_from_a_disk(tmp_path: Path) -> None:
    page = tmp_path / "imports.md"
    argv = [sys.executable, str(Path(RUN_PY).with_name("imports.py")), "--quick", "--write", str(page)]
    result = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=50, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in result.stdout.splitlines() if line[:1] == "|"]
    assert [row[0] for row in rows[2::5]] == ["10 modules made for this", "`rich.console`", "`jinja2`"]
    assert len(rows) == 2 + 3 * 5
    # The first one in each way: nothing is asked for from a disk, nor of what was sent ahead.
    assert [row[6] for row in rows[2:7]] == ["–", "–", "1", "1", "0"]
    assert result.stdout in page.read_text()
