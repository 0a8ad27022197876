"""Generator methods: items under credit, and an end that both sides learn of. The caller is this process itself."""

import asyncio
import gc
import threading
from typing import Any

import pytest

import plasmid
from plasmid.core import values
from plasmid.core.address_text import parse
from plasmid.core.errors import Cancelled, DeadlineExceeded, ProtocolError, ReceiverClosed, Refused, RemoteError
from plasmid.runtime.ports import TimedOut
from plasmid.service import DeduplicatingInvoker, Pool, StreamEnded, expose, stream
from plasmid.service.methods import STREAM_KEY
from plasmid.service.queues import ServiceQueue
from plasmid.testing import ANSWER_TIMEOUT_S, FakeJob
from tests.service.live import Kinds, Serial, acquire

BOTH = pytest.mark.parametrize("method", ["count", "count_async"])


@BOTH
def test_the_items_of_a_generator_come_in_order_and_end(client: Kinds, kinds: Kinds, method: str) -> None:
    assert list(getattr(client, method)(to=1000)) == list(range(1000))
    acquire(kinds.closed)
    assert list(getattr(client, method)(to=0)) == []


def test_what_a_generator_returns_is_the_value_of_the_end(client: Any) -> None:
    items = client.count(1)
    assert items.get() == 0
    for _ in range(2):
        with pytest.raises(StreamEnded) as end:
            items.get()
        assert end.value.value == "all of them"

    def delegate() -> Any:
        return (yield from client.count(2))

    delegating = delegate()
    assert [next(delegating), next(delegating)] == [0, 1]
    with pytest.raises(StopIteration) as stop:
        next(delegating)
    assert stop.value.value == "all of them"


@pytest.mark.parametrize("method", ["fail_after", "fail_after_async"])
def test_the_error_of_a_generator_comes_after_its_items(client: Any, method: str) -> None:
    items = getattr(client, method)(3)
    assert [next(items) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(LookupError) as error:
        next(items)
    assert error.value.args == ("no more",)
    assert isinstance(error.value.__cause__, RemoteError)
    assert "live.py" in error.value.__cause__.traceback
    assert "plasmid/service" not in error.value.__cause__.traceback


def test_an_item_that_cannot_be_sent_is_an_error_that_names_it(client: Any, kinds: Kinds) -> None:
    items = client.unsendable()
    assert next(items) == 1
    with pytest.raises(plasmid.UnsendableValue) as error:
        next(items)
    assert str(error.value) == "item of Kinds.unsendable[0][0]: lock"
    acquire(kinds.closed)


@BOTH
def test_a_generator_is_a_bounded_way_ahead_of_its_reader_and_has_no_thread_meanwhile(
    client: Any, kinds: Kinds, method: str
) -> None:
    items = getattr(client, method)(to=1000, size=10_000)
    assert len(next(items)) == 10_000
    # The pool's only thread serves other calls while the generator waits for its reader.
    assert client.plain(7) == 7
    made = kinds.made
    assert made < 60
    assert client.plain(8) == 8
    assert sum(len(item) for item in items) == 999 * 10_000
    assert kinds.made == 1000


@BOTH
def test_closing_a_stream_closes_the_generator(client: Any, kinds: Kinds, method: str) -> None:
    with getattr(client, method)(to=10**9) as items:
        assert [next(items), next(items)] == [0, 1]
    acquire(kinds.closed)
    with pytest.raises(ReceiverClosed, match="the stream was closed"):
        next(items)
    assert client.plain(1) == 1


@BOTH
def test_dropping_a_stream_closes_the_generator(client: Any, kinds: Kinds, method: str) -> None:
    for item in getattr(client, method)(to=10**9):
        if item == 5:
            break
    gc.collect()
    acquire(kinds.closed)


@BOTH
def test_a_deadline_ends_a_stream_on_both_sides(router: plasmid.Router, kinds: Kinds, method: str) -> None:  # D6
    items: Any = getattr(router.myself().service(Kinds, timeout=0.05), method)(to=10**9)
    with pytest.raises(DeadlineExceeded):
        for _ in items:
            pass
    acquire(kinds.closed)


def test_one_serialized_stream_is_one_call_until_it_ends(router: plasmid.Router, kinds: Kinds) -> None:  # S8
    serial = Serial(router)
    router.jobs.pool.add(serial)
    client: Any = router.myself().service(Serial, timeout=ANSWER_TIMEOUT_S)
    items = client.count(to=200, size=10_000)
    next(items)
    waiting = client.plain.start(3)
    assert router.myself().service(Kinds).plain(4) == 4
    assert not waiting.done()
    assert len(list(items)) == 199
    assert waiting.result(ANSWER_TIMEOUT_S) == 3


def test_items_can_be_waited_for_with_a_limit_and_the_stream_goes_on(client: Any, kinds: Kinds) -> None:
    items = client.held()
    acquire(kinds.begun)
    with pytest.raises(TimedOut):
        items.get(timeout=0.01)
    kinds.go.release()
    assert list(items) == ["item"]


def test_async_code_reads_streams_of_both_kinds(client: Any) -> None:
    async def read() -> "list[list[int]]":
        found = []
        for method in (client.count, client.count_async):
            found.append([item async for item in method.start(500)])
        async with client.count_async(10) as items:
            found.append([item async for item in items])
        with pytest.raises(LookupError):
            async for _ in client.fail_after(1):
                pass
        return found

    assert asyncio.run(read()) == [list(range(500)), list(range(500)), list(range(10))]


def test_the_caller_is_known_in_every_part_of_a_generator(client: Any) -> None:
    assert list(client.callers()) == ["root"] * 3


def test_a_generator_is_called_by_name_too_and_says_so_if_the_call_has_no_place_for_its_items(
    router: plasmid.Router, kinds: Kinds
) -> None:
    me = router.myself()
    assert list(stream(me, Kinds.name(), "count", to=3)) == [0, 1, 2]
    assert list(stream(me, Kinds, "count", to=3)) == [0, 1, 2]
    with pytest.raises(Refused) as error:
        me.call_service(Kinds, "count", to=3)
    assert error.value.found == (
        "it is a generator, and the call doesn't say where to put the items; call it by context.service(...), or by"
        " plasmid.service.stream(context, service, method, ...)"
    )


@pytest.mark.parametrize("wrong", [None, 5])
def test_a_place_for_items_must_be_a_sender(router: plasmid.Router, kinds: Kinds, wrong: Any) -> None:
    me = router.myself()
    with pytest.raises(Refused) as error:
        me.call_service(Kinds, "count", **{"to": 1, STREAM_KEY: wrong})
    assert error.value.found == "its items go to a receiver of the caller's, and the call names none"
    with pytest.raises(Refused, match="it takes no argument '->'"):
        me.call_service(Kinds, "plain", **{STREAM_KEY: 1})


@pytest.mark.parametrize(("source", "allowed"), [("/1/7", True), ("/1/8", False), ("/1", True), ("/", True)])
def test_items_go_to_the_caller_and_for_a_parent_to_anybody(router: plasmid.Router, source: str, allowed: bool) -> None:
    sender = plasmid.Receiver(router).to_sender()
    sender.address = parse("/1/7")
    message: Any = FakeJob("x", source=source, here="/1/2")
    args = {"to": 1, STREAM_KEY: sender}
    if allowed:
        assert Kinds.exposed["count"].take_sender(args, message) is sender
        assert args == {"to": 1}
        return
    with pytest.raises(Refused) as error:
        Kinds.exposed["count"].take_sender(args, message)
    assert error.value.found == "its items go to a receiver of the caller's, and the call names none"


def test_a_stream_that_is_refused_says_why_at_the_first_item(router: plasmid.Router, kinds: Kinds, client: Any) -> None:
    with pytest.raises(TypeError):
        client.count(1, 2, 3)
    with pytest.raises(Refused) as error:
        list(stream(router.myself(), Kinds, "count", to="ten"))
    assert error.value.found == "argument 'to': expected int, got str"


@pytest.mark.parametrize("put", [7, [], ["a", "b", "c", "d"], [None, None, 5]])
def test_what_a_hostile_service_puts_is_an_error_and_no_item(client: Any, kinds: Kinds, put: Any) -> None:
    items = client.held()
    acquire(kinds.begun)
    items._inflow.to_sender().put(put)
    with pytest.raises(ProtocolError):
        next(items)
    kinds.go.release()
    assert client.plain(1) == 1


def test_one_caller_may_have_half_of_the_streams_that_are_left(kinds: Kinds) -> None:
    class Limits:
        max_concurrency, max_queued, max_detached, keeps_order = 0, 1000, 8, False

    from plasmid.service.invokers import Request

    queue = ServiceQueue(Limits())

    def take(lane: bytes) -> int:
        taken = 0
        while queue.detach(Request(None, lane)):  # type: ignore[arg-type]
            taken += 1
        return taken

    assert [take(lane) for lane in (b"a", b"b", b"c", b"d")] == [4, 2, 1, 1]


def test_closing_the_pool_ends_streams_that_nobody_reads(router: plasmid.Router) -> None:  # S15
    kinds = Kinds(router)
    pool = Pool(router, [kinds], size=2)
    client: Any = router.myself().service(Kinds)
    streams = [client.count(to=10**6, size=10_000), client.count_async(to=10**6, size=10_000)]
    for items in streams:
        next(items)
    pool.close(timeout_s=0.05)
    acquire(kinds.closed)
    acquire(kinds.closed)
    for items in streams:
        with pytest.raises(Cancelled) as error:
            for _ in items:
                pass
        assert "the pool there was closed before it had ended" in str(error.value)


def test_a_deduplicated_service_has_no_generators(router: plasmid.Router) -> None:
    class Bad(Kinds):
        invoker_class = DeduplicatingInvoker

    with pytest.raises(TypeError) as error:
        Pool(router, [Bad(router)])
    assert str(error.value) == (
        "Bad.count is a generator, and a DeduplicatingInvoker shares results; it has none to share"
    )


def test_the_annotation_of_a_generator_declares_the_classes_of_its_items() -> None:
    from collections.abc import AsyncIterator, Generator, Iterator

    def lookup(annotation: Any) -> Any:
        def rows(self: Any) -> Any:
            yield

        rows.__annotations__["return"] = annotation
        cls = type("Rows", (plasmid.Service,), {"rows": expose(plasmid.AllowAny())(rows)})
        return cls.exposed["rows"].result_classes()(f"{__name__}:Row")  # type: ignore[attr-defined]

    kinds: list[Any] = [
        Iterator[Row],
        AsyncIterator[Row],
        Generator[Row, None, str],
        "Iterator[Row]",
        "AsyncGenerator[Row, None]",
    ]
    assert [lookup(kind) for kind in kinds] == [Row] * 5


class Row(Exception):
    """Stands for a class of the user's; an exception is one that can be declared."""


def test_streams_leave_nothing_behind(router: plasmid.Router, client: Any, kinds: Kinds) -> None:
    for _ in range(20):
        assert list(client.count(3)) == [0, 1, 2]
    pool = router.jobs.pool
    assert client.plain(1) == 1
    with router.runtime.lock:
        left = len(router.runtime.plumbing().streams.receivers), len(router.runtime.node.calls.served)
    assert left == (0, 0)
    assert pool._services[id(kinds)].detached == {}
    assert values.encode([1])  # the items' form: what is put is always a list


def test_many_streams_at_once_share_one_thread(client: Any, kinds: Kinds) -> None:
    streams = [client.count(to=100) for _ in range(50)]
    threads = [threading.Thread(target=list, args=(items,)) for items in streams[1:]]
    for thread in threads:
        thread.start()
    assert list(streams[0]) == list(range(100))
    for thread in threads:
        thread.join(ANSWER_TIMEOUT_S)
        assert not thread.is_alive()
    assert len(kinds.threads) == 1
