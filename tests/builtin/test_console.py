"""The root's console: records of contexts as log records, whatever the contexts send."""

import logging
import math
from typing import Any

import pytest

from plasmid.builtin import console
from plasmid.builtin.console import BODY_SIZE_MAX, ConsoleServer, escape
from plasmid.core.address_text import parse
from plasmid.core.errors import ValueDecodeError
from plasmid.runtime.console import NAME_SIZE_MAX, TEXT_SIZE_MAX

CHILD = parse("/3")
SENT_AT = 1_700_000_000.5


class Caller:
    """The context that a job came from."""

    def __init__(self, name: str) -> None:
        self.name = name


class Asked:
    """A job as the console sees it, and its answer."""

    def __init__(self, args: object, name: str = "db1", source: bytes = CHILD) -> None:
        self._args = args
        self.caller = Caller(name)
        self.source = source
        self.method: str | None = "records"
        self.size = 100
        self.answer: object = "none"

    def args(self, classes: object = None) -> object:
        if isinstance(self._args, Exception):
            raise self._args
        return self._args

    def reply(self, value: object) -> None:
        self.answer = value

    def fail(self, error: BaseException) -> None:
        self.answer = f"{type(error).__name__}: {error}"


def send(server: ConsoleServer, records: object, name: str = "db1", source: bytes = CHILD) -> object:
    job: Any = Asked({"records": records}, name, source)
    server.handle(job)
    return job.answer


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Give what was logged, from DEBUG on."""
    caplog.set_level(logging.DEBUG)
    return caplog


def test_a_record_is_logged_under_its_contexts_name_with_its_fields(log: pytest.LogCaptureFixture) -> None:  # U6
    assert send(ConsoleServer(), [[40, "shop.till", "no change", SENT_AT]]) is None
    (record,) = log.records
    assert (record.name, record.levelno, record.levelname) == ("plasmid.ctx.db1", 40, "ERROR")
    assert (record.getMessage(), record.pathname, record.exc_info) == ("no change", "<db1>", None)
    fields = {name: getattr(record, name) for name in ("context", "address", "remote_logger", "remote_time")}
    assert fields == {"context": "db1", "address": "/3", "remote_logger": "shop.till", "remote_time": SENT_AT}


def test_a_level_that_is_not_wanted_is_not_logged(log: pytest.LogCaptureFixture) -> None:
    log.set_level(logging.WARNING)
    send(ConsoleServer(), [[20, "stdout", "quiet", 0.0], [30, "stderr", "loud", 0.0]])
    assert log.messages == ["loud"]


def test_a_context_without_a_name_goes_by_its_address(log: pytest.LogCaptureFixture) -> None:
    send(ConsoleServer(), [[30, "root", "x", 0.0]], "", parse("/3/1"))
    assert [record.name for record in log.records] == ["plasmid.ctx./3/1"]


def test_every_control_byte_is_escaped_and_no_line_can_be_forged(log: pytest.LogCaptureFixture) -> None:  # U6
    every = "".join(map(chr, range(0x100))) + "\u2028\u2029\u202e\u2066\ufeff\udc80\U000e0001"
    send(ConsoleServer(), [[30, every, every + "\nWARNING root: forged %s %d", 0.0]], "db\n1\x1b[2J")
    (record,) = log.records
    line = logging.Formatter("%(name)s %(context)s %(remote_logger)s %(message)s").format(record)
    assert line.replace("\t", "").isprintable()
    assert len(line.splitlines()) == 1
    assert record.name == "plasmid.ctx.db\\n1\\x1b[2J"
    assert record.getMessage().endswith(
        "\\xff"[:0] + "\\u2028\\u2029\\u202e\\u2066\\ufeff\\udc80\\U000e0001\\nWARNING root: forged %s %d"
    )


def test_known_terminal_sequences_are_shown_as_text() -> None:
    assert escape("\x1b]0;title\x07\x1b[31mred\x9b1m\r\n") == "\\x1b]0;title\\x07\\x1b[31mred\\x9b1m\\r\\n"
    assert escape("Grüße,\tEuro €, 日本") == "Grüße,\tEuro €, 日本"


def test_what_is_no_record_is_dropped_and_counted_and_the_rest_is_logged(log: pytest.LogCaptureFixture) -> None:
    good = [30, "root", "good", 1]
    bad: list[Any] = [
        *(None, 1, "text", b"x", {}, [], [30, "root", "x"], [30, "root", "x", 0.0, 0], (30, "root", "x", 0.0)),
        *(["30", "root", "x", 0.0], [True, "root", "x", 0.0], [-1, "root", "x", 0.0], [101, "root", "x", 0.0]),
        *([10**30, "root", "x", 0.0], [30, b"root", "x", 0.0], [30, None, "x", 0.0], [30, "root", b"x", 0.0]),
        *([30, "root", ["x"], 0.0], [30, "root", "x", None], [30, "root", "x", "0"], [30, "root", "x", math.nan]),
        *([30, "root", "x", math.inf], [30, "root", "x", 10**300], [30, "root", "x", True]),
    ]
    server = ConsoleServer()
    assert send(server, [good, *bad, good]) is None
    assert (log.messages, server.malformed_count) == (["good", "good"], len(bad))


def test_what_is_no_list_of_records_is_refused_and_counted(log: pytest.LogCaptureFixture) -> None:
    server = ConsoleServer()
    no_list = "Refused: plasmid.console: records= must be a list"
    bodies: tuple[Any, ...] = (None, 1, [], {}, {"records": None}, {"records": {}}, {"records": "text"})
    for args in bodies:
        job: Any = Asked(args)
        server.handle(job)
        assert job.answer == no_list
    broken: Any = Asked(ValueDecodeError("no value"))
    server.handle(broken)
    assert broken.answer == "ValueDecodeError: no value"
    other: Any = Asked({"records": []})
    other.method = "rotate"
    server.handle(other)
    assert other.answer == "Refused: plasmid.console: it has no method 'rotate', only 'records'"
    large: Any = Asked(AssertionError("must not be decoded"))
    large.size = BODY_SIZE_MAX + 1
    server.handle(large)
    assert large.answer == f"Refused: plasmid.console: {BODY_SIZE_MAX + 1} bytes at once; the limit is {BODY_SIZE_MAX}"
    assert (log.messages, server.malformed_count) == ([], 10)


def test_a_text_over_the_limit_is_cut_and_says_so(log: pytest.LogCaptureFixture) -> None:
    limit = TEXT_SIZE_MAX
    send(ConsoleServer(), [[30, "n" * 500, "x" * limit, 0.0], [30, "n", "x" * (limit + 1), 0.0]])
    assert log.messages == ["x" * limit, "x" * limit + "... (1 more characters)"]
    assert len(getattr(log.records[0], "remote_logger")) == NAME_SIZE_MAX  # noqa: B009


def test_a_flood_is_dropped_told_and_takes_nothing_from_a_sibling(
    log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:  # U6
    now = [100.0]
    monkeypatch.setattr(console, "monotonic", lambda: now[0])
    server = ConsoleServer()
    burst = console.LINK_RECORDS_BURST
    # A child can't get more by speaking for contexts below it.
    for address in ("/3", "/3/1", "/3/2"):
        send(server, [[30, "root", str(number), 0.0] for number in range(2000)], "db1", parse(address))
    assert log.messages == [*map(str, range(2000)), *map(str, range(2000))]
    log.clear()
    send(server, [[30, "root", "sibling", 0.0]], "web", parse("/4"))
    now[0] += 1
    send(server, [[30, "root", "later", 0.0]])
    told = (
        f"{6000 - burst} records of this context and those below it were dropped: over {console.LINK_RECORDS_PER_S}/s"
    )
    assert log.messages == ["sibling", told, "later"]
    server.forget(CHILD)
    assert len(server._limits) == 1


def test_claimed_names_make_no_endless_number_of_loggers(
    log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "LOGGERS_COUNT_MAX", 2)
    server = ConsoleServer()
    for number in range(4):
        send(server, [[30, "root", "x", 0.0]], f"many{number}")
    names = [(record.name, getattr(record, "context")) for record in log.records]  # noqa: B009
    assert names == [
        ("plasmid.ctx.many0", "many0"),
        ("plasmid.ctx.many1", "many1"),
        ("plasmid.ctx", "many2"),
        ("plasmid.ctx", "many3"),
    ]
