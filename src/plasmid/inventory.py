"""Inventories: which hosts there are and how each is reached, from the files that people have. Near side only.

    plain     a name, a range such as web[01-20], or a URL in each line; # starts a comment
    ssh       an ssh configuration: its Host names without wildcards
    ini       Ansible's INI form
    yaml      Ansible's YAML form (needs PyYAML, which `pip install plasmid[inventory]` brings)
    json      what `ansible-inventory --list` prints

What Ansible's files say is the business of ansible.py. A host that can't be connected to as its inventory says is there
all the same, and fails by itself when it is connected to. Nothing is executed here and no connection is made, but for
`ssh -G` in Host.ssh_details().
"""

import glob
import itertools
import os
import re
import shlex
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plasmid.connect import connector_class, parse
from plasmid.connect.connector import Connector
from plasmid.core.errors import PlasmidError

FORMATS = ("plain", "ssh", "ini", "yaml", "json")

# A range is expanded to so many names at most, and so are all of one inventory: beyond that it is surely a slip.
HOSTS_MAX = 100_000
INCLUDE_DEPTH_MAX = 16  # as ssh itself
ALL = "all"


class InventoryError(PlasmidError, ValueError):
    """An inventory, or a part of it, makes no sense."""


@dataclass(frozen=True)
class Host:
    """One host of an inventory; a target for connect_all().

    options: parameters of its connector. url: what it is instead, where the inventory has a URL. groups: those that it
    is in, `all` left out. variables: what the inventory says of it besides. problem: why it can't be connected to.
    """

    name: str
    options: "Mapping[str, Any]" = field(default_factory=dict)
    scheme: str = "ssh"
    url: str = ""
    groups: "tuple[str, ...]" = ()
    variables: "Mapping[str, Any]" = field(default_factory=dict)
    problem: str = ""

    def connector(self, **options: Any) -> Connector:
        """Return what leads there. options: further parameters. ValueError where it has a problem."""
        if self.problem:
            raise InventoryError(self.problem)
        wanted = {**self.options, **options}
        return parse(self.url, **wanted) if self.url else connector_class(self.scheme)(**{"name": self.name, **wanted})

    def ssh_details(self) -> "dict[str, str]":
        """Return what ssh itself makes of this host, as `ssh -G` says: hostname, user, port, proxyjump and so on."""
        program = str(self.options.get("ssh_path", "ssh"))
        command = [program, *self.options.get("ssh_args", ()), "-G", "--", str(self.options.get("hostname", self.name))]
        result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            raise InventoryError(f"{shlex.join(command)} failed: {result.stderr.strip() or result.returncode}")
        return {name: value for name, _, value in (line.partition(" ") for line in result.stdout.splitlines())}


class Inventory:
    """Hosts and the groups that they are in. Iterating gives the hosts, in their order."""

    def __init__(self, hosts: "Iterable[Host]" = (), groups: "Mapping[str, Iterable[str]] | None" = None) -> None:
        self.hosts = {host.name: host for host in hosts}
        self.groups = {name: list(members) for name, members in (groups or {}).items()}

    def __iter__(self) -> "Iterator[Host]":
        return iter(self.hosts.values())

    def __len__(self) -> int:
        return len(self.hosts)

    def __contains__(self, name: object) -> bool:
        return name == ALL or name in self.hosts or name in self.groups

    def select(self, *names: str) -> "list[Host]":
        """Return the hosts that these names of hosts and groups stand for, each once. Raises InventoryError."""
        found: dict[str, Host] = {}
        for name in names:
            if name not in self:
                known = ", ".join([ALL, *self.groups][:20])
                raise InventoryError(f"the inventory has no host and no group {name!r}; its groups are {known}")
            members = list(self.hosts) if name == ALL else self.groups.get(name, [name])
            found.update((member, self.hosts[member]) for member in members)
        return list(found.values())


def load(source: "Any", form: str = "") -> Inventory:
    """Return the inventory that a file holds, or that a function or an iterable gives.

    source: a path; or a function without arguments that returns any of these, or what `ansible-inventory --list`
    prints as text or as a dict; or an iterable of names, ranges, URLs and Hosts. form: one of FORMATS for a file whose
    form can't be seen by its name or its text. Raises InventoryError, which names the file and the line.
    """
    if isinstance(source, Inventory):
        return source
    if form and form not in FORMATS:
        raise InventoryError(f"no form of inventory is called {form!r}; there are {', '.join(FORMATS)}")
    if callable(source):
        found = source()
        return from_text(found, form or "json", repr(source)) if isinstance(found, str) else load(found, form)
    if isinstance(source, Mapping):
        from plasmid import ansible

        return ansible.from_list(source, "the inventory")
    if isinstance(source, (str, os.PathLike)):
        path = Path(source).expanduser()
        if form == "ssh" or (not form and path.name in ("ssh_config", "config")):
            return from_ssh_config(path)
        try:
            text = path.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise InventoryError(f"the inventory {path} can't be read: {error}") from error
        return from_text(text, form or form_of(path.suffix, text), str(path))
    hosts: list[Host] = []
    for entry in source:
        if isinstance(entry, Host):
            hosts.append(entry)
        elif isinstance(entry, str):
            hosts += [_plain_host(name) for name in expand(entry)]
        else:
            raise InventoryError(f"an inventory holds names, ranges, URLs and Hosts, not {entry!r}")
    return Inventory(each_once(hosts, "the inventory"))


def form_of(suffix: str, text: str) -> str:
    """Return which form a file has, by the end of its name or else by its text."""
    if suffix in (".yml", ".yaml"):
        return "yaml"
    if suffix == ".json" or text.lstrip().startswith("{"):
        return "json"
    if suffix == ".ini" or re.search(r"^\[[\w.-]+(:\w+)?\]\s*$", text, re.M) or re.search(r"\bansible_\w+=", text):
        return "ini"
    return "plain"


def from_text(text: str, form: str, where: str = "the inventory") -> Inventory:
    """Return the inventory that a text is, in one of FORMATS but `ssh`. where: what errors call it."""
    if form == "plain":
        return _from_plain(text, where)
    from plasmid import ansible

    readers = {"ini": ansible.from_ini, "yaml": ansible.from_yaml, "json": ansible.from_json}
    if form not in readers:
        raise InventoryError(f"{where}: a text of the form {form!r} can't be read; there are plain, ini, yaml and json")
    return readers[form](text, where)


# -- plain lists

_RANGE = re.compile(r"\[(?P<first>\w+)[-:](?P<last>\w+)(?:[:/](?P<step>\d+))?\]")


def expand(pattern: str) -> "list[str]":
    """Return the names that a pattern stands for: `web[01-20].example`, `db[a-c]`, `n[0-100:10]`, several in one.

    Zeros in front make all numbers as wide. Ansible's `[01:20]` is the same. Raises InventoryError.
    """
    parts: list[list[str]] = []
    position = 0
    for match in _RANGE.finditer(pattern):
        parts += [[pattern[position : match.start()]], _expand_range(pattern, match)]
        position = match.end()
    parts.append([pattern[position:]])
    count = 1
    for part in parts:
        count *= len(part)
        if count > HOSTS_MAX:
            raise InventoryError(f"{pattern!r} stands for more than {HOSTS_MAX} names")
    return ["".join(pieces) for pieces in itertools.product(*parts)]


def _expand_range(pattern: str, match: "re.Match[str]") -> "list[str]":
    first, last, step = match["first"], match["last"], int(match["step"] or 1)
    if step < 1:
        raise InventoryError(f"{pattern!r}: the step of {match[0]} must be at least 1")
    if first.isdecimal() and last.isdecimal():
        if (first[0] == "0" or last[0] == "0") and len(first) != len(last) and len(first) > 1:
            raise InventoryError(f"{pattern!r}: both ends of {match[0]} must be as wide, or the first without a zero")
        width = len(first) if first[0] == "0" else 0
        numbers = range(int(first), int(last) + 1, step)
        if not numbers:
            raise InventoryError(f"{pattern!r}: {match[0]} runs backwards")
        if (numbers.stop - numbers.start) // step > HOSTS_MAX:
            raise InventoryError(f"{pattern!r} stands for more than {HOSTS_MAX} names")
        return [f"{number:0{width}d}" for number in numbers]
    if len(first) == len(last) == 1 and first.isalpha() and last.isalpha() and first <= last:
        return [chr(code) for code in range(ord(first), ord(last) + 1, step)]
    raise InventoryError(f"{pattern!r}: {match[0]} is no range of numbers, nor of letters from the first to the last")


def _plain_host(text: str) -> Host:
    try:
        connector = parse(text)
    except ValueError as error:
        return Host(text, url=text, problem=str(error))
    return Host(text, url=text) if connector.name != text else Host(text, {"hostname": text})


def _from_plain(text: str, where: str) -> Inventory:
    hosts: list[Host] = []
    for number, line in enumerate(text.splitlines(), 1):
        for word in line.partition("#")[0].split():
            try:
                hosts += [_plain_host(name) for name in expand(word)]
            except InventoryError as error:
                raise InventoryError(f"{where}:{number}: {error}") from error
    return Inventory(each_once(hosts, where))


def each_once(hosts: "list[Host]", where: str) -> "list[Host]":
    """Return the hosts, if there are any and no two have one name. Raises InventoryError."""
    names: set[str] = set()
    for host in hosts:
        if host.name in names:
            raise InventoryError(f"{where}: {host.name} stands there twice")
        names.add(host.name)
    if not hosts:
        raise InventoryError(f"{where}: there is no host in it")
    return hosts


# -- an ssh configuration


def from_ssh_config(path: "str | os.PathLike[str] | None" = None) -> Inventory:
    """Return the hosts that an ssh configuration names. path: None for ~/.ssh/config.

    Only Host lines and Include are read; what they mean is ssh's to say when it connects, with the same file.
    """
    default = Path("~/.ssh/config").expanduser()
    file = default if path is None else Path(path).expanduser()
    if not file.is_file():
        raise InventoryError(f"the inventory {file} can't be read: there is no such file")
    ssh_args = [] if file == default else ["-F", str(file)]
    names = list(dict.fromkeys(_ssh_names(file, 0)))
    hosts = [Host(name, {"hostname": name, **({"ssh_args": ssh_args} if ssh_args else {})}) for name in names]
    return Inventory(each_once(hosts, str(file)))


def _ssh_names(file: Path, depth: int) -> "Iterator[str]":
    if depth > INCLUDE_DEPTH_MAX:
        raise InventoryError(f"{file}: Include goes deeper than {INCLUDE_DEPTH_MAX} files")
    try:
        text = file.read_text(errors="surrogateescape")
    except OSError as error:
        raise InventoryError(f"{file} can't be read: {error.strerror}") from error
    for line in text.splitlines():
        match = re.match(r"\s*(host|include)(?:\s*=\s*|\s+)(.*)", line, re.I)
        if match is None:
            continue
        try:
            words = shlex.split(match[2], comments=True)
        except ValueError as error:
            raise InventoryError(f"{file}: {line.strip()!r}: {error}") from error
        if match[1].lower() == "host":
            yield from (word for word in words if not set(word) & set("*?!"))
            continue
        for word in words:
            # Relative to ~/.ssh, whichever file says so: ssh's rule for the files of users.
            for found in sorted(glob.glob(str(Path("~/.ssh").expanduser() / Path(word).expanduser()))):
                yield from _ssh_names(Path(found), depth + 1)
