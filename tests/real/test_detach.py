"""A context that was detached goes on without its parent until its function calls have ended, and then ends."""

import os
from pathlib import Path

import pytest

import plasmid
from tests.real import far, far_detach, leftovers
from tests.real.conftest import one_way, ways

GONE_TIMEOUT_S = 10


def is_written(path: Path) -> "list[str]":
    """Return nothing once the file is there."""
    return [] if path.exists() else [f"{path} isn't there"]


@ways
def test_a_detached_context_outlives_the_router_and_ends_with_what_it_runs(  # U7
    router: plasmid.Router, context: plasmid.Context, tmp_path: Path
) -> None:
    came, went = tmp_path / "came", tmp_path / "went"
    os.mkfifo(came)
    pids = context.call(far.process_ids)
    context.call_no_reply(far_detach.pass_on, str(came), str(went))
    pid = context.detach()
    assert pid in pids
    router.close()
    # More than the watchdog's grace, and it is gone itself: nothing ends the context but its own end.
    assert leftovers.until_empty(lambda: leftovers.running([one for one in pids if one != pid]), GONE_TIMEOUT_S) == []
    assert len(leftovers.running([pid])) == 1
    came.write_text("on\n")
    assert leftovers.until_empty(lambda: is_written(went), GONE_TIMEOUT_S) == []
    assert went.read_text() == f"on {pid}"
    assert leftovers.until_empty(lambda: leftovers.running([pid]), GONE_TIMEOUT_S) == []


@ways
def test_a_detached_context_that_runs_nothing_ends_at_once_with_what_is_below_it(  # U7
    router: plasmid.Router, context: plasmid.Context
) -> None:
    below = router.local(via=context)
    pids = [*context.call(far.process_ids), *below.call(far.process_ids)]
    context.detach()
    assert leftovers.until_empty(lambda: leftovers.running(pids), GONE_TIMEOUT_S) == []
    for lost in (context, below):
        with pytest.raises(plasmid.NotSent):
            lost.call(far.add, 1)
    assert router.local().call(far.add, 1) == 11


@one_way
def test_a_call_to_a_context_that_is_detached_ends_with_that_and_goes_on_over_there(
    router: plasmid.Router, context: plasmid.Context, tmp_path: Path
) -> None:
    came, went = tmp_path / "came", tmp_path / "went"
    os.mkfifo(came)
    call = context.call_async(far_detach.pass_on, str(came), str(went))
    pid = context.detach()
    error = call.exception(GONE_TIMEOUT_S)
    assert isinstance(error, plasmid.ContextLost)
    assert "it was detached, and goes on by itself" in str(error)
    came.write_text("on\n")
    assert leftovers.until_empty(lambda: is_written(went), GONE_TIMEOUT_S) == []
    assert leftovers.until_empty(lambda: leftovers.running([pid]), GONE_TIMEOUT_S) == []


@one_way
def test_what_cannot_be_detached_says_so(router: plasmid.Router, context: plasmid.Context) -> None:
    with pytest.raises(plasmid.PlasmidError, match=r"^the root has no parent to be detached from$"):
        router.myself().detach()
    context.shutdown()
    with pytest.raises(plasmid.PlasmidError, match=r"^far \(/1\) can't be detached: it isn't there any more$"):
        context.detach()


@one_way
def test_a_child_cannot_detach_its_parent(router: plasmid.Router, context: plasmid.Context) -> None:
    below = router.local(via=context)
    with pytest.raises(plasmid.RemoteError, match="only a parent may"):
        below.call(far_detach.detach_myself)
    assert context.call(far.add, 1) == 11
