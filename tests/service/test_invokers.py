"""What one call goes through: who may make it, what it is given, and how it is answered, whatever its method does."""

import gc
import time
from typing import Any

import pytest

from plasmid.core.errors import Cancelled, DeadlineExceeded, PlasmidError, Refused
from plasmid.runtime.context import deadline_var
from plasmid.service import (
    AllowAny,
    AllowParents,
    Invoker,
    Pool,
    Service,
    expose,
)
from plasmid.testing import FakeCall, FakeJob, FakeRouter
from tests.service.stage import Older, Worker, acquire


# D6, D7
def test_a_call_that_nobody_waits_for_any_more_is_not_started(new_stage: Any) -> None:
    stage = new_stage(1)
    held = stage.submit("hold")
    acquire(stage[0].begun)
    cancelled = FakeJob(Worker.name(), "hold", {"number": 1}, here="/1")
    late = FakeJob(Worker.name(), "hold", {"number": 2}, here="/1", deadline=time.monotonic())
    for job in (cancelled, late):
        stage.router.jobs.pool.submit(job)
    cancelled.cancelled = True
    stage[0].go.release()
    errors = [job.call.exception() for job in (cancelled, late)]
    assert [(type(error), getattr(error, "started", None)) for error in errors] == [
        (Cancelled, False),
        (DeadlineExceeded, False),
    ]
    assert (held.result(), stage[0].order) == (0, [0])


@pytest.mark.parametrize(
    ("kind", "shown"),
    [("exit", "SystemExit(3)"), ("interrupt", "KeyboardInterrupt()"), ("value", "ValueError('bad')")],
)
def test_whatever_a_method_raises_reaches_the_caller_and_the_thread_lives(
    new_stage: Any, kind: str, shown: str
) -> None:
    stage = new_stage(1)
    thread = stage.submit("hold")
    stage[0].go.release()
    thread.result()
    error = stage.submit("fail", kind=kind).exception()
    assert repr(error) == shown
    trace: Any = error.__traceback__
    assert trace.tb_frame.f_code.co_name == "fail"  # the method's own lines, without ours
    stage[0].go.release()
    stage.submit("hold").result()
    assert len(stage[0].threads) == 1


# D3
def test_an_error_of_a_nested_call_keeps_its_traceback_so_that_it_is_not_taken_for_this_calls_own(
    new_stage: Any,
) -> None:
    error = new_stage().submit("fail", kind="refused").exception()
    assert isinstance(error, Refused)
    assert error.__traceback__ is not None


# S1, S17, S18
@pytest.mark.parametrize(
    ("method", "args", "source", "message"),
    [
        ("nothing", {}, "/2", "Worker.nothing: the service exposes no such method"),
        ("on_shutdown", {}, "/2", "Worker.on_shutdown: the service exposes no such method"),
        ("__init__", {}, "/2", "Worker.__init__: the service exposes no such method"),
        (None, {}, "/2", "Worker: the service has no dispatch(); a call has to name a method"),
        ("guarded", {}, "/2", "Worker.guarded: not open to /2: AllowParents() doesn't allow it"),
        ("guarded", {}, "/1/5", "Worker.guarded: not open to /1/5: AllowParents() doesn't allow it"),
        ("guarded", {"x": 1}, "/", "Worker.guarded: it takes no argument 'x', it takes none"),
        ("hold", {"number": "1"}, "/2", "Worker.hold: argument 'number': expected int, got str"),
        (
            "nothing",
            {},
            "/",
            "Worker.nothing: the service exposes no such method;"
            " it exposes close_pool, drop, echo, fail, guarded, hold, later, quiet, who",
        ),
    ],
)
def test_a_call_that_may_not_run_is_refused_and_says_why(
    new_stage: Any, method: Any, args: Any, source: str, message: str
) -> None:
    error = new_stage().router.submit(Worker, method, args, source=source).exception()
    assert isinstance(error, Refused)
    assert (str(error), error.started, error.__traceback__) == (message, False, None)


# S1
def test_nothing_but_the_table_can_be_reached_by_any_attributes_name(new_stage: Any) -> None:
    stage = new_stage()
    reached = []
    for name in sorted({*dir(stage[0]), *vars(Worker), "select", "exposed"} - set(Worker.exposed)):
        error = stage.router.submit(Worker, name).exception()
        assert isinstance(error, Refused), name
        reached.append(name)
    assert "invoker" in reached
    assert "__class__" in reached


def test_arguments_are_looked_at_only_for_callers_who_are_allowed(new_stage: Any) -> None:
    stage = new_stage()
    looked_at = []

    class Watched(FakeJob):
        def __getattribute__(self, name: str) -> Any:
            if name == "payload":
                looked_at.append(self.source)
            return super().__getattribute__(name)

    for source in ("/2", "/"):
        job = Watched(Worker.name(), "guarded", source=source, here="/1")
        stage.router.jobs.pool.submit(job)
        job.call.wait()
    assert looked_at == [b""]


def test_arguments_that_are_no_value_refuse_the_call(new_stage: Any) -> None:
    job = FakeJob(Worker.name(), "echo", here="/1")
    job.payload = b"\0\0\0\1\xc1"
    new_stage().router.jobs.pool.submit(job)
    error = job.call.exception()
    assert isinstance(error, Refused)
    assert str(error).startswith("Worker.echo: its arguments can't be read: ")


# S16
def test_a_message_over_the_limit_of_the_service_is_refused_before_it_is_decoded(new_stage: Any) -> None:
    class Small(Service):
        max_message_size = 100

        @expose(AllowAny())
        def take(self, data: bytes) -> int:
            return len(data)

    stage = new_stage(1, Small)
    assert stage.submit("take", Small, data=b"x" * 50).result() == 50
    error = stage.submit("take", Small, data=b"x" * 100).exception()
    assert str(error) == "Small.take: its arguments are 112 bytes; the service takes at most 100"


# S16
def test_the_older_form_is_called_by_number_guarded_by_the_class_and_checked(new_stage: Any) -> None:
    stage = new_stage(1, Older)

    def submit(args: Any, source: str = "/", name: "str | int" = 500) -> FakeCall:
        call: FakeCall = stage.router.submit(name, None, args, source=source, caller_name="root")
        return call

    assert submit({"path": "/etc"}).result() == [{"path": "/etc"}, "root"]
    assert submit({"path": "/", "more": 1}, name=Older.name()).result() == [{"path": "/", "more": 1}, "root"]
    errors = [
        submit({"path": "/etc"}, "/2"),
        submit({}),
        submit({"path": 1}),
        submit([1]),
        submit({"path": "/etc"}, name="500"),
    ]
    assert [str(call.exception()) for call in errors] == [
        "Older: not open to root (/2): AllowParents() doesn't allow it",
        "Older: the required argument 'path' (str) is missing",
        "Older: argument 'path': expected str, got int",
        "Older: its arguments are a dict of names and values, not list",
        "500: this is not the name of a class, module.Class",
    ]
    Older.policies = ()
    try:
        assert str(submit({"path": "/etc"}).exception()) == "Older: not open to root (/): no policy allows anybody"
    finally:
        del Older.policies


# S19
def test_none_is_an_answer_and_no_reply_is_answered_later_by_who_holds_the_message(new_stage: Any) -> None:
    stage = new_stage()
    assert stage.submit("echo").result() is None
    call = stage.submit("later")
    assert stage.submit("echo", value=1).result() == 1
    assert not call.done()
    stage[0].held.reply("at last")
    assert call.result() == "at last"


# S19
def test_a_message_that_is_dropped_after_no_reply_is_an_error_and_no_hang(new_stage: Any) -> None:
    stage = new_stage()
    call = stage.submit("drop")
    # The thread keeps nothing of a call that it has finished.
    assert stage.submit("echo", value=1).result() == 1
    gc.collect()
    assert str(call.exception()) == f"{Worker.name()}: the request was dropped without an answer"


def test_the_result_of_a_no_reply_method_is_not_sent(new_stage: Any) -> None:
    assert new_stage().submit("quiet").result() is None


# S19
@pytest.mark.parametrize(
    ("method", "source", "logged"),
    [
        ("fail", "/", ["Worker.fail failed, and nobody waits for its answer"]),
        ("fail", "/2", ["Worker.fail failed, and nobody waits for its answer"]),
        ("nothing", "/", ["Worker.nothing failed, and nobody waits for its answer"]),
        ("nothing", "/2", []),  # whoever may not call isn't to fill the log with it
    ],
)
def test_the_error_of_a_call_that_nobody_waits_for_is_logged(
    new_stage: Any, caplog: Any, method: str, source: str, logged: "list[str]"
) -> None:
    stage = new_stage()
    call = stage.router.submit(Worker, method, {"kind": "value"}, source=source, no_reply=True)
    call.wait()
    assert [record.getMessage() for record in caplog.records] == logged


def test_the_caller_and_the_deadline_are_known_to_the_thread_of_the_call_and_only_to_it(new_stage: Any) -> None:
    stage = new_stage()
    options = {"source": "/4", "caller_name": "web4", "deadline": time.monotonic() + 60}
    assert stage.router.submit(Worker, "who", **options).result() == ["web4", "True"]
    with pytest.raises(PlasmidError) as error:
        stage[0].caller
    assert str(error.value) == "no service call runs in this thread; only the thread of a call knows its caller"


# S6
def test_an_invoker_of_ones_own_is_around_every_call(new_stage: Any) -> None:
    seen = []

    class Watching(Invoker):
        def invoke(self, method_name: "str | None", kwargs: Any, msg: Any) -> Any:
            seen.append((method_name, kwargs, msg.source))
            return ["watched", super().invoke(method_name, kwargs, msg)]

    class Watched(Worker):
        invoker_class = Watching

    stage = new_stage(1, Watched)
    assert stage.submit("echo", Watched, value=1).result() == ["watched", 1]
    assert stage.submit("guarded", Watched, x=1).exception() is not None
    assert seen == [("echo", {"value": 1}, b"\0\0\0\1")]


def test_an_invoker_that_fails_answers_the_call_and_keeps_the_thread(new_stage: Any, caplog: Any) -> None:
    class Failing(Invoker):
        def serve(self, request: Any) -> None:
            raise ValueError("a bug of the invoker's")

    class Failed(Worker):
        invoker_class = Failing

    stage = new_stage(1, Failed, Worker)
    error = stage.submit("echo", Failed).exception()
    assert str(error) == "Failed.echo: a check before the method raised ValueError"
    assert stage.submit("echo", value=2).result() == 2
    assert "Failing failed" in caplog.text


# D6
def test_a_deadline_that_a_method_leaves_behind_is_nobody_elses() -> None:
    class Leaver(Service):
        @expose(AllowAny())
        def leave(self) -> None:
            deadline_var.set(time.monotonic() + 60)

        @expose(AllowAny())
        def found(self) -> bool:
            return deadline_var.get() is not None

    router = FakeRouter()
    with Pool(router, [Leaver(router)], size=1):
        assert [router.call(Leaver, name) for name in ("leave", "found")] == [None, False]


# S18, S23
@pytest.mark.parametrize("source", ["/", "/1", "/1/2", "/2"])
@pytest.mark.parametrize("policies", [1, 2])
def test_who_may_call_is_the_same_whether_policies_are_asked_or_their_answer_is_known(
    source: str, policies: int
) -> None:
    class Asked(AllowParents):
        """Asked each time, since nobody knows what a class of the user's says."""

    class Known(Service):
        @expose(AllowParents())
        def one(self) -> None: ...

        @expose(AllowAny())
        @expose(AllowParents())
        def two(self) -> None: ...

    class Unknown(Service):
        @expose(Asked())
        def one(self) -> None: ...

        @expose(AllowAny())
        @expose(Asked())
        def two(self) -> None: ...

    router = FakeRouter("/1")
    name = ["one", "two"][policies - 1]
    with Pool(router, [Known(router), Unknown(router)], size=1):
        errors = [router.submit(service, name, source=source).exception() for service in (Known, Unknown)]
    texts = [str(error).replace("Unknown", "Known").replace("Asked", "AllowParents") for error in errors]
    assert texts[0] == texts[1]
    assert [type(error) for error in errors] == [type(None) if source in ("/", "/1") else Refused] * 2
