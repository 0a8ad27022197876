"""ssh with what it may be asked for: passwords with PAM and without, passphrases, agents, jump hosts, masters."""

import contextlib
import getpass
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import plasmid
from plasmid.connect.ssh import Ssh
from tests.real import canaries, far, leftovers, parts, ports, sshd
from tests.real.interpreters import interpreter
from tests.real.users import Users

pytestmark = [pytest.mark.connector("ssh"), pytest.mark.sshd]

WRONG = "not-the-password"
PHRASE = "open sesame ä"
# Not as they stand here: a process list that shows this file's text would hold them.
WRONG_CANARY = "wrong-" + "canary-" + os.urandom(6).hex()
PHRASE_CANARY = "phrase-" + "canary-ä-" + os.urandom(6).hex()
OPTIONS = ["PasswordAuthentication yes", "SetEnv PATH=/usr/bin:/bin"]


@pytest.fixture(scope="module", params=["no", "yes"], ids=["without PAM", "with PAM"])
def server(request: pytest.FixtureRequest, session_leaves_nothing: leftovers.Session) -> "Iterator[sshd.Server]":
    """Give a server that takes passwords: by the method `password`, with PAM by keyboard-interactive too."""
    options = [*OPTIONS, f"UsePAM {request.param}", f"KbdInteractiveAuthentication {request.param}"]
    folder = session_leaves_nothing.folder / f"sshd-pam-{request.param}"
    with sshd.running_server(folder, first_options=options) as server:
        yield server


@pytest.fixture(scope="module")
def keys_only(session_leaves_nothing: leftovers.Session) -> "Iterator[sshd.Server]":
    """Give a server that takes no passwords."""
    with sshd.running_server(session_leaves_nothing.folder / "sshd-keys") as server:
        yield server


def start(router: plasmid.Router, client: sshd.Client, **options: Any) -> plasmid.Context:
    """Return a context of this client's."""
    return router.ssh(client.hostname, ssh_args=client.ssh_args, **options)


def failure(*args: Any, **options: Any) -> plasmid.ConnectError:
    """Return the error that this start ends in."""
    with pytest.raises(plasmid.ConnectError) as caught:
        start(*args, **options)
    return caught.value


def tries(server: sshd.Server, user: str) -> int:
    """Return how many secrets of that user the server has refused; of others it may still be about to say so.

    `Failed none` is the question what it takes, which holds none.
    """
    lines = server.log_path.read_text().splitlines()
    return sum("Failed " in line and "Failed none" not in line and f" for {user} from " in line for line in lines)


def test_the_right_password_logs_in(router: plasmid.Router, server: sshd.Server, machine_users: Users) -> None:  # U1
    client = server.client_of(machine_users.target.name)
    context = start(router, client, password=machine_users.target.password)
    assert context.call(os.getuid) == machine_users.target.uid
    below = start(router, client, password=machine_users.target.password, via=router.local())
    assert below.call(os.getuid) == machine_users.target.uid


def test_a_wrong_password_is_typed_once(router: plasmid.Router, server: sshd.Server, machine_users: Users) -> None:
    user = machine_users.target.name
    failures = tries(server, user)
    error = failure(router, server.client_of(user), password=WRONG)
    if error.status is None:
        assert error.found == "the password was refused: it was asked for again"
        assert error.advice.startswith("Check password=, and whose it has to be.")
    else:
        assert error.found == "ssh exited with status 255"
        assert error.advice.startswith("The host refused the password, or the account may not log in with one")
    assert tries(server, user) <= failures + 1
    assert WRONG not in str(error)


def test_without_a_password_ssh_may_not_ask(router: plasmid.Router, server: sshd.Server, machine_users: Users) -> None:
    error = failure(router, server.client_of(machine_users.target.name))
    assert error.advice.startswith("The host refused every key that ssh offered, and no password was given.")


def test_an_expired_password_is_told(router: plasmid.Router, server: sshd.Server, machine_users: Users) -> None:
    user = machine_users.expired
    error = failure(router, server.client_of(user.name), password=user.password)
    assert error.advice == "The password has expired: log in by hand once and change it."


def test_a_host_that_takes_keys_only_is_told(router: plasmid.Router, keys_only: sshd.Server) -> None:
    error = failure(router, keys_only.client_of(getpass.getuser()), password=WRONG)
    assert error.advice == "The host takes keys only, and refused every one that ssh offered: no password will do."


def test_an_unknown_host_key_is_told_where_ssh_would_ask(router: plasmid.Router, keys_only: sshd.Server) -> None:
    client = keys_only.client_of_unknown_host()
    asking = sshd.Client(client.config_path, client.port)
    client.config_path.write_text(
        client.config_path.read_text().replace("StrictHostKeyChecking yes", "StrictHostKeyChecking ask")
    )
    options = ["-o", "StrictHostKeyChecking=ask"]
    with pytest.raises(plasmid.ConnectError) as caught:
        router.ssh(asking.hostname, ssh_args=[*options, *asking.ssh_args], password=WRONG)
    assert (caught.value.step, caught.value.found) == ("answer what it asks", "it asks what isn't answered here")
    assert caught.value.advice.startswith("The host's key isn't in known_hosts.")


def test_a_key_with_a_passphrase_is_opened(router: plasmid.Router, keys_only: sshd.Server) -> None:  # U1
    client = keys_only.client_of(getpass.getuser(), keys_only.new_key(PHRASE))
    assert start(router, client, passphrase=PHRASE).call(far.add, 1) == 11
    error = failure(router, client, passphrase=PHRASE + "x")
    assert "Permission denied (publickey)." in error.output
    error = failure(router, client, password=WRONG)
    assert error.found == "it asks for a passphrase, and none was given"
    assert error.advice == "Pass passphrase=, or have an agent that holds the key."


def test_a_wrong_passphrase_is_told_when_the_password_is_asked_for_next(
    router: plasmid.Router, server: sshd.Server
) -> None:
    client = server.client_of(getpass.getuser(), server.new_key(PHRASE))
    error = failure(router, client, passphrase=WRONG)
    assert error.found == "it asks for a password, and none was given; the passphrase that was given didn't do"


@contextlib.contextmanager
def running_agent(folder: Path) -> "Iterator[Path]":
    """Run an agent, and give its socket."""
    socket = folder / "agent"
    agent = subprocess.Popen([parts.required_program("ssh-agent"), "-D", "-a", str(socket)], stdout=subprocess.DEVNULL)
    try:
        assert leftovers.until_empty(lambda: [] if socket.exists() else ["no agent"], 10) == []
        yield socket
    finally:
        agent.terminate()
        agent.wait(10)


def test_an_agent_holds_the_key(router: plasmid.Router, keys_only: sshd.Server, tmp_path: Path) -> None:  # U1
    key = keys_only.new_key()
    client = keys_only.client_of(getpass.getuser())
    with running_agent(tmp_path) as socket:
        environment = dict(os.environ, SSH_AUTH_SOCK=str(socket))
        subprocess.run([parts.required_program("ssh-add"), "-q", str(key)], env=environment, check=True)
        key.unlink()
        options = ["-o", f"IdentityAgent={socket}", "-o", "PubkeyAuthentication=yes"]
        with_agent = sshd.Client(client.config_path, client.port)
        context = router.ssh(with_agent.hostname, ssh_args=[*options, *with_agent.ssh_args])
        assert context.call(far.add, 1) == 11


def jump_config(tmp_path: Path, target: sshd.Client, jump: sshd.Client) -> sshd.Client:
    """Return a client that comes to its host by way of another one."""
    path = tmp_path / "ssh_config"
    body = target.config_path.read_text().replace("Host *\n", "")
    behind = jump.config_path.read_text().replace("Host *\n", "")
    path.write_text(
        f"Host jump-host\n  ProxyJump none\n{behind}  PubkeyAuthentication yes\nHost *\n  ProxyJump jump-host\n{body}"
    )
    return sshd.Client(path, target.port)


def test_a_jump_host_of_the_configuration_is_passed(  # U1
    router: plasmid.Router, server: sshd.Server, keys_only: sshd.Server, machine_users: Users, tmp_path: Path
) -> None:
    client = jump_config(tmp_path, server.client_of(machine_users.target.name), keys_only.client())
    context = start(router, client, password=machine_users.target.password)
    assert context.call(os.getuid) == machine_users.target.uid


def test_a_jump_host_never_gets_the_password_of_the_host_behind_it(
    router: plasmid.Router, server: sshd.Server, keys_only: sshd.Server, machine_users: Users, tmp_path: Path
) -> None:
    user = machine_users.asks.name
    jump = server.client_of(user)
    client = jump_config(tmp_path, keys_only.client_of(machine_users.target.name), jump)
    before = tries(server, user)
    error = failure(router, client, password=machine_users.target.password)
    assert (error.step, error.found) == ("answer what it asks", "it asks what isn't answered here")
    assert error.advice.startswith("password= is for the account at the end of the way alone")
    assert tries(server, user) == before


def test_a_master_connection_of_the_users_carries_contexts_and_outlives_them(  # U1
    keys_only: sshd.Server, tmp_path: Path
) -> None:
    client = keys_only.client()
    socket = Path("/tmp") / f"plasmid-test-{os.getpid()}-master"
    args = [*client.ssh_args, "-o", f"ControlPath={socket}", "-o", "ControlMaster=auto", "-o", "ControlPersist=60"]
    ssh = parts.required_program("ssh")
    try:
        with plasmid.Router() as router:
            first = router.ssh(client.hostname, ssh_args=args)
            second = router.ssh(client.hostname, ssh_args=args)
            assert [context.call(far.add, 1) for context in (first, second)] == [11, 11]
            connections = keys_only.log_path.read_text().count("Accepted publickey")
            third = router.ssh(client.hostname, ssh_args=args)
            assert third.call(far.add, 1) == 11
            assert keys_only.log_path.read_text().count("Accepted publickey") == connections
        check = subprocess.run(
            [ssh, *args, "-O", "check", client.hostname], capture_output=True, text=True, check=False
        )
        assert check.returncode == 0, check.stderr
    finally:
        subprocess.run([ssh, *args, "-O", "exit", client.hostname], capture_output=True, check=False)


@pytest.mark.parametrize("version", ["3.6"])
def test_a_relay_on_an_old_python_logs_in_with_a_password(
    router: plasmid.Router, server: sshd.Server, machine_users: Users, version: str
) -> None:
    relay = router.local(python_path=interpreter(version))
    client = server.client_of(machine_users.target.name)
    context = start(router, client, password=machine_users.target.password, via=relay)
    assert context.call(os.getuid) == machine_users.target.uid


class Watch:
    """Looks for a secret at every step of a start, while its programs run."""

    def __init__(self, secret: str) -> None:
        self.steps: list[str] = []
        self.found: list[str] = []
        self._secret = secret

    def __call__(self, step: str, seconds: "float | None") -> None:
        """Look, as the progress of a start."""
        self.steps.append(step)
        self.found += canaries.in_processes(self._secret)


def found_nowhere(
    router: plasmid.Router, client: sshd.Client, home: Path, caplog: pytest.LogCaptureFixture, **secret: str
) -> None:
    """Check that a secret with which contexts are started here and by a relay, and can't be, shows up nowhere."""
    caplog.set_level(0)
    (word,) = secret.values()
    watch = Watch(word)
    options: Any = {"ssh_args": client.ssh_args, **{name: plasmid.Secret(word) for name in secret}}
    context = router.start(Ssh(client.hostname, **options), progress=watch)
    assert {"start ssh", "say hello"} <= set(watch.steps)
    below = start(router, client, via=router.local(), **secret)
    errors = [failure(router, client, python_path="/bin/false", **secret)]
    errors += [failure(router, client, **dict.fromkeys(secret, WRONG_CANARY))]
    for each in (context, below):
        each.call(far.print_lines, 1)
    assert watch.found + canaries.in_processes(word, WRONG_CANARY) == []
    assert [canaries.in_error(error, word, WRONG_CANARY) for error in errors] == [[], []]
    assert (word in caplog.text, WRONG_CANARY in caplog.text) == (False, False)
    assert canaries.in_files([Path(os.environ["TMPDIR"]), home, client.config_path.parent], word, WRONG_CANARY) == []


# With PAM the question comes from the server, by keyboard-interactive, without it by the method `password`.
def test_a_password_for_ssh_is_found_nowhere(  # U2
    router: plasmid.Router, server: sshd.Server, machine_users: Users, caplog: pytest.LogCaptureFixture
) -> None:
    user = machine_users.target
    before = server.log_path.read_text().count("Accepted keyboard-interactive")
    client = server.client_of(user.name)
    config = client.config_path
    config.write_text(f"PreferredAuthentications keyboard-interactive,password\n{config.read_text()}")
    found_nowhere(router, client, Path(f"/home/{user.name}"), caplog, password=user.password)
    by_keyboard = server.log_path.read_text().count("Accepted keyboard-interactive") - before
    assert by_keyboard == (3 if "UsePAM yes" in (server.folder / "sshd_config").read_text() else 0)


def test_a_passphrase_is_found_nowhere(  # U2
    router: plasmid.Router, keys_only: sshd.Server, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    client = keys_only.client_of(getpass.getuser(), keys_only.new_key(PHRASE_CANARY))
    found_nowhere(router, client, tmp_path, caplog, passphrase=PHRASE_CANARY)


@pytest.fixture(scope="module")
def dropbear(session_leaves_nothing: leftovers.Session) -> "Iterator[int]":
    """Give the port of another kind of server, which takes passwords and the keys in root's... its own folder."""
    folder = session_leaves_nothing.folder / "dropbear"
    folder.mkdir()
    key = folder / "host_key"
    subprocess.run([parts.required_program("dropbearkey", "dropbear-bin"), "-t", "ed25519", "-f", str(key)],
                   check=True, capture_output=True)  # fmt: skip
    port = ports.free_port()
    argv = [parts.required_program("dropbear", "dropbear-bin"), "-F", "-E", "-r", str(key), "-P", str(folder / "pid")]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen([*argv, "-p", f"{ports.LOOPBACK}:{port}"], stdout=log, stderr=log)
    try:
        assert sshd.accepts_connections(port, server)
        yield port
    finally:
        server.terminate()
        server.wait(10)
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


def test_dropbear_is_a_server_like_any_other(  # U1
    router: plasmid.Router, dropbear: int, machine_users: Users, tmp_path: Path
) -> None:
    empty = tmp_path / "ssh_config"
    empty.write_text("Host *\n  IdentityAgent none\n  PubkeyAuthentication no\n")
    options: Any = {"port": dropbear, "username": machine_users.target.name, "check_host_keys": "ignore"}
    options["ssh_args"] = ["-F", str(empty)]
    context = router.ssh(
        ports.LOOPBACK, password=machine_users.target.password, python_path="/usr/bin/python3", **options
    )
    assert context.call(os.getuid) == machine_users.target.uid
    assert context.service(far.Counter).add(1) == 1
    with pytest.raises(plasmid.ConnectError) as caught:
        router.ssh(ports.LOOPBACK, password=WRONG, **options)
    assert caught.value.advice.startswith("The host refused the password")
