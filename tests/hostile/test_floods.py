"""A hostile child sends, asks for or announces more than anybody could hold; the root's memory stays as it is."""

import logging
from pathlib import Path

import pytest

import plasmid
from plasmid.builtin.console import LINK_RECORDS_BURST, LINK_RECORDS_PER_S
from plasmid.core import link, node
from plasmid.core.flow import OUTBOX_SIZE_MAX
from plasmid.runtime.console import TEXT_SIZE_MAX
from tests.hostile import sibling
from tests.hostile.raw_child import DEADLINE_S, GROWTH_MAX, Memory, scene
from tests.hostile.sibling import Watched

pytestmark = pytest.mark.real


# D9
@pytest.mark.parametrize(
    "attack",
    [
        "small_calls",
        "refused_calls",
        "pings",
        "large_answers",
        "long_answers",
        "announced_bodies",
        "bodies_up_to_their_credit",
        "flood_of_a_sibling",
        "calls_to_a_sibling",
    ],
)
def test_a_flood_costs_the_root_no_memory_to_speak_of_and_its_sibling_nothing(tmp_path: Path, attack: str) -> None:
    with scene(tmp_path) as played, Memory() as memory:
        played.attack(attack)
        played.sibling_goes_on()
        played.await_end_of_attack(10.0)
        played.sibling_goes_on()
        assert memory.growth < GROWTH_MAX
        # However busy it is, it can always be ended.
        played.evil.shutdown()
        assert played.child.gone.wait(DEADLINE_S)


# D9
def test_calls_that_came_before_their_answers_piled_up_are_not_served_while_nobody_reads_these(tmp_path: Path) -> None:
    Watched.released.clear()
    Watched.given = 0
    with scene(tmp_path) as played, Memory() as memory:
        try:
            played.attack("long_answers_asked_early")
            assert played.calls_waiting(500)
        finally:
            Watched.released.set()
        assert played.calls_waiting(0)
        played.sibling_goes_on()
        assert OUTBOX_SIZE_MAX / 1e6 <= Watched.given <= 30
        assert memory.growth < GROWTH_MAX


# D9
def test_pieces_of_answers_do_not_pile_up_for_who_does_not_read_them(tmp_path: Path) -> None:
    with scene(tmp_path) as played, Memory() as memory:
        played.attack("modules_in_pieces")
        played.reports()
        assert played.calls_waiting(0)
        played.sibling_goes_on()
        assert memory.growth < GROWTH_MAX


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lower how long this process bears with silence, so that the test needn't last 40 s."""
    monkeypatch.setattr(link, "IDLE_S", 1.0)
    monkeypatch.setattr(link, "SILENCE_MAX_S", 4.0)
    monkeypatch.setattr(node, "TICK_S", 0.25)


# D4, D9
@pytest.mark.usefixtures("impatient")
def test_a_child_that_never_reads_is_cut_and_all_calls_to_it_end(tmp_path: Path) -> None:
    with scene(tmp_path) as played:
        played.attack("never_reads")
        data = bytes(100_000)
        waiting = [played.evil.send_call("s", "x", "y", {"data": data}) for _ in range(100)]
        assert "read nothing for" in played.await_cut()
        for call in waiting:
            assert call is not None
            assert isinstance(call.exception(DEADLINE_S), (plasmid.NotSent, plasmid.ContextLost))


# D9
@pytest.mark.usefixtures("impatient")
def test_what_a_sibling_pours_onto_a_child_that_never_reads_does_not_pile_up_in_the_root(tmp_path: Path) -> None:
    with scene(tmp_path) as played, Memory() as memory:
        played.attack("never_reads")
        pourer = played.router.local(name="pourer")
        assert pourer.call_async(sibling.pour, played.evil).result(DEADLINE_S) > 0
        played.await_cut()
        assert memory.growth < GROWTH_MAX


class Records(logging.Handler):
    """Keeps the formatted text of each record."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(self.format(record))


# U6
def test_a_flood_of_log_records_is_limited_and_none_of_it_reaches_a_terminal_raw(tmp_path: Path) -> None:
    records = Records()
    logger = logging.getLogger("plasmid.ctx.evil")
    logger.addHandler(records)
    logger.propagate = False
    try:
        with scene(tmp_path) as played, Memory() as memory:
            played.attack("log_records")
            played.reports()
            assert memory.growth < GROWTH_MAX
    finally:
        logger.removeHandler(records)
        logger.propagate = True
    assert 0 < len(records.texts) < LINK_RECORDS_BURST + LINK_RECORDS_PER_S * DEADLINE_S
    assert [text for text in records.texts if not text.replace("\t", " ").isprintable()] == []
    assert max(map(len, records.texts)) < TEXT_SIZE_MAX + 100
