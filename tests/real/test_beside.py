"""Small calls beside a large stream on one link: they are answered all along, with little queued ahead of each."""

import threading

import pytest

import plasmid
from plasmid.core.frames import CHUNK_SIZE
from plasmid.core.streams import STREAM_WINDOW
from tests.real import far
from tests.real.conftest import ways

TIMEOUT_S = 60
MIB = 1 << 20
# What is taken for one write, what a stream may have under way, and the small calls' own frames.
AHEAD_MAX = 4 * CHUNK_SIZE + STREAM_WINDOW + CHUNK_SIZE

sizes = pytest.mark.parametrize("mib", [64, pytest.param(1024, marks=pytest.mark.heavy)])


class SmallCalls:
    """A thread that makes one call after the other. answered: how many were. ahead: bytes queued at an end, at most."""

    def __init__(self, router: plasmid.Router, context: plasmid.Context) -> None:
        self.answered = 0
        self.ahead = 0
        self.error: BaseException | None = None
        self._runtime = router.runtime
        self._work = context.service(far.Beside)
        self._stop = threading.Event()
        self._work.bytes_ahead()  # so that the service is there
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                there = self._work.bytes_ahead()
                self.answered += 1
                self.ahead = max(self.ahead, there, far.queued(self._runtime))
        except BaseException as error:  # noqa: BLE001 - told below
            self.error = error

    def stop(self) -> None:
        """End it; raise what it met."""
        self._stop.set()
        self._thread.join(TIMEOUT_S)
        if self.error is not None:
            raise self.error


@ways
@sizes
def test_small_calls_are_answered_while_a_large_stream_comes_up(  # D9
    router: plasmid.Router, context: plasmid.Context, mib: int
) -> None:
    calls = SmallCalls(router, context)
    before = calls.answered
    size = sum(map(len, context.service(far.Beside).pour(mib)))
    during = calls.answered - before
    calls.stop()
    assert size == mib * MIB
    # A call for each 8 MiB is far less than there are: what counts is that none waits for the whole of it.
    assert during >= mib // 8
    assert calls.ahead <= AHEAD_MAX


@ways
@sizes
def test_small_calls_are_answered_while_a_large_stream_goes_down(  # D9
    router: plasmid.Router, context: plasmid.Context, mib: int
) -> None:
    calls = SmallCalls(router, context)
    sender = context.call(far.open_drain)
    before = calls.answered
    for _ in range(mib * 16):
        sender.put(bytes(65_000), timeout=TIMEOUT_S)
    during = calls.answered - before
    calls.stop()
    sender.close()
    assert context.call(far.drained) == mib * 16 * 65_000
    assert during >= mib // 8
    assert calls.ahead <= AHEAD_MAX


@ways
def test_a_stream_that_nobody_reads_keeps_no_call_from_its_answer(  # D9
    router: plasmid.Router, context: plasmid.Context
) -> None:
    stopped = context.service(far.Beside).pour.start(1024)
    work = context.service(far.Beside)
    assert max(work.bytes_ahead() for _ in range(200)) <= AHEAD_MAX
    assert far.queued(router.runtime) <= AHEAD_MAX
    stopped.close()
