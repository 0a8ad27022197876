"""What the command line says about where to run, as connectors. No connection is made here."""

from dataclasses import dataclass, field
from typing import Any

from plasmid.connect import parse
from plasmid.connect.connector import Connector
from plasmid.connect.secret import Secret
from plasmid.core.connect_error import ConnectError
from plasmid.inventory import Host, Inventory


@dataclass(frozen=True)
class ConnectOptions:
    """The options that both commands have. None and empty: as the connector has it.

    identity and ssh_args are for the ssh that is started here: with --via, the one to the first hop. port, python and
    password are for the targets, the rest for every connection. inventory: names hosts and groups that can be targets.
    """

    via: "tuple[str, ...]" = ()
    python: "str | None" = None
    ssh_args: "tuple[str, ...]" = ()
    identity: "str | None" = None
    port: "int | None" = None
    check_host_keys: "str | None" = None
    connect_timeout_s: "float | None" = None
    password: "Secret | None" = None
    inventory: "Inventory | None" = None


@dataclass(frozen=True)
class Target:
    """One place to run: as it was written, and how to get there. name: what its context is called in all output.

    way: its connector, or why the inventory gives none.
    """

    written: str
    way: "Connector | ConnectError"
    name: str = field(default="")

    @property
    def connector(self) -> Connector:
        """What leads there. Raises ConnectError."""
        if isinstance(self.way, ConnectError):
            raise self.way
        return self.way


def split_targets(words: "tuple[str, ...] | list[str]") -> "list[str]":
    """Return the targets of words that may each hold several, separated by commas."""
    return [part.strip() for word in words for part in word.split(",") if part.strip()]


def make_targets(written: "list[str]", options: ConnectOptions) -> "list[Target]":
    """Return the targets, each with a name of its own. Raises ValueError on one that is no target."""
    ways: list[tuple[str, str, Connector | ConnectError]] = []
    for text in written:
        if options.inventory is not None and text in options.inventory:
            ways += [(host.name, host.name, _of_host(host, options)) for host in options.inventory.select(text)]
        else:
            connector = _connector(text, options, is_hop=False)
            ways.append((text, connector.name, connector))
    names = [name for _, name, _ in ways]
    targets = []
    for number, (text, name, way) in enumerate(ways):
        if names.count(name) > 1:
            name = f"{name}-{names[: number + 1].count(name)}"
        if isinstance(way, Connector):
            way.name = name
        targets.append(Target(text, way, name))
    return targets


def make_hops(options: ConnectOptions) -> "list[Connector]":
    """Return the connectors of --via, the one to start from here first."""
    return [_connector(text, options, is_hop=True) for text in split_targets(options.via)]


def _of_host(host: Host, options: ConnectOptions) -> "Connector | ConnectError":
    """Return what leads to a host of the inventory, or why nothing does. What that says outdoes the options."""
    try:
        plain = host.connector()
    except (ValueError, TypeError) as error:
        return ConnectError(host.name, "read the inventory", str(error))
    known = _known(plain, _wanted(options, starts_here=not options.via, is_hop=False))
    known = {key: value for key, value in known.items() if key not in host.options}
    return host.connector(**known) if known else plain


def _connector(text: str, options: ConnectOptions, is_hop: bool) -> Connector:
    starts_here = not options.via or (is_hop and text == split_targets(options.via)[0])
    plain = parse(text)
    known = _known(plain, {**_wanted(options, starts_here, is_hop), **_own_port(plain)})
    return parse(text, **known) if known else plain


def _own_port(plain: Connector) -> "dict[str, object]":
    port = getattr(plain, "port", None)
    return {"port": port} if port else {}


def _wanted(options: ConnectOptions, starts_here: bool, is_hop: bool) -> "dict[str, object]":
    """Return the parameters that the options say."""
    wanted: dict[str, object] = {
        "check_host_keys": options.check_host_keys,
        "connect_timeout": options.connect_timeout_s,
    }
    if starts_here:
        wanted["identity_file"] = options.identity
        wanted["ssh_args"] = list(options.ssh_args) or None
    if not is_hop:
        wanted["python_path"] = options.python
        wanted["password"] = options.password
        wanted["port"] = options.port
    return wanted


def _known(plain: Connector, wanted: "dict[str, object]") -> "dict[str, Any]":
    return {key: value for key, value in wanted.items() if value is not None and key in plain.PARAMETERS}
