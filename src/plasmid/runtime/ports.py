"""What user threads wait on: Port, with Latch here, Select, Receiver and Call elsewhere.

One lock guards all of them, for no longer than it takes to move an item; a handler of the loop may take it under the
router lock, never the other way round.
"""

import threading
from time import monotonic

from plasmid.core.errors import PlasmidError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import deque
    from typing import Any, Deque, List, Optional
else:
    from _collections import deque  # what `collections` gives, without the milliseconds of importing the rest of it

guard = threading.Lock()


class TimedOut(PlasmidError, TimeoutError):
    """Nothing came in the time given to a get(), or there was no room in the time given to a put()."""


class Port:
    """Something a thread can wait on, alone or through a Select."""

    def __init__(self) -> None:
        self._waiting = []  # type: List[Any]  # a held lock for each thread that waits
        self._selects = []  # type: List[Any]

    def has(self) -> bool:
        """Whether take() would give something, or raise the reason why nothing comes any more."""
        raise NotImplementedError

    def take(self) -> "Any":
        """Return the next item without waiting. Only when has()."""
        raise NotImplementedError

    def wake(self, everyone: bool = False) -> None:
        """Wake a thread that waits, or everyone, and the selects that watch. With the guard held."""
        while self._waiting:
            self._waiting.pop(0).release()
            if not everyone:
                break
        for select in self._selects:
            select.source_ready(self)

    def wait(self, until: "Optional[float]") -> bool:
        """Wait for has(); False at `until`. With the guard held, which is given up meanwhile."""
        while not self.has():
            left = None if until is None else until - monotonic()
            if left is not None and left <= 0:
                return False
            lock = threading.Lock()
            lock.acquire()
            self._waiting.append(lock)
            guard.release()
            try:
                lock.acquire(True, -1 if left is None else min(left, threading.TIMEOUT_MAX))
            finally:
                guard.acquire()
                if lock in self._waiting:
                    self._waiting.remove(lock)
        return True

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
                        self._waiting.pop(0).release()
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
        super().__init__()
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
