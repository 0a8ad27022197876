"""The options of each way to a machine, for type checkers and editors. Read by them alone, imported by nobody."""

from os import PathLike
from typing import Any, Callable, Iterable, List, Optional, Sequence, TypedDict, Union

from plasmid.connect.secret import Secret
from plasmid.runtime.context import Context

Password = Union[str, Callable[[], str], Secret, None]


class CommonOptions(TypedDict, total=False):
    """What every way takes."""

    name: str
    python_path: "Union[str, List[str], None]"
    connect_timeout: float
    via: "Optional[Context]"
    allow_modules: "Iterable[str]"
    deny_modules: "Iterable[str]"
    allow_data: "Iterable[str]"
    requires: "Union[str, Sequence[str]]"
    wheels: "Sequence[Union[str, PathLike[str]]]"
    prefer: str


class LocalOptions(CommonOptions):
    """Those of Router.local()."""


class SshOptions(CommonOptions, total=False):
    """Those of Router.ssh()."""

    username: "Optional[str]"
    port: "Optional[int]"
    identity_file: "Any"
    password: "Password"
    passphrase: "Password"
    check_host_keys: str
    ssh_path: str
    ssh_args: "Sequence[str]"
    compression: bool
    keepalive_interval: int
    keepalive_count: int


class SudoOptions(CommonOptions, total=False):
    """Those of Router.sudo()."""

    password: "Password"
    sudo_path: str
    sudo_args: "Sequence[str]"


class SuOptions(CommonOptions, total=False):
    """Those of Router.su()."""

    password: "Password"
    su_path: str
    su_args: "Sequence[str]"


class DoasOptions(CommonOptions, total=False):
    """Those of Router.doas()."""

    password: "Password"
    doas_path: str
    doas_args: "Sequence[str]"


class DockerOptions(CommonOptions, total=False):
    """Those of Router.docker()."""

    username: "Optional[str]"
    docker_path: str
    docker_args: "Sequence[str]"


class PodmanOptions(CommonOptions, total=False):
    """Those of Router.podman()."""

    username: "Optional[str]"
    podman_path: str
    podman_args: "Sequence[str]"


class KubectlOptions(CommonOptions, total=False):
    """Those of Router.kubectl()."""

    namespace: "Optional[str]"
    container: "Optional[str]"
    kubectl_path: str
    kubectl_args: "Sequence[str]"


class LxcOptions(CommonOptions, total=False):
    """Those of Router.lxc()."""

    lxc_path: str
    lxc_args: "Sequence[str]"


class NspawnOptions(CommonOptions, total=False):
    """Those of Router.nspawn()."""

    username: "Optional[str]"
    nspawn_path: str
    nspawn_args: "Sequence[str]"


class NsenterOptions(CommonOptions, total=False):
    """Those of Router.nsenter()."""

    nsenter_path: str
    nsenter_args: "Sequence[str]"


class SlurmOptions(CommonOptions, total=False):
    """Those of Router.slurm()."""

    job: "Optional[int]"
    node: "Optional[str]"
    partition: "Optional[str]"
    srun_path: str
    srun_args: "Sequence[str]"
