"""Runs the function calls of parents, one after the other: on a far side on its main thread."""

from plasmid.core.switch import PARENT
from plasmid.runtime.context import resolve
from plasmid.runtime.ports import TimedOut

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Optional

    from plasmid.runtime.jobs import Job
    from plasmid.runtime.runtime import Runtime

PAUSE_S = 0.05


def serve(runtime: "Runtime", when_idle: "Optional[Callable[[], object]]" = None) -> None:
    """Run the function calls that come, until a None among them.

    when_idle: called once, at the first pause; what it does must not be in the way of the first answer.
    """
    queue = runtime.jobs.functions
    # While it has none to run, this thread reads the parent's link itself.
    queue.parker = lambda parking, until: runtime.loop.park(parking, PARENT, until, False)
    while True:
        try:
            job = queue.get(PAUSE_S if when_idle is not None else None)
        except TimedOut:
            assert when_idle is not None
            when_idle()
            when_idle = None
            continue
        if job is None:
            return
        run(runtime, job)
        # Kept, it would hold what the call was given until the next one comes.
        del job


def run(runtime: "Runtime", job: "Job") -> None:
    """Run one function call, and answer it."""
    late = job.too_late()
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
        import logging

        logging.getLogger("plasmid").error("%s failed, and nobody waits for its answer", job, exc_info=error)
    job.fail(error)
