"""A proxy sends what a local call would mean, and nothing that its class doesn't expose."""

import dataclasses
import time
from typing import Any

import pytest

from plasmid import Overloaded, timeout
from plasmid.service import AllowParents, Proxy, Service, call, expose, no_reply


@dataclasses.dataclass
class Size:
    bytes: int


class Disk(Service):
    handle = 12

    @expose(AllowParents())
    def free(self, path: str = "/", *, unit: int = 1) -> Size:
        return Size(1)

    @expose(AllowParents())
    @no_reply()
    def forget(self) -> None: ...

    def hidden(self) -> None: ...


class Recorder:
    """A context that keeps what is sent to it, and answers every call with "answer"."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.options: dict[str, Any] = {}

    def __str__(self) -> str:
        return "db1 (/1)"

    def service_name(self, service: Any) -> Any:
        return service.name() if isinstance(service, type) else service  # type: ignore[attr-defined]

    def send_call(self, *args: Any, **options: Any) -> Any:
        self.sent.append(args)
        self.options = options
        return None if options.get("no_reply") else self

    def result(self) -> str:
        return "answer"


NAME = f"{__name__}.Disk"


def test_arguments_are_sent_by_name_and_the_result_is_waited_for() -> None:
    context = Recorder()
    disk: Any = Proxy(context, Disk)
    assert disk.free("/var", unit=2) == "answer"
    assert context.sent == [("s", NAME, "free", {"path": "/var", "unit": 2})]
    classes = context.options.pop("classes")
    assert context.options == {"deadline": None, "no_reply": False}
    assert (classes(f"{__name__}:Size"), classes("os:system")) == (Size, None)


def test_a_method_that_is_started_returns_the_call_under_way() -> None:
    context = Recorder()
    disk: Any = Proxy(context, Disk)
    assert disk.free.start() is context
    assert context.sent == [("s", NAME, "free", {})]


def test_a_no_reply_method_is_not_waited_for() -> None:
    context = Recorder()
    disk: Any = Proxy(context, Disk)
    assert disk.forget() is None
    assert (context.sent, context.options["no_reply"]) == ([("s", NAME, "forget", {})], True)
    with pytest.raises(TypeError) as error:
        disk.forget.start()
    found = "is @no_reply: nothing comes of it that could be waited for; just call it"
    assert str(error.value) == f"<Disk.forget on db1 (/1)> {found}"
    assert len(context.sent) == 1


def test_a_timeout_of_the_proxy_counts_from_each_call_and_the_nearer_deadline_holds() -> None:
    context = Recorder()
    disk: Any = Proxy(context, Disk, timeout=1000)
    before = time.monotonic()
    disk.free()
    assert before + 1000 <= context.options["deadline"] <= time.monotonic() + 1000
    with timeout(5):
        disk.free()
    assert context.options["deadline"] <= time.monotonic() + 5


class Full(Recorder):
    """Is overloaded for the first calls, at once or when the answer comes."""

    def __init__(self, times: int, when: str, started: "bool | None" = False) -> None:
        super().__init__()
        self.times, self.when, self.started = times, when, started

    def complain(self, when: str) -> None:
        if when == self.when and len(self.sent) <= self.times:
            error = Overloaded("Disk.free", str(self), "full")
            error.started = self.started  # type: ignore[assignment]  # its class says that it is False
            raise error

    def send_call(self, *args: Any, **options: Any) -> Any:
        super().send_call(*args, **options)
        self.complain("sent")
        return self

    def result(self) -> str:
        self.complain("answered")
        return "answer"


# D9
@pytest.mark.parametrize("when", ["sent", "answered"])
def test_a_call_that_meets_a_full_queue_waits_for_as_long_as_its_client_says(when: str) -> None:
    context = Full(3, when)
    assert Proxy(context, Disk, overload_wait=60).free() == "answer"
    assert context.sent == [("s", NAME, "free", {})] * 4
    for options in ({}, {"overload_wait": 0.02}, {"overload_wait": 60, "timeout": 0.02}):
        context = Full(1000, when)
        with pytest.raises(Overloaded, match="full"):
            Proxy(context, Disk, **options).free()
        assert (len(context.sent) == 1) == (options == {})


# D1, D9
def test_a_call_that_may_have_started_is_not_made_again() -> None:
    context = Full(1, "answered", started=None)
    with pytest.raises(Overloaded):
        Proxy(context, Disk, overload_wait=60).free()
    assert len(context.sent) == 1


def test_a_slip_is_a_type_error_and_nothing_is_sent() -> None:
    context = Recorder()
    disk: Any = Proxy(context, Disk)
    with pytest.raises(TypeError) as error:
        disk.free("/", 2)
    assert str(error.value) == "Disk.free() takes 1 positional argument but 2 were given"
    assert context.sent == []


@pytest.mark.parametrize("name", ["hidden", "router", "on_shutdown", "__len__", "nothing"])
def test_what_is_not_exposed_is_no_attribute(name: str) -> None:
    disk: Any = Proxy(Recorder(), Disk)
    with pytest.raises(AttributeError) as error:
        getattr(disk, name)
    assert str(error.value) == f"Disk exposes no method {name!r}; it exposes forget, free"


def test_it_shows_what_it_is_and_what_it_has() -> None:
    disk: Any = Proxy(Recorder(), Disk)
    assert [repr(thing) for thing in (disk, disk.free)] == ["<Disk on db1 (/1)>", "<Disk.free on db1 (/1)>"]
    assert dir(disk) == ["forget", "free"]


@pytest.mark.parametrize("thing", [int, "Disk", None])
def test_only_a_service_class_can_have_a_proxy(thing: Any) -> None:
    with pytest.raises(TypeError, match=r"a class derived from plasmid\.Service is needed"):
        Proxy(Recorder(), thing)


# S16
@pytest.mark.parametrize(("service", "name"), [(500, 500), ("disk", "disk"), (Disk, NAME)])
def test_the_older_form_calls_without_a_method(service: Any, name: Any) -> None:
    context = Recorder()
    assert call(context, service, {"path": "/"}) == "answer"
    assert call(context, service) == "answer"
    assert context.sent == [("s", name, None, {"path": "/"}), ("s", name, None, {})]
