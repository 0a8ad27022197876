"""`plasmid doctor` and `plasmid run` as another user: the advice names the cause, and a password is asked for once."""

import os
import select

import pytest

from plasmid.connect.process import BESIDE, ChildProcess
from tests.cli.command import arguments, environment, plasmid
from tests.real.users import PYTHON, Users

END_TIMEOUT_S = 30.0


def lines_of(users: Users, caller: str, target: str) -> "list[str]":
    """Return what the doctor says of a connection that fails, by way of one of the users."""
    way = ["--via", f"su://{getattr(users, caller).name}@", "--python", PYTHON]
    ended = plasmid("doctor", *way, target)
    assert ended.status == 3, ended.err
    return ended.out.splitlines()


CASES = [
    (
        *("sudo", "asks", "sudo: a password is required"),
        "sudo wants a password: pass --ask-password, or allow NOPASSWD in sudoers.",
    ),
    (
        *("doas", "stranger", "doas: Operation not permitted"),
        "doas.conf has no rule that lets this account be that user and run Python.",
    ),
    (
        *("su", "asks", "Password:"),
        "su wants the password of user@ in the target: pass it with --ask-password.",
    ),
]


@pytest.mark.parametrize(("scheme", "caller", "printed", "advice"), CASES, ids=[case[0] for case in CASES])
def test_the_doctor_names_the_cause(machine_users: Users, scheme: str, caller: str, printed: str, advice: str) -> None:
    lines = lines_of(machine_users, caller, f"{scheme}://{machine_users.target.name}@")
    assert [lines[-2].strip(), lines[-1].strip()] == [printed, advice]


def test_the_doctor_says_that_a_user_is_unknown() -> None:
    ended = plasmid("doctor", "sudo://nobody-by-this-name@")
    assert (ended.status, ended.out.splitlines()[-1].strip()) == (
        3,
        "There is no such user on that machine: check user@ in the target.",
    )


def test_a_password_is_asked_for_on_the_terminal_once_for_all_targets(machine_users: Users) -> None:
    target = f"su://{machine_users.target.name}@"
    way = ["--via", f"su://{machine_users.asks.name}@", "--python", PYTHON, "--ask-password"]
    argv = arguments(["run", *way, f"{target},{target}", "os.getuid"])
    process = ChildProcess.spawn(argv, dict(environment()), BESIDE)
    try:
        asked = b""
        while not asked.endswith(b"Password: "):
            assert select.select([process.terminal_fd], [], [], END_TIMEOUT_S)[0], asked
            asked += process.read_side(process.terminal_fd) or b""
        process.type_line(machine_users.target.password)
        assert process.wait(END_TIMEOUT_S) == 0, process.stderr_tail
        said = process.read_side(process.terminal_fd) or b""
        assert asked.count(b"Password: ") == 1
        assert b"Password" not in said
        printed = os.read(process.link_fd, 4096)
        assert printed.count(str(machine_users.target.uid).encode()) == 2
    finally:
        process.close()
