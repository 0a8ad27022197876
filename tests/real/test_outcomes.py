"""How calls end whose far side is whole and whose answer isn't: lost on its way, or in a pool that was closed."""

from pathlib import Path

import pytest

import plasmid
from tests.real import far, leftovers
from tests.real.conftest import one_way, ways

TIMEOUT_S = 30


@ways
@pytest.mark.parametrize("part", ["none of it", "half of its head", "half of its body"])
def test_an_answer_that_is_lost_on_its_way_is_a_loss_and_the_method_ran_once(  # D1, D2, D3, D4
    context: plasmid.Context, tmp_path: Path, part: str
) -> None:
    ran = tmp_path / "ran"
    call = context.call_async(far.run_and_lose_the_answer, str(ran), part)
    error = call.exception(TIMEOUT_S)
    assert isinstance(error, plasmid.ContextLost)
    assert error.started is None
    assert str(error).endswith("The call may have run; check before you repeat it.")
    assert ran.read_text() == "once\n"


@one_way
def test_who_waits_at_a_pool_that_is_closed_is_told_whether_his_call_was_started(  # D2, D3
    router: plasmid.Router, context: plasmid.Context
) -> None:
    catalog = far.Catalog(router)
    catalog.may_answer.clear()
    other = router.local(name="other")
    pool = plasmid.Pool(router, services=[catalog], size=1)
    running = context.call_async(far.outcome_at_root, "first")
    leftovers.wait_until(lambda: bool(catalog.executions))
    queued = other.call_async(far.outcome_at_root, "second")
    leftovers.wait_until(lambda: len(pool._queues[far.Catalog.name()].arrived) > 0)
    pool.close(timeout_s=0.05)
    assert running.result(TIMEOUT_S) == ["Cancelled", None]
    assert queued.result(TIMEOUT_S) == ["NotSent", False]
    assert catalog.executions == ["first"]
    catalog.may_answer.set()
