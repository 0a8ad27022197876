"""Hosts of a lab that are cut off, one way or both, that stop, crash or are far away. See network.py for the faults."""

import contextlib
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import plasmid
from tests.real import far, leftovers
from tests.real.chaos import network
from tests.real.lab import netlab

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]


@pytest.fixture
def hosts(session_leaves_nothing: leftovers.Session) -> "Iterator[Callable[[int], netlab.Lab]]":
    """Give a function that makes a lab of so many hosts."""
    folder = session_leaves_nothing.folder / f"lab-{uuid.uuid4().hex[:8]}"
    with contextlib.ExitStack() as running:
        yield lambda count: running.enter_context(netlab.running_lab(folder, count))


# What D4 promises of a silent link; here both ends bear with less.
KNOWN_MAX_S = 40.0


def check(outcomes: "dict[str, network.Outcome]") -> None:
    """Check that each call ended once, in a way that is allowed, and that nothing was left."""
    assert outcomes.keys() == network.FAULTS.keys()
    for fault, outcome in outcomes.items():
        ends = dict(outcome.ends)
        # Made after the fault, it may have been known by then; half of a large call is none; and a process may go on
        # for a moment that is being stopped.
        later = {ends.pop("later"), ends.pop("later and large")}
        assert (fault, later - {"ContextLost", "NotSent", "NoneType"}) == (fault, set())
        assert (fault, ends) == (fault, dict.fromkeys(ends, "ContextLost"))
        assert (fault, outcome.known_s < KNOWN_MAX_S, outcome.gone_s < network.WAIT_MAX_S) == (fault, True, True)


# D2, D3, D4, D11
def test_whatever_happens_to_a_host_its_calls_end_once_and_its_neighbour_notices_nothing(
    hosts: "Callable[[int], netlab.Lab]",
) -> None:
    lab = hosts(len(network.FAULTS) + 1)
    check(network.play(lab, network.LITTLE, f"chaos-{uuid.uuid4().hex[:8]}"))


def use_everything(router: plasmid.Router, context: plasmid.Context, folder: Path) -> None:
    """Call, stream and fetch, one after the other and at once, and check what comes of it."""
    work = context.service(far.Work)
    calls = [context.call_async(far.add, number) for number in range(50)]
    assert work.takes_path("x" * 300_000) == "x" * 300_000
    assert [call.result() for call in calls] == list(range(10, 60))
    receiver = plasmid.Receiver(router)
    context.call_no_reply(far.put_all, receiver.to_sender(), list(range(500)), True)
    assert list(receiver) == list(range(500))
    data = os.urandom(1 << 20)
    (folder / "here").write_bytes(data)
    plasmid.files.put(context, folder / "here", str(folder / "there"))
    assert (folder / "there").read_bytes() == data


# D5, D10
def test_far_away_and_over_a_line_that_loses_packets_all_is_slower_and_nothing_else(
    hosts: "Callable[[int], netlab.Lab]", router: plasmid.Router, tmp_path: Path
) -> None:
    lab = hosts(1)
    context = router.ssh("host1", ssh_path=str(lab.ssh), ssh_args=lab.delayed(0.1), name="far away")
    lab.lose(1, 0.02)
    use_everything(router, context, tmp_path)


# D2, D4
def test_a_line_that_is_cut_for_a_while_and_comes_back_has_lost_nothing(
    hosts: "Callable[[int], netlab.Lab]", router: plasmid.Router, tmp_path: Path
) -> None:
    lab = hosts(1)
    context = router.ssh("host1", ssh_path=str(lab.ssh), name="far")
    context.call(far.add, 1)
    lab.partition(1)
    calls = [context.call_async(far.add, number) for number in range(50)]
    with pytest.raises(plasmid.TimedOut):
        calls[0].result(timeout=1.5)
    lab.heal(1)
    assert [call.result() for call in calls] == list(range(10, 60))
    use_everything(router, context, tmp_path)


# D4, U1
def test_a_host_that_was_lost_can_be_connected_to_again(
    hosts: "Callable[[int], netlab.Lab]", router: plasmid.Router
) -> None:
    lab = hosts(1)
    with network.patient(network.LITTLE):
        context = router.ssh("host1", ssh_path=str(lab.ssh), name="far")
        call = context.service(far.Work).hold.start()
        lab.partition(1)
        assert isinstance(call.exception(network.WAIT_MAX_S), plasmid.ContextLost)
        with pytest.raises(plasmid.ConnectError):
            router.ssh("host1", ssh_path=str(lab.ssh), name="again", connect_timeout=1.0)
        lab.heal(1)
        again = router.ssh("host1", ssh_path=str(lab.ssh), name="again")
        assert again.call(far.add, 1) == 11
        with pytest.raises(plasmid.NotSent):
            context.call(far.add, 1)
