"""A relay that holds whatever it passes on for a while, each way: a long line. Run by itself, as ssh's ProxyCommand.

python -IS delaying.py HOST PORT DELAY_S
"""

import collections
import os
import select
import socket
import sys
import time

READ_SIZE = 65536
HELD_MAX = 64  # reads that are under way, each way


class Way:
    """One way through: from a descriptor to another. held: what is on its way, with the time when it arrives."""

    def __init__(self, source: int, sink: int, delay_s: float) -> None:
        self.source = source
        self.sink = sink
        self.delay_s = delay_s
        self.held: collections.deque[tuple[float, bytes]] = collections.deque()

    def take(self) -> bool:
        """Take in what has come; False at its end."""
        data = os.read(self.source, READ_SIZE)
        self.held.append((time.monotonic() + self.delay_s, data))
        return bool(data)

    def give(self) -> bool:
        """Pass on what has arrived; False once that is the end."""
        while self.held and self.held[0][0] <= time.monotonic():
            data = memoryview(self.held.popleft()[1])
            if not data:
                return False
            while data:
                data = data[os.write(self.sink, data) :]
        return True


def main() -> None:
    """Relay until either side has ended."""
    host, port, delay_s = sys.argv[1:]
    with socket.create_connection((host, int(port))) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        ways = [Way(0, connection.fileno(), float(delay_s)), Way(connection.fileno(), 1, float(delay_s))]
        reads = {way.source: way for way in ways}
        while all(way.give() for way in ways):
            due = [way.held[0][0] for way in ways if way.held]
            wait_s = max(0.0, min(due) - time.monotonic()) if due else None
            open_for = [fd for fd, way in reads.items() if len(way.held) < HELD_MAX]
            for fd in select.select(open_for, [], [], wait_s)[0]:
                if not reads[fd].take():
                    del reads[fd]


if __name__ == "__main__":
    main()
