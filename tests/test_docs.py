"""Every example in the README and the documentation runs.

What a fence says after its opening decides what happens to it; a viewer shows only the first word:

    ```python               a program of its own: run as a script in an empty folder, must end with status 0
    ```python file=disk.py  as well, under this name; later examples of the same page find the file beside them
    ```python sshd          as well, with `ssh` leading to a private server whatever host the example names
    ```python docker        as well, with a `docker` that knows a running container called web
    ```python slurm         as well, as a task of a job with two nodes
    ```python no-run        not run, only parsed; a comment on the line before says why: <!-- needs two machines -->
    ```sh                   run with `sh -eu` if its first command is `plasmid`, under the same options; else left alone

A `$ ` before a command is dropped, and then so are the lines without one, which are output. Other languages are left
alone.
"""

import ast
import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.real import parts, sshd

ROOT = Path(__file__).parent.parent
EXAMPLE_TIMEOUT_S = 50
OPENING = re.compile(r"^(?P<indent>\s*)```(?P<info>\S.*)$")
REASON = re.compile(r"^\s*<!--\s*\S.*-->\s*$")
OPTIONS = ("no-run", "sshd", "docker", "slurm")


class Example(NamedTuple):
    """One fenced example of a page."""

    page: Path
    line: int  # of its opening
    language: str
    options: "tuple[str, ...]"
    text: str
    line_before: str

    @property
    def file_name(self) -> str:
        """What the example is called when it runs; empty if it didn't ask for a name."""
        names = [option.removeprefix("file=") for option in self.options if option.startswith("file=")]
        return names[0] if names else ""

    @property
    def where(self) -> str:
        """The page and line, for messages."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def commands(self) -> "list[str]":
        """The commands of a shell example."""
        lines = self.text.splitlines()
        typed = [line[2:] for line in lines if line.startswith("$ ")]
        return typed or [line for line in lines if line.strip() and not line.startswith("#")]

    @property
    def runs(self) -> bool:
        """Whether the example is one to run."""
        if "no-run" in self.options:
            return False
        if self.language == "sh":
            return bool(self.commands) and self.commands[0].split()[0] == "plasmid"
        return self.language == "python"


def examples_of(page: Path) -> "Iterator[Example]":
    """Give a page's fenced examples from top to bottom."""
    lines = page.read_text().splitlines()
    number = 0
    while number < len(lines):
        opening = OPENING.match(lines[number])
        if opening is None:
            number += 1
            continue
        indent = opening["indent"]
        end = next(n for n in range(number + 1, len(lines)) if lines[n].strip() == "```")
        text = "".join(line.removeprefix(indent) + "\n" for line in lines[number + 1 : end])
        language, *options = opening["info"].split()
        before = next((line for line in reversed(lines[:number]) if line.strip()), "")
        yield Example(page, number + 1, language, tuple(options), text, before)
        number = end + 1


def pages() -> "list[Path]":
    """Return the README and the documentation's pages."""
    return [page for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))] if page.exists()]


EXAMPLES = [example for page in pages() for example in examples_of(page)]


def write_page_files(example: Example, folder: Path) -> None:
    """Put the named files of the page, down to this example, into the folder."""
    for other in examples_of(example.page):
        if other.file_name and other.line <= example.line:
            (folder / other.file_name).write_text(other.text)


def arguments_of(example: Example, folder: Path) -> "list[str]":
    """Return what to run for an example, after writing it into the folder."""
    if example.language == "sh":
        return ["sh", "-eu", "-c", "\n".join(example.commands)]
    name = example.file_name or "example.py"
    (folder / name).write_text(example.text)
    return [sys.executable, name]


def environment_with(*folders: Path) -> "dict[str, str]":
    """Return the environment with these folders first on PATH, and before them the one with the `plasmid` command."""
    path = [str(Path(sys.executable).parent), *map(str, folders), os.environ.get("PATH", os.defpath)]
    return {**os.environ, "PATH": os.pathsep.join(path)}


@contextlib.contextmanager
def ssh_that_leads_to(client: sshd.Client) -> "Iterator[Path]":
    """Give a folder whose `ssh` goes to the private server, whatever host it is asked for."""
    folder = client.config_path.with_suffix(".bin")
    folder.mkdir()
    command = folder / "ssh"
    command.write_text(f'#!/bin/sh\nexec {parts.required_program("ssh")} -F {client.config_path} "$@"\n')
    command.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def test_every_option_of_an_example_is_known_and_each_that_does_not_run_says_why() -> None:
    wrong = []
    for example in EXAMPLES:
        unknown = [option for option in example.options if option not in OPTIONS and not option.startswith("file=")]
        wrong += [f"{example.where}: unknown option {option}" for option in unknown]
        if "no-run" in example.options and not REASON.match(example.line_before):
            wrong.append(f"{example.where}: no-run without <!-- a reason --> on the line before")
    assert wrong == []


@pytest.mark.parametrize("example", [one for one in EXAMPLES if one.language == "python"], ids=lambda one: one.where)
def test_every_python_example_is_python(example: Example) -> None:
    ast.parse(example.text, example.where)


def marked_with_its_connectors(example: Example) -> Any:
    """Return an example as a parameter, under the markers of what it needs."""
    needed = [option for option in ("docker", "slurm") if option in example.options]
    return pytest.param(example, marks=[pytest.mark.connector(one) for one in needed], id=example.where)


@pytest.mark.real
@pytest.mark.parametrize("example", [marked_with_its_connectors(one) for one in EXAMPLES if one.runs])
def test_every_example_runs(example: Example, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    write_page_files(example, tmp_path)
    with contextlib.ExitStack() as held:
        folders = []
        if "sshd" in example.options:
            folders.append(held.enter_context(ssh_that_leads_to(request.getfixturevalue("ssh_client"))))
        if "docker" in example.options:
            folders.append(request.getfixturevalue("docker_on_path"))
        environment = environment_with(*folders)
        arguments = arguments_of(example, tmp_path)
        if "slurm" in example.options:
            environment |= request.getfixturevalue("slurm_cluster").environment
            arguments = ["salloc", "--quiet", "--nodes=2", "--ntasks=2", *arguments]
        result = subprocess.run(
            arguments,
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=EXAMPLE_TIMEOUT_S,
            check=False,
        )
    assert result.returncode == 0, f"{example.where}\n{result.stdout}\n{result.stderr}"
