"""Which word is the function, what it stands for, and what its arguments are."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from plasmid.cli.function import Function, NoFunction, Words, find_function, parse_arguments, parse_value, tell_apart


@pytest.fixture(autouse=True)
def imports_as_before() -> "Iterator[None]":
    """Put sys.path and sys.modules back."""
    path, modules = list(sys.path), dict(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - set(modules):
        del sys.modules[name]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("local: os.getpid", Words(["local:"], "os.getpid", [])),
        ("web1 web2 os.getpid", Words(["web1", "web2"], "os.getpid", [])),
        ("web1.example.com os.getpid x.y", Words(["web1.example.com"], "os.getpid", ["x.y"])),
        ("a,b.example.com os:getpid", Words(["a,b.example.com"], "os:getpid", [])),
        ("web1:22 me@b.example.com 10.0.0.2 ssh://c.example.com os.getpid", Words(
            ["web1:22", "me@b.example.com", "10.0.0.2", "ssh://c.example.com"], "os.getpid", []
        )),
        ("local: ./a b/disk.py::Disk.free /var n=1", Words(
            ["local:", "./a"], "b/disk.py::Disk.free", ["/var", "n=1"]
        )),
        ("[::1] pkg.mod::f", Words(["[::1]"], "pkg.mod::f", [])),
        # A host name with dots has the form of a function: the rule doesn't ask what is installed.
        ("web1 web2.example.com os.getpid", Words(["web1"], "web2.example.com", ["os.getpid"])),
    ],
)  # fmt: skip
def test_the_function_is_the_first_word_after_a_target_that_has_the_form_of_one(words: str, told: Words) -> None:
    assert tell_apart(words.split()) == told


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("disk.py::free /", "there is no target before 'disk.py::free'; for this machine it is local:"),
        ("web1 web2", "there is no function after 'web1'; it is written FILE.py::NAME or MODULE.NAME"),
        ("local: len", "there is no function after 'local:'; it is written FILE.py::NAME or MODULE.NAME"),
    ],
)
def test_words_without_a_target_or_a_function_are_refused(words: str, why: str) -> None:
    with pytest.raises(NoFunction) as caught:
        tell_apart(words.split())
    assert str(caught.value) == why


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("-1.5e3", -1500.0),
        ("true", True),
        ("null", None),
        ('"5"', "5"),
        ('{"a": [1, 2]}', {"a": [1, 2]}),
        ("", ""),
        ("True", "True"),
        ("NaN", "NaN"),
        ("-Infinity", "-Infinity"),
        ("/var", "/var"),
        ("[1, 2", "[1, 2"),
        ("[" * 100000, "[" * 100000),
        ("1" * 5000, "1" * 5000),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_word_is_json_if_it_parses_as_json_and_else_text(text: str, value: object) -> None:
    assert (parse_value(text), type(parse_value(text))) == (value, type(value))


def test_name_equals_value_is_a_keyword_argument() -> None:
    words = ["/var", "unit=MiB", "n=5", "a b=c", "=x", "text=a=b", '"unit=GiB"']
    assert parse_arguments(words) == (["/var", "a b=c", "=x", "unit=GiB"], {"unit": "MiB", "n": 5, "text": "a=b"})


def test_a_keyword_that_is_there_twice_is_refused() -> None:
    with pytest.raises(NoFunction, match="the argument n= is there twice"):
        parse_arguments(["n=1", "n=2"])


def test_a_function_of_a_module_is_named_as_it_was_written() -> None:
    import os.path
    import random

    assert find_function("os.path.join") == Function("os.path", "join", os.path.join)
    assert find_function("random.random") == Function("random", "random", random.random)
    assert find_function("collections.abc:Mapping.get")[:2] == ("collections.abc", "Mapping.get")


def test_a_file_is_imported_by_its_own_name_and_without_its_main_part(folder: Path) -> None:
    found = find_function(f"{folder}/tasks.py::Tool.double")
    assert (found.module, found.qualname, found.here(4)) == ("tasks", "Tool.double", 8)


def test_a_file_of_a_package_is_imported_as_its_module(tmp_path: Path) -> None:
    inner = tmp_path / "outer_pkg" / "inner_pkg"
    inner.mkdir(parents=True)
    (tmp_path / "outer_pkg" / "__init__.py").write_text("")
    (inner / "__init__.py").write_text("def here(): pass\n")
    (inner / "tool.py").write_text("from outer_pkg import inner_pkg\ndef f(): pass\n")
    assert find_function(f"{inner}/tool.py::f")[:2] == ("outer_pkg.inner_pkg.tool", "f")
    assert find_function(f"{inner}/__init__.py::here")[:2] == ("outer_pkg.inner_pkg", "here")


@pytest.mark.parametrize(
    ("name", "module"),
    [("calendar.py", "file_calendar"), ("check-disks.py", "file_check_disks"), ("plasmid.py", "file_plasmid")],
)
def test_a_file_whose_name_is_taken_or_no_name_gets_another(tmp_path: Path, name: str, module: str) -> None:
    (tmp_path / name).write_text("def f(): pass\n")
    found = find_function(f"{tmp_path}/{name}::f")
    assert (found.module, found.here.__module__) == (module, module)


@pytest.mark.parametrize(
    ("source", "function", "why"),
    [
        ("", "{file}::nope", "{file}::nope: the module broken has no 'nope'"),
        ("", "{file}::", "{file}::: the module broken has no ''"),
        ("x = 5", "{file}::x", "{file}::x is no function but an int"),
        ("1 / 0", "{file}::f",
         "importing {file} here failed with ZeroDivisionError: division by zero (line 1 of {near})"),
        ("import nope_x", "{file}::f",
         "importing {file} here failed with ModuleNotFoundError: No module named 'nope_x' (line 1 of {near})"),
        ("import sys; sys.exit(3)", "{file}::f",
         'importing {file} ended the program; its main part needs `if __name__ == "__main__":`'),
        ("", "{folder}/other.py::f", "there is no file {folder}/other.py"),
        ("", "nope.f", "nope.f: there is no module 'nope' here. If 'nope.f' is a target, join it to the one before "
         "by a comma, or write ssh://nope.f"),
        ("", "os.nope.f", "os.nope.f: the module os has no 'nope'"),
        ("", "email.mime.nope", "email.mime.nope: the module email.mime has no 'nope'"),
        ("", "math:pi", "math:pi is no function but a float"),
    ],
)  # fmt: skip
def test_a_function_that_is_not_to_be_found_here_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, function: str, why: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.py").write_text(source + "\n")
    names = {"file": tmp_path / "broken.py", "folder": tmp_path, "near": "broken.py"}
    with pytest.raises(NoFunction) as caught:
        find_function(function.format(**names))
    assert str(caught.value) == why.format(**names)
