"""A real child process that speaks raw bytes to a real Router, beside an honest sibling that must not be disturbed."""

import json
import os
import shlex
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

import plasmid
from plasmid.connect.connector import Connector
from plasmid.router import Child
from plasmid.service import Pool
from tests.hostile import sibling
from tests.hostile.sibling import Watched
from tests.real.sshd import Client

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]

DEADLINE_S = 30.0
# What is held for one link has limits of 16 MiB. The rest is for calls that were taken before the limit was reached
# and answered after it, and for what the allocator and the test itself take.
GROWTH_MAX = 80 << 20

BROKE = "the peer broke the protocol: "
NAMES = "the peer at /2 sent a frame in the name of %s; it may speak only for itself and those below it"
# Attacks on the protocol, and for what each link is cut.
BREAKS = [
    ("forged_source", NAMES % "/1"),
    ("source_of_the_root", NAMES % "/"),
    ("loss_of_a_sibling", NAMES % "/1"),
    ("garbage", "kind 255 is unknown"),
    ("too_large", "a body of 262145 bytes was announced; the limit is 262144"),
    ("hello_twice", "a hello isn't allowed while the link is open"),
]


class RawChild(Connector):
    """Starts attacks.py, which says the mark and takes the program as Python would, and then does what it likes.

    client: leads to a ssh server, by which it is started then.
    """

    scheme = "raw"

    def __init__(self, attack: str, report: Path, client: "Client | None" = None) -> None:
        super().__init__("evil", sys.executable, connect_timeout=DEADLINE_S)
        self.attack = attack
        self.report = report
        self.client = client

    @property
    def target(self) -> str:
        return "raw:" + self.attack

    @property
    def program(self) -> str:
        return "attacks.py"

    def argv(self, first_stage: str, ps_name: str) -> "list[str]":
        script = str(HERE / "attacks.py")
        there = [sys.executable, "-S", script, first_stage, self.attack, str(REPOSITORY), str(self.report)]
        if self.client is None:
            return there
        return ["ssh", *self.client.ssh_args, self.client.hostname, shlex.join(there)]


class Memory:
    """Watches how much more memory this process takes than at the beginning. growth: at most, so far, in bytes."""

    def __init__(self) -> None:
        self.growth = 0
        self._page_size = os.sysconf("SC_PAGE_SIZE")
        self._ended = threading.Event()
        self._before = self._resident()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Memory":
        self._before = self._resident()
        self._thread.start()
        return self

    def __exit__(
        self, kind: "type[BaseException] | None", error: "BaseException | None", trace: "TracebackType | None"
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _resident(self) -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * self._page_size

    def _watch(self) -> None:
        while not self._ended.wait(0.02):
            self.growth = max(self.growth, self._resident() - self._before)


class Scene:
    """A router with a pool, the sibling at work, and then the attack.

    evil: the hostile context once it has said hello. client: leads to where that is, here if None.
    """

    def __init__(self, router: plasmid.Router, report: Path, client: "Client | None" = None) -> None:
        self.router = router
        self.report = report
        self.client = client
        Watched.counts.clear()
        Watched.notes.clear()
        Watched.stopped = False
        self.pool = Pool(router, services=[Watched(router)], size=4)
        self.sibling = router.local(name="sibling")
        self._working = self.sibling.call_async(sibling.keep_calling)
        self.evil: plasmid.Context
        self.child: Child
        self.sibling_goes_on()

    def attack(self, name: str) -> plasmid.Context:
        """Start the hostile child, and tell it to do what the attack of that name does."""
        self.evil = self.router.start(RawChild(name, self.report, self.client))
        child = self.router.child(self.evil)
        assert child is not None
        self.child = child
        self.evil.send_call("s", "go", None, {}, no_reply=True)
        return self.evil

    def sibling_goes_on(self) -> None:
        """Wait until the sibling has made some calls more."""
        with Watched.counted:
            wanted = Watched.counts.get("sibling", 0) + 20
            went_on = Watched.counted.wait_for(
                lambda: Watched.counts.get("sibling", 0) >= wanted or self._working.done(), DEADLINE_S
            )
        assert went_on, "the sibling makes no more calls"
        assert not self._working.done(), f"the sibling has stopped: {self._working.result()}"

    def await_cut(self) -> str:
        """Wait until the hostile child's link was cut and its process is gone; return why."""
        assert self.child.gone.wait(DEADLINE_S), "the hostile child is still there"
        return self.child.lost

    def is_cut_by(self, attack: str, reason: str) -> None:
        """Play an attack on the protocol, and check that its link is cut for that reason and nothing came of it."""
        self.attack(attack)
        assert self.await_cut() == BROKE + reason
        with pytest.raises(plasmid.NotSent):
            self.evil.call_service("x", "y")
        assert Watched.notes == []

    def reports(self, end: object = "done") -> "list[Any]":
        """Wait for the child's report that it has done its worst; return all reports before."""
        until = time.monotonic() + DEADLINE_S
        while time.monotonic() < until:
            # The last line may be half written.
            lines = self.report.read_text().split("\n")[:-1] if self.report.exists() else []
            found = [json.loads(line) for line in lines]
            if end in found:
                return found[: found.index(end)]
            self._pause()
        raise AssertionError("the hostile child hasn't reported")

    def calls_waiting(self, count: int) -> bool:
        """Wait until so many calls of the hostile child wait for their answers; False if that doesn't come."""
        inbox = self.router.runtime.node.links[self.child.number].inbox
        until = time.monotonic() + DEADLINE_S
        while inbox.calls != count and time.monotonic() < until:
            self._pause()
        return inbox.calls == count

    def await_end_of_attack(self, timeout_s: float) -> None:
        """Wait until the child has done its worst or its link was cut; or so long, if nobody reads what it sends."""
        until = time.monotonic() + timeout_s
        while time.monotonic() < until and not self.child.gone.is_set():
            if self.report.exists() and "done" in self.report.read_text():
                return
            self._pause()

    def _pause(self) -> None:
        threading.Event().wait(0.05)  # there is nothing to wait on: the file is written by another process

    def end(self) -> None:
        """Have the sibling stop, and check that it was never disturbed."""
        self.sibling_goes_on()
        Watched.stopped = True
        count, wrong = self._working.result(DEADLINE_S)
        assert wrong == []
        assert count > 0


@contextmanager
def scene(folder: Path, client: "Client | None" = None) -> "Iterator[Scene]":
    """Give a Scene; at its end the sibling must have been served all the while."""
    with plasmid.Router(name="root") as router:
        played = Scene(router, folder / "report", client)
        yield played
        played.end()
