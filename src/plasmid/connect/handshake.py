"""The start of a conversation with a far side, up to its mark: bytes in; a version or a well-worded error out.

No I/O here. What comes before the mark is noise: banners, the output of a `.bashrc`, or questions on the terminal
that the program has for them. The end of the noise is kept for the error message.

    state     input                              next      result
    WAITING   the mark                           MARKED    version, magic, leftover
    WAITING   a bad mark, or a Python too old    FAILED    error
    WAITING   NOISE_MAX + 1                      FAILED    error
    WAITING   a prompt for a secret we have      ASKED     asked: the secret's name
    WAITING   that prompt again                  FAILED    error: it was wrong
    WAITING   a prompt for one we haven't        FAILED    error
    WAITING   a question that nobody answers     FAILED    error
    ASKED     answered                           WAITING   the answer has been typed
    ASKED     a prompt                           ASKED     seen once the first is answered
    ASKED     the mark, an end, a limit          as from WAITING
    WAITING   ended, expired                     FAILED    error
    MARKED    bytes                              MARKED    more leftover: they belong to the link
    FAILED    anything                           FAILED    kept for the error's output no more
"""

from plasmid.boot.first_stage import MARK_START
from plasmid.connect.prompts import printable
from plasmid.core.connect_error import ConnectError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Optional, Sequence, Tuple

    from plasmid.connect.prompts import Prompt
    from plasmid.connect.secret import Secret

NOISE_MAX = 1 << 20  # bytes before the mark; a login that prints more isn't one that runs our command
NOISE_KEPT = 8192  # of those, for messages
MARK_REST_MAX = 64  # "3.13.0 f30d0d0a\r\n" and room
PYTHON_MIN = (3, 6)

OUTPUT_LINES_MAX = 12
OUTPUT_LINE_MAX = 300

LINE_MAX = 1024  # of a terminal's last line, which may become a prompt

STEP_MARK = "wait for the far side's first line"
STEP_PROMPT = "answer what it asks"
STEP_SEND = "send the program"
STEP_HELLO = "say hello"

NO_PROGRAM = "There is no such program: install Python 3 there, or name it with python_path=."

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
    (
        "has no attribute 'poll'",
        "The Python there was built without select.poll, which Plasmid waits with where there is no epoll, and needs "
        "beside it: name another with python_path=.",
    ),
    ("memoryerror", "The machine, or the limit set for the account, is out of memory."),
    ("no space left on device", "A disk there is full."),
    ("command not found", NO_PROGRAM),
)

# When a password was asked for twice and nothing was printed that says more; filled in with its name.
REFUSED_ADVICE = "Check %s=, and whose it has to be. It was typed once only, so that a wrong %s can't lock the account."

# What is printed, in lower case, where there is no Python to run, besides the exit statuses 126 and 127 of shells.
NO_PYTHON = (b"command not found", b"executable file not found", b"no module named 'zlib'")

# Begins what the line of shell that looks for a Python says: of each that won't do, and at its end if none will.
FOUND = b"PLASMID found"

# The same by exit status, for when nothing was printed that says more.
STATUS_ADVICE = {
    126: "There is such a program, but it can't be run: check that python_path= names an executable Python.",
    127: NO_PROGRAM,
    137: "It was killed: the machine may be out of memory.",
    -9: "It was killed: the machine may be out of memory.",
}


class HandshakeState:
    WAITING = "waiting"  # the mark hasn't come yet
    ASKED = "asked"  # `asked` is to be typed
    MARKED = "marked"  # the far side has said what it is; the program may be sent
    FAILED = "failed"  # `error` says why


class Handshake:
    """Find the mark in what a far side prints, and word what goes wrong. Owner: the thread that connects.

    target: `ssh://web1`, for messages. nonce: the one in the first stage. program: what was started here, `ssh`.
    python: what was to be started there. known: failures that this way has, like ADVICE. prompts: what it may ask on
    its terminal, looked at in this order. secrets: the names of those that we have the answer to.
    has_shell: whether a shell there runs the command.
    """

    def __init__(
        self,
        target: str,
        nonce: str,
        program: str,
        python: str,
        known: "Sequence[Tuple[str, str]]" = (),
        prompts: "Sequence[Prompt]" = (),
        secrets: "Sequence[str]" = (),
        has_shell: bool = True,
    ) -> None:
        self.state = HandshakeState.WAITING
        self.version = (0, 0, 0)
        self.magic = b""
        self.leftover = b""
        self.error: "Optional[ConnectError]" = None
        self.lacks_python = False  # another one might do
        self.has_looked = False  # others were looked for, and none does
        self._target = target
        self._program = program
        self._python = python
        self._known = tuple(known) + ADVICE
        self._prompts = tuple(prompts)
        self._secrets = tuple(secrets)
        self._answered: "List[Tuple[str, str]]" = []
        self._hidden: "List[Secret]" = []
        self._has_shell = has_shell
        self._mark = (MARK_START + nonce + " ").encode()
        self._pending = b""
        self._noise = b""
        self._noise_size = 0
        self._errors = b""
        self._line = b""  # the last one on the terminal

    @property
    def asked(self) -> str:
        """The name of the secret that is to be typed now; "" if none is."""
        return self._answered[-1][0] if self.state == HandshakeState.ASKED else ""

    def feed(self, data: bytes) -> None:
        """Take bytes of the far side's stdout."""
        if self.state == HandshakeState.MARKED:
            self.leftover += data
        if not self._is_open():
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

    def feed_terminal(self, data: bytes) -> None:
        """Take bytes that the program has written to its terminal."""
        lines = (self._line + data).replace(b"\r", b"\n").split(b"\n")
        self.feed_error(b"\n".join(lines[:-1]) + b"\n" if lines[1:] else b"")
        self._line = lines[-1][-LINE_MAX:]
        self._look_for_prompt()

    def answered(self, secret: "Secret") -> None:
        """Take note that this, which was asked for, has been typed. No error will show it."""
        self._hidden.append(secret)
        if self.state == HandshakeState.ASKED:
            self.state = HandshakeState.WAITING
            self._look_for_prompt()

    def ended(self, status: "Optional[int]") -> None:
        """Take the end of the far side's output. status: the exit status, None if the program still runs."""
        if not self._is_open():
            return
        self._set_aside(len(self._pending))
        said = (self._noise + self._errors).lower()
        self.lacks_python = status in (126, 127) or any(sign in said for sign in NO_PYTHON)
        found = [line[len(FOUND) :].strip() for line in self._errors.splitlines() if line.startswith(FOUND)]
        if found:
            self.has_looked = True
            self._errors = b""
            others = "; ".join(map(printable, filter(None, found[:OUTPUT_LINES_MAX])))
            self._fail(
                "no Python from 3.6 on was found there" + (", only " + others if others else ""),
                status,
                "Install one, or name one with python_path= that stands elsewhere.",
            )
            return
        self._fail(describe_end(self._program, status), status)

    def expired(self, timeout_s: float) -> None:
        """Take the end of the time allowed."""
        if not self._is_open():
            return
        self._set_aside(len(self._pending))
        found = "nothing came within %g s" % timeout_s
        advice = (
            "Check that a login there ends at once in a shell that runs commands, without a question; "
            "connect_timeout= allows more time."
        )
        if self._line.strip():
            found = "within %g s it asked what nobody here answers: %s" % (timeout_s, printable(self._line.strip()))
            advice = "Do by hand what is done here, and see what it wants to know."
        elif self._noise_size:
            found = "no word of Plasmid's came within %g s, only %d other bytes" % (timeout_s, self._noise_size)
        self._fail(found, advice=advice)

    def failure(
        self, step: str, found: str, status: "Optional[int]" = None, advice: str = "", otherwise: str = ""
    ) -> ConnectError:
        """Return the error for this step, with the last lines printed.

        advice: what to try. Without it what is known of such a failure, and if that is nothing, `otherwise`.
        """
        noise, errors = self._shown(self._noise), self._shown(self._errors + b"\n" + self._line)
        said = (noise + b"\n" + errors).decode("utf-8", "replace").lower()
        known = "" if status is None else STATUS_ADVICE.get(status, "")
        if self._has_shell and status in (126, 127):
            # These come from the shell over there, and outdo what a banner says about refused permissions.
            advice = advice or known
        advice = advice or next((text for sign, text in self._known if sign in said), known or otherwise)
        output = "\n".join(_last_lines(noise) + _last_lines(errors))
        return ConnectError(self._target, step, found, output, advice, status)

    def _is_open(self) -> bool:
        return self.state in (HandshakeState.WAITING, HandshakeState.ASKED)

    def _look_for_prompt(self) -> None:
        if self.state != HandshakeState.WAITING:
            return
        line = self._line.decode("utf-8", "replace").strip()
        prompt = next((one for one in self._prompts if one.matches(line)), None)
        if prompt is None:
            return
        question = (prompt.secret, line if prompt.is_each_line else "")
        if not prompt.secret:
            self._fail("it asks what isn't answered here", advice=prompt.advice, step=STEP_PROMPT)
        elif prompt.secret not in self._secrets:
            found = "it asks for a %s, and none was given" % prompt.secret
            if self._answered:
                found += "; the %s that was given didn't do" % self._answered[-1][0]
            self._fail(found, advice=prompt.advice, step=STEP_PROMPT)
        elif question in self._answered:
            # Once is all: a second try brings an account nearer to being locked.
            self._line = b""
            found = "the %s was refused: it was asked for again" % prompt.secret
            self._fail(found, otherwise=REFUSED_ADVICE % (prompt.secret, prompt.secret), step=STEP_PROMPT)
        else:
            self._answered.append(question)
            self._line = b""
            self.state = HandshakeState.ASKED

    def _shown(self, said: bytes) -> bytes:
        for secret in self._hidden:
            said = said.replace(secret.reveal().encode("utf-8", "surrogateescape"), b"***")
        return said

    def _fail(
        self, found: str, status: "Optional[int]" = None, advice: str = "", otherwise: str = "", step: str = STEP_MARK
    ) -> None:
        self.error = self.failure(step, found, status, advice, otherwise)
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
                "its first line isn't one of Plasmid's: %s" % printable(line[:MARK_REST_MAX]),
                advice="Something between here and the Python there changes what it prints.",
            )
            return
        version = (int(numbers[0]), int(numbers[1]), int(numbers[2]))
        if version < PYTHON_MIN:
            self.lacks_python = True
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
    return [printable(line[:OUTPUT_LINE_MAX]) for line in lines[-OUTPUT_LINES_MAX:]]
