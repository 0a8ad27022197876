"""Serialized services that call one another: what would wait for itself is refused at once, what wouldn't is served."""

import asyncio
import threading
from typing import Any

import pytest

import plasmid
from plasmid.core.errors import PlasmidError, RemoteError
from plasmid.runtime.ports import Latch
from plasmid.service import AllowAny, Invoker, Pool, SerializedInvoker, Service, expose
from plasmid.service.invokers import Request
from plasmid.testing import ANSWER_TIMEOUT_S
from tests.service.live import acquire

REFUSED = (
    "its caller, or one who waits for its caller, has the only turn of this service until this is answered;"
    " call the method of the object itself, or don't wait"
)


class Front(Service):
    """Serves one call at a time, and calls itself in every way."""

    invoker_class: "type[Invoker]" = SerializedInvoker

    def __init__(self, router: Any) -> None:
        super().__init__(router)
        self.latch = Latch()
        self.begun = threading.Semaphore(0)
        self.started: list[Any] = []

    @property
    def myself(self) -> "Front":
        return self.router.myself().service(Front)

    @expose(AllowAny())
    def echo(self, text: str) -> str:
        return text

    @expose(AllowAny())
    def ask_itself(self) -> str:
        return self.myself.echo("asked")

    @expose(AllowAny())
    async def await_itself(self) -> str:
        return await self.myself.echo.start("awaited")

    @expose(AllowAny())
    def ask_itself_by_way_of(self, hops: int) -> str:
        return self.router.myself().service(Back).ask_front(hops)

    @expose(AllowAny())
    def start_itself(self) -> str:
        self.started.append(self.myself.echo.start("started"))
        return "begun"

    @expose(AllowAny())
    async def have_a_task_await_itself(self) -> str:
        async def ask() -> str:
            return await self.myself.echo.start("by a task")

        self.started.append(asyncio.ensure_future(ask()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return "begun"

    @expose(AllowAny())
    async def ended(self) -> str:
        return str(await self.started.pop())

    @expose(AllowAny())
    def wait_for_another(self) -> str:
        self.begun.release()
        return self.router.myself().service(Back).wait()

    @expose(AllowAny())
    def on_message(self) -> str:
        self.select.add(self.latch)
        return "added"

    def on_message_received(self, event: Any) -> None:
        try:
            self.started.append(self.myself.echo("from a message"))
        except PlasmidError as error:
            self.started.append(error)
        self.begun.release()


class Back(Service):
    """Serves as many as come, and calls Front."""

    def __init__(self, router: Any) -> None:
        super().__init__(router)
        self.go = Latch()

    @expose(AllowAny())
    def ask_front(self, hops: int) -> str:
        me = self.router.myself()
        return me.service(Back).ask_front(hops - 1) if hops > 1 else me.service(Front).echo("asked")

    @expose(AllowAny())
    def wait(self) -> str:
        return str(self.go.get())


class Served:
    """Both in a pool, and a client."""

    def __init__(self, router: plasmid.Router) -> None:
        self.front, self.back = Front(router), Back(router)
        self.pool = Pool(router, [self.front, self.back], size=4)
        self.client = router.myself().service(Front, timeout=ANSWER_TIMEOUT_S)

    def assert_refused(self, call: Any) -> None:
        with pytest.raises(RemoteError) as error:
            call.result(ANSWER_TIMEOUT_S)
        assert error.value.type_name == "plasmid.core.errors.Refused"
        assert error.value.text == f"{__name__}.Front.echo on root (/): {REFUSED}"


@pytest.fixture
def served(router: plasmid.Router) -> Served:
    return Served(router)


# S8
def test_a_serialized_method_that_waits_for_its_own_service_is_told_so_at_once_and_the_line_moves_on(
    served: Served,
) -> None:
    # No call here has a deadline that could end it but the test's own.
    calls = [served.client.ask_itself.start(), served.client.echo.start("next")]
    served.assert_refused(calls[0])
    assert calls[1].result(ANSWER_TIMEOUT_S) == "next"


# S8
def test_so_is_an_async_method(served: Served) -> None:
    served.assert_refused(served.client.await_itself.start())
    assert served.client.echo("next") == "next"


class Lingering(SerializedInvoker):
    """Keeps the thread that has begun an async method until `go` is set."""

    go = threading.Event()

    def serve(self, request: Request) -> None:
        super().serve(request)
        if request.is_detached:
            self.go.wait(ANSWER_TIMEOUT_S)


# S8
def test_so_is_one_that_awaits_before_the_thread_that_began_it_has_let_go(
    router: plasmid.Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Front, "invoker_class", Lingering)
    Lingering.go.clear()
    served = Served(router)
    try:
        served.assert_refused(served.client.await_itself.start())
    finally:
        Lingering.go.set()


# S8
@pytest.mark.parametrize("hops", [1, 3])
def test_so_is_one_that_waits_for_itself_by_way_of_other_services(served: Served, hops: int) -> None:
    served.assert_refused(served.client.ask_itself_by_way_of.start(hops))
    assert served.client.echo("next") == "next"


# S8, S5
def test_so_is_the_taking_of_a_message(served: Served) -> None:
    assert served.client.on_message() == "added"
    served.front.latch.put("hello")
    acquire(served.front.begun)
    assert [str(error) for error in served.front.started] == [f"{__name__}.Front.echo on root (/): {REFUSED}"]
    assert served.client.echo("next") == "next"


# S8
def test_a_call_to_itself_that_a_method_does_not_wait_for_is_served_after_it(served: Served) -> None:
    assert served.client.start_itself() == "begun"
    assert served.front.started.pop().result(ANSWER_TIMEOUT_S) == "started"
    assert served.client.have_a_task_await_itself.start().result(ANSWER_TIMEOUT_S) == "begun"
    assert served.client.ended.start().result(ANSWER_TIMEOUT_S) == "by a task"


# S8
def test_who_waits_for_a_line_that_moves_is_served(served: Served) -> None:
    first = served.client.wait_for_another.start()
    acquire(served.front.begun)
    # Back waits for Front, which waits for another call of Back's: that one ends.
    second = served.back.router.myself().service(Back).ask_front.start(2)
    third = served.client.echo.start("third")
    served.back.go.put("moved")
    assert first.result(ANSWER_TIMEOUT_S) == "moved"
    assert [call.result(ANSWER_TIMEOUT_S) for call in (second, third)] == ["asked", "third"]


# S8
def test_a_service_that_serves_two_at_once_may_call_itself(router: plasmid.Router) -> None:
    class Two(SerializedInvoker):
        max_concurrency = 2

    front = Front(router)
    front.invoker_class = Two
    with Pool(router, [front], size=4):
        assert router.myself().service(Front, timeout=ANSWER_TIMEOUT_S).ask_itself() == "asked"
