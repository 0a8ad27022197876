"""A service's own select: messages become work of the pool."""

import threading
from typing import Any

import pytest

import plasmid
from plasmid.core.errors import ReceiverClosed
from plasmid.runtime.ports import Latch
from plasmid.service import AllowAny, Pool, SerializedInvoker, Service, expose
from plasmid.testing import ANSWER_TIMEOUT_S, FakeRouter
from tests.service.live import Kinds, acquire


class Inbox(Service):
    """Keeps what it is sent."""

    def __init__(self, router: Any) -> None:
        super().__init__(router)
        self.events: list[Any] = []
        self.failed: list[Any] = []
        self.threads: set[str] = set()
        self.came = threading.Semaphore(0)
        self.go = threading.Semaphore(0)
        self.running = self.most_running = 0

    def on_message_received(self, event: Any) -> None:
        self.running += 1
        self.most_running = max(self.running, self.most_running)
        self.events.append((event.source, event.data))
        self.threads.add(threading.current_thread().name)
        self.came.release()
        if event.data == "hold":
            acquire(self.go)
        self.running -= 1
        if event.data == "raise":
            raise SystemExit("no")

    def on_message_failed(self, event: Any) -> None:
        super().on_message_failed(event)
        self.failed.append((event.source, type(event.data)))
        self.came.release()

    @expose(AllowAny())
    def ping(self) -> int:
        self.running += 1
        self.most_running = max(self.running, self.most_running)
        self.running -= 1
        return len(self.events)


class SerialInbox(Inbox):
    """The same, one thing at a time."""

    invoker_class = SerializedInvoker


@pytest.fixture
def fake() -> Any:
    router = FakeRouter()
    with Pool(router, size=1):
        yield router


# S5
def test_a_message_of_any_receiver_reaches_the_service_on_a_pool_thread_once(fake: Any) -> None:
    inbox = Inbox(fake)
    before, after = Latch(), Latch()
    before.put("early")
    inbox.select.add(before)  # before it is in a pool
    fake.jobs.pool.add(inbox)
    acquire(inbox.came)
    inbox.select.add(after)
    for number in range(100):
        (before, after)[number % 2].put(number)
    for _ in range(100):
        acquire(inbox.came)
    assert inbox.events[0] == (before, "early")
    assert [data for source, data in inbox.events if source is before][1:] == list(range(0, 100, 2))
    assert [data for source, data in inbox.events if source is after] == list(range(1, 100, 2))
    assert all(name.startswith("plasmid-pool-") for name in inbox.threads)
    assert not inbox.came.acquire(blocking=False)


# S5, S12
def test_receivers_are_added_and_removed_by_any_thread_at_any_time(fake: Any) -> None:
    inbox = Inbox(fake)
    fake.jobs.pool.add(inbox)
    latches = [Latch() for _ in range(20)]

    def use(latch: Latch) -> None:
        inbox.select.add(latch)
        latch.put("in")
        acquire(inbox.came)

    threads = [threading.Thread(target=use, args=(latch,)) for latch in latches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(ANSWER_TIMEOUT_S)
    assert sorted(data for _, data in inbox.events) == ["in"] * 20
    for latch in latches:
        inbox.select.remove(latch)
        latch.put("out")
    inbox.select.add(latches[0])
    acquire(inbox.came)
    assert [data for _, data in inbox.events][20:] == ["out"]


# S5
def test_selects_may_be_nested_and_the_event_names_the_innermost_source(fake: Any) -> None:
    inbox = Inbox(fake)
    latch = Latch()
    inner = plasmid.Select([latch], oneshot=False)
    inbox.select.add(plasmid.Select([inner], oneshot=False))
    fake.jobs.pool.add(inbox)
    latch.put(1)
    acquire(inbox.came)
    latch.put(2)
    acquire(inbox.came)
    assert inbox.events == [(latch, 1), (latch, 2)]
    with pytest.raises(ValueError, match="a select can't wait on itself"):
        inner.add(inbox.select)


# S5, S8
def test_under_a_serialized_invoker_messages_and_calls_never_overlap(fake: Any) -> None:
    pool = Pool(fake, size=4, overwrite=True)
    inbox = SerialInbox(fake)
    latch = Latch()
    inbox.select.add(latch)
    pool.add(inbox)
    calls = []
    for number in range(100):
        latch.put(number)
        calls.append(fake.submit(SerialInbox, "ping"))
    for call in calls:
        call.result()
    for _ in range(100):
        acquire(inbox.came)
    assert (inbox.most_running, [data for _, data in inbox.events]) == (1, list(range(100)))
    pool.close()


# S5, S21
def test_a_flood_of_messages_does_not_starve_calls_nor_the_other_way_round(fake: Any) -> None:
    inbox = Inbox(fake)
    latch = Latch()
    fake.jobs.pool.add(inbox)
    inbox.select.add(latch)
    latch.put("hold")
    acquire(inbox.came)
    for number in range(500):
        latch.put(number)
    calls = [fake.submit(Inbox, "ping") for _ in range(3)]
    inbox.go.release()
    # With the pool's only thread, calls and messages take turns.
    assert [call.result() for call in calls] == [1, 2, 3]


def test_an_error_in_the_hook_is_reported_and_the_next_message_comes(fake: Any, caplog: Any) -> None:
    inbox = Inbox(fake)
    latch = Latch()
    inbox.select.add(latch)
    fake.jobs.pool.add(inbox)
    latch.put("raise")
    latch.put("next")
    acquire(inbox.came)
    acquire(inbox.came)
    assert [data for _, data in inbox.events] == ["raise", "next"]
    assert fake.call(Inbox, "ping") == 2
    assert "Inbox.on_message_received() failed" in caplog.text


# S5
def test_senders_that_close_and_values_that_are_none_are_told_apart_from_messages(
    router: plasmid.Router, caplog: Any
) -> None:
    inbox = Inbox(router)
    receiver = plasmid.Receiver(router)
    with Pool(router, [inbox]):
        inbox.select.add(receiver)
        sender = receiver.to_sender()
        sender.put("one")
        sender.close()
        acquire(inbox.came)
        acquire(inbox.came)
        sender.put("two")
        acquire(inbox.came)
        sender.offer([b"\0\0\0\1\xc1"], None)
        acquire(inbox.came)
        receiver.close()
        acquire(inbox.came)
        assert inbox.events == [(receiver, "one"), (receiver, "two")]
        kinds = [(receiver, ReceiverClosed), (receiver, plasmid.ValueDecodeError), (receiver, ReceiverClosed)]
        assert inbox.failed == kinds
        assert len(inbox.select) == 0
    assert [record.getMessage() for record in caplog.records] == ["a message for Inbox can't be taken"]


# S5
def test_a_call_in_the_select_gives_its_result_once(router: plasmid.Router, kinds: Kinds) -> None:
    inbox = Inbox(router)
    router.jobs.pool.add(inbox)
    call = router.myself().call_service_async(Kinds, "plain", number=6)
    inbox.select.add(call)
    acquire(inbox.came)
    assert inbox.events == [(call, 6)]
    failing = router.myself().call_service_async(Kinds, "nothing")
    inbox.select.add(failing)
    acquire(inbox.came)
    assert inbox.failed == [(failing, plasmid.Refused)]
    assert len(inbox.select) == 0


def test_a_service_that_has_no_select_costs_none(fake: Any) -> None:
    inbox = Inbox(fake)
    fake.jobs.pool.add(inbox)
    assert fake.call(Inbox, "ping") == 0
    assert (inbox._select, fake.jobs.pool._select) == (None, None)
