"""Where select has no epoll, as on systems other than Linux: calls, services, streams, files, losses and the end.

Taken away here from this process, and from each far side before its first stage runs. What a thread waits with
differs there, and who leads; see docs/design/0004-the-waiting-thread-reads.md.
"""

import os
import select
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import plasmid
from tests.connect.stand_ins import stand_in
from tests.real import far, interpreters, leftovers

TIMEOUT_S = 30
GONE_TIMEOUT_S = 2

# A Python that takes names out of `select` before it does what it was told.
WITHOUT = """
first = "import select\\nfor name in {names!r}: delattr(select, name)\\n" + sys.argv[3]
os.execv({path!r}, [{path!r}, *sys.argv[1:3], first, *sys.argv[4:]])
"""


def python_without(folder: Path, version: str, *names: str) -> str:
    """Return the path of a Python of that version whose `select` lacks these."""
    return stand_in(folder, WITHOUT.format(path=interpreters.interpreter(version), names=names))


@pytest.fixture(params=["3.6", "3.11"])
def python(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give a Python without epoll for far sides, and take it away here."""
    path = python_without(tmp_path, request.param, "epoll")
    monkeypatch.delattr(select, "epoll")
    return path


@pytest.fixture
def polling(python: str) -> "Iterator[plasmid.Router]":
    """Give a Router that waits without epoll."""
    with plasmid.Router() as router:
        assert not hasattr(select, "epoll")
        yield router


@pytest.fixture
def context(polling: plasmid.Router, python: str) -> plasmid.Context:
    """Give a context that waits without epoll."""
    context = polling.local(python_path=python, name="far")
    assert context.call(far.lacking_in, "select", ["epoll", "poll"]) == ["epoll"]
    return context


def test_calls_and_services_work_either_way_and_one_hop_further(  # U3, U4
    polling: plasmid.Router, context: plasmid.Context, python: str
) -> None:
    counter = context.service(far.Counter)
    calls = [counter.add.start(1) for _ in range(200)]
    # Several threads serve them: which of two begins first says nothing of which has the lock first.
    assert sorted(call.result(TIMEOUT_S) for call in calls) == list(range(1, 201))
    value = {"a": (1, {2, 3}), "long": bytes(3_000_000)}
    assert context.call(far.echo, value) == value
    with plasmid.Pool(polling, services=[far.Catalog(polling), far.Clock(polling)]):
        assert context.call(far.ask_catalog, "k") == ["k", "far"]
        with plasmid.timeout(TIMEOUT_S):
            left = context.call(far.ask_seconds_left, 15)
        assert left is not None
        assert 0 < left < 15
    below = polling.local(python_path=python, via=context, name="below")
    assert below.call(far.lacking_in, "select", ["epoll"]) == ["epoll"]
    assert below.service(far.Counter).add(1) == 1
    with pytest.raises(KeyError):
        below.call(far.fail, "KeyError", "k")


def test_threads_that_call_at_once_each_get_their_own_answer(context: plasmid.Context) -> None:
    answers: dict[int, list[int]] = {}

    def call(number: int) -> None:
        answers[number] = [context.call(far.add, number, n) for n in range(50)]

    threads = [threading.Thread(target=call, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT_S)
    assert answers == {number: [number + n for n in range(50)] for number in range(8)}


def test_a_call_that_waits_is_ended_by_another_one_and_by_its_time(context: plasmid.Context) -> None:
    busy = context.call_async(far.wait_at_gate, "busy")
    with pytest.raises(plasmid.TimedOut):
        busy.result(0.05)
    context.service(far.Gate).open()
    assert busy.result(TIMEOUT_S) == "busy"


def test_streams_and_files_go_either_way(polling: plasmid.Router, context: plasmid.Context, tmp_path: Path) -> None:
    receiver = plasmid.Receiver(polling)
    values = [bytes([n]) * 20_000 for n in range(200)]
    call = context.call_async(far.put_all, receiver.to_sender(), values)
    assert [receiver.get(TIMEOUT_S) for _ in values] == values
    assert call.result(TIMEOUT_S) is None
    context.call(far.open_receiver).put("down")
    assert context.call(far.take_from_receiver, 1) == ["down"]
    (tmp_path / "file").write_bytes(os.urandom(3_000_000))
    plasmid.files.put(context, tmp_path / "file", tmp_path / "put")
    plasmid.files.fetch(context, tmp_path / "put", tmp_path / "fetched")
    assert (tmp_path / "fetched").read_bytes() == (tmp_path / "file").read_bytes()


def test_a_loss_ends_the_calls_there_at_once_and_no_others(  # D4
    polling: plasmid.Router, context: plasmid.Context, python: str
) -> None:
    other = polling.local(python_path=python, name="other")
    pid = context.call(os.getpid)
    calls = [context.call_async(far.wait_at_gate), context.service(far.Work).hold.start()]
    os.kill(pid, signal.SIGKILL)
    assert {type(call.exception(TIMEOUT_S)) for call in calls} == {plasmid.ContextLost}
    assert other.call(far.add, 1) == 11


def test_nothing_is_left_of_contexts_that_are_shut_down(  # U7, D11
    polling: plasmid.Router, context: plasmid.Context, python: str
) -> None:
    below = polling.local(python_path=python, via=context, name="below")
    pids = [*context.call(far.process_ids), *below.call(far.process_ids)]
    context.shutdown()
    assert leftovers.until_empty(lambda: leftovers.running(pids), GONE_TIMEOUT_S) == []
    again = polling.local(python_path=python, name="again")
    pids = again.call(far.process_ids)
    polling.close()
    assert leftovers.until_empty(lambda: leftovers.running(pids), GONE_TIMEOUT_S) == []
    assert "plasmid-loop" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize("version", ["3.6", "3.11"])
def test_a_far_python_without_poll_is_refused_with_what_to_do(
    router: plasmid.Router, tmp_path: Path, version: str
) -> None:
    with pytest.raises(plasmid.ConnectError) as caught:
        router.local(python_path=python_without(tmp_path, version, "epoll", "poll"))
    assert "has no attribute 'poll'" in caught.value.output
    assert caught.value.advice.startswith("The Python there was built without select.poll")


def test_a_near_python_without_poll_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(select, "poll")
    with pytest.raises(plasmid.PlasmidError, match=r"waits with select\.poll, .* has none"):
        plasmid.Router()
