"""The service `plasmid.lending`: a process that has joined does what this context may do, where that was lent to it.

A joined process is a child, and as such has no authority over anything: each hop sees that its source lies below this
context. So nothing of it is passed on as it is. It asks here, `call`, and this context makes the call itself,
in its own name, and hands the answer back as it came. The loan ends with the link: what was asked for before is
cancelled with it, like all that a lost context waits for, and an address is never given twice.

    call(target, head, payload)   the call whose head and payload these are, packed as in the body of a CALL
    contexts()                    the contexts that this one has started, and that are there

What is called is never looked at here but for its name, which says what module the target may have.
"""

from time import monotonic

from plasmid.core import address as addresses
from plasmid.core import values
from plasmid.core.errors import CallError, Overloaded, Refused
from plasmid.core.flow import OUTBOX_SIZE_MAX
from plasmid.core.values import BUFFERS
from plasmid.runtime.context import Call, Context
from plasmid.runtime.jobs import _is_head, _protocol_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List

    from plasmid.router import Child, Router
    from plasmid.runtime.jobs import Job

SERVICE = "plasmid.lending"
# Each may come to have an answer of any size, which is held here until it has gone.
CALLS_MAX = 256
_OWN_MAIN = (
    "__main__ here is another program than that of the joined process; move what is to be called into a module that "
    "can be imported here"
)


class Lending:
    """Makes calls for those that have joined `router`'s context. handle() runs on helper threads.

    borrowers: who may ask, by address. under_way: how many calls of each are. Both are guarded by the router lock.
    """

    def __init__(self, router: "Router") -> None:
        self.borrowers = {}  # type: Dict[bytes, Child]
        self.under_way = {}  # type: Dict[bytes, int]
        self._router = router
        self._runtime = router.runtime
        self._runtime.jobs.builtin[SERVICE] = self.handle
        self._runtime.on_gone.append(self._forget)

    @classmethod
    def of(cls, router: "Router") -> "Lending":
        """Return that of this router, made when it is first asked for."""
        handler = router.runtime.jobs.builtin.get(SERVICE)
        return cls(router) if handler is None else handler.__self__  # type: ignore[attr-defined]

    def handle(self, job: "Job") -> None:
        """Serve one call."""
        with self._runtime.lock:
            self._check(job)
        if job.method == "call":
            self._call(job)
        elif job.method == "contexts":
            job.reply(self._contexts())
        else:
            raise Refused("", "", "%s has no method %.60r" % (SERVICE, job.method))

    def _check(self, job: "Job") -> None:
        """Raise Refused unless the caller may still ask. Under the router lock."""
        borrower = self.borrowers.get(job.source)
        if borrower is None or borrower.lost or job.cancelled:
            raise Refused("", "", "no authority was lent to %s" % addresses.text(job.source))

    def _contexts(self) -> "List[Context]":
        with self._runtime.lock:
            children = [child for child in self._router.children.values() if child.info and not child.lost]
            return [child.context for child in children if child.context.address not in self.borrowers]

    def _call(self, job: "Job") -> None:
        """Make the call that is asked for, and answer with what comes of it."""
        target, head, payload = _checked(job.args())
        what, name, _ = values.unpack(head)
        where = Context(self._runtime, target)
        # As Context does before a call of its own.
        module = name if what == "f" else name.rpartition(".")[0] if isinstance(name, str) else ""
        if module == "__main__":
            raise Refused("", "", _OWN_MAIN)
        if module and not module.startswith("plasmid."):
            self._runtime.permit(target, module)
        call = None if job.no_reply else Call(where, str(job), None)
        try:
            with self._runtime.lock:
                self._check(job)
                self._check_room(job)
                calls = self._runtime.node.calls
                out = calls.call(target, head, [payload], monotonic(), job.deadline, job.no_reply, call)
                if call is not None:
                    call._out = out
                    call.job = job
                    job.stops.add(call.stop)
                    self.under_way[job.source] = self.under_way.get(job.source, 0) + 1
                self._runtime.loop.settle()
        except CallError as error:
            job._answer(_protocol_error(error), True)
            return
        if call is None:
            job.reply(None)
        else:
            call.when_ended(lambda: self._runtime.defer(self._answer, job, call))

    def _check_room(self, job: "Job") -> None:
        """Raise Overloaded where more is asked than is read. Under the router lock."""
        if self.under_way.get(job.source, 0) >= CALLS_MAX:
            raise Overloaded("", "", "%d calls are made here for %s already" % (CALLS_MAX, job.caller))
        link = self._runtime.node.switch.route(job.source)
        if link is not None and link.outbox.owed_size > OUTBOX_SIZE_MAX:
            raise Overloaded("", "", "more than %d bytes of answers wait to be read by it" % OUTBOX_SIZE_MAX)

    def _answer(self, job: "Job", call: Call) -> None:
        """Hand on the answer as it came: who asked decodes it, under limits of its own."""
        assert call.came is not None
        body, is_error, error = call.came
        if error is not None:
            job._answer(_protocol_error(error), True)
        else:
            assert body is not None
            job._answer([body] if isinstance(body, BUFFERS) else [body.front, body.rest], is_error)
        with self._runtime.lock:
            if job.source in self.borrowers:
                self.under_way[job.source] -= 1

    def _forget(self, address: bytes, reason: str) -> None:
        with self._runtime.lock:
            self.borrowers.pop(address, None)
            self.under_way.pop(address, None)


def _checked(args: "Any") -> "List[Any]":
    """Return the parts of a `call`; Refused if it isn't one."""
    asked = args if isinstance(args, dict) else {}
    target, head, payload = asked.get("target"), asked.get("head"), asked.get("payload")
    if not (
        isinstance(target, bytes) and isinstance(head, bytes) and isinstance(payload, (bytes, bytearray, memoryview))
    ):
        raise Refused("", "", "target, head and payload must be bytes")
    if len(target) > addresses.ADDRESS_SIZE_MAX or len(target) % addresses.STEP_SIZE:
        raise Refused("", "", "target is no address")
    try:
        is_head = _is_head(values.unpack(head))
    except ValueError:
        is_head = False
    if not is_head:
        raise Refused("", "", "head isn't that of a call")
    return [target, head, payload]
