"""What user threads wait on: Port, with Latch here, Select, Receiver and Call elsewhere.

One lock guards all of them, for no longer than it takes to move an item; a handler of the loop may take it under the
router lock, never the other way round.
"""

import os
import threading
from time import monotonic

from plasmid.core.errors import PlasmidError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import deque
    from typing import Any, Callable, Deque, Optional, Tuple
else:
    from _collections import deque  # what `collections` gives, without the milliseconds of importing the rest of it

guard = threading.Lock()

# Set by the service pool, whose threads mustn't be missed while they wait here: called by a thread that is about to
# wait, with what it waits for, without the guard; what it returns, if anything, is called when the wait is over.
about_to_wait = None  # type: Optional[Callable[[Any], Optional[Callable[[], None]]]]


class TimedOut(PlasmidError, TimeoutError):
    """Nothing came in the time given to a get(), or there was no room in the time given to a put()."""


class Parking:
    """Where one thread waits, once, until release() is called: by any thread, under whatever lock, before or after.

    It waits on a lock, made when there is need of one, or, while it leads, in the loop's poller; see Loop.park().
    is_released: whether release() was called. Who waits here again first sets it to False, once nobody can call that.
    wake_fd: not -1 while `thread` leads.
    """

    # One is made for each wait: nothing is set then.
    _lock = None  # type: Optional[threading.Lock]
    is_released = False
    thread = 0
    wake_fd = -1

    def release(self) -> None:
        """End the wait."""
        # First this, then the look at what it waits with. Who waits does the same two things in the other order, so
        # one of the two always notices.
        self.is_released = True
        lock = self._lock
        if lock is not None:
            lock.release()
        if self.wake_fd >= 0 and self.thread != threading.get_ident():
            os.write(self.wake_fd, b"\0")

    def wait(self, until: "Optional[float]") -> None:
        """Wait for release(), or until that time."""
        if self.is_released:
            return
        left = -1 if until is None else min(max(0.0, until - monotonic()), threading.TIMEOUT_MAX)
        lock = threading.Lock()
        lock.acquire()
        self._lock = lock
        if not self.is_released:
            lock.acquire(True, left)
        self._lock = None


class Port:
    """Something a thread can wait on, alone or through a Select. selects: who watches it; see watch() in select.py."""

    _waiting = ()  # type: Tuple[Parking, ...]
    selects = ()  # type: Tuple[Any, ...]
    parker = None  # type: Optional[Callable[[Parking, Optional[float]], None]]

    def has(self) -> bool:
        """Whether take() would give something, or raise the reason why nothing comes any more."""
        raise NotImplementedError

    def take(self) -> "Any":
        """Return the next item without waiting. Only when has()."""
        raise NotImplementedError

    def wake(self, everyone: bool = False) -> None:
        """Wake a thread that waits, or everyone, and the selects that watch. With the guard held."""
        woken = self._waiting if everyone else self._waiting[:1]
        self._waiting = self._waiting[len(woken) :]
        for parking in woken:
            parking.release()
        for select in self.selects:
            select.source_ready(self)

    def wait(self, until: "Optional[float]") -> bool:
        """Wait for has(); False at `until`. With the guard held, which is given up meanwhile."""
        while not self.has():
            if until is not None and until <= monotonic():
                return False
            parking = Parking()
            self._waiting += (parking,)
            guard.release()
            waited = about_to_wait and about_to_wait(self)
            try:
                self.park(parking, until)
            finally:
                if waited:
                    waited()
                guard.acquire()
                if parking in self._waiting:
                    self._waiting = tuple(each for each in self._waiting if each is not parking)
        return True

    def park(self, parking: Parking, until: "Optional[float]") -> None:
        """Have this thread wait. Those who know by which link its item will come read that link meanwhile."""
        if self.parker is not None:
            self.parker(parking, until)
        else:
            parking.wait(until)

    def get(self, timeout: "Optional[float]" = None) -> "Any":
        """Return the next item. TimedOut after `timeout` seconds without one, 0 for at once; None waits for ever."""
        until = None if timeout is None else monotonic() + timeout
        while True:
            with guard:
                if not self.wait(until):
                    raise TimedOut("nothing came within %s s" % timeout)
                try:
                    item = self.take()
                finally:
                    # Another thread may wait for what is left, or for the same reason that nothing comes.
                    if self._waiting and self.has():
                        next_one, self._waiting = self._waiting[0], self._waiting[1:]
                        next_one.release()
            return self.finish(item)

    def get_nowait(self) -> "Any":
        """Return the next item; TimedOut if there is none yet."""
        return self.get(0)

    def finish(self, item: "Any") -> "Any":
        """Turn what take() gave into what get() returns, without the guard."""
        return item


class Latch(Port):
    """A queue between threads of one context, for use in a Select."""

    def __init__(self) -> None:
        self._items = deque()  # type: Deque[Any]

    def put(self, item: "Any" = None) -> None:
        """Add an item and wake whoever waits."""
        with guard:
            self._items.append(item)
            self.wake()

    def has(self) -> bool:
        """Whether an item is there."""
        return bool(self._items)

    def take(self) -> "Any":
        """Return the oldest item."""
        return self._items.popleft()
