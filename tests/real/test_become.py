"""sudo, su and doas with real users and real rules: with and without passwords, and every way to be turned away."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import plasmid
from tests.real import canaries, far, leftovers
from tests.real.interpreters import interpreter
from tests.real.users import PYTHON, User, Users

GONE_S = 2.0  # what is promised of a far side whose link has closed
ATTEMPTS = 5
WRONG = "not-the-password"


@pytest.fixture
def become(router: plasmid.Router, machine_users: Users) -> "Callable[[User], plasmid.Context]":
    """Give a function that makes a context as one of the users; root needs no password for that."""
    return lambda user: router.su(user.name, python_path=PYTHON, name="caller")


def start(
    router: plasmid.Router, scheme: str, username: str, caller: plasmid.Context, **options: Any
) -> plasmid.Context:
    """Return a new context as another user, by way of one that runs as the caller."""
    if scheme == "sudo":
        options.setdefault("sudo_args", ["-k"])  # sudo mustn't remember what an earlier test has answered
    return router.connect(f"{scheme}://{username}@", via=caller, **{"python_path": PYTHON, **options})


def failure(*args: Any, **options: Any) -> plasmid.ConnectError:
    """Return the error that this start ends in."""
    with pytest.raises(plasmid.ConnectError) as caught:
        start(*args, **options)
    return caught.value


def works(context: plasmid.Context, user: User) -> None:
    """Check that the context runs as the user, and that a service and its output come back."""
    assert context.call(os.getuid) == user.uid
    assert context.service(far.Counter).add(1) == 1


BY_PASSWORD = [
    pytest.param("sudo", "asks", marks=pytest.mark.connector("sudo")),
    pytest.param("doas", "asks", marks=pytest.mark.connector("doas")),
    pytest.param("su", "target", marks=pytest.mark.connector("su")),
]


@pytest.mark.parametrize(("scheme", "whose"), BY_PASSWORD)
def test_the_right_password_opens_the_door(  # U1
    router: plasmid.Router, machine_users: Users, become: Any, scheme: str, whose: str
) -> None:
    password = plasmid.Secret(getattr(machine_users, whose).password)
    context = start(router, scheme, machine_users.target.name, become(machine_users.asks), password=password)
    works(context, machine_users.target)
    below = router.local(via=context)
    assert below.call(os.getuid) == machine_users.target.uid


REFUSED = {
    "sudo": (
        "answer what it asks",
        "the password was refused: it was asked for again",
        "It is your own that sudo wants",
    ),
    "doas": ("wait for the far side's first line", "doas exited with status 1", "It is your own that doas wants."),
    "su": ("wait for the far side's first line", "su exited with status 1", "It is that of username= which su wants."),
}


@pytest.mark.parametrize(("scheme", "whose"), BY_PASSWORD)
def test_a_wrong_password_is_typed_once_and_told(  # U1
    router: plasmid.Router, machine_users: Users, become: Any, scheme: str, whose: str
) -> None:
    error = failure(router, scheme, machine_users.target.name, become(machine_users.asks), password=WRONG)
    step, found, advice = REFUSED[scheme]
    assert (error.step, error.found) == (step, found)
    assert error.advice.startswith("The password was wrong. ")
    assert advice in error.advice
    assert WRONG not in str(error)


NONE_GIVEN = {
    "sudo": ("sudo exited with status 1", "sudo wants a password: pass password=, or allow NOPASSWD in sudoers."),
    "doas": ("doas exited with status 1", "doas wants a password: pass password=, or have `nopass` in doas.conf."),
    "su": ("it asks for a password, and none was given", "su wants the password of username=: pass it with password=."),
}


@pytest.mark.parametrize(("scheme", "whose"), BY_PASSWORD)
def test_without_a_password_nobody_is_asked(
    router: plasmid.Router, machine_users: Users, become: Any, scheme: str, whose: str
) -> None:
    error = failure(router, scheme, machine_users.target.name, become(machine_users.asks))
    assert (error.found, error.advice) == NONE_GIVEN[scheme]


@pytest.mark.parametrize("scheme", ["sudo", "doas"])
def test_who_needs_no_password_gives_none_or_one_too_many(  # U1
    router: plasmid.Router, machine_users: Users, become: Any, scheme: str
) -> None:
    caller = become(machine_users.free)
    works(start(router, scheme, machine_users.target.name, caller), machine_users.target)
    works(start(router, scheme, machine_users.target.name, caller, password=WRONG), machine_users.target)


@pytest.mark.parametrize("scheme", ["sudo", "su"])
def test_root_becomes_anybody_directly(router: plasmid.Router, machine_users: Users, scheme: str) -> None:  # U1
    context = router.connect(f"{scheme}://{machine_users.target.name}@", python_path=PYTHON)
    works(context, machine_users.target)
    child = router.child(context)
    assert child is not None
    assert next(step for step, _ in child.steps) == f"start {scheme}"


@pytest.mark.connector("sudo")
def test_sudo_that_wants_a_terminal_gets_one(  # U1
    router: plasmid.Router, machine_users: Users, become: Any
) -> None:
    works(start(router, "sudo", machine_users.target.name, become(machine_users.tty)), machine_users.target)


TURNED_AWAY = [
    ("sudo", "stranger", "The account that runs sudo there may not: its administrator must say so in sudoers."),
    ("sudo", "narrow", "sudoers lets the account run other commands, or be other users, but not this."),
    ("doas", "stranger", "doas.conf has no rule that lets this account be that user and run Python."),
]


@pytest.mark.parametrize(("scheme", "role", "advice"), TURNED_AWAY)
def test_who_may_not_is_told_why(
    router: plasmid.Router, machine_users: Users, become: Any, scheme: str, role: str, advice: str
) -> None:
    user: User = getattr(machine_users, role)
    error = failure(router, scheme, machine_users.target.name, become(user), password=user.password)
    assert (error.found, error.advice) == (f"{scheme} exited with status 1", advice)


@pytest.mark.parametrize("scheme", ["sudo", "su", "doas"])
def test_a_user_that_is_not_there_is_told(
    router: plasmid.Router, machine_users: Users, become: Any, scheme: str
) -> None:
    error = failure(router, scheme, "nobody-by-this-name", become(machine_users.asks), password=WRONG)
    assert error.advice == "There is no such user on that machine: check username=."


@pytest.mark.connector("su")
def test_an_expired_password_is_told_and_not_changed(router: plasmid.Router, machine_users: Users, become: Any) -> None:
    user, closed = machine_users.expired, machine_users.closed
    before = shadow_of(user)
    error = failure(router, "su", user.name, become(machine_users.asks), password=user.password)
    assert error.advice == "The password has expired: log in by hand once and change it."
    error = failure(router, "su", user.name, router.myself())
    assert error.advice == "The password has expired: log in by hand once and change it."
    assert shadow_of(user) == before
    error = failure(router, "su", closed.name, router.myself())
    assert error.advice == "The account has expired or is closed: have the machine's administrator open it."


def shadow_of(user: User) -> "list[str]":
    """Return what the machine knows of the user's password."""
    return [line for line in Path("/etc/shadow").read_text().splitlines() if line.startswith(f"{user.name}:")]


@pytest.mark.parametrize(("scheme", "whose"), BY_PASSWORD)
def test_the_locale_of_the_caller_plays_no_part(
    router: plasmid.Router, machine_users: Users, become: Any, scheme: str, whose: str
) -> None:
    caller = become(machine_users.asks)
    for name in ("LC_ALL", "LANGUAGE", "LANG"):
        caller.call(far.set_environment, name, "de_DE.UTF-8")
    password = getattr(machine_users, whose).password
    works(start(router, scheme, machine_users.target.name, caller, password=password), machine_users.target)


STRICT_SUDO = """#!{python} -S
import os, select, sys
words = sys.argv[1:]
asks = words[words.index("-p") + 1]
tty = os.open("/dev/tty", os.O_RDWR)
os.write(tty, b"Passwort: \\r\\nPassword: \\r\\n")
if select.select([tty], [], [], 0.3)[0]:
    sys.exit("something was typed before the question")
for byte in asks.encode():
    os.write(tty, bytes([byte]))
if os.read(tty, 2000) != {password!r}:
    sys.exit("it was answered by something else")
command = words[words.index("--") + 1 :]
os.execvp(command[0], command)
"""


@pytest.mark.parametrize("version", ["3.6", "3.13"])
@pytest.mark.connector("sudo")
def test_nothing_is_typed_before_the_question_by_a_relay_on_any_python(  # U1
    router: plasmid.Router, version: str, tmp_path: Path
) -> None:
    sudo = tmp_path / "sudo"
    sudo.write_text(STRICT_SUDO.format(python=sys.executable, password="pä ss\n".encode()))
    sudo.chmod(0o755)
    relay = router.local(python_path=interpreter(version), name="relay")
    context = router.sudo("joe", via=relay, sudo_path=str(sudo), password=lambda: "pä ss", python_path=sys.executable)
    assert context.call(far.add, 1) == 11


@pytest.mark.parametrize(("scheme", "role"), [("sudo", "free"), ("sudo", "tty"), ("doas", "free"), ("su", "asks")])
def test_what_runs_as_another_user_is_gone_soon_after_its_link(  # D11
    router: plasmid.Router, machine_users: Users, become: Any, scheme: str, role: str
) -> None:
    caller = become(getattr(machine_users, role))
    options = {"password": machine_users.target.password} if scheme == "su" else {}
    context = start(router, scheme, machine_users.target.name, caller, **options)
    pids = context.call(far.process_ids)
    context.call_no_reply(far.hold_interpreter_lock)
    # What it started as another user it couldn't kill anyway.
    caller.call_no_reply(far.kill_own_group)
    assert leftovers.until_empty(lambda: leftovers.running(pids), GONE_S) == []


PROGRAM = """
import os, sys
sys.path[:0] = {path!r}
import plasmid
router = plasmid.Router()
context = router.connect(sys.argv[1], python_path=sys.argv[2])
print(context.call(os.getpid), flush=True)
os.kill(os.getpid(), 9)
"""


@pytest.mark.connector("sudo")
def test_what_runs_as_another_user_outlives_no_root_that_is_killed(machine_users: Users) -> None:  # D11
    program = PROGRAM.format(path=[path for path in sys.path if path])
    url = f"sudo://{machine_users.target.name}@"
    ended = subprocess.run(
        [sys.executable, "-c", program, url, PYTHON], capture_output=True, text=True, timeout=30, check=False
    )
    assert ended.returncode == -9, ended.stderr
    assert leftovers.until_empty(lambda: leftovers.running([int(ended.stdout)]), GONE_S) == []


# Its far side goes on until its watchdog ends it.
BUSY_PROGRAM = """
import os, sys
sys.path[:0] = {path!r}
import plasmid
from tests.real import far
router = plasmid.Router()
context = router.connect(sys.argv[1], python_path=sys.argv[2])
print(router.child(context).process.pid, *context.call(far.process_ids), flush=True)
context.call(far.ignore_signals)
context.call_no_reply(far.hold_interpreter_lock)
os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize(
    "scheme",
    [
        pytest.param("sudo", marks=pytest.mark.connector("sudo")),
        pytest.param("su", marks=pytest.mark.connector("su")),
    ],
)
def test_who_leads_to_another_user_is_not_left_stopped_when_it_stops_right_after_the_root_has_ended(  # D11
    machine_users: Users, scheme: str
) -> None:
    program = BUSY_PROGRAM.format(path=[path for path in sys.path if path])
    argv = [sys.executable, "-c", program, f"{scheme}://{machine_users.target.name}@", PYTHON]
    # On a crowded machine the far side, which has 0.8 s, may be gone before we get to stop what leads to it.
    for _ in range(ATTEMPTS):
        ended = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
        assert ended.returncode == -9, ended.stderr
        pids = [int(word) for word in ended.stdout.split()]
        try:
            # As sudo and su do a while after what they run was stopped.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pids[0], signal.SIGSTOP)
            was_in_time = len(leftovers.running(pids)) == len(pids) == 3
            assert leftovers.until_empty(lambda pids=pids: leftovers.running(pids), GONE_S) == []  # type: ignore[misc]
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pids[0], signal.SIGKILL)
        if was_in_time:
            return
    pytest.fail(f"what leads to another user could never be stopped in time, {ATTEMPTS} times")


@pytest.mark.parametrize(("scheme", "whose"), BY_PASSWORD)
def test_a_password_is_found_nowhere(  # U2
    router: plasmid.Router,
    machine_users: Users,
    become: Any,
    scheme: str,
    whose: str,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    caplog.set_level(0)
    password = getattr(machine_users, whose).password
    caller = become(machine_users.asks)
    context = start(router, scheme, machine_users.target.name, caller, password=password)
    error = failure(router, scheme, machine_users.target.name, caller, password=password, python_path="/bin/false")
    context.call(far.print_lines, 1)
    assert canaries.in_processes(machine_users.asks.password, machine_users.target.password) == []
    assert canaries.in_error(error, password) == []
    assert password not in caplog.text
    folders = [Path(os.environ["TMPDIR"]), Path(f"/home/{machine_users.target.name}")]
    assert canaries.in_files(folders, password) == []
