"""A context on another machine, by the user's own OpenSSH with the user's own configuration.

Only what the user's configuration can't know is passed to ssh: that nobody is there to answer questions, that a dead
connection must be noticed, what to do about host keys, and no compression, which makes files four times slower.
ssh_args come first on the command line, and ssh takes the first value of an option: so they override all of it.

With a password ssh gets a terminal to ask on. The same terminal is that of the ssh to a jump host, if there is one; so
the password goes only to the question that names the user and the host as ssh itself (`ssh -G`) says that they are.
"""

import os

from plasmid.connect.connector import Connector, check_word, quote, split_user
from plasmid.connect.process import BESIDE, NO_TERMINAL
from plasmid.connect.prompts import CHANGE_WORDS, EXPIRED, PASSWORD_WORDS, Prompt
from plasmid.connect.secret import as_secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple, Union

    from plasmid.connect.secret import Secret

# accept: the key of a host seen for the first time is taken, a changed one isn't. ignore: for throw-away machines.
HOST_KEY_OPTIONS = {
    "enforce": ["-o", "StrictHostKeyChecking=yes"],
    "accept": ["-o", "StrictHostKeyChecking=accept-new"],
    "ignore": [
        "-o",
        "StrictHostKeyChecking=no",
        "-o",
        "UserKnownHostsFile=/dev/null",
        "-o",
        "GlobalKnownHostsFile=/dev/null",
    ],
}

UNKNOWN_HOST = (
    "The host's key isn't in known_hosts. Compare it and log in once with ssh by hand, or pass "
    "check_host_keys='accept' to take the key of a host that is seen for the first time."
)

OTHER_HOST = (
    "password= is for the account at the end of the way alone, and this isn't its usual question. A host on the way "
    "needs a key; or make it a context by itself, with its own password=, and go on from there with via=."
)

# What ssh prints, in lower case, and what to do about it: first what means something else if a password was given.
FAILURES_WITH_PASSWORD = (
    (
        "permission denied (publickey).",
        "The host takes keys only, and refused every one that ssh offered: no password will do.",
    ),
    (
        "too many authentication failures",
        "ssh offered so many keys that the host didn't wait for the password: pass identity_file=, or "
        "ssh_args=['-o', 'PubkeyAuthentication=no'].",
    ),
    (
        "permission denied (",
        "The host refused the password, or the account may not log in with one: check username= and password=. What "
        "the host accepts stands in the brackets.",
    ),
)
KNOWN_FAILURES = (
    (
        "host identification has changed",
        "The host answers with another key than known_hosts has. If it was reinstalled, remove the old key with "
        "`ssh-keygen -R HOST`; if it wasn't, somebody may be in between.",
    ),
    (
        "host key verification failed",
        UNKNOWN_HOST,
    ),
    (
        "unprotected private key file",
        "ssh ignores a key file that others may read: chmod 600 it.",
    ),
    (
        "too many authentication failures",
        "ssh offered more keys than the host accepts: pass identity_file= to offer only the right one.",
    ),
    ("password change required", EXPIRED),
    ("your password has expired", EXPIRED),
    ("your account has expired", "The account there has expired: have the machine's administrator open it."),
    (
        "permission denied (",
        "The host refused every key that ssh offered, and no password was given. Check username= and identity_file=, "
        "that the agent has the key, and that `ssh -o BatchMode=yes` logs in; or pass password=.",
    ),
    (
        "could not resolve hostname",
        "The name is unknown here: check its spelling, and ~/.ssh/config if it is an alias.",
    ),
    ("connection refused", "Nothing listens there: check that sshd runs on the host, and port=."),
    ("connection timed out", "The host doesn't answer: check that it is up and that no firewall drops the packets."),
    ("operation timed out", "The host doesn't answer: check that it is up and that no firewall drops the packets."),
    ("no route to host", "There is no way to that network from here: check the address, the VPN and the firewall."),
    ("network is unreachable", "There is no way to that network from here: check the address and the VPN."),
    (
        "kex_exchange_identification",
        "What answered isn't an ssh server, or it turns us away: check port=, and its limit of new connections.",
    ),
    (
        "bad configuration option",
        "The ssh here doesn't know an option: see ~/.ssh/config and ssh_args=, or name a newer one with ssh_path=.",
    ),
    (
        "cannot execute command-line and remote command",
        "~/.ssh/config sets RemoteCommand for this host: pass ssh_args=['-o', 'RemoteCommand=none'].",
    ),
)


class Ssh(Connector):
    """Run Python on `hostname`, which may be an alias of ~/.ssh/config. Names as in Mitogen where it has them too.

    check_host_keys: `enforce` (only known keys), `accept` (new hosts too) or `ignore`. identity_file: the only key to
    offer. password: of the account there; see Secret. passphrase: of the key, if no agent has it. ssh_args: further
    arguments for ssh, which override ours. keepalive_interval: seconds of silence after which ssh asks the host,
    keepalive_count times, and then gives up; 0 for never.
    """

    scheme = "ssh"
    PARAMETERS = (
        "hostname",
        "username",
        "port",
        "identity_file",
        "password",
        "passphrase",
        "check_host_keys",
        "ssh_path",
        "ssh_args",
        "compression",
        "keepalive_interval",
        "keepalive_count",
    ) + Connector.PARAMETERS

    def __init__(
        self,
        hostname: str,
        username: "Optional[str]" = None,
        port: "Optional[int]" = None,
        identity_file: "Any" = None,
        check_host_keys: str = "enforce",
        ssh_path: str = "ssh",
        ssh_args: "Sequence[str]" = (),
        compression: bool = False,
        keepalive_interval: int = 15,
        keepalive_count: int = 3,
        name: "Optional[str]" = None,
        python_path: "Union[str, List[str], None]" = None,
        connect_timeout: float = 30.0,
        password: "Union[str, Callable[[], str], Secret, None]" = None,
        passphrase: "Union[str, Callable[[], str], Secret, None]" = None,
    ) -> None:
        check_word("host name for ssh", hostname)
        if username is not None:
            check_word("user name for ssh", username)
        if port is not None and not 0 < port < 65536:
            raise ValueError("port must be 1 to 65535; it is %r" % (port,))
        if check_host_keys not in HOST_KEY_OPTIONS:
            raise ValueError("check_host_keys must be enforce, accept or ignore; it is %r" % (check_host_keys,))
        Connector.__init__(self, name or hostname, python_path, connect_timeout)
        self.hostname = hostname
        self.username = username
        self.port = port
        self.identity_file = None if identity_file is None else str(os.fspath(identity_file))
        self.password = as_secret(password)
        self.passphrase = as_secret(passphrase)
        self.check_host_keys = check_host_keys
        self.ssh_path = ssh_path
        self.ssh_args = list(ssh_args)
        self.compression = compression
        self.keepalive_interval = keepalive_interval
        self.keepalive_count = keepalive_count

    @classmethod
    def url_fields(cls, url: str, rest: str) -> "Dict[str, Any]":
        """Take `user@host:port` apart; an IPv6 address stands in brackets before a port."""
        fields: "Dict[str, Any]" = {}
        user, host = split_user(url, rest)
        if user is not None:
            fields["username"] = user
        port = ""
        if host.startswith("["):
            host, bracket, port = host[1:].partition("]")
            if not bracket or (port and not port.startswith(":")):
                raise ValueError("%r: an IPv6 address is written [::1] or [::1]:22" % url)
            port = port[1:]
        elif host.count(":") == 1:
            host, _, port = host.partition(":")
            if not port:
                raise ValueError("%r: there is no port after the colon" % url)
        if "/" in host:
            raise ValueError("%r: a path makes no sense here" % url)
        if port:
            if not port.isdigit():
                raise ValueError("%r: %r is no port number" % (url, port))
            fields["port"] = int(port)
        fields["hostname"] = host
        return fields

    @property
    def known_failures(self) -> "Sequence[Tuple[str, str]]":  # type: ignore[override]
        return KNOWN_FAILURES if self.password is None else FAILURES_WITH_PASSWORD + KNOWN_FAILURES

    @property
    def target(self) -> str:
        user = "%s@" % self.username if self.username else ""
        host = "[%s]" % self.hostname if ":" in self.hostname else self.hostname
        port = ":%d" % self.port if self.port else ""
        return "ssh://%s%s%s" % (user, host, port)

    @property
    def program(self) -> str:
        return os.path.basename(self.ssh_path)

    @property
    def terminal(self) -> str:  # type: ignore[override]
        return BESIDE if self.secrets() else NO_TERMINAL

    def environment(self) -> "Optional[Dict[str, str]]":
        """Return our own; with a secret to type, without what would have ssh ask in a window."""
        return dict(os.environ, SSH_ASKPASS_REQUIRE="never") if self.secrets() else None

    def secrets(self) -> "Dict[str, Secret]":
        both = {"password": self.password, "passphrase": self.passphrase}
        return {name: secret for name, secret in both.items() if secret is not None}

    def argv(self, first_stage: str, ps_name: str) -> "List[str]":
        return self._options() + ["--", self.hostname, self._remote_command(first_stage, ps_name)]

    def prompts(self, first_stage: str) -> "List[Prompt]":
        if not self.secrets():
            return []
        key_advice = "Pass passphrase=, or have an agent that holds the key."
        prompts = [
            Prompt("passphrase", "Enter passphrase for ", None, key_advice, is_each_line=True),
            Prompt("", "Are you sure you want to continue connecting", None, UNKNOWN_HOST),
        ]
        for who in self._who():
            advice = "Pass password=, or a key that the host accepts."
            prompts.append(Prompt("password", who + "'s password", ("",), advice))
            prompts.append(Prompt("password", "(%s) " % who, PASSWORD_WORDS, advice))
            prompts.append(Prompt("", "(%s) " % who, CHANGE_WORDS, EXPIRED))
        prompts.append(Prompt("", "", CHANGE_WORDS, EXPIRED))
        prompts.append(Prompt("", "", None, OTHER_HOST, has="'s password"))
        prompts.append(Prompt("", "(", None, OTHER_HOST, has="@"))
        return prompts

    def _who(self) -> "List[str]":
        """Return `user@host` as ssh's questions name it; nothing if ssh can't say, which it will say again itself."""
        import subprocess

        argv = [*self._options(), "-G", "--", self.hostname]
        try:
            asked = subprocess.run(
                argv,
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=10,
            )
        except (OSError, subprocess.TimeoutExpired):
            return []
        known = dict(line.split(" ", 1) for line in asked.stdout.decode("utf-8", "replace").splitlines() if " " in line)
        host = known.get("hostkeyalias") or known.get("hostname")
        return ["%s@%s" % (known["user"], host)] if "user" in known and host else []

    def _options(self) -> "List[str]":
        argv = [os.path.expanduser(self.ssh_path)] + self.ssh_args + ["-T"]
        if self.secrets():
            # Once: a second answer would be the same wrong one.
            argv += ["-o", "BatchMode=no", "-o", "NumberOfPasswordPrompts=1"]
        else:
            argv += ["-o", "BatchMode=yes"]
        # A second less than ours, so that ssh can still say what is wrong.
        argv += ["-o", "ConnectTimeout=%d" % max(1, int(self.connect_timeout) - 1)]
        argv += ["-o", "ServerAliveInterval=%d" % self.keepalive_interval]
        argv += ["-o", "ServerAliveCountMax=%d" % self.keepalive_count]
        argv += ["-o", "Compression=%s" % ("yes" if self.compression else "no")]
        argv += HOST_KEY_OPTIONS[self.check_host_keys]
        if self.identity_file is not None:
            argv += ["-o", "IdentitiesOnly=yes", "-i", os.path.expanduser(self.identity_file)]
        if self.username is not None:
            argv += ["-l", self.username]
        if self.port is not None:
            argv += ["-p", str(self.port)]
        return argv

    def _remote_command(self, first_stage: str, ps_name: str) -> str:
        words = [quote(word) for word in self._python_argv(first_stage, ps_name)]
        if self._python_words[0].startswith("~/"):
            words[0] = "~/" + quote(self._python_words[0][2:])
        # exec: some shells would wait beside the Python that they started.
        return "exec " + " ".join(words)
