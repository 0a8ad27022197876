"""A docker engine and a Podman of a test run's own: own storage, own sockets, own mount and network namespaces.

The image is one that `rootfs` made; no registry is asked. Their containers have no network. The mounts are made in
namespaces that end with the engine, so that none can be left on this machine.
"""

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.real import parts
from tests.real.lab import daemons

IMAGE = "plasmid/far"
# Raising a limit takes a capability that root may lack where tests run.
FILES_MAX = 4096


class Engine(NamedTuple):
    """A running engine. command: what to run in the place of `docker` or `podman`, with arguments behind it."""

    scheme: str
    command: "list[str]"
    cgroup: str

    @property
    def options(self) -> "dict[str, Any]":
        """The options with which a Router reaches it."""
        path, *args = self.command
        return {f"{self.scheme}_path": path, f"{self.scheme}_args": args}

    def run(self, *words: str) -> str:
        """Run a command of the engine and return what it printed."""
        return daemons.run(*self.command, *words)

    def start_container(self, name: str) -> str:
        """Start a container that does nothing, and return its name."""
        place = ("--network=none", f"--cgroup-parent={self.cgroup}")
        self.run("run", "--detach", "--init", *place, "--name", name, IMAGE, "/bin/sleep", "infinity")
        return name

    def remove_container(self, name: str) -> None:
        """End a container at once and remove it."""
        self.run("rm", "--force", name)


@contextlib.contextmanager
def running_docker(folder: Path, archive: Path) -> "Iterator[Engine]":
    """Run a docker engine with our image in a folder that doesn't exist yet. Takes about 1.5 s."""
    daemons.require_root()
    docker = parts.required_program("docker", "docker.io")
    dockerd = parts.required_program("dockerd", "docker.io")
    folder.mkdir()
    config = folder / "daemon.json"
    limit = {"Name": "nofile", "Hard": FILES_MAX, "Soft": FILES_MAX}
    config.write_text(json.dumps({"default-ulimits": {"nofile": limit}}))
    socket = f"unix://{folder}/socket"
    engine = Engine("docker", [docker, "--host", socket], f"{folder.parent.name}-docker")
    daemon = daemons.Daemon(
        [
            *("unshare", "--net", "--mount", "--propagation=private", dockerd, f"--config-file={config}"),
            *(f"--host={socket}", f"--data-root={folder}/data", f"--exec-root={folder}/run"),
            *(f"--pidfile={folder}/pid", "--bridge=none", "--iptables=false", "--ip6tables=false"),
        ],
        folder / "log",
    )
    try:
        daemon.wait_until(lambda: _answers(engine, "version"))
        engine.run("import", str(archive), IMAGE)
        yield engine
        for container in engine.run("ps", "--all", "--quiet").split():
            engine.remove_container(container)
    finally:
        daemon.stop()
        daemons.remove_cgroups(engine.cgroup)
        shutil.rmtree(folder)


@contextlib.contextmanager
def running_podman(folder: Path, archive: Path) -> "Iterator[Engine]":
    """Give a Podman with our image, with all that it keeps in a folder that doesn't exist yet. Takes about 1.5 s.

    Podman has no daemon: what runs is a process that keeps the namespace with its mounts.
    """
    daemons.require_root()
    podman = parts.required_program("podman")
    parts.required_program("runc")
    folder.mkdir()
    config = folder / "containers.conf"
    config.write_text(
        "[containers]\n"
        f'default_ulimits = ["nofile={FILES_MAX}:{FILES_MAX}", "nproc={FILES_MAX}:{FILES_MAX}"]\n'
        'netns = "none"\n'
        "[engine]\n"
        'runtime = "runc"\n'
        'cgroup_manager = "cgroupfs"\n'
        'events_logger = "file"\n'
    )
    ready = folder / "ready"
    hidden = "mount -t tmpfs tmpfs /dev/shm && mount -t tmpfs tmpfs /run"
    keep = f"{hidden} && touch {ready} && exec sleep infinity"
    daemon = daemons.Daemon(
        ["unshare", "--mount", "--propagation=private", "sh", "-c", keep],
        folder / "log",
    )
    storage = f"--root {folder}/store --runroot {folder}/state --tmpdir {folder}/tmp"
    script = daemons.write_script(
        folder / "podman",
        f'exec env CONTAINERS_CONF={config} nsenter --mount --target {daemon.pid} --wd=. {podman} {storage} "$@"',
    )
    engine = Engine("podman", [str(script)], f"{folder.parent.name}-podman")
    try:
        daemon.wait_until(ready.exists)
        engine.run("import", "--quiet", str(archive), IMAGE)
        yield engine
        engine.run("rm", "--all", "--force", "--time=0")
    finally:
        daemon.kill()
        daemons.remove_cgroups(engine.cgroup)
        shutil.rmtree(folder)


def _answers(engine: Engine, *words: str) -> bool:
    try:
        engine.run(*words)
    except RuntimeError:
        return False
    return True
