"""A hostile child lies about who it is, or sends what is no frame: it loses its link, and nobody else anything."""

from pathlib import Path

import pytest

import plasmid
from plasmid.core import link, node
from tests.hostile.raw_child import BREAKS, BROKE, DEADLINE_S, NAMES, RawChild, scene

pytestmark = pytest.mark.real


# D12
@pytest.mark.parametrize(("attack", "reason"), BREAKS)
def test_a_child_that_breaks_the_protocol_is_cut_and_nothing_else_is(tmp_path: Path, attack: str, reason: str) -> None:
    with scene(tmp_path) as played:
        played.is_cut_by(attack, reason)


@pytest.mark.parametrize(
    ("attack", "found"),
    [
        ("hello_in_anothers_name", BROKE + NAMES % "/1"),
        ("wrong_version", BROKE + "the peer speaks protocol versions [99], this end"),
        ("hello_of_nonsense", BROKE + "a hello that is no value: "),
        ("garbage_first", BROKE + "kind 32 is unknown"),
        ("goodbye_at_once", ""),
    ],
)
def test_a_child_that_never_says_a_proper_hello_is_a_failed_connection(tmp_path: Path, attack: str, found: str) -> None:
    with scene(tmp_path) as played:
        with pytest.raises(plasmid.ConnectError) as caught:
            played.attack(attack)
        assert (caught.value.target, caught.value.step) == (f"raw:{attack}", "say hello")
        assert caught.value.found.startswith(found)
        assert "\x1b" not in str(caught.value)


def test_a_child_that_leaves_right_after_its_hello_is_lost_in_order(tmp_path: Path) -> None:
    with scene(tmp_path) as played:
        played.attack("hello_and_goodbye")
        played.await_cut()
        with pytest.raises(plasmid.NotSent) as caught:
            played.evil.call_service("x", "y")
        assert "\x1b" not in str(caught.value)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lower how long this process bears with silence, so that the test needn't last 40 s."""
    monkeypatch.setattr(link, "IDLE_S", 1.0)
    monkeypatch.setattr(link, "SILENCE_MAX_S", 4.0)
    monkeypatch.setattr(node, "TICK_S", 0.25)


# D4
@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("attack", ["unfinished_frame", "silent"])
def test_a_child_that_says_no_whole_frame_is_cut(tmp_path: Path, attack: str) -> None:
    with scene(tmp_path) as played:
        played.attack(attack)
        waiting = played.evil.call_service_async("x", "y")
        assert played.await_cut() == "no whole frame came for 4 s"
        with pytest.raises(plasmid.ContextLost):
            waiting.result(DEADLINE_S)


def test_a_child_may_speak_for_those_below_it_only(tmp_path: Path) -> None:
    with scene(tmp_path) as played:
        played.attack("claims_a_childs_address")
        assert played.await_cut() == BROKE + NAMES % "/1/1"
        assert played.reports() == [3]


def test_answers_to_the_calls_of_others_have_no_effect(tmp_path: Path) -> None:
    with scene(tmp_path) as played:
        played.attack("forged_replies")
        asked = played.evil.call_service_async("x", "y")
        honest = [played.sibling.call_service_async("no.such.Service", str(number)) for number in range(100)]
        played.reports()
        for call in honest:
            error = call.exception(DEADLINE_S)
            assert isinstance(error, Exception)
            assert "forged" not in str(error)
        assert not asked.done()
        asked.cancel()
        assert played.router.child(played.evil) is played.child


def test_the_connector_of_these_tests_is_one_as_any_other() -> None:
    connector = RawChild("garbage", Path("report"))
    assert connector.argv("print()", "plasmid:x")[-4:-2] == ["print()", "garbage"]
