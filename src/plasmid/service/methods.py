"""Methods: what of a service class can be called, by whom, and with which arguments.

The table of a class is made once, when the class is, from the functions that carry @expose; nothing else is ever
looked up by a name that came in a message. A name counts as its class resolves it: an override without @expose
hides the exposed method beneath it. Arguments are checked against the table before the method sees them: by
@arg_spec where there is one, else by the annotations. What an annotation means is worked out at the first call, as it
may name classes that are defined further down; only annotations beyond the plain builtin types need checks.py.
"""

from plasmid.core.errors import Refused
from plasmid.service.fields import SCALARS, Fields
from plasmid.service.policy import AllowAny, AllowParents, Policy, checked_policies

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, FrozenSet, List, Mapping, Optional, Tuple, TypeVar

    from plasmid.runtime.receivers import Sender
    from plasmid.service.interfaces import Classes, Expose, Message

    F = TypeVar("F", bound=Callable[..., Any])

# What decorators leave on a function. functools.wraps() copies them, so other decorators may stand above.
POLICIES = "plasmid_policies"
ARG_SPEC = "plasmid_arg_spec"
NO_REPLY_MARK = "plasmid_no_reply"
IDEMPOTENT_MARK = "plasmid_idempotent"

# Builtin types that are checked without checks.py, and so without a further module on the far side.
PLAIN_TYPES = (bool, int, float, str, bytes, bytearray, list, dict, tuple, set, frozenset)

# Bits of co_flags.
HAS_VAR_POSITIONAL, HAS_VAR_KEYWORD = 0x04, 0x08

# Kinds of methods, as errors name them, and the bit of co_flags that each has.
PLAIN = "a plain method"
STREAM = "a generator"
ASYNC = "an async function"
ASYNC_STREAM = "an async generator"
STREAMS = STREAM, ASYNC_STREAM  # whose callers get an iterator
KINDS = ((0x20, STREAM), (0x80, ASYNC), (0x200, ASYNC_STREAM))

# What the caller of a generator sends along, besides the arguments, which are identifiers: where to put the items.
STREAM_KEY = "->"


def expose(policy: Policy) -> "Expose":
    """Let the callers that `policy` allows call the method. May be given several times: all must allow.

    @expose(AllowParents())
    def free_bytes(self, path: str = "/") -> int:

    The method stays the function that it is. To type checkers it also has the start() that it has on a client.
    """
    checked_policies([policy])

    def mark(function: "Any") -> "Any":
        _check_is_function(function, "@expose")
        # A new tuple each time: functools.wraps() makes functions share what they carry.
        setattr(function, POLICIES, (policy,) + getattr(function, POLICIES, ()))
        return function

    return mark


def arg_spec(spec: "Mapping[str, Any]") -> "Callable[[F], F]":
    """Require arguments of the given types: `@arg_spec({"path": str})`.

    Only these are checked; optional arguments that aren't named here are the method's own to check.
    """

    def mark(function: "F") -> "F":
        _check_is_function(function, "@arg_spec")
        setattr(function, ARG_SPEC, dict(spec))
        return function

    return mark


def no_reply() -> "Callable[[F], F]":
    """Make calls of the method fire and forget: a typed client doesn't wait, and what it returns isn't sent."""
    return _marking(NO_REPLY_MARK, "@no_reply")


def idempotent() -> "Callable[[F], F]":
    """Say that to run the method twice does what once does, so that a call of it that was lost may be sent again.

    Only a client of a supervised context does so, since only that comes back: see Router.supervise().
    """
    return _marking(IDEMPOTENT_MARK, "@idempotent")


def _marking(name: str, decorator: str) -> "Callable[[F], F]":
    def mark(function: "F") -> "F":
        _check_is_function(function, decorator)
        setattr(function, name, True)
        return function

    return mark


FUNCTION = type(expose)


class Method:
    """One exposed method: who may call it, what it takes, how to call it."""

    def __init__(self, owner: type, name: str, function: "Callable[..., Any]") -> None:
        self.title = "%s.%s" % (owner.__name__, name)
        self.name = name
        self.owner = owner
        self.function = function
        self.is_no_reply = bool(getattr(function, NO_REPLY_MARK, False))
        self.is_idempotent = bool(getattr(function, IDEMPOTENT_MARK, False))
        self.own_policies = checked_policies(getattr(function, POLICIES))
        # What needn't be asked at each call: whether all allow anybody, and whether all allow any parent.
        kinds = set(map(type, self.own_policies))
        self.is_open = kinds == {AllowAny}
        self.is_for_parents = bool(kinds) and kinds <= {AllowAny, AllowParents}
        self.spec = getattr(function, ARG_SPEC, None)  # type: Optional[Dict[str, Any]]
        self._checks = None  # type: Optional[Dict[str, Check]]
        # Returns arguments from their payload, checked, or NotImplemented: then see classes() and check().
        self.read = self._learn_to_read  # type: Callable[[Any], Any]
        self._classes = None  # type: Optional[Classes]
        self._result_classes = None  # type: Optional[List[Optional[Classes]]]  # once it is known: [it]
        self._read_signature()
        if self.is_no_reply and self.is_stream:
            raise TypeError("%s is %s and @no_reply: nobody would get its items" % (self.title, self.kind))
        if self.is_idempotent and (self.is_no_reply or self.kind is not PLAIN):
            kind = "@no_reply" if self.is_no_reply else self.kind
            found = "%s is %s and @idempotent, but only calls that are waited for are sent again"
            raise TypeError(found % (self.title, kind))

    def _read_signature(self) -> None:
        """Take the argument names from the code object: `inspect` would cost the far side 30 ms."""
        inner = unwrapped(self.function)
        self.inner = inner
        code = inner.__code__
        self.kind = kind_of(code)
        self.is_stream = self.kind in STREAMS
        if code.co_argcount == 0:
            raise TypeError("%s takes no self; only methods can be exposed" % self.title)
        if getattr(code, "co_posonlyargcount", 0) > 1:
            raise TypeError("%s has positional-only arguments, but calls carry their arguments by name" % self.title)
        if code.co_flags & HAS_VAR_POSITIONAL:
            raise TypeError("%s has *%s, but calls carry their arguments by name" % (self.title, _star_name(code)))

        positional = code.co_varnames[1 : code.co_argcount]
        keyword_only = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
        defaults = inner.__defaults__ or ()
        optional = dict(zip(reversed(positional), reversed(defaults)))
        optional.update(inner.__kwdefaults__ or {})
        annotations = annotations_of(inner)
        self.takes_msg = "msg" in positional + keyword_only and self._is_message(annotations.get("msg"))
        hidden = ("msg",) if self.takes_msg else ()
        self.positional = tuple(name for name in positional if name not in hidden)
        self.names = self.positional + tuple(name for name in keyword_only if name not in hidden)
        spec = self.spec or {}
        self.required = tuple(name for name in self.names if name not in optional and name not in spec) + tuple(spec)
        # Who gives exactly these by name, gives all that there are and all that it takes.
        self.all_names = frozenset(self.names) if set(self.required) <= set(self.names) else None
        # A default of None allows None, whatever the annotation says; what @arg_spec requires, it requires as it says.
        may_be_none = (name for name, value in optional.items() if value is None and name not in spec)
        self.may_be_none = frozenset(may_be_none)  # type: FrozenSet[str]
        self.takes_any = bool(code.co_flags & HAS_VAR_KEYWORD)
        # Whether call() only calls it with the arguments that there are, and what comes of that is the answer.
        self.is_bare = type(self).call is Method.call and not self.takes_msg and self.kind is PLAIN
        # What callers can't give: self, and the message.
        self.hidden = code.co_varnames[:1] + hidden
        for name in spec:
            if name not in self.names and not self.is_open:
                raise TypeError("@arg_spec of %s names %r, which it doesn't take" % (self.title, name))

    def _is_message(self, annotation: "Any") -> bool:
        """Say whether an argument called msg is to get the message, rather than being one that callers give."""
        if self.spec is not None and "msg" in self.spec:
            return False
        name = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", None)
        return annotation is None or str(name).strip("'\"").rpartition(".")[2] in ("Job", "Message")

    def policies(self, service: "Any") -> "Tuple[Policy, ...]":
        """Return the policies of which all must allow a caller of this method of `service`."""
        return self.own_policies

    def call(self, service: "Any", args: "Any", msg: "Message") -> "Any":
        """Call the method with arguments that have passed check()."""
        if self.takes_msg:
            return self.function(service, msg=msg, **args)
        return self.function(service, **args)

    def classes(self) -> "Optional[Classes]":
        """Return the lookup of the classes that the annotations declare, None if they declare none."""
        if self._checks is None:
            self._understand()
        return self._classes

    def check(self, service: "Any", args: "Any") -> None:
        """Raise Refused unless `args` are what the method takes."""
        if type(args) is not dict:
            raise self.refused("its arguments are a dict of names and values, not %s" % type(args).__name__)
        for name in args:
            if type(name) is not str or name in self.hidden or (name not in self.names and not self.takes_any):
                shown = ascii(name)[:80] if type(name) is str else "of type " + type(name).__name__
                raise self.refused("it takes no argument %s, %s" % (shown, self._takes()))
        checks = self._understand()
        for name in self.required:
            if name not in args:
                kind = " (%s)" % checks[name].text if name in checks else ""
                raise self.refused("the required argument %r%s is missing" % (name, kind))
        for name, check in checks.items():
            if name in args and (args[name] is not None or name not in self.may_be_none):
                wrong = check.wrong(args[name], "argument %r" % name)
                if wrong:
                    raise self.refused(wrong)

    def take_sender(self, args: "Any", msg: "Message") -> "Sender":
        """Return where the caller of a generator wants its items, and take it out of the arguments."""
        if type(args) is not dict or STREAM_KEY not in args:
            hint = "call it by context.service(...), or by plasmid.service.stream(context, service, method, ...)"
            raise self.refused("it is %s, and the call doesn't say where to put the items; %s" % (self.kind, hint))
        from plasmid.runtime.receivers import Sender

        sender = args.pop(STREAM_KEY)
        # To the caller itself: a service isn't to be had for sending things to third parties. A parent, whom it obeys,
        # may call for somebody else, as for a process that has joined it.
        if not isinstance(sender, Sender) or not (sender.address == msg.source or msg.from_parent):
            raise self.refused("its items go to a receiver of the caller's, and the call names none")
        return sender

    def bind(self, positional: "Tuple[Any, ...]", named: "Dict[str, Any]") -> "Dict[str, Any]":
        """Return the arguments of a call by name, as the receiving side wants them. Raises TypeError like a call."""
        count = len(self.positional)
        if len(positional) > count:
            found = "takes %d positional argument%s but %d were given" % (count, "s" * (count != 1), len(positional))
            raise TypeError("%s() %s" % (self.title, found))
        args = dict(zip(self.positional, positional))
        for name, value in named.items():
            if name in args:
                raise TypeError("%s() got multiple values for argument %r" % (self.title, name))
            if name in self.hidden or (name not in self.names and not self.takes_any):
                raise TypeError("%s() got an unexpected argument %r, %s" % (self.title, name, self._takes()))
            args[name] = value
        missing = [repr(name) for name in self.required if name not in args]
        if missing:
            raise TypeError("%s() is missing %s" % (self.title, ", ".join(missing)))
        return args

    def result_classes(self) -> "Optional[Classes]":
        """Return the lookup of the classes that a result may name: of the return annotation, and declared ones."""
        if self._result_classes is None:
            from plasmid.service.results import classes_of_result

            self._result_classes = [classes_of_result(self.inner, self._namespaces())]
        return self._result_classes[0]

    def refused(self, found: str) -> Refused:
        """Return the error for a call that this method won't take."""
        return Refused(self.title, "", found)

    def _takes(self) -> str:
        return "only " + ", ".join(self.names) if self.names else "it takes none"

    def _understand(self) -> "Dict[str, Check]":
        """Return the check of each argument that has one, worked out at the first call."""
        checks = self._checks
        if checks is None:
            annotations = annotations_of(self.inner)
            declared = {name: annotations[name] for name in self.names if name in annotations}
            understood = self._compile(declared)
            checks = understood if self.spec is None else self._compile(self.spec)
            if any(check.is_compound for check in understood.values()):
                from plasmid.service.checks import declared_classes

                self._classes = declared_classes(list(understood.values()))
            self._checks = checks
        return checks

    def _learn_to_read(self, payload: "Any") -> "Any":
        kinds = {name: check.cls for name, check in self._understand().items() if type(check) is PlainCheck}
        is_plain = set(kinds) == set(self.names) >= set(self.required) and set(SCALARS) >= set(kinds.values())
        self.read = _cannot_read
        if is_plain and not self.is_stream:
            self.read = Fields((name, kinds[name], name not in self.required) for name in self.names).read
        return self.read(payload)

    def _compile(self, declared: "Mapping[str, Any]") -> "Dict[str, Check]":
        try:
            return compile_checks(declared, self._namespaces())
        except TypeError as error:
            raise self.refused("%s" % error) from error

    def _namespaces(self) -> "List[Dict[str, Any]]":
        return [self.inner.__globals__, dict(vars(self.owner))]


def _cannot_read(payload: "Any") -> "Any":
    return NotImplemented


class Dispatch(Method):
    """The older form: one `dispatch(self, args, msg)` for all calls, guarded by attributes of the class."""

    own_policies = ()
    is_open = is_for_parents = is_bare = False

    def __init__(self, owner: type, function: "Callable[..., Any]") -> None:
        self.title = owner.__name__
        self.name = "dispatch"
        self.owner = owner
        self.function = self.inner = function
        self.is_no_reply = self.is_idempotent = False
        self.read = _cannot_read
        self.hidden = ("self", "msg")
        self.kind = kind_of(getattr(unwrapped(function), "__code__", None))
        self.is_stream = self.kind in STREAMS
        if self.is_stream:
            raise TypeError("%s.dispatch is %s; calls of the older form have one answer" % (self.title, self.kind))

    def policies(self, service: "Any") -> "Tuple[Policy, ...]":
        # Read at each call: whoever changes the attribute later expects it to count.
        return checked_policies(service.policies)

    def call(self, service: "Any", args: "Any", msg: "Message") -> "Any":
        return service.dispatch(args, msg)

    def classes(self) -> "Optional[Classes]":
        return None

    def result_classes(self) -> "Optional[Classes]":
        return None

    def check(self, service: "Any", args: "Any") -> None:
        required = service.required_args
        if not required:
            return
        if type(args) is not dict:
            raise self.refused("its arguments are a dict of names and values, not %s" % type(args).__name__)
        for name, check in self._compile(required).items():
            if name not in args:
                raise self.refused("the required argument %r (%s) is missing" % (name, check.text))
            wrong = check.wrong(args[name], "argument %r" % name)
            if wrong:
                raise self.refused(wrong)


class Check:
    """What one annotation allows. This one, for Any, allows everything. `text` is the annotation as errors show it."""

    # Whether checks.py made it, so that it may name classes of the user's.
    is_compound = True

    def __init__(self, text: str) -> None:
        self.text = text

    def wrong(self, value: "Any", path: str) -> "Optional[str]":
        """Return what is wrong with `value`, which stands at `path`; None if it fits."""
        return None

    def mismatch(self, value: "Any", path: str) -> str:
        """Return the text for a value that doesn't fit."""
        return "%s: expected %s, got %s" % (path, self.text, "None" if value is None else type(value).__name__)

    def add_classes(self, found: "Dict[str, type]") -> None:
        """Put the declared classes of which values may be into `found`, by their names on the wire."""


class PlainCheck(Check):
    """Allows the values of one class. A bool is no int, and an int is a float, as annotations everywhere have it."""

    is_compound = False

    def __init__(self, cls: type) -> None:
        super().__init__("None" if cls is type(None) else cls.__qualname__)
        self.cls = cls

    def wrong(self, value: "Any", path: str) -> "Optional[str]":
        kind = type(value)
        if kind is self.cls or self._takes(value, kind):
            return None
        return self.mismatch(value, path)

    def _takes(self, value: "Any", kind: type) -> bool:
        cls = self.cls
        if kind is bool and cls in (int, float, complex):
            return False
        return isinstance(value, cls) or (cls is float and kind is int) or (cls is complex and kind in (int, float))


def make_table(cls: type, base: type) -> "Dict[Optional[str], Method]":
    """Return what can be called on `cls`, which is derived from `base`: methods by name, dispatch() under None.

    Raises TypeError on an @expose that can't be honoured: silently out of reach would be as bad as silently open.
    """
    table = {}  # type: Dict[Optional[str], Method]
    decided = set()
    for owner in cls.__mro__:
        for name, value in list(vars(owner).items()):
            if name in decided:
                continue
            decided.add(name)
            if owner is not base and name == "dispatch" and issubclass(owner, base):
                table[None] = Dispatch(cls, value)
            if _is_marked(value):
                _check_may_be_exposed(owner, name, value, base)
                table[name] = Method(cls, name, value)
    return table


def _is_marked(value: "Any") -> bool:
    """Say whether @expose stands on a class attribute or beneath what wraps it; only looks into plain __dict__s."""
    for inner in (value, getattr(value, "__func__", None), getattr(value, "fget", None)):
        marks = getattr(inner, "__dict__", None)
        if type(marks) is dict and POLICIES in marks:
            return True
    return False


def _check_may_be_exposed(owner: type, name: str, value: "Any", base: type) -> None:
    title = "%s.%s" % (owner.__name__, name)
    if type(value) is not FUNCTION:
        kind = type(value).__name__
        raise TypeError("%s is a %s; @expose stands on plain methods, as the outermost decorator" % (title, kind))
    if name.startswith("_"):
        raise TypeError("%s can't be exposed: names that begin with _ are private" % title)
    if name in vars(base):
        raise TypeError("%s can't be exposed: the name has a meaning of its own in every service" % title)
    if not issubclass(owner, base):
        raise TypeError("%s is exposed, but %s is no Service; derive it from Service" % (title, owner.__name__))


def compile_checks(declared: "Mapping[str, Any]", namespaces: "List[Dict[str, Any]]") -> "Dict[str, Check]":
    """Return a check for each annotation. Raises TypeError that names the argument where one can't be understood."""
    checks = {}  # type: Dict[str, Check]
    for name, annotation in declared.items():
        if isinstance(annotation, type) and annotation in PLAIN_TYPES:
            checks[name] = PlainCheck(annotation)
            continue
        from plasmid.service.checks import from_annotation

        try:
            checks[name] = from_annotation(annotation, namespaces)
        except TypeError as error:
            raise TypeError("the annotation of argument %r can't be checked: %s" % (name, error)) from error
    return checks


def annotations_of(function: "Any") -> "Dict[str, Any]":
    """Return the annotations of `function` as they were written, strings not resolved."""
    return dict(function.__annotations__)


def unwrapped(function: "Any") -> "Any":
    """Return the function that a user wrote, beneath decorators made with functools.wraps()."""
    for _ in range(32):
        inner = getattr(function, "__wrapped__", None)
        if inner is None or not hasattr(inner, "__code__"):
            break
        function = inner
    return function


def kind_of(code: "Any") -> str:
    """Return which kind of function has this code object, one of the kinds above."""
    for bit, kind in KINDS:
        if code is not None and code.co_flags & bit:
            return kind
    return PLAIN


def _star_name(code: "Any") -> str:
    name = code.co_varnames[code.co_argcount + code.co_kwonlyargcount]
    return str(name)


def _check_is_function(function: object, decorator: str) -> None:
    if not hasattr(function, "__code__"):
        kind = type(function).__name__
        raise TypeError("%s stands directly above a method's def, beneath any @%s" % (decorator, kind))
