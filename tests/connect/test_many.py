"""connect_all(): what counts as a target, and who is started when and from where. No process, no clock."""

import threading
from typing import Any, cast

import pytest

import plasmid
from plasmid.connect.connector import Connector
from plasmid.connect.local import Local
from plasmid.connect.many import CANCELLED, Connected, Connecting, read_targets
from plasmid.connect.ssh import Ssh
from plasmid.router import Router


class Place:
    """A context of the fake router: an address and a name."""

    def __init__(self, router: "FakeRouter", address: bytes, name: str) -> None:
        self.router = router
        self.address = address
        self.name = name

    def __str__(self) -> str:
        return self.name

    def shutdown(self, wait: bool) -> None:
        """Take note of it."""
        self.router.ended.append(self.name)


class FakeRuntime:
    """As much of a runtime as connect_all() looks at."""

    def __init__(self) -> None:
        self.node = self
        self.address = b""
        self.on_gone: list[Any] = []


class FakeRouter:
    """A router whose start() answers from a script: how each target ends, by name.

    log: (name, via) of each start, in order. Where the script has a function, that is called with the router and the
    place, and its result or its error is what the start comes to.
    """

    def __init__(self, script: "dict[str, Any] | None" = None) -> None:
        self.runtime = FakeRuntime()
        self.script = script or {}
        self.log: list[tuple[str, str]] = []
        self.ended: list[str] = []
        self.running = 0
        self.running_max = 0
        self.numbers: dict[bytes, int] = {}
        self.lock = threading.Lock()

    def start(self, connector: Connector, via: Any, given_up: Any) -> Place:
        """Do what the script says."""
        address = via.address if via is not None else b""
        with self.lock:
            self.log.append((connector.name, via.name if via is not None else "/"))
            self.running += 1
            self.running_max = max(self.running_max, self.running)
            number = self.numbers[address] = self.numbers.get(address, 0) + 1
        try:
            scripted = self.script.get(connector.name)
            if callable(scripted):
                scripted = scripted(via, given_up)
            if isinstance(scripted, BaseException):
                raise scripted
            return Place(self, address + number.to_bytes(4, "big"), connector.name)
        finally:
            with self.lock:
                self.running -= 1

    def lose(self, address: bytes) -> None:
        """Tell those who listen that a context is gone."""
        for listener in self.runtime.on_gone:
            listener(address, "it closed its end")


def connect(router: FakeRouter, targets: "list[Any]", **how: Any) -> Connected:
    """Run connect_all() on the fake."""
    limit, fan_out, progress = how.pop("limit", 50), how.pop("fan_out", None), how.pop("progress", None)
    connecting = Connecting(cast(Router, router), read_targets(targets, {}), None, limit, fan_out, progress)
    return connecting.run(how.pop("timeout", None), how.pop("cancel", None), how.pop("keep", True))


def local(*names: str) -> "list[Any]":
    """Return a target for each name."""
    return [{"url": "local:", "name": name} for name in names]


def refused(name: str) -> plasmid.ConnectError:
    """Return an error as a connection has them."""
    return plasmid.ConnectError(name, "wait for the far side's first line", "ssh exited with status 255", status=255)


# -- targets


def test_a_target_is_a_url_a_dict_or_a_connector() -> None:
    targets = read_targets(
        ["ssh://me@web1:2222", {"hostname": "web2", "username": "you"}, Local(name="here"), {"url": "web3", "port": 9}],
        {},
    )
    assert [target.name for target in targets] == ["ssh://me@web1:2222", "web2", "here", "web3"]
    connectors = [cast(Connector, target.connector) for target in targets]
    assert [connector.target for connector in connectors] == [
        "ssh://me@web1:2222",
        "ssh://you@web2",
        "local",
        "ssh://web3:9",
    ]


def test_options_are_for_all_targets_that_take_them_and_say_nothing_themselves() -> None:
    named, plain, here = read_targets(
        [{"hostname": "a", "username": "own"}, "b", "local:"], {"username": "all", "connect_timeout": 5.0}
    )
    assert cast(Ssh, named.connector).username == "own"
    assert cast(Ssh, plain.connector).username == "all"
    assert [cast(Connector, one.connector).connect_timeout for one in (named, plain, here)] == [5.0, 5.0, 5.0]


def test_an_option_that_no_target_takes_is_an_error_before_anything_is_started() -> None:
    with pytest.raises(TypeError, match=r"^no target of connect_all\(\) takes usrname=$"):
        read_targets(["a", "local:"], {"usrname": "x", "port": 22})


def test_no_targets_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"^connect_all\(\) got no targets: the list is empty$"):
        read_targets([], {})


def test_one_target_alone_is_no_list() -> None:
    with pytest.raises(TypeError, match=r"^connect_all\(\) takes a list of targets; it got 'web1' alone$"):
        read_targets("web1", {})


def test_two_targets_of_one_name_are_an_error_that_says_which() -> None:
    with pytest.raises(ValueError) as caught:
        read_targets(["web1", "web2", "web1"], {})
    assert str(caught.value) == (
        "connect_all() got the target 'web1' twice, as number 1 and 3; nothing was started. To have two contexts "
        'there, give each a name of its own: {"url": \'web1\', "name": "..."}'
    )


def test_a_target_that_is_none_fails_alone_and_says_why() -> None:
    router = FakeRouter()
    result = connect(
        router,
        [
            *("nosuch:", "ssh://a:b@c", {"hostname": "x", "prot": 1}, 7, {"hostname": "-x", "password": "hidden"}),
            *local("good"),
        ],
    )
    assert [str(context) for context in result.contexts] == ["good"]
    assert {name: error.found.partition("; there are ")[0] for name, error in result.failures.items()} == {
        "nosuch:": "no way to connect is called 'nosuch'",
        "ssh://a:b@c": "a URL must not hold a password: a:...@c",
        "{'hostname': 'x', 'prot': 1}": "Ssh.__init__() got an unexpected keyword argument 'prot'",
        "7": "a target is a URL, a dict, a Connector or a host of an inventory, not 7",
        "{'hostname': '-x', 'password': '***'}": "the host name for ssh must not start with '-'; it is '-x'",
    }
    assert {error.step for error in result.failures.values()} == {"read the target"}


# -- who is started when, and from where


def test_what_failed_is_kept_apart_from_what_is_there() -> None:
    router = FakeRouter({"b": refused("b"), "d": ValueError("a slip in somebody's connector")})
    result = connect(router, local("a", "b", "c", "d"))
    assert [str(context) for context in result] == ["a", "c"]
    assert len(result) == 2
    assert str(result["c"]) == "c"
    assert list(result.failures) == ["b", "d"]
    with pytest.raises(plasmid.ConnectError) as caught:
        result["b"]
    assert str(caught.value) == str(refused("b"))
    assert result.failures["d"].found == "ValueError: a slip in somebody's connector"
    with pytest.raises(KeyError):
        result["z"]


def test_no_more_than_limit_are_being_started_at_a_time() -> None:
    together = threading.Barrier(3)

    def meet(via: Any, given_up: Any) -> None:
        together.wait(30)

    names = [str(number) for number in range(12)]
    router = FakeRouter(dict.fromkeys(names, meet))
    assert len(connect(router, local(*names), limit=3)) == 12
    assert router.running_max == 3


def test_progress_is_told_on_the_callers_thread_once_for_each() -> None:
    told: list[Any] = []

    def progress(done: int, count: int, name: str, outcome: Any) -> None:
        told.append((threading.current_thread(), done, count, name, str(outcome.target if name == "b" else outcome)))

    connect(FakeRouter({"b": refused("b")}), local("a", "b"), limit=1, progress=progress)
    here = threading.current_thread()
    assert told == [(here, 1, 2, "a", "a"), (here, 2, 2, "b", "b")]


def test_with_fan_out_each_context_leads_to_so_many_and_the_tree_is_as_flat_as_can_be() -> None:
    router = FakeRouter()
    names = [str(number) for number in range(14)]
    result = connect(router, local(*names), fan_out=3)
    assert len(result) == 14
    started_from = [via for _, via in router.log]
    assert max(started_from.count(name) for name in ["/", *names]) == 3
    depths = sorted(len(context.address) // 4 for context in result)
    assert depths.count(1) == 3
    assert max(depths) <= 4


def test_what_would_have_been_below_a_context_that_failed_is_started_elsewhere() -> None:
    router = FakeRouter({"0": refused("0"), "1": refused("1")})
    names = [str(number) for number in range(8)]
    result = connect(router, local(*names), fan_out=2)
    assert list(result.failures) == ["0", "1"]
    assert len(result) == 6
    assert {via for _, via in router.log} & {"0", "1"} == set()


def test_what_is_started_by_way_of_a_context_that_is_lost_meanwhile_is_started_over() -> None:
    lost: list[bytes] = []

    def lose_the_way(via: Any, given_up: Any) -> "BaseException | None":
        if via is None or lost:
            return None
        lost.append(via.address)
        router.lose(via.address)
        return plasmid.ContextLost("plasmid.children.start", str(via), "it closed its end")

    router = FakeRouter({"2": lose_the_way})
    result = connect(router, local("0", "1", "2"), fan_out=2)
    (way,) = {via for name, via in router.log if name == "2" and via != "/"} - {str(context) for context in result}
    assert [error.found for error in result.failures.values()] == ["it was lost again: it closed its end"]
    assert list(result.failures) == [way]
    assert "2" in result.by_target


def test_a_target_to_which_no_way_is_left_is_reported() -> None:
    def lost(via: Any, given_up: Any) -> "BaseException | None":
        return None if via is None else plasmid.ContextLost("start", str(via), "it closed its end")

    # The root's two places are taken by 0 and 1, and those lead nowhere.
    router = FakeRouter({"2": lost})
    result = connect(router, local("0", "1", "2"), fan_out=2)
    assert [str(context) for context in result] == ["0", "1"]
    assert str(result.failures["2"]) == (
        "connecting to 2: wait for its turn: no context is left that it could be started from"
    )


def test_an_error_by_way_of_another_context_names_it() -> None:
    def refuse_below(via: Any, given_up: Any) -> "BaseException | None":
        return None if via is None else refused("ssh://c")

    result = connect(FakeRouter({"c": refuse_below}), local("a", "b", "c"), fan_out=2)
    assert result.failures["c"].target in ("ssh://c via a", "ssh://c via b")


def wait_until_given_up(via: Any, given_up: Any) -> BaseException:
    """Connect until nobody wants it any more."""
    pause = threading.Event()
    while not given_up():
        pause.wait(0.01)
    return plasmid.ConnectError("x", "wait for the far side's first line", given_up())


@pytest.mark.parametrize("keep", [True, False])
def test_when_it_is_cancelled_what_is_being_made_is_given_up_and_what_is_made_is_kept_or_ended(keep: bool) -> None:
    cancel = threading.Event()
    router = FakeRouter({"b": wait_until_given_up})

    def progress(done: int, count: int, name: str, outcome: Any) -> None:
        cancel.set()

    result = connect(router, local("a", "b", "c"), limit=2, cancel=cancel, keep=keep, progress=progress)
    assert set(result.failures) >= {"b"}
    assert result.failures["b"].found == CANCELLED
    assert [str(context) for context in result] == (
        [] if not keep else [n for n in ("a", "c") if n in result.by_target]
    )
    assert ("a" in router.ended) is not keep
    assert set(result.by_target) | set(result.failures) == {"a", "b", "c"}


def test_what_is_not_there_when_the_time_is_over_has_failed() -> None:
    router = FakeRouter({"b": wait_until_given_up})
    result = connect(router, local("a", "b"), timeout=0.2)
    assert str(result["a"]) == "a"
    assert result.failures["b"].found == "it was given up, because the 0.2 s of timeout= for all of them were over"


def test_when_progress_raises_all_that_was_made_is_ended_and_nothing_is_listened_to_any_more() -> None:
    def progress(done: int, count: int, name: str, outcome: Any) -> None:
        raise KeyboardInterrupt

    router = FakeRouter({"b": wait_until_given_up})
    with pytest.raises(KeyboardInterrupt):
        connect(router, local("a", "b"), progress=progress)
    assert router.ended == ["a"]
    assert (router.running, router.runtime.on_gone) == (0, [])


@pytest.mark.parametrize(
    ("how", "found"),
    [({"limit": 0}, "limit must be at least 1; it is 0"), ({"fan_out": 1}, "fan_out must be at least 2; it is 1")],
)
def test_a_limit_that_allows_nothing_is_an_error(how: "dict[str, int]", found: str) -> None:
    with pytest.raises(ValueError) as caught:
        connect(FakeRouter(), local("a"), **how)
    assert str(caught.value) == found
