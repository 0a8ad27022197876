"""The loop's own thread sleeps while others come and go, and misses nothing."""

import select
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest

from plasmid.core import address, frames, values
from plasmid.core.errors import DeadlineExceeded
from plasmid.core.frames import PROTOCOL_VERSION, FrameDecoder, Kind, Lane
from plasmid.core.link import IDLE_S, Link
from plasmid.runtime.context import Call, Context
from plasmid.runtime.ports import Parking
from plasmid.runtime.runtime import Runtime
from plasmid.runtime.standby import Standby

pytestmark = pytest.mark.skipif(not hasattr(select, "epoll"), reason="without epoll the loop's own thread always leads")

CHILD = address.child(address.ROOT, 1)
BUFFER_SIZE = 4096
WAIT_S = 20
TURNS = 50
CALLERS = 4


class Asleep:
    """A context with one child, of which this end is `peer`; its loop's own thread sleeps, and nobody leads."""

    def __init__(self) -> None:
        self.runtime = Runtime(address.ROOT, "root", {})
        self.runtime.start()
        self.ours, self.peer = socket.socketpair()
        self.peer.settimeout(WAIT_S)

    def attach(self) -> None:
        """Give it its child."""
        fd = self.ours.detach()
        self.runtime.loop.attach(1, fd, fd)
        self.peer.send(frames.encode(Kind.HELLO, 0, 0, CHILD, b"", values.pack({"versions": [PROTOCOL_VERSION]})))

    def fall_asleep(self) -> None:
        """Lead until the thread sleeps, and leave."""
        while self.standby.looks:
            self.lead(0.01)

    @property
    def standby(self) -> Standby:
        """Its loop's own thread."""
        assert self.runtime.loop.standby is not None
        return self.runtime.loop.standby

    @property
    def link(self) -> Link:
        """Its link to the child."""
        return self.runtime.node.links[1]

    def lead(self, seconds: float) -> None:
        """Lead for so long, and leave."""
        self.runtime.loop.park(Parking(), monotonic() + seconds)

    def calls(self, count: int) -> "list[int]":
        """Return the ids of so many calls, once they have come to the child."""
        decoder = FrameDecoder(address.ROOT)
        ids: list[int] = []
        while len(ids) < count:
            decoder.feed(self.peer.recv(BUFFER_SIZE))
            while (frame := decoder.next_frame()) is not None:
                ids.append(frame.id)
        return ids

    def answer(self, id: int) -> bytes:
        """Return the child's answer to that call."""
        body = b"".join(values.encode("answer", ""))
        return frames.encode(Kind.REPLY, Lane.REPLY, id, CHILD, address.ROOT, body)

    def wakes(self) -> int:
        """Return how often the thread has gone to sleep, or waited for anything else."""
        status = Path(f"/proc/self/task/{self.standby.thread.native_id}/status").read_text()
        return int(dict(line.split(":\t") for line in status.splitlines())["voluntary_ctxt_switches"])


@pytest.fixture
def asleep() -> Iterator[Asleep]:
    """Such a context."""
    made = Asleep()
    made.attach()
    while made.link.hello is None:
        made.lead(0.01)
    made.fall_asleep()
    yield made
    made.runtime.close("the test is over")
    made.peer.close()


def test_who_leads_now_and_then_doesnt_wake_it(asleep: Asleep) -> None:
    before = asleep.wakes()
    for _ in range(TURNS):
        asleep.lead(0.003)
    assert asleep.wakes() - before < TURNS // 2
    assert not asleep.standby.looks


def test_who_leads_often_has_it_look_by_itself(asleep: Asleep) -> None:
    until = monotonic() + WAIT_S
    while not asleep.standby.looks:
        asleep.lead(0)
        assert monotonic() < until


def test_what_comes_while_it_sleeps_and_nobody_leads_is_taken(asleep: Asleep) -> None:
    asleep.peer.recv(BUFFER_SIZE)  # its hello
    for id in range(TURNS):
        asleep.peer.send(frames.encode(Kind.PING, 0, id, CHILD, b""))
        assert asleep.peer.recv(BUFFER_SIZE) == frames.encode(Kind.PONG, 0, id, address.ROOT, b"")
        asleep.lead(0.003)


def test_a_call_whose_time_is_over_while_it_sleeps_ends(asleep: Asleep) -> None:
    call = Context(asleep.runtime, CHILD).send_call("s", "service", "method", {}, monotonic() + 0.05)
    assert isinstance(call, Call)
    ended = threading.Event()
    call.when_ended(ended.set)
    assert ended.wait(WAIT_S)
    assert isinstance(call.exception(0), DeadlineExceeded)


def test_the_links_that_came_while_it_slept_are_looked_at() -> None:
    made = Asleep()
    made.fall_asleep()
    parking = Parking()
    leader = threading.Thread(target=made.runtime.loop.park, args=[parking])
    leader.start()
    while made.runtime.loop.leader is not parking:
        made.lead(0)  # which it does only until the other thread does
    made.attach()
    made.peer.recv(BUFFER_SIZE)  # its hello
    while made.link.hello is None:
        made.lead(0)
    parking.release()
    leader.join()
    with made.runtime.lock:
        made.link.heard_at -= IDLE_S
    assert made.peer.recv(BUFFER_SIZE) == frames.encode(Kind.PING, 0, 0, address.ROOT, b"")
    made.runtime.close("the test is over")
    made.peer.close()


def test_an_errand_is_run_while_it_sleeps(asleep: Asleep) -> None:
    run = threading.Event()
    asleep.runtime.loop.run_soon(run.set)
    assert run.wait(WAIT_S)


def test_help_that_is_asked_for_while_it_sleeps_is_given(asleep: Asleep) -> None:
    helped = threading.Event()

    def help(_: bool) -> bool:
        helped.set()
        return False

    with asleep.runtime.lock:
        asleep.standby.hold(help)
    assert helped.wait(WAIT_S)


def test_a_context_can_be_closed_while_it_sleeps(asleep: Asleep) -> None:
    asleep.runtime.close("the test is over")
    assert not asleep.standby.thread.is_alive()


def test_callers_go_on_though_the_one_before_them_waits_for_them_elsewhere(asleep: Asleep) -> None:
    asleep.peer.recv(BUFFER_SIZE)  # its hello
    for _ in range(TURNS):
        barrier = threading.Barrier(CALLERS)
        results: list[object] = []

        def call_and_wait(barrier: threading.Barrier = barrier, results: "list[object]" = results) -> None:
            results.append(Context(asleep.runtime, CHILD).call_service("service", "method"))
            barrier.wait(WAIT_S)

        threads = [threading.Thread(target=call_and_wait) for _ in range(CALLERS)]
        for thread in threads:
            thread.start()
        answers = b"".join(asleep.answer(id) for id in asleep.calls(CALLERS))
        with asleep.runtime.lock:
            # As if many had come and gone: it looks for a while, and lets callers go on in turn.
            asleep.standby.looks = True
            asleep.standby.wake()
        asleep.peer.sendall(answers)
        for thread in threads:
            thread.join(WAIT_S)
        assert (results, barrier.broken) == (["answer"] * CALLERS, False)
