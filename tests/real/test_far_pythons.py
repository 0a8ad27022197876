"""Every Python that a far side may have, from 3.6 on; and a clear word about those that are too old."""

import datetime
import logging
import os
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

import plasmid
from tests.connect.stand_ins import stand_in
from tests.real import far, far_values, interpreters
from tests.real.test_logs import Records, records

__all__ = ["records"]

pytestmark = pytest.mark.connector("local")

TIMEOUT_S = 30

# A Python that isn't to be had any more: another one that says it is that.
DISGUISED = """
sys.version_info = (3, 5, 10, "final", 0)
exec(sys.argv[3], {"__name__": "__main__"})
"""


@pytest.mark.features("boot", "calls", "services", "calls up", "errors", "streams", "children of its own", "logs")
@pytest.mark.parametrize("version", interpreters.SUPPORTED)
def test_everything_works_on_every_supported_python(  # U2, U3, U4, U6
    router: plasmid.Router, records: Records, version: str, tried: "Callable[[str], AbstractContextManager[None]]"
) -> None:
    with tried("boot"):
        context = router.local(python_path=interpreters.interpreter(version), name="far")
        assert context.call(far.python_version) == [int(part) for part in version.split(".")]
    with tried("calls"):
        assert context.call(far.Shape.describe, 2) == "Shape with 4 sides, 2 times"
        value = {"a": (1, {2, 3}, b"x" * 5000), "when": datetime.datetime(2024, 2, 29, tzinfo=datetime.timezone.utc)}
        assert context.call(far.echo, value) == value
        if version != "3.6":  # which has no dataclasses
            assert context.call(far_values.move, far_values.Point(1, 2), 3) == far_values.Point(4, 5)

    with tried("services"):
        counter = context.service(far.Counter)
        assert [counter.add(2), counter.add(3), counter.made_count()] == [2, 5, 1]
        busy = context.call_async(far.wait_at_gate, "busy")
        context.service(far.Gate).open()
        assert busy.result(TIMEOUT_S) == "busy"

    with tried("calls up"), plasmid.Pool(router, services=[far.Catalog(router), far.Clock(router)]):
        assert context.call(far.ask_catalog, "k") == ["k", "far"]
        with plasmid.timeout(TIMEOUT_S):
            left = context.call(far.ask_seconds_left, 15)
        assert left is not None
        assert 5 < left < 15

    with tried("errors"):
        with pytest.raises(KeyError) as caught:
            context.call(far.fail, "KeyError", "k")
        assert "raise getattr(builtins, name)(*args)" in "".join(traceback.format_exception(caught.value))

    with tried("streams"):
        receiver = plasmid.Receiver(router)
        context.call_no_reply(far.put_all, receiver.to_sender(), list(range(100)))
        assert [receiver.get(TIMEOUT_S) for _ in range(100)] == list(range(100))
        context.call(far.open_receiver).put("down")
        assert context.call(far.take_from_receiver, 1) == ["down"]

    with tried("children of its own"):
        below = router.local(python_path=interpreters.interpreter(version), via=context, name="below")
        assert below.call(far.python_version) == context.call(far.python_version)
        assert below.service(far.Counter).add(1) == 1

    with tried("logs"):
        context.call(far.say_everything)
        context.shutdown()
        records.wait_until(lambda: "logged 1 of them" in records.texts())
        assert {"printed", "written", "complained", "from a process"} < set(records.texts())
        assert {record.levelno for record in records.kept} == {logging.INFO, logging.WARNING}


@pytest.mark.features("files")
@pytest.mark.parametrize("version", interpreters.SUPPORTED)
def test_files_go_either_way_with_every_supported_python(  # U2, U8
    router: plasmid.Router, tmp_path: Path, version: str
) -> None:
    context = router.local(python_path=interpreters.interpreter(version), name="far")
    (tmp_path / "tree" / "sub").mkdir(parents=True)
    (tmp_path / "tree" / "sub" / "small").write_bytes(b"small")
    (tmp_path / "tree" / "large").write_bytes(os.urandom(2_000_000))
    assert plasmid.files.fetch(context, tmp_path / "tree", tmp_path / "fetched").member_count == 4
    assert plasmid.files.put(context, tmp_path / "fetched", tmp_path / "put").size == 2_000_005
    assert (tmp_path / "put" / "large").read_bytes() == (tmp_path / "tree" / "large").read_bytes()
    (tmp_path / ".again.plasmid-partial").write_bytes((tmp_path / "tree" / "large").read_bytes()[:1_000_000])
    arrived = plasmid.files.put(context, tmp_path / "tree" / "large", tmp_path / "again", resume=True)
    assert arrived.resumed_at == 1_000_000
    push = plasmid.PushFileService(router)
    push.push(tmp_path / "tree" / "large", [context], name="large")
    assert context.service(plasmid.PushFileService).held() == {"large": 2_000_000}


def test_python_2_is_refused_by_both_versions(router: plasmid.Router) -> None:  # U2
    path = interpreters.interpreter(interpreters.TOO_OLD)
    with pytest.raises(plasmid.ConnectError) as caught:
        router.local(python_path=path)
    error = caught.value
    assert error.step == "wait for the far side's first line"
    assert error.found.startswith(f"{path} there is Python 2.7.")
    assert error.found.endswith(", and Plasmid needs 3.6 or newer")
    assert error.advice == "Name a newer one with python_path=, or install one."


def test_python_3_5_is_refused_by_both_versions(router: plasmid.Router, tmp_path: Path) -> None:  # U2
    path = stand_in(tmp_path, DISGUISED)
    with pytest.raises(plasmid.ConnectError) as caught:
        router.local(python_path=path)
    assert str(caught.value) == (
        "connecting to local: wait for the far side's first line: "
        f"{path} there is Python 3.5.10, and Plasmid needs 3.6 or newer\n"
        "Name a newer one with python_path=, or install one."
    )
