"""What goes wrong between two machines, and what comes of the calls that were in flight then.

The faults, and how one is played on a host of its own while a context on another host is called all the while. Run by
tests/real/chaos/test_network.py with little patience, by tests/trials/network.py with the usual.
"""

import contextlib
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import plasmid
from plasmid.core import link, node
from tests.real import far, far_kinds, leftovers
from tests.real.lab import netlab

CONNECT_TIMEOUT_S = 120.0
# Longer than anything here may take: 40 s for a silent link, and this machine may be busy.
WAIT_MAX_S = 90.0


class Patience(NamedTuple):
    """For how long both ends of a link bear with silence. As `link` and `node` have it, or shorter."""

    idle_s: float
    silence_max_s: float


USUAL = Patience(link.IDLE_S, link.SILENCE_MAX_S)
LITTLE = Patience(1.0, 4.0)


class Outcome(NamedTuple):
    """What came of one fault. ends: how each call ended, by its name. known_s: after how long the last of them did.

    gone_s: after how long nothing was left of the context on its host; WAIT_MAX_S if something was.
    """

    ends: "dict[str, str]"
    known_s: float
    gone_s: float


class InFlight:
    """Calls of every kind to one context. counts: how often each was said to have ended."""

    def __init__(self, router: plasmid.Router, context: plasmid.Context) -> None:
        self.context = context
        work = context.service(far.Work)
        self.items = plasmid.service.stream(context, far_kinds.Kinds, "count", to=1 << 40)
        assert next(self.items) == 0
        self.command = plasmid.commands.start(context, ["sh", "-c", "echo begun; exec sleep 600"])
        assert next(self.command) == ("stdout", b"begun\n")
        self.calls = {
            "function": context.call_async(time.sleep, 600),
            "function in its queue": context.call_async(far.add, 1),
            "held": work.hold.start(),
            "method": context.call_service_async(far.Work, "run_until_cancelled"),
        }
        assert work.is_running()
        self.counts: Counter[str] = Counter()
        self.not_sent: list[str] = []
        self.ended_at = 0.0
        for name, call in self.calls.items():
            self._watch(name, call)

    def _watch(self, name: str, call: plasmid.Call) -> None:
        def note() -> None:
            self.counts[name] += 1
            self.ended_at = time.monotonic()

        call.when_ended(note)

    def call_more(self) -> None:
        """Make calls after the fault, of which nobody may know yet: a small one and a large one."""
        for name, size in ("later", 10), ("later and large", 3_000_000):
            try:
                call = self.context.call_service_async(far.Work, "takes_path", path="x" * size)
            except plasmid.NotSent:
                self.not_sent.append(name)
                continue
            self.calls[name] = call
            self._watch(name, call)

    def ends(self) -> "dict[str, str]":
        """Wait for the ends of all; return what each was. A call that ends twice has its word twice."""
        found = dict.fromkeys(self.not_sent, "NotSent")
        for name, call in self.calls.items():
            error = call.exception(WAIT_MAX_S)
            found[name] = " ".join([type(error).__name__] * self.counts[name])
        found["stream"] = self._end_of(self.items)
        found["command"] = self._end_of(self.command)
        return found

    def _end_of(self, items: "Iterator[Any]") -> str:
        with plasmid.timeout(WAIT_MAX_S):
            try:
                for _ in items:  # what had come before
                    pass
            except plasmid.PlasmidError as error:
                return type(error).__name__
        return "no error"


# ---------------------------------------------------------------- faults


def processes_of(name: str) -> "list[leftovers.Process]":
    """Return the processes that the context of this name consists of, on whatever host: itself and its watchdog."""
    return [
        one
        for one in leftovers.processes()
        if one.command.endswith(f"plasmid:{name}") and "python3 " in one.command[:20]
    ]


class Target(NamedTuple):
    """Whom a fault befalls."""

    lab: netlab.Lab
    number: int
    router: plasmid.Router
    context: plasmid.Context

    @property
    def far_pid(self) -> int:
        """The far side's process, by its number here."""
        return next(one.pid for one in processes_of(self.context.name) if _title(one.pid) != "plasmid-watch")

    @property
    def sshd_pid(self) -> int:
        """The ssh server's process for this connection."""
        child = {one.pid: one.parent_pid for one in leftovers.processes()}
        shell = child[self.far_pid]
        return shell if _title(shell).startswith("sshd") else child[shell]

    @property
    def ssh_pid(self) -> int:
        """The ssh that leads there."""
        child = self.router.child(self.context)
        assert child is not None
        return child.process.pid

    def send(self, which: str, number: int) -> None:
        """Send one of these processes a signal."""
        os.kill(getattr(self, which), number)


def _title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


FAULTS: "dict[str, Callable[[Target], None]]" = {
    "far side killed": lambda at: at.send("far_pid", signal.SIGKILL),
    "far side stopped": lambda at: at.send("far_pid", signal.SIGSTOP),
    "ssh killed": lambda at: at.send("ssh_pid", signal.SIGKILL),
    "ssh stopped": lambda at: at.send("ssh_pid", signal.SIGSTOP),
    "sshd killed": lambda at: at.send("sshd_pid", signal.SIGKILL),
    "sshd stopped": lambda at: at.send("sshd_pid", signal.SIGSTOP),
    "nothing reaches the host": lambda at: at.lab.partition(at.number, (netlab.TO_HOST,)),
    "nothing comes from the host": lambda at: at.lab.partition(at.number, (netlab.FROM_HOST,)),
    "nothing either way": lambda at: at.lab.partition(at.number),
    "the host crashes": lambda at: at.lab.crash(at.number),
}


class Gone:
    """Watches, on a thread of its own, for the ends of contexts. since: the times to count from, by their names."""

    def __init__(self, since: "dict[str, float]") -> None:
        self._since = since
        self._gone: dict[str, float] = {}
        self._thread = threading.Thread(target=lambda: leftovers.until_empty(self._left, WAIT_MAX_S))
        self._thread.start()

    def _left(self) -> "list[str]":
        there = {
            one.command.rpartition("plasmid:")[2] for one in leftovers.processes() if not one.command.startswith("sshd")
        }
        for name in self._since.keys() - self._gone.keys() - there:
            self._gone[name] = time.monotonic() - self._since[name]
        return [name for name in self._since if name not in self._gone]

    def wait(self) -> "list[float]":
        """Return after how long nothing was left of each; WAIT_MAX_S if something still is."""
        self._thread.join()
        return [self._gone.get(name, WAIT_MAX_S) for name in self._since]


@contextlib.contextmanager
def patient(patience: Patience) -> "Iterator[None]":
    """Have this process bear with silence for so long."""
    before = link.IDLE_S, link.SILENCE_MAX_S, node.TICK_S
    far.lose_patience(*patience)
    try:
        yield
    finally:
        link.IDLE_S, link.SILENCE_MAX_S, node.TICK_S = before


class Neighbour:
    """A context on a host of its own, which is called all the while. wrong: what went wrong."""

    def __init__(self, context: plasmid.Context) -> None:
        self.context = context
        self.calls = 0
        self.wrong: list[str] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        work = self.context.service(far.Work, timeout=20)
        while not self._ended.wait(0.01):
            try:
                assert work.takes_path("x" * 1000) == "x" * 1000
                assert self.context.call(far.add, self.calls) == self.calls + 10
            except Exception as error:  # noqa: BLE001 - whatever it is, it mustn't have happened
                self.wrong.append(f"{type(error).__name__}: {error}")
            self.calls += 1

    def end(self) -> None:
        """Call no more."""
        self._ended.set()
        self._thread.join()


def play(lab: netlab.Lab, patience: Patience, mark: str) -> "dict[str, Outcome]":
    """Have every fault happen, each on a host of its own and all at once; the last host is a neighbour's.

    mark: what names of contexts begin with. Returns what came of each fault. Raises if the neighbour noticed anything.
    """
    names = [*FAULTS, "neighbour"]
    targets = [
        {"hostname": f"host{number}", "name": f"{mark}-{number}", "ssh_path": str(lab.ssh)}
        for number in range(1, len(names) + 1)
    ]
    with patient(patience), plasmid.Router() as router:
        hosts = router.connect_all(targets, limit=4, connect_timeout=CONNECT_TIMEOUT_S)
        assert hosts.failures == {}
        contexts = sorted(hosts, key=lambda context: int(context.name.rpartition("-")[2]))
        for context in contexts:
            context.call(far.lose_patience, *patience)
        neighbour = Neighbour(contexts.pop())
        try:
            flights = [InFlight(router, context) for context in contexts]
            stopped: list[int] = []
            befell: dict[str, float] = {}
            for number, (fault, flight) in enumerate(zip(FAULTS, flights, strict=True), 1):
                target = Target(lab, number, router, flight.context)
                stopped += [target.sshd_pid] if fault == "sshd stopped" else []
                befell[flight.context.name] = time.monotonic()
                FAULTS[fault](target)
                flight.call_more()
            ending = Gone(befell)
            ends = [flight.ends() for flight in flights]
            known = [flight.ended_at - befell[flight.context.name] for flight in flights]
            gone = ending.wait()
            noticed, calls = neighbour.wrong[:], neighbour.calls
        finally:
            neighbour.end()
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)
        router.close(patience_s=0.5)
    assert (noticed, calls > 0) == ([], True)
    return {fault: Outcome(*came) for fault, came in zip(FAULTS, zip(ends, known, gone, strict=True), strict=True)}
