"""Methods of every kind on real far sides, from the oldest Python on, read up, down and sideways."""

import asyncio
import subprocess
import sys
from typing import Any

import pytest

import plasmid
from tests.real import far_kinds
from tests.real.conftest import one_way, ways
from tests.real.far_kinds import Kinds
from tests.real.interpreters import SUPPORTED, interpreter

TIMEOUT_S = 30


@ways
def test_items_of_a_far_generator_come_in_order_and_it_is_closed_when_the_reader_stops(
    context: plasmid.Context,
) -> None:
    client: Any = context.service(Kinds, timeout=TIMEOUT_S)
    assert list(client.count(2000)) == list(range(2000))
    assert sum(len(item) for item in client.count(100, 100_000)) == 10_000_000
    assert list(client.count_async(50)) == list(range(50))
    assert [client.wait_closed() for _ in range(3)] == [True] * 3
    for method in (client.count, client.count_async):
        with method(10**9) as items:
            assert [next(items), next(items)] == [0, 1]
        assert client.wait_closed()


@pytest.mark.features("generators, `async`, selects")
@pytest.mark.parametrize("version", SUPPORTED)
def test_every_kind_of_method_works_on_every_python_of_a_far_side(router: plasmid.Router, version: str) -> None:
    context = router.local(name="old", python_path=interpreter(version))
    client: Any = context.service(Kinds, timeout=TIMEOUT_S)
    assert list(client.count(100)) == list(range(100))
    assert [type(item) for item in client.points()] == [far_kinds.Point]
    assert list(client.count_async(100)) == list(range(100))
    assert client.who.start().result(TIMEOUT_S) == ["root", "root"]
    call = client.forever.start()
    assert client.wait_begun()
    call.cancel()
    sender = client.open_inbox()
    for number in range(10):
        sender.put(number)
    assert sorted(client.take_messages(10)) == list(range(10))
    assert client.nest(20) == 20
    assert [client.wait_closed() for _ in range(3)] == [True] * 3
    names = [method.name for service in context.services() for method in service.methods]
    assert names == sorted(name for name in Kinds.exposed if name is not None)


@one_way
def test_async_code_awaits_and_iterates_over_a_far_side(context: plasmid.Context) -> None:
    client: Any = context.service(Kinds, timeout=TIMEOUT_S)

    async def use() -> Any:
        who, *counts = await asyncio.gather(client.who(), read(client.count(30)), read(client.count_async(30)))
        return who, counts

    async def read(items: Any) -> "list[int]":
        return [item async for item in items]

    assert asyncio.run(use()) == (["root", "root"], [list(range(30))] * 2)


@one_way
def test_a_child_reads_a_generator_of_the_root_and_of_a_sibling(  # S4
    router: plasmid.Router, context: plasmid.Context
) -> None:
    sibling = router.local(name="sibling")
    with plasmid.Pool(router, [Kinds(router)]):
        assert context.call(far_kinds.read_from_root, 100) == list(range(100))
        assert sibling.service(Kinds).nest(0) == 0
        assert context.call(far_kinds.sum_of, sibling, 1000) == 499_500


@one_way
def test_the_loss_of_a_reader_closes_the_generator_and_the_loss_of_a_generator_ends_the_reader(
    router: plasmid.Router, context: plasmid.Context
) -> None:
    kinds = Kinds(router)
    with plasmid.Pool(router, [kinds]):
        with pytest.raises(plasmid.ContextLost):
            context.call(far_kinds.leave_in_the_midst)
        assert kinds.wait_closed()
    other = router.local(name="other")
    items: Any = other.service(Kinds).count(10**9)
    assert next(items) == 0
    killed = router.child(other)
    assert killed is not None
    killed.process.kill()
    with pytest.raises(plasmid.ContextLost):
        for _ in items:
            pass


STUCK = """
import sys, threading
sys.path[:0] = {path!r}
import plasmid
from plasmid.testing import FakeRouter

class Stuck(plasmid.Service):
    begun = threading.Semaphore(0)

    @plasmid.expose(plasmid.AllowAny())
    def wait(self):
        self.begun.release()
        threading.Event().wait()

    @plasmid.expose(plasmid.AllowAny())
    async def wait_async(self):
        import asyncio
        self.begun.release()
        await asyncio.get_event_loop().create_future()

router = FakeRouter()
plasmid.Pool(router, [Stuck(router)], size=2)
calls = [router.submit(Stuck, "wait"), router.submit(Stuck, "wait_async")]
assert all(Stuck.begun.acquire(timeout=10) for _ in calls)
print("leaving")
"""


def test_no_thread_of_a_pool_keeps_the_interpreter_from_exiting() -> None:  # S15
    program = STUCK.format(path=sys.path)
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=False)
    assert (ended.returncode, ended.stdout) == (0, "leaving\n"), ended.stderr
