"""The honest sibling of a hostile child, and the service of the root that it calls all the while."""

import os
import threading

import plasmid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from plasmid.surroundings import ExternalContext

CALL_TIMEOUT_S = 20.0
NAME = "tests.hostile.sibling.Watched"


class Watched(plasmid.Service):
    """A service of the root. Counts who calls it."""

    counts = {}  # type: dict[str, int]
    notes = []  # type: list[str]
    counted = threading.Condition()
    stopped = False
    released = threading.Event()
    given = 0

    @plasmid.expose(plasmid.AllowAny())
    def add(self, a: int, b: int) -> int:
        """Return the sum."""
        name = self.caller.name
        with Watched.counted:
            Watched.counts[name] = Watched.counts.get(name, 0) + 1
            Watched.counted.notify_all()
        return a + b

    @plasmid.expose(plasmid.AllowAny())
    def goes_on(self) -> bool:
        """Tell the sibling whether to call again."""
        return not Watched.stopped

    @plasmid.expose(plasmid.AllowAny())
    def give(self, size: int) -> bytes:
        """Return so many bytes."""
        return bytes(size)

    @plasmid.expose(plasmid.AllowAny())
    def give_when_released(self, size: int) -> bytes:
        """Return so many bytes once the test lets go."""
        Watched.released.wait()
        with Watched.counted:
            Watched.given += 1
        return bytes(size)

    @plasmid.expose(plasmid.AllowAny())
    def note(self, what: str) -> None:
        """Note what only a forger calls."""
        Watched.notes.append(what)

    @plasmid.expose(plasmid.AllowParents())
    def parents_only(self) -> str:
        """Return what isn't for children."""
        return "secret"

    def secret(self) -> str:
        """Isn't exposed."""
        return "secret"


class Tripwire(Exception):
    """An exception that nobody declared."""


@plasmid.takes_econtext
def keep_calling(econtext: "ExternalContext") -> "list[Any]":
    """Call the root's service until told to stop; return how many calls there were, and what was wrong."""
    count = 0
    wrong = []  # type: list[str]
    with plasmid.timeout(None):
        while not wrong:
            try:
                with plasmid.timeout(CALL_TIMEOUT_S):
                    found = econtext.master.call_service(NAME, "add", a=count, b=1)
                    if found != count + 1:
                        wrong.append("%d + 1 is %r" % (count, found))
                    count += 1
                    if not econtext.master.call_service(NAME, "goes_on"):
                        break
            except Exception as error:  # noqa: BLE001 - whatever it is, it mustn't have happened
                wrong.append("%s: %s" % (type(error).__name__, error))
    return [count, wrong]


@plasmid.takes_econtext
def pour(target: plasmid.Context, econtext: "ExternalContext") -> int:
    """Send a context much more than it can read; return for how many calls there was room."""
    sent = 0
    data = os.urandom(60_000)
    for _ in range(4000):
        try:
            target.send_call("s", "x", "y", {"data": data}, no_reply=True)
            sent += 1
        except plasmid.CallError:
            break
    return sent
