"""ssh.py: the command as a whole, what each parameter adds, which names are refused, what shells make of it."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from plasmid.boot.first_stage import first_stage
from plasmid.connect.connector import quote
from plasmid.connect.ssh import Ssh
from tests.real.parts import program, required_program

PLAIN = [
    "ssh",
    "-T",
    *("-o", "BatchMode=yes"),
    *("-o", "ConnectTimeout=29"),
    *("-o", "ServerAliveInterval=15"),
    *("-o", "ServerAliveCountMax=3"),
    *("-o", "Compression=no"),
    *("-o", "StrictHostKeyChecking=yes"),
    "--",
    "web1",
    "exec python3 -S -c 'a \"b\"' plasmid:web1",
]


def test_the_plain_command() -> None:
    connector = Ssh("web1")
    assert connector.argv('a "b"', "plasmid:web1") == PLAIN
    assert (connector.name, connector.target, connector.program) == ("web1", "ssh://web1", "ssh")


# What each parameter changes: words taken from the plain command, words put in.
CHANGES: "list[tuple[dict[str, Any], list[str], list[str]]]" = [
    ({"username": "joe"}, [], ["-l", "joe"]),
    ({"port": 2222}, [], ["-p", "2222"]),
    ({"identity_file": "/keys/a"}, [], ["-o", "IdentitiesOnly=yes", "-i", "/keys/a"]),
    ({"identity_file": Path("/keys/a")}, [], ["-o", "IdentitiesOnly=yes", "-i", "/keys/a"]),
    ({"compression": True}, ["Compression=no"], ["Compression=yes"]),
    ({"keepalive_interval": 5}, ["ServerAliveInterval=15"], ["ServerAliveInterval=5"]),
    ({"keepalive_count": 9}, ["ServerAliveCountMax=3"], ["ServerAliveCountMax=9"]),
    ({"connect_timeout": 0.5}, ["ConnectTimeout=29"], ["ConnectTimeout=1"]),
    ({"check_host_keys": "accept"}, ["StrictHostKeyChecking=yes"], ["StrictHostKeyChecking=accept-new"]),
    (
        {"check_host_keys": "ignore"},
        ["StrictHostKeyChecking=yes"],
        [
            "StrictHostKeyChecking=no",
            *("-o", "UserKnownHostsFile=/dev/null"),
            *("-o", "GlobalKnownHostsFile=/dev/null"),
        ],
    ),
    ({"ssh_path": "/opt/ssh"}, ["ssh"], ["/opt/ssh"]),
    ({"ssh_args": ["-F", "none"]}, [], ["-F", "none"]),
    ({"name": "db"}, [], []),
    ({"python_path": "python3.9"}, [PLAIN[-1]], ["exec python3.9 -S -c 'a \"b\"' plasmid:web1"]),
    ({"python_path": ["nice", "py thon"]}, [PLAIN[-1]], ["exec nice 'py thon' -S -c 'a \"b\"' plasmid:web1"]),
    ({"python_path": "~/my py"}, [PLAIN[-1]], ["exec ~/'my py' -S -c 'a \"b\"' plasmid:web1"]),
]


@pytest.mark.parametrize(("parameters", "taken", "put"), CHANGES)
def test_each_parameter_changes_its_own_words_only(
    parameters: "dict[str, Any]", taken: "list[str]", put: "list[str]"
) -> None:
    argv = Ssh("web1", **parameters).argv('a "b"', "plasmid:web1")
    assert sorted([*argv, *taken]) == sorted([*PLAIN, *put])


def test_the_users_arguments_come_first_so_that_ssh_takes_them() -> None:
    assert Ssh("web1", ssh_args=["-o", "BatchMode=no"]).argv("", "")[:4] == ["ssh", "-o", "BatchMode=no", "-T"]


def test_the_target_is_written_as_a_url() -> None:
    assert Ssh("web1", username="joe", port=22).target == "ssh://joe@web1:22"
    assert Ssh("::1", port=22).target == "ssh://[::1]:22"


@pytest.mark.parametrize(
    ("word", "why"),
    [
        ("", "is empty"),
        ("-oProxyCommand=x", "must not start with '-'; it is '-oProxyCommand=x'"),
        ("a b", "must not contain ' '; it is 'a b'"),
        ("a\n", "must not contain '\\n'; it is 'a\\n'"),
        ("a\0b", "must not contain '\\x00'; it is 'a\\x00b'"),
        *((f"a{c}b", f"must not contain {c!r}; it is {f'a{c}b'!r}") for c in "'`\"$\\;&<>|(){}"),
    ],
)
def test_names_that_ssh_or_a_shell_could_misread_are_refused(word: str, why: str) -> None:
    with pytest.raises(ValueError) as caught:
        Ssh(word)
    assert str(caught.value) == f"the host name for ssh {why}"
    with pytest.raises(ValueError) as caught:
        Ssh("web1", username=word)
    assert str(caught.value) == f"the user name for ssh {why}"


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_a_port_out_of_range_is_refused(port: int) -> None:
    with pytest.raises(ValueError) as caught:
        Ssh("web1", port=port)
    assert str(caught.value) == f"port must be 1 to 65535; it is {port}"


def test_an_unknown_way_to_check_host_keys_is_refused() -> None:
    with pytest.raises(ValueError) as caught:
        Ssh("web1", check_host_keys="no")
    assert str(caught.value) == "check_host_keys must be enforce, accept or ignore; it is 'no'"


# Which login shell somebody has over there isn't ours to choose; each that is here must pass the command on.
SHELLS = [name for name in ("sh", "bash", "dash", "zsh", "ksh", "mksh", "tcsh", "fish", "busybox") if program(name)]


@pytest.mark.parametrize("shell", SHELLS)
def test_the_remote_command_reaches_python_through_every_shell_as_it_was(shell: str) -> None:
    path = required_program(shell)
    arguments = [first_stage("00"), "plasmid:a name"]
    # printf takes the place of Python; -S, -c and the rest are its arguments.
    command = (
        Ssh("web1", python_path=["printf", "%s\\n"]).argv(*arguments)[-1].replace("exec printf", "/usr/bin/printf")
    )
    shell_argv = [path, "sh"] if shell == "busybox" else [path]
    result = subprocess.run([*shell_argv, "-c", command], capture_output=True, text=True, timeout=20)
    assert (result.stdout.splitlines(), result.stderr) == (["-S", "-c", *arguments], "")


@pytest.mark.parametrize(
    ("word", "quoted"),
    [
        ("", "''"),
        ("a/b-c_d.e:f=g@h%i+j,k1", "a/b-c_d.e:f=g@h%i+j,k1"),
        ("a b", "'a b'"),
        ("it's", "'it'\"'\"'s'"),
        ("ä", "'ä'"),
    ],
)
def test_words_are_quoted_where_they_need_it(word: str, quoted: str) -> None:
    assert quote(word) == quoted
