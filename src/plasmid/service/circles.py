"""Circles: a call that could only be served once the one who waits for it has gone on.

A service that serves one call at a time holds its turn until the method returns. If the method waits for a call of the
same service, by itself or by way of others that wait, none of them would go on before a deadline. So each time a method
is about to wait for a call that is served in this very context, the way is followed from waiter to waiter; if it leads
back, the call that waits for the turn, which nobody has started, is refused. A circle by way of other contexts isn't
seen. Loaded when a method first waits for a call of its own context.
"""

from plasmid.core.errors import Refused
from plasmid.runtime.context import Call
from plasmid.runtime.jobs import current_call
from plasmid.service.invokers import call_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional

    from plasmid.service.crew import Worker
    from plasmid.service.interfaces import Message
    from plasmid.service.queues import ServiceQueue
    from plasmid.service.workshop import Workshop


def refuse_circle(call: Call, worker: "Optional[Worker]") -> None:
    """Refuse what `worker`, or with None the coroutine that runs, would wait for in vain when it waits for `call`."""
    pool = call.context.runtime.jobs.pool
    if pool is None:
        return
    with pool._lock:
        job = _in_circle(pool, call, worker)
    if job is not None:
        found = "its caller, or one who waits for its caller, has the only turn of this service until this is answered"
        job.fail(Refused(call_text(job), "", found + "; call the method of the object itself, or don't wait"))


def _in_circle(pool: "Workshop", call: "Any", worker: "Optional[Worker]") -> "Optional[Message]":
    """Return the call in line in the circle that waiting for `call` closes, None if it closes none. Under the lock."""
    # A thread that has just begun an async method still has its request in hand, while that may await already.
    workers = [other for other in pool._crew.workers if other.task is not None and not other.task[1].is_detached]
    in_line = None  # type: Optional[Message]
    for _ in range(len(workers) + 1):  # who waits in another's circle doesn't come back here
        job = _own_job(call)
        if job is None:
            return None
        holder = next((other for other in workers if other.task[1].job is job), None)
        if holder is None:
            queue = pool.queue_of(job)
            if queue is None or queue.invoker.max_concurrency != 1 or any(each.job is job for each in pool.running()):
                return None
            in_line = job
            holder = next((other for other in workers if other.task[0] is queue), None)
            if holder is None:
                return in_line if worker is None and _is_held_here(pool, queue) else None
        if holder is worker:
            return in_line
        call = holder.waits_for
    return None


def _own_job(call: "Any") -> "Optional[Message]":
    """Return a call as it has arrived, if it is one to this very context that hasn't been answered."""
    out = call._out if isinstance(call, Call) else None
    if out is None or call.context != call.context.runtime.myself:
        return None
    arrived = call.context.runtime.jobs.running.get((call.context.address, out.id))
    return None if arrived is None else arrived()


def _is_held_here(pool: "Workshop", queue: "ServiceQueue") -> bool:
    """Say whether the async method that runs in this thread, and no task that it has made, has the turn of `queue`."""
    served = current_call()
    request = next((each for each in pool.running() if each.job is served), None)
    is_current = getattr(request and request.course, "is_current", None)
    return served is not None and pool.queue_of(served) is queue and is_current is not None and is_current()
