"""What the `plasmid` command prints. Results go to stdout, all else to stderr.

Whatever comes from a far side is escaped before it's printed, and each of its lines says where it comes from: no
context can steer the terminal, or speak as another.
"""

import base64
import dataclasses
import datetime
import enum
import json
import logging
import math
import sys
from typing import Any

from rich.console import Console
from rich.highlighter import ReprHighlighter
from rich.pretty import pretty_repr
from rich.text import Text

from plasmid.builtin.console import escape
from plasmid.cli.statuses import status_of
from plasmid.core.connect_error import ConnectError
from plasmid.core.errors import CallError, PlasmidError, RemoteError

_SAFE_INTEGER_MAX = 2**53  # what every reader of JSON has exactly
# What advice speaks of, as keyword arguments of the library, and as options of the command. Longer ones come first.
_OPTIONS = (
    ("check_host_keys='accept'", "--check-host-keys accept"),
    ("connect_timeout=", "--connect-timeout"),
    ("identity_file=", "--identity"),
    ("python_path=", "--python"),
    ("ssh_args=['-o', 'RemoteCommand=none']", "-o RemoteCommand=none"),
    ("ssh_args=['-o', 'PubkeyAuthentication=no']", "-o PubkeyAuthentication=no"),
    ("ssh_args=", "--ssh-arg"),
    ("Pass passphrase=, or have", "Have"),
    ("password=", "--ask-password"),
    ("username=", "user@ in the target"),
    ("timeout=", "--timeout"),
    ("port=", "--port"),
)
_STYLES = {logging.WARNING: "yellow", logging.ERROR: "red", logging.CRITICAL: "bold red"}


class Output:
    """Prints to this process's stdout and stderr, in colour where they are a terminal."""

    def __init__(self) -> None:
        # soft_wrap: lines of results are as long as they are; only the terminal may break them.
        self.out = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
        self.err = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)

    def show_logs(self) -> None:
        """Have what contexts print and log come to stderr from now on."""
        logger = logging.getLogger("plasmid")
        logger.setLevel(logging.INFO)
        logger.addHandler(_ToStderr(self.err))
        # The program's own logging, if its module sets that up, would print it all again.
        logger.propagate = False

    def show_result(self, name: str, result: Any) -> None:
        """Print a result; name: of the context, if each line has to say it."""
        width = max(20, self.out.width - (len(name) + 2 if name else 0))
        text = result if type(result) is str else pretty_repr(result, max_width=width)
        lines = [escape(line) for line in text.split("\n")]
        if not self.out.is_terminal:
            sys.stdout.write("".join(f"{name}: {line}\n" if name else f"{line}\n" for line in lines))
            sys.stdout.flush()
            return
        highlight = ReprHighlighter()
        for line in lines:
            shown = Text(line) if type(result) is str else highlight(Text(line))
            self.out.print(Text(f"{name}: ", style="bold") + shown if name else shown)

    def show_document(self, document: "dict[str, Any]") -> None:
        """Print one JSON document on a line of its own."""
        sys.stdout.write(json.dumps(document) + "\n")
        sys.stdout.flush()

    def show_error(self, name: str, error: BaseException) -> None:
        """Print an error, with the traceback of the far side if it came from there."""
        head, *more = describe(error).split("\n")
        self.err.print(Text(f"{name}: ", style="bold") + Text(escape(head), style="red"))
        for line in more:
            self.err.print(Text(f"    {escape(line)}"))


class _ToStderr(logging.Handler):
    """Prints log records as `web1: what was printed` and `web1: WARNING disks: what was logged`."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        name = getattr(record, "context", record.name)
        source = getattr(record, "remote_logger", "")
        text = record.getMessage()  # escaped where it comes from another context
        if source not in ("stdout", "stderr"):
            text = f"{record.levelname} {source}: {text}" if source else f"{record.levelname} {text}"
        style = "" if source in ("stdout", "stderr") else _STYLES.get(record.levelno, "")
        self._console.print(Text(f"{name}: ", style="bold") + Text(text, style=style))


def remote_error(error: BaseException) -> "RemoteError | None":
    """Return what the far side said of an error that was raised there, None for one of this side's."""
    if isinstance(error, PlasmidError) and not isinstance(error, RemoteError):
        return None  # where it was raised is Plasmid's own code, and tells a user nothing
    cause = error if isinstance(error, RemoteError) else error.__cause__
    return cause if isinstance(cause, RemoteError) else None


def describe(error: BaseException) -> str:
    """Return an error as text: its head, and the far side's traceback below it."""
    remote = remote_error(error)
    if remote is not None:
        return f"{remote.type_name}: {remote.text}\n{remote.traceback.rstrip()}".rstrip()
    text = str(error)
    if isinstance(error, (ConnectError, CallError)):
        return text.replace(error.advice, advise(error)) if error.advice else text
    return text if type(error) is PlasmidError else f"{type(error).__name__}: {text}"


def advise(error: "ConnectError | CallError") -> str:
    """Return an error's advice with the names that things have on the command line."""
    advice = error.advice
    for name, option in _OPTIONS:
        advice = advice.replace(name, option)
    return advice


def document_of(target: str, name: str, result: Any, error: "BaseException | None", seconds: float) -> "dict[str, Any]":
    """Return what is said of one target with --json."""
    return {
        "target": target,
        "context": name,
        "status": status_of(error),
        "result": as_json(result),
        "error": None if error is None else _error_document(error),
        "seconds": round(seconds, 6),
    }


def _error_document(error: BaseException) -> "dict[str, Any]":
    remote = remote_error(error)
    if remote is None:
        return {"type": type(error).__name__, "text": str(error), "traceback": None}
    return {"type": remote.type_name, "text": remote.text, "traceback": remote.traceback or None}


def as_json(value: Any) -> Any:
    """Return a result as JSON has it. What JSON has no form for becomes the nearest thing.

    Sets and tuples become arrays, dataclasses and named tuples objects, enums their names, bytes text if they are
    UTF-8 and else base64; dates, paths, decimals, UUIDs, NaN and integers beyond 2**53 become strings.
    """
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, int):
        return value if abs(value) <= _SAFE_INTEGER_MAX else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, dict):
        return {key if type(key) is str else _key(key): as_json(item) for key, item in value.items()}
    if hasattr(value, "_asdict"):
        return as_json(value._asdict())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: as_json(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, (set, frozenset)):
        return sorted(map(as_json, value), key=json.dumps)
    if isinstance(value, (list, tuple)):
        return [as_json(item) for item in value]
    if isinstance(value, (bytes, bytearray, memoryview)):
        return _text_of(bytes(value))
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, BaseException):
        return f"{type(value).__name__}: {value}"
    return str(value)


def _key(value: Any) -> str:
    shown = as_json(value)
    return shown if isinstance(shown, str) else json.dumps(shown)


def _text_of(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return base64.b64encode(data).decode()
