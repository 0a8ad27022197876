"""A hostile child answers with what should blow up: the caller gets an error, and nobody else notices anything."""

import threading
from pathlib import Path

import pytest

import plasmid
from tests.hostile import bad_values
from tests.hostile.raw_child import DEADLINE_S, GROWTH_MAX, Memory, scene
from tests.hostile.sibling import Tripwire

pytestmark = pytest.mark.real


# D12
def test_results_that_are_no_values_are_errors_of_their_call(tmp_path: Path) -> None:
    with scene(tmp_path) as played, Memory() as memory:
        played.attack("bomb_results")
        for _ in range(2 * len(bad_values.bombs())):
            call = played.evil.call_service_async("x", "y")
            error = call.exception(DEADLINE_S)
            assert isinstance(error, (plasmid.PlasmidError, ValueError)), error
        assert memory.growth < GROWTH_MAX
        played.reports()


# D12
def test_no_exception_from_afar_ends_more_than_its_call(tmp_path: Path) -> None:
    threads = threading.active_count()
    with scene(tmp_path) as played:
        played.attack("evil_exceptions")
        for number, error in enumerate(bad_values.exceptions()):
            # On the pool's threads and here: a service of the root would meet it in the same way.
            caught = played.evil.call_service_async("x", "y").exception(DEADLINE_S)
            assert isinstance(caught, Exception), (number, error)
            assert not isinstance(caught, (Tripwire, StopIteration)), (number, error)
            assert len(str(caught)) < 100_000
        played.reports()
        assert threading.active_count() >= threads


def test_long_answers_that_break_the_rules_are_protocol_errors(tmp_path: Path) -> None:
    with scene(tmp_path) as played, Memory() as memory:
        played.attack("broken_bodies")
        for _ in range(6):
            error = played.evil.call_service_async("x", "y").exception(DEADLINE_S)
            assert isinstance(error, plasmid.ProtocolError)
        assert memory.growth < GROWTH_MAX
        played.reports()
