"""Fleet: the same call on many contexts, what came of each kept apart.

    with plasmid.Fleet(router.connect_all(hosts)) as fleet:
        for answer in fleet.call(os.getloadavg):
            print(answer.context, answer.value if answer.error is None else answer.error)

There is no thread here: the calls are in flight side by side, and whoever iterates starts the next ones.
"""

from time import monotonic
from typing import Generic, TypeVar

from plasmid.connect.many import end_all
from plasmid.core import values
from plasmid.core.errors import PlasmidError, UnsendableValue
from plasmid.runtime.context import Call, deadline_var
from plasmid.runtime.naming import argument_named, name_of
from plasmid.runtime.ports import Latch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional, Type

    from plasmid.runtime.context import Context
    from plasmid.service.interfaces import Future

    Progress = Callable[[int, int, "Answer[Any]"], object]

T = TypeVar("T")


class Answer(Generic[T]):
    """What came of the call on one context: its value, or the error with which it ended; error is None for a value."""

    __slots__ = "_value", "context", "error"

    def __init__(self, context: "Context", value: "Optional[T]", error: "Optional[BaseException]") -> None:
        self.context = context
        self._value = value
        self.error = error

    @property
    def value(self) -> T:
        """The value; raises the error where there is none."""
        if self.error is not None:
            raise self.error
        return self._value  # type: ignore[return-value]

    def __repr__(self) -> str:
        return "<Answer of %s: %r>" % (self.context, self.error if self.error is not None else self._value)


class Answers(Generic[T]):
    """The answers of one call on many contexts, in the order in which they come. Owner: the thread that iterates.

    Iterating gives each Answer once, and waits for it. results and failures wait for all.
    """

    def __init__(
        self,
        contexts: "List[Context]",
        start: "Callable[[Context], Any]",
        limit: "Optional[int]",
        timeout: "Optional[float]",
        progress: "Optional[Progress]",
    ) -> None:
        self._start = start
        self._limit = limit or len(contexts)
        around = deadline_var.get()
        mine = None if timeout is None else monotonic() + timeout
        self._deadline = mine if around is None else around if mine is None else min(mine, around)
        self._progress = progress
        self._contexts = contexts
        self._waiting = contexts[::-1]
        self._calls = {}  # type: Dict[Call, Context]
        self._ended = Latch()
        self._came = []  # type: List[Answer[T]]
        self._error = None  # type: Optional[BaseException]
        self._start_more()

    def __len__(self) -> int:
        return len(self._contexts)

    def __iter__(self) -> "Iterator[Answer[T]]":
        given = 0
        while given < len(self._came) or len(self._came) < len(self._contexts):
            if given == len(self._came):
                self._take()
            given += 1
            yield self._came[given - 1]

    @property
    def results(self) -> "Dict[Context, T]":
        """The values by context, in the order of the contexts, once all have ended."""
        values = {answer.context: answer._value for answer in self if answer.error is None}
        return {context: values[context] for context in self._contexts if context in values}  # type: ignore[misc]

    @property
    def failures(self) -> "Dict[Context, BaseException]":
        """The errors by context, in the order of the contexts, once all have ended."""
        errors = {answer.context: answer.error for answer in self if answer.error is not None}
        return {context: errors[context] for context in self._contexts if context in errors}

    def values(self) -> "List[T]":
        """Return all values, in the order of the contexts. Raises the error of the first that has none."""
        answers = {answer.context: answer for answer in self}
        return [answers[context].value for context in self._contexts]

    def cancel(self) -> None:
        """Cancel what is in flight and start no more; what was not started fails with Cancelled as well."""
        from plasmid.core.errors import Cancelled

        self._error = Cancelled("the call", "", "it was cancelled before it was started", False)
        for call in list(self._calls):
            call.cancel()

    def _take(self) -> None:
        """Wait for the next one that ends."""
        try:
            item = self._ended.get()
        except BaseException:
            self.cancel()  # Ctrl-C: nobody waits for the rest
            raise
        if isinstance(item, Call):
            error = item.exception(0)
            answer = Answer(self._calls.pop(item), None if error is not None else item.result(0), error)
        else:
            answer = Answer(item[0], None, item[1])
        self._came.append(answer)
        self._start_more()
        if self._progress is not None:
            self._progress(len(self._came), len(self._contexts), answer)

    def _start_more(self) -> None:
        while self._waiting and len(self._calls) < self._limit:
            context = self._waiting.pop()
            token = deadline_var.set(self._deadline)
            try:
                if self._error is not None:
                    raise self._error
                call = self._start(context)
            except UnsendableValue:
                self.cancel()
                raise  # the arguments, which are the same for all
            except PlasmidError as error:
                self._ended.put((context, error))
                continue
            finally:
                deadline_var.reset(token)
            if not isinstance(call, Call):
                raise TypeError("what is to be started on each context is a call with one answer, not %r" % (call,))
            self._calls[call] = context
            call.when_ended(_putting(self._ended, call))


def _putting(latch: Latch, call: Call) -> "Callable[[], None]":
    return lambda: latch.put(call)


class Fleet:
    """A group of contexts, to call all of them at once; as a context manager it ends them when it's left.

    contexts: any, such as those of connect_all(). limit: how many calls are in flight at a time, None for all of them.
    timeout: seconds for all calls of one round together. progress: called with how many of how many have ended, and
    the last Answer, on the thread that takes the answers.
    """

    def __init__(
        self,
        contexts: "Iterable[Context]",
        limit: "Optional[int]" = None,
        timeout: "Optional[float]" = None,
        progress: "Optional[Progress]" = None,
    ) -> None:
        self.contexts = list(contexts)
        if len(set(self.contexts)) < len(self.contexts):
            twice = next(context for context in self.contexts if self.contexts.count(context) > 1)
            raise ValueError("%s is twice among the contexts of a fleet" % twice)
        if limit is not None and limit < 1:
            raise ValueError("limit must be at least 1; it is %r" % (limit,))
        self.limit = limit
        self.timeout = timeout
        self.progress = progress

    def __len__(self) -> int:
        return len(self.contexts)

    def __iter__(self) -> "Iterator[Context]":
        return iter(self.contexts)

    def __repr__(self) -> str:
        return "<Fleet of %d contexts>" % len(self.contexts)

    def __enter__(self) -> "Fleet":
        return self

    def __exit__(self, *error: "Any") -> None:
        self.shutdown()

    def call(self, fn: "Callable[..., T]", *args: "Any", **kwargs: "Any") -> "Answers[T]":
        """Return the answers of fn(*args, **kwargs) on each context, as Context.call() makes it; at once.

        The arguments are encoded now, once for all of them. Long bytes among them aren't copied: they go as they are
        when each call is started.
        """
        what = "%s.%s" % name_of(fn)
        try:
            arguments = values.Encoded(values.encode([list(args), kwargs], what))
        except UnsendableValue as error:
            raise argument_named(error, what) from None
        return self._round(lambda context: context.send_function(fn, arguments, False))

    def each(self, start: "Callable[[Context], Future[T]]") -> "Answers[T]":
        """Return the answers of the call that start(context) starts, for each context.

        `fleet.each(lambda context: context.service(Disk).free_bytes.start("/"))` is typed as the method is.
        """
        return self._round(start)

    def service(self, cls: "Type[Any]") -> "FleetService":
        """Return what calls the methods that `cls` exposes, on each context: fleet.service(Disk).free_bytes("/")."""
        return FleetService(self, cls)

    def shutdown(self) -> None:
        """End every context of it, without waiting for that."""
        end_all(self.contexts)

    def _round(self, start: "Callable[[Context], Any]") -> "Answers[Any]":
        return Answers(self.contexts, start, self.limit, self.timeout, self.progress)


class FleetService:
    """The exposed methods of a service, each called on every context of a fleet; what they give are Answers."""

    __slots__ = "_cls", "_fleet"

    def __init__(self, fleet: Fleet, cls: "Type[Any]") -> None:
        self._fleet = fleet
        self._cls = cls

    def __getattr__(self, name: str) -> "Callable[..., Answers[Any]]":
        method = self._cls.exposed.get(name)
        if method is None:
            known = ", ".join(self.__dir__()) or "nothing"
            raise AttributeError("%s exposes no method %r; it exposes %s" % (self._cls.__name__, name, known))

        def call(*args: "Any", **kwargs: "Any") -> "Answers[Any]":
            if method.is_stream or method.is_no_reply:
                kind = method.kind if method.is_stream else "@no_reply"
                raise TypeError("%s is %s; what is called on each context has one answer" % (method.title, kind))
            arguments = values.Encoded(values.encode(method.bind(args, kwargs), method.title))
            classes = method.result_classes()

            def start(context: "Context") -> "Any":
                service = context.service_name(self._cls)
                return context.send_call("s", service, method.name, arguments, deadline_var.get(), classes=classes)

            return self._fleet.each(start)

        return call

    def __dir__(self) -> "List[str]":
        return sorted(name for name in self._cls.exposed if name is not None)

    def __repr__(self) -> str:
        return "<%s on a fleet of %d contexts>" % (self._cls.__name__, len(self._fleet))
