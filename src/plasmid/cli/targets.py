"""What the command line says about where to run, as connectors. No connection is made here."""

from dataclasses import dataclass, field

from plasmid.connect import parse
from plasmid.connect.connector import Connector


@dataclass(frozen=True)
class ConnectOptions:
    """The options that both commands have. None and empty: as the connector has it.

    identity and ssh_args are for the ssh that is started here: with --via, the one to the first hop. port and python
    are for the targets, the rest for every connection.
    """

    via: "tuple[str, ...]" = ()
    python: "str | None" = None
    ssh_args: "tuple[str, ...]" = ()
    identity: "str | None" = None
    port: "int | None" = None
    check_host_keys: "str | None" = None
    connect_timeout_s: "float | None" = None


@dataclass(frozen=True)
class Target:
    """One place to run: as it was written, and how to get there. name: what its context is called in all output."""

    written: str
    connector: Connector
    name: str = field(default="")


def split_targets(words: "tuple[str, ...] | list[str]") -> "list[str]":
    """Return the targets of words that may each hold several, separated by commas."""
    return [part.strip() for word in words for part in word.split(",") if part.strip()]


def make_targets(written: "list[str]", options: ConnectOptions) -> "list[Target]":
    """Return the targets, each with a name of its own. Raises ValueError on one that is no target."""
    connectors = [_connector(text, options, is_hop=False) for text in written]
    names = [connector.name for connector in connectors]
    targets = []
    for number, (text, connector) in enumerate(zip(written, connectors, strict=True)):
        if names.count(connector.name) > 1:
            connector.name = f"{names[number]}-{names[: number + 1].count(names[number])}"
        targets.append(Target(text, connector, connector.name))
    return targets


def make_hops(options: ConnectOptions) -> "list[Connector]":
    """Return the connectors of --via, the one to start from here first."""
    return [_connector(text, options, is_hop=True) for text in split_targets(options.via)]


def _connector(text: str, options: ConnectOptions, is_hop: bool) -> Connector:
    starts_here = not options.via or (is_hop and text == split_targets(options.via)[0])
    plain = parse(text)
    wanted: dict[str, object] = {
        "check_host_keys": options.check_host_keys,
        "connect_timeout": options.connect_timeout_s,
    }
    if starts_here:
        wanted["identity_file"] = options.identity
        wanted["ssh_args"] = list(options.ssh_args) or None
    if not is_hop:
        wanted["python_path"] = options.python
        wanted["port"] = getattr(plain, "port", None) or options.port
    known = {key: value for key, value in wanted.items() if value is not None and key in plain.PARAMETERS}
    return parse(text, **known) if known else plain
