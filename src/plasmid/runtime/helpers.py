"""Threads for what is neither the loop's nor the pool's: calls of built-in services, callbacks, other short errands."""

import sys
import threading

from plasmid.runtime import importer
from plasmid.runtime.ports import Latch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, List, Optional, Tuple

    from plasmid.runtime.jobs import Jobs
    from plasmid.runtime.runtime import Runtime

HELPERS_MAX = 8
# Asked for at once, where one would lead to the next only when it is run: each question is a round trip.
POOL_NEEDS = "plasmid.service", "plasmid.service.child", "plasmid.runtime.select", "plasmid.program"
# How long close() waits for a thread.
JOIN_S = 1.0


class Helpers:
    """A few threads for what is neither the loop's nor the pool's. Started when needed, up to `size_max`.

    join_s: how long close() waits for each to finish, None for JOIN_S.
    """

    def __init__(self, size_max: int, join_s: "Optional[float]" = None) -> None:
        self._size_max = size_max
        self._join_s = join_s
        self._latch = Latch()
        self._lock = threading.Lock()
        self._threads = []  # type: List[threading.Thread]
        self._busy = 0
        self._closed = False

    def run(self, fn: "Callable[..., object]", args: "Tuple[Any, ...]") -> None:
        """Have fn(*args) called. Never blocks."""
        with self._lock:
            if self._closed:
                return
            self._busy += 1
            if self._busy > len(self._threads) and len(self._threads) < self._size_max:
                self._start_thread()
        self._latch.put((fn, args))

    def _start_thread(self) -> None:
        name = "plasmid-helper-%d" % (len(self._threads) + 1)
        thread = threading.Thread(target=self._serve, name=name, daemon=True)
        try:
            thread.start()
        except RuntimeError:
            # From 3.12 on an interpreter that ends starts none: those that are there do it, one after the other.
            return
        self._threads.append(thread)

    def _serve(self) -> None:
        while True:
            work = self._latch.get()
            if work is None:
                return
            fn, args = work
            try:
                fn(*args)
            except BaseException as error:  # noqa: BLE001 - a callback's error is shown, and the thread lives
                sys.excepthook(type(error), error, error.__traceback__)
            del work, fn, args
            with self._lock:
                self._busy -= 1

    def close(self) -> None:
        """End the threads once they are idle."""
        with self._lock:
            self._closed = True
        for _ in self._threads:
            self._latch.put(None)
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(JOIN_S if self._join_s is None else self._join_s)


def start(jobs: "Jobs") -> None:
    """Have helpers from now on. On the main thread, before there are others."""
    jobs.helpers = Helpers(HELPERS_MAX)
    for fn, args in jobs.early:
        jobs.helpers.run(fn, args)


def make_pool(runtime: "Runtime") -> None:
    """Make the pool of a child, and give it the calls that came meanwhile."""
    error = None  # type: Optional[BaseException]
    jobs = runtime.jobs
    runtime.ready.wait()
    try:
        found = importer.current
        wanted = [name for name in POOL_NEEDS if found and name not in found.modules]
        if found and found.ask and wanted:
            found.take(found.ask(wanted))
        runtime.hook("pool")(runtime)
    except BaseException as problem:  # noqa: BLE001 - whatever it is, those who wait must hear of it
        error = problem
    with runtime.lock:
        waiting, jobs.awaiting_pool = jobs.awaiting_pool or [], None
        if error is None:
            for job in waiting:
                jobs.pool.submit(job)
    if error is not None:
        for job in waiting:
            job.fail(error)


def traceback_of(error: BaseException) -> str:
    """Return the traceback as text, "" if the error was never raised."""
    if error.__traceback__ is None:
        return ""
    try:
        import traceback
    except OSError as found:
        return "its traceback can't be told: %s" % found  # no descriptor is left to read the module by

    return "".join(traceback.format_exception(type(error), error, error.__traceback__))
