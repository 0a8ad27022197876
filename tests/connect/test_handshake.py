"""handshake.py: every state and input, every cut of the bytes, each limit and one more, the words of each failure."""

from collections.abc import Callable

import pytest

from plasmid.connect.handshake import (
    ADVICE,
    LINE_MAX,
    MARK_REST_MAX,
    NOISE_KEPT,
    NOISE_MAX,
    OUTPUT_LINE_MAX,
    OUTPUT_LINES_MAX,
    STATUS_ADVICE,
    Handshake,
    HandshakeState,
    describe_end,
)
from plasmid.connect.prompts import Prompt
from plasmid.connect.secret import Secret
from plasmid.connect.ssh import KNOWN_FAILURES, Ssh

NONCE = "0123456789abcdef"
MARK = b"PLASMID 1 0123456789abcdef 3.11.7 a70d0d0a\n"


def waiting() -> Handshake:
    """Return a handshake that has seen nothing yet."""
    return Handshake("ssh://web1", NONCE, "ssh", "python3", Ssh("web1").known_failures)


def outcome(handshake: Handshake) -> "tuple[object, ...]":
    """Return all that can be seen of a handshake that hasn't failed."""
    return handshake.state, handshake.version, handshake.magic, handshake.leftover, handshake.error


MARKED = (HandshakeState.MARKED, (3, 11, 7), b"a70d0d0a")


@pytest.mark.parametrize("noise", [b"", b"Welcome!\r\nweb1 $ ", b"x" * 10240 + b"\r\n", b"PLASMID 1 PLASMID 1 0123"])
@pytest.mark.parametrize("mark", [MARK, MARK.replace(b"\n", b"\r\n")])
def test_the_mark_is_found_after_any_noise_and_at_any_cut(noise: bytes, mark: bytes) -> None:
    said = noise + mark + b"link"
    cuts = range(len(said) + 1) if len(said) < 1000 else range(len(noise) - 3, len(said) + 1)
    for cut in cuts:
        handshake = waiting()
        handshake.feed(said[:cut])
        handshake.feed(said[cut:])
        assert outcome(handshake) == (*MARKED, b"link", None)
    handshake = waiting()
    for byte in said:
        handshake.feed(bytes([byte]))
    assert outcome(handshake) == (*MARKED, b"link", None)


def test_an_end_in_the_middle_of_the_mark_is_no_mark() -> None:
    for size in range(len(MARK)):
        handshake = waiting()
        handshake.feed(MARK[:size])
        assert handshake.state == HandshakeState.WAITING
        handshake.ended(0)
        assert str(handshake.error).startswith(
            "connecting to ssh://web1: wait for the far side's first line: ssh exited with status 0"
        )


def test_the_mark_of_another_connection_is_noise() -> None:
    handshake = waiting()
    handshake.feed(MARK.replace(b"0123", b"4567"))
    assert outcome(handshake) == (HandshakeState.WAITING, (0, 0, 0), b"", b"", None)
    handshake.feed(MARK)
    assert outcome(handshake) == (*MARKED, b"", None)


def test_noise_of_one_mebibyte_is_taken_and_one_byte_more_is_not() -> None:
    handshake = waiting()
    handshake.feed(b"x" * NOISE_MAX + MARK)
    assert outcome(handshake) == (*MARKED, b"", None)
    handshake = waiting()
    handshake.feed(b"x\n" * (NOISE_MAX // 2) + b"x" + MARK)
    assert (handshake.state, str(handshake.error).splitlines()) == (
        HandshakeState.FAILED,
        [
            "connecting to ssh://web1: wait for the far side's first line: 1048577 bytes came that aren't Plasmid's, "
            "and more than 1048576 are not taken",
            "It printed:",
            *["    x"] * OUTPUT_LINES_MAX,
            "Something there prints without end before Python starts: look at the shell's start files.",
        ],
    )


def test_what_is_kept_of_endless_noise_is_bounded() -> None:
    handshake = waiting()
    for _ in range(100):
        handshake.feed(b"y" * 10000)
        handshake.feed_error(b"z" * 10000)
    held = [len(value) for value in vars(handshake).values() if isinstance(value, bytes)]
    assert max(held) <= NOISE_KEPT


@pytest.mark.parametrize(
    ("version", "named"), [(b"2.7.18", "2.7.18"), (b"3.5.10", "3.5.10"), (b"3.0.1", "3.0.1"), (b"0.0.0", "0.0.0")]
)
def test_a_python_that_is_too_old_is_refused_with_both_versions_named(version: bytes, named: str) -> None:
    handshake = waiting()
    handshake.feed(b"hello\n" + MARK.replace(b"3.11.7", version))
    assert (handshake.state, str(handshake.error)) == (
        HandshakeState.FAILED,
        f"connecting to ssh://web1: wait for the far side's first line: python3 there is Python {named}, and Plasmid "
        "needs 3.6 or newer\nIt printed:\n    hello\nName a newer one with python_path=, or install one.",
    )


@pytest.mark.parametrize("version", ["3.6.0", "3.13.2", "3.100.0", "4.0.0"])
def test_a_python_that_is_new_enough_is_taken(version: str) -> None:
    handshake = waiting()
    handshake.feed(MARK.replace(b"3.11.7", version.encode()))
    assert (handshake.state, ".".join(map(str, handshake.version))) == (HandshakeState.MARKED, version)


@pytest.mark.parametrize(
    ("rest", "shown"),
    [
        (b"nonsense\n", "nonsense"),
        (b"3.11 a70d0d0a\n", "3.11 a70d0d0a"),
        (b"3.11.x a70d0d0a\n", "3.11.x a70d0d0a"),
        (b"3.11.7\n", "3.11.7"),
        (b"3.11.7 a b\n", "3.11.7 a b"),
        (b"\n", ""),
        (b"\x1b[2J\xff\n", "\\x1b[2J\ufffd"),
        (b"9" * (MARK_REST_MAX + 1), "9" * MARK_REST_MAX),
    ],
)
def test_garbage_in_place_of_the_mark_is_shown(rest: bytes, shown: str) -> None:
    handshake = waiting()
    handshake.feed(b"PLASMID 1 0123456789abcdef " + rest)
    assert handshake.state == HandshakeState.FAILED
    assert handshake.error is not None
    assert handshake.error.found == f"its first line isn't one of Plasmid's: {shown}"


def test_a_mark_of_the_longest_length_is_awaited_and_a_longer_one_is_not() -> None:
    handshake = waiting()
    handshake.feed(b"PLASMID 1 0123456789abcdef " + b"9" * MARK_REST_MAX)
    assert handshake.state == HandshakeState.WAITING


SECRET = Secret("swordfish")
QUESTIONS = [
    Prompt("password", "Password", ("",), "Pass one."),
    Prompt("passphrase", "Phrase for ", None, is_each_line=True),
    Prompt("pin", "PIN", ("",), "Pass a pin."),
    Prompt("", "Continue", None, "Don't."),
]


def asking() -> Handshake:
    """Return a handshake that has seen nothing yet, of a program that may ask."""
    return Handshake("x://y", NONCE, "prog", "python3", (), QUESTIONS, ["password", "passphrase"])


def in_state(state: str) -> Handshake:
    """Return a handshake in this state."""
    handshake = asking()
    if state == HandshakeState.ASKED:
        handshake.feed_terminal(b"Password: ")
    elif state == HandshakeState.MARKED:
        handshake.feed(MARK)
    elif state == HandshakeState.FAILED:
        handshake.ended(1)
    assert handshake.state == state
    return handshake


INPUTS: "dict[str, Callable[[Handshake], object]]" = {
    "noise": lambda one: one.feed(b"noise\n"),
    "part of the mark": lambda one: one.feed(MARK[:-1]),
    "the mark": lambda one: one.feed(MARK),
    "a bad mark": lambda one: one.feed(MARK[:-12] + b"\n"),
    "a mark of an old Python": lambda one: one.feed(MARK.replace(b"3.11.7", b"2.7.18")),
    "too much noise": lambda one: one.feed(b"x" * (NOISE_MAX + 100)),
    "stderr": lambda one: one.feed_error(b"complaint\n"),
    "words on the terminal": lambda one: one.feed_terminal(b"a lecture\n"),
    "a prompt that has an answer": lambda one: one.feed_terminal(b"Phrase for a: "),
    "a prompt without": lambda one: one.feed_terminal(b"PIN: "),
    "a question": lambda one: one.feed_terminal(b"Continue?"),
    "answered": lambda one: one.answered(SECRET),
    "ended": lambda one: one.ended(1),
    "expired": lambda one: one.expired(1.0),
}
W, A, M, F = "waiting", "asked", "marked", "failed"
NEXT = {
    "noise": {W: W, A: A, M: M, F: F},
    "part of the mark": {W: W, A: A, M: M, F: F},
    "the mark": {W: M, A: M, M: M, F: F},
    "a bad mark": {W: F, A: F, M: M, F: F},
    "a mark of an old Python": {W: F, A: F, M: M, F: F},
    "too much noise": {W: F, A: F, M: M, F: F},
    "stderr": {W: W, A: A, M: M, F: F},
    "words on the terminal": {W: W, A: A, M: M, F: F},
    "a prompt that has an answer": {W: A, A: A, M: M, F: F},
    "a prompt without": {W: F, A: A, M: M, F: F},
    "a question": {W: F, A: A, M: M, F: F},
    "answered": {W: W, A: W, M: M, F: F},
    "ended": {W: F, A: F, M: M, F: F},
    "expired": {W: F, A: F, M: M, F: F},
}


@pytest.mark.parametrize("state", [W, A, M, F])
@pytest.mark.parametrize("name", INPUTS)
def test_every_state_takes_every_input(state: str, name: str) -> None:
    handshake = in_state(state)
    error = handshake.error
    INPUTS[name](handshake)
    assert handshake.state == NEXT[name][state]
    assert (handshake.error is None) == (handshake.state != F)
    assert error in (None, handshake.error)
    assert (handshake.asked != "") == (handshake.state == A)


def test_a_prompt_is_answered_once_at_any_cut() -> None:
    said = b"Lecture.\r\nPassword: "
    for cut in range(len(said) + 1):
        handshake = asking()
        handshake.feed_terminal(said[:cut])
        handshake.feed_terminal(said[cut:])
        assert (handshake.state, handshake.asked) == (A, "password")
        handshake.answered(SECRET)
        handshake.feed_terminal(b"\r\n")
        assert (handshake.state, handshake.asked) == (W, "")
        handshake.feed(MARK)
        assert outcome(handshake) == (*MARKED, b"", None)


def test_a_password_that_is_asked_for_again_was_wrong_and_is_not_typed_again() -> None:
    handshake = asking()
    handshake.feed_terminal(b"Password: ")
    handshake.answered(SECRET)
    handshake.feed_terminal(b"\r\nSorry.\r\nPassword: ")
    assert (handshake.state, handshake.asked) == (F, "")
    assert str(handshake.error) == (
        "connecting to x://y: answer what it asks: the password was refused: it was asked for again\nIt printed:\n"
        "    Sorry.\nCheck password=, and whose it has to be. It was typed once only, so that a wrong password can't "
        "lock the account."
    )


def test_a_prompt_that_comes_while_the_answer_is_still_to_be_typed_is_seen_afterwards() -> None:
    handshake = asking()
    handshake.feed_terminal(b"Password: ")
    handshake.feed_terminal(b"\nPIN: ")
    assert handshake.state == A
    handshake.answered(SECRET)
    assert handshake.error is not None
    assert handshake.error.found == "it asks for a pin, and none was given; the password that was given didn't do"
    assert handshake.error.advice == "Pass a pin."


def test_the_same_secret_may_be_asked_for_each_of_several_keys() -> None:
    handshake = asking()
    for line in (b"Phrase for a: ", b"\nPhrase for b: "):
        handshake.feed_terminal(line)
        assert handshake.asked == "passphrase"
        handshake.answered(SECRET)
    handshake.feed_terminal(b"\nPhrase for a: ")
    assert handshake.error is not None
    assert handshake.error.found == "the passphrase was refused: it was asked for again"


def test_no_error_shows_what_was_typed() -> None:
    handshake = asking()
    handshake.feed_terminal(b"Password: ")
    handshake.answered(SECRET)
    handshake.feed_terminal(b"swordfish\r\n")
    handshake.feed_error(b"got swordfish\n")
    handshake.feed(b"echo swordfish")
    handshake.ended(1)
    assert handshake.error is not None
    assert handshake.error.output == "echo ***\n***\ngot ***"
    assert "swordfish" not in str(handshake.error)


def test_a_question_that_nobody_knows_is_shown_when_the_time_is_over() -> None:
    handshake = asking()
    handshake.feed_terminal(b"Enter the code from your app\x07: ")
    assert handshake.state == W
    handshake.expired(2.0)
    assert handshake.error is not None
    assert handshake.error.found == "within 2 s it asked what nobody here answers: Enter the code from your app\\x07:"
    assert handshake.error.advice == "Do by hand what is done here, and see what it wants to know."


def test_what_is_kept_of_an_endless_line_on_the_terminal_is_bounded() -> None:
    handshake = asking()
    for _ in range(100):
        handshake.feed_terminal(b"y" * 10000)
    assert max(len(value) for value in vars(handshake).values() if isinstance(value, bytes)) <= LINE_MAX


@pytest.mark.parametrize(
    ("status", "said", "lacks"),
    [
        (127, b"", True),
        (126, b"", True),
        (1, b"sudo: python3: command not found\n", True),
        (1, b"ModuleNotFoundError: No module named 'zlib'\n", True),
        (1, b"", False),
        (255, b"Permission denied\n", False),
        (None, b"", False),
    ],
)
def test_it_is_known_whether_another_python_might_do(status: "int | None", said: bytes, lacks: bool) -> None:
    handshake = waiting()
    handshake.feed_error(said)
    handshake.ended(status)
    assert handshake.lacks_python == lacks


@pytest.mark.parametrize(
    ("said", "found"),
    [
        (b"", "no Python from 3.6 on was found there"),
        (
            b"PLASMID found python3: Python 3.5.2\nPLASMID found python2: Python 2.7.18\n",
            "no Python from 3.6 on was found there, only python3: Python 3.5.2; python2: Python 2.7.18",
        ),
    ],
)
def test_what_was_found_instead_of_a_python_is_told(said: bytes, found: str) -> None:
    handshake = waiting()
    handshake.feed_error(b"motd\n" + said + b"PLASMID found\n")
    handshake.ended(69)
    assert handshake.error is not None
    assert (handshake.error.found, handshake.error.output) == (found, "")
    assert handshake.error.advice == "Install one, or name one with python_path= that stands elsewhere."


def test_an_error_shows_the_last_lines_of_both_outputs_and_no_byte_of_them_raw() -> None:
    handshake = waiting()
    handshake.feed(b"".join(b"out %d\r\n" % n for n in range(30)) + b"\n \n" + b"w" * (OUTPUT_LINE_MAX + 1))
    handshake.feed_error(bytes(range(256)) + b"\x1b]0;title\x07\n")
    handshake.ended(3)
    assert handshake.error is not None
    lines = handshake.error.output.splitlines()
    assert lines[: OUTPUT_LINES_MAX - 1] == [f"out {n}" for n in range(30 - OUTPUT_LINES_MAX + 1, 30)]
    assert lines[OUTPUT_LINES_MAX - 1] == "w" * OUTPUT_LINE_MAX
    assert lines[-1].endswith("\\x1b]0;title\\x07")
    assert all(line.isprintable() for line in lines)
    assert handshake.error.status == 3


def test_silence_and_noise_without_end_are_told_apart() -> None:
    handshake = waiting()
    handshake.expired(30)
    advice = (
        "Check that a login there ends at once in a shell that runs commands, without a question; "
        "connect_timeout= allows more time."
    )
    assert str(handshake.error) == (
        f"connecting to ssh://web1: wait for the far side's first line: nothing came within 30 s\n{advice}"
    )
    handshake = waiting()
    handshake.feed(b"Really? (y/n)")
    handshake.expired(0.5)
    assert str(handshake.error) == (
        "connecting to ssh://web1: wait for the far side's first line: no word of Plasmid's came within 0.5 s, only "
        f"13 other bytes\nIt printed:\n    Really? (y/n)\n{advice}"
    )


@pytest.mark.parametrize(("sign", "advice"), [*KNOWN_FAILURES, *ADVICE])
def test_known_failures_come_with_advice(sign: str, advice: str) -> None:
    for feed in (Handshake.feed, Handshake.feed_error):
        handshake = waiting()
        feed(handshake, f"Some words: {sign.upper()} and more\n".encode())
        handshake.ended(255)
        assert handshake.error is not None
        assert handshake.error.advice == advice


# What OpenSSH 9.2 and shells print, and a part of the advice that must come.
KNOWN = [
    (
        255,
        "@@@\n@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\n@@@\nHost key verification failed.\r\n",
        "ssh-keygen -R",
    ),
    (
        255,
        "No ED25519 host key is known for web1 and you have requested strict checking.\n"
        "Host key verification failed.\r\n",
        "check_host_keys='accept'",
    ),
    (255, "root@web1: Permission denied (publickey,password).\r\n", "identity_file="),
    (255, "ssh: Could not resolve hostname wbe1: Name or service not known\r\n", "spelling"),
    (255, "ssh: connect to host web1 port 22: Connection refused\r\n", "sshd runs"),
    (255, "ssh: connect to host web1 port 22: Connection timed out\r\n", "firewall"),
    (255, "kex_exchange_identification: Connection closed by remote host\r\n", "isn't an ssh server"),
    (127, "bash: line 1: exec: python3: not found\n", "install Python 3 there"),
    (127, "Notice: Permission denied (guests).\nsh: python3: not found\n", "install Python 3 there"),
    (126, "bash: /etc/passwd: Permission denied\n", "can't be run"),
    (1, "ModuleNotFoundError: No module named 'zlib'\n", "standard library"),
    (137, "", "out of memory"),
    (-9, "", "out of memory"),
    (255, "", ""),
    (0, "", ""),
]


@pytest.mark.parametrize(("status", "printed", "part"), KNOWN)
def test_what_programs_really_print_leads_to_the_right_advice(status: int, printed: str, part: str) -> None:
    handshake = waiting()
    handshake.feed_error(printed.encode())
    handshake.ended(status)
    assert handshake.error is not None
    assert part in handshake.error.advice
    assert bool(part) == bool(handshake.error.advice)


def test_every_advice_by_status_is_given() -> None:
    for status, advice in STATUS_ADVICE.items():
        handshake = waiting()
        handshake.ended(status)
        assert handshake.error is not None
        assert (handshake.error.advice, handshake.error.status) == (advice, status)


def test_an_end_is_told_in_words() -> None:
    assert [describe_end("ssh", status) for status in (0, 255, -9, -64, None)] == [
        "ssh exited with status 0",
        "ssh exited with status 255",
        "ssh was killed by signal 9 (SIGKILL)",
        "ssh was killed by signal 64 (SIGRTMAX)",
        "the far side closed its output",
    ]
