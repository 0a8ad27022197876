"""A hostile child behind a real ssh server: some of each kind of attack. The root and an honest sibling stay well."""

import sys
from pathlib import Path

import pytest

import plasmid
from plasmid.core import link, node
from tests.hostile import bad_values
from tests.hostile.raw_child import BREAKS, BROKE, DEADLINE_S, GROWTH_MAX, NAMES, Memory, scene
from tests.real.sshd import Client

pytestmark = pytest.mark.real


# D12
@pytest.mark.parametrize(("attack", "reason"), BREAKS)
def test_who_breaks_the_protocol_over_ssh_is_cut_and_nothing_else_is(
    tmp_path: Path, ssh_client: Client, attack: str, reason: str
) -> None:
    with scene(tmp_path, ssh_client) as played:
        played.is_cut_by(attack, reason)


@pytest.mark.parametrize(
    ("attack", "found"),
    [
        ("hello_in_anothers_name", BROKE + NAMES % "/1"),
        ("hello_of_nonsense", BROKE + "a hello that is no value: "),
        ("garbage_first", BROKE + "kind 32 is unknown"),
    ],
)
def test_who_says_no_proper_hello_over_ssh_is_a_failed_connection(
    tmp_path: Path, ssh_client: Client, attack: str, found: str
) -> None:
    with scene(tmp_path, ssh_client) as played:
        with pytest.raises(plasmid.ConnectError) as caught:
            played.attack(attack)
        assert (caught.value.target, caught.value.step) == (f"raw:{attack}", "say hello")
        assert caught.value.found.startswith(found)


# D9
@pytest.mark.parametrize("attack", ["long_answers", "announced_bodies", "calls_to_a_sibling"])
def test_a_flood_over_ssh_costs_the_root_no_memory_to_speak_of_and_its_sibling_nothing(
    tmp_path: Path, ssh_client: Client, attack: str
) -> None:
    with scene(tmp_path, ssh_client) as played, Memory() as memory:
        played.attack(attack)
        played.sibling_goes_on()
        played.await_end_of_attack(3.0)
        played.sibling_goes_on()
        assert memory.growth < GROWTH_MAX
        played.evil.shutdown()
        assert played.child.gone.wait(DEADLINE_S)


# D4, D9
@pytest.mark.parametrize("attack", ["never_reads", "unfinished_frame"])
def test_who_stops_reading_or_speaking_over_ssh_is_cut_and_all_calls_to_it_end(
    tmp_path: Path, ssh_client: Client, monkeypatch: pytest.MonkeyPatch, attack: str
) -> None:
    # Not 40 s.
    monkeypatch.setattr(link, "IDLE_S", 0.5)
    monkeypatch.setattr(link, "SILENCE_MAX_S", 2.0)
    monkeypatch.setattr(node, "TICK_S", 0.25)
    with scene(tmp_path, ssh_client) as played, Memory() as memory:
        played.attack(attack)
        data = bytes(200_000)
        waiting = [played.evil.send_call("s", "x", "y", {"data": data}) for _ in range(100)]
        played.await_cut()
        for call in waiting:
            assert call is not None
            assert isinstance(call.exception(DEADLINE_S), (plasmid.NotSent, plasmid.ContextLost))
        assert memory.growth < GROWTH_MAX


# S1, U4, D12
def test_who_asks_over_ssh_for_what_is_not_its_to_have_gets_none_of_it(tmp_path: Path, ssh_client: Client) -> None:
    with scene(tmp_path, ssh_client) as played:
        loaded = set(sys.modules)
        played.attack("everything_not_exposed")
        answers = played.reports()
        assert len(answers) > 20
        assert [answer for answer in answers if answer[1] not in ("Refused", "ProtocolError", "Remote")] == []
        played.report.unlink()
        played.attack("modules_not_given")
        answers = played.reports()
        assert [answer for answer in answers if isinstance(answer[1], list) and answer[1] != []] == []
    assert [name for name in bad_values.hostile_names() if name in sys.modules and name not in loaded] == []
