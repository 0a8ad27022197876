"""The methods with which a Router makes contexts: one for each way to a machine, and one for all of them by URL.

Each is thin: the parameters are those of the connector's constructor, and it checks them. A method says in its
signature what its way can't do without.
"""

from plasmid.connect import connector_class, parse_chain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Mapping, Optional

    from typing_extensions import Unpack

    from plasmid.connect.connector import Connector
    from plasmid.connect.options import LocalOptions, SshOptions
    from plasmid.runtime.context import Context


class Ways:
    """The part of a Router that knows the ways; start() is the Router's own. Any thread."""

    if TYPE_CHECKING:

        def start(
            self,
            connector: Connector,
            via: "Optional[Context]" = None,
            progress: "Optional[Callable[[str, Optional[float]], None]]" = None,
        ) -> Context: ...

    def local(self, **options: "Unpack[LocalOptions]") -> "Context":
        """Return a new context on this machine, or on that of `via`. Options: see plasmid.connect.local.Local."""
        return self._by("local", options)

    def ssh(self, hostname: str, **options: "Unpack[SshOptions]") -> "Context":
        """Return a new context on `hostname`, by the user's own ssh. Options: see plasmid.connect.ssh.Ssh.

        via: a context; ssh runs there then. Raises ConnectError, which names the step that failed.
        """
        return self._by("ssh", options, hostname=hostname)

    def connect(self, url: str, via: "Optional[Context]" = None, **options: "Any") -> "Context":
        """Return a new context by URL: `ssh://user@host:port`, `local:`, or a bare host name.

        `ssh://bastion|ssh://db1` makes a context on the bastion and another one by way of it, which is returned; if
        that can't be started, the first is ended again. options: for the last one.
        """
        *hops, last = parse_chain(url, **options)
        first = None
        try:
            for hop in hops:
                via = self.start(hop, via)
                first = first or via
            return self.start(last, via)
        except BaseException:
            if first is not None:
                first.shutdown(wait=False)
            raise

    def _by(self, scheme: str, options: "Mapping[str, Any]", **fields: "Any") -> "Context":
        fields.update(options)
        via = fields.pop("via", None)
        return self.start(connector_class(scheme)(**fields), via)
