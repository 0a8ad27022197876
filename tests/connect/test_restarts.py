"""When a lost context is started again: every state with every event, pauses, and when it is given up."""

from collections.abc import Callable

import pytest

from plasmid.connect.restarts import Restart, Restarts, State

STATES = [value for name, value in vars(State).items() if name.isupper()]

# The table of the module, written out once more: what each state becomes by each event, None where nothing changes.
EVENTS: "dict[str, Callable[[Restarts], object]]" = {
    "started": lambda one: one.started(50.0),
    "failed": lambda one: one.failed(50.0, 0.0),
    "failed for good": lambda one: one.failed(50.0, 0.0, True),
    "lost": lambda one: one.lost(50.0, 0.0),
    "held": lambda one: one.held(),
    "released": lambda one: one.released(),
    "due": lambda one: one.expire(50.0),
    "again": lambda one: one.again(),
    "stop": lambda one: one.stop(),
}
EXPECTED: "dict[str, tuple[str | None, ...]]" = {
    "starting": ("up", "waiting", "given up", None, "held", None, None, None, "stopped"),
    "up": (None, None, None, "waiting", None, None, None, None, "stopped"),
    "waiting": (None, None, None, None, None, None, "starting", "starting", "stopped"),
    "held": (None, None, None, None, None, "starting", None, None, "stopped"),
    "given up": (None, None, None, None, None, None, None, "starting", "stopped"),
    "stopped": (None, None, None, None, None, None, None, None, "stopped"),
}


def lost_again_and_again(restart: Restart, count: int, chance: float) -> "list[float]":
    """Return the pauses of a context that is lost as soon as it's there."""
    one = Restarts(restart)
    now = 0.0
    pauses = []
    for _ in range(count):
        one.started(now)
        one.lost(now, chance)
        due = one.deadline()
        assert due is not None
        pauses.append(due - now)
        now = due
        assert not one.expire(due - 0.001)
        assert one.expire(due)
    return pauses


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("state", STATES)
def test_every_event_in_every_state_does_what_the_table_says(state: str, event: str) -> None:
    one = Restarts(Restart())
    one.state = state
    began = EVENTS[event](one)
    expected = EXPECTED[state][list(EVENTS).index(event)]
    assert one.state == (state if expected is None else expected)
    # Those that may call for a start say whether they do.
    if event in ("released", "due", "again"):
        assert began is (expected == "starting")


def test_pauses_double_up_to_the_longest() -> None:
    assert lost_again_and_again(Restart(0.5, 5.0), 7, 0.0) == pytest.approx([0.5, 1.0, 2.0, 4.0, 5.0, 5.0, 5.0])
    assert lost_again_and_again(Restart(1.0, 1e9), 80, 0.0)[-1] == pytest.approx(1e9)


def test_chance_makes_a_pause_up_to_half_shorter_and_never_longer() -> None:
    for chance in (0.0, 0.25, 0.5, 0.999):
        pauses = lost_again_and_again(Restart(1.0, 4.0), 4, chance)
        assert pauses == pytest.approx([length * (1 - chance / 2) for length in (1.0, 2.0, 4.0, 4.0)])


def test_a_context_that_lived_long_enough_begins_anew_and_was_no_failure() -> None:
    one = Restarts(Restart(1.0, 60.0, tries=3, sound_s=10.0))
    for _ in range(2):
        one.failed(0.0, 0.0)
        assert one.again()
    assert one.failures == 2
    one.started(100.0)
    one.lost(110.0, 0.0)
    assert (one.state, one.failures, one.deadline()) == (State.WAITING, 0, 111.0)
    # A moment less, and it was one more failure, the last of three.
    one = Restarts(Restart(1.0, 60.0, tries=3, sound_s=10.0))
    for _ in range(2):
        one.failed(0.0, 0.0)
        assert one.again()
    one.started(100.0)
    one.lost(109.9, 0.0)
    assert (one.state, one.failures, one.deadline()) == (State.GIVEN_UP, 3, None)


def test_it_is_given_up_after_the_last_try_and_retry_begins_anew() -> None:
    one = Restarts(Restart(1.0, 60.0, tries=2))
    one.failed(0.0, 0.0)
    assert one.expire(1.0)
    one.failed(1.0, 0.0)
    assert (one.state, one.retry_after(1.0)) == (State.GIVEN_UP, None)
    assert not one.expire(1e9)
    assert one.again()
    assert (one.state, one.failures) == (State.STARTING, 0)
    one.failed(2.0, 0.0)
    assert (one.state, one.deadline()) == (State.WAITING, 3.0)


def test_without_a_number_of_tries_it_is_never_given_up() -> None:
    one = Restarts(Restart(1.0, 2.0))
    for number in range(1, 1000):
        one.failed(0.0, 0.0)
        assert (one.state, one.failures) == (State.WAITING, number)
        assert one.again()


def test_waiting_for_another_context_counts_as_no_try() -> None:
    one = Restarts(Restart(1.0, 60.0, tries=1))
    for _ in range(5):
        one.held()
        assert one.deadline() is None
        assert one.released()
    assert (one.state, one.failures) == (State.STARTING, 0)


def test_it_says_in_how_many_seconds_to_ask_again() -> None:
    one = Restarts(Restart(0.7, 60.0, tries=2))
    assert one.retry_after(0.0) == 0.7  # being started: nobody knows for how long
    one.started(0.0)
    assert one.retry_after(0.0) is None
    one.lost(5.0, 0.0)
    assert one.retry_after(5.2) == pytest.approx(0.5)
    assert one.retry_after(99.0) == 0.0
    one.stop()
    assert one.retry_after(99.0) is None


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ({"first_s": 0.0}, "first_s must be above 0 and at most longest_s, not 0.0 with longest_s 30.0"),
        ({"longest_s": 0.1}, "first_s must be above 0 and at most longest_s, not 0.5 with longest_s 0.1"),
        ({"tries": 0}, "tries must be at least 1, or None for no end, not 0"),
        ({"sound_s": -1.0}, "sound_s must not be negative; it is -1.0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(arguments: "dict[str, float]", found: str) -> None:
    with pytest.raises(ValueError) as caught:
        Restart(**arguments)  # type: ignore[arg-type]
    assert str(caught.value) == found
