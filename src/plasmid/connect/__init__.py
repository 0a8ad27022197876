"""The ways to reach a machine. `parse` makes a connector from a URL, `from_spec` one from a value that travelled.

A way is a row of SCHEMES and a subclass of Connector, which reads its own URLs (`url_fields`). Others than ours are
found by their entry point in the group ENTRY_POINTS, whose name is the scheme:

    [project.entry-points."plasmid.connectors"]
    lab = "lab_plasmid:Lab"

Those are looked for on the near side alone, when its own program asks for a scheme that isn't in the table. What a
relay is asked to start is found in the table or not at all.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Tuple, Type

    from plasmid.connect.connector import Connector

# Scheme -> module and class. Imported when used: a relay then asks its parent for no more than it needs.
SCHEMES: "Dict[str, Tuple[str, str]]" = {
    "doas": ("plasmid.connect.become", "Doas"),
    "fork": ("plasmid.connect.fork", "Fork"),
    "local": ("plasmid.connect.local", "Local"),
    "ssh": ("plasmid.connect.ssh", "Ssh"),
    "su": ("plasmid.connect.become", "Su"),
    "sudo": ("plasmid.connect.become", "Sudo"),
    "docker": ("plasmid.connect.container", "Docker"),
    "podman": ("plasmid.connect.container", "Podman"),
    "kubectl": ("plasmid.connect.container", "Kubectl"),
    "lxc": ("plasmid.connect.container", "Lxc"),
    "nspawn": ("plasmid.connect.container", "Nspawn"),
    "nsenter": ("plasmid.connect.container", "Nsenter"),
    "slurm": ("plasmid.connect.slurm", "Slurm"),
}
ENTRY_POINTS = "plasmid.connectors"


def connector_class(scheme: str) -> "Type[Connector]":
    """Return the class for a URL's scheme, be it ours or one of an entry point.

    Raises ValueError that lists the known ones, TypeError for an entry point that leads to no connector.
    """
    if scheme in SCHEMES:
        return _own_class(scheme)
    others = _entry_points()
    if scheme not in others:
        raise ValueError("no way to connect is called %r; there are %s" % (scheme, _listed(others)))
    found = others[scheme].load()
    from plasmid.connect.connector import Connector

    if not isinstance(found, type) or not issubclass(found, Connector):
        raise TypeError("the entry point %r of %s leads to %r, which is no Connector" % (scheme, ENTRY_POINTS, found))
    if found.scheme != scheme:
        raise TypeError("the entry point %r of %s leads to the connector for %r" % (scheme, ENTRY_POINTS, found.scheme))
    return found


def parse(url: str, **options: "Any") -> "Connector":
    """Return the connector for `local:`, `ssh://user@host:port`, or a bare `host`, `user@host`, `host:port` (ssh).

    options: the connector's other parameters, such as python_path=; they outdo the URL. Raises ValueError for a URL
    that is none.
    """
    scheme, separator, rest = url.partition("://")
    if separator:
        rest = rest[:-1] if rest.endswith("/") else rest
    elif url.endswith(":") and url.count(":") == 1:
        scheme, rest = url[:-1], ""
    else:
        scheme, rest = "ssh", url
    make = connector_class(scheme)
    fields = make.url_fields(url, rest)
    fields.update(options)
    return make(**fields)


def parse_chain(url: str, **options: "Any") -> "List[Connector]":
    """Return the connectors of `ssh://bastion|ssh://db1`: each but the first is started by way of the one before.

    options: for the last one. Raises ValueError.
    """
    *hops, last = url.split("|")
    return [parse(hop.strip()) for hop in hops] + [parse(last.strip() if hops else last, **options)]


def from_spec(spec: "Dict[str, Any]") -> "Connector":
    """Return the connector that travelling_spec() described. Raises ValueError for an unknown scheme or parameter."""
    fields = dict(spec)
    scheme = fields.pop("scheme", "")
    if scheme not in SCHEMES:
        raise ValueError("no way to connect is called %r; there are %s" % (scheme, _listed()))
    make = _own_class(scheme)
    unknown = sorted(set(fields) - set(make.PARAMETERS))
    if unknown:
        raise ValueError("a connector of kind %r has no parameter %s" % (make.scheme, ", ".join(unknown)))
    return make(**fields)


def travelling_spec(connector: "Connector") -> "Dict[str, Any]":
    """Return the connector as a value that another context can make it from. Raises ValueError if none can."""
    scheme = connector.scheme
    if scheme not in SCHEMES or type(connector) is not _own_class(scheme):
        raise ValueError(
            "%s can't be started via another context: over there only the ways that come with Plasmid are known (%s)"
            % (connector.target, _listed())
        )
    spec = connector.spec()
    # A secret says what it is only here, on its way over the link, and is one again where it arrives.
    return {key: value.reveal() if hasattr(value, "reveal") else value for key, value in spec.items()}


def _own_class(scheme: str) -> "Type[Connector]":
    module, name = SCHEMES[scheme]
    return getattr(__import__(module, None, None, [name]), name)  # type: ignore[no-any-return]


def _listed(others: "Any" = ()) -> str:
    return ", ".join(sorted({*SCHEMES, *others}))


def _entry_points() -> "Dict[str, Any]":
    """Return the entry points of other packages by their scheme; none on a far side."""
    from plasmid.runtime import main

    if main.runtime is not None:
        return {}
    from importlib.metadata import entry_points

    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}
