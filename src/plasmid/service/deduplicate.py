"""DeduplicatingInvoker: one execution for all who ask the same.

Responses is the decision, without threads, locks or clock: for each key, is the response there, is it being made, or
is this request the one to make it? What happens to a key:

    state      a request comes              the response is there             forget()
    absent     it runs; RUNNING             -                                 -
    RUNNING    it is parked                 all parked get it; kept or not    those who come from now on are parked
                                                                              apart, for a run after this one
    kept       it gets the response         -                                 absent

A request that had come before the response was there, and is looked at only afterwards, gets it too, kept or not.

A parked request is an object in a list, not a thread. Parking one has to be cheap, as thousands may ask at once: the
same method with the same bytes as arguments has the same key, so neither is read a second time.
"""

from threading import Lock
from time import monotonic

from plasmid.core.errors import Cancelled, DeadlineExceeded, PlasmidError
from plasmid.service.invokers import (
    NO_REPLY,
    Invoker,
    Request,
    answerable,
    attempt,
    check_is_wanted,
    current_job,
    fail,
    numbers,
    overloaded,
)
from plasmid.service.methods import ASYNC

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Tuple

    from plasmid.service.interfaces import Buffer, Message

try:
    from _blake2 import blake2b  # hashlib would load OpenSSL for it
except ImportError:
    from hashlib import blake2b

KEY_SIZE = 32
# Arguments whose key is remembered, and the bytes that each may be.
KNOWN_MAX = 256
KNOWN_SIZE_MAX = 1024
# How many responses that aren't kept are remembered a while, and the bytes that each may be.
LAST_MAX = 64
LAST_SIZE_MAX = 64 << 10
# How many requests are looked at in one go, before the thread may be wanted elsewhere.
BATCH_MAX = 64


class Response:
    """What came of one execution: the encoded result, or the error, or neither after NO_REPLY. Kept until `expires`."""

    __slots__ = "parts", "error", "expires", "size"

    def __init__(self, parts: "Optional[List[Buffer]]", error: "Optional[BaseException]") -> None:
        self.parts = parts
        self.error = error
        self.expires = None  # type: Optional[float]
        self.size = sum(map(len, parts or ()))


class Run:
    """One execution that is under way, or about to be, and those who wait for it."""

    __slots__ = "parked", "later", "is_stale"

    def __init__(self) -> None:
        self.parked = []  # type: List[Request]
        self.later = []  # type: List[Request]
        self.is_stale = False


class Responses:
    """The keys of one invoker. Owned by the invoker's lock."""

    RUN = "run"  # this request is to make the response
    PARKED = "parked"  # it gets the response that is being made
    FULL = "full"  # too many wait already

    def __init__(self, entries_max: int, size_max: int, parked_max: int) -> None:
        self.entries_max = entries_max
        self.size_max = size_max
        self.parked_max = parked_max
        self.parked = 0
        self.size = 0  # bytes of the responses that are kept
        self._runs = {}  # type: Dict[bytes, Run]
        # In the order of their last use.
        self._kept = {}  # type: Dict[bytes, Response]
        # Of the last executions whose response wasn't kept: it, and which requests had come by then. A thread may have
        # taken one of those in hand, and not have looked at it yet when the execution ended.
        self._last = {}  # type: Dict[bytes, Tuple[int, Response]]

    def admit(self, key: bytes, request: Request, now: float) -> "Tuple[str, Optional[Response]]":
        """Return what is to be done with a request, and the response if it is there already."""
        kept = self._kept.get(key)
        if kept is not None:
            del self._kept[key]
            if kept.expires is None or now < kept.expires:
                self._kept[key] = kept
                return self.PARKED, kept
            self.size -= kept.size
        came_before, last = self._last.get(key, (0, None))
        if request.number < came_before:
            return self.PARKED, last
        run = self._runs.get(key)
        if run is None:
            self._runs[key] = Run()
            return self.RUN, None
        if self.parked >= self.parked_max:
            return self.FULL, None
        self.parked += 1
        (run.later if run.is_stale else run.parked).append(request)
        return self.PARKED, None

    def take_parked(self, key: bytes) -> "List[Request]":
        """Return and forget those who wait for the execution of `key` so far."""
        run = self._runs[key]
        parked, run.parked = run.parked, []
        self.parked -= len(parked)
        return parked

    def finish(self, key: bytes, response: Response, keep: bool) -> "Tuple[List[Request], Optional[Request]]":
        """End the execution of `key`. Return who gets its response, and the request that has to run next, if any."""
        parked = self.take_parked(key)
        run = self._runs.pop(key)
        if keep and not run.is_stale and self.entries_max > 0 and response.size <= self.size_max:
            self._kept[key] = response
            self.size += response.size
            while len(self._kept) > self.entries_max or self.size > self.size_max:
                self._drop(next(iter(self._kept)))
        elif not run.is_stale and response.size <= LAST_SIZE_MAX:
            self._last.pop(key, None)
            self._last[key] = next(numbers), response
            if len(self._last) > LAST_MAX:
                del self._last[next(iter(self._last))]
        return parked, self._next_run(key, run.later)

    def pass_on(self, key: bytes) -> "Optional[Request]":
        """End an execution that made no response. Return the request that has to run in its place, if any waits."""
        run = self._runs.pop(key)
        return self._next_run(key, run.parked + run.later)

    def _next_run(self, key: bytes, waiting: "List[Request]") -> "Optional[Request]":
        if not waiting:
            return None
        run = self._runs[key] = Run()
        run.parked = waiting[1:]
        self.parked -= 1
        return waiting[0]

    def forget(self, key: bytes) -> None:
        """Have the next request for `key` run anew, after the execution that is under way, if one is."""
        self._drop(key)
        run = self._runs.get(key)
        if run is not None:
            run.is_stale = True

    def _drop(self, key: bytes) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self.size -= kept.size

    def abandon(self) -> "List[Request]":
        """Return and forget everyone who waits."""
        waiting = []  # type: List[Request]
        for run in self._runs.values():
            waiting += run.parked + run.later
            run.parked, run.later = [], []
        self.parked = 0
        return waiting


class DeduplicatingInvoker(Invoker):
    """Runs one call of each kind, and gives its result to all who ask the same: then, and while it is cached.

    "The same" is the same method with equal arguments of the same types, asked with the same authority. An error goes
    to those who waited for it. Only one thread is busy with a key, however many wait.
    """

    max_queued = 16384
    # Results kept; the one not asked for the longest goes first. 0 shares results only while the method runs.
    max_entries = 1000
    # Bytes of all results kept; a larger one isn't.
    max_bytes = 16 << 20
    # Seconds that a result is kept; None is as long as there is room.
    max_age_s = None  # type: Optional[float]
    # Whether an error is kept like a result.
    cache_errors = False
    # Whether callers with a parent's authority and those without share results.
    is_shared = False

    def __init__(self, service: "Any") -> None:
        super().__init__(service)
        for method in type(service).exposed.values():
            if method.is_stream:
                found = "%s is %s, and a %s shares results; it has none to share"
                raise TypeError(found % (method.title, method.kind, type(self).__name__))
        self._lock = Lock()
        self._responses = Responses(self.max_entries, self.max_bytes, self.max_queued)
        # What arguments were read already, and their keys. Which key some bytes have never changes.
        self._known = {}  # type: Dict[Any, bytes]
        self._makes_own_keys = type(self).key_from_request is not DeduplicatingInvoker.key_from_request

    def key_from_request(self, method_name: "Optional[str]", kwargs: "Any", msg: "Message") -> "Any":
        """Return what makes two requests the same: any value that could be sent. Override to leave arguments out."""
        return (method_name, kwargs)

    def get_response(self, args: "Any") -> "Any":
        """Return the response to a call with `args`, on the one thread of its key. Override to make it otherwise."""
        job = current_job()
        return super().invoke(job.method, args, job)

    def invoke(self, method_name: "Optional[str]", kwargs: "Any", msg: "Message") -> "Any":
        return self.get_response(kwargs)

    def forget(self, key: "Any") -> None:
        """Drop what is cached under `key`, a value as key_from_request() returns it.

        An execution that is under way still answers those who asked before; whoever asks from now on waits for another.
        """
        with self._lock:
            for is_parent in (True, False):
                self._responses.forget(digest([is_parent or self.is_shared, key]))

    def serve(self, request: Request) -> None:
        if request.key is not None or self._admit(request):
            self._execute(request)
        elif self.backlog is not None:
            # Where one was parked there are often more.
            self._put_back([other for other in self.backlog.take(BATCH_MAX) if self._admit(other)])

    def _admit(self, request: Request) -> bool:
        """Return True if the request is to run. Else it is answered by now, or parked."""
        _, error = attempt(self._read_key, request)
        if error is not None:
            self.answer(request, None, error)
            return False
        assert request.key is not None
        with self._lock:
            verdict, response = self._responses.admit(request.key, request, monotonic())
        if response is not None:
            self._give(response, request)
        elif verdict is Responses.FULL:
            self.answer(request, None, overloaded(request.job))
        return verdict is Responses.RUN

    def _read_key(self, request: Request) -> None:
        """Find the key of a request that may be served. Its arguments are read only if they weren't seen before."""
        method = self.permit(request)
        job = request.job
        same = None  # type: Any
        if job.size <= KNOWN_SIZE_MAX and not self._makes_own_keys:
            same = job.method, job.from_parent, bytes(job.payload)
            request.key = self._known.get(same)
            if request.key is not None:
                return
        self.take_args(request, method)
        key = self.key_from_request(job.method, request.args, job)
        request.key = digest([self.is_shared or job.from_parent, key])
        if same is not None:
            if len(self._known) >= KNOWN_MAX:
                self._known = {}
            self._known[same] = request.key

    def _execute(self, request: Request) -> None:
        key = request.key
        assert key is not None
        response = self._respond(request)
        if response is None:
            with self._lock:
                heir = self._responses.pass_on(key)
            self._put_back([] if heir is None else [heir])
            return
        with self._lock:
            parked = self._responses.take_parked(key)
        # Those who could be answered first aren't kept waiting by the rest.
        self._broadcast(response, [request] + parked)
        # While the method ran there may have been no thread to look at who else came. They came in time to share.
        arrived = self.backlog.take(self.max_queued) if self.backlog is not None else []
        runners = [other for other in arrived if self._admit(other)]
        keep = response.parts is not None or (response.error is not None and self.cache_errors)
        if self.max_age_s is not None:
            response.expires = monotonic() + self.max_age_s
        with self._lock:
            parked, heir = self._responses.finish(key, response, keep)
        self._put_back(runners if heir is None else runners + [heir])
        self._broadcast(response, parked)

    def _respond(self, request: Request) -> "Optional[Response]":
        """Return what came of running a request; None if only its own end stopped it, which is nobody else's."""
        from plasmid.core.values import encode

        result, error = attempt(self._run, request)
        job = request.job
        if isinstance(error, (Cancelled, DeadlineExceeded)) and _has_ended(job):
            job.fail(answerable(request, error))
            return None
        if error is None and result is not NO_REPLY:
            # Encoded once, here: a result that can't be sent is an error for everyone and isn't cached, and a cached
            # one can't be changed by the method that returned it.
            sent = None if request.method is not None and request.method.is_no_reply else result
            parts, error = attempt(encode, sent, "result")
            if error is None:
                # What the method returned may be a buffer that it goes on writing to.
                return Response([part if type(part) is bytes else bytes(part) for part in parts], None)
        response = Response(None, error if error is None else answerable(request, error))
        # Its traceback holds the arguments.
        response.size = job.size
        return response

    def _run(self, request: Request) -> "Any":
        if request.args is None and request.method is not None:
            self.take_args(request, request.method)  # it was parked, and runs in place of another now
        check_is_wanted(request.job)
        result = self.run(request)
        if request.method is not None and request.method.kind is ASYNC and hasattr(result, "__await__"):
            # This thread waits for it: one for each key, as for other methods.
            if self.backlog is None:
                raise PlasmidError("%s is %s; only a pool can run it" % (request.method.title, ASYNC))
            return self.backlog.event_loop().result(request, result)
        return result

    def _put_back(self, requests: "List[Request]") -> None:
        if requests and self.backlog is not None:
            self.backlog.give_back(requests)
        elif requests:
            # Without a pool there is no other thread.
            for request in requests:
                self._execute(request)

    def _broadcast(self, response: Response, requests: "List[Request]") -> None:
        for request in requests:
            self._give(response, request)

    def _give(self, response: Response, request: Request) -> None:
        if response.error is not None:
            fail(request, response.error)
        elif response.parts is not None:
            request.job.reply_encoded(response.parts)

    def abandon(self) -> "List[Request]":
        with self._lock:
            return self._responses.abandon()


def digest(value: "Any") -> bytes:
    """Return 32 bytes that are the same for equal values of the same types, and for no others.

    Order counts in lists, not in dicts and sets. Of fixed size, so that a key costs the same however large the
    arguments were. Raises UnsendableValue on what couldn't have come in a message.
    """
    kind = type(value)
    tag = "%s.%s" % (kind.__module__, kind.__qualname__)
    if isinstance(value, dict):
        pieces = sorted(digest(key) + digest(item) for key, item in value.items())
    elif isinstance(value, (set, frozenset)):
        pieces = sorted(digest(item) for item in value)
    elif isinstance(value, (list, tuple)):
        pieces = [digest(item) for item in value]
    elif hasattr(kind, "__dataclass_fields__"):
        pieces = [digest(getattr(value, name)) for name in sorted(kind.__dataclass_fields__)]
    else:
        pieces = _leaf(value, kind)
    # Each piece is of the same size, or there is but one: no two lists of pieces read the same.
    return blake2b(b"".join([tag.encode(), b"\0"] + pieces), digest_size=KEY_SIZE).digest()


def _leaf(value: "Any", kind: type) -> "List[bytes]":
    if kind is str:
        return [value.encode("utf-8", "surrogatepass")]
    if kind is bytes:
        return [value]
    # The encoding tells everything apart that a message can: NaN is one value, 0.0 and -0.0 are two.
    from plasmid.core.values import encode

    return [b"".join(encode(value, "key"))]


def _has_ended(job: "Message") -> bool:
    """Say whether nobody waits for the answer of `job`: it was cancelled, or its deadline is over."""
    return job.cancelled or job.done or (job.deadline is not None and monotonic() >= job.deadline)
