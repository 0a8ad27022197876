"""Who goes next: the queues of the pool as a plain machine, without threads."""

from plasmid.service.invokers import Request
from plasmid.service.queues import ACTIVATING_MAX, ACTIVATION_WAITING_MAX, Offer, Schedule, ServiceQueue, WaitingRoom
from plasmid.testing import FakeJob


class Limits:
    """As much of an invoker as a queue looks at."""

    keeps_order = False
    max_detached = 8

    def __init__(self, max_concurrency: int = 0, max_queued: int = 1000) -> None:
        self.max_concurrency = max_concurrency
        self.max_queued = max_queued


def request(name: str) -> Request:
    return Request(FakeJob(name))


def names(schedule: Schedule, count: int) -> "list[str]":
    """Return the names of the next `count` requests, each finished before the next is taken."""
    found = []
    last = None
    for _ in range(count):
        task = schedule.next(last, has_spare=False)
        if task is None:
            break
        last = task[0]
        found.append(str(task[1].job.name))
    return found


# S21
def test_turns_go_round_and_a_flood_delays_another_service_by_one_call() -> None:
    schedule = Schedule()
    flood, quiet = ServiceQueue(Limits()), ServiceQueue(Limits())
    for number in range(100):
        schedule.offer(flood, request(f"flood{number}"))
    schedule.offer(quiet, request("quiet"))
    assert names(schedule, 4) == ["flood0", "quiet", "flood1", "flood2"]


def test_an_offer_says_whether_a_thread_should_be_woken() -> None:
    schedule = Schedule()
    queue = ServiceQueue(Limits(max_concurrency=1, max_queued=2))
    assert schedule.offer(queue, request("a")) == Offer.RUN
    task = schedule.next(None, has_spare=False)
    assert task is not None
    assert [schedule.offer(queue, request(name)) for name in "bcd"] == [Offer.WAIT, Offer.WAIT, Offer.FULL]
    # One at a time: nothing for a second thread.
    assert schedule.next(None, has_spare=True) is None
    following = schedule.next(queue, has_spare=False)
    assert following is not None
    assert following[1].job.name == "b"


# S8
def test_a_serialized_queue_keeps_its_thread_while_no_other_service_needs_it() -> None:
    schedule = Schedule()
    serial, other = ServiceQueue(Limits(max_concurrency=1)), ServiceQueue(Limits())
    for name in ("s1", "s2", "s3"):
        schedule.offer(serial, request(name))
    for name in ("o1", "o2"):
        schedule.offer(other, request(name))
    task = schedule.next(None, has_spare=True)
    assert task is not None
    taken = [task[1].job.name]
    # Other threads are free, so the other service is theirs.
    task = schedule.next(task[0], has_spare=True)
    assert task is not None
    taken.append(task[1].job.name)
    # None is free: the other service has its turn.
    task = schedule.next(task[0], has_spare=False)
    assert task is not None
    taken.append(task[1].job.name)
    assert taken == ["s1", "s2", "o1"]


def test_requests_that_were_read_come_before_all_that_were_not() -> None:
    schedule = Schedule()
    queue = ServiceQueue(Limits())
    for name in "abc":
        schedule.offer(queue, request(name))
    taken = queue.take_arrived(10)
    assert [one.job.name for one in taken] == ["a", "b", "c"]
    schedule.offer(queue, request("d"))
    schedule.give_back(queue, taken[1:])
    assert names(schedule, 9) == ["b", "c", "d"]


def test_a_queue_that_was_emptied_in_the_ring_is_skipped() -> None:
    schedule = Schedule()
    first, second = ServiceQueue(Limits()), ServiceQueue(Limits())
    schedule.offer(first, request("a"))
    schedule.offer(second, request("b"))
    first.take_all()
    assert names(schedule, 2) == ["b"]
    assert schedule.offer(first, request("c")) == Offer.RUN
    assert names(schedule, 2) == ["c"]


# S21
def test_idle_services_stand_in_no_queue() -> None:
    schedule = Schedule()
    queues = [ServiceQueue(Limits()) for _ in range(10000)]
    schedule.offer(queues[5000], request("a"))
    assert len(schedule.ring) == 1
    assert names(schedule, 2) == ["a"]
    assert len(schedule.ring) == 0


def test_calls_of_a_service_that_is_being_started_wait_for_it_together() -> None:
    room = WaitingRoom()
    jobs = [FakeJob("a"), FakeJob("a"), FakeJob("b")]
    assert [room.offer(job.name, job) for job in jobs] == [Offer.RUN, Offer.WAIT, Offer.RUN]
    assert room.thread_count() == 2
    first = room.begin()
    assert first is not None
    assert room.take_first(first) is jobs[0]
    late = FakeJob("a")
    assert room.offer("a", late) == Offer.WAIT
    assert room.end(first) == [jobs[1], late]
    assert room.thread_count() == 1
    assert room.take_all() == [jobs[2]]
    assert (room.waiting, room.thread_count(), room.begin()) == (0, 0, None)


def test_the_waiting_room_is_bounded_in_calls_and_in_activations_at_once() -> None:
    room = WaitingRoom()
    job = FakeJob("a")
    offers = [room.offer(f"s{number}", job) for number in range(ACTIVATION_WAITING_MAX + 1)]
    assert offers == [Offer.RUN] * ACTIVATION_WAITING_MAX + [Offer.FULL]
    assert [room.begin() is not None for _ in range(ACTIVATING_MAX + 1)] == [True] * ACTIVATING_MAX + [False]
    assert room.thread_count() == ACTIVATING_MAX
