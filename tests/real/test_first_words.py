"""first_words.py with real contexts: who shares our code, and that all the rest is the same."""

import os
import sys
import zlib
from typing import Any

import pytest

import plasmid
from plasmid.boot.bundle import booted_code, bundle
from tests.real import far_modules, interpreters

HERE = "%d.%d" % sys.version_info[:2]
OTHER = next(version for version in reversed(interpreters.SUPPORTED) if version != HERE)
LINE = ("plasmid.core.address", "parent"), "def parent("


# A program in between that closes what the interpreter was to inherit.
CLOSES_ALL = "import os, sys; os.closerange(3, 4096); os.execv(sys.executable, [sys.executable] + sys.argv[1:])"


@pytest.fixture
def questions(router: plasmid.Router) -> "list[str]":
    """Give the list of what far sides have asked the root's module server."""
    asked: list[str] = []
    serve = router.runtime.jobs.builtin["plasmid.modules"]

    def note_and_serve(job: Any) -> None:
        asked.append(job.method)
        serve(job)

    router.runtime.jobs.builtin["plasmid.modules"] = note_and_serve
    return asked


def test_an_interpreter_with_our_magic_number_shares_our_code_and_shows_the_source_all_the_same(
    router: plasmid.Router, questions: "list[str]"
) -> None:
    context = router.local()
    assert context.call(os.getpid) > 0
    assert questions == []
    assert [name for name in context.call(far_modules.open_files) if "memfd" in name] == [], (
        "it closes what it has read"
    )
    count, size = router.modules.sent_to(context.address)
    assert count >= 11
    assert size > 0
    child = router.child(context)
    assert child is not None
    assert child.boot_bytes < 24 * 1024
    assert context.call(far_modules.first_line_of, *LINE[0]).startswith(LINE[1])


@pytest.mark.parametrize("other", ["no code", "another version", "nothing inherited"])
def test_others_compile_the_bundle(router: plasmid.Router, questions: "list[str]", other: str) -> None:
    options: dict[str, dict[str, Any]] = {
        "no code": {"compiled": False},
        "another version": {"python_path": interpreters.interpreter(OTHER)},
        "nothing inherited": {"python_path": [sys.executable, "-c", CLOSES_ALL]},
    }
    context = router.local(**options[other])
    assert context.call(os.getpid) > 0
    assert questions == ["find"]
    assert context.call(far_modules.first_line_of, *LINE[0]).startswith(LINE[1])


def test_a_context_that_shared_code_hands_on_the_bundle_and_code_of_its_own(router: plasmid.Router) -> None:
    relay = router.local(name="relay")
    for below in (router.local(via=relay), router.local(via=relay, python_path=interpreters.interpreter(OTHER))):
        assert below.call(far_modules.first_line_of, *LINE[0]).startswith(LINE[1])
    assert relay.call(far_modules.handed_on) == [zlib.crc32(bundle()), zlib.crc32(booted_code())]


def test_nothing_is_kept_of_a_context_that_never_was(router: plasmid.Router) -> None:
    with pytest.raises(plasmid.ConnectError):
        router.local(python_path="/bin/true")
    context = router.local()
    assert context.address == bytes([0, 0, 0, 2])
    assert router.modules.sent_to(b"\0\0\0\1") == (0, 0)
