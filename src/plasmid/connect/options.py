"""The options of each way to a machine, for type checkers and editors. Read by them alone, imported by nobody."""

from os import PathLike
from typing import Any, Callable, Iterable, List, Optional, Sequence, TypedDict, Union

from plasmid.connect.secret import Secret
from plasmid.runtime.context import Context

Password = Union[str, Callable[[], str], Secret, None]


class ForkOptions(TypedDict, total=False):
    """Those of Router.fork(), which every other way takes too."""

    name: str
    connect_timeout: float
    allow_modules: "Iterable[str]"
    deny_modules: "Iterable[str]"
    allow_data: "Iterable[str]"
    requires: "Union[str, Sequence[str]]"
    wheels: "Sequence[Union[str, PathLike[str]]]"
    prefer: str
    compiled: bool


class CommonOptions(ForkOptions, total=False):
    """What every way but fork takes."""

    python_path: "Union[str, List[str], None]"
    via: "Optional[Context]"


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


class AskedOptions(CommonOptions, total=False):
    """What the ways to another user of the machine take: each may ask for a password."""

    password: "Password"


class InsideOptions(CommonOptions, total=False):
    """What the ways take that start a program in a place, as root there or as a user who is named."""

    username: "Optional[str]"


# The program of each way, and further arguments for it.
SudoProgram = TypedDict("SudoProgram", {"sudo_path": str, "sudo_args": "Sequence[str]"}, total=False)
SuProgram = TypedDict("SuProgram", {"su_path": str, "su_args": "Sequence[str]"}, total=False)
DoasProgram = TypedDict("DoasProgram", {"doas_path": str, "doas_args": "Sequence[str]"}, total=False)
DockerProgram = TypedDict("DockerProgram", {"docker_path": str, "docker_args": "Sequence[str]"}, total=False)
PodmanProgram = TypedDict("PodmanProgram", {"podman_path": str, "podman_args": "Sequence[str]"}, total=False)
KubectlProgram = TypedDict("KubectlProgram", {"kubectl_path": str, "kubectl_args": "Sequence[str]"}, total=False)
LxcProgram = TypedDict("LxcProgram", {"lxc_path": str, "lxc_args": "Sequence[str]"}, total=False)
NspawnProgram = TypedDict("NspawnProgram", {"nspawn_path": str, "nspawn_args": "Sequence[str]"}, total=False)
NsenterProgram = TypedDict("NsenterProgram", {"nsenter_path": str, "nsenter_args": "Sequence[str]"}, total=False)
SrunProgram = TypedDict("SrunProgram", {"srun_path": str, "srun_args": "Sequence[str]"}, total=False)


class SudoOptions(SudoProgram, AskedOptions):
    """Those of Router.sudo()."""


class SuOptions(SuProgram, AskedOptions):
    """Those of Router.su()."""


class DoasOptions(DoasProgram, AskedOptions):
    """Those of Router.doas()."""


class EngineOptions(InsideOptions, total=False):
    """What the ways take that can make a container from an image."""

    image: str
    run_args: "Sequence[str]"


class DockerOptions(DockerProgram, EngineOptions):
    """Those of Router.docker()."""


class PodmanOptions(PodmanProgram, EngineOptions):
    """Those of Router.podman()."""


class KubectlOptions(KubectlProgram, CommonOptions, total=False):
    """Those of Router.kubectl()."""

    namespace: "Optional[str]"
    container: "Optional[str]"


class LxcOptions(LxcProgram, CommonOptions):
    """Those of Router.lxc()."""


class NspawnOptions(NspawnProgram, InsideOptions):
    """Those of Router.nspawn()."""


class NsenterOptions(NsenterProgram, CommonOptions):
    """Those of Router.nsenter()."""


class SlurmOptions(SrunProgram, CommonOptions, total=False):
    """Those of Router.slurm()."""

    job: "Optional[int]"
    node: "Optional[str]"
    partition: "Optional[str]"
