"""What far sides print, log and warn of comes to the root as log records that name their context."""

import logging
import threading
from collections.abc import Callable, Iterator

import pytest

import plasmid
from tests.real import far
from tests.real.conftest import one_way, ways
from tests.real.interpreters import SUPPORTED, interpreter

TIMEOUT_S = 30


class Records(logging.Handler):
    """Keeps the records of all contexts, and lets a test wait for them."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[logging.LogRecord] = []
        self._changed = threading.Condition()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record."""
        with self._changed:
            self.kept.append(record)
            self._changed.notify_all()

    def texts(self, logger: str = "plasmid.ctx.far") -> "list[str]":
        """Return what has come from one context."""
        return [record.getMessage() for record in self.kept if record.name == logger]

    def wait_until(self, holds: "Callable[[], bool]") -> None:
        """Return as soon as holds() is true; fail if it isn't in time."""
        with self._changed:
            assert self._changed.wait_for(holds, TIMEOUT_S), self.texts()


@pytest.fixture
def records() -> "Iterator[Records]":
    """Give what keeps the records of contexts during a test."""
    handler = Records()
    logger = logging.getLogger("plasmid.ctx")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(level)


@ways
def test_prints_warnings_and_logs_arrive_as_records_of_their_context(  # U6
    records: Records, context: plasmid.Context
) -> None:
    context.call(far.say_everything)
    records.wait_until(lambda: len(records.kept) >= 6)
    found = {(record.levelname, getattr(record, "remote_logger", ""), record.getMessage()) for record in records.kept}
    warned = next(text for _, _, text in found if text.endswith("UserWarning: beware"))
    assert "tests/real/far.py:" in warned
    # Some Pythons show the source line of a warning as well.
    assert {entry for entry in found if not entry[2].startswith("  warnings.warn(")} == {
        ("INFO", "stdout", "printed"),
        ("INFO", "stdout", "written"),
        ("INFO", "stdout", "from a process"),
        ("WARNING", "stderr", "complained"),
        ("WARNING", "stderr", warned),
        ("WARNING", "far.log", "logged 1 of them"),
    }
    for record in records.kept:
        assert (record.name, record.__dict__["context"]) == ("plasmid.ctx.far", "far")
        assert record.__dict__["address"] == str(context).partition("(")[2][:-1]


@ways
def test_lines_arrive_in_the_order_in_which_they_were_printed(  # U6
    records: Records, context: plasmid.Context
) -> None:
    context.call(far.print_lines, 800)
    records.wait_until(lambda: len(records.kept) >= 800)
    assert records.texts() == [f"line {n}" for n in range(800)]


@ways
def test_the_last_line_before_the_end_is_not_lost_even_without_its_newline(  # U6
    records: Records, context: plasmid.Context
) -> None:
    for _ in range(3):
        context.call(far.print_and_leave, "almost ")
    context.call(far.print_and_leave, "done")
    context.shutdown()
    records.wait_until(lambda: bool(records.kept))
    assert records.texts() == ["almost almost almost done"]


def test_what_was_printed_before_a_routers_close_arrives_before_it_returns(records: Records) -> None:  # U6
    with plasmid.Router() as router:
        context = router.local(name="far")
        context.call(far.print_lines, 50)
        context.call(far.print_and_leave, "end")
    assert records.texts() == [f"line {n}" for n in range(50)] + ["end"]


@ways
@pytest.mark.parametrize("end", ["a return", "sys.exit", "an exception", "os._exit", "Router.close"])
def test_nothing_is_lost_or_out_of_order_however_it_ends(  # U6
    records: Records, router: plasmid.Router, context: plasmid.Context, end: str
) -> None:
    call = context.call_async(far.say_in_turn, 900, end)
    error = call.exception(TIMEOUT_S) if end != "Router.close" else None
    expected = {"sys.exit": plasmid.RemoteError, "an exception": KeyError, "os._exit": plasmid.ContextLost}
    assert type(error) is expected.get(end, type(None))
    if end == "Router.close":
        router.close()
    elif end != "os._exit":
        context.shutdown()
    records.wait_until(lambda: len(records.texts()) >= 900)
    assert records.texts() == [f"line {number}" for number in range(900)]
    # A relay may tell of its own that it was lost.
    kept = [record for record in records.kept if record.name == "plasmid.ctx.far"]
    assert {record.__dict__["context"] for record in kept} == {"far"}
    sources = [record.__dict__["remote_logger"] for record in kept[:4]]
    assert sources == ["stdout", "stderr", "far.log", "stderr"]


@one_way
@pytest.mark.parametrize("version", SUPPORTED)
def test_it_is_so_on_every_python(records: Records, router: plasmid.Router, way: str, version: str) -> None:
    context = router.local(name="far", python_path=interpreter(version))
    assert isinstance(context.call_async(far.say_in_turn, 200, "os._exit").exception(TIMEOUT_S), plasmid.ContextLost)
    records.wait_until(lambda: len(records.kept) >= 200)
    assert records.texts() == [f"line {number}" for number in range(200)]


@one_way
def test_a_slow_handler_at_the_root_is_waited_for(  # U6
    records: Records, router: plasmid.Router, context: plasmid.Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plasmid.runtime.helpers.JOIN_S", 0.0)
    turn = threading.Event()

    def wait_for_the_end(record: logging.LogRecord) -> bool:
        while not router.runtime.loop.closed:
            turn.wait(0.01)
        return True

    records.addFilter(wait_for_the_end)
    context.call(far.print_lines, 100)
    router.close()
    assert records.texts() == [f"line {number}" for number in range(100)]


@one_way
def test_control_bytes_and_line_breaks_are_escaped(records: Records, context: plasmid.Context) -> None:  # U6
    context.call(print, "red \x1b[31m", "two\rlines", "a\u202eb %s %d", sep="|")
    records.wait_until(lambda: bool(records.kept))
    assert records.texts() == ["red \\x1b[31m|two\\rlines|a\\u202eb %s %d"]


@one_way
def test_a_flood_is_cut_to_a_rate_and_says_how_much_is_missing(  # U6
    records: Records, context: plasmid.Context
) -> None:
    context.call(far.print_lines, 5000)
    assert context.call(far.add, 1) == 11
    context.shutdown()

    def dropped() -> int:
        return sum(int(text.partition(" ")[0]) for text in records.texts() if "were dropped" in text)

    def kept() -> "list[str]":
        return [text for text in records.texts() if text.startswith("line ")]

    records.wait_until(lambda: len(kept()) + dropped() >= 5000)
    assert len(kept()) + dropped() == 5000
    assert 1000 <= len(kept()) < 4000
    assert kept() == sorted(kept(), key=lambda text: int(text[5:]))


@one_way
def test_many_contexts_keep_their_names_apart(
    records: Records, router: plasmid.Router, context: plasmid.Context
) -> None:
    other = router.local(name="other")
    other.call(print, "from other")
    context.call(print, "from far")
    records.wait_until(lambda: len(records.kept) >= 2)
    assert (records.texts(), records.texts("plasmid.ctx.other")) == (["from far"], ["from other"])
