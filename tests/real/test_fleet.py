"""Fleet: one call on many contexts."""

import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import plasmid
from tests.real import far, far_fleet, leftovers
from tests.real.far_fleet import Meter


@pytest.fixture
def fleet(router: plasmid.Router) -> "Iterator[plasmid.Fleet]":
    """Give a fleet of three contexts, a, b and c."""
    with plasmid.Fleet(router.connect_all([{"url": "local:", "name": name} for name in "abc"])) as fleet:
        yield fleet


def named(values: "dict[plasmid.Context, Any]") -> "list[tuple[str, Any]]":
    """Return pairs of the contexts' names and these values, in their order."""
    return [(context.name, value) for context, value in values.items()]


def test_a_call_gives_the_result_of_each_context(fleet: plasmid.Fleet) -> None:
    answers = fleet.call(far.add, 1, b=2)
    assert named(answers.results) == [("a", 3), ("b", 3), ("c", 3)]
    assert answers.failures == {}
    assert fleet.call(far.add, 5).values() == [15, 15, 15]
    assert (len(fleet), len(answers)) == (3, 3)


def test_answers_come_in_the_order_of_their_arrival(fleet: plasmid.Fleet) -> None:
    first, second, third = fleet
    answers = fleet.call(far.wait_at_gate, 1)
    came = iter(answers)
    for context in (third, first, second):
        context.service(far.Gate).open()
        assert next(came).context == context
    assert next(came, None) is None
    # A second time they are given as they came.
    assert [answer.context for answer in answers] == [third, first, second]
    assert list(answers.results) == [first, second, third]


def test_what_failed_is_kept_apart(fleet: plasmid.Fleet) -> None:
    first, second, _ = fleet
    pids = fleet.call(os.getpid).results
    os.kill(pids[second], signal.SIGKILL)
    answers = fleet.call(far_fleet.fail_on, pids[first])
    assert [context.name for context in answers.results] == ["c"]
    failed, lost = answers.failures.values()
    assert isinstance(failed, KeyError)
    assert isinstance(lost, (plasmid.ContextLost, plasmid.NotSent))
    with pytest.raises(KeyError):
        answers.values()
    by_context = {answer.context: answer for answer in answers}
    with pytest.raises(KeyError):
        by_context[first].value
    assert repr(by_context[first]).startswith("<Answer of a (/")


def test_no_more_calls_than_the_limit_are_in_flight(fleet: plasmid.Fleet) -> None:
    started: list[str] = []

    def start(context: plasmid.Context) -> Any:
        started.append(context.name)
        return context.call_async(far.add, 1)

    came = iter(plasmid.Fleet(fleet.contexts, limit=1).each(start))
    for count in (1, 2, 3):
        assert started == ["a", "b", "c"][:count]
        assert next(came).value == 11


def test_a_time_limit_is_for_all_of_them_together(fleet: plasmid.Fleet) -> None:
    # One after the other, and the first uses all of it up: there is none left for the others.
    answers = plasmid.Fleet(fleet.contexts, limit=1, timeout=0.2).call(far_fleet.wait_until_cancelled)
    assert [type(error) for error in answers.failures.values()] == [plasmid.DeadlineExceeded] * 3


def test_progress_is_told_of_each(fleet: plasmid.Fleet) -> None:
    told: list[Any] = []
    observed = plasmid.Fleet(
        fleet.contexts,
        progress=lambda done, count, answer: told.append((done, count, answer.value, threading.current_thread())),
    )
    assert observed.call(far.add, 1).values() == [11] * 3
    assert told == [(done, 3, 11, threading.current_thread()) for done in (1, 2, 3)]


def test_a_service_is_called_on_all_of_them(fleet: plasmid.Fleet) -> None:
    meters = fleet.service(Meter)
    assert named(meters.scaled(2, offset=1).results) == [("a", 15), ("b", 15), ("c", 15)]
    assert fleet.each(lambda context: context.service(Meter).scaled.start(1)).values() == [7, 7, 7]
    assert dir(meters) == ["length", "rows", "scaled"]
    with pytest.raises(AttributeError, match=r"^Meter exposes no method 'sclaed'; it exposes length, rows, scaled$"):
        meters.sclaed(1)
    with pytest.raises(TypeError, match=r"^Meter.rows is a generator; what is called on each context has one answer$"):
        meters.rows()
    with pytest.raises(TypeError, match=r"^what is to be started on each context is a call with one answer, not "):
        fleet.each(lambda context: context.service(Meter).rows.start())  # type: ignore
    with pytest.raises(TypeError, match=r"by"):
        meters.scaled()


def test_arguments_are_encoded_once_for_all_of_them(fleet: plasmid.Fleet) -> None:
    far_fleet.encodings.clear()
    span = far_fleet.Span(2, 5)
    assert next(iter(fleet)).call(far_fleet.length, span) == 3
    once = len(far_fleet.encodings)
    assert once > 0
    assert fleet.call(far_fleet.length, span).values() == [3, 3, 3]
    assert len(far_fleet.encodings) == 2 * once
    assert fleet.service(Meter).length(span).values() == [3, 3, 3]
    assert len(far_fleet.encodings) == 3 * once


def test_arguments_that_change_once_they_were_given_go_as_they_were(fleet: plasmid.Fleet) -> None:
    rows = [1, 2]
    answers = plasmid.Fleet(fleet.contexts, limit=1).call(far.echo, rows)
    rows.append(3)
    assert answers.values() == [[1, 2]] * 3


def test_arguments_that_cannot_travel_are_one_error(fleet: plasmid.Fleet) -> None:
    with pytest.raises(plasmid.UnsendableValue):
        fleet.call(far.echo, threading.Lock())
    assert fleet.call(far.add, 1).values() == [11] * 3


def test_cancelling_ends_what_is_in_flight_and_starts_no_more(fleet: plasmid.Fleet) -> None:
    answers = plasmid.Fleet(fleet.contexts, limit=2).call(far_fleet.wait_until_cancelled)
    answers.cancel()
    assert [type(error) for error in answers.failures.values()] == [plasmid.Cancelled] * 3
    last = list(answers.failures.values())[2]
    assert isinstance(last, plasmid.Cancelled)
    assert last.started is False


def test_leaving_a_fleet_ends_its_contexts_and_no_others(router: plasmid.Router) -> None:
    other = router.local()
    with plasmid.Fleet(router.connect_all([{"url": "local:", "name": name} for name in "ab"])) as fleet:
        pids = [pid for found in fleet.call(far.process_ids).values() for pid in found]
    assert leftovers.until_empty(lambda: leftovers.running(pids), 3) == []
    assert other.call(far.add, 1) == 11


def test_a_fleet_may_be_empty_and_has_no_context_twice(router: plasmid.Router) -> None:
    assert plasmid.Fleet([]).call(os.getpid).results == {}
    context = router.local()
    with pytest.raises(ValueError, match=r"^local \(/1\) is twice among the contexts of a fleet$"):
        plasmid.Fleet([context, context])
    with pytest.raises(ValueError, match=r"^limit must be at least 1; it is 0$"):
        plasmid.Fleet([context], limit=0)
