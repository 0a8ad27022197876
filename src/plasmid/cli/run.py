"""`plasmid run`: call one function on every target, and tell of each as soon as it has ended."""

import contextlib
import queue
import threading
from dataclasses import dataclass
from time import monotonic
from typing import Any

import plasmid
from plasmid.cli import statuses
from plasmid.cli.function import Function
from plasmid.cli.output import Output, document_of
from plasmid.cli.targets import Target
from plasmid.connect.connector import Connector

# Each target takes a thread here from connecting to the answer, and an ssh.
AT_ONCE_MAX = 32
# A context whose call hasn't ended is busy: it won't leave by itself.
BUSY_PATIENCE_S = 0.5


@dataclass
class Outcome:
    """How one target ended. seconds: of the call, without connecting; 0 if it never came to that."""

    target: Target
    result: Any = None
    error: "BaseException | None" = None
    seconds: float = 0.0
    context: "plasmid.Context | None" = None

    @property
    def status(self) -> int:
        """The exit status that stands for it."""
        return statuses.status_of(self.error)


@dataclass(frozen=True)
class Run:
    """What is to be called, and where. timeout_s: of each call."""

    targets: "list[Target]"
    hops: "list[Connector]"
    function: Function
    args: "list[Any]"
    kwargs: "dict[str, Any]"
    timeout_s: "float | None"


def run(what: Run, output: Output, as_documents: bool) -> int:
    """Do it, print what comes of it, and return the exit status."""
    status = statuses.OK
    router = plasmid.Router()
    patience_s: float | None = BUSY_PATIENCE_S  # on Ctrl-C
    try:
        for outcome in _outcomes(router, what):
            status = max(status, outcome.status)
            if as_documents:
                written = outcome.target.written
                document = document_of(written, outcome.target.name, outcome.result, outcome.error, outcome.seconds)
                output.show_document(document)
            elif outcome.error is None:
                output.show_result(outcome.target.name if len(what.targets) > 1 else "", outcome.result)
            if outcome.error is not None:
                output.show_error(outcome.target.name, outcome.error)
        if status != statuses.LOST:
            patience_s = None
    finally:
        router.close() if patience_s is None else router.close(patience_s)
    return status


def _outcomes(router: plasmid.Router, what: Run) -> "Any":
    """Give the outcome of each target, in the order in which they end."""
    try:
        via = _connect_hops(router, what.hops)
    except (plasmid.PlasmidError, OSError) as error:
        for target in what.targets:
            yield Outcome(target, error=error)
        return
    waiting: queue.SimpleQueue[Target] = queue.SimpleQueue()
    ended: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
    for target in what.targets:
        waiting.put(target)

    def work() -> None:
        while True:
            try:
                target = waiting.get_nowait()
            except queue.Empty:
                return
            outcome = _run_on(router, via, target, what)
            ended.put(outcome)
            if outcome.context is not None and not waiting.empty():
                # Room for the next. The last ones leave together, when the router is closed.
                with contextlib.suppress(plasmid.PlasmidError):
                    outcome.context.shutdown(wait=False)

    for number in range(min(AT_ONCE_MAX, len(what.targets))):
        # The main thread only waits, so that Ctrl-C finds it at no delicate moment.
        threading.Thread(target=work, name=f"plasmid-run-{number + 1}", daemon=True).start()
    for _ in what.targets:
        yield ended.get()


def _connect_hops(router: plasmid.Router, hops: "list[Connector]") -> "plasmid.Context | None":
    via = None
    for hop in hops:
        via = router.start(hop, via)
    return via


def _run_on(router: plasmid.Router, via: "plasmid.Context | None", target: Target, what: Run) -> Outcome:
    outcome = Outcome(target)
    begun = 0.0
    try:
        outcome.context = router.start(target.connector, via)
        begun = monotonic()
        with plasmid.timeout(what.timeout_s):
            outcome.result = _call(outcome.context, what).result()
    except Exception as error:  # noqa: BLE001 - whatever the function raised there is how this target ended
        outcome.error = error
    if begun:
        outcome.seconds = monotonic() - begun
    return outcome


def _call(context: plasmid.Context, what: Run) -> plasmid.Call:
    function = what.function
    runtime = context.runtime
    # By the name that was asked for: the object here may know itself by another, or be bound to an object there.
    runtime.permit(context.address, function.module)
    call = context.send_call(
        "f",
        function.module,
        function.qualname,
        [what.args, what.kwargs],
        classes=runtime.classes_of(function.here),
    )
    assert call is not None
    return call
