"""What type checkers say of clients, futures, streams and services. Read by mypy and pyright, never run.

This program must pass; those beside it hold what must not.
"""

# pyright: strict, reportMissingTypeStubs=false, reportUnknownMemberType=false

import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

from typing_extensions import assert_type

import plasmid
from plasmid.fleet import Answers
from plasmid.service import AllowAny, AllowParents, SerializedInvoker, arg_spec, expose, idempotent, no_reply
from plasmid.service.directory import ServiceInfo
from plasmid.service.interfaces import Future, ItemStream


class Disk(plasmid.Service):
    """A service with a method of every kind."""

    invoker_class = SerializedInvoker
    policies = (AllowParents() | AllowAny(),)

    @expose(AllowParents())
    def free_bytes(self, path: str = "/", *, unit: int = 1) -> int:
        return len(path) * unit

    @expose(AllowParents())
    @expose(AllowAny() & ~AllowParents())
    @arg_spec({"name": str})
    def twice_guarded(self, name: str) -> "list[str]":
        return [name, self.caller.name]

    @expose(AllowAny())
    @idempotent()
    def size(self, path: str) -> int:
        return len(path)

    @expose(AllowAny())
    @no_reply()
    def forget(self, path: str) -> None:
        """Nothing comes of it."""

    @expose(AllowAny())
    def rows(self, count: int) -> Iterator[str]:
        yield str(count)

    @expose(AllowAny())
    async def fetch(self, url: str) -> bytes:
        return url.encode()

    @expose(AllowAny())
    async def rows_async(self, count: int) -> AsyncIterator[float]:
        yield float(count)

    @expose(AllowAny())
    def tagged(self, path: str, **tags: int) -> int:
        # Here it is the plain method.
        assert_type(self.free_bytes(path), int)
        return len(tags)

    def hidden(self) -> None:
        """Not exposed; a checker can't know."""

    def on_message_received(self, event: Any) -> None:
        self.select.remove(event.source)


class Flash(Disk):
    """Overrides methods, one with an argument more, for which pyright wants to be told."""

    @expose(AllowParents())
    def free_bytes(self, path: str = "/", *, unit: int = 1) -> int:
        return super().free_bytes(path, unit=unit)

    @expose(AllowAny())
    def rows(self, count: int, first: int = 0) -> Iterator[str]:  # pyright: ignore[reportIncompatibleVariableOverride]
        yield str(first + count)


def use_fleet(fleet: plasmid.Fleet) -> None:
    assert_type(fleet.call(os.getpid), Answers[int])
    answers = fleet.each(lambda context: context.service(Disk).fetch.start("http://a"))
    assert_type(answers, Answers[bytes])
    assert_type(answers.results, dict[plasmid.Context, bytes])
    for answer in answers:
        assert_type(answer.value, bytes)


def use(context: plasmid.Context, router: plasmid.Router) -> None:
    disk = context.service(Disk, timeout=5)
    assert_type(disk, Disk)
    assert_type(disk.free_bytes("/var"), int)
    assert_type(disk.twice_guarded("a"), list[str])
    assert_type(list(disk.rows(3)), list[str])
    assert_type(context.services(), list[ServiceInfo])

    call = disk.free_bytes.start("/var", unit=2)
    assert_type(call, Future[int])
    calls: list[plasmid.Call] = [call, disk.twice_guarded.start("a")]
    plasmid.Select(calls)
    assert_type(call.result(timeout=1), int)
    assert_type(disk.fetch.start("http://a"), Future[bytes])
    assert_type(disk.rows.start(3), ItemStream[str])
    assert_type(disk.rows_async.start(count=3), ItemStream[float])
    for row in disk.rows_async.start(3):
        assert_type(row, float)
    with disk.rows.start(3) as rows:
        assert_type(rows, ItemStream[str])
        assert_type(rows.get(timeout=1), str)
    assert_type(disk.tagged("/", size=1), int)
    assert_type(disk.tagged.start("/", size=1).result(), int)
    assert_type(context.service(Flash).rows.start(2, first=1).get(), str)

    plasmid.Pool(router, [Disk(router)], size=2).defer(print, "hello")


async def use_async(disk: Disk) -> None:
    assert_type(await disk.fetch("http://a"), bytes)
    assert_type(await disk.free_bytes.start(), int)
    assert_type([row async for row in disk.rows_async(2)], list[float])
    assert_type([row async for row in disk.rows.start(2)], list[str])
