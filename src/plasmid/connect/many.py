"""Many contexts at once: Router.connect_all() at work, and what it gives.

The caller's thread decides what is started next and where, and takes in what has ended; a thread for each start that is
under way, `limit` at most, does nothing but connect. So progress is told on the caller's thread, and Ctrl-C finds it at
no delicate moment.

With `fan_out` the contexts make a tree. Nothing of it is planned: every context that has been made may have so many
children, and what is next goes to the place nearest to the root that is free. A context that failed never was such a
place, and what was below one that is lost starts over elsewhere.
"""

import threading
from time import monotonic

from plasmid.connect import connector_class, parse
from plasmid.connect.connector import Connector
from plasmid.connect.starting import LOOK_S
from plasmid.connect.supply import supply_in
from plasmid.core.connect_error import ConnectError
from plasmid.core.errors import CallError, ContextLost, NotSent, PlasmidError
from plasmid.runtime.helpers import Helpers
from plasmid.runtime.ports import Latch, TimedOut

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional, Tuple, Union

    from plasmid.connect.supply import Supply
    from plasmid.connect.ways import Ways
    from plasmid.runtime.context import Context

    Outcome = Union[Context, ConnectError]
    Progress = Callable[[int, int, str, Outcome], object]

FAN_OUT_MIN = 2
# How often a target is started over because the context that it was below of was lost.
TRIES_MAX = 3

# Every way is taken or lost. That a lost one is gone, so that what it took is free, comes right behind the errors of
# what was started there.
GONE_WAIT_S = 1.0

STEP_READ = "read the target"
STEP_WAIT = "wait for its turn"
CANCELLED = "it was given up, because connect_all() was cancelled"


class Connected:
    """What came of many targets: each is in `contexts` or in `failures`.

    contexts: those that are there, in the order of their targets. by_target: the same by their target's name.
    failures: the ConnectError of each other target, by its name. The name is the URL as it was written, the name of a
    connector, or that of an inventory's host. Indexed by it, this gives the context or raises its error.
    """

    def __init__(self, names: "List[str]") -> None:
        self.names = names
        self.by_target = {}  # type: Dict[str, Context]
        self.failures = {}  # type: Dict[str, ConnectError]

    @property
    def contexts(self) -> "List[Context]":
        """The contexts that are there, in the order of their targets."""
        return [self.by_target[name] for name in self.names if name in self.by_target]

    def __getitem__(self, name: str) -> "Context":
        if name in self.failures:
            raise self.failures[name]
        return self.by_target[name]

    def __len__(self) -> int:
        return len(self.by_target)

    def __iter__(self) -> "Iterator[Context]":
        return iter(self.contexts)

    def __repr__(self) -> str:
        return "<Connected: %d contexts, %d failures>" % (len(self.by_target), len(self.failures))

    def shutdown(self) -> None:
        """End every context of it, without waiting for that."""
        end_all(self.contexts)


def end_all(contexts: "Iterable[Context]") -> None:
    """End these contexts in order, without waiting for it. One that is gone is no error."""
    ended = []  # type: List[bytes]
    for context in sorted(contexts, key=lambda one: one.address):
        # What stands below one that ends goes with it.
        if any(map(context.address.startswith, ended)):
            continue
        ended.append(context.address)
        try:
            context.shutdown(wait=False)
        except CallError:
            pass  # the way there is lost, and with it the context


class Target:
    """One target: its name in results, and its connector, or why there is none. tries: starts so far."""

    __slots__ = ("name", "connector", "error", "tries", "place")

    def __init__(self, name: str, connector: "Optional[Connector]", error: "Optional[ConnectError]" = None) -> None:
        self.name = name
        self.connector = connector
        self.error = error
        self.tries = 0
        self.place = None  # type: Optional[Place]


def read_targets(
    entries: "Iterable[Any]", options: "Dict[str, Any]", supply: "Optional[Supply]" = None
) -> "List[Target]":
    """Return the targets of connect_all(); one that can't be read holds the error. supply: for those without their own.

    Raises ValueError if there are none or two have the same name, TypeError for an option that none of them takes.
    """
    if isinstance(entries, (str, bytes, dict, Connector)):
        raise TypeError("connect_all() takes a list of targets; it got %s alone" % _shown(entries))
    unused = set(options)
    targets = [_read_target(entry, options, unused) for entry in entries]
    if not targets:
        raise ValueError("connect_all() got no targets: the list is empty")
    positions = {}  # type: Dict[str, int]
    for number, target in enumerate(targets, 1):
        if target.name in positions:
            raise ValueError(
                "connect_all() got the target %r twice, as number %d and %d; nothing was started. To have two contexts "
                'there, give each a name of its own: {"url": %r, "name": "..."}'
                % (target.name, positions[target.name], number, target.name)
            )
        positions[target.name] = number
    for target in targets:
        if target.connector is not None and target.connector.supply is None:
            target.connector.supply = supply
    if unused and any(target.error is None for target in targets):
        raise TypeError("no target of connect_all() takes %s" % ", ".join("%s=" % name for name in sorted(unused)))
    return targets


def _read_target(entry: "Any", options: "Dict[str, Any]", unused: "set[str]") -> Target:
    try:
        name, connector = _named_connector(entry, options, unused)
    except (ValueError, TypeError) as error:
        name = entry if isinstance(entry, str) else getattr(entry, "name", None) or _shown(entry)
        failure = ConnectError(str(name), STEP_READ, str(error), advice="Correct it; nothing was started for it.")
        failure.__cause__ = error
        return Target(str(name), None, failure)
    return Target(name, connector)


def _shown(entry: "Any") -> str:
    """Return an entry for a message, without the password that it may hold."""
    secrets = {key: "***" for key in ("password", "passphrase") if isinstance(entry, dict) and key in entry}
    return repr(dict(entry, **secrets) if secrets else entry)


def _named_connector(entry: "Any", options: "Dict[str, Any]", unused: "set[str]") -> "Tuple[str, Connector]":
    if isinstance(entry, Connector):
        return entry.name, entry
    if isinstance(entry, str):
        fields = {}  # type: Dict[str, Any]
        plain = parse(entry)
    elif isinstance(entry, dict):
        fields = dict(entry)
        url = fields.pop("url", None)
        scheme = fields.pop("scheme", "ssh")
        supply = supply_in(fields)
        plain = connector_class(scheme)(**fields) if url is None else parse(url, **fields)
        plain.supply = supply
    elif hasattr(entry, "connector"):
        plain = entry.connector()
        fields = dict.fromkeys(entry.options)
    else:
        raise TypeError("a target is a URL, a dict, a Connector or a host of an inventory, not %r" % (entry,))
    # What the target says of itself comes first.
    known = {key: value for key, value in options.items() if key in plain.PARAMETERS}
    unused.difference_update(known)
    wanted = {key: value for key, value in known.items() if key not in fields}
    if wanted:
        spec = dict(plain.spec(), **wanted)
        del spec["scheme"]
        supply = plain.supply
        plain = type(plain)(**spec)
        plain.supply = supply
    name = entry if isinstance(entry, str) else plain.name if isinstance(entry, dict) else entry.name
    return name, plain


class Place:
    """A context that others may be started from. context: None for this one. free: how many more; None for no limit."""

    __slots__ = ("context", "address", "free")

    def __init__(self, context: "Optional[Context]", address: bytes, free: "Optional[int]") -> None:
        self.context = context
        self.address = address
        self.free = free


class Connecting:
    """connect_all() at work. Owner: the thread that calls run()."""

    def __init__(
        self,
        router: "Ways",
        targets: "List[Target]",
        via: "Optional[Context]",
        limit: int,
        fan_out: "Optional[int]",
        progress: "Optional[Progress]",
    ) -> None:
        if limit < 1:
            raise ValueError("limit must be at least 1; it is %r" % (limit,))
        if fan_out is not None and fan_out < FAN_OUT_MIN:
            raise ValueError("fan_out must be at least %d; it is %r" % (FAN_OUT_MIN, fan_out))
        self._router = router
        self._targets = targets
        self._fan_out = fan_out
        self._limit = limit
        self._progress = progress
        self._told = 0
        self._waiting = [target for target in targets if target.connector is not None]
        self._starting = set()  # type: set[Target]
        self._of_address = {}  # type: Dict[bytes, Target]
        self._gone = set()  # type: set[bytes]
        self._ended = Latch()
        self._why = ""  # why it was stopped; read by all threads
        self._threads = Helpers(limit)
        first = via.address if via is not None else router.runtime.node.address
        self._places = [Place(via, first, fan_out)]
        self.result = Connected([target.name for target in targets])

    def run(self, timeout_s: "Optional[float]", cancel: "Optional[threading.Event]", keep: bool) -> Connected:
        """Connect to all of them. Whatever is raised, what was made is ended again."""
        on_gone = self._router.runtime.on_gone
        on_gone.append(self._on_gone)
        try:
            for target in self._targets:
                if target.error is not None:
                    self._fail(target, target.error)
            self._work(None if timeout_s is None else monotonic() + timeout_s, timeout_s, cancel)
            if self._why == CANCELLED and not keep:
                self._undo()
        except BaseException:
            self._why = CANCELLED
            end_all(self.result.contexts + self._made_meanwhile())
            raise
        finally:
            on_gone.remove(self._on_gone)
            self._threads.close()
        return self.result

    def _work(
        self, until: "Optional[float]", timeout_s: "Optional[float]", cancel: "Optional[threading.Event]"
    ) -> None:
        while self._waiting or self._starting:
            if cancel is not None and cancel.is_set():
                self._halt(CANCELLED)
            elif until is not None and monotonic() >= until:
                self._halt("it was given up, because the %g s of timeout= for all of them were over" % (timeout_s or 0))
            self._start_what_may()
            if not self._starting and not self._waiting:
                continue
            # Who sets `cancel` can't wake us, so we look, as often as those who connect do.
            looks = [] if cancel is None or self._why else [LOOK_S]
            if until is not None and not self._why:
                looks.append(max(0.0, until - monotonic()))
            if not self._starting:
                looks.append(GONE_WAIT_S)
            try:
                happened = self._ended.get(min(looks) if looks else None)
            except TimedOut:
                if not self._starting and min(looks) == GONE_WAIT_S:
                    self._halt("no context is left that it could be started from")
                continue
            self._take(happened)

    def _made_meanwhile(self) -> "List[Context]":
        """Wait until nothing is being made any more, and return the contexts that came of it all the same."""
        made = []
        while self._starting:
            target, outcome = self._ended.get()
            self._starting.discard(target)
            if target is not None and not isinstance(outcome, BaseException):
                made.append(outcome)
        return made

    def _halt(self, why: str) -> None:
        """Give up what is being made, and all that waits."""
        if self._why:
            return
        self._why = why
        waiting, self._waiting = self._waiting, []
        for target in waiting:
            self._fail(target, ConnectError(target.name, STEP_WAIT, why))

    def _start_what_may(self) -> None:
        while self._waiting and len(self._starting) < self._limit:
            places = [place for place in self._places if place.free is None or place.free > 0]
            if not places:
                return  # all are taken by those that are being started: one of them will be free, or a place itself
            place = min(places, key=lambda one: (len(one.address), -(one.free or 0)))
            if place.free is not None:
                place.free -= 1
            target = self._waiting.pop(0)
            target.place = place
            target.tries += 1
            self._starting.add(target)
            self._threads.run(self._connect, (target, place))

    def _connect(self, target: Target, place: Place) -> None:
        """Start one. On a thread of its own."""
        outcome = None  # type: Any
        assert target.connector is not None
        try:
            outcome = self._router.start(target.connector, place.context, given_up=lambda: self._why)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is what came of this target
            outcome = error
        self._ended.put((target, outcome))

    def _on_gone(self, address: bytes, reason: str) -> None:
        self._ended.put((None, (address, reason)))

    def _take(self, happened: "Tuple[Optional[Target], Any]") -> None:
        target, outcome = happened
        if target is None:
            self._lose(*outcome)
            return
        self._starting.discard(target)
        if isinstance(outcome, BaseException):
            self._free_place(target)
            self._take_error(target, outcome)
        elif any(map(outcome.address.startswith, self._gone)):
            self._free_place(target)
            self._start_over(target, "it was lost as soon as it had been connected")
        else:
            self._of_address[outcome.address] = target
            if self._fan_out is not None:
                self._places.append(Place(outcome, outcome.address, self._fan_out))
            self.result.by_target[target.name] = outcome
            self._tell(target, outcome)

    def _take_error(self, target: Target, error: BaseException) -> None:
        place = target.place
        assert place is not None
        if isinstance(error, (ContextLost, NotSent)) and place is not self._places[0]:
            self._forget_place(place.address)
            self._start_over(target, str(error))
            return
        if not isinstance(error, ConnectError):
            cause, error = error, ConnectError(target.name, "start it", _text_of(error))
            error.__cause__ = cause
        if place is not self._places[0]:
            target_text = "%s via %s" % (error.target, place.context)
            error = ConnectError(target_text, error.step, error.found, error.output, error.advice, error.status)
        self._fail(target, error)

    def _lose(self, address: bytes, reason: str) -> None:
        """Take note that a context, and all below it, are gone."""
        self._gone.add(address)
        self._forget_place(address)
        for other in [one for one in self._of_address if one.startswith(address)]:
            target = self._of_address.pop(other)
            del self.result.by_target[target.name]
            if other == address:
                self._free_place(target)
                self._told -= 1
                self._fail(target, ConnectError(target.name, "stay connected", "it was lost again: %s" % reason))
            else:
                self._told -= 1
                self._start_over(target, "the context that led to it was lost: %s" % reason)

    def _start_over(self, target: Target, found: str) -> None:
        if self._why or target.tries >= TRIES_MAX:
            found = self._why or "%s; that was try %d" % (found, target.tries)
            self._fail(target, ConnectError(target.name, "stay connected", found))
        else:
            self._waiting.append(target)

    def _forget_place(self, address: bytes) -> None:
        self._places[1:] = [place for place in self._places[1:] if not place.address.startswith(address)]

    def _free_place(self, target: Target) -> None:
        place = target.place
        if place is not None and place.free is not None:
            place.free += 1

    def _undo(self) -> None:
        contexts, names = self.result.contexts, list(self.result.by_target)
        self.result.by_target.clear()
        end_all(contexts)
        for name in names:
            found = "it was connected, and ended again because connect_all() was cancelled"
            self.result.failures[name] = ConnectError(name, "stay connected", found)

    def _fail(self, target: Target, error: ConnectError) -> None:
        self.result.failures[target.name] = error
        self._tell(target, error)

    def _tell(self, target: Target, outcome: "Outcome") -> None:
        self._told += 1
        if self._progress is not None:
            self._progress(self._told, len(self._targets), target.name, outcome)


def _text_of(error: BaseException) -> str:
    # A slip in a connector of somebody else's concerns its own target alone.
    text = str(error)
    return text if isinstance(error, (PlasmidError, OSError)) and text else "%s: %s" % (type(error).__name__, text)
