"""Throw-away users of this machine, and what sudo, su and doas let them do. Needs root.

Each run has users of its own, by random names. What they leave, files, rules and processes, goes with them; a last
check says whether it did. /etc/doas.conf is one file for all: runs take turns in changing it and touch only their own
lines.
"""

import contextlib
import fcntl
import os
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.real import leftovers, parts

DOAS_CONF = Path("/etc/doas.conf")
SUDOERS_FOLDER = Path("/etc/sudoers.d")
LOCK = Path("/run/lock/plasmid-test-users")
END_TIMEOUT_S = 5.0
# Where sudo keeps what it knows of a user.
SUDO_FILES = ("/var/lib/sudo/lectured", "/run/sudo/ts")
# The Python of the machine: what a version manager keeps in somebody's home folder isn't theirs to run.
PYTHON = "/usr/bin/python3"


class User(NamedTuple):
    """One user, with a password."""

    name: str
    password: str
    uid: int


class Users:
    """The users of one run. Made by made_users().

    target: whom the others may become. asks: may become target, with a password. free: without one. stranger: may
    nothing. narrow: may run one other program as target. tty: like free, but sudo wants a terminal and no pty of its
    own. expired: its password must be changed. closed: its account has ended.
    """

    def __init__(self) -> None:
        self.mark = "pl" + secrets.token_hex(3)
        self._made: list[User] = []
        names = ("target", "asks", "free", "stranger", "narrow", "tty", "expired", "closed")
        self.target, self.asks, self.free, self.stranger, self.narrow, self.tty, self.expired, self.closed = (
            self._make(name) for name in names
        )

    def rules(self) -> "tuple[str, str]":
        """Return what goes into sudoers and into doas.conf."""
        target = self.target.name
        sudoers = [
            f"{self.asks.name} ALL=({target}) ALL",
            f"{self.expired.name} ALL=({target}) ALL",
            f"{self.closed.name} ALL=({target}) ALL",
            f"{self.narrow.name} ALL=({target}) NOPASSWD: /bin/true",
            f"{self.free.name} ALL=({target}) NOPASSWD: ALL",
            f"{self.tty.name} ALL=({target}) NOPASSWD: ALL",
            f"Defaults:{self.tty.name} requiretty, !use_pty",
        ]
        doas = [f"permit {self.asks.name} as {target}", f"permit nopass {self.free.name} as {target}"]
        return "\n".join([*sudoers, ""]), "".join(f"{line} # {self.mark}\n" for line in doas)

    def remove(self) -> None:
        """Remove them all, and what they have left."""
        for user in self._made:
            run("userdel", "--force", "--remove", user.name)
            for folder in SUDO_FILES:
                (Path(folder) / user.name).unlink(missing_ok=True)

    def left(self) -> "list[str]":
        """Return a line for each process that one of them still runs."""
        uids = {user.uid for user in self._made}
        return [str(process) for process in leftovers.processes() if uid_of(process.pid) in uids]

    def _make(self, role: str) -> User:
        name = f"{self.mark}{role}"
        run("useradd", "--create-home", "--shell", "/bin/bash", name, check=True)
        password = f"pw-{role}-{secrets.token_hex(4)} ä"
        run("chpasswd", said=f"{name}:{password}\n", check=True)
        uid = int(run("id", "-u", name, check=True))
        self._made.append(User(name, password, uid))
        return self._made[-1]


def uid_of(pid: int) -> int:
    """Return the user of a process, -1 if it has ended."""
    try:
        return os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return -1


def run(*argv: str, said: str = "", check: bool = False) -> str:
    """Run a program of the administrator's and return what it printed."""
    path = parts.required_program(argv[0])
    result = subprocess.run([path, *argv[1:]], input=said, capture_output=True, text=True, timeout=30, check=False)
    assert not check or result.returncode == 0, result.stderr
    return result.stdout


@contextlib.contextmanager
def turn() -> "Iterator[None]":
    """Let one run at a time change the machine's users and rules."""
    with LOCK.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def made_users() -> "Iterator[Users]":
    """Make the users and their rules, and remove them at the end."""
    parts.require_linux()
    parts.require("root's rights, to make users", os.getuid() == 0)
    for name, package in (("sudo", "sudo"), ("doas", "opendoas"), ("su", "util-linux"), ("useradd", "passwd")):
        parts.required_program(name, package)
    parts.require(f"{PYTHON} for other users", os.access(PYTHON, os.X_OK))
    with turn():
        users = Users()
        sudoers, doas = users.rules()
        rules = SUDOERS_FOLDER / f"plasmid-test-{users.mark}"
        rules.touch(mode=0o440)
        rules.write_text(sudoers)
        change_doas_conf(doas, users.mark)
        run("chage", "--lastday", "0", users.expired.name, check=True)
        run("chage", "--expiredate", "1", users.closed.name, check=True)
    try:
        yield users
        left = leftovers.until_empty(users.left, END_TIMEOUT_S)
    finally:
        with turn():
            rules.unlink()
            change_doas_conf("", users.mark)
            users.remove()
    assert left == [], "processes of other users were left"


def change_doas_conf(lines: str, mark: str) -> None:
    """Put these lines, which bear the mark, into doas.conf in place of those with it; the file goes when it's empty."""
    before = DOAS_CONF.read_text() if DOAS_CONF.exists() else ""
    kept = "".join(line for line in before.splitlines(keepends=True) if mark not in line)
    text = kept + lines
    if not text:
        DOAS_CONF.unlink(missing_ok=True)
        return
    new = DOAS_CONF.with_name(f"doas.conf.{mark}")
    new.touch(mode=0o400)
    new.write_text(text)
    new.rename(DOAS_CONF)


def wait_gone(pids: "list[int]", timeout_s: float) -> "list[str]":
    """Return those of these processes that are still there after so long."""
    return leftovers.until_empty(lambda: leftovers.running(pids), timeout_s)
