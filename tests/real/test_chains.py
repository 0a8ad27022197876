"""Chains: calls sent without waiting for one another, of which the first that fails answers the rest."""

import pytest

import plasmid
from plasmid import chain as chains
from plasmid.core.errors import Cancelled, DeadlineExceeded, NotSent, Overloaded, PlasmidError, UnsendableValue
from tests.real import far
from tests.real.conftest import one_way, ways

TIMEOUT_S = 30


@ways
def test_the_calls_of_a_chain_run_in_order_and_each_has_its_result(context: plasmid.Context) -> None:  # U3
    with plasmid.Chain(context) as chain:
        calls = [chain.call_async(far.note, text) for text in "abc"]
        chain.call_no_reply(far.note, "d")
        assert chain.call(far.notes) == list("abcd")
        assert [call.result(TIMEOUT_S) for call in calls] == [None] * 3


@ways
def test_the_first_that_fails_answers_the_rest_which_are_not_run(context: plasmid.Context) -> None:  # U3
    with plasmid.Chain(context) as chain, plasmid.Chain(context) as other:
        calls = [
            chain.call_async(far.note, "before"),
            chain.call_async(far.fail, "KeyError", "k", 5),
            chain.call_async(far.note, "after"),
            chain.call_async(far.fail, "ValueError", "another"),
        ]
        beside = other.call_async(far.note, "beside")
        assert calls[0].result(TIMEOUT_S) is None
        assert [repr(call.exception(TIMEOUT_S)) for call in calls[1:]] == ["KeyError('k', 5)"] * 3
        # The same goes for those that are sent after the answer has come.
        with pytest.raises(KeyError):
            chain.call(far.note, "late")
        assert beside.result(TIMEOUT_S) is None
    assert context.call(far.notes) == ["before", "beside"]


@one_way
def test_a_failure_that_nobody_waits_for_answers_the_rest(context: plasmid.Context) -> None:  # U3
    with plasmid.Chain(context) as chain:
        chain.call_no_reply(far.fail, "ValueError", "quiet")
        with pytest.raises(ValueError, match="quiet") as caught:
            chain.call(far.note, "after")
    cause = caught.value.__cause__
    assert isinstance(cause, plasmid.RemoteError)
    # The traceback shows the user's own lines alone.
    assert [line.strip() for line in cause.traceback.splitlines() if "plasmid/" in line] == []
    assert "in fail" in cause.traceback


@one_way
def test_a_result_that_cannot_travel_is_a_failure_too(context: plasmid.Context) -> None:  # U3
    with plasmid.Chain(context) as chain:
        calls = [chain.call_async(far.return_unsendable), chain.call_async(far.note, "after")]
        for call in calls:
            with pytest.raises(UnsendableValue, match=r"^result of tests\.real\.far\.return_unsendable"):
                call.result(TIMEOUT_S)


@one_way
def test_an_argument_that_cannot_travel_breaks_the_chain_where_it_stands(context: plasmid.Context) -> None:  # U3
    with plasmid.Chain(context) as chain:
        first = chain.call_async(far.note, "first")
        for _ in range(2):
            with pytest.raises(UnsendableValue) as caught:
                chain.call(far.note, object())
            assert str(caught.value) == "tests.real.far.note(args[0]): object"
        assert first.result(TIMEOUT_S) is None
    assert context.call(far.notes) == ["first"]


@one_way
def test_what_was_cancelled_or_came_too_late_is_a_failure_for_those_after_it(context: plasmid.Context) -> None:  # U3
    gate = context.service(far.Gate)
    for kind in (Cancelled, DeadlineExceeded):
        with plasmid.Chain(context) as chain:
            held = context.call_async(far.wait_at_gate)  # keeps the far side's main thread
            if kind is Cancelled:
                broken = chain.call_async(far.note, "broken")
                broken.cancel()
            else:
                with plasmid.timeout(0.01):
                    broken = chain.call_async(far.note, "broken")
            after = chain.call_async(far.note, "after")
            assert isinstance(broken.exception(TIMEOUT_S), kind)
            gate.open()
            held.result(TIMEOUT_S)
            error = after.exception(TIMEOUT_S)
            assert type(error) is kind
            assert "a call before this one was cancelled or too late" in str(error)
    assert context.call(far.notes) == []


@one_way
def test_a_chain_that_was_closed_or_whose_context_is_lost_says_so(context: plasmid.Context) -> None:  # U3
    chain, other = plasmid.Chain(context), plasmid.Chain(context)
    chain.call(far.note, "a")
    chain.close()
    chain.close()
    with pytest.raises(PlasmidError, match="the chain was closed"):
        chain.call(far.note, "b")
    context.shutdown()
    for _ in range(2):
        with pytest.raises(NotSent):
            other.call(far.note, "c")
    other.close()


def test_where_too_many_failed_chains_are_left_open_no_chain_is_run(monkeypatch: pytest.MonkeyPatch) -> None:  # U3
    monkeypatch.setattr(chains, "FAILED_MAX", 2)
    with plasmid.Router() as router:
        context = router.myself()
        broken = [plasmid.Chain(context) for _ in range(2)]
        for chain in broken:
            with pytest.raises(ValueError, match="bad"):
                chain.call(far.fail, "ValueError", "bad")
        fresh = plasmid.Chain(context)
        with pytest.raises(Overloaded, match="2 chains there have failed and weren't closed"):
            fresh.call(far.note, "a")
        for chain in broken:
            chain.close()
        with plasmid.Chain(context) as chain:
            assert chain.call(abs, -1) == 1
        assert chains._failed == {}
