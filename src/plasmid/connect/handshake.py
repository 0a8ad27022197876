"""The start of a conversation with a far side, up to its mark: bytes in; a version or a well-worded error out.

No I/O here. What comes before the mark is noise: banners, prompts, the output of a `.bashrc`. Its end is kept for
the error message.

    state     input          next      result
    WAITING   the mark       MARKED    version, magic, leftover
    WAITING   a bad mark     FAILED    error
    WAITING   too old        FAILED    error
    WAITING   NOISE_MAX + 1  FAILED    error
    WAITING   ended          FAILED    error
    WAITING   expired        FAILED    error
    MARKED    bytes          MARKED    more leftover: they belong to the link
    FAILED    anything       FAILED    kept for the error's output no more
"""

from plasmid.boot.first_stage import MARK_START
from plasmid.core.errors import ConnectError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Optional, Sequence, Tuple

NOISE_MAX = 1 << 20  # bytes before the mark; a login that prints more isn't one that runs our command
NOISE_KEPT = 8192  # of those, for messages
MARK_REST_MAX = 64  # "3.13.0 f30d0d0a\r\n" and room
PYTHON_MIN = (3, 6)

OUTPUT_LINES_MAX = 12
OUTPUT_LINE_MAX = 300

STEP_MARK = "wait for the far side's first line"
STEP_SEND = "send the program"
STEP_HELLO = "say hello"

# (what was printed, in lower case; what to do about it). A connector's own are looked at before these. The first that
# fits is taken, so the particular comes first.
ADVICE = (
    ("account is currently not available", "The account has no shell to run Python with: check username=."),
    ("this account is", "The account has no shell to run Python with: check username=."),
    (
        "no module named",
        "The Python there lacks a part of its standard library: install the whole of it, or name another with "
        "python_path=.",
    ),
    ("memoryerror", "The machine, or the limit set for the account, is out of memory."),
    ("no space left on device", "A disk there is full."),
)

# The same by exit status, for when nothing was printed that says more.
STATUS_ADVICE = {
    126: "There is such a program, but it can't be run: check that python_path= names an executable Python.",
    127: "There is no such program: install Python 3 there, or name it with python_path=.",
    137: "It was killed: the machine may be out of memory.",
    -9: "It was killed: the machine may be out of memory.",
}


class HandshakeState:
    WAITING = "waiting"  # the mark hasn't come yet
    MARKED = "marked"  # the far side has said what it is; the program may be sent
    FAILED = "failed"  # `error` says why


class Handshake:
    """Find the mark in what a far side prints, and word what goes wrong. Owner: the thread that connects.

    target: `ssh://web1`, for messages. nonce: the one in the first stage. program: what was started here, `ssh`.
    python: what was to be started there. known: failures that this way has, like ADVICE.
    """

    def __init__(
        self, target: str, nonce: str, program: str, python: str, known: "Sequence[Tuple[str, str]]" = ()
    ) -> None:
        self.state = HandshakeState.WAITING
        self.version = (0, 0, 0)
        self.magic = b""
        self.leftover = b""
        self.error: "Optional[ConnectError]" = None
        self._target = target
        self._program = program
        self._python = python
        self._known = tuple(known) + ADVICE
        self._mark = (MARK_START + nonce + " ").encode()
        self._pending = b""
        self._noise = b""
        self._noise_size = 0
        self._errors = b""

    def feed(self, data: bytes) -> None:
        """Take bytes of the far side's stdout."""
        if self.state == HandshakeState.MARKED:
            self.leftover += data
        if self.state != HandshakeState.WAITING:
            return
        self._pending += data
        at = self._pending.find(self._mark)
        if at < 0:
            # Keep what may be the first part of the mark; all before it is noise.
            self._set_aside(max(0, len(self._pending) - len(self._mark) + 1))
        else:
            self._set_aside(at)
        # Before the mark is read, so that it doesn't depend on how the bytes were cut.
        if self._noise_size > NOISE_MAX:
            self._fail(
                "%d bytes came that aren't Plasmid's, and more than %d are not taken" % (self._noise_size, NOISE_MAX),
                advice="Something there prints without end before Python starts: look at the shell's start files.",
            )
        elif at >= 0:
            self._read_mark()

    def feed_error(self, data: bytes) -> None:
        """Take bytes of stderr: the far side's own and those of the program started here."""
        self._errors = (self._errors + data)[-NOISE_KEPT:]

    def ended(self, status: "Optional[int]") -> None:
        """Take the end of the far side's output. status: the exit status, None if the program still runs."""
        if self.state == HandshakeState.WAITING:
            self._set_aside(len(self._pending))
            self._fail(describe_end(self._program, status), status)

    def expired(self, timeout_s: float) -> None:
        """Take the end of the time allowed."""
        if self.state != HandshakeState.WAITING:
            return
        self._set_aside(len(self._pending))
        found = "nothing came within %g s" % timeout_s
        if self._noise_size:
            found = "no word of Plasmid's came within %g s, only %d other bytes" % (timeout_s, self._noise_size)
        self._fail(
            found,
            advice="Check that a login there ends at once in a shell that runs commands, without a question; "
            "connect_timeout= allows more time.",
        )

    def failure(self, step: str, found: str, status: "Optional[int]" = None, advice: str = "") -> ConnectError:
        """Return the error for this step, with the last lines printed and with advice where they are known."""
        said = (self._noise + b"\n" + self._errors).decode("utf-8", "replace").lower()
        known = "" if status is None else STATUS_ADVICE.get(status, "")
        if status in (126, 127):
            # These come from the shell over there, and outdo what a banner says about refused permissions.
            advice = known
        advice = advice or next((text for sign, text in self._known if sign in said), known)
        output = "\n".join(_last_lines(self._noise) + _last_lines(self._errors))
        return ConnectError(self._target, step, found, output, advice, status)

    def _fail(self, found: str, status: "Optional[int]" = None, advice: str = "") -> None:
        self.error = self.failure(STEP_MARK, found, status, advice)
        self.state = HandshakeState.FAILED

    def _set_aside(self, size: int) -> None:
        self._noise_size += size
        self._noise = (self._noise + self._pending[:size])[-NOISE_KEPT:]
        self._pending = self._pending[size:]

    def _read_mark(self) -> None:
        # _pending starts with the mark. A terminal in between would make its end CR LF.
        start = len(self._mark)
        line, end, rest = self._pending[start:].partition(b"\n")
        if not end and len(line) <= MARK_REST_MAX:
            return
        words = line.rstrip(b"\r").split(b" ")
        numbers = words[0].split(b".")
        if len(line) > MARK_REST_MAX or len(words) != 2 or len(numbers) != 3 or not all(map(bytes.isdigit, numbers)):
            self._set_aside(min(len(self._pending), start + MARK_REST_MAX))
            self._fail(
                "its first line isn't one of Plasmid's: %s" % _printable(line[:MARK_REST_MAX]),
                advice="Something between here and the Python there changes what it prints.",
            )
            return
        version = (int(numbers[0]), int(numbers[1]), int(numbers[2]))
        if version < PYTHON_MIN:
            self._fail(
                "%s there is Python %d.%d.%d, and Plasmid needs %d.%d or newer"
                % ((self._python,) + version + PYTHON_MIN),
                advice="Name a newer one with python_path=, or install one.",
            )
            return
        self.version = version
        self.magic = words[1]
        self.leftover = rest
        self._pending = b""
        self.state = HandshakeState.MARKED


def describe_end(program: str, status: "Optional[int]") -> str:
    """Return how a program ended, in words: `ssh exited with status 255`."""
    if status is None:
        return "the far side closed its output"
    if status < 0:
        import signal

        try:
            name = signal.Signals(-status).name
        except ValueError:
            name = "unknown"
        return "%s was killed by signal %d (%s)" % (program, -status, name)
    return "%s exited with status %d" % (program, status)


def _last_lines(data: bytes) -> "List[str]":
    lines = [line for line in data.splitlines() if line.strip()]
    return [_printable(line[:OUTPUT_LINE_MAX]) for line in lines[-OUTPUT_LINES_MAX:]]


def _printable(line: bytes) -> str:
    # A far side mustn't be able to steer the user's terminal through an error message.
    text = line.decode("utf-8", "replace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
