"""Measures the promises of the service framework that are figures: overlap, executions, closing, fairness, size.

    python bench/services.py

Everything runs in this process, without links: plasmid.testing stands in for callers, so that what is measured is the
pool, its queues and its invokers. The figures of calls over links are those of bench/run.py.
"""

import statistics
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    root = Path(__file__).resolve().parent.parent
    sys.path[:1] = [str(root), str(root / "src")]

from plasmid.runtime.ports import Latch
from plasmid.service import AllowAny, DeduplicatingInvoker, Pool, SerializedInvoker, Service, expose
from plasmid.testing import FakeJob, FakeRouter

TIMEOUT_S = 60


class Serial(Service):
    """Watches how many of its calls overlap."""

    invoker_class = SerializedInvoker

    def __init__(self, router: Any) -> None:
        super().__init__(router)
        self.lock = threading.Lock()
        self.running = self.most_running = 0

    @expose(AllowAny())
    def work(self) -> None:
        """Take a little while, without the interpreter lock."""
        with self.lock:
            self.running += 1
            self.most_running = max(self.most_running, self.running)
        time.sleep(0.0001)
        with self.lock:
            self.running -= 1


class Shared(Service):
    """Counts how often it is run for one key."""

    invoker_class = DeduplicatingInvoker
    takes_s = 0.2

    def __init__(self, router: Any) -> None:
        super().__init__(router)
        self.executions = 0

    @expose(AllowAny())
    def find(self, key: str) -> str:
        """Take a fifth of a second."""
        self.executions += 1
        time.sleep(self.takes_s)
        return key


class Plain(Service):
    """Answers at once, or when the measurement says so."""

    def __init__(self, router: Any) -> None:
        super().__init__(router)
        self.begun = threading.Event()
        self.go = threading.Event()

    @expose(AllowAny())
    def echo(self, value: int = 0) -> int:
        """Return the value."""
        return value

    @expose(AllowAny())
    def spin(self) -> None:
        """Take half a millisecond of a thread."""
        time.sleep(0.0005)

    @expose(AllowAny())
    def hold(self) -> None:
        """Wait."""
        self.begun.set()
        self.go.wait(TIMEOUT_S)


class Inbox(Service):
    """Takes messages, and waits within Plasmid where a call asks for it."""

    taken = 0
    lock = threading.Lock()
    all_taken = threading.Event()

    def __init__(self, router: Any) -> None:
        super().__init__(router)
        self.latch = Latch()
        self.gate = Latch()
        self.select.add(self.latch)

    def on_message_received(self, event: Any) -> None:
        """Count."""
        with Inbox.lock:
            Inbox.taken += 1
            if Inbox.taken == event.data:
                Inbox.all_taken.set()

    @expose(AllowAny())
    def wait(self) -> None:
        """Wait for the gate."""
        self.gate.get()


class Quiet(Plain):
    """The service beside the flood."""


def overlap() -> str:
    """S8: the most calls of a serialized service that ran at once, of 1,000 on 8 threads."""
    router = FakeRouter()
    serial = Serial(router)
    serial.invoker_class.max_queued = 2000
    with Pool(router, [serial], size=8):
        calls = [router.submit(Serial, "work") for _ in range(1000)]
        for call in calls:
            call.wait(TIMEOUT_S)
    return f"{serial.most_running} at once, of 1,000 calls on 8 threads"


def executions(callers: int) -> str:
    """S9: how often one key was worked on for so many callers, how long they took, and on how many threads."""
    router = FakeRouter()
    shared = Shared(router)
    # Made beforehand: messages come from the link, and making one here costs more than all that follows.
    jobs = [FakeJob(Shared.name(), "find", {"key": "one"}) for _ in range(callers)]
    with Pool(router, [shared], size=4) as pool:
        before = threading.active_count()
        begun = time.perf_counter()
        for job in jobs:
            pool.submit(job)
        asked = time.perf_counter()
        threads = threading.active_count() - before
        for job in jobs:
            job.call.wait(TIMEOUT_S)
        ended = time.perf_counter()
        right = all(job.call.result() == "one" for job in jobs)
    took = f"{(ended - begun) * 1000:.0f} ms for all, {(asked - begun) * 1000:.0f} ms of it to ask"
    return f"{shared.executions} for {callers:,} callers of a 200 ms method: {took}; {threads} threads; right: {right}"


def pool_threads() -> int:
    """Return how many threads of pools there are."""
    return sum(thread.name.startswith("plasmid-pool") for thread in threading.enumerate())


def one_wait(services: int) -> str:
    """S12: threads and time for messages to so many services with a select each; threads while calls wait inside."""
    router = FakeRouter()
    inboxes = [Inbox(router) for _ in range(services)]
    Inbox.taken = 0
    Inbox.all_taken.clear()
    with Pool(router, size=4) as pool:
        for number, inbox in enumerate(inboxes):
            pool.add(inbox, name=f"inbox{number}")
        before = pool_threads()
        begun = time.perf_counter()
        for inbox in inboxes:
            inbox.latch.put(services)
        Inbox.all_taken.wait(TIMEOUT_S)
        took = (time.perf_counter() - begun) / services
        threads = pool_threads() - before
        waiting = [router.submit("inbox0", "wait") for _ in range(32)]
        while pool._crew.blocked < 32:
            time.sleep(0.001)
        crowd = pool_threads()
        for _ in waiting:
            inboxes[0].gate.put()
        for call in waiting:
            call.wait(TIMEOUT_S)
    return (
        f"{took * 1e6:.0f} µs for a message to each of {services:,} services, on {threads} threads of 4;"
        f" {crowd} threads while 32 calls wait within Plasmid"
    )


def closing(queued: int) -> str:
    """S15: how long close() takes to answer so many queued calls."""
    router = FakeRouter()
    plain = Plain(router)
    plain.invoker_class.max_queued = queued
    pool = Pool(router, [plain], size=1)
    calls = [router.submit(Plain, "hold")]
    assert plain.begun.wait(TIMEOUT_S)
    calls += [router.submit(Plain, "echo") for _ in range(queued)]
    answered: list[float] = []

    def wait() -> None:
        for call in calls[1:]:
            call.wait(TIMEOUT_S)
        answered.append(time.perf_counter())
        plain.go.set()

    waiter = threading.Thread(target=wait)
    waiter.start()
    begun = time.perf_counter()
    pool.close()
    closed = time.perf_counter()
    waiter.join()
    took = f"{(answered[0] - begun) * 1000:.1f} ms; closed in {(closed - begun) * 1000:.1f} ms"
    return f"{queued:,} queued calls answered in {took}"


def fairness(between: str) -> str:
    """S21: what a call waits beside a flood, and alone: of another service, or of another caller of the same one."""
    router = FakeRouter()
    with Pool(router, [Plain(router), Quiet(router)], size=1) as pool:
        quiet = Quiet if between == "services" else Plain

        def ask() -> float:
            begun = time.perf_counter()
            router.submit(quiet, "spin", source="/2").wait(TIMEOUT_S)
            return time.perf_counter() - begun

        alone = statistics.median(ask() for _ in range(50))
        stop = threading.Event()

        def flood() -> None:
            while not stop.is_set():
                batch = [router.submit(Plain, "spin", source="/3") for _ in range(100)]
                for call in batch[:50]:
                    call.wait(TIMEOUT_S)

        thread = threading.Thread(target=flood)
        thread.start()
        while len(pool._queues[Plain.name()].arrived) < 50:
            time.sleep(0.001)
        beside = [ask() for _ in range(100)]
        stop.set()
        thread.join()
    crowded = statistics.median(beside)
    times = f"{alone * 1e3:.2f} ms alone, {crowded * 1e3:.2f} ms beside a flood"
    return f"between {between}: {times}, ratio {crowded / alone:.1f}"


def time_per_call(counts: "tuple[int, ...]") -> str:
    """S21: the time of a call with so many services in the pool, taken in turns."""
    routers = []
    for count in counts:
        router = FakeRouter()
        pool = Pool(router, size=1)
        for number in range(count):
            pool.add(Plain(router), name=f"plain{number}")
        routers.append(router)

    def ask(router: Any, name: str) -> float:
        begun = time.perf_counter()
        for _ in range(300):
            router.submit(name, "echo").wait(TIMEOUT_S)
        return (time.perf_counter() - begun) / 300

    samples: dict[int, list[float]] = {count: [] for count in counts}
    for _ in range(15):
        for count, router in zip(counts, routers, strict=True):
            samples[count].append(ask(router, f"plain{count // 2}"))
    for router in routers:
        router.jobs.pool.close()
    medians = {count: statistics.median(found) for count, found in samples.items()}
    return ", ".join(f"{median * 1e6:.0f} µs with {count:,} services" for count, median in medians.items())


FIGURES: "tuple[tuple[str, str, Callable[[], str]], ...]" = (
    ("S8", "overlap of a serialized service", overlap),
    ("S9", "executions of one key", lambda: executions(64)),
    ("S9", "executions of one key", lambda: executions(10_000)),
    ("S12", "one wait over all selects", lambda: one_wait(1000)),
    ("S15", "closing", lambda: closing(1000)),
    ("S21", "fairness", lambda: fairness("services")),
    ("S21", "fairness", lambda: fairness("callers")),
    ("S21", "time of a call", lambda: time_per_call((10, 10_000))),
)


def main() -> None:
    """Print each figure with the promise that it is of."""
    for promise, what, measure in FIGURES:
        print(f"{promise:4} {what}: {measure()}", flush=True)


if __name__ == "__main__":
    main()
