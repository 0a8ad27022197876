"""A private ssh server on a loopback port, with keys and configuration of its own, for the figures over ssh."""

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.pythons import BARE_PYTHON
from bench.subject import NotOffered

LOOPBACK = "127.0.0.1"
START_TIMEOUT_S = 10


@contextlib.contextmanager
def running() -> "Iterator[list[str]]":
    """Run the server; give the arguments with which `ssh` leads to it, whatever host name is asked for."""
    program = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if program is None or shutil.which("ssh") is None or (os.getuid() == 0 and not os.path.isdir("/run/sshd")):
        raise NotOffered("no OpenSSH server can be started here")
    with tempfile.TemporaryDirectory(prefix="plasmid-bench-") as name:
        folder = Path(name)
        for key in "host_key", "user_key":
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)], check=True)
        port = free_port()
        write_configuration(folder, port)
        with (folder / "log").open("wb") as log:
            argv = [program, "-D", "-e", "-f", str(folder / "sshd_config")]
            server = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        try:
            await_port(port, server)
            yield ["-F", str(folder / "ssh_config")]
        finally:
            server.terminate()
            server.wait()


def write_configuration(folder: Path, port: int) -> None:
    """Write what the server and the client are told. Logins find a bare Python as python3, and an empty home."""
    (folder / "home").mkdir()
    # Not the interpreter's own folder on PATH: there may be no python3 in it, or another.
    (folder / "bin").mkdir()
    (folder / "bin" / "python3").symlink_to(BARE_PYTHON)
    shutil.copy(folder / "user_key.pub", folder / "authorized_keys")
    (folder / "known_hosts").write_text("bench " + (folder / "host_key.pub").read_text())
    server = [
        f"ListenAddress {LOOPBACK}:{port}",
        f"HostKey {folder}/host_key",
        f"AuthorizedKeysFile {folder}/authorized_keys",
        *("PidFile none", "StrictModes no", "UsePAM no", "PasswordAuthentication no", "PermitRootLogin yes"),
        *("PrintMotd no", "PrintLastLog no", "MaxStartups 200"),
        f"SetEnv HOME={folder}/home PATH={folder}/bin:/usr/bin:/bin",
    ]
    client = [
        *("Host *", f"HostName {LOOPBACK}", "HostKeyAlias bench", f"Port {port}", f"User {getpass.getuser()}"),
        *(f"IdentityFile {folder}/user_key", "IdentitiesOnly yes", "IdentityAgent none", "BatchMode yes"),
        *(f"UserKnownHostsFile {folder}/known_hosts", "GlobalKnownHostsFile none", "StrictHostKeyChecking yes"),
    ]
    (folder / "sshd_config").write_text("\n".join(server) + "\n")
    (folder / "ssh_config").write_text("\n".join(client) + "\n")


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server((LOOPBACK, 0)) as server:
        return int(server.getsockname()[1])


def await_port(port: int, server: "subprocess.Popen[bytes]") -> None:
    """Return once the server takes connections."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while server.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, port), START_TIMEOUT_S):
            return
        time.sleep(0.01)
    raise NotOffered("the OpenSSH server didn't start")
