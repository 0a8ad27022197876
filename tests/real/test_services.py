"""Services on real far sides: called down, up and sideways, started by being called, refused to those who may not."""

import re
import threading
from collections.abc import Iterator

import pytest

import plasmid
from tests.real import far
from tests.real.conftest import one_way, ways

TIMEOUT_S = 30


@pytest.fixture
def catalog(router: plasmid.Router) -> "Iterator[far.Catalog]":
    """Give a Catalog that the root serves."""
    catalog = far.Catalog(router)
    with plasmid.Pool(router, services=[catalog], size=4):
        yield catalog


@ways
def test_a_service_is_made_once_at_its_parents_first_call_and_keeps_its_state(  # S2, S1
    context: plasmid.Context,
) -> None:
    counter = context.service(far.Counter)
    assert [counter.add(2), counter.add(amount=3), counter.add()] == [2, 5, 6]
    assert counter.made_count() == 1
    assert context.call_service("tests.real.far.Counter", "add", amount=4) == 10
    assert counter.add.start(1).result(TIMEOUT_S) == 11


@ways
def test_a_service_is_started_and_serves_while_the_main_thread_is_busy(context: plasmid.Context) -> None:  # S2
    busy = context.call_async(far.wait_at_gate, "was busy")
    assert context.service(far.Counter).add() == 1
    assert not busy.done()
    assert context.service(far.Gate).open().startswith("plasmid-pool-")
    assert busy.result(TIMEOUT_S) == "was busy"


@one_way
def test_no_call_is_lost_or_refused_while_the_childs_pool_and_service_are_made(context: plasmid.Context) -> None:  # S13
    counter = context.service(far.Counter)
    calls = [counter.add.start() for _ in range(50)]
    others = [context.service(far.Work).takes_path.start(str(n)) for n in range(20)]
    assert sorted(call.result(TIMEOUT_S) for call in calls) == list(range(1, 51))
    assert [call.result(TIMEOUT_S) for call in others] == [str(n) for n in range(20)]
    assert counter.made_count() == 1


@ways
def test_a_child_calls_a_service_of_the_root(  # S12
    router: plasmid.Router, context: plasmid.Context, catalog: far.Catalog
) -> None:
    assert context.call(far.ask_catalog, "disk") == ["disk", "far"]
    assert context.call(far.ask_catalog, "disk again") == ["disk again", "far"]


@one_way
def test_the_same_question_of_many_contexts_is_worked_on_once(  # S9, D8
    router: plasmid.Router, context: plasmid.Context, catalog: far.Catalog
) -> None:
    contexts = [context, router.local(name="second"), router.local(name="third")]
    catalog.may_answer.clear()
    asked = [each.call_async(far.ask_catalog, "same") for each in contexts]
    arrived = [each.call_async(far.add, 1) for each in contexts]
    catalog.may_answer.set()
    answers = [call.result(TIMEOUT_S) for call in asked]
    assert [call.result(TIMEOUT_S) for call in arrived] == [11, 11, 11]
    assert catalog.executions == ["same"]
    assert answers[0][0] == "same"
    assert answers == [answers[0]] * 3


@one_way
def test_a_call_to_a_root_without_a_pool_is_refused_and_says_what_to_do(context: plasmid.Context) -> None:  # S14, D3
    with pytest.raises(plasmid.RemoteError) as caught:
        context.call(far.ask_catalog, "disk")
    assert caught.value.type_name == "plasmid.core.errors.Refused"
    assert caught.value.text == (
        "tests.real.far.Catalog.find on root (/): no service pool runs in this context; "
        "make one with plasmid.service.Pool(router, services=[...])"
    )


@ways
def test_siblings_are_refused_until_a_parent_has_started_the_service(  # S4, S23
    router: plasmid.Router, context: plasmid.Context
) -> None:
    sibling = router.local(name="sibling")
    with pytest.raises(plasmid.RemoteError) as caught:
        sibling.call(far.use_counter, context, 1)
    assert caught.value.type_name == "plasmid.core.errors.Refused"
    assert caught.value.text == (
        f"tests.real.far.Counter.add on {context}: no service has been activated here by a parent yet"
    )
    assert context.service(far.Work).takes_path("a pool is there now") == "a pool is there now"
    with pytest.raises(plasmid.RemoteError) as caught:
        sibling.call(far.use_counter, context, 1)
    assert re.search("no service of this name is active there, and /2 may not start one", caught.value.text)
    assert context.service(far.Counter).add(5) == 5
    assert sibling.call(far.use_counter, context, 2) == 7
    with pytest.raises(plasmid.RemoteError) as caught:
        sibling.call(far.reset_counter, context)
    assert re.search(r"Counter\.reset.*not open to .*: AllowParents\(\) doesn't allow it", caught.value.text)
    assert context.service(far.Counter).add(0) == 7


@one_way
def test_a_child_cannot_run_functions_in_its_parent_or_sibling(  # D12
    router: plasmid.Router, context: plasmid.Context
) -> None:
    sibling = router.local(name="sibling")
    for victim in (router.myself(), sibling):
        with pytest.raises(plasmid.RemoteError) as caught:
            context.call(far.call_from_here, victim, "note", "x")
        assert caught.value.text == (
            f"tests.real.far.note on {victim}: only a parent may call functions here; expose a service method instead"
        )
    assert sibling.call(far.notes) == []
    assert far.notes() == []


NOT_EXPOSED = [
    "hidden",
    "_private",
    "missing",
    "__init__",
    "made",
    "name",
    "dispatch",
    "router",
    "exposed",
    "add.x",
    "",
]


@one_way
def test_what_is_not_exposed_is_refused_by_name(context: plasmid.Context) -> None:  # S1
    for method in NOT_EXPOSED:
        with pytest.raises(plasmid.Refused) as caught:
            context.call_service(far.Counter, method)
        assert str(caught.value) == (
            f"tests.real.far.Counter.{method} on far (/1): the service exposes no such method; "
            "it exposes add, made_count, reset"
            if method
            else "tests.real.far.Counter on far (/1): the service exposes no such method; "
            "it exposes add, made_count, reset"
        )
        assert caught.value.started is False
    with pytest.raises(AttributeError) as absent:
        context.service(far.Counter).missing()  # type: ignore[attr-defined]
    assert str(absent.value) == "Counter exposes no method 'missing'; it exposes add, made_count, reset"


@one_way
def test_a_name_that_leads_to_no_service_is_refused_and_not_run(context: plasmid.Context) -> None:  # S11
    for name in ("tests.real.far.Shape", "os.system", "tests.real.far.note", "tests.real.nowhere.Service", "x", 7):
        with pytest.raises(plasmid.Refused):
            context.call_service(name, "twice", n=1)
    assert context.call(far.notes) == []


@one_way
def test_arguments_that_do_not_fit_are_refused_by_name_and_type(context: plasmid.Context) -> None:  # S17
    work = "tests.real.far.Work"
    assert context.call_service(work, "takes_path", path="a", times=2) == "aa"
    unfit: list[tuple[dict[str, object], str]] = [
        ({}, "path"),
        ({"path": 5}, "path"),
        ({"path": b"bytes"}, "path"),
        ({"path": "a", "depth": 1}, "depth"),
    ]
    for kwargs, said in unfit:
        with pytest.raises(plasmid.Refused) as caught:
            context.call_service(work, "takes_path", **kwargs)
        assert said in caught.value.found
    with pytest.raises(plasmid.Refused) as caught:
        context.call_service(far.Counter, "add", amount=True)
    assert "amount" in caught.value.found
    with pytest.raises(TypeError):
        context.service(far.Counter).add(1, 2)  # type: ignore[call-arg]


@one_way
def test_an_answer_can_be_held_back_and_given_later_to_everyone_who_waits(context: plasmid.Context) -> None:  # S19
    work = context.service(far.Work)
    held = [work.hold.start() for _ in range(3)]
    released = 0
    while released < 3:
        released += work.release("at last")
    assert [call.result(TIMEOUT_S) for call in held] == ["at last"] * 3


@one_way
def test_a_request_that_is_dropped_is_an_error_for_its_caller(context: plasmid.Context) -> None:  # S19, D2
    call = context.service(far.Work).drop.start()
    with pytest.raises(plasmid.Cancelled) as caught:
        call.result(TIMEOUT_S)
    assert "dropped the request without an answer" in str(caught.value)


@one_way
def test_a_method_without_reply_answers_nothing_and_runs(context: plasmid.Context) -> None:  # S19
    work = context.service(far.Work)
    assert work.tell("one") is None
    assert work.takes_path("behind") == "behind"
    noted: list[object] = []
    while not noted:
        noted = context.call(far.notes)
    assert noted == ["one"]


@ways
def test_an_exception_in_a_service_arrives_as_itself(context: plasmid.Context) -> None:
    with pytest.raises(LookupError) as caught:
        context.service(far.Work).fail("LookupError", "not there")
    assert caught.value.args == ("not there",)
    assert isinstance(caught.value.__cause__, plasmid.RemoteError)
    assert "far.py" in caught.value.__cause__.traceback
    assert "plasmid/service/" not in caught.value.__cause__.traceback


@ways
def test_the_older_form_is_called_by_its_number_or_class(  # S16, S3
    router: plasmid.Router, context: plasmid.Context
) -> None:
    assert plasmid.service.call(context, far.Older, {"path": "/down"}) == "/down for root"
    assert plasmid.service.call(context, far.Older.handle, {"path": "/down"}) == "/down for root"
    with plasmid.Pool(router, services=[far.Older(router), far.OlderGuarded(router)]):
        assert context.call(far.call_older_at_root, 501, {"path": "/up"}) == "/up for far"
        for args, said in [({}, "path"), ({"path": 1}, "path"), ({"path": "x" * 2000}, "1000"), ([], "")]:
            with pytest.raises(plasmid.RemoteError) as caught:
                context.call(far.call_older_at_root, 501, args)
            assert caught.value.type_name == "plasmid.core.errors.Refused"
            assert said in caught.value.text
        with pytest.raises(plasmid.RemoteError, match=r"AllowParents\(\) doesn't allow it"):
            context.call(far.call_older_at_root, 502, {})
        assert plasmid.service.call(router.myself(), 502, {"a": 1}) == "{'a': 1}"


@one_way
def test_the_root_calls_its_own_services_by_the_same_way(  # S6
    router: plasmid.Router, catalog: far.Catalog, way: str
) -> None:
    assert router.myself().service(far.Catalog).find("own") == ["own", "root"]
    with pytest.raises(plasmid.Refused, match="argument 'key': expected str, got int"):
        router.myself().call_service(far.Catalog, "find", key=1)
    assert catalog.executions == ["own"]
    assert router.myself().call(far.add, 1) == 11


@one_way
def test_services_of_one_child_run_side_by_side(context: plasmid.Context) -> None:  # S7
    work = context.service(far.Work)
    held = work.run_until_cancelled.start()
    ended = threading.Event()
    held.add_done_callback(lambda call: ended.set())
    assert work.takes_path("meanwhile") == "meanwhile"
    assert not ended.is_set()
    held.cancel()
    assert work.was_cancelled()
    assert ended.wait(TIMEOUT_S)


@ways
def test_three_levels_below_a_service_of_the_root_is_reached_too(  # S12
    router: plasmid.Router, context: plasmid.Context, catalog: far.Catalog
) -> None:
    below = context.call(far.start_below, "below")
    lowest = router.local(name="lowest", via=below)
    assert lowest.address.startswith(below.address)
    assert lowest.call(far.ask_catalog, "deep") == ["deep", "lowest"]
    assert lowest.service(far.Counter).add(3) == 3
    assert router.myself().service(far.Catalog).find("deep")[0] == "deep"
