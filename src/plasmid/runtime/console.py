"""Send what this context prints and logs to the root, as records.

Descriptors 1 and 2 become pipes, so that the prints of C code and of child processes come along. Each line is a
record `[level, logger, text, time]`; those of `logging` arrive by a handler that is attached when the program first
imports it (the boot doesn't: 19 ms). Warnings come through stderr.

Writers wait when a pipe is full; the loop's thread empties the pipes, so it must never print itself. What is over
the rate is dropped and counted, so that a context that prints in a loop costs its parent little.
"""

import os
import sys
from _thread import RLock
from time import monotonic, time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, TextIO

    Record = List[Any]  # [level: int, logger: str, text: str, time: float]

RECORDS_BURST = 1000
RECORDS_PER_S = 200
TEXT_SIZE_MAX = 16384  # characters of one record; a longer line becomes several
BATCH_SIZE_MAX = 65536  # characters of text sent at once
NAME_SIZE_MAX = 200
# logging.INFO and .WARNING: with nothing set up at the root, stderr is shown there and stdout isn't.
STREAMS = {1: ("stdout", 20), 2: ("stderr", 30)}


class RateLimit:
    """Whether one more is within `burst` at once and `per_s` in the long run; counts those that aren't."""

    def __init__(self, burst: int, per_s: float) -> None:
        self.burst = self.room = float(burst)
        self.per_s = per_s
        self.last = 0.0
        self.dropped = 0

    def take(self, now: float) -> bool:
        self.room = min(self.burst, self.room + (now - self.last) * self.per_s)
        self.last = now
        if self.room < 1:
            self.dropped += 1
            return False
        self.room -= 1
        return True


class Console:
    """Takes descriptors 1 and 2 and the root logger of this process, and gives their records to `send`.

    send(records) is called on the loop's thread, or on the one that calls flush(). watch(fd, callback) has the loop
    call `callback()` on its thread whenever fd can be read. Guarded by its own lock, under which nothing is sent.
    """

    def __init__(
        self, send: "Callable[[List[Record]], object]", watch: "Callable[[int, Callable[[], None]], object]"
    ) -> None:
        self.send = send
        # Re-entrant: the collector may run a __del__ that logs while this thread is inside.
        self.lock = RLock()
        # Held while a batch is on its way to the link: the goodbye must come after it, and batches in their order.
        self.sending = RLock()
        self.limit = RateLimit(RECORDS_BURST, RECORDS_PER_S)
        self.records: "List[Record]" = []
        self.partial: "Dict[int, bytes]" = {}
        self.streams: "List[TextIO]" = []
        # A byte in here wakes the loop for records that came from a handler: a thread that logs never sends, since
        # it may be inside anything, and what is logged meanwhile goes along in the same batch.
        wake, self.waker = os.pipe()
        os.set_blocking(self.waker, False)
        self.pipes = {wake: 0}
        # These stay open beside their copies on 1 and 2: a program that closes fd 1 makes no end of file here, which
        # the loop would be told of for ever.
        self.write_ends: "List[int]" = []
        for fd in STREAMS:
            read_end, write_end = os.pipe()
            os.dup2(write_end, fd)  # inheritable, for child processes
            self.write_ends.append(write_end)
            self.pipes[read_end] = fd
            stream = open(fd, "w", 1, "utf-8", "backslashreplace", closefd=False)
            setattr(sys, STREAMS[fd][0], stream)
            setattr(sys, "__%s__" % STREAMS[fd][0], stream)
            self.streams.append(stream)
        for fd in self.pipes:
            os.set_blocking(fd, False)
            watch(fd, self.reader(fd))

    def reader(self, fd: int) -> "Callable[[], None]":
        def callback() -> None:
            self.read(fd)

        return callback

    def read(self, fd: int) -> bool:
        """Take what is in a pipe, and send what is complete; say whether there was anything."""
        found = self.take(fd)
        self.send_all()
        return found

    def take(self, fd: int) -> bool:
        """Keep what is in a pipe for the next batch; say whether there was anything."""
        with self.lock:  # the read too: two threads mustn't swap what they read
            try:
                data = os.read(fd, 65536)
            except BlockingIOError:
                return False
            if self.pipes[fd]:
                *lines, rest = (self.partial.get(fd, b"") + data).split(b"\n")
                while len(rest) > TEXT_SIZE_MAX:
                    lines.append(rest[:TEXT_SIZE_MAX])
                    rest = rest[TEXT_SIZE_MAX:]
                self.partial[fd] = rest
                for line in lines:
                    self.add_line(fd, line)
        return True

    def add_line(self, fd: int, line: bytes) -> None:
        name, level = STREAMS[self.pipes[fd]]
        text = line.decode("utf-8", "replace").rstrip("\r")
        for start in range(0, len(text) or 1, TEXT_SIZE_MAX):
            self.add(level, name, text[start : start + TEXT_SIZE_MAX])

    def add(self, level: int, logger: str, text: str) -> None:
        """Keep a record for the next batch, or count it as dropped. Any thread."""
        with self.lock:
            if self.limit.take(monotonic()):
                self.tell_dropped()
                self.records.append([level, logger[:NAME_SIZE_MAX], text[:TEXT_SIZE_MAX], time()])

    def tell_dropped(self) -> None:
        if self.limit.dropped:
            text = "%d records were dropped: over %d/s" % (self.limit.dropped, RECORDS_PER_S)
            self.limit.dropped = 0
            self.records.append([30, "plasmid.console", text, time()])

    def send_all(self) -> None:
        with self.sending:
            with self.lock:
                records, self.records = self.records, []
            batch: "List[Record]" = []
            size = 0
            for record in records:
                size += len(record[2]) + NAME_SIZE_MAX
                if batch and size > BATCH_SIZE_MAX:
                    self.send(batch)
                    batch, size = [], len(record[2])
                batch.append(record)
            if batch:
                self.send(batch)

    def flush(self) -> None:
        """Send everything that was printed and logged until now, an unfinished last line too. Any thread, at exit."""
        for stream in self.streams:
            if not stream.closed:
                stream.flush()
        for fd in self.pipes:
            for _ in range(64):  # a child process may go on printing for ever
                if not self.read(fd):
                    break
        with self.lock:
            for fd, line in self.partial.items():
                if line:
                    self.add_line(fd, line)
            self.partial.clear()
            self.tell_dropped()
        self.send_all()

    def attach(self, logging: "Any") -> None:
        """Give the root logger a handler that sends records; `logging` is that module, just imported."""
        console = self

        class ToRoot(logging.Handler):  # type: ignore[misc]
            def emit(self, record: "Any") -> None:
                try:
                    text = self.format(record)
                    for fd in console.pipes:  # what was printed before comes before
                        console.take(fd)
                    console.add(record.levelno, record.name, text)
                    os.write(console.waker, b"\n")
                except BlockingIOError:  # it is awake
                    pass
                except Exception:  # noqa: BLE001 - the arguments of a record don't fit; shown as logging shows it
                    self.handleError(record)

        logging.getLogger().addHandler(ToRoot())
