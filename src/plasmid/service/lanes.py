"""Lanes: the requests that wait for one service, fair among its callers. No threads, locks or clock here.

Each caller has a lane, and the lanes take turns; where the order of arrival counts, each request has a turn of its own.
When there is no room left, who has the most waiting makes room for who has fewer. A caller is whatever branches off
from the path between this context and the root: all that stands below one child of ours, or below one sibling, shares a
lane, since a child may speak for whatever number of contexts it says it has below it.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import deque
    from typing import Deque, Dict, List, Optional

    from plasmid.service.invokers import Request
else:
    from _collections import deque  # what `collections` gives, without the milliseconds of importing the rest of it

STEP_SIZE = 4  # bytes of an address for each context on the path


def lane_of(source: bytes, here: bytes) -> bytes:
    """Return the address of the lane for calls from `source`, in the context at `here`."""
    if source.startswith(here):  # from below, or from here
        return source[: len(here) + STEP_SIZE]
    shared = 0
    while here[shared : shared + STEP_SIZE] == source[shared : shared + STEP_SIZE] and shared < len(source):
        shared += STEP_SIZE
    return source[: shared + STEP_SIZE]


class Lanes:
    """Requests by lane, taken in turns. Owned by the pool's lock. count: how many there are."""

    __slots__ = "_lanes", "_turns", "_keeps_order", "count"

    def __init__(self, keeps_order: bool) -> None:
        self._keeps_order = keeps_order
        self._lanes = {}  # type: Dict[bytes, Deque[Request]]
        # Whose turn it is: each lane once, or once for each request where the order of arrival is kept.
        self._turns = deque()  # type: Deque[bytes]
        self.count = 0

    def __len__(self) -> int:
        return self.count

    def push(self, request: "Request") -> None:
        """Add a request at the end of its lane."""
        lane = self._lanes.get(request.lane)
        if lane is None:
            lane = self._lanes[request.lane] = deque()
            self._turns.append(request.lane)
        elif self._keeps_order:
            self._turns.append(request.lane)
        lane.append(request)
        self.count += 1

    def pop(self) -> "Request":
        """Return and remove the request whose turn it is. IndexError if there is none."""
        key = self._turns.popleft()
        lane = self._lanes[key]
        request = lane.popleft()
        if not lane:
            del self._lanes[key]
        elif not self._keeps_order:
            self._turns.append(key)
        self.count -= 1
        return request

    def pop_many(self, count_max: int) -> "List[Request]":
        """Return and remove up to so many requests, in the order of their turns."""
        return [self.pop() for _ in range(min(count_max, self.count))]

    def squeeze(self, key: bytes) -> "Optional[Request]":
        """Return and remove the newest request of the longest lane, so that one more may wait in lane `key`.

        None if no lane is longer than that one would be.
        """
        longest = max(self._lanes, key=lambda each: len(self._lanes[each]), default=key)
        if longest == key or len(self._lanes[longest]) <= len(self._lanes.get(key, ())) + 1:
            return None
        if self._keeps_order:
            # The last of its turns. A full queue is no hot path, and this is a search in C.
            self._turns.reverse()
            self._turns.remove(longest)
            self._turns.reverse()
        self.count -= 1
        return self._lanes[longest].pop()
