"""The options of each way to a machine, for type checkers and editors. Read by them alone, imported by nobody."""

from typing import Any, List, Optional, Sequence, TypedDict, Union

from plasmid.runtime.context import Context


class CommonOptions(TypedDict, total=False):
    """What every way takes."""

    name: str
    python_path: "Union[str, List[str]]"
    connect_timeout: float
    via: "Optional[Context]"


class LocalOptions(CommonOptions):
    """Those of Router.local()."""


class SshOptions(CommonOptions, total=False):
    """Those of Router.ssh()."""

    username: "Optional[str]"
    port: "Optional[int]"
    identity_file: "Any"
    check_host_keys: str
    ssh_path: str
    ssh_args: "Sequence[str]"
    compression: bool
    keepalive_interval: int
    keepalive_count: int
