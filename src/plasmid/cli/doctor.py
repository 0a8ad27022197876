"""`plasmid doctor`: connect to a target step by step; say what each step did, how long it took, and what is wrong."""

import os
from collections.abc import Callable
from time import monotonic
from typing import Any, TypeVar

from rich.text import Text

import plasmid
from plasmid.builtin.console import escape
from plasmid.cli import statuses
from plasmid.cli.facts import facts
from plasmid.cli.output import Output, advise, describe, remote_error
from plasmid.cli.probe import Probe
from plasmid.cli.targets import Target
from plasmid.connect.connector import Connector

T = TypeVar("T")

# For all calls together; what takes longer on an idle link isn't well.
CALLS_TIMEOUT_S = 30.0
_TITLE_WIDTH = 40


def examine(targets: "list[Target]", hops: "list[Connector]", output: Output) -> int:
    """Examine each target, one after the other, and return the exit status."""
    status = statuses.OK
    router = plasmid.Router()
    try:
        via: plasmid.Context | None = None
        for hop in hops:
            via, found = _Examination(router, hop, via, output).run()
            if via is None:
                return found
        for target in targets:
            try:
                connector = target.connector
            except plasmid.ConnectError as error:
                output.show_error(target.name, error)
                status = max(status, statuses.status_of(error))
                continue
            context, found = _Examination(router, connector, via, output).run()
            status = max(status, found)
            if context is not None:
                context.shutdown()
    finally:
        router.close(1.0)
    return status


class _Examination:
    """One connection, and what is tried over it."""

    def __init__(
        self, router: plasmid.Router, connector: Connector, via: "plasmid.Context | None", output: Output
    ) -> None:
        self.router = router
        self.connector = connector
        self.via = via
        self.out = output.out
        self._step = ""
        self._begun = 0.0

    def run(self) -> "tuple[plasmid.Context | None, int]":
        """Return the context, if there is one that works, and the exit status."""
        way = f" through {self.via.name}" if self.via else ""
        self.out.print(Text(self.connector.target, style="bold") + Text(way))
        try:
            context = self._connect()
            self._try_out(context)
        except Exception as error:  # what a far side raises is a finding; our own slips aren't
            if not isinstance(error, (plasmid.PlasmidError, OSError)) and remote_error(error) is None:
                raise
            self._show_failure(error)
            return None, statuses.status_of(error)
        return context, statuses.OK

    def _connect(self) -> plasmid.Context:
        if self.via is None:
            return self.router.start(self.connector, progress=self._progress)
        # The steps are taken over there; what comes back is the context, or the step that failed.
        return self._time(f"have {self.via.name} start it", lambda: self.router.start(self.connector, self.via))

    def _try_out(self, context: plasmid.Context) -> None:
        service = context.service(Probe)
        with plasmid.timeout(CALLS_TIMEOUT_S):
            self._time("first call", lambda: context.call(os.getpid))
            found = self._time("import of a module from here", lambda: context.call(facts))
            self._time("first service call", service.pid)
            self._time("second service call", service.pid)
        self._show_facts(context, found)

    def _show_facts(self, context: plasmid.Context, found: "dict[str, Any]") -> None:
        child = self.router.child(context)
        modules, size = self.router.modules.sent_to(context.address)
        boot = child.boot_bytes if child is not None else 0
        self._show_fact("sent", f"{_kib(boot)} to start it, {modules} modules more: {_kib(size)} compressed", boot)
        self._show_fact("Python", f"{found['python']}, {found['executable']}")
        self._show_fact("machine", f"{found['host']}, {found['system']}")
        self._show_fact("process", f"{found['pid']}, user {found['user']}, in {found['folder']}")

    def _progress(self, step: str, seconds: "float | None") -> None:
        if seconds is None:
            self._step, self._begun = step, monotonic()
            self._show_running(step)
        else:
            self._show_done(step, seconds)

    def _time(self, step: str, act: "Callable[[], T]") -> T:
        self._progress(step, None)
        result = act()
        self._progress(step, monotonic() - self._begun)
        return result

    def _show_running(self, step: str) -> None:
        if self.out.is_terminal:
            self.out.print(Text(f"  … {step}"), end="\r")

    def _show_done(self, step: str, seconds: float) -> None:
        self.out.print(Text("  ✓ ", style="green") + Text(f"{step:{_TITLE_WIDTH}}{seconds * 1000:9.1f} ms"))

    def _show_failure(self, error: BaseException) -> None:
        step = error.step if isinstance(error, plasmid.ConnectError) else self._step
        seconds = monotonic() - self._begun if self._begun else 0.0
        self.out.print(Text("  ✗ ", style="red") + Text(f"{step:{_TITLE_WIDTH}}{seconds * 1000:9.1f} ms"))
        if not isinstance(error, plasmid.ConnectError):
            self._show_lines(describe(error), "red")
            return
        self._show_lines(error.found, "red")
        if error.output:
            self._show_lines("It printed:", "")
            self._show_lines(error.output, "dim", indent=6)
        if error.advice:
            self._show_lines(advise(error), "bold")

    def _show_lines(self, text: str, style: str, indent: int = 4) -> None:
        for line in text.split("\n"):
            self.out.print(Text(" " * indent + escape(line), style=style))

    def _show_fact(self, name: str, text: str, known: object = True) -> None:
        if known:
            self.out.print(Text(f"  {name + ':':10}", style="dim") + Text(escape(text)))


def _kib(size: int) -> str:
    return f"{size / 1024:.1f} KiB"
