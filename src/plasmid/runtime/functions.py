"""Runs the function calls of parents, one after the other: on a far side on its main thread."""

import sys
import threading
from time import monotonic

from plasmid.core.errors import Cancelled, DeadlineExceeded
from plasmid.runtime.context import resolve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Optional

    from plasmid.core.errors import PlasmidError
    from plasmid.runtime.jobs import Job
    from plasmid.runtime.runtime import Runtime


def serve(runtime: "Runtime", run_one: "Optional[Callable[[Runtime, Job], None]]" = None) -> None:
    """Run the function calls that come, until a None among them: by run_one() in place of run(), if given."""
    queue = runtime.jobs.functions
    # While it has none to run, this thread leads.
    queue.parker = runtime.loop.park
    while True:
        job = queue.get()
        if job is None:
            return
        (run_one or run)(runtime, job)
        # Kept, it would hold what the call was given until the next one comes.
        del job


def serve_on_thread(runtime: "Runtime") -> None:
    """Have a thread serve(), unless one does."""
    if runtime.jobs.functions.parker is None:
        runtime.jobs.functions.parker = runtime.loop.park
        threading.Thread(target=serve, args=(runtime,), name="plasmid-functions", daemon=True).start()


def run(runtime: "Runtime", job: "Job") -> None:
    """Run one function call, and answer it."""
    late = too_late(job)
    if late is not None:
        job.fail(late)
        if job.name == "plasmid.chain":
            runtime.hook("skip")(job)
        return
    try:
        with job.running():
            args, kwargs = job.args()
            function = resolve(str(job.name), str(job.method))
            for name in getattr(function, "__plasmid_takes__", ()):
                kwargs[name] = getattr(runtime.hook("router")(runtime), name)
            job.reply(function(*args, **kwargs))
    except BaseException as error:  # noqa: BLE001 - SystemExit and KeyboardInterrupt too are the caller's answer
        fail(job, error)


def fail(job: "Job", error: BaseException) -> None:
    """Answer a function call with what was raised, and log it where nobody waits for the answer."""
    # From the user's own lines on, where there are any.
    error = error.with_traceback((error.__traceback__ and error.__traceback__.tb_next) or error.__traceback__)
    if job.no_reply:
        _log(job, error)
    job.fail(error)


def _log(job: "Job", error: BaseException) -> None:
    try:
        import logging
    except OSError:  # no descriptor is left to read the module by: whoever runs out of them is to live on
        sys.excepthook(type(error), error, error.__traceback__)
        return
    logging.getLogger("plasmid").error("%s failed, and nobody waits for its answer", job, exc_info=error)


def too_late(job: "Job") -> "Optional[PlasmidError]":
    """Return why the function mustn't be started any more, None if it may."""
    if job.cancelled:
        return Cancelled("", "", "it was cancelled before it started", False)
    if job.deadline is not None and monotonic() >= job.deadline:
        return DeadlineExceeded("", "", "its deadline passed before it started", False)
    return None
