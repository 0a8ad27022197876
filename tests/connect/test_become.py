"""become.py: the commands of sudo, su and doas, their questions, and what their words mean."""

from typing import Any

import pytest

from plasmid.boot.first_stage import first_stage
from plasmid.connect.become import Become, Doas, Su, Sudo, english
from plasmid.connect.connector import Connector
from plasmid.connect.handshake import Handshake, HandshakeState
from plasmid.connect.prompts import CHANGE_WORDS, EXPIRED
from plasmid.connect.secret import Secret

TEXT = first_stage("00")
PYTHON = ["python3", "-S", "-c", TEXT, "plasmid:x"]


def test_sudo_is_told_not_to_ask_unless_there_is_a_password() -> None:
    assert Sudo("joe").argv(TEXT, "plasmid:x") == ["sudo", "-n", "-H", "-u", "joe", "--", *PYTHON]
    argv = Sudo("joe", "pw", sudo_path="/opt/sudo", sudo_args=["-k"]).argv(TEXT, "plasmid:x")
    assert argv == ["/opt/sudo", "-k", "-p", argv[3], "-H", "-u", "joe", "--", *PYTHON]
    assert argv[3].startswith("[plasmid ")
    assert Sudo("joe", "pw").argv(first_stage("01"), "x")[2] != argv[3], "each connection asks by a word of its own"


def test_doas_is_told_not_to_ask_unless_there_is_a_password() -> None:
    assert Doas("joe").argv(TEXT, "plasmid:x") == ["doas", "-n", "-u", "joe", "--", *PYTHON]
    argv = Doas(password="pw", doas_path="~/doas", doas_args=["-L"]).argv(TEXT, "plasmid:x")
    assert argv[1:] == ["-L", "-u", "root", "--", *PYTHON]
    assert argv[0].endswith("/doas")
    assert "~" not in argv[0]


def test_su_runs_a_command_of_sh_that_moves_the_link_back() -> None:
    argv = Su("joe", su_args=["-m"]).argv('a "b"', "plasmid:x")
    command = "exec python3 -S -c 'a \"b\"' plasmid:x <&4 >&5 2>&6 4<&- 5>&- 6>&-"
    assert argv == ["su", "-m", "-s", "/bin/sh", "-c", command, "joe"]


@pytest.mark.parametrize("make", [Sudo, Su, Doas])
def test_the_name_of_the_user_is_checked(make: Any) -> None:
    for name in ("", "-u", "a b", "a;b", "a\n"):
        with pytest.raises(ValueError, match=f"the user name for {make.scheme}"):
            make(name)
    assert (make().name, make().target, make().program) == (
        f"{make.scheme}:root",
        f"{make.scheme}://root@",
        make.scheme,
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"LC_MESSAGES": "C"}),
        ({"LANG": "de_DE.UTF-8", "LANGUAGE": "de:fr"}, {"LANG": "de_DE.UTF-8", "LC_MESSAGES": "C"}),
        ({"LC_ALL": "de", "A": "b"}, {"LANG": "de", "LC_CTYPE": "de", "LC_MESSAGES": "C", "A": "b"}),
        ({"LC_ALL": "", "LC_MESSAGES": "fr"}, {"LC_MESSAGES": "C"}),
    ],
)
def test_only_the_language_of_messages_is_changed(before: "dict[str, str]", after: "dict[str, str]") -> None:
    assert english(before) == after


def handshake_of(connector: Connector) -> Handshake:
    """Return the handshake that a connection by it has."""
    prompts = connector.prompts(TEXT)
    names = list(connector.secrets())
    return Handshake(connector.target, "00", "x", "python3", connector.known_failures, prompts, names)


def asked_by(connector: Connector, said: str) -> str:
    """Return what the handshake wants typed after this has appeared on the terminal."""
    handshake = handshake_of(connector)
    handshake.feed_terminal(said.encode())
    return handshake.asked


def test_only_the_question_with_its_own_word_is_sudos() -> None:
    connector = Sudo("joe", "pw")
    question = connector.argv(TEXT, "x")[2]
    lecture = "We trust you have received the usual lecture.\r\n\r\n    #1) Respect the privacy of others.\r\n\r\n"
    assert asked_by(connector, lecture + question) == "password"
    others = [
        "Password: ",
        "[sudo] password for joe: ",
        "[plasmid 00000000] password: ",
        question + "\n",
        question[:-3],
    ]
    assert [asked_by(connector, other) for other in others] == [""] * len(others)


@pytest.mark.parametrize(
    "said", ["Password: ", "Last login: never\r\nPassword: ", "Password:", "Passwort: ", "パスワード："]
)
def test_what_pam_calls_a_password_is_sus_question(said: str) -> None:
    assert asked_by(Su("joe", "pw"), said) == "password"


@pytest.mark.parametrize(
    "said", ["Password", "Password for the shredder: ", "Verification code: ", "Password: \n", "xPassword: ", ": ", ""]
)
def test_anything_else_is_not(said: str) -> None:
    assert asked_by(Su("joe", "pw"), said) == ""


@pytest.mark.parametrize("said", ["\rdoas (joe@web1) password: ", "Password: "])
def test_doas_names_itself_when_it_asks_and_pam_may_not(said: str) -> None:
    assert asked_by(Doas("joe", "pw"), said) == "password"


@pytest.mark.parametrize("make", [Sudo, Su, Doas])
@pytest.mark.parametrize("words", CHANGE_WORDS)
def test_a_password_that_is_to_be_changed_is_not_typed(make: Any, words: str) -> None:
    handshake = handshake_of(make("joe", "pw"))
    handshake.feed_terminal(f"{words.capitalize()}: ".encode())
    assert (handshake.state, handshake.asked) == (HandshakeState.FAILED, "")
    assert handshake.error is not None
    assert (handshake.error.found, handshake.error.advice) == ("it asks what isn't answered here", EXPIRED)


def test_su_without_a_password_says_whose_it_wants() -> None:
    handshake = handshake_of(Su("joe"))
    handshake.feed_terminal(b"Password: ")
    assert str(handshake.error) == (
        "connecting to su://joe@: answer what it asks: it asks for a password, and none was given\nIt printed:\n"
        "    Password: \nsu wants the password of username=: pass it with password=."
    )


# What sudo 1.9, doas 6.8, su of util-linux and PAM print, and a part of the advice that must come.
KNOWN: "list[tuple[type[Become], str, str]]" = [
    (Sudo, "sudo: a password is required", "pass password="),
    (Sudo, "Sorry, try again.\nsudo: 1 incorrect password attempt", "was wrong"),
    (Sudo, "joe is not in the sudoers file.  This incident will be reported.", "its administrator must say so"),
    (Sudo, "Sorry, user joe may not run sudo on web1.", "may not on this machine"),
    (
        Sudo,
        "Sorry, user joe is not allowed to execute '/usr/bin/python3' as root on web1.",
        "lets the account run other",
    ),
    (Sudo, "sudo: unknown user jim\nsudo: error initializing audit plugin sudoers_audit", "no such user"),
    (Sudo, "sudo: sorry, you must have a tty to run sudo", "requiretty"),
    (Sudo, "sudo: Account or password is expired, reset your password and try again", "has expired: log in by hand"),
    (Sudo, "sudo: account validation failure, is your account locked?", "has expired or is closed"),
    (Sudo, "sudo: /usr/bin/sudo must be owned by uid 0 and have the setuid bit set", "no setuid bit"),
    (Sudo, 'sudo: The "no new privileges" flag is set, which prevents sudo from running as root.', "gain no rights"),
    (Sudo, "/etc/sudoers:3:9: syntax error", "visudo -c"),
    (Doas, "doas: Authentication required", "nopass"),
    (Doas, "doas: Authentication failed", "was wrong"),
    (Doas, "doas: Operation not permitted", "no rule"),
    (Doas, "doas: doas is not enabled, /etc/doas.conf: No such file or directory", "no doas.conf"),
    (Doas, "doas: unknown user", "no such user"),
    (Doas, "doas: a tty is required", "no terminal"),
    (Su, "su: Authentication failure", "was wrong. It is that of username="),
    (Su, "su: incorrect password", "was wrong"),
    (Su, "su: user jim does not exist or the user entry does not contain all the required fields", "no such user"),
    (
        Su,
        "Your account has expired; please contact your system administrator.\nsu: Authentication failure",
        "account has",
    ),
    (Su, "The account is locked due to 3 failed logins.\nsu: Authentication failure", "is locked"),
    (Su, "su: Permission denied", "doesn't let this account use su"),
    (Su, "This account is currently not available.", "no shell"),
]


@pytest.mark.parametrize(("make", "printed", "part"), KNOWN)
def test_what_the_programs_print_leads_to_the_right_advice(make: "type[Become]", printed: str, part: str) -> None:
    for feed in (Handshake.feed_error, Handshake.feed_terminal):
        handshake = handshake_of(make("joe", "pw"))
        feed(handshake, printed.encode())
        handshake.ended(1)
        assert handshake.error is not None
        assert part in handshake.error.advice


def test_a_password_is_a_secret_for_the_handshake() -> None:
    secret = Secret("pw")
    assert (Sudo(password=secret).secrets(), Su().secrets()) == ({"password": secret}, {})
