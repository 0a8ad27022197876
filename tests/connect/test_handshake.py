"""handshake.py: every state and input, every cut of the bytes, each limit and one more, the words of each failure."""

import pytest

from plasmid.connect.handshake import (
    ADVICE,
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
from plasmid.connect.ssh import Ssh

NONCE = "0123456789abcdef"
MARK = b"PLASMID 1 0123456789abcdef 3.11.7 a70d0d0a\n"


def waiting() -> Handshake:
    """Return a handshake that has seen nothing yet."""
    return Handshake("ssh://web1", NONCE, "ssh", "python3", Ssh.known_failures)


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


def test_every_state_takes_every_input() -> None:
    def apply(handshake: Handshake) -> "list[str]":
        states = []
        handshake.feed(b"x")
        states.append(handshake.state)
        handshake.feed_error(b"x")
        states.append(handshake.state)
        handshake.ended(1)
        states.append(handshake.state)
        handshake.expired(1.0)
        states.append(handshake.state)
        return states

    handshake = waiting()
    assert apply(handshake) == ["waiting", "waiting", "failed", "failed"]
    error = handshake.error
    assert apply(handshake) == ["failed"] * 4
    assert handshake.error is error
    handshake = waiting()
    handshake.feed(MARK)
    assert apply(handshake) == ["marked"] * 4
    assert outcome(handshake) == (*MARKED, b"x", None)


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


@pytest.mark.parametrize(("sign", "advice"), [*Ssh.known_failures, *ADVICE])
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
