"""A process without a descriptor left says so in an error, loses nothing by it, and works on once it has some again."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import plasmid
from tests.real import far, far_kinds, leftovers
from tests.real.chaos import far_descriptors
from tests.real.conftest import one_way
from tests.real.parts import require_linux

# More than it takes to start a context: a link, a pipe for stderr, what it takes to start a program, a terminal.
ROOM_ENOUGH = 9
WAIT_S = 30.0


def below() -> "list[int]":
    """Return the numbers of the processes below this one."""
    return sorted(process.pid for process in leftovers.descendants(os.getpid()))


@contextlib.contextmanager
def room_for(spare: int) -> "Iterator[None]":
    """Leave this process room for so many more descriptors."""
    far_descriptors.take_all_but(spare)
    try:
        yield
    finally:
        far_descriptors.give_back()


@pytest.mark.parametrize("url", ["local:", pytest.param("sudo://root@", marks=pytest.mark.connector("sudo"))])
def test_a_context_that_cannot_be_started_for_lack_of_descriptors_leaves_nothing(
    router: plasmid.Router, url: str
) -> None:
    require_linux()
    sibling = router.local(name="sibling")
    assert sibling.call(far.add, 1) == 11
    router.connect(url, name="first").shutdown()  # what is imported then, takes descriptors too
    before = below()
    texts = set()
    for spare in range(ROOM_ENOUGH):
        held = far_descriptors.open_descriptors()
        with room_for(spare):
            try:
                router.connect(url, name="far").shutdown()
                break
            except plasmid.ConnectError as error:
                texts.add((error.found.replace(sys.executable, "python"), error.advice.partition(" (")[0]))
            assert sibling.call(far.add, spare) == spare + 10
        assert far_descriptors.open_descriptors() == held
        assert below() == before
    assert spare > 2
    program = url.partition(":")[0].replace("local", "python")
    assert texts == {(f"no descriptor is left here to start {program} with", "Raise the limit")}
    assert router.connect(url, name="far").call(far.add, 1) == 11


def test_of_many_that_are_started_at_once_those_fail_for_which_there_is_no_room(router: plasmid.Router) -> None:
    require_linux()
    router.connect_all([{"url": "local:", "name": "first"}])["first"].shutdown()
    held, before = far_descriptors.open_descriptors(), below()
    with room_for(20):
        hosts = router.connect_all([{"url": "local:", "name": f"c{number}"} for number in range(12)], limit=12)
    started, failed = list(hosts), hosts.failures
    assert len(started) + len(failed) == 12
    assert min(len(started), len(failed)) > 0
    assert {type(error) for error in failed.values()} == {plasmid.ConnectError}
    for context in started:
        assert context.call(far.add, 1) == 11
        context.shutdown()
    assert below() == before
    assert far_descriptors.open_descriptors() == held


# S15, S20
@one_way
def test_an_async_method_that_cannot_be_run_is_an_error_and_is_over(
    router: plasmid.Router, context: plasmid.Context
) -> None:
    require_linux()
    child = router.child(context)
    assert child is not None
    context.call(far_descriptors.import_asyncio)
    context.call(far_descriptors.take_all_but, 1)
    with pytest.raises(OSError, match="Too many open files"):
        context.call_service(far_kinds.Kinds, "who")
    # Its pool ends, as nothing runs there any more, and so it leaves by itself.
    context.shutdown()
    assert child.end == "python exited with status 0"


def everything(router: plasmid.Router, context: plasmid.Context, file: Path) -> "dict[str, Callable[[], Any]]":
    """Return what one may want of a context, by its name."""

    def use_channel() -> Any:
        with plasmid.Channel(router) as channel:
            context.call(far.join_and_greet, channel.other_end)
            return channel.get(WAIT_S)

    def use_generator() -> Any:
        with plasmid.service.stream(context, far_kinds.Kinds, "count", to=100) as items:
            return list(items)[-1]

    def use_file() -> Any:
        return plasmid.files.put(context, __file__, str(file)).member_count

    return {
        "function": lambda: context.call(far.add, 1),
        "service": lambda: context.service(far.Work).takes_path("x"),
        "call up": lambda: context.call(far.ask_catalog, "key"),
        "channel": use_channel,
        "generator": use_generator,
        "import": lambda: context.call(far_descriptors.import_something),
        "print": lambda: context.call(far.print_lines, 3),
        "async method": lambda: context.call_service(far_kinds.Kinds, "who"),
        "command": lambda: plasmid.commands.run(context, ["cat"], input=b"x").status,
        "context below": lambda: context.call(far_descriptors.start_and_end_below) > 0,
        "context via": lambda: router.local(via=context, name="below").call(far.add, 1),
        "file": use_file,
    }


WORKS: "dict[str, Any]" = {
    "function": 11,
    "service": "x",
    "call up": ["key", "far"],
    "channel": "hello",
    "generator": 99,
    "import": "wave",
    "print": None,
    "async method": ["root", "root"],
    "command": 0,
    "context below": True,
    "context via": 11,
    "file": 1,
}
# What takes no descriptor there, once its modules are.
TAKES_NONE = ("function", "service", "call up", "channel", "generator", "print")


@one_way
@pytest.mark.parametrize("spare", [0, 1, 2, 4, 7])
@pytest.mark.parametrize("is_fresh", [True, False])
def test_a_far_side_without_descriptors_says_so_and_works_on_once_it_has_some(
    router: plasmid.Router, context: plasmid.Context, tmp_path: Path, spare: int, is_fresh: bool
) -> None:
    require_linux()
    with plasmid.Pool(router, services=[far.Catalog(router)]):
        wanted = everything(router, context, tmp_path / "file")
        if not is_fresh:
            context.call(far_descriptors.open_descriptors)
            assert {name: wanted[name]() for name in TAKES_NONE} == {name: WORKS[name] for name in TAKES_NONE}
        context.call(far_descriptors.take_all_but, spare)
        found: dict[str, Any] = {}
        for name, use in wanted.items():
            try:
                found[name] = use()
            except (OSError, plasmid.PlasmidError) as error:
                found[name] = str(error)
        for name, value in found.items():
            assert value == WORKS[name] or "Too many open files" in value or "no descriptor is left" in value, name
        if not is_fresh:
            assert {name: found[name] for name in TAKES_NONE} == {name: WORKS[name] for name in TAKES_NONE}
        context.call(far_descriptors.give_back)
        assert {name: use() for name, use in wanted.items()} == WORKS
