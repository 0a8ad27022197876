"""Many hosts on one machine: each has a network namespace with its own address, a hostname, a process space, an sshd.

    root namespace                 nothing is added to it: no interface, address or route
    <prefix>sw                     a bridge, with a port for each of the others
    <prefix>c                      where clients run: `ssh` in Lab.bin goes there first
    <prefix>1, <prefix>2 ...       the hosts host1, host2 ..., 10.77.N.M

Needs root on Linux with iproute2, util-linux, iptables for partition(), and OpenSSH's server. Names are this process's
own, so several labs can stand side by side. Everything is ended by its process id, and stop() says what is left.
"""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.real import leftovers, parts, sshd

START_TIMEOUT_S = 30
STOP_TIMEOUT_S = 5
HOSTS_MAX = 250

# What a host may be like; Lab(kinds={3: REFUSES_KEY}).
REFUSES_KEY = "refuses every key"
HAS_NO_PYTHON = "has no Python on its PATH"
HAS_ANOTHER_KEY = "answers with another host key than is known"
LOGIN_HANGS = "lets one in, and then runs nothing"

# The ways that packets go, for Lab.partition().
TO_HOST, FROM_HOST = "INPUT", "OUTPUT"
BOTH_WAYS = (TO_HOST, FROM_HOST)

_next_number = 0


class Lab:
    """The hosts host1 to hostN, and how to come to them. Made by running_lab().

    folder: keys, configurations and logs. ssh_config: with which any `ssh` finds the hosts, from within the lab. ssh: a
    program that does, from anywhere. bin: the folder it is in, for PATH.
    """

    def __init__(self, folder: Path, count: int, kinds: "Mapping[int, str]") -> None:
        global _next_number
        assert 0 < count <= HOSTS_MAX
        _next_number += 1
        self.count = count
        self.folder = folder
        self.kinds = dict(kinds)
        self.bin = folder / "bin"
        self.ssh = self.bin / "ssh"
        self.ssh_config = folder / "ssh_config"
        self.namespaces: list[str] = []
        self._prefix = f"pl{os.getpid():x}x{_next_number}"
        self._hosts: dict[int, subprocess.Popen[bytes]] = {}

    @property
    def names(self) -> "list[str]":
        """The names of all hosts."""
        return [f"host{number}" for number in range(1, self.count + 1)]

    def address(self, number: int) -> str:
        """Return a host's address; 0 is where clients run."""
        return f"10.77.0.{number or 254}"

    def namespace(self, number: "int | str") -> str:
        """Return the name of a host's network namespace; 0 is where clients run."""
        return f"{self._prefix}{number or 'c'}"

    def inside(self, number: int, *command: "str | Path") -> "list[str]":
        """Return the command that runs this one in a host's network; 0 is where clients run."""
        return ["nsenter", f"--net=/run/netns/{self.namespace(number)}", *map(str, command)]

    # -- faults

    def partition(self, number: int, ways: "Sequence[str]" = BOTH_WAYS) -> None:
        """Drop whatever comes to the host or leaves it, silently, from now on."""
        for way in ways:
            _run(self.inside(number, "iptables", "-w", "-A", way, "-j", "DROP"))

    def lose(self, number: int, share: float) -> None:
        """Drop this share of all packets, each way, by chance, from now on."""
        by_chance = ("-m", "statistic", "--mode", "random", "--probability", str(share))
        for way in BOTH_WAYS:
            _run(self.inside(number, "iptables", "-w", "-A", way, *by_chance, "-j", "DROP"))

    def heal(self, number: int) -> None:
        """Undo partition() and lose()."""
        for way in BOTH_WAYS:
            _run(self.inside(number, "iptables", "-w", "-F", way))

    def delayed(self, delay_s: float) -> "list[str]":
        """Return arguments for `ssh` by which all that goes to and fro takes so long on its way, each way."""
        relay = Path(__file__).with_name("delaying.py")
        return ["-o", f"ProxyCommand={sshd.OWN_PYTHON} -IS {relay} %h %p {delay_s}"]

    def crash(self, number: int) -> None:
        """End the host with all that runs there, as if its power went: nobody hears of it."""
        self.partition(number)
        process = self._hosts.pop(number)
        process.kill()
        process.wait()

    # -- life

    def start(self) -> None:
        """Return once every host takes connections."""
        self.bin.mkdir()
        self._make_keys()
        self._make_network()
        for number in range(1, self.count + 1):
            self._start_host(number)
        self._write_client()
        for number in range(1, self.count + 1):
            self._await_host(number)

    def stop(self) -> "list[str]":
        """End everything, and return a line for each namespace and process that is left nevertheless."""
        below = [one.pid for process in self._hosts.values() for one in leftovers.descendants(process.pid)]
        for process in self._hosts.values():
            process.kill()  # unshare has the kernel kill the host's first process with it, and so all of them
        for process in self._hosts.values():
            process.wait()
        left = leftovers.until_empty(lambda: leftovers.running(below), STOP_TIMEOUT_S)
        leftovers.kill([one for one in leftovers.processes() if one.pid in below])
        for name in self.namespaces:
            # Only what runs within our own: an ssh that a test has left.
            for pid in _output(["ip", "netns", "pids", name]).split():
                left.append(f"process {pid} in the network {name}")
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
        _batch([f"netns delete {name}" for name in self.namespaces])
        return left + [name for name in _output(["ip", "netns", "list"]).split() if name.startswith(self._prefix)]

    def _make_keys(self) -> None:
        for name in ("host_key", "other_host_key", "user_key"):
            sshd.make_key(self.folder / name)
        shutil.copy(self.folder / "user_key.pub", self.folder / "authorized_keys")
        (self.folder / "nobody").touch()

    def _make_network(self) -> None:
        numbers = range(self.count + 1)
        switch = self.namespace("sw")
        self.namespaces = [self.namespace(number) for number in numbers] + [switch]
        _batch([f"netns add {name}" for name in self.namespaces])
        lines = ["link add br0 type bridge", "link set br0 up"]
        for number in numbers:
            lines.append(f"link add h{number} type veth peer name eth0 netns {self.namespace(number)}")
            lines.append(f"link set h{number} master br0 up")
        _batch(lines, switch)
        for number in numbers:
            address = f"addr add {self.address(number)}/24 dev eth0"
            _batch(["link set lo up", address, "link set eth0 up"], self.namespace(number))

    def _start_host(self, number: int) -> None:
        config = self.folder / f"sshd_config_{number}"
        config.write_text("\n".join(self._server_options(number)) + "\n")
        # A home folder of its own: what root has in the real one is nobody's business here, and may be slow.
        setup = f"hostname host{number}; mount -t tmpfs -o mode=700 tmpfs /root; cd /; exec {_sshd()} -D -e -f {config}"
        isolate = ["unshare", "--uts", "--pid", "--mount", "--fork", "--mount-proc", "--kill-child", "sh", "-c", setup]
        with (self.folder / f"log_{number}").open("wb") as log:
            self._hosts[number] = subprocess.Popen(
                self.inside(number, *isolate), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def _server_options(self, number: int) -> "list[str]":
        kind = self.kinds.get(number)
        path = "/nonexistent" if kind == HAS_NO_PYTHON else os.pathsep.join(sshd.LOGIN_PATH)
        options = [
            f"ListenAddress {self.address(number)}",
            f"HostKey {self.folder}/{'other_host_key' if kind == HAS_ANOTHER_KEY else 'host_key'}",
            f"AuthorizedKeysFile {self.folder}/{'nobody' if kind == REFUSES_KEY else 'authorized_keys'}",
            *("PidFile none", "StrictModes no", "UsePAM no", "PasswordAuthentication no"),
            *("KbdInteractiveAuthentication no", "PermitRootLogin yes", "PrintMotd no", "PrintLastLog no"),
            *("MaxStartups 500", "MaxSessions 100", "LogLevel VERBOSE"),
            f"SetEnv PATH={path} {leftovers.MARK_NAME}={os.environ.get(leftovers.MARK_NAME, '')}",
        ]
        if kind == LOGIN_HANGS:
            options.append("ForceCommand exec cat >/dev/null")
        if sshd.openssh_version() >= (9, 8):
            options.append("PerSourcePenalties no")
        return options

    def _write_client(self) -> None:
        key = (self.folder / "host_key.pub").read_text()
        (self.folder / "known_hosts").write_text(f"10.77.0.* {key}")
        hosts = [f"Host host{number}\n  HostName {self.address(number)}\n" for number in range(1, self.count + 1)]
        self.ssh_config.write_text(
            "".join(hosts) + f"Host *\n  User root\n  IdentityFile {self.folder}/user_key\n  IdentitiesOnly yes\n"
            f"  IdentityAgent none\n  UserKnownHostsFile {self.folder}/known_hosts\n  GlobalKnownHostsFile none\n"
        )
        # On a host it is there already. A host name is read without a process, which a command would take.
        enter = " ".join(self.inside(0))
        own = parts.required_program("ssh", "openssh-client")
        self.ssh.write_text(
            "#!/bin/sh\nread name </proc/sys/kernel/hostname\n"
            f'case "$name" in host[0-9]*) exec {own} -F {self.ssh_config} "$@" ;; esac\n'
            f'exec {enter} {own} -F {self.ssh_config} "$@"\n'
        )
        self.ssh.chmod(0o755)

    def _await_host(self, number: int) -> None:
        # A connection from where clients run, made by a process: this one is in another network.
        connect = f"import socket; socket.create_connection(('{self.address(number)}', 22), {START_TIMEOUT_S}).close()"
        command = self.inside(0, sshd.OWN_PYTHON, "-ISc", connect)

        def refused() -> "list[str]":
            ended = self._hosts[number].poll() is not None
            log = (self.folder / f"log_{number}").read_text()
            if ended:
                raise RuntimeError(f"host{number} did not start; its log says:\n{log}")
            # sshd says so once it listens; to ask by connecting costs an interpreter each time.
            return [] if "Server listening on" in log else ["not listening"]

        if leftovers.until_empty(refused, START_TIMEOUT_S):
            raise RuntimeError(f"host{number} does not listen")
        if number == 1:
            subprocess.run(command, check=True, timeout=START_TIMEOUT_S)


@contextlib.contextmanager
def running_lab(folder: Path, count: int, kinds: "Mapping[int, str] | None" = None) -> "Iterator[Lab]":
    """Run a lab in a folder that doesn't exist yet; afterwards nothing of it is left."""
    require_lab()
    folder.mkdir(mode=0o755)
    lab = Lab(folder, count, kinds or {})
    left: list[str] = []
    try:
        lab.start()
        yield lab
    finally:
        left = lab.stop()
        shutil.rmtree(folder)
    assert left == [], "the lab left these behind"


def require_lab() -> None:
    """Skip or fail the test where a lab can't be made."""
    sshd.require_openssh()
    parts.require("the rights of root, which namespaces take", os.getuid() == 0)
    for name, package in (("ip", "iproute2"), ("iptables", "iptables"), ("unshare", "util-linux")):
        parts.required_program(name, package)


def _sshd() -> str:
    return parts.required_program("sshd", "openssh-server")


def _run(command: "Sequence[str]") -> None:
    result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {result.stderr.strip()}")


def _output(command: "Sequence[str]") -> str:
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False).stdout


def _batch(lines: "Sequence[str]", namespace: str = "") -> None:
    """Have `ip` do all of these at once, in that network."""
    command = ["ip", *(["-netns", namespace] if namespace else []), "-batch", "-"]
    result = subprocess.run(command, input="\n".join(lines) + "\n", capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise RuntimeError(f"ip failed: {result.stderr.strip()}")
