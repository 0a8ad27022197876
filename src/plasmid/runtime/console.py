"""Send what this context prints and logs to the root, as records.

Descriptors 1 and 2 become pipes, so that the prints of C code and of child processes come along. Each line is a
record `[level, logger, text, time]`; those of `logging` arrive by a handler that is attached when the program first
imports it (the boot doesn't: 19 ms). Warnings come through stderr.

Writers wait when a pipe is full; the loop's thread empties the pipes, so it must never print itself. What is over
the rate is dropped and counted, so that a context that prints in a loop costs its parent little.

Records stand in the order in which this process printed and logged; what child processes print has its order in each of
the two pipes alone.
"""

import os
import sys
from _io import BufferedWriter, FileIO, TextIOWrapper
from _thread import RLock, allocate_lock, start_new_thread
from time import monotonic, time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, NoReturn

    Record = List[Any]  # [level: int, logger: str, text: str, time: float]

RECORDS_BURST = 1000
RECORDS_PER_S = 200
TEXT_SIZE_MAX = 16384  # characters of one record; a longer line becomes several
BATCH_SIZE_MAX = 65536  # characters of text sent at once
NAME_SIZE_MAX = 200
# How long os._exit() waits for what was printed to be sent.
LAST_WORDS_S = 0.5
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


class Stream(FileIO):
    """What sys.stdout or sys.stderr writes to. What came in by the other pipe before is taken first."""

    console = None  # type: Any

    def write(self, data: "Any") -> "Any":
        self.console.take_all()
        return FileIO.write(self, data)


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
        self.pid = os.getpid()  # a forked process has its own pipes' ends, and no part in the rest
        self.records: "List[Record]" = []
        self.partial: "Dict[int, bytes]" = {}
        self.streams: "List[TextIOWrapper]" = []
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
            raw = Stream(fd, "w", closefd=False)
            raw.console = self
            stream = TextIOWrapper(BufferedWriter(raw), "utf-8", "backslashreplace", None, True)
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

    def take_all(self) -> None:
        """Keep what is in all pipes. What comes next, by whatever way, comes after it."""
        if os.getpid() == self.pid:
            for fd in self.pipes:
                self.take(fd)

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

    def keep_last_words(self) -> None:
        """Have os._exit(), which ends the process without another word, send what was printed before."""
        exit_now = os._exit

        def send_and_exit(status: int) -> "NoReturn":
            if os.getpid() == self.pid:
                done = allocate_lock()
                done.acquire()

                def send() -> None:
                    self.flush()
                    done.release()

                # On another thread: this one may have been interrupted inside anything, any lock held.
                try:
                    start_new_thread(send, ())
                    done.acquire(True, LAST_WORDS_S)
                except RuntimeError:
                    pass  # no more threads
            exit_now(status)

        os._exit = send_and_exit

    def attach(self, logging: "Any") -> None:
        """Give the root logger a handler that sends records; `logging` is that module, just imported."""
        console = self

        class ToRoot(logging.Handler):  # type: ignore[misc]
            def emit(self, record: "Any") -> None:
                try:
                    text = self.format(record)
                    console.take_all()
                    console.add(record.levelno, record.name, text)
                    os.write(console.waker, b"\n")
                except BlockingIOError:  # it is awake
                    pass
                except Exception:  # noqa: BLE001 - the arguments of a record don't fit; shown as logging shows it
                    self.handleError(record)

        logging.getLogger().addHandler(ToRoot())
