"""Who leads: the thread that takes in what comes by the links of a context, of all that wait."""

import socket
import threading
from collections.abc import Iterator
from time import monotonic
from typing import Any

import pytest

import plasmid
from plasmid.core import address
from plasmid.core.errors import DeadlineExceeded
from plasmid.core.switch import PARENT
from plasmid.runtime.context import Context
from plasmid.runtime.jobs import Job
from plasmid.runtime.ports import Parking
from plasmid.runtime.runtime import Runtime
from plasmid.service import AllowAny, Pool, Service, child, expose

TIMEOUT_S = 50
CHILD = address.child(address.ROOT, 1)


class Pair:
    """A root and its child in one process, a link between them. The child has no thread of its own but the loop's."""

    def __init__(self) -> None:
        self.root = Runtime(address.ROOT, "root", {})
        self.child = Runtime(CHILD, "child", {})
        ends = [end.detach() for end in socket.socketpair()]
        self.root.loop.attach(1, ends[0], ends[0])
        self.child.loop.attach(PARENT, ends[1], ends[1])
        self.child.jobs.builtin["test"] = self.take
        self.kept: list[Job] = []
        for runtime in (self.root, self.child):
            runtime.start()

    def take(self, job: Job) -> None:
        """Answer a call of `test`, keep it for ever, or drop it."""
        if job.method == "once":
            job.reply(None)
        elif job.method == "never":
            self.kept.append(job)

    def start_call(self, method: str, deadline: "float | None" = None) -> Any:
        """Start a call of the child."""
        return Context(self.root, CHILD).send_call("s", "test", method, {}, deadline=deadline)


@pytest.fixture
def pair() -> "Iterator[Pair]":
    """Give a root and a child."""
    made = Pair()
    yield made
    for runtime in (made.root, made.child):
        runtime.close("the test is over")


def spy_on(runtime: Runtime) -> "list[str]":
    """Return the list of the threads that take in what comes from now on."""
    readers: list[str] = []
    feed = runtime.node.feed

    def spied(id: int, data: bytes, now: float) -> None:
        readers.append(threading.current_thread().name)
        feed(id, data, now)

    runtime.node.feed = spied  # type: ignore[method-assign]
    return readers


def test_the_thread_that_waits_for_an_answer_reads_it_itself(pair: Pair) -> None:
    pair.start_call("once").result()  # the hellos are out of the way
    readers = spy_on(pair.root)
    for _ in range(20):
        pair.start_call("once").result()
    # Now and then the loop's own thread may have got there first: where this one took longer than it looks away.
    assert threading.current_thread().name in readers
    assert len(readers) == 20


def test_a_deadline_that_passes_ends_the_wait_of_the_thread_that_leads(pair: Pair) -> None:  # D6
    with pytest.raises(DeadlineExceeded):
        pair.start_call("never", deadline=monotonic() + 0.05).result(TIMEOUT_S)


def test_a_wait_that_has_an_end_ends_then_and_the_call_goes_on(pair: Pair) -> None:
    call = pair.start_call("never")
    with pytest.raises(plasmid.TimedOut):
        call.result(0.05)
    assert (call.done(), call.cancel()) == (False, True)


def test_a_thread_that_leads_wakes_those_whose_answers_it_reads(pair: Pair) -> None:  # D2
    never = pair.start_call("never")
    leader = threading.Thread(target=never.exception)
    leader.start()
    assert [pair.start_call("once").result(TIMEOUT_S) for _ in range(20)] != []
    never.cancel()
    leader.join(TIMEOUT_S)
    assert not leader.is_alive()


def test_what_comes_while_nobody_waits_is_taken_in_by_the_loops_own_thread(pair: Pair) -> None:
    ended = threading.Event()
    pair.start_call("once").result()
    call = pair.start_call("once")
    call.when_ended(ended.set)
    assert ended.wait(TIMEOUT_S)


def test_what_a_collector_drops_is_answered_though_no_link_says_anything(pair: Pair) -> None:
    call = pair.start_call("dropped")
    with pytest.raises(plasmid.Cancelled) as caught:
        call.result(TIMEOUT_S)
    assert caught.value.found == "test.dropped dropped the request without an answer"


def test_a_wait_that_was_ended_before_it_began_takes_no_lead(pair: Pair) -> None:
    parking = Parking()
    parking.release()
    leads = pair.root.loop.leads
    pair.root.loop.park(parking)
    assert pair.root.loop.leads == leads


def test_a_loop_that_closes_lets_the_thread_that_leads_go(pair: Pair) -> None:
    call = pair.start_call("never")
    errors: list[BaseException | None] = []
    leader = threading.Thread(target=lambda: errors.append(call.exception()))
    leader.start()
    pair.root.close("the test closed it")
    leader.join(TIMEOUT_S)
    assert not leader.is_alive()


class Names(Service):
    """Says which thread runs it."""

    @expose(AllowAny())
    def thread(self) -> str:
        """Return the name of the thread."""
        return threading.current_thread().name


class Queue(Service):
    """Answers at once, or not until it may go on."""

    def __init__(self, router: Any, held: "set[int]") -> None:
        super().__init__(router)
        self.held = held
        self.seen: list[int] = []
        self.begun = threading.Semaphore(0)
        self.go = threading.Semaphore(0)

    @expose(AllowAny())
    def quick(self) -> str:
        """Return at once."""
        return "done"

    @expose(AllowAny())
    def stuck(self) -> str:
        """Wait for the test, and note on how many links answers wait."""
        self.seen.append(len(self.held))
        self.begun.release()
        assert self.go.acquire(timeout=TIMEOUT_S)
        return "gone on"


class Meeting(Service):
    """Needs as many threads at once as it has calls."""

    def __init__(self, router: Any, parties: int) -> None:
        super().__init__(router)
        self.barrier = threading.Barrier(parties)

    @expose(AllowAny())
    def meet(self) -> int:
        """Wait for all others."""
        return self.barrier.wait(TIMEOUT_S)


def start_together(pair: Pair, service: str, *methods: str) -> "list[Any]":
    """Start these calls of the child, which come to it in one piece."""
    context = Context(pair.root, CHILD)
    calls: list[Any] = []
    with pair.child.lock:  # nothing is taken in there meanwhile
        calls += [context.send_call("s", service, method, {}) for method in methods]
    return calls


def test_the_thread_that_reads_calls_which_come_together_runs_them_one_after_the_other(pair: Pair) -> None:
    host = child.Host(pair.child)
    with Pool(host, services=[Names(host)], size=4) as pool:
        crowds = []
        for _ in range(50):
            start_together(pair, Names.name(), "thread")[0].result()
            crowds.append([call.result() for call in start_together(pair, Names.name(), *["thread"] * 4)])
        assert 1 <= len(pool._crew) <= 4
    # Where the loop's own thread read them, or saw some wait, others had a part in it.
    assert any(len(set(crowd)) == 1 for crowd in crowds)


@pytest.mark.parametrize("parties", [2, 8])
def test_calls_that_came_together_get_a_thread_each_if_the_first_takes_long(pair: Pair, parties: int) -> None:
    host = child.Host(pair.child)
    with Pool(host, services=[Meeting(host, parties), Names(host)], size=8):
        for _ in range(20):
            start_together(pair, Names.name(), "thread")[0].result()
            calls = start_together(pair, Meeting.name(), *["meet"] * parties)
            assert sorted(call.result() for call in calls) == list(range(parties))


def test_answers_that_wait_for_each_other_are_sent_though_the_next_call_never_ends(pair: Pair) -> None:
    # D2, S7
    host = child.Host(pair.child)
    queue = Queue(host, pair.child.node.calls.held)
    with Pool(host, services=[queue], size=1):
        for _ in range(20):
            start_together(pair, Queue.name(), "quick")[0].result()
            calls = start_together(pair, Queue.name(), *["quick"] * 5, "stuck", *["quick"] * 20)
            assert [call.result(TIMEOUT_S) for call in calls[:5]] == ["done"] * 5
            assert not any(call.done() for call in calls[5:])
            queue.go.release()
            assert [call.result(TIMEOUT_S) for call in calls[5:]] == ["gone on"] + ["done"] * 20
    assert 1 in queue.seen  # they did wait, unless the loop's own thread looked just then


def test_answers_that_wait_for_each_other_are_sent_while_the_loops_own_thread_leads(pair: Pair) -> None:  # D2, S7
    host = child.Host(pair.child)
    queue = Queue(host, pair.child.node.calls.held)
    with Pool(host, services=[queue], size=2):
        for _ in range(20):
            stuck = start_together(pair, Queue.name(), "stuck", "stuck")
            for _ in stuck:
                assert queue.begun.acquire(timeout=TIMEOUT_S)
            # Both threads are at work, so nobody else can read these; one of the two is let go on with them.
            calls = start_together(pair, Queue.name(), *["quick"] * 5, "stuck", *["quick"] * 20)
            queue.go.release()
            assert [call.result(TIMEOUT_S) for call in calls[:5]] == ["done"] * 5
            assert queue.begun.acquire(timeout=TIMEOUT_S)
            for _ in range(2):
                queue.go.release()
            assert [call.result(TIMEOUT_S) for call in stuck] == ["gone on"] * 2
            assert [call.result(TIMEOUT_S) for call in calls[5:]] == ["gone on"] + ["done"] * 20


def test_the_thread_of_a_pool_that_reads_a_call_runs_it(pair: Pair) -> None:
    host = child.Host(pair.child)
    with Pool(host, services=[Names(host)], size=4):
        names = Context(pair.root, CHILD).service(Names)
        names.thread()
        readers = spy_on(pair.child)
        runners = [names.thread() for _ in range(20)]
    assert [runner for runner, reader in zip(runners, readers, strict=False) if runner == reader] != []
    assert all(runner.startswith("plasmid-pool-") for runner in runners)
