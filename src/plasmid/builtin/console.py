"""The service `plasmid.console` of the root: what contexts print and log becomes log records of this program.

Each record comes out of the logger `plasmid.ctx.<context name>` and carries the fields `context` (the name), `address`
(`/3/1`), `remote_logger` and `remote_time`. The text of another machine is data here: control bytes, line breaks
and what turns writing direction are escaped, so that it can neither forge a line nor reach the terminal raw; it is
never a format string; lengths and rates are bounded.
"""

import logging
import threading
from time import monotonic

from plasmid.core.address import STEP_SIZE, text
from plasmid.core.errors import PlasmidError, Refused, ValueDecodeError
from plasmid.runtime.console import NAME_SIZE_MAX, RECORDS_BURST, RECORDS_PER_S, TEXT_SIZE_MAX, RateLimit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional

    from plasmid.runtime.jobs import Job

# A context keeps to its own, lower rate, and there may be others below the same link.
LINK_RECORDS_BURST = 4 * RECORDS_BURST
LINK_RECORDS_PER_S = 4 * RECORDS_PER_S
BODY_SIZE_MAX = 1 << 20
LEVEL_MAX = 100
# `logging` never forgets a logger, and how many contexts it has below it is a child's own claim.
LOGGERS_COUNT_MAX = 4096
TELL_INTERVAL_S = 1.0


def escape(written: str) -> str:
    """Return text that is safe to print on one line: `\\n`, `\\x1b`, `\\u202e` stand for what they name.

    Escaped is what isn't printable by Unicode: control bytes, line breaks, writing direction, lone surrogates.
    """
    if written.isprintable():
        return written
    return "".join(letter if letter.isprintable() or letter == "\t" else ascii(letter)[1:-1] for letter in written)


class ConsoleServer:
    """Turns the records that contexts send into this program's. handle() is called on the housekeeping thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._limits: "Dict[bytes, RateLimit]" = {}  # by link: the direct child
        self._told: "Dict[bytes, float]" = {}
        self._names: "set[str]" = set()
        # Records that were none. Only counted: a record for each would be what its sender wants.
        self.malformed_count = 0

    def handle(self, job: "Job") -> None:
        """Answer a call of `plasmid.console`."""
        try:
            if job.method != "records":
                raise Refused("plasmid.console", "", "it has no method %r, only 'records'" % (job.method,))
            if job.size > BODY_SIZE_MAX:
                raise Refused("plasmid.console", "", "%d bytes at once; the limit is %d" % (job.size, BODY_SIZE_MAX))
            args = job.args()
            records = args.get("records") if isinstance(args, dict) else None
            if not isinstance(records, list):
                raise Refused("plasmid.console", "", "records= must be a list")
        except PlasmidError as error:
            self.malformed_count += isinstance(error, (Refused, ValueDecodeError))
            job.fail(error.with_traceback(None))  # our own word, not an error of a method's
            return
        caller = job.caller
        self.show(records, caller.name or text(job.source), job.source)
        job.reply(None)

    def forget(self, address: bytes) -> None:
        """Drop what is known of a direct child that is gone."""
        with self._lock:
            self._limits.pop(address, None)
            self._told.pop(address, None)

    def show(self, records: "List[Any]", context_name: str, address: bytes) -> None:
        """Log records `[level, logger, text, time]` of one context, as far as they are that and within the rate."""
        name = escape(context_name)[:NAME_SIZE_MAX]
        logger = logging.getLogger(self._logger_name(name))
        fields = {"context": name, "address": text(address)}
        link = address[:STEP_SIZE]
        for record in records:
            if not _is_record(record):
                self.malformed_count += 1
                continue
            level, remote_logger, written, remote_time = record
            dropped = self._take(link)
            if dropped is None:
                continue
            if dropped:
                told = "%d records of this context and those below it were dropped: over %d/s"
                _log(logger, logging.WARNING, told % (dropped, LINK_RECORDS_PER_S), fields, "plasmid.console", 0.0)
            _log(logger, level, written, fields, remote_logger, float(remote_time))

    def _logger_name(self, name: str) -> str:
        with self._lock:
            if name not in self._names:
                if len(self._names) >= LOGGERS_COUNT_MAX:
                    return "plasmid.ctx"
                self._names.add(name)
        return "plasmid.ctx." + name

    def _take(self, link: bytes) -> "Optional[int]":
        """Return None if a record is over the rate, else how many were dropped and not told of yet."""
        now = monotonic()
        with self._lock:
            limit = self._limits.setdefault(link, RateLimit(LINK_RECORDS_BURST, LINK_RECORDS_PER_S))
            if not limit.take(now):
                return None
            # Told once in a while: in a flood every record that still gets through would bring one of these.
            if not limit.dropped or now - self._told.get(link, 0.0) < TELL_INTERVAL_S:
                return 0
            self._told[link] = now
            dropped, limit.dropped = limit.dropped, 0
            return dropped


def _is_record(record: object) -> bool:
    if not isinstance(record, list) or len(record) != 4:
        return False
    level, remote_logger, written, remote_time = record
    return (
        type(level) is int
        and 0 <= level <= LEVEL_MAX
        and type(remote_logger) is str
        and type(written) is str
        and type(remote_time) in (int, float)
        and -1e12 < remote_time < 1e12
    )


def _log(
    logger: logging.Logger, level: int, written: str, fields: "Dict[str, str]", remote_logger: str, remote_time: float
) -> None:
    if not logger.isEnabledFor(level):
        return
    shown = escape(written[:TEXT_SIZE_MAX])
    if len(written) > TEXT_SIZE_MAX:
        shown += "... (%d more characters)" % (len(written) - TEXT_SIZE_MAX)
    extra = dict(fields, remote_logger=escape(remote_logger[:NAME_SIZE_MAX]), remote_time=remote_time)
    # Its text as an argument: nothing in it is a format. Its time is this machine's: the clocks of others differ,
    # and one of them may be set to any value.
    record = logger.makeRecord(logger.name, level, "<%s>" % fields["context"], 0, "%s", (shown,), None, extra=extra)
    logger.handle(record)
