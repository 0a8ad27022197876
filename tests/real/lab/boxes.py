"""Containers without an engine: one of LXC's, and a process in namespaces of its own. The root is one of `rootfs`."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.real import leftovers, parts
from tests.real.lab import daemons

LXC_CONFIG = """\
lxc.uts.name = {name}
lxc.rootfs.path = dir:{root}
lxc.net.0.type = empty
lxc.cgroup.dir = {cgroup}
"""


class LxcBox(NamedTuple):
    """A running container of LXC's. path: the folder of containers that it is in."""

    name: str
    path: Path

    @property
    def options(self) -> "dict[str, Any]":
        """The options with which a Router reaches it."""
        return {"lxc_args": [f"--lxcpath={self.path}"]}


@contextlib.contextmanager
def running_lxc(folder: Path, root: Path) -> "Iterator[LxcBox]":
    """Start a container of LXC's, and another that doesn't run, in a folder that doesn't exist yet. Takes 0.1 s."""
    daemons.require_root()
    for name in ("lxc-start", "lxc-attach", "lxc-stop"):
        parts.required_program(name, "lxc")
    cgroup = f"{folder.parent.name}-lxc"
    box = LxcBox("box", folder)
    for name in (box.name, "stopped"):
        (folder / name).mkdir(parents=True)
        (folder / name / "config").write_text(LXC_CONFIG.format(name=name, root=root, cgroup=f"{cgroup}/{name}"))
    where = (f"--lxcpath={folder}", f"--name={box.name}")
    try:
        daemons.run("lxc-start", *where, f"--logfile={folder}/log", "--", "/bin/sleep", "infinity")
        yield box
    finally:
        daemons.run("lxc-stop", *where, "--kill")
        daemons.remove_cgroups(cgroup)
        shutil.rmtree(folder)


def write_nspawn(path: Path) -> Path:
    """Write a script to be run in the place of systemd-nspawn, whose own files in /run stay in a namespace of its."""
    daemons.require_root()
    nspawn = parts.required_program("systemd-nspawn", "systemd-container")
    hidden = f'mount -t tmpfs tmpfs /run && exec {nspawn} "$@"'
    return daemons.write_script(path, f"exec unshare --mount --propagation=private sh -c '{hidden}' sh \"$@\"")


@contextlib.contextmanager
def namespaced_process(root: Path, log_path: Path) -> "Iterator[int]":
    """Start a process in namespaces and beneath a root of its own, and give its process id."""
    daemons.require_root()
    namespaces = ("--mount", "--uts", "--ipc", "--net", "--pid", "--fork", "--kill-child", "--propagation=private")
    # A root by pivot_root, as container runtimes make it: what is outside can't be reached by any path.
    enter = (
        f"mount --rbind {root} {root} && cd {root} && mount -t proc proc proc && pivot_root . tmp && umount -l /tmp"
        " && exec /bin/sleep infinity"
    )
    daemon = daemons.Daemon(["unshare", *namespaces, "sh", "-c", enter], log_path)

    def inside() -> "list[int]":
        return [one.pid for one in leftovers.descendants(daemon.pid) if one.command == "/bin/sleep infinity"]

    try:
        daemon.wait_until(lambda: bool(inside()))
        yield inside()[0]
    finally:
        daemon.kill()
