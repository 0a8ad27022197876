"""The ways to reach a machine. `parse` makes a connector from a URL, `from_spec` one from a value that travelled."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Tuple, Type

    from plasmid.connect.connector import Connector

# Scheme -> module and class. Imported when used: a relay then asks its parent for no more than it needs.
SCHEMES: "Dict[str, Tuple[str, str]]" = {
    "local": ("plasmid.connect.local", "Local"),
    "ssh": ("plasmid.connect.ssh", "Ssh"),
}


def connector_class(scheme: str) -> "Type[Connector]":
    """Return the class for a URL's scheme. Raises ValueError that lists the known ones."""
    if scheme not in SCHEMES:
        raise ValueError("no way to connect is called %r; there are %s" % (scheme, ", ".join(sorted(SCHEMES))))
    module, name = SCHEMES[scheme]
    return getattr(__import__(module, None, None, [name]), name)  # type: ignore[no-any-return]


def parse(url: str, **options: "Any") -> "Connector":
    """Return the connector for `local:`, `ssh://user@host:port`, or a bare `host`, `user@host`, `host:port` (ssh).

    options: the connector's other parameters, such as python_path=. Raises ValueError for a URL that is neither.
    """
    scheme, separator, rest = url.partition("://")
    if separator:
        rest = rest[:-1] if rest.endswith("/") else rest
    elif url.endswith(":") and url.count(":") == 1:
        scheme, rest = url[:-1], ""
    else:
        scheme, rest = "ssh", url
    make = connector_class(scheme)
    if scheme == "local":
        if rest:
            raise ValueError("%r: `local:` takes nothing after it" % url)
        return make(**options)
    fields = _host_fields(url, rest)
    fields.update(options)
    return make(**fields)


def _host_fields(url: str, rest: str) -> "Dict[str, Any]":
    """Take `user@host:port` apart; an IPv6 address stands in brackets before a port."""
    fields: "Dict[str, Any]" = {}
    user, at, host = rest.rpartition("@")
    if at:
        if ":" in user:
            raise ValueError("a URL must not hold a password: %s:...@%s" % (user.partition(":")[0], host))
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


def from_spec(spec: "Dict[str, Any]") -> "Connector":
    """Return the connector that Connector.spec() described. Raises ValueError for an unknown scheme or parameter."""
    fields = dict(spec)
    make = connector_class(fields.pop("scheme", ""))
    unknown = sorted(set(fields) - set(make.PARAMETERS))
    if unknown:
        raise ValueError("a connector of kind %r has no parameter %s" % (make.scheme, ", ".join(unknown)))
    return make(**fields)
