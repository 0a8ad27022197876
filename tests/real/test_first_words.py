"""first_words.py with real contexts: who is sent code along with the bundle, and that all the rest is the same."""

import sys
import zlib

import pytest

import plasmid
from plasmid.boot.bundle import booted_code, bundle
from tests.real import far_modules, interpreters

HERE = "%d.%d" % sys.version_info[:2]
OTHER = next(version for version in reversed(interpreters.SUPPORTED) if version != HERE)
LINE = ("plasmid.core.address", "parent"), "def parent("


def ahead_of(router: plasmid.Router, context: plasmid.Context) -> int:
    """Return how many bytes followed the bundle to a child of the root."""
    child = router.child(context)
    assert child is not None
    return child.ahead_bytes


def test_an_interpreter_with_our_magic_number_is_sent_code_and_shows_the_source_all_the_same(
    router: plasmid.Router,
) -> None:
    context = router.local()
    assert ahead_of(router, context) > len(booted_code())
    assert context.call(far_modules.first_line_of, *LINE[0]).startswith(LINE[1])
    assert context.call(far_modules.questions) == 0
    count, size = router.modules.sent_to(context.address)
    assert count >= 11
    assert size > 0


@pytest.mark.parametrize("options", [{"compiled": False}, {"python_path": OTHER}])
def test_others_are_sent_the_bundle_alone(router: plasmid.Router, options: "dict[str, object]") -> None:
    if "python_path" in options:
        options = {"python_path": interpreters.interpreter(OTHER)}
    context = router.local(**options)  # type: ignore[arg-type]
    assert ahead_of(router, context) == 0
    assert context.call(far_modules.first_line_of, *LINE[0]).startswith(LINE[1])


def test_a_context_that_was_sent_code_hands_on_the_bundle_and_code_of_its_own(router: plasmid.Router) -> None:
    relay = router.local(name="relay")
    for below in (router.local(via=relay), router.local(via=relay, python_path=interpreters.interpreter(OTHER))):
        assert below.call(far_modules.first_line_of, *LINE[0]).startswith(LINE[1])
    assert relay.call(far_modules.handed_on) == [zlib.crc32(bundle()), zlib.crc32(zlib.decompress(booted_code()))]


def test_nothing_is_kept_of_a_context_that_never_was(router: plasmid.Router) -> None:
    with pytest.raises(plasmid.ConnectError):
        router.local(python_path="/bin/true")
    context = router.local()
    assert context.address == bytes([0, 0, 0, 2])
    assert router.modules.sent_to(b"\0\0\0\1") == (0, 0)
