"""Ansible's inventories: the INI form, the YAML form, and what `ansible-inventory --list` prints. Near side only.

Groups, their variables and children are put together as Ansible does it: a host's own variables outdo those of its
groups, a child's those of its parent, and `all` comes last. Variables that say how to connect become parameters of a
connector (CONNECTION). One that Plasmid can't keep to, a template for instance, is named, as that host's problem.
"""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from plasmid.connect.secret import Secret
from plasmid.inventory import ALL, Host, Inventory, InventoryError, each_once, expand

# The variable, and the connector's parameter that it is.
CONNECTION = {
    "ansible_host": "hostname",
    "ansible_ssh_host": "hostname",
    "ansible_port": "port",
    "ansible_ssh_port": "port",
    "ansible_user": "username",
    "ansible_ssh_user": "username",
    "ansible_private_key_file": "identity_file",
    "ansible_ssh_private_key_file": "identity_file",
    "ansible_ssh_executable": "ssh_path",
    "ansible_timeout": "connect_timeout",
    "ansible_ssh_timeout": "connect_timeout",
}
SSH_ARGS = ("ansible_ssh_args", "ansible_ssh_common_args", "ansible_ssh_extra_args")
HOST_KEY_CHECKING = ("ansible_host_key_checking", "ansible_ssh_host_key_checking")
# ansible_connection, and the way that it is here. `smart` is Ansible's word for ssh.
WAYS = {
    **dict.fromkeys(("ssh", "smart", "ansible.builtin.ssh"), "ssh"),
    **dict.fromkeys(("local", "ansible.builtin.local"), "local"),
    **dict.fromkeys(("docker", "community.docker.docker"), "docker"),
    **dict.fromkeys(("podman", "containers.podman.podman"), "podman"),
    **dict.fromkeys(("lxc", "community.general.lxc"), "lxc"),
}
# What each of the ways into a container takes of CONNECTION, by the names that it has there.
CONTAINER = {
    "docker": {"hostname": "container", "username": "username", "connect_timeout": "connect_timeout"},
    "podman": {"hostname": "container", "username": "username", "connect_timeout": "connect_timeout"},
    "lxc": {"hostname": "container", "connect_timeout": "connect_timeout"},
}
PASSWORDS = ("ansible_password", "ansible_ssh_password", "ansible_ssh_pass")
# Of no meaning here: Plasmid writes nothing there, needs no shell and has no modules to pipe.
IGNORED = re.compile(
    r"ansible_(remote_tmp|async_dir|(ssh_)?pipelining|shell_type|shell_executable|ssh_retries|ssh_transfer_method"
    r"|ssh_use_tty|sftp_.*|scp_.*|ssh_control_.*|connection_user|facts?_.*|check_mode|version)$"
)
_NO_PASSWORD = (
    ": sudo is run with -n there, which asks for none; start these hosts without ansible_become, and then "
    "router.sudo(via=..., password=...) by way of each"
)
_TRUE, _FALSE = ("yes", "true", "on", "1", "y", "t"), ("no", "false", "off", "0", "n", "f", "")


def from_ini(text: str, where: str) -> Inventory:
    """Return the inventory of a file in the INI form. where: what errors call it."""
    return _Ansible(where).read_ini(text)


def from_yaml(text: str, where: str) -> Inventory:
    """Return the inventory of a file in the YAML form."""
    return _Ansible(where).read_tree(_parse_yaml(text, where))


def from_json(text: str, where: str) -> Inventory:
    """Return the inventory that `ansible-inventory --list` has printed."""
    try:
        return from_list(json.loads(text), where)
    except json.JSONDecodeError as error:
        raise InventoryError(f"{where}:{error.lineno}: it is no JSON: {error.msg}") from error


def from_list(document: Any, where: str) -> Inventory:
    """Return the same from the mapping that this is."""
    if not isinstance(document, Mapping):
        raise InventoryError(f"{where}: what `ansible-inventory --list` prints is a mapping, not {document!r:.200}")
    return _Ansible(where).read_list(document)


class _Group:
    """One group of an Ansible inventory, while it is read."""

    def __init__(self) -> None:
        self.hosts: list[str] = []
        self.children: list[str] = []
        self.variables: dict[str, Any] = {}


class _Ansible:
    """An Ansible inventory, while it is read. where: what errors call it."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.groups: dict[str, _Group] = {ALL: _Group(), "ungrouped": _Group()}
        self.variables: dict[str, dict[str, Any]] = {}

    def group(self, name: str) -> _Group:
        return self.groups.setdefault(name, _Group())

    def add_host(self, group: _Group, name: str, variables: "Mapping[str, Any]") -> None:
        if not isinstance(variables, Mapping):
            raise InventoryError(f"{self.where}: the variables of {name} are no mapping: {variables!r}")
        self.variables.setdefault(name, {}).update(variables)
        if name not in group.hosts:
            group.hosts.append(name)

    # the INI form

    def read_ini(self, text: str) -> Inventory:
        section, kind = "ungrouped", "hosts"
        for number, line in enumerate(text.splitlines(), 1):
            line = line.strip()
            if not line or line[0] in "#;":
                continue
            heading = re.fullmatch(r"\[(?P<name>[^\]:]+)(?::(?P<kind>\w+))?\]\s*(#.*)?", line)
            try:
                if heading is not None:
                    section, kind = heading["name"], heading["kind"] or "hosts"
                    if kind not in ("hosts", "vars", "children"):
                        raise InventoryError(f"[{section}:{kind}] is none of :vars and :children")
                    self.group(section)
                else:
                    self._read_ini_line(section, kind, line)
            except ValueError as error:
                raise InventoryError(f"{self.where}:{number}: {error}") from error
        return self.finish()

    def _read_ini_line(self, section: str, kind: str, line: str) -> None:
        group = self.group(section)
        if kind == "vars":
            name, equals, value = line.partition("=")
            if not equals:
                raise InventoryError(f"{line!r} is no variable: NAME=VALUE")
            group.variables[name.strip()] = _unquoted(value.strip())
            return
        words = shlex.split(line, comments=True)
        if kind == "children":
            group.children.append(words[0])
            self.group(words[0])
            return
        variables: dict[str, Any] = {}
        for word in words[1:]:
            name, equals, value = word.partition("=")
            if not equals:
                raise InventoryError(f"{word!r} is no variable of {words[0]}: NAME=VALUE")
            variables[name] = value
        pattern, port = words[0], ""
        if re.fullmatch(r"[^:\[\]]*(\[[^\]]*\][^:\[\]]*)*:\d+", pattern):
            pattern, _, port = pattern.rpartition(":")
        for name in expand(pattern):
            self.add_host(group, name, {**({"ansible_port": port} if port else {}), **variables})

    # the YAML form

    def read_tree(self, tree: "Any") -> Inventory:
        if not isinstance(tree, Mapping):
            raise InventoryError(f"{self.where}: an inventory is a mapping of groups, not {type(tree).__name__}")
        for name, content in tree.items():
            self._read_group(str(name), content)
        return self.finish()

    def _read_group(self, name: str, content: "Any") -> None:
        group = self.group(name)
        if content is None:
            return
        if not isinstance(content, Mapping) or set(content) - {"hosts", "vars", "children"}:
            raise InventoryError(f"{self.where}: the group {name} has hosts, vars and children, not {content!r:.200}")
        for pattern, variables in dict(content.get("hosts") or {}).items():
            for host in expand(str(pattern)):
                self.add_host(group, host, variables or {})
        group.variables.update(content.get("vars") or {})
        for child, below in dict(content.get("children") or {}).items():
            group.children.append(str(child))
            self._read_group(str(child), below)

    # what `ansible-inventory --list` prints

    def read_list(self, document: "Mapping[str, Any]") -> Inventory:
        meta = document.get("_meta") or {}
        for name, content in document.items():
            if name == "_meta":
                continue
            group = self.group(name)
            if isinstance(content, list):
                content = {"hosts": content}
            if not isinstance(content, Mapping):
                raise InventoryError(
                    f"{self.where}: the group {name} is a mapping or a list of hosts, not {content!r:.200}"
                )
            for host in content.get("hosts") or []:
                self.add_host(group, str(host), {})
            group.children += [str(child) for child in content.get("children") or []]
            group.variables.update(content.get("vars") or {})
        for name, variables in (meta.get("hostvars") or {}).items():
            if name in self.variables:
                self.add_host(self.group(ALL), name, variables)
        for group in list(self.groups.values()):
            for child in group.children:
                self.group(child)
        return self.finish()

    # and what comes of all of them

    def finish(self) -> Inventory:
        members = {name: list(dict.fromkeys(self._members(name, ()))) for name in self.groups if name != ALL}
        order = sorted(self.groups, key=lambda name: (name != ALL, self._depth(name), name))
        hosts = []
        for name, own in self.variables.items():
            groups = tuple(group for group in order if name in members.get(group, ()) and group != "ungrouped")
            variables = dict(self.groups[ALL].variables)
            for group in groups:
                variables.update(self.groups[group].variables)
            variables.update(own)
            hosts.append(_ansible_host(name, groups, variables, self.where))
        named = {name: found for name, found in members.items() if found}
        return Inventory(each_once(hosts, self.where), named)

    def _members(self, name: str, above: "tuple[str, ...]") -> "Iterator[str]":
        if name in above:
            raise InventoryError(
                f"{self.where}: the group {name} is a child of itself, by way of {' and '.join(above)}"
            )
        group = self.groups[name]
        yield from group.hosts
        for child in group.children:
            yield from self._members(child, (*above, name))

    def _depth(self, name: str) -> int:
        # A child's variables outdo its parent's, so parents come first.
        above = [other for other, group in self.groups.items() if name in group.children and other != ALL]
        return 1 + max((self._depth(other) for other in above), default=0)


def _parse_yaml(text: str, where: str) -> "Any":
    try:
        import yaml
    except ImportError as error:
        raise InventoryError(f"{where}: YAML needs PyYAML: pip install 'plasmid[inventory]'") from error
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InventoryError(f"{where}: it is no YAML: {error}") from error


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"" else value


def _ansible_host(name: str, groups: "tuple[str, ...]", variables: "dict[str, Any]", where: str) -> Host:
    """Return the host of these variables, with the first of them that Plasmid can't keep to as its problem."""
    own = {key: value for key, value in variables.items() if not key.startswith("ansible_")}
    try:
        scheme, options = _connection(name, variables)
    except ValueError as error:
        return Host(name, groups=groups, variables=own, problem=f"{where}: {name}: {error}")
    return Host(name, options, scheme, "", groups, own)


def _connection(name: str, variables: "Mapping[str, Any]") -> "tuple[str, dict[str, Any]]":
    """Return the way and the parameters that these variables say. Raises InventoryError for one that can't be kept."""
    left = {key: value for key, value in variables.items() if key.startswith("ansible_") and not IGNORED.match(key)}
    written = str(left.pop("ansible_connection", "ssh"))
    scheme = WAYS.get(written)
    if scheme is None:
        raise InventoryError(f"ansible_connection={written} is no way to connect that Plasmid has")
    for key, value in left.items():
        if "{{" in str(value) or isinstance(value, Mapping):
            raise InventoryError(f"{key} is a template or a secret, which only Ansible can fill in")
    options: dict[str, Any] = {}
    for key, parameter in CONNECTION.items():
        if key in left:
            value = left.pop(key)
            taken = parameter if scheme == "ssh" else CONTAINER.get(scheme, {}).get(parameter)
            if taken and value is not None:
                options[taken] = _number(key, value) if taken in ("port", "connect_timeout") else str(value)
    ssh_args = [word for key in SSH_ARGS for word in shlex.split(str(left.pop(key, "") or ""))]
    checks = [_truth(key, left.pop(key)) for key in HOST_KEY_CHECKING if key in left]
    if scheme == "ssh":
        options.setdefault("hostname", name)
        passwords = [str(left[key]) for key in PASSWORDS if left.get(key) is not None]
        if passwords:
            options["password"] = Secret(passwords[0])
        if ssh_args:
            options["ssh_args"] = ssh_args
        if False in checks:
            options["check_host_keys"] = "ignore"
    elif scheme in CONTAINER:
        options.setdefault("container", name)
    left = {key: value for key, value in left.items() if key not in PASSWORDS}
    python = str(left.pop("ansible_python_interpreter", "auto"))
    words = [] if python.startswith("auto") else [python]
    words = _become(left, words)
    if words:
        options["python_path"] = words if len(words) > 1 else words[0]
    if left:
        key = sorted(left)[0]
        hint = _NO_PASSWORD if "become_pass" in key else ""
        raise InventoryError(f"Plasmid can't keep to {key}{hint}")
    return scheme, options


def _become(left: "dict[str, Any]", python: "list[str]") -> "list[str]":
    """Return how Python is started there, by sudo if `ansible_become` says so."""
    wanted = _truth("ansible_become", left.pop("ansible_become", False))
    user, method = left.pop("ansible_become_user", None), str(left.pop("ansible_become_method", "sudo"))
    if not wanted:
        left.pop("ansible_become_password", None)
        left.pop("ansible_become_pass", None)
        return python
    if method not in ("sudo", "ansible.builtin.sudo"):
        raise InventoryError(f"Plasmid can't keep to ansible_become_method={method}; only to sudo")
    return ["sudo", "-n", *(["-u", str(user)] if user else []), "--", *(python or ["python3"])]


def _number(key: str, value: "Any") -> int:
    if isinstance(value, bool) or not str(value).isdecimal():
        raise InventoryError(f"{key}={value!r} is no number")
    return int(value)


def _truth(key: str, value: "Any") -> bool:
    text = str(value).lower()
    if text not in _TRUE + _FALSE:
        raise InventoryError(f"{key}={value!r} is neither yes nor no")
    return text in _TRUE
