"""Errors on their way back to a caller."""

import importlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plasmid.core import values
from plasmid.core.errors import (
    CALL_ERRORS,
    CallError,
    ContextLost,
    NotSent,
    PlasmidError,
    ProtocolError,
    Refused,
    RemoteError,
    UnsendableValue,
)
from plasmid.core.remote import describe_error, rebuild_error
from tests.core.value_samples import DECLARED, DiskError, any_values

TRACEBACK = 'Traceback (most recent call last):\n  File "disk.py", line 3, in free\nValueError: bad\n'


def returned(error: BaseException, traceback: str = TRACEBACK, classes: Any = None) -> BaseException:
    """Return what the caller of `Disk.free` on db1 gets for an error, after it travelled."""
    body = b"".join(values.encode(describe_error(error, traceback)))
    assert len(body) <= 65536
    return rebuild_error(values.decode(body), "Disk.free", "db1 (/1)", classes)


def test_a_builtin_error_comes_as_its_own_type_with_the_far_traceback_as_its_cause() -> None:
    # U3
    error = returned(ValueError("bad", 1))
    assert (type(error), error.args) == (ValueError, ("bad", 1))
    cause = error.__cause__
    assert isinstance(cause, RemoteError)
    assert str(cause) == f"ValueError: ('bad', 1) (raised on db1 (/1))\n\n{TRACEBACK.rstrip()}"
    assert cause.args_sent == ("bad", 1)


def test_an_error_of_the_system_comes_with_its_number_and_file() -> None:
    error = returned(FileNotFoundError(2, "No such file or directory", "/x"))
    assert isinstance(error, FileNotFoundError)
    assert (error.errno, error.strerror, error.filename) == (2, "No such file or directory", "/x")


def test_a_declared_error_comes_as_itself_and_an_undeclared_one_as_a_remote_error() -> None:
    assert type(returned(DiskError("full", 3), classes=DECLARED.get)) is DiskError
    error = returned(DiskError("full", 3))
    assert type(error) is RemoteError
    assert (error.type_name, error.text, error.args_sent, error.where) == (
        "tests.core.value_samples.DiskError",
        "('full', 3)",
        ("full", 3),
        "db1 (/1)",
    )


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), GeneratorExit()], ids=repr)
def test_what_would_end_the_callers_program_comes_as_a_remote_error(error: BaseException) -> None:
    got = returned(error)
    assert type(got) is RemoteError
    assert got.type_name == type(error).__name__


@pytest.mark.parametrize("kind", CALL_ERRORS.values())
def test_plasmids_own_word_on_the_call_keeps_its_code(kind: "type[CallError]") -> None:
    error = returned(kind("f", "there", "it was so"), "")
    assert type(error) is kind
    assert (error.what, error.where, error.found) == ("Disk.free", "db1 (/1)", "it was so")
    assert error.started is kind.started


def test_the_loss_of_a_context_that_the_method_called_is_not_taken_for_the_loss_of_ours() -> None:
    error = returned(ContextLost("g", "db2 (/1/1)", "link lost"), TRACEBACK)
    assert type(error) is RemoteError
    assert error.type_name == "plasmid.core.errors.ContextLost"


def test_an_unsendable_result_comes_as_that_error() -> None:
    error = returned(UnsendableValue("result[0]", "socket"), "")
    assert type(error) is UnsendableValue
    assert str(error) == "result[0]: socket"


class Unprintable(Exception):
    """An error whose text can't be had."""

    def __str__(self) -> str:
        raise KeyError("no text")


@pytest.mark.parametrize(
    "error",
    [
        ValueError("x" * 1_000_000),
        ValueError("ž" * 1_000_000, "\U0001f4a5" * 4000, *["y" * 4000] * 100),
        ValueError(*range(100_000)),
        OSError(5, "\ud800" * 100_000, "\udcff"),
        Unprintable(object()),
        type("N" * 100_000, (Exception,), {})("a"),
    ],
    ids=["long", "many", "numbers", "surrogates", "unprintable", "name"],
)
def test_an_error_of_any_size_stays_within_64_kib(error: Exception) -> None:
    got = returned(error, "line ž\n" * 100_000)
    assert isinstance(got, Exception)
    cause = got if isinstance(got, RemoteError) else got.__cause__
    assert isinstance(cause, RemoteError)
    assert cause.traceback.endswith("line ž\n")


def test_a_long_text_is_cut_not_dropped() -> None:
    assert returned(ValueError("x" * 100_000)).args == ("x" * 8192,)


GOOD = ["Remote", "bad", None, "builtins:ValueError", ["bad"], "Traceback ..."]


@pytest.mark.parametrize("at", range(len(GOOD)))
@pytest.mark.parametrize("part", [5, 1.5, b"x", [[]], {"a": 1}, None, True, "Unknown", (), ValueError("x")], ids=repr)
def test_a_hostile_error_body_becomes_an_error_all_the_same(at: int, part: Any) -> None:
    payload: list[Any] = [*GOOD]
    payload[at] = part
    error = rebuild_error(payload, "f", "db1 (/1)")
    right = (str, str, (bool, type(None)), str, list, str)[at]
    if not isinstance(part, right) or (at == 0 and part == "Unknown"):
        assert type(error) is ProtocolError
        assert str(error) == "f on db1 (/1): it was answered by an error that isn't one of the protocol's"
    else:
        assert type(error) in (ValueError, RemoteError)


@given(any_values)
def test_whatever_answers_as_an_error_gives_an_exception(payload: Any) -> None:
    assert isinstance(rebuild_error(payload, "f", "w"), ProtocolError)


@given(st.text(), st.lists(any_values, max_size=5))
def test_any_name_and_arguments_give_an_ordinary_exception(name: str, args: Any) -> None:
    for full in (name, "builtins:" + name, "plasmid.core.errors:" + name):
        assert isinstance(rebuild_error(["Remote", "t", None, full, args, ""], "f", "w"), Exception)


@pytest.mark.parametrize("module", ["builtins", "plasmid.core.errors", "os", "sys"])
def test_no_name_makes_anything_but_an_ordinary_exception(module: str) -> None:
    for name in dir(importlib.import_module(module)):
        for args in ([], ["a"], ["a", b"b"], [1, "s", "f"], ["utf-8", b"abc", 90, 99, "r"], ["m", [ValueError()]]):
            error = rebuild_error(["Remote", "t", None, f"{module}:{name}", args, ""], "f", "w")
            assert isinstance(error, Exception)
            assert not isinstance(error, CallError)
            assert isinstance(str(error), str)
            assert module in ("builtins", "plasmid.core.errors") or type(error) is RemoteError


def test_a_hostile_started_is_only_taken_from_a_call_error() -> None:
    error = rebuild_error(["Refused", "no", None, "", [], ""], "f", "w")
    assert isinstance(error, Refused)
    assert error.started is False
    assert isinstance(rebuild_error(["NotSent", "no", False, "", [], ""], "f", "w"), NotSent)
    assert isinstance(rebuild_error(["CallError", "no", None, "", [], ""], "f", "w"), ProtocolError)
    assert isinstance(rebuild_error(["Remote", "t", False, "x:Y", [], ""], "f", "w"), PlasmidError)
