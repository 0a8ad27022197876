"""The methods with which a Router makes contexts: one for each way to a machine, and one for all of them by URL.

Each is thin: the parameters are those of the connector's constructor, and it checks them. A method says in its
signature what its way can't do without.
"""

from plasmid.connect import connector_class, parse_chain
from plasmid.connect.supply import supply_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    import threading
    from typing import Any, Callable, Iterable, Mapping, Optional, Sequence, Union

    from typing_extensions import Unpack

    from plasmid.builtin.listening import Listener
    from plasmid.connect.connector import Connector
    from plasmid.connect.many import Connected
    from plasmid.connect.options import (
        DoasOptions,
        DockerOptions,
        ForkOptions,
        KubectlOptions,
        LocalOptions,
        LxcOptions,
        NsenterOptions,
        NspawnOptions,
        PodmanOptions,
        SlurmOptions,
        SshOptions,
        SudoOptions,
        SuOptions,
    )
    from plasmid.connect.restarts import Restart
    from plasmid.connect.supervised import Supervised
    from plasmid.runtime.context import Context
    from plasmid.runtime.runtime import Runtime


class Ways:
    """The part of a Router that knows the ways; start() is the Router's own. Any thread.

    has_joined: this process is in the tree of another one, see plasmid.join().
    """

    has_joined = False

    if TYPE_CHECKING:
        runtime: Runtime

        def start(
            self,
            connector: Connector,
            via: "Optional[Context]" = None,
            progress: "Optional[Callable[[str, Optional[float]], None]]" = None,
            given_up: "Optional[Callable[[], str]]" = None,
        ) -> Context: ...

    def local(self, **options: "Unpack[LocalOptions]") -> "Context":
        """Return a new context on this machine, or on that of `via`. Options: see plasmid.connect.local.Local."""
        return self._by("local", options)

    def fork(self, via: "Context", **options: "Unpack[ForkOptions]") -> "Context":
        """Return a new context that is a clone of `via`: what was imported there is there. It is a child of `via`.

        Takes milliseconds. Options: see plasmid.connect.fork.Fork. Raises ConnectError where a thread of the program's
        own runs, or an event loop.
        """
        return self._by("fork", options, via=via)

    def ssh(self, hostname: str, **options: "Unpack[SshOptions]") -> "Context":
        """Return a new context on `hostname`, by the user's own ssh. Options: see plasmid.connect.ssh.Ssh.

        via: a context; ssh runs there then. Raises ConnectError, which names the step that failed.
        """
        return self._by("ssh", options, hostname=hostname)

    def sudo(self, username: str = "root", **options: "Unpack[SudoOptions]") -> "Context":
        """Return a new context as another user of this machine, or of that of `via`, by sudo.

        Options: see plasmid.connect.become.Sudo. Raises ConnectError, which says what sudo had against it.
        """
        return self._by("sudo", options, username=username)

    def su(self, username: str = "root", **options: "Unpack[SuOptions]") -> "Context":
        """Return a new context as another user, by su. Options: see plasmid.connect.become.Su."""
        return self._by("su", options, username=username)

    def doas(self, username: str = "root", **options: "Unpack[DoasOptions]") -> "Context":
        """Return a new context as another user, by doas. Options: see plasmid.connect.become.Doas."""
        return self._by("doas", options, username=username)

    def docker(self, container: "Optional[str]" = None, **options: "Unpack[DockerOptions]") -> "Context":
        """Return a new context in a running container, by name or id, or in a new one, made from image=.

        Options: see plasmid.connect.container.Engine.
        """
        return self._by("docker", options, container=container)

    def podman(self, container: "Optional[str]" = None, **options: "Unpack[PodmanOptions]") -> "Context":
        """Return a new context in a running container, by name or id, or in a new one, made from image=.

        Options: see plasmid.connect.container.Engine.
        """
        return self._by("podman", options, container=container)

    def kubectl(self, pod: str, **options: "Unpack[KubectlOptions]") -> "Context":
        """Return a new context in a running pod. Options: see plasmid.connect.container.Kubectl."""
        return self._by("kubectl", options, pod=pod)

    def lxc(self, container: str, **options: "Unpack[LxcOptions]") -> "Context":
        """Return a new context in a running container of LXC's. Options: see plasmid.connect.container.Lxc."""
        return self._by("lxc", options, container=container)

    def nspawn(self, folder: str, **options: "Unpack[NspawnOptions]") -> "Context":
        """Return a new context in a new container over a root folder. Options: see plasmid.connect.container.Nspawn."""
        return self._by("nspawn", options, folder=folder)

    def nsenter(self, pid: int, **options: "Unpack[NsenterOptions]") -> "Context":
        """Return a new context in the namespaces of a process. Options: see plasmid.connect.container.Nsenter."""
        return self._by("nsenter", options, pid=pid)

    def slurm(self, **options: "Unpack[SlurmOptions]") -> "Context":
        """Return a new context on a node of a Slurm cluster. Options: see plasmid.connect.slurm.Slurm."""
        return self._by("slurm", options)

    def slurm_all(self, job: "Optional[int]" = None, via: "Optional[Context]" = None, **options: "Any") -> "Connected":
        """Return what came of a context for each task of a Slurm allocation, as connect_all() does.

        job: its number; None for the one that this program, or `via`, runs in. Options: as for slurm().
        """
        from plasmid.connect import slurm

        return self.connect_all(slurm.tasks(job, via, **options), via=via)

    def connect(self, url: str, via: "Optional[Context]" = None, **options: "Any") -> "Context":
        """Return a new context by URL: `ssh://user@host:port`, `local:`, or a bare host name.

        `ssh://bastion|ssh://db1` makes a context on the bastion and another one by way of it, which is returned; if
        that can't be started, the first is ended again. options: for the last one.
        """
        supply = supply_in(options)
        *hops, last = parse_chain(url, **options)
        last.supply = supply
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

    def connect_all(
        self,
        targets: "Iterable[Any]",
        limit: int = 50,
        timeout: "Optional[float]" = None,
        via: "Optional[Context]" = None,
        fan_out: "Optional[int]" = None,
        progress: "Optional[Callable[[int, int, str, Any], object]]" = None,
        cancel: "Optional[threading.Event]" = None,
        keep: bool = True,
        **options: "Any",
    ) -> "Connected":
        """Return what came of many targets: the contexts that could be made, and why the others couldn't.

        targets: URLs, connectors, dicts of a connector's parameters with a `url` or a `hostname`, hosts of an
        inventory. limit: how many are connected to at a time. timeout: seconds for all together; what isn't there by
        then has failed. fan_out: how many contexts each may lead to, this one too; the contexts made are then started
        by way of one another, as a tree. progress: called here with how many of how many have ended, the name of the
        last one, and its Context or ConnectError. cancel: set it, and what is being made is given up; keep: whether
        what is made by then stays. options: parameters for all targets that take them.

        Raises ValueError for no targets, or two of one name, and what progress() raised. Then, and on Ctrl-C, all
        that was made is ended again.
        """
        from plasmid.connect import many

        supply = supply_in(options)
        connecting_all = many.Connecting(
            self, many.read_targets(targets, options, supply), via, limit, fan_out, progress
        )
        return connecting_all.run(timeout, cancel, keep)

    def supervise(
        self,
        target: "Union[str, Connector]",
        restart: "Optional[Restart]" = None,
        via: "Optional[Context]" = None,
        services: "Sequence[Any]" = (),
        prepare: "Optional[Callable[[Context], object]]" = None,
        wait: bool = True,
        **options: "Any",
    ) -> "Supervised":
        """Return a context that is started again whenever it is lost.

        target: a URL as for connect(), or a connector. restart: how patiently. via: a context, which may be supervised
        itself. services: classes, or names, that are started there each time, besides those that were called by way of
        what this returns. prepare: called with each new context before it takes calls. wait: until it is there, and
        raise ConnectError if it can't be started; else return at once. options: as for connect().
        """
        from plasmid.connect import supervised

        router = self  # type: Any
        return supervised.supervise(router, target, restart, via, list(services), prepare, wait, options)

    def listen(self, path: "Any", authority: str = "none", limit: int = 64) -> "Listener":
        """Let other processes of this user join the tree, as children of this context: plasmid.join(path).

        path: of a Unix socket, in a folder that is this user's alone, or that isn't there yet. authority: "lent" has
        those who join call whatever this context may call, for as long as they stay; "none" leaves them what policies
        allow to any child. limit: how many may have joined at a time. Raises PlasmidError, or ValueError for what no
        socket can be.
        """
        return self.runtime.hook("listen")(self, path, authority, limit)  # type: ignore[no-any-return]

    def _by(self, scheme: str, options: "Mapping[str, Any]", **fields: "Any") -> "Context":
        fields.update(options)
        via = fields.pop("via", None)
        supply = supply_in(fields)
        connector = connector_class(scheme)(**fields)
        connector.supply = supply
        return self.start(connector, via)
