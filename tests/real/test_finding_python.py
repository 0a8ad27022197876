"""Where `python3` is missing or too old another one is looked for, through every login shell; an error tells of all."""

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

import plasmid
from plasmid.connect.connector import FINDER
from tests.real import far, parts, sshd
from tests.real.interpreters import TOO_OLD, interpreter

pytestmark = [pytest.mark.connector("ssh")]

SHELLS = ["sh", "bash", "dash", "zsh", "tcsh", "fish", "busybox"]


def folder_of(tmp_path: Path, **programs: str) -> Path:
    """Return a folder with these programs under the names that are asked for, and the shells that a login needs."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, path in {**programs, "sh": parts.required_program("sh")}.items():
        # A script, not a link: an interpreter finds its library by where it stands.
        (folder / name.replace("_", ".")).write_text(f'#!/bin/sh\nexec {path} "$@"\n')
        (folder / name.replace("_", ".")).chmod(0o755)
    return folder


def login(server: sshd.Server, path: Path, shell: str = "sh", noise: str = "") -> sshd.Client:
    """Return a client whose login has this shell, and nothing but this folder on its PATH."""
    program = parts.required_program(shell)
    words = f"{program} sh" if shell == "busybox" else program
    return server.client(f'{noise}PATH={path} exec {words} -c "$SSH_ORIGINAL_COMMAND"')


def start(router: plasmid.Router, client: sshd.Client, **options: Any) -> plasmid.Context:
    """Return a context of this client's."""
    return router.ssh(client.hostname, ssh_args=client.ssh_args, **options)


@pytest.fixture
def no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have only names looked for, not the places where this machine may have a Python."""
    monkeypatch.setattr("plasmid.connect.connector.FINDER", " ".join(w for w in FINDER.split(" ") if w[:1] != "/"))


@pytest.mark.parametrize("shell", SHELLS)
def test_a_login_shell_may_be_any(
    router: plasmid.Router, ssh_server: sshd.Server, tmp_path: Path, shell: str
) -> None:  # U2
    client = login(ssh_server, folder_of(tmp_path, python3=sys.executable), shell)
    assert start(router, client).call(far.add, 1) == 11


@pytest.mark.usefixtures("no_other")
@pytest.mark.parametrize("shell", SHELLS)
def test_another_python_is_found_through_any_shell(  # U2
    router: plasmid.Router, ssh_server: sshd.Server, tmp_path: Path, shell: str
) -> None:
    client = login(ssh_server, folder_of(tmp_path, python3_8=interpreter("3.8")), shell)
    assert start(router, client).call(far.python_version) == [3, 8]


@pytest.mark.usefixtures("no_other")
def test_the_newest_of_those_that_work_is_taken(  # U2
    router: plasmid.Router, ssh_server: sshd.Server, tmp_path: Path
) -> None:
    programs = {"python3": interpreter(TOO_OLD), "python3_12": "/nonexistent/python", "python3_9": interpreter("3.9")}
    folder = folder_of(tmp_path, **programs, python3_6=interpreter("3.6"))
    context = start(router, login(ssh_server, folder))
    assert context.call(far.python_version) == [3, 9]
    child = router.child(context)
    assert child is not None
    assert [step for step, _ in child.steps][:4] == ["start ssh", "wait for the far side's first line"] * 2


@pytest.mark.usefixtures("no_other")
@pytest.mark.parametrize("shell", SHELLS)
def test_where_none_will_do_the_error_says_what_is_there(  # U2
    router: plasmid.Router, ssh_server: sshd.Server, tmp_path: Path, shell: str
) -> None:
    old = interpreter(TOO_OLD)
    client = login(ssh_server, folder_of(tmp_path, python3=old, python2=old), shell, "echo Welcome; ")
    with pytest.raises(plasmid.ConnectError) as caught:
        start(router, client)
    error = caught.value
    assert error.found.startswith("no Python from 3.6 on was found there, only python3: Python 2.7.")
    assert "; python2: Python 2.7." in error.found
    assert (error.advice, error.output) == (
        "Install one, or name one with python_path= that stands elsewhere.",
        "Welcome",
    )


@pytest.mark.usefixtures("no_other")
def test_where_there_is_none_at_all_the_error_says_so(
    router: plasmid.Router, ssh_server: sshd.Server, tmp_path: Path
) -> None:
    with pytest.raises(plasmid.ConnectError) as caught:
        start(router, login(ssh_server, folder_of(tmp_path)))
    assert caught.value.found == "no Python from 3.6 on was found there"


def test_a_python_that_was_named_is_taken_or_refused_and_no_other_looked_for(
    router: plasmid.Router, ssh_server: sshd.Server, tmp_path: Path
) -> None:
    client = login(ssh_server, folder_of(tmp_path, python3=interpreter(TOO_OLD)))
    with pytest.raises(plasmid.ConnectError) as caught:
        start(router, client, python_path="python3")
    assert caught.value.found.startswith("python3 there is Python 2.7.")
    with pytest.raises(plasmid.ConnectError) as missing:
        start(router, client, python_path="python3.9")
    assert missing.value.status == 127


SUDO_WITHOUT_PYTHON = """#!/bin/sh
while [ "$1" != -- ]; do shift; done
shift
[ "$1" != python3 ] || { echo "sudo: python3: command not found" >&2; exit 1; }
exec "$@"
"""


@pytest.mark.connector("sudo")
def test_sudo_says_it_in_other_words_and_another_is_found(  # U2
    router: plasmid.Router, tmp_path: Path
) -> None:
    sudo = tmp_path / "sudo"
    sudo.write_text(SUDO_WITHOUT_PYTHON)
    sudo.chmod(0o755)
    context = router.sudo("joe", sudo_path=str(sudo))
    assert context.call(far.add, 1) == 11


NOISE = {
    "banner": "echo Welcome; echo to this host >&2; ",
    "CR LF": "printf 'Welcome\\r\\n\\r\\nto this host\\r\\n'; ",
    "an escape": "printf '\\033[2J\\033[31m'; ",
    "a question in between": "printf 'Continue? [y/N] '; ",
    "slow": "sleep 0.3; echo Welcome; sleep 0.3; ",
    "no line end": "printf 'PLASMID 1 '; ",
    "locale": "echo 'bash: warning: setlocale: LC_ALL: cannot change locale (xx_XX)' >&2; ",
}


@pytest.mark.parametrize("noise", NOISE.values(), ids=NOISE)
def test_a_chatty_login_is_no_obstacle(  # U2
    router: plasmid.Router, ssh_server: sshd.Server, noise: str
) -> None:
    client = ssh_server.client(f'{noise}exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"')
    assert start(router, client).call(far.add, 1) == 11


def test_the_line_that_looks_for_a_python_has_nothing_that_a_shell_takes_apart() -> None:
    assert [letter for letter in "'\\!\n" if letter in FINDER] == []
    assert shutil.which("sh") is not None
