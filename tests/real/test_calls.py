"""Calls of functions on real far sides: what may be called, what travels, how a call can end."""

import asyncio
import datetime
import decimal
import fractions
import functools
import gc
import os
import pathlib
import threading
import traceback
import uuid
import weakref
from collections.abc import Iterator

import pytest

import plasmid
from tests.real import far, far_values
from tests.real.conftest import one_way, ways

TIMEOUT_S = 30


@ways
def test_functions_methods_classes_and_builtins_can_be_called(context: plasmid.Context) -> None:  # U3
    assert context.call(far.add, 1, b=2) == 3
    assert context.call(far.Shape.twice, 4) == 8
    assert context.call(far.Shape.describe, 2) == "Shape with 4 sides, 2 times"
    assert context.call(far.Square.describe, 2) == "Square with 4 sides, 2 times"
    assert context.call(datetime.date, 2024, 2, 29) == datetime.date(2024, 2, 29)
    assert context.call(datetime.date.fromordinal, 1) == datetime.date(1, 1, 1)
    assert context.call(sorted, [3, 1, 2], reverse=True) == [3, 2, 1]
    assert context.call(dict.fromkeys, [1, 2], "x") == {1: "x", 2: "x"}
    assert context.call(str.upper, "loud") == "LOUD"
    assert context.call(os.getpid) not in (os.getpid(), os.getppid())
    assert context.call(far.thread_name) == "MainThread"


EAST = datetime.timezone(datetime.timedelta(hours=2, minutes=30))
VALUES: "list[object]" = [
    *(None, True, False, 0, 1, -1, 2**31, -(2**63), 2**64, -(2**64), 10**100, 0.0, -0.0, 1.5, float("inf"), 1e308),
    *("", "text", "ünïcödé \U0001f600", "x" * 70000, b"", b"\0\xff", bytearray(b"ab"), bytes(range(256)) * 1000),
    bytearray(5000),
    [],
    [1, [2, [3, []]]],
    {},
    {"a": 1, 2: "b", None: 3, 1.5: 4, b"k": 5, False: 6},
    (),
    (1, "two", (3.0,), [4]),
    {1, 2, "three"},
    frozenset({(1, 2), None}),
    1 + 2j,
    datetime.datetime(2024, 2, 29, 12, 30, 59, 999999),
    datetime.datetime(2024, 2, 29, 12, 30, tzinfo=datetime.timezone.utc),
    datetime.datetime(2024, 2, 29, 12, 30, tzinfo=EAST, fold=1),
    datetime.date(1, 1, 1),
    datetime.time(23, 59, 59, 1),
    datetime.timedelta(days=-1, microseconds=1),
    decimal.Decimal("1.10"),
    uuid.UUID(int=1 << 100),
    pathlib.PurePosixPath("a/b"),
    pathlib.PureWindowsPath("c:/d"),
    pathlib.Path("/etc/hostname"),
]


@ways
def test_a_value_of_every_type_arrives_and_comes_back_equal_and_of_the_same_type(  # U3
    context: plasmid.Context,
) -> None:
    for value in VALUES:
        back = context.call(far.echo, value)
        assert (back, far.types_in(back)) == (value, far.types_in(value))
        assert context.call(far.types_in, value) == far.types_in(value)
    view = memoryview(bytes(6000))
    assert context.call(far.echo, view) == view
    assert context.call(far.types_in, [view, memoryview(b"ab")]) == far.types_in([view, view])
    assert repr(context.call(far.echo, [float("nan"), -0.0])) == "[nan, -0.0]"


@one_way
def test_a_table_of_mixed_rows_arrives_as_it_was(context: plasmid.Context) -> None:
    table = [
        {"id": n, "name": f"row {n}", "size": n / 7, "tags": (n, str(n)), "when": datetime.date.fromordinal(n + 1)}
        for n in range(2000)
    ]
    assert context.call(far.echo, table) == table


@one_way
def test_objects_of_declared_classes_travel_both_ways(context: plasmid.Context) -> None:  # U3
    point = far_values.Point(1, 2, "here")
    # Down, a parent may name any class. Up, the annotation of the function declares it.
    assert context.call(far_values.move, point, 10) == far_values.Point(11, 12, "here")
    assert context.call(far_values.swap, far_values.Pair(1, far_values.Point(5, 6))) == far_values.Pair(
        5, far_values.Point(1, 0)
    )
    assert context.call(far_values.other, far_values.Colour.RED) is far_values.Colour.GREEN


@one_way
def test_a_class_that_was_not_declared_here_is_not_built_here(context: plasmid.Context) -> None:  # D12
    with pytest.raises(plasmid.ValueDecodeError) as caught:
        context.call(far_values.point_unannounced, 1)
    assert str(caught.value) == (
        "what tests.real.far_values.point_unannounced on far (/1) answered can't be taken: the class "
        "tests.real.far_values.Point isn't declared here; call plasmid.declare(Point), or annotate the method with it"
    )
    assert context.call(far.add, 1) == 11


@ways
def test_a_context_can_be_sent_and_is_the_same_context(router: plasmid.Router, context: plasmid.Context) -> None:
    assert context.call(far.echo, [context, router.myself()]) == [context, router.myself()]
    own, parent, root = context.call(far.own_place)
    assert (own, root, own.name, root.name) == (context, router.myself(), "far", "root")
    assert own.address.startswith(parent.address)
    assert (parent == root) == (len(own.address) == 4)


@one_way
def test_a_result_that_takes_too_long_is_timed_out_while_the_call_goes_on(context: plasmid.Context) -> None:  # U3
    call = context.call_async(far.wait_at_gate, "through")
    with pytest.raises(plasmid.TimedOut) as caught:
        call.result(timeout=0.05)
    assert str(caught.value) == "tests.real.far.wait_at_gate on far (/1) hasn't ended within 0.05 s; it goes on"
    assert not call.done()
    context.service(far.Gate).open()
    assert call.result(timeout=TIMEOUT_S) == "through"
    assert (call.done(), call.exception(), call.result(0)) == (True, None, "through")


@one_way
def test_a_call_that_nobody_holds_is_gone_with_its_result_at_once(context: plasmid.Context) -> None:
    call = context.call_async(bytes, 1 << 20)
    assert len(call.result()) == 1 << 20
    gc.collect()
    gc.disable()
    try:
        held = weakref.ref(call)
        del call
        assert held() is None
    finally:
        gc.enable()


@one_way
def test_a_callback_is_called_once_with_the_call_before_and_after_its_end(context: plasmid.Context) -> None:
    called = plasmid.Latch()
    call = context.call_async(far.wait_at_gate, 5)
    call.add_done_callback(called.put)
    context.service(far.Gate).open()
    assert called.get(TIMEOUT_S) is call
    call.add_done_callback(called.put)
    assert called.get(TIMEOUT_S) is call
    with pytest.raises(plasmid.TimedOut):
        called.get_nowait()


@one_way
def test_calls_can_be_awaited_many_at_once(context: plasmid.Context) -> None:  # U3
    async def gather() -> "list[object]":
        awaited = asyncio.gather(
            *(context.call_async(far.add, n) for n in range(20)),
            context.call_async(far.fail, "KeyError", "k"),
            return_exceptions=True,
        )
        return list(await asyncio.wait_for(awaited, TIMEOUT_S))

    *sums, error = asyncio.run(gather())
    assert sums == list(range(10, 30))
    assert (type(error), error.args if isinstance(error, KeyError) else None) == (KeyError, ("k",))


@one_way
def test_a_cancelled_await_cancels_the_call(context: plasmid.Context) -> None:  # D7
    context.call_async(far.wait_at_gate)
    queued = context.call_async(far.note, "never")

    async def give_up() -> None:
        await asyncio.wait_for(queued, 0.05)

    with pytest.raises(asyncio.TimeoutError):
        asyncio.run(give_up())
    with pytest.raises(plasmid.Cancelled):
        queued.result(TIMEOUT_S)
    context.service(far.Gate).open()
    assert context.call(far.notes) == []


@one_way
def test_a_cancelled_call_that_waits_its_turn_never_starts(context: plasmid.Context) -> None:  # D7
    first = context.call_async(far.wait_at_gate)
    queued = [context.call_async(far.note, n) for n in range(3)]
    assert queued[1].cancel()
    with pytest.raises(plasmid.Cancelled) as caught:
        queued[1].result(TIMEOUT_S)
    assert str(caught.value) == "tests.real.far.note on far (/1): it was cancelled here"
    context.service(far.Gate).open()
    first.result(TIMEOUT_S)
    assert context.call(far.notes) == [0, 2]
    assert not queued[1].cancel()
    assert not queued[0].cancel()


@one_way
def test_calls_in_a_select_come_as_they_end(context: plasmid.Context) -> None:  # U3, U5
    slow = context.call_async(far.wait_at_gate, "slow")
    quick = context.call_async(far.Gate.name)
    with plasmid.Select([slow]) as select:
        select.add(context.call_service_async(far.Work, "takes_path", path="quick"))
        assert select.get(TIMEOUT_S).data == "quick"
        with pytest.raises(plasmid.TimedOut):
            select.get(0.01)
        select.add(quick)
        context.service(far.Gate).open()
        events = [select.get(TIMEOUT_S), select.get(TIMEOUT_S)]
    assert [(event.source, event.data) for event in events] == [(slow, "slow"), (quick, "tests.real.far.Gate")]


@one_way
def test_a_call_without_reply_is_done_in_its_turn(context: plasmid.Context) -> None:  # U3
    assert context.call_no_reply(far.note, "a") is None  # type: ignore[func-returns-value]
    context.call_no_reply(far.fail, "ValueError")
    context.call_no_reply(far.note, "b")
    assert context.call(far.notes) == ["a", "b"]


def test_the_error_of_a_function_that_nobody_waits_for_is_logged(caplog: pytest.LogCaptureFixture) -> None:  # U3
    with plasmid.Router() as router:
        router.myself().call_no_reply(far.fail, "ValueError")
        router.myself().call(far.notes)
        assert [(record.name, record.getMessage()) for record in caplog.records] == [
            ("plasmid", "tests.real.far.fail failed, and nobody waits for its answer")
        ]


@ways
def test_a_built_in_exception_arrives_as_itself_with_the_remote_traceback(context: plasmid.Context) -> None:  # U3, D2
    with pytest.raises(KeyError) as caught:
        context.call(far.fail, "KeyError", "k", 5)
    assert caught.value.args == ("k", 5)
    cause = caught.value.__cause__
    assert isinstance(cause, plasmid.RemoteError)
    assert (cause.type_name, cause.args_sent, cause.where) == ("KeyError", ("k", 5), str(context))
    shown = "".join(traceback.format_exception(caught.value))
    assert "raise getattr(builtins, name)(*args)" in shown
    assert "tests/real/far.py" in shown
    assert f"KeyError: ('k', 5) (raised on {context})" in shown
    assert "plasmid/runtime/jobs.py" not in shown


ERRORS: "list[tuple[str, tuple[object, ...]]]" = [
    *(("ValueError", ()), ("ZeroDivisionError", ("by nothing",)), ("AssertionError", ())),
    *(("FileNotFoundError", (2, "No such file", "/x")), ("OSError", (13, "Permission denied", "/y"))),
    *(("ImportError", ("no",)), ("RecursionError", ("deep",)), ("MemoryError", ()), ("NotImplementedError", ())),
    *(("UnicodeDecodeError", ("utf-8", b"\xff", 0, 1, "bad")), ("TimeoutError", ("late",)), ("UserWarning", ("w",))),
]


@one_way
def test_every_kind_of_built_in_exception_keeps_its_type_and_arguments(context: plasmid.Context) -> None:
    for name, args in ERRORS:
        error = context.call_async(far.fail, name, *args).exception(TIMEOUT_S)
        assert error is not None
        expected = getattr(__import__("builtins"), name)(*args)
        assert (type(error), error.args, str(error)) == (type(expected), expected.args, str(expected))
        assert getattr(error, "filename", None) == getattr(expected, "filename", None)


@ways
def test_an_exception_of_the_programs_own_arrives_as_remote_error(context: plasmid.Context) -> None:
    with pytest.raises(plasmid.RemoteError) as caught:
        context.call(far.fail_with_own_error, "why", 7)
    error = caught.value
    assert (error.type_name, error.text, error.args_sent) == ("tests.real.far.FarError", "('why', 7)", ("why", 7))
    assert str(error).startswith(f"tests.real.far.FarError: ('why', 7) (raised on {context})\n\nTraceback (most recent")
    assert "raise FarError(*args)" in error.traceback


@one_way
def test_the_cause_of_a_remote_exception_is_in_its_traceback(context: plasmid.Context) -> None:
    with pytest.raises(ValueError, match="outer") as caught:
        context.call(far.fail_because)
    shown = "".join(traceback.format_exception(caught.value))
    assert "KeyError: 'inner'" in shown
    assert "The above exception was the direct cause" in shown


@ways
@pytest.mark.parametrize("name", ["SystemExit", "KeyboardInterrupt", "GeneratorExit", "StopIteration"])
def test_an_exception_that_would_end_a_program_or_a_loop_ends_none_here_or_there(
    context: plasmid.Context, name: str
) -> None:
    with pytest.raises(plasmid.RemoteError) as caught:
        context.call(far.fail, name, 3)
    assert (caught.value.type_name, caught.value.args_sent) == (name, (3,))
    with pytest.raises(plasmid.RemoteError) as caught:
        context.service(far.Work).fail(name, "from a service")
    assert (caught.value.type_name, caught.value.text) == (name, "from a service")
    assert context.call(far.add, 1) == 11


UNCALLABLE: "list[tuple[object, str]]" = [
    (lambda: 1, "it is a lambda or stands inside another function, where no import reaches it"),
    (far.Shape().area, "it is bound to an object, which doesn't travel"),
    (functools.partial(far.add, 1), "it has no module and name"),
    (5, "it has no module and name"),
]


@one_way
def test_what_no_import_reaches_is_refused_here_by_name(context: plasmid.Context) -> None:
    for fn, why in UNCALLABLE:
        with pytest.raises(TypeError) as caught:
            context.call(fn)  # type: ignore[arg-type]
        assert str(caught.value) == f"{fn!r} can't be called on another context: {why}. Move it to the top of a module."


# ---------------------------------------------------------------- deadlines


@pytest.fixture
def clock(router: plasmid.Router) -> "Iterator[None]":
    """Serve a Clock at the root."""
    with plasmid.Pool(router, services=[far.Clock(router)]):
        yield


@ways
def test_the_remaining_time_travels_and_a_nested_call_inherits_the_smaller(  # D6
    context: plasmid.Context, clock: None
) -> None:
    with plasmid.timeout(TIMEOUT_S):
        assert TIMEOUT_S - 10 < context.service(far.Clock).seconds_left() < TIMEOUT_S
        inherited = context.call(far.ask_seconds_left, None)
        nearer = context.call(far.ask_seconds_left, 15)
        farther = context.call(far.ask_seconds_left, 1000)
        with plasmid.timeout(20):
            nested = context.call(far.ask_seconds_left, 1000)
    assert inherited is not None
    assert TIMEOUT_S - 10 < inherited < TIMEOUT_S
    assert nearer is not None
    assert 5 < nearer < 15
    assert farther is not None
    assert 15 < farther < TIMEOUT_S
    assert nested is not None
    assert 10 < nested < 20
    assert context.call(far.ask_seconds_left, None) == -1.0


@one_way
def test_a_call_past_its_deadline_ends_here_and_is_not_started_there(context: plasmid.Context) -> None:  # D6, D3
    first = context.call_async(far.wait_at_gate)
    with plasmid.timeout(0.1), pytest.raises(plasmid.DeadlineExceeded) as caught:
        context.call(far.note, "never")
    assert str(caught.value).startswith(
        "tests.real.far.note on far (/1): no answer came in the time allowed for it. The far side was asked to cancel"
    )
    assert isinstance(caught.value, TimeoutError)
    context.service(far.Gate).open()
    first.result(TIMEOUT_S)
    assert context.call(far.notes) == []


@one_way
def test_a_proxys_timeout_holds_for_each_call(context: plasmid.Context) -> None:  # D6
    assert 10 < context.service(far.Clock, timeout=20).seconds_left() < 20
    with pytest.raises(plasmid.DeadlineExceeded):
        context.service(far.Work, timeout=0.1).hold()
    assert context.service(far.Work).release("late") == 1


def test_a_routers_timeout_is_for_calls_that_set_none() -> None:  # D6
    with plasmid.Router(timeout=25) as router:
        context = router.local()
        assert 10 < context.service(far.Clock).seconds_left() < 25
        with plasmid.timeout(9):
            assert 1 < context.service(far.Clock).seconds_left() < 9


@one_way
def test_a_running_method_sees_that_it_was_cancelled(context: plasmid.Context) -> None:  # D7
    work = context.service(far.Work)
    call = work.run_until_cancelled.start()
    assert work.is_running()
    assert call.cancel()
    with pytest.raises(plasmid.Cancelled):
        call.result(TIMEOUT_S)
    assert work.was_cancelled()


@one_way
def test_a_running_method_sees_that_its_deadline_has_passed(context: plasmid.Context) -> None:  # D6
    work = context.service(far.Work)
    assert work.takes_path("it is there") == "it is there"
    call = context.service(far.Work, timeout=1).run_until_cancelled.start()
    assert work.is_running()
    with pytest.raises(plasmid.DeadlineExceeded):
        call.result(TIMEOUT_S)
    assert work.was_cancelled()


@one_way
def test_values_of_types_that_cannot_travel_are_named(context: plasmid.Context) -> None:
    with pytest.raises(plasmid.UnsendableValue) as caught:
        context.call(far.echo, {"rows": [1, 2, threading.Lock()]})
    assert str(caught.value) == "tests.real.far.echo(args[0]['rows'][2]): lock"
    with pytest.raises(plasmid.UnsendableValue) as caught:
        context.call(far.echo, value=[threading.Lock()])
    assert str(caught.value) == "tests.real.far.echo(value=...[0]): lock"
    with pytest.raises(plasmid.UnsendableValue) as caught:
        context.call(far.echo, fractions.Fraction(1, 2))
    assert str(caught.value).endswith(": Fraction")
    assert context.call(far.add, 1) == 11


@ways
def test_cancelling_a_call_cancels_the_calls_that_its_function_waits_for(  # D7
    router: plasmid.Router, context: plasmid.Context
) -> None:
    other = router.local(name="other")
    work = other.service(far.Work)
    assert work.release("") == 0  # it is there now, for a sibling too
    call = context.call_async(far.call_from_here_after, other)
    assert work.is_running()
    call.cancel()
    assert work.was_cancelled()
    # What it calls afterwards, to clean up, goes on as always.
    assert context.call(far.notes) == [
        f"tests.real.far.Work.run_until_cancelled on {other}: the call that made it was cancelled",
        "on and on",
    ]


@one_way
def test_the_loss_of_a_caller_cancels_the_calls_of_what_it_called(  # D7, D4
    router: plasmid.Router, context: plasmid.Context
) -> None:
    caller = router.local(name="caller")
    pool = plasmid.Pool(router, services=[far.Relay(router, context)], size=4)
    with pool:
        caller.call_no_reply(far.ask_relay)
        work = context.service(far.Work)
        assert work.is_running()
        os.kill(router.child(caller).info["pid"], 9)  # type: ignore[union-attr]
        assert work.was_cancelled()
