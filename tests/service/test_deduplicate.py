"""Deduplication: the decision as a plain machine, keys, and then the invoker on real threads."""

import dataclasses
import datetime
import decimal
import threading
from typing import Any

import pytest

from plasmid.core.errors import Cancelled, DeadlineExceeded, Overloaded, Refused, UnsendableValue
from plasmid.service import AllowAny, AllowNames, DeduplicatingInvoker, Pool, Service, expose
from plasmid.service.deduplicate import LAST_MAX, LAST_SIZE_MAX, Response, Responses, digest
from plasmid.service.invokers import Request
from plasmid.testing import ANSWER_TIMEOUT_S, FakeCall, FakeJob, FakeRouter

KEY, OTHER = b"k", b"o"


def request() -> Request:
    return Request(FakeJob("Catalog"))


def done(text: bytes = b"done") -> Response:
    return Response([text], None)


# S9
def test_the_first_request_runs_those_who_come_meanwhile_are_parked_and_all_get_the_response() -> None:
    responses = Responses(entries_max=10, size_max=100, parked_max=10)
    first, second, third, other = request(), request(), request(), request()
    verdicts = [
        responses.admit(key, one, 0) for key, one in ((KEY, first), (KEY, second), (OTHER, other), (KEY, third))
    ]
    assert verdicts == [("run", None), ("parked", None), ("run", None), ("parked", None)]
    response = done()
    assert responses.finish(KEY, response, keep=True) == ([second, third], None)
    assert responses.admit(KEY, request(), 0) == ("parked", response)
    assert responses.parked == 0


# S9, D8
def test_who_came_in_time_and_is_looked_at_late_gets_the_response_though_it_is_not_kept() -> None:
    responses = Responses(entries_max=0, size_max=100, parked_max=10)
    responses.admit(KEY, request(), 0)
    in_time, other = request(), request()
    failed = done()
    responses.finish(KEY, failed, keep=False)
    assert responses.admit(KEY, in_time, 0) == ("parked", failed)
    assert responses.admit(OTHER, other, 0) == ("run", None)
    assert responses.admit(KEY, request(), 0) == ("run", None)


def test_of_many_responses_that_are_not_kept_the_last_ones_are_remembered() -> None:
    responses = Responses(entries_max=10, size_max=100, parked_max=10)
    in_time = request()
    keys = [b"%d" % number for number in range(LAST_MAX + 1)]
    for key in keys:
        responses.admit(key, request(), 0)
        large = Response([bytes(LAST_SIZE_MAX + (key == keys[-1]))], None)
        responses.finish(key, large, keep=False)
    found = [responses.admit(key, in_time, 0)[0] for key in (keys[0], keys[1], keys[-1])]
    assert found == ["parked", "parked", "run"], "the last is too large"
    responses.finish(keys[-1], done(), keep=False)
    assert [responses.admit(key, in_time, 0)[0] for key in (keys[0], keys[1])] == ["run", "parked"]


def test_a_response_that_is_not_kept_is_made_anew_for_who_comes_later() -> None:
    responses = Responses(entries_max=10, size_max=100, parked_max=10)
    responses.admit(KEY, request(), 0)
    responses.finish(KEY, done(), keep=False)
    assert responses.admit(KEY, request(), 0) == ("run", None)


# S9
def test_a_kept_response_ends_at_its_age_and_not_before() -> None:
    responses = Responses(entries_max=10, size_max=100, parked_max=10)
    responses.admit(KEY, request(), 0)
    response = done()
    response.expires = 5.0
    responses.finish(KEY, response, keep=True)
    assert responses.admit(KEY, request(), 4.9) == ("parked", response)
    assert responses.admit(KEY, request(), 5.0) == ("run", None)


# S9
@pytest.mark.parametrize(("entries_max", "kept"), [(0, ""), (1, "c"), (2, "ac"), (3, "abc")])
def test_the_cache_is_bounded_and_what_was_used_last_stays(entries_max: int, kept: str) -> None:
    responses = Responses(entries_max=entries_max, size_max=100, parked_max=10)
    for name in "ab":
        responses.admit(name.encode(), request(), 0)
        responses.finish(name.encode(), done(), keep=True)
    if entries_max > 1:
        responses.admit(b"a", request(), 0)
    responses.admit(b"c", request(), 0)
    responses.finish(b"c", done(), keep=True)
    assert "".join(name for name in "abc" if responses.admit(name.encode(), request(), 0)[1] is not None) == kept


# S9
@pytest.mark.parametrize(
    ("sizes", "kept"), [([100], "a"), ([101], ""), ([60, 40], "ab"), ([60, 41], "b"), ([9, 101], "a")]
)
def test_the_cache_is_bounded_in_bytes_too(sizes: "list[int]", kept: str) -> None:
    responses = Responses(entries_max=10, size_max=100, parked_max=10)
    names = "abc"[: len(sizes)]
    for name, size in zip(names, sizes, strict=True):
        responses.admit(name.encode(), request(), 0)
        responses.finish(name.encode(), Response([b"x", b"y" * (size - 1)], None), keep=True)
    held = [name for name in names if name.encode() in responses._kept]
    assert ("".join(held), responses.size) == (kept, sum(sizes["abc".index(name)] for name in held))
    for name in names:
        responses.forget(name.encode())
    assert responses.size == 0


def test_a_response_past_its_age_no_longer_counts_towards_the_bytes() -> None:
    responses = Responses(entries_max=10, size_max=100, parked_max=10)
    responses.admit(KEY, request(), 0)
    response = done()
    response.expires = 5.0
    responses.finish(KEY, response, keep=True)
    assert responses.size == 4
    assert responses.admit(KEY, request(), 6.0) == ("run", None)
    assert responses.size == 0


def test_one_parked_too_many_is_full() -> None:
    responses = Responses(entries_max=10, size_max=100, parked_max=2)
    verdicts = [responses.admit(KEY, request(), 0)[0] for _ in range(4)]
    assert verdicts == ["run", "parked", "parked", "full"]
    assert len(responses.take_parked(KEY)) == 2
    assert responses.admit(KEY, request(), 0) == ("parked", None)


def test_forgetting_while_it_runs_parks_later_requests_for_a_run_of_their_own() -> None:
    responses = Responses(entries_max=10, size_max=100, parked_max=10)
    before, after, last = request(), request(), request()
    responses.admit(KEY, request(), 0)
    responses.admit(KEY, before, 0)
    responses.forget(KEY)
    assert [responses.admit(KEY, one, 0)[0] for one in (after, last)] == ["parked", "parked"]
    # One execution at a time: the next begins when this one ends, and its result isn't the stale one.
    assert responses.finish(KEY, done(b"stale"), keep=True) == ([before], after)
    assert responses.finish(KEY, done(b"fresh"), keep=True) == ([last], None)
    found = responses.admit(KEY, request(), 0)[1]
    assert found is not None
    assert found.parts == [b"fresh"]
    responses.forget(KEY)
    assert responses.admit(KEY, request(), 0) == ("run", None)


def test_a_run_that_made_no_response_is_passed_on_to_who_waited_longest() -> None:
    responses = Responses(entries_max=10, size_max=100, parked_max=10)
    first, second, third = request(), request(), request()
    for one in (first, second, third):
        responses.admit(KEY, one, 0)
    assert responses.pass_on(KEY) is second
    assert responses.pass_on(KEY) is third
    assert responses.pass_on(KEY) is None
    assert (responses.parked, responses.admit(KEY, request(), 0)) == (0, ("run", None))


def test_abandoning_returns_everyone_who_waits() -> None:
    responses = Responses(entries_max=10, size_max=100, parked_max=10)
    requests = [request() for _ in range(4)]
    responses.admit(KEY, request(), 0)
    responses.admit(OTHER, request(), 0)
    responses.admit(KEY, requests[0], 0)
    responses.admit(OTHER, requests[1], 0)
    responses.forget(KEY)
    responses.admit(KEY, requests[2], 0)
    assert responses.abandon() == [requests[0], requests[2], requests[1]]
    assert responses.finish(KEY, done(), keep=True) == ([], None)


@dataclasses.dataclass
class Place:
    host: str
    path: str


VALUES: "list[Any]" = [
    *(None, False, True, 0, 1, 2**70, 1.0, 0.0, -0.0, 1j, "", "1", "a", b"", b"1", bytearray(b"1"), memoryview(b"1\0")),
    *(
        [],
        (),
        {},
        set(),
        frozenset(),
        [1],
        [True],
        ["1"],
        (1,),
        {1},
        frozenset({1}),
        [[1], 2],
        [1, [2]],
        [1, 2],
        [2, 1],
    ),
    *({"a": 1}, {"a": True}, {"b": 1}, {1: "a"}, {"a": {"b": 1}}, {"a": 1, "b": 2}, {"a": 2, "b": 1}),
    *(Place("h", "p"), Place("p", "h"), {"host": "h", "path": "p"}, ["h", "p"], "ab", ["a", "b"], ["ab"], ["", "ab"]),
    *(decimal.Decimal("1.0"), decimal.Decimal("1.00"), datetime.date(2020, 1, 1), datetime.datetime(2020, 1, 1)),
    *("x" * 5000, b"x" * 5000, ["x" * 5000]),
]


# S9
def test_keys_of_values_that_differ_in_anything_differ() -> None:
    keys = [digest(value) for value in VALUES]
    assert len(set(keys)) == len(keys)
    assert {len(key) for key in keys} == {32}


def test_keys_of_equal_values_are_equal_whatever_order_dicts_and_sets_are_in() -> None:
    assert digest({"a": 1, "b": [2]}) == digest({"b": [2], "a": 1})
    numbers = list(range(1000, 0, -1))
    assert digest(set(numbers)) == digest({*range(1, 1001)})
    assert digest(float("nan")) == digest(float("nan"))
    assert digest(Place("h", "p")) == digest(Place("h", "p"))


def test_what_could_not_be_sent_is_no_key() -> None:
    with pytest.raises(UnsendableValue):
        digest([threading.Lock()])


class Catalog(Service):
    """Counts its executions; `begun` and `go` hold one where a test wants it."""

    invoker_class = DeduplicatingInvoker

    def __init__(self, router: Any) -> None:
        super().__init__(router)
        self.executions: list[Any] = []
        self.begun = threading.Semaphore(0)
        self.go = threading.Semaphore(0)
        self.result: Any = "tree"

    @expose(AllowAny())
    def scan(self, path: str, depth: "int | bool | str" = 0) -> Any:
        self.executions.append((path, depth))
        self.begun.release()
        assert self.go.acquire(timeout=ANSWER_TIMEOUT_S)
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result

    @expose(AllowAny())
    def count(self) -> int:
        return len(self.executions)


class Served:
    """A Catalog in a pool, closed at the end of the test."""

    def __init__(self, size: int, invoker_class: "type[DeduplicatingInvoker]" = DeduplicatingInvoker) -> None:
        self.router = FakeRouter("/1")
        self.catalog = Catalog(self.router)
        self.catalog.invoker_class = invoker_class
        self.pool = Pool(self.router, [self.catalog], size=size)

    def __enter__(self) -> "Served":
        return self

    def __exit__(self, *error: object) -> None:
        for _ in range(100):
            self.catalog.go.release()
        self.pool.close()

    def scan(self, path: str = "/", **options: Any) -> FakeCall:
        args = {"path": path, **options.pop("args", {})}
        return self.router.submit(Catalog, "scan", args, **options)

    def begin(self) -> None:
        assert self.catalog.begun.acquire(timeout=ANSWER_TIMEOUT_S)

    def let_go(self, times: int = 1) -> None:
        for _ in range(times):
            self.catalog.go.release()


# S9, S10
@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize("callers", [1, 64, 5000])
def test_however_many_ask_for_one_key_it_runs_once_and_all_get_its_result(size: int, callers: int) -> None:
    with Served(size) as served:
        calls = [served.scan() for _ in range(callers)]
        served.begin()
        # Only one thread is busy with it: the others serve other methods meanwhile.
        if size > 1:
            assert served.router.call(Catalog, "count") == 1
        served.let_go()
        assert {call.result() for call in calls} == {"tree"}
        assert served.scan().result() == "tree"
        assert served.catalog.executions == [("/", 0)]


# S9, D8
@pytest.mark.parametrize("size", [1, 3])
def test_an_error_goes_to_all_who_came_while_it_ran_and_is_not_cached(size: int) -> None:
    with Served(size) as served:
        served.catalog.result = ValueError("no such tree")
        calls = [served.scan()]
        served.begin()
        calls += [served.scan() for _ in range(20)]
        served.let_go()
        assert {repr(call.exception()) for call in calls} == {"ValueError('no such tree')"}
        assert len(served.catalog.executions) == 1
        served.catalog.result = "tree"
        served.let_go()
        assert served.scan().result() == "tree"
        assert len(served.catalog.executions) == 2


# S9
def test_an_error_is_cached_if_the_invoker_says_so() -> None:
    class Keeping(DeduplicatingInvoker):
        cache_errors = True

    with Served(1, Keeping) as served:
        served.catalog.result = ValueError("no such tree")
        served.let_go()
        assert [repr(served.scan().exception()) for _ in range(3)] == ["ValueError('no such tree')"] * 3
        assert len(served.catalog.executions) == 1


# S9
def test_a_result_that_cannot_be_sent_is_an_error_for_every_waiter_and_is_not_cached() -> None:
    with Served(1) as served:
        served.catalog.result = {"lock": threading.Lock()}
        calls = [served.scan() for _ in range(3)]
        served.let_go()
        assert {str(call.exception()) for call in calls} == {"result['lock']: lock"}
        served.catalog.result = "tree"
        served.let_go()
        assert served.scan().result() == "tree"


# S9
@pytest.mark.parametrize("size", [10, 100_000])
def test_a_cached_result_is_not_changed_by_the_buffer_it_was_made_of(size: int) -> None:
    with Served(1) as served:
        buffer = served.catalog.result = bytearray(b"x" * size)
        served.let_go()
        assert served.scan().result() == b"x" * size
        buffer[:] = b"y" * size
        assert served.scan().result() == b"x" * size


# S9
def test_arguments_of_other_types_are_other_keys() -> None:
    with Served(1) as served:
        calls = [served.scan(args={"depth": depth}) for depth in (1, True, "1", 1)]
        served.let_go(3)
        assert [call.result() for call in calls] == ["tree"] * 4
        assert [repr(depth) for _, depth in served.catalog.executions] == ["1", "True", "'1'"]


# S9
@pytest.mark.parametrize(("is_shared", "executions"), [(False, 2), (True, 1)])
def test_callers_with_and_without_a_parents_authority_are_kept_apart_unless_shared(
    is_shared: bool, executions: int
) -> None:
    class Chosen(DeduplicatingInvoker):
        pass

    Chosen.is_shared = is_shared
    with Served(2, Chosen) as served:
        served.let_go(2)
        assert [served.scan(source=source).result() for source in ("/", "/1/4", "/1", "/2")] == ["tree"] * 4
        assert len(served.catalog.executions) == executions


# S9
def test_forgetting_a_key_makes_the_next_call_run() -> None:
    with Served(1) as served:
        served.let_go(2)
        served.scan().result()
        served.catalog.invoker.forget(("scan", {"path": "/other"}))
        served.scan().result()
        assert len(served.catalog.executions) == 1
        served.catalog.invoker.forget(("scan", {"path": "/"}))
        served.scan().result()
        assert len(served.catalog.executions) == 2


# S9, S18
def test_who_may_not_call_is_refused_a_result_that_is_there_for_others() -> None:
    class Guarded(Catalog):
        @expose(AllowNames("web1"))
        def scan(self, path: str, depth: "int | bool | str" = 0) -> Any:
            return super().scan(path, depth)

    router = FakeRouter()
    guarded = Guarded(router)
    with Pool(router, [guarded]):
        guarded.go.release()
        calls = [
            router.submit(Guarded, "scan", {"path": "/"}, source="/1", caller_name=name) for name in ("web1", "web2")
        ]
        assert calls[0].result() == "tree"
        assert isinstance(calls[1].exception(), Refused)
        assert len(guarded.executions) == 1


# S10
def test_the_key_and_the_making_of_the_response_can_be_overridden() -> None:
    class ByPath(DeduplicatingInvoker):
        def key_from_request(self, method_name: "str | None", kwargs: Any, msg: Any) -> Any:
            return kwargs["path"]

        def get_response(self, args: Any) -> Any:
            return ["made of", super().get_response({"path": args["path"].upper()})]

    with Served(1, ByPath) as served:
        served.let_go()
        assert served.scan("/a", args={"depth": 1}).result() == ["made of", "tree"]
        assert served.scan("/a", args={"depth": 2}).result() == ["made of", "tree"]
        assert served.catalog.executions == [("/A", 0)]


def test_other_keys_run_beside_and_keep_their_order() -> None:
    with Served(1) as served:
        calls = [served.scan(path) for path in ("/a", "/b", "/a", "/c", "/b")]
        served.let_go(3)
        assert [call.result() for call in calls] == ["tree"] * 5
        assert [path for path, _ in served.catalog.executions] == ["/a", "/b", "/c"]


# D8
def test_the_end_of_the_caller_whose_call_runs_is_not_shared_with_those_who_wait() -> None:
    with Served(1) as served:
        served.catalog.result = Cancelled("nested", "", "its caller cancelled it")
        first = FakeJob(Catalog.name(), "scan", {"path": "/"}, here="/1")
        served.router.jobs.pool.submit(first)
        served.begin()
        second = served.scan()
        first.cancelled = True
        served.let_go()
        assert isinstance(first.call.exception(), Cancelled)
        served.begin()
        served.catalog.result = "tree"
        served.let_go()
        assert second.result() == "tree"
        assert len(served.catalog.executions) == 2


def test_a_waiter_past_its_deadline_is_not_started_in_place_of_another() -> None:
    with Served(1) as served:
        late = served.scan(deadline=0.0)
        assert isinstance(late.exception(), DeadlineExceeded)
        assert served.catalog.executions == []


def test_one_caller_too_many_is_told_so() -> None:
    class Small(DeduplicatingInvoker):
        max_queued = 2

    with Served(2, Small) as served:
        calls = [served.scan()]
        served.begin()
        for _ in range(2):
            calls.append(served.scan())
            # Served by the same thread after it: by now it is parked and the queue is empty.
            assert served.router.call(Catalog, "count") == 1
        error = served.scan().exception()
        assert isinstance(error, Overloaded)
        served.let_go()
        assert [call.result() for call in calls] == ["tree"] * 3
