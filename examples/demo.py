"""What Plasmid is for, in one run: this program sends itself to three contexts, and both sides call each other.

    python examples/demo.py             three contexts on this machine
    python examples/demo.py web1 web2   the same over ssh; whatever `plasmid run` takes as a target will do

Each context is sent the service Audit, which looks at its machine and calls back the service Catalog of this program.
Catalog hashes Python's own library, once for all of them.
"""

import logging
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

from rich.console import Console
from rich.markup import escape
from rich.table import Table

import plasmid
from machine_audit import Audit, Report
from tree_catalog import Catalog

CALL_TIMEOUT_S = 60
console = Console(highlight=False)


class Printer(logging.Handler):
    """Shows what other contexts print and log. To this program they are records like its own."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one line."""
        who = escape(getattr(record, "context", record.name))
        what = escape(getattr(record, "remote_logger", record.levelname))
        console.print(f"  [cyan]{who}[/] [dim]{what}[/] {escape(record.getMessage())}")


def main() -> int:
    """Run the demo, and return its exit status."""
    began = monotonic()
    logging.getLogger("plasmid").addHandler(Printer())
    logging.getLogger("plasmid").setLevel(logging.INFO)
    hosts = [host for word in sys.argv[1:] for host in word.replace(",", " ").split()]
    with plasmid.Router() as router:
        catalog = Catalog(router, os.path.dirname(os.__file__))
        plasmid.Pool(router, services=[catalog], size=4)

        console.rule("[bold]this program starts itself elsewhere", align="left")
        contexts = start(router, hosts)
        if not contexts:
            return 1
        calls = {context: context.service(Audit, timeout=CALL_TIMEOUT_S).report.start() for context in contexts}
        reports: dict[plasmid.Context, Report] = {context: call.result() for context, call in calls.items()}

        console.rule("[bold]what they found", align="left")
        show_reports(router, reports)
        show_groups("disks", {context.name: disks_of(report) for context, report in reports.items()})
        show_groups("largest", {context.name: things_of(report) for context, report in reports.items()})
        show_catalog(catalog)

        console.rule("[bold]a method that fails there", align="left")
        show_failure(contexts[0])
    console.rule(f"[bold]{len(contexts)} contexts, {monotonic() - began:.1f} s", align="left")
    return 0 if len(contexts) == (len(hosts) or 3) else 1


def start(router: plasmid.Router, hosts: "list[str]") -> "list[plasmid.Context]":
    """Return a context on each host, or three here. A host that can't be reached is shown and left out."""

    def connect(number: int) -> "plasmid.Context | plasmid.ConnectError":
        try:
            return router.connect(hosts[number]) if hosts else router.local(name=f"local-{number + 1}")
        except plasmid.ConnectError as error:
            return error

    with ThreadPoolExecutor(max_workers=16) as threads:
        tried = list(threads.map(connect, range(len(hosts) or 3)))
    for error in tried:
        if isinstance(error, plasmid.ConnectError):
            console.print(f"[red]{escape(str(error))}")
    return [context for context in tried if isinstance(context, plasmid.Context)]


def show_reports(router: plasmid.Router, reports: "dict[plasmid.Context, Report]") -> None:
    """Print a row for each context. same/other: files of Python's library there that are, and aren't, as here."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("context", "machine", "Python"):
        table.add_column(title, overflow="fold")
    for title in ("boot", "boot sent", "modules sent", "same/other"):
        table.add_column(title, justify="right", no_wrap=True)
    for context, report in reports.items():
        child = router.child(context)
        assert child is not None
        modules, size = router.modules.sent_to(context.address)
        table.add_row(
            f"[cyan]{escape(context.name)}",
            escape(f"{report.host} {report.system}"),
            escape(report.python),
            f"{sum(seconds for _, seconds in child.steps) * 1000:.0f} ms",
            f"{child.boot_bytes / 1024:.1f} KiB",
            f"{modules}: {size / 1024:.1f} KiB",
            f"{report.same}/{report.differing + report.missing}",
        )
    console.print(table)


def show_groups(title: str, texts: "dict[str, str]") -> None:
    """Print each text once, with the contexts that it is true of."""
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    for _ in range(3):
        table.add_column(overflow="fold")
    for text in dict.fromkeys(texts.values()):
        names = ", ".join(name for name, other in texts.items() if other == text)
        table.add_row(f"[dim]{title}", f"[cyan]{escape(names)}", escape(text))
    console.print(table)


def disks_of(report: Report) -> str:
    """Return the disks of a machine as text."""
    return ", ".join(f"{disk.path} {in_units(disk.free)} free of {in_units(disk.size)}" for disk in report.disks)


def things_of(report: Report) -> str:
    """Return the largest packages and files of a machine as text."""
    return ", ".join(f"{thing.name} {in_units(thing.size)}" for thing in report.largest)


def show_catalog(catalog: Catalog) -> None:
    """Print how often the root's service was asked, and how often it had to work."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for heading in ("service here", "asked by", "calls", "executions", "hashed"):
        table.add_column(heading)
    askers = catalog.invoker.askers
    table.add_row(
        "Catalog.hashes",
        f"[cyan]{escape(', '.join(sorted(askers)))}",
        str(len(askers)),
        f"[bold]{catalog.executions}",
        f"{in_units(catalog.size)} of Python's library",
    )
    console.print(table)


def show_failure(context: plasmid.Context) -> None:
    """Call a method that raises, and print what arrives."""
    try:
        context.service(Audit).first_line("/no/such/file")
    except FileNotFoundError as error:  # the very type that was raised there
        console.print(f"except [red]{type(error).__name__}[/] as error: {escape(str(error))}")
        if isinstance(error.__cause__, plasmid.RemoteError):
            console.print(f"error.__cause__ has the traceback of {escape(error.__cause__.where)}:")
            console.print(f"[dim]{escape(error.__cause__.traceback.rstrip())}")


def in_units(size: float) -> str:
    """Return a size in bytes as people read it."""
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


if __name__ == "__main__":
    sys.exit(main())
