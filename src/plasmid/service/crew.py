"""Crew: the threads of a pool, and how many of them may work.

Up to `size` threads are busy with calls at once. One that waits within Plasmid, for a call of its own or for a
receiver, isn't busy: another may work in its place, or services that call each other would wait for ever. How many may
wait so is limited too. Those that are in excess when the wait is over rest, or end.
"""

import threading
from threading import get_ident

from plasmid.runtime import ports
from plasmid.runtime.ports import Parking

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, List, Optional, Set

    from plasmid.service.queues import WaitingRoom

# Threads beyond those needed that are kept, since what needed them may do so again.
SPARE_MAX = 2


class Worker:
    """One thread. Idle, it waits until its own `parking` is released: exactly one thread is woken for one request.

    is_busy: it counts among those that work. on_wait: called when it is about to wait within Plasmid, and on_go_on when
    the wait is over. task: the queue and the request that it works on. waits_for: what it waits for.
    """

    __slots__ = "thread", "parking", "is_busy", "on_wait", "on_go_on", "task", "waits_for"

    def __init__(
        self,
        target: "Callable[[Worker], None]",
        name: str,
        on_wait: "Callable[[Worker], None]",
        on_go_on: "Callable[[Worker], None]",
    ) -> None:
        self.parking = Parking()
        self.is_busy = False
        self.on_wait = on_wait
        self.on_go_on = on_go_on
        self.task = None  # type: Any
        self.waits_for = None  # type: Any
        self.thread = threading.Thread(target=target, args=(self,), name=name, daemon=True)

    def go_on(self) -> None:
        """Tell the pool that the wait is over."""
        self.waits_for = None
        self.on_go_on(self)


class Crew:
    """The threads of one pool. Owned by the pool's lock.

    busy, blocked: how many work, and how many wait within Plasmid in the midst of work.
    """

    def __init__(self, size: int, blocked_max: int) -> None:
        self.size = size
        self.blocked_max = blocked_max
        self.busy = 0
        self.blocked = 0
        self.handed = None  # type: Optional[Worker]  # who was handed the latest task and hasn't begun with it
        self.idle = []  # type: List[Worker]
        self.workers = set()  # type: Set[Worker]
        self._count = 0  # of threads ever started, for their names

    def __len__(self) -> int:
        return len(self.workers)

    def size_max(self, activating: int) -> int:
        """Return how many threads there may be, given how many activate services."""
        return self.size + min(self.blocked, self.blocked_max) + activating

    def has_spare(self, activating: int) -> bool:
        """Say whether another thread could take work now."""
        return bool(self.idle) or len(self.workers) < self.size_max(activating)

    def has_room_beside(self, activating: int) -> bool:
        """Say whether another thread could work besides the one that asks, which isn't busy now."""
        return self.busy + 1 < self.size and self.has_spare(activating)

    def is_stuck(self, activating: int) -> bool:
        """Say whether every thread waits within Plasmid and no more may be started."""
        # A thread that is neither busy nor blocked is on its way to look for work.
        return 0 < len(self.workers) <= self.blocked and not self.has_spare(activating)

    def wake(
        self,
        activating: int,
        target: "Callable[[Worker], None]",
        on_wait: "Callable[[Worker], None]",
        on_go_on: "Callable[[Worker], None]",
    ) -> bool:
        """Have one more thread look for work, if one may. Return False if there is no thread at all."""
        if self.idle:
            self.idle.pop().parking.release()
        elif len(self.workers) < self.size_max(activating):
            self._count += 1
            worker = Worker(target, "plasmid-pool-%d" % self._count, on_wait, on_go_on)
            self.workers.add(worker)
            try:
                worker.thread.start()
            except RuntimeError:
                # The machine's limit. What was filed waits for the threads there are.
                self.workers.discard(worker)
                return bool(self.workers)
        return True

    def hand_over(self, task: "Any") -> None:
        """Have a thread that rests do this. Only where there is one."""
        worker = self.handed = self.idle.pop()
        worker.task = task
        worker.is_busy = True
        self.busy += 1
        parking = worker.parking
        if parking.thread == get_ident() and parking.wake_fd >= 0:
            parking.is_released = True  # this very thread, which leads: there is nobody to wake
        else:
            parking.release()

    def begin(self, worker: Worker) -> None:
        """Count a thread among those that work."""
        worker.is_busy = True
        self.busy += 1

    def end(self, worker: Worker) -> None:
        """Count a thread no longer among those that work."""
        if worker.is_busy:
            worker.is_busy = False
            self.busy -= 1

    def block(self, worker: Worker) -> None:
        """Take note that a thread waits in the midst of its work."""
        self.end(worker)
        self.blocked += 1

    def unblock(self, worker: Worker) -> None:
        """Take note that it goes on: there may be more than `size` busy then, until one has ended its work."""
        self.blocked -= 1
        self.begin(worker)

    def rest(self, worker: Worker, waiting_room: "WaitingRoom") -> bool:
        """Put a thread that found nothing to do to rest. False if it is in excess: it should end."""
        if len(self.workers) > self.size:
            if len(self.workers) > self.size_max(waiting_room.thread_count()) + SPARE_MAX:
                return False
        self.lay_down(worker)
        return True

    def lay_down(self, worker: Worker) -> None:
        """Put a thread to rest. Only where none may be in excess."""
        worker.parking.is_released = False
        idle = self.idle
        if idle and idle[-1].parking.wake_fd >= 0:
            # The one that takes in what comes should be the one that it wakes: itself.
            idle.insert(0, worker)
        else:
            idle.append(worker)

    def leave(self, worker: Worker) -> None:
        """Forget a thread that ends."""
        self.workers.discard(worker)

    def wake_all(self) -> None:
        """Have all that rest look around."""
        for worker in self.idle:
            worker.parking.release()
        self.idle = []


_current = threading.local()


def set_current(worker: Worker) -> None:
    """Say that this thread is a worker."""
    _current.worker = worker


def _about_to_wait(port: "Any") -> "Optional[Callable[[], None]]":
    worker = getattr(_current, "worker", None)  # type: Optional[Worker]
    if worker is not None:
        worker.waits_for = port
    context = getattr(port, "context", None)
    if context is not None and context.address == context.runtime.node.address:
        from plasmid.service.circles import refuse_circle

        refuse_circle(port, worker)
    if worker is None or not worker.is_busy:
        return None
    worker.on_wait(worker)
    return worker.go_on


ports.about_to_wait = _about_to_wait
