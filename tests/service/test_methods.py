"""The table of a service class: what is in it, what is refused when it is made, and which arguments it lets through."""

import dataclasses
import functools
from typing import Any

import pytest

from plasmid.core.errors import Refused
from plasmid.service import AllowAny, AllowParents, Service, arg_spec, expose, idempotent, no_reply
from plasmid.service.methods import Method


def decorated(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


class Base(Service):
    @expose(AllowParents())
    def first(self, path: str, depth: int = 1) -> int:
        return depth

    @expose(AllowParents())
    def second(self) -> None: ...

    def plain(self) -> None: ...


class Derived(Base):
    def second(self) -> None: ...  # type: ignore[override]  # without @expose: out of reach

    @expose(AllowAny())
    @expose(AllowParents())
    def both(self) -> None: ...

    @expose(AllowParents())
    @decorated
    def wrapped(self, path: str, *, limit: "int | None" = None) -> None: ...

    @expose(AllowParents())
    def seeing(self, msg, path: str) -> None: ...  # type: ignore[no-untyped-def]

    @expose(AllowParents())
    def saying(self, msg: str) -> None: ...

    @expose(AllowParents())
    def open(self, path: str, **others: int) -> None: ...

    @expose(AllowParents())
    @arg_spec({"path": str, "size": int})
    def specified(self, path, size=None, note: int = 0):  # type: ignore[no-untyped-def]
        ...

    @expose(AllowParents())
    def vague(self, path: str = None, size: float = 0.5) -> None: ...  # type: ignore[assignment]  # noqa: RUF013


def method(name: str) -> Method:
    return Derived.exposed[name]


def refusal(name: str, args: Any) -> str:
    with pytest.raises(Refused) as error:
        method(name).check(None, args)
    assert error.value.started is False
    return str(error.value)


# S1
def test_the_table_holds_exposed_methods_only_and_overrides_hide_what_they_override() -> None:
    assert list(Base.exposed) == ["first", "second"]
    assert sorted(str(name) for name in Derived.exposed) == [
        *("both", "first", "open", "saying", "seeing", "specified", "vague", "wrapped")
    ]
    assert Service.exposed == {}


# S18
def test_expose_may_be_given_several_times_and_all_policies_count() -> None:
    assert [repr(policy) for policy in method("both").policies(None)] == ["AllowAny()", "AllowParents()"]


def test_a_class_that_defines_dispatch_has_it_in_the_table() -> None:
    class Older(Service):
        def dispatch(self, args: Any, msg: Any) -> Any: ...

    class Newer(Older):
        @expose(AllowParents())
        def ping(self) -> None: ...

    assert set(Newer.exposed) == {None, "ping"}


def make(name: str, value: Any, *bases: type) -> None:
    type("Bad", bases or (Service,), {name: value})


def marked(function: Any) -> Any:
    return expose(AllowParents())(function)


def generator(self: Any) -> Any:
    yield 1


async def coroutine(self: Any) -> None: ...


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("_hidden", marked(lambda self: 0), "Bad._hidden can't be exposed: names that begin with _ are private"),
        (
            "on_shutdown",
            marked(lambda self: 0),
            "Bad.on_shutdown can't be exposed: the name has a meaning of its own in every service",
        ),
        (
            "f",
            staticmethod(marked(lambda: 0)),
            "Bad.f is a staticmethod; @expose stands on plain methods, as the outermost decorator",
        ),
        (
            "f",
            property(marked(lambda self: 0)),
            "Bad.f is a property; @expose stands on plain methods, as the outermost decorator",
        ),
        (
            "f",
            functools.lru_cache(marked(lambda self: 0)),
            "Bad.f is a _lru_cache_wrapper; @expose stands on plain methods, as the outermost decorator",
        ),
        ("f", marked(lambda: 0), "Bad.f takes no self; only methods can be exposed"),
        ("f", marked(lambda self, *rest: 0), "Bad.f has *rest, but calls carry their arguments by name"),
        (
            "f",
            marked(lambda self, a, /: 0),
            "Bad.f has positional-only arguments, but calls carry their arguments by name",
        ),
        (
            "f",
            expose(AllowParents())(no_reply()(generator)),
            "Bad.f is a generator and @no_reply: nobody would get its items",
        ),
        (
            "f",
            expose(AllowParents())(idempotent()(coroutine)),
            "Bad.f is an async function and @idempotent, but only calls that are waited for are sent again",
        ),
        (
            "f",
            marked(idempotent()(no_reply()(lambda self: 0))),
            "Bad.f is @no_reply and @idempotent, but only calls that are waited for are sent again",
        ),
        ("dispatch", generator, "Bad.dispatch is a generator; calls of the older form have one answer"),
        ("f", marked(arg_spec({"b": int})(lambda self, a: 0)), "@arg_spec of Bad.f names 'b', which it doesn't take"),
        ("policies", (AllowParents,), f"a policy is needed here, not {AllowParents!r}; write AllowParents()"),
    ],
)
def test_what_cannot_be_exposed_is_an_error_when_the_class_is_made(name: str, value: Any, message: str) -> None:
    with pytest.raises(TypeError) as error:
        make(name, value)
    assert str(error.value) == message


def test_an_exposed_method_of_a_class_that_is_no_service_is_an_error() -> None:
    mixin = type("Mixin", (), {"f": marked(lambda self: 0)})
    with pytest.raises(TypeError) as error:
        make("g", 1, mixin, Service)
    assert str(error.value) == "Mixin.f is exposed, but Mixin is no Service; derive it from Service"


def test_a_decorator_without_its_brackets_is_an_error() -> None:
    with pytest.raises(TypeError, match="a policy is needed here, not <function"):
        expose(lambda self: 0)  # type: ignore[arg-type]
    with pytest.raises(TypeError) as error:
        no_reply()(staticmethod(len))
    assert str(error.value) == "@no_reply stands directly above a method's def, beneath any @staticmethod"


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("first", {"path": "/"}),
        ("first", {"path": "/", "depth": 2}),
        ("wrapped", {"path": "/", "limit": None}),
        ("seeing", {"path": "/"}),
        ("saying", {"msg": "hello"}),
        ("open", {"path": "/", "anything": object()}),
        ("specified", {"path": "/", "size": 1}),
        ("specified", {"path": "/", "size": 1, "note": "not checked"}),
        ("vague", {"path": None, "size": 1}),
    ],
)
def test_arguments_that_fit_pass(name: str, args: "dict[str, Any]") -> None:
    method(name).check(None, args)


# S17
@pytest.mark.parametrize(
    ("name", "args", "message"),
    [
        ("first", {}, "Derived.first: the required argument 'path' (str) is missing"),
        ("first", {"path": b"/"}, "Derived.first: argument 'path': expected str, got bytes"),
        ("first", {"path": None}, "Derived.first: argument 'path': expected str, got None"),
        ("first", {"path": "/", "depth": True}, "Derived.first: argument 'depth': expected int, got bool"),
        ("first", {"path": "/", "self": 1}, "Derived.first: it takes no argument 'self', only path, depth"),
        ("first", {"path": "/", "\x1b": 1}, "Derived.first: it takes no argument '\\x1b', only path, depth"),
        ("first", {"path": "/", 1: 1}, "Derived.first: it takes no argument of type int, only path, depth"),
        ("first", [1], "Derived.first: its arguments are a dict of names and values, not list"),
        ("both", {"x": 1}, "Derived.both: it takes no argument 'x', it takes none"),
        ("wrapped", {"path": "/", "limit": "1"}, "Derived.wrapped: argument 'limit': expected int or None, got str"),
        ("seeing", {"path": "/", "msg": 1}, "Derived.seeing: it takes no argument 'msg', only path"),
        ("open", {"path": "/", "self": 1}, "Derived.open: it takes no argument 'self', only path"),
        ("specified", {"path": "/"}, "Derived.specified: the required argument 'size' (int) is missing"),
        ("specified", {"path": "/", "size": None}, "Derived.specified: argument 'size': expected int, got None"),
        ("specified", {"path": "/", "size": True}, "Derived.specified: argument 'size': expected int, got bool"),
        (
            "specified",
            {"path": "/", "size": 1, "x": 1},
            "Derived.specified: it takes no argument 'x', only path, size, note",
        ),
        ("vague", {"size": "1"}, "Derived.vague: argument 'size': expected float, got str"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_by_name_and_type(name: str, args: Any, message: str) -> None:
    assert refusal(name, args) == message


def test_an_argument_called_msg_gets_the_message_only_where_callers_cannot_mean_it() -> None:
    assert [name for name in ("seeing", "saying", "first") if method(name).takes_msg] == ["seeing"]


def test_arguments_are_bound_to_names_as_in_a_local_call() -> None:
    assert method("first").bind(("/",), {}) == {"path": "/"}
    assert method("first").bind(("/", 3), {}) == {"path": "/", "depth": 3}
    assert method("first").bind((), {"depth": 3, "path": "/"}) == {"depth": 3, "path": "/"}
    assert method("open").bind((), {"path": "/", "x": 1}) == {"path": "/", "x": 1}


@pytest.mark.parametrize(
    ("positional", "named", "message"),
    [
        ((1, 2, 3), {}, "Derived.first() takes 2 positional arguments but 3 were given"),
        ((1,), {"path": 2}, "Derived.first() got multiple values for argument 'path'"),
        ((1,), {"x": 2}, "Derived.first() got an unexpected argument 'x', only path, depth"),
        ((), {}, "Derived.first() is missing 'path'"),
    ],
)
def test_a_slip_in_a_call_is_a_type_error_before_anything_is_sent(positional: Any, named: Any, message: str) -> None:
    with pytest.raises(TypeError) as error:
        method("first").bind(positional, named)
    assert str(error.value) == message


@dataclasses.dataclass
class Size:
    bytes: int


def test_classes_in_annotations_are_declared_and_no_others() -> None:
    class Holder(Service):
        @expose(AllowParents())
        def take(self, size: Size, sizes: "list[Size] | None" = None) -> "dict[str, Size]":
            return {}

        @expose(AllowParents())
        def count(self, number: int) -> int:
            return number

    take, count = Holder.exposed["take"], Holder.exposed["count"]
    name = f"{__name__}:Size"
    for lookup in (take.classes(), take.result_classes()):
        assert lookup is not None
        assert (lookup(name), lookup("os:system")) == (Size, None)
    assert (count.classes(), count.result_classes()) == (None, None)


def test_an_annotation_that_means_nothing_refuses_the_call_and_says_why() -> None:
    class Vague(Service):
        @expose(AllowParents())
        def take(self, size: "Sizzle") -> None: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(Refused) as error:
        Vague.exposed["take"].check(None, {"size": 1})
    assert "the annotation of argument 'size' can't be checked: the name 'Sizzle' is not defined" in str(error.value)
