"""Services come to life when a parent calls them, once, and delay nobody else."""

import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from plasmid.core.errors import Overloaded, Refused
from plasmid.service import Activator, AllowParents, Pool, Service, expose
from plasmid.service.queues import ACTIVATION_WAITING_MAX
from plasmid.testing import ANSWER_TIMEOUT_S, FakeRouter
from tests.service import activated

DISK = "tests.service.activated.Disk"
SLOW = "tests.service.activated.Slow"


@pytest.fixture
def router() -> "Iterator[FakeRouter]":
    """A router at /1 with an empty pool of one thread."""
    activated.made.clear()
    router = FakeRouter("/1")
    pool = Pool(router, size=1)
    yield router
    for _ in range(10):
        activated.go.release()
    pool.close()
    while activated.go.acquire(blocking=False) or activated.begun.acquire(blocking=False):
        pass


def refusal(router: FakeRouter, name: Any, **options: Any) -> str:
    error = router.submit(name, "ping", **options).exception()
    assert isinstance(error, Refused)
    assert error.started is False
    assert error.__traceback__ is None  # else the caller would take it for the method's own
    return error.found


# S2, S13
def test_the_first_call_of_a_parent_brings_the_service_to_life_and_is_served(router: FakeRouter) -> None:
    assert router.submit(DISK, "ping", source="/").result() == "pong"
    assert router.submit(DISK, "ping", source="/1").result() == "pong"
    assert [type(service) for service in activated.made] == [activated.Disk]
    held: object = activated.made[0].router
    assert held is router


# S4
def test_others_are_refused_until_a_parent_has_started_it(router: FakeRouter) -> None:
    expected = "no service of this name is active there, and /2 may not start one: only a parent of that context may"
    assert refusal(router, DISK, source="/2") == expected
    assert activated.made == []
    router.submit(DISK, "ping", source="/").result()
    assert router.submit(DISK, "ping", source="/2").result() == "pong"


# S4
def test_a_refusal_comes_at_once_though_all_threads_are_busy(router: FakeRouter) -> None:
    slow = router.submit(SLOW, "ping")
    assert activated.begun.acquire(timeout=ANSWER_TIMEOUT_S)
    assert "only a parent" in refusal(router, SLOW, source="/2")
    assert not slow.done()


# S2, S11
def test_calls_that_come_while_it_starts_wait_for_it_and_others_do_not(router: FakeRouter) -> None:
    slow = [router.submit(SLOW, "ping") for _ in range(3)]
    assert activated.begun.acquire(timeout=ANSWER_TIMEOUT_S)
    # The pool has one thread; neither an active service nor the start of another waits for this one.
    assert router.submit(DISK, "ping").result() == "pong"
    slow.append(router.submit(SLOW, "ping"))
    assert [call.done() for call in slow] == [False] * 4
    activated.go.release()
    assert [call.result() for call in slow] == ["slow"] * 4
    assert [type(service) for service in activated.made] == [activated.Disk, activated.Slow]


# S11
@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("Disk", "this is not the name of a class, module.Class"),
        ("", "this is not the name of a class, module.Class"),
        ("..Disk", "this is not the name of a class, module.Class"),
        ("os;system.x", "this is not the name of a class, module.Class"),
        ("a" * 600 + ".B", "this is not the name of a class, module.Class"),
        (
            "m.f.<locals>.C",
            "this is not the name of a class, module.Class; a class inside a function can't be imported",
        ),
        (500, "no service has this number here; only names can be looked up"),
        ("os.system", "this is no service: it isn't a class derived from plasmid.Service"),
        ("os.path.join", "this is no service: it isn't a class derived from plasmid.Service"),
        ("os.nothing", "this is no service: it isn't a class derived from plasmid.Service"),
        ("tests.service.activated.Plain", "this is no service: it isn't a class derived from plasmid.Service"),
        ("tests.service.activated.made.append", "this is no service: it isn't a class derived from plasmid.Service"),
        ("tests.service.activated.Disk.ping", "this is no service: it isn't a class derived from plasmid.Service"),
        ("plasmid.service.service.Service", "this is no service: it isn't a class derived from plasmid.Service"),
        ("not_there.Disk", "importing not_there failed: No module named 'not_there'"),
        (
            "tests.service.broken_module.Disk",
            "importing tests.service.broken_module failed: No module named 'a_module_that_is_not_there'",
        ),
    ],
)
def test_what_is_no_service_is_refused_and_never_constructed(router: FakeRouter, name: Any, found: str) -> None:
    assert refusal(router, name) == found


def test_a_class_within_a_class_is_found(router: FakeRouter) -> None:
    assert router.call(activated.Disk.Inner, "ping") == "inner"


def test_a_constructor_that_fails_refuses_all_who_waited_and_is_tried_anew(router: FakeRouter) -> None:
    line = activated.Broken.__init__.__code__.co_firstlineno + 1
    found = f"starting the service failed: SystemExit: no disk here ({activated.__file__}, line {line})"
    name = "tests.service.activated.Broken"
    assert refusal(router, name) == found
    assert refusal(router, name) == found
    assert router.submit(DISK, "ping").result() == "pong"


def test_calls_that_wait_for_a_service_to_start_are_bounded(router: FakeRouter) -> None:
    router.submit(SLOW, "ping")
    assert activated.begun.acquire(timeout=ANSWER_TIMEOUT_S)
    waiting = [router.submit(SLOW, "ping") for _ in range(ACTIVATION_WAITING_MAX)]
    assert isinstance(router.submit(SLOW, "ping").exception(), Overloaded)
    activated.go.release()
    assert {call.result() for call in waiting} == {"slow"}


class Registry(Activator):
    """Knows services by short names, and lets anybody but /9 start them."""

    known: "dict[str | int, type[Service]]"

    def is_permitted(self, service_name: "str | int", msg: Any) -> bool:
        if service_name == "oops":
            raise ValueError("a bug of the activator's")
        return bool(msg.caller.address != b"\0\0\0\x09")

    def activate(self, pool: Any, service_name: "str | int", msg: Any) -> Service:
        if service_name not in self.known:
            return None  # type: ignore[return-value]
        return super().activate(pool, self.known[service_name].name(), msg)


# S3, S11
def test_any_name_reaches_an_activator_of_ones_own_untouched() -> None:
    activated.made.clear()

    class Named(Pool):
        activator_class = Registry

    Registry.known = {"disk": activated.Disk, 7: activated.Disk.Inner}
    router = FakeRouter("/1")
    with Named(router, size=1):
        assert router.submit("disk", "ping", source="/2").result() == "pong"
        assert router.submit(7, "ping").result() == "inner"
        # Under its own name too, and it is the same object.
        assert router.submit(DISK, "ping", source="/9").result() == "pong"
        assert len(activated.made) == 1
        assert refusal(router, "7") == "Registry.activate() returned a NoneType, not a service"
        assert "/9 may not start one" in refusal(router, "tree", source="/9")
        assert "/1 may not start one" in refusal(router, "oops")


def test_a_service_of_a_program_run_as_a_script_is_found_in_main(router: FakeRouter) -> None:
    class Script(Service):
        @expose(AllowParents())
        def ping(self) -> str:
            return "main"

    Script.__module__, Script.__qualname__ = "__main__", "Script"
    main: Any = sys.modules["__main__"]
    main.Script = Script
    try:
        assert router.call(Script, "ping") == "main"
    finally:
        del main.Script


# S4
def test_who_came_first_without_permission_does_not_keep_the_next_from_it() -> None:
    activated.made.clear()
    held, hold = threading.Semaphore(0), threading.Semaphore(0)

    class Slowly(Registry):
        def is_permitted(self, service_name: "str | int", msg: Any) -> bool:
            held.release()
            assert hold.acquire(timeout=ANSWER_TIMEOUT_S)
            return super().is_permitted(service_name, msg)

    class Named(Pool):
        activator_class = Slowly

    Registry.known = {"disk": activated.Disk}
    router = FakeRouter("/1")
    with Named(router, size=1):
        first = router.submit("disk", "ping", source="/9")
        assert held.acquire(timeout=ANSWER_TIMEOUT_S)
        second = router.submit("disk", "ping", source="/2")
        hold.release()
        hold.release()
        assert isinstance(first.exception(), Refused)
        assert second.result() == "pong"
