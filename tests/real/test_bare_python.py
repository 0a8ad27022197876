"""A far side whose standard library is the smallest there is."""

import datetime
import logging
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import plasmid
from tests.real import bare, far, leftovers
from tests.real.test_logs import Records, records

__all__ = ["records"]

TIMEOUT_S = 30


@pytest.fixture(scope="module")
def minimal(session_leaves_nothing: leftovers.Session) -> "Iterator[list[str]]":
    """Give the words that start a minimal Python."""
    folder = session_leaves_nothing.folder / "minimal"
    try:
        yield bare.minimal_python(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def machine(session_leaves_nothing: leftovers.Session) -> "Iterator[list[str]]":
    """Give the words that start the Python of a machine that has nothing else."""
    folder = session_leaves_nothing.folder / "machine"
    try:
        yield bare.root_folder(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def everything_works(router: plasmid.Router, context: plasmid.Context, python_path: Any, records: Records) -> None:
    """Try calls, services, values, streams, output, and a child of the far side's own."""
    assert context.call(far.lacking, bare.LACKING) == list(bare.LACKING)
    value = {"a": (1, {2, 3}, b"x" * 5000), "when": datetime.datetime(2024, 2, 29, tzinfo=datetime.timezone.utc)}
    assert context.call(far.echo, value) == value
    counter = context.service(far.Counter)
    assert [counter.add(2), counter.add(3), counter.made_count()] == [2, 5, 1]
    assert context.call_async(far.add, 1).result(TIMEOUT_S) == 11
    with plasmid.Pool(router, services=[far.Catalog(router)]):
        assert context.call(far.ask_catalog, "k") == ["k", "far"]
    with pytest.raises(KeyError):
        context.call(far.fail, "KeyError", "k")
    receiver = plasmid.Receiver(router)
    context.call_no_reply(far.put_all, receiver.to_sender(), list(range(100)))
    assert [receiver.get(TIMEOUT_S) for _ in range(100)] == list(range(100))
    sender = context.call(far.open_receiver)
    sender.put("down")
    assert context.call(far.take_from_receiver, 1) == ["down"]
    context.call(far.say_everything)
    below = router.local(via=context, name="below")
    assert below.service(far.Counter).add(1) == 1
    records.wait_until(lambda: "logged 1 of them" in records.texts())
    assert {record.levelno for record in records.kept} == {logging.INFO, logging.WARNING}


def test_everything_works_on_the_smallest_standard_library(  # U2, U3, U4, U6
    router: plasmid.Router, minimal: "list[str]", records: Records
) -> None:
    context = router.local(python_path=minimal, name="far")
    everything_works(router, context, minimal, records)


def test_a_value_of_a_module_that_is_lacking_there_is_refused_by_name(
    router: plasmid.Router, minimal: "list[str]"
) -> None:
    context = router.local(python_path=minimal)
    with pytest.raises(plasmid.ValueDecodeError, match="No module named 'uuid'"):
        context.call(far.echo, uuid.UUID(int=5))
    assert context.call(far.add, 1) == 11


@pytest.mark.heavy
@pytest.mark.timeout(300)
def test_a_machine_that_has_nothing_but_the_smallest_python_is_enough(  # U2
    router: plasmid.Router, machine: "list[str]", records: Records
) -> None:
    context = router.local(python_path=machine, name="far")
    everything_works(router, context, machine, records)
    # There is no terminal, and who isn't asked needs none.
    assert router.su(via=context).call(far.add, 1) == 11
    with pytest.raises(plasmid.ConnectError) as caught:
        router.su(via=context, password="not needed")
    assert caught.value.found.startswith("there is no terminal to be had here for its questions: ")
    assert [str(path) for path in Path(machine[-2]).glob("**/plasmid*")] == []
