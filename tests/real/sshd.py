"""A private ssh server on a loopback port: own host key, own user keys, own client configuration.

Nothing of the machine's ssh set-up is read or changed. Logins get an empty home folder and a fixed PATH instead of
the developer's own, so a slow `.bashrc` there can't slow or break a test. What a client is allowed to do, and what
goes wrong for it, is a matter of the key it comes with: each Client below is a configuration file for `ssh -F`.
"""

import contextlib
import getpass
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.real import leftovers, parts, ports

START_TIMEOUT_S = 10
STOP_TIMEOUT_S = 5
START_TRIES = 3
HOSTNAME = "private-host"

# What a login finds; the tests' own interpreter comes first, so `python3` is there whatever the machine has.
OWN_PYTHON = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
LOGIN_PATH = [str(OWN_PYTHON.parent), "/usr/local/bin", "/usr/bin", "/bin"]


class Client:
    """One way to come to a private server: a key, a list of known hosts, and the configuration that names both."""

    def __init__(self, config_path: Path, port: int) -> None:
        self.hostname = HOSTNAME
        self.username = getpass.getuser()
        self.port = port
        self.config_path = config_path

    @property
    def ssh_args(self) -> "list[str]":
        """Arguments for `ssh`, or for `router.ssh(ssh_args=...)`. Every host name then leads to the private server."""
        return ["-F", str(self.config_path)]


class Server:
    """A running private sshd. Made by running_server(); a test uses the Clients it gives out.

    first_options: lines of its configuration, which outdo ours. home: what a login has as its home folder, empty at
    first. log_path: what sshd says, the first place to look.
    """

    def __init__(self, folder: Path, first_options: "Sequence[str]" = ()) -> None:
        self.folder = folder
        self._first_options = first_options
        self.home = folder / "home"
        self.log_path = folder / "log"
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._clients_made = 0

    @property
    def pid(self) -> int:
        """The process id of the server that listens; each connection has processes of its own below it."""
        assert self._process is not None
        return self._process.pid

    def client(self, forced_command: "str | None" = None) -> Client:
        """Return a client that may log in.

        forced_command, a line of shell, is run instead of what the client asks for; that stands in
        $SSH_ORIGINAL_COMMAND. So `echo welcome; exec sh -c "$SSH_ORIGINAL_COMMAND"` is a login with a banner.
        """
        key = self._new_key()
        options = ""
        if forced_command is not None:
            quoted = forced_command.replace('"', '\\"')
            options = f'command="{quoted}" '
        with (self.folder / "authorized_keys").open("a") as authorized:
            authorized.write(options + key.with_suffix(".pub").read_text())
        return self._client_with(key, self.folder / "known_hosts")

    def noisy_client(self, noise_size: int) -> Client:
        """Return a client whose login prints this many bytes of lines before it runs what was asked for."""
        noise = f"yes 'you are welcome here' | head -c {noise_size}"
        return self.client(f'{noise}; echo; exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"')

    def client_without_python(self) -> Client:
        """Return a client whose login finds no program at all on its PATH."""
        return self.client('PATH=/nonexistent exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"')

    def client_with_refused_key(self) -> Client:
        """Return a client whose key this server doesn't know."""
        return self._client_with(self._new_key(), self.folder / "known_hosts")

    def client_with_changed_host_key(self) -> Client:
        """Return a client that remembers another host key for this server."""
        other = self._new_key()
        return self._client_with(self._authorized_key(), self._known_hosts("known_hosts_changed", other))

    def client_of_unknown_host(self) -> Client:
        """Return a client that has never seen this server's host key."""
        empty = self.folder / f"known_hosts_{self._clients_made}"
        empty.touch()
        return self._client_with(self._authorized_key(), empty)

    def client_on_port(self, port: int) -> Client:
        """Return a client like any other, but for another port than this server's."""
        return self._client_with(self._authorized_key(), self.folder / "known_hosts", port)

    def client_of(self, username: str, key: "Path | None" = None) -> Client:
        """Return a client that logs in as this user with a password, or with this key; it may ask."""
        self._clients_made += 1
        path = self.folder / f"ssh_config_{self._clients_made}"
        path.write_text(
            "Host *\n"
            f"  HostName {ports.LOOPBACK}\n"
            f"  HostKeyAlias {HOSTNAME}\n"
            f"  Port {self.port}\n"
            f"  User {username}\n"
            + (f"  IdentityFile {key}\n  IdentitiesOnly yes\n" if key else "  PubkeyAuthentication no\n")
            + "  IdentityAgent none\n"
            f"  UserKnownHostsFile {self.folder / 'known_hosts'}\n"
            "  GlobalKnownHostsFile none\n"
        )
        return Client(path, self.port)

    def new_key(self, passphrase: str = "") -> Path:
        """Return a new key that may log in, with this passphrase."""
        key = self._new_key(passphrase)
        with (self.folder / "authorized_keys").open("a") as authorized:
            authorized.write(key.with_suffix(".pub").read_text())
        return key

    def start(self) -> None:
        """Return once the server accepts connections. Raises RuntimeError with its log if it doesn't come up."""
        self.home.mkdir()
        make_key(self.folder / "host_key")
        self._known_hosts("known_hosts", self.folder / "host_key")
        (self.folder / "authorized_keys").touch(mode=0o600)
        for _ in range(START_TRIES):
            if self._start_once():
                return
        raise RuntimeError(f"sshd did not start; its log says:\n{self.log_path.read_text()}")

    def stop(self, timeout_s: float) -> "list[str]":
        """End the server and return a line for each connection that is still open then; those are ended too."""
        process = self._process
        if process is None:
            return []
        connections = {one.pid for one in leftovers.descendants(process.pid)}
        process.terminate()
        process.wait(STOP_TIMEOUT_S)

        def alive() -> "list[leftovers.Process]":
            return [one for one in leftovers.processes() if one.pid in connections]

        forgotten = leftovers.until_empty(lambda: [str(one) for one in alive()], timeout_s)
        leftovers.kill(alive())
        self._process = None
        return forgotten

    def start_again(self) -> None:
        """Listen again, after stop(), where it did before; its log goes on."""
        if not self._listen():
            raise RuntimeError(f"sshd did not start again; its log says:\n{self.log_path.read_text()}")

    def _start_once(self) -> bool:
        self.port = ports.free_port()
        (self.folder / "sshd_config").write_text("\n".join(self._server_options()) + "\n")
        return self._listen()

    def _listen(self) -> bool:
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [parts.required_program("sshd"), "-D", "-e", "-f", str(self.folder / "sshd_config")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return accepts_connections(self.port, self._process)

    def _server_options(self) -> "list[str]":
        options = [
            f"ListenAddress {ports.LOOPBACK}",
            f"Port {self.port}",
            f"HostKey {self.folder}/host_key",
            f"AuthorizedKeysFile {self.folder}/authorized_keys",
            "PidFile none",
            "StrictModes no",  # the folder is below the temporary folder, which everyone may write to
            "UsePAM no",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "PermitRootLogin yes",
            "PrintMotd no",
            "PrintLastLog no",
            "MaxStartups 200",
            "MaxSessions 100",
            # DEBUG would send its lines to the client as well.
            "LogLevel VERBOSE",
            f"SetEnv HOME={self.home} PATH={os.pathsep.join(LOGIN_PATH)} "
            f"{leftovers.MARK_NAME}={os.environ.get(leftovers.MARK_NAME, '')}",
        ]
        if openssh_version() >= (9, 8):
            # Newer servers lock out an address after refused keys, and all tests come from one address.
            options.append("PerSourcePenalties no")
        # sshd takes the first value of an option.
        return [*self._first_options, *options]

    def _authorized_key(self) -> Path:
        key = self.folder / "user_key"
        if not key.exists():
            make_key(key)
            with (self.folder / "authorized_keys").open("a") as authorized:
                authorized.write(key.with_suffix(".pub").read_text())
        return key

    def _new_key(self, passphrase: str = "") -> Path:
        self._clients_made += 1
        key = self.folder / f"key_{self._clients_made}"
        make_key(key, passphrase)
        return key

    def _known_hosts(self, name: str, key: Path) -> Path:
        path = self.folder / name
        path.write_text(f"{HOSTNAME} {key.with_suffix('.pub').read_text()}")
        return path

    def _client_with(self, key: Path, known_hosts: Path, port: "int | None" = None) -> Client:
        self._clients_made += 1
        path = self.folder / f"ssh_config_{self._clients_made}"
        port = port or self.port
        path.write_text(
            "Host *\n"
            f"  HostName {ports.LOOPBACK}\n"
            f"  HostKeyAlias {HOSTNAME}\n"
            f"  Port {port}\n"
            f"  User {getpass.getuser()}\n"
            f"  IdentityFile {key}\n"
            "  IdentitiesOnly yes\n"
            "  IdentityAgent none\n"
            f"  UserKnownHostsFile {known_hosts}\n"
            "  GlobalKnownHostsFile none\n"
            "  StrictHostKeyChecking yes\n"
            "  BatchMode yes\n"
        )
        return Client(path, port)


@contextlib.contextmanager
def running_server(
    folder: Path, forgotten_timeout_s: float = STOP_TIMEOUT_S, first_options: "Sequence[str]" = ()
) -> "Iterator[Server]":
    """Run a private server in a folder that doesn't exist yet; it is gone afterwards, and so are the server's files.

    A connection still open that long after the end is an error: whoever opened it has leaked it.
    """
    require_openssh()
    folder.mkdir(mode=0o700)
    server = Server(folder, first_options)
    try:
        server.start()
        yield server
    finally:
        forgotten = server.stop(forgotten_timeout_s)
        shutil.rmtree(folder)
    assert forgotten == [], "connections to the private ssh server were left open"


def require_openssh() -> None:
    """Skip or fail the test where OpenSSH isn't installed or its server can't start."""
    parts.require_linux()
    for name in ("ssh", "ssh-keygen"):
        parts.required_program(name, "openssh-client")
    parts.required_program("sshd", "openssh-server")
    if os.getuid() == 0:
        parts.require(
            "/run/sshd, without which sshd doesn't start as root (install -d -m 755 /run/sshd)",
            os.path.isdir("/run/sshd"),
        )


def make_key(path: Path, passphrase: str = "") -> None:
    """Write a new key pair to `path` and `path.pub`."""
    keygen = parts.required_program("ssh-keygen", "openssh-client")
    subprocess.run([keygen, "-q", "-t", "ed25519", "-N", passphrase, "-C", path.name, "-f", str(path)], check=True)


def accepts_connections(port: int, process: "subprocess.Popen[bytes]") -> bool:
    """Return True once the process's port takes connections, False if it ends or says nothing in time."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection((ports.LOOPBACK, port), START_TIMEOUT_S):
            return True
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(leftovers.POLL_INTERVAL_S)
            return False
    process.kill()
    process.wait()
    return False


def openssh_version() -> "tuple[int, int]":
    """Return the version of the installed OpenSSH."""
    said = subprocess.run([parts.required_program("ssh"), "-V"], capture_output=True, text=True, check=False).stderr
    match = re.match(r"OpenSSH_(\d+)\.(\d+)", said)
    return (int(match[1]), int(match[2])) if match else (0, 0)
