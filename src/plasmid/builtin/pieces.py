"""Far side: ask the parent for a module, and take what comes along piece by piece.

    here                                   the parent
    find names=[shop] question=7   ──────>
                                   <──────  plasmid.pieces take: question=7, found=[shop], coming=[shop.goods, tax]
    imports shop meanwhile                  reads and packs what that will want next
                                   <──────  plasmid.pieces take: question=7, found=[shop.goods], coming=[shop.till]
                                   <──────  the reply: found=[tax, shop.till], pieces=2

So this side loads what it has while the parent still packs the rest. What was said to be coming isn't asked for again:
who wants it waits for the next piece. What doesn't come after all is known when the question has ended, that is, when
its reply is here and as many pieces as that says; then it is asked for. If the link is lost or the question fails
meanwhile, those who wait ask themselves, and get the error that there is.

Pieces are calls without a reply, and nobody but the parent may make them. They wait as they came, until a thread wants
a module that isn't here; that thread takes them in.
"""

import threading
from time import monotonic

from plasmid.core.errors import Refused
from plasmid.runtime import importer, missing
from plasmid.runtime.context import Context
from plasmid.runtime.main import IMPORT_TIMEOUT_S, _ask_parent
from plasmid.runtime.ports import Port, guard

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import deque
    from typing import Any, Callable, Deque, Dict, List, Optional, Set, Tuple, Union

    from plasmid.runtime.context import Call
    from plasmid.runtime.jobs import Job
    from plasmid.runtime.runtime import Runtime
else:
    from _collections import deque

SERVICE = "plasmid.pieces"


class Question:
    """A question to the parent that hasn't ended.

    told: names of which it is known that they won't come. arrived: how many pieces are here. sent: how many there are,
    None until the reply says so. error: why there is no reply.
    """

    __slots__ = ("call", "told", "arrived", "sent", "error")

    def __init__(self) -> None:
        self.call = None  # type: Optional[Call]
        self.told = set()  # type: Set[str]
        self.arrived = 0
        self.sent = None  # type: Optional[int]
        self.error = None  # type: Optional[BaseException]

    @property
    def has_ended(self) -> bool:
        return self.sent is not None and self.arrived >= self.sent


class Wait(Port):
    """One thread's wait for the next thing to happen in `arrivals`."""

    def __init__(self, arrivals: "Arrivals") -> None:
        self._arrivals = arrivals
        self._taken = arrivals.taken

    def has(self) -> bool:
        """Whether something came, or another thread has taken something in."""
        return bool(self._arrivals.came) or self._arrivals.taken != self._taken


class Arrivals:
    """What is on its way here from the parent. Any thread.

    came: pieces, and questions whose calls have ended, that nobody has looked at; taken: how many somebody has. coming:
    names that are on their way, and the question that brings them. asked: how many questions were asked.
    """

    def __init__(self, runtime: "Runtime", own: "importer.Importer") -> None:
        self.came = deque()  # type: Deque[Union[Job, Question]]
        self.taken = 0
        self.coming = {}  # type: Dict[str, Question]
        self.asked = 0
        self._open = {}  # type: Dict[int, Question]
        self._waits = ()  # type: Tuple[Wait, ...]
        self._runtime = runtime
        self._own = own
        self._parent = Context(runtime, runtime.node.address[:-4])
        runtime.jobs.builtin[SERVICE] = _not_run
        runtime.jobs.in_order[SERVICE] = self  # type: ignore[assignment]

    # -- in the place of threads for calls whose order matters, see Jobs

    def run(self, fn: "Callable[..., object]", args: "Tuple[Any, ...]") -> None:
        """Keep a piece until somebody needs it. Under the router lock."""
        job = args[1]  # type: Job
        if job.source != self._parent.address:
            raise Refused("", "", "only the parent sends modules")
        self._put(job)

    def close(self) -> None:
        """There is nothing to end."""

    # -- any thread

    def bring(self, name: str) -> bool:
        """Have a module here, or know why not; False if neither is so. Raises how the question ended, if it failed."""
        self.take_in()
        while not self._is_known(name) and name in self.coming:
            question = self.coming.get(name)
            if question is not None and self._await(name, question):
                return True
        if self._is_known(name):
            return True
        question = self._ask(name)
        if self._await(name, question):
            return True
        if question.error is not None:
            raise question.error
        return False

    def _is_known(self, name: str) -> bool:
        """Whether the module is here, or was said not to come, a moment ago."""
        absent = missing.current.absent.get(name, 0.0) if missing.current is not None else 0.0
        return name in self._own.modules or absent > monotonic()

    def settle(self, name: str) -> None:
        """Have a module here that the parent says it has sent."""
        self.take_in()
        for question in list(self._open.values()) if name else ():
            self._await(name, question)

    def take_in(self) -> None:
        """Take in what has come."""
        while self.came:
            try:
                item = self.came.popleft()
            except IndexError:  # another thread has it
                return
            try:
                if isinstance(item, Question):
                    self._take_reply(item)
                else:
                    self._take_piece(item)
            finally:
                with guard:
                    self.taken += 1
                    self._wake()

    def _ask(self, name: str) -> Question:
        question = Question()
        self.asked += 1
        number = self.asked
        self._open[number] = question
        # Not the deadline of the call that happens to import: a module half brought in helps nobody.
        deadline = monotonic() + IMPORT_TIMEOUT_S
        arguments = {"names": [name], "question": number}
        try:
            call = self._parent.send_call("s", "plasmid.modules", "find", arguments, deadline=deadline)
        except BaseException:
            del self._open[number]
            raise
        assert call is not None
        question.call = call
        call.when_ended(lambda: self._put(question))
        return question

    def _await(self, name: str, question: Question) -> bool:
        """Wait until the module is here, or known not to come; False if the question has ended without either."""
        while True:
            self.take_in()
            if name in self._own.modules or name in question.told:
                return True
            if question.has_ended:
                return False
            wait = Wait(self)
            wait.parker = self._runtime.loop.park
            with guard:
                self._waits += (wait,)
                try:
                    wait.wait(None)
                finally:
                    self._waits = tuple(each for each in self._waits if each is not wait)

    def _put(self, item: "Union[Job, Question]") -> None:
        with guard:
            self.came.append(item)
            self._wake()

    def _wake(self) -> None:
        for wait in self._waits:
            wait.wake(everyone=True)

    def _take_piece(self, job: "Job") -> None:
        question = None  # type: Optional[Question]
        try:
            piece = job.args()
            question = self._open.get(piece["question"])
            self._take(question, piece)
            if question is not None:
                for name in piece["coming"]:
                    self.coming.setdefault(name, question)
        finally:
            job.reply(None)
            if question is not None:
                with guard:
                    question.arrived += 1  # be it that Ctrl-C came in between
                self._end(question)

    def _take_reply(self, question: Question) -> None:
        assert question.call is not None
        question.error = question.call.exception(0)
        if question.error is None:
            reply = question.call.result(0)
            self._take(question, reply)
            question.sent = reply.get("pieces", 0)
        else:
            question.sent = 0
        self._end(question)

    def _take(self, question: "Optional[Question]", piece: "Dict[str, Any]") -> None:
        self._own.take(piece)
        told = list(piece["refused"]) + piece["missing"]
        if question is not None:
            question.told.update(told)
        if missing.current is not None:
            for name in told:
                missing.current.keep_absent(name)

    def _end(self, question: Question) -> None:
        """Forget a question that has ended."""
        if not question.has_ended:
            return
        for number in [number for number, each in list(self._open.items()) if each is question]:
            self._open.pop(number, None)
        for name in [name for name, each in list(self.coming.items()) if each is question]:
            self.coming.pop(name, None)


def _not_run(job: "Job") -> None:
    raise AssertionError("pieces are taken in by who wants them")


# What is on its way here, None in a context that hasn't asked for anything yet.
current = None  # type: Optional[Arrivals]
_making = threading.Lock()


def ask(runtime: "Runtime", names: "List[str]") -> "Dict[str, Any]":
    """Ask the parent, and wait for what was asked for; for all of the answer if that is more than one module."""
    global current
    own = importer.current
    assert own is not None
    with _making:
        if current is None:
            current = Arrivals(runtime, own)
    if len(names) != 1 or not current.bring(names[0]):
        return _ask_parent(runtime)(names)
    return {"found": [], "missing": [], "refused": {}, "python": own.python}  # all of it was taken in


def settle(name: str = "") -> None:
    """Take in what has come; wait for a module that the parent says it has sent."""
    if current is not None:
        current.settle(name)
