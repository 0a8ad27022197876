"""on_lost(): who asks for it is told once of the loss of a context, however that ended, with the reason."""

import os
import signal
import threading
from collections.abc import Callable

import pytest

import plasmid
from tests.real import far
from tests.real.conftest import one_way, ways

TIMEOUT_S = 30


class Told:
    """Takes what on_lost() tells, and lets a test wait for it."""

    def __init__(self) -> None:
        self.latch = plasmid.Latch()

    def __call__(self, context: plasmid.Context, reason: str) -> None:
        self.latch.put((context, reason, threading.current_thread().name))

    def next(self) -> "tuple[plasmid.Context, str, str]":
        """Return what was told next."""
        found: tuple[plasmid.Context, str, str] = self.latch.get(TIMEOUT_S)
        return found

    def is_over(self) -> bool:
        """Whether nothing more was told."""
        return not self.latch.has()


@ways
def test_a_loss_is_told_once_with_its_reason_on_a_thread_of_plasmids(  # U7, D4
    context: plasmid.Context,
) -> None:
    told = Told()
    context.on_lost(told)
    os.kill(context.call(os.getpid), signal.SIGKILL)
    lost, reason, thread = told.next()
    assert lost == context
    assert "it closed its end" in reason
    assert thread.startswith("plasmid-helper-")
    assert told.is_over()


@one_way
def test_the_reason_says_how_the_process_ended(context: plasmid.Context) -> None:
    told = Told()
    context.on_lost(told)
    os.kill(context.call(os.getpid), signal.SIGKILL)
    assert told.next()[1].endswith("was killed by signal 9 (SIGKILL))")


@one_way
def test_what_one_raises_is_shown_and_keeps_the_next_from_nothing(
    context: plasmid.Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = plasmid.Latch()
    monkeypatch.setattr("sys.excepthook", lambda kind, error, trace: shown.put(error))
    told = Told()

    def fail(context: plasmid.Context, reason: str) -> None:
        raise RuntimeError(f"about {context.name}")

    for fn in (fail, told, fail, told):
        context.on_lost(fn)
    os.kill(context.call(os.getpid), signal.SIGKILL)
    assert [told.next()[0], told.next()[0]] == [context, context]
    assert sorted(str(shown.get(TIMEOUT_S)) for _ in range(2)) == ["about far", "about far"]


@ways
def test_who_asks_after_the_loss_is_told_at_once(router: plasmid.Router, context: plasmid.Context) -> None:
    below = router.local(via=context, name="below")
    pid = context.call(os.getpid)
    first = Told()
    context.on_lost(first)
    os.kill(pid, signal.SIGKILL)
    first.next()
    for lost in (context, below):
        told = Told()
        lost.on_lost(told)
        assert told.next()[0] == lost


@ways
def test_a_context_that_was_never_called_is_told_of_and_so_is_what_was_below_a_lost_one(  # U7
    router: plasmid.Router, context: plasmid.Context
) -> None:
    pid = context.call(os.getpid)
    below = router.local(via=context, name="below")
    lowest = router.local(via=below, name="lowest")
    told = Told()
    lowest.on_lost(told)
    below.on_lost(told)
    os.kill(pid, signal.SIGKILL)
    found = [told.next() for _ in range(2)]
    assert {each[0] for each in found} == {below, lowest}
    gone = str(context).partition("(")[2][:-1]
    assert {each[1].partition(" (")[0] for each in found} == {f"{gone} was lost: it closed its end"}


@one_way
def test_the_loss_of_a_context_below_a_living_one_is_told(router: plasmid.Router, context: plasmid.Context) -> None:
    below = router.local(via=context, name="below")
    told = Told()
    below.on_lost(told)
    context.call(far.call_from_here, below, "process_ids")
    pid = below.call(os.getpid)
    os.kill(pid, signal.SIGKILL)
    assert told.next()[:2] == (below, "it closed its end")
    assert context.call(far.add, 1) == 11


@one_way
@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (lambda router, context: context.shutdown(), "it ended"),
        (lambda router, context: router.close(), "it ended"),
        (lambda router, context: context.detach(), "it was detached, and goes on by itself"),
    ],
)
def test_an_end_in_order_is_told_as_well(
    router: plasmid.Router,
    context: plasmid.Context,
    end: "Callable[[plasmid.Router, plasmid.Context], object]",
    reason: str,
) -> None:
    told = Told()
    context.on_lost(told)
    end(router, context)
    assert told.next()[1].partition(" (")[0] == reason


@one_way
def test_after_the_routers_end_everything_is_lost(router: plasmid.Router, context: plasmid.Context) -> None:
    router.close()
    told = Told()
    context.on_lost(told)
    assert not told.is_over()  # nobody is left who could call it later


@one_way
def test_a_sibling_is_told_too(router: plasmid.Router, context: plasmid.Context) -> None:
    other = router.local(name="other")
    receiver = plasmid.Receiver(router)
    other.call(far.tell_of_loss, context, receiver.to_sender())
    os.kill(context.call(os.getpid), signal.SIGKILL)
    assert receiver.get(TIMEOUT_S) == ["far (/1)", "it closed its end"]


@one_way
def test_nobody_hears_of_his_own_end(router: plasmid.Router, context: plasmid.Context) -> None:
    with pytest.raises(ValueError, match="hears nothing of its own end"):
        router.myself().on_lost(Told())
