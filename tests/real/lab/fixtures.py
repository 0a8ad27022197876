"""The lab as pytest fixtures: each part is started when the first test asks for it, and ends with the pytest process.

A `Place` is somewhere that a connector leads to; the tests of tests/real/test_containers.py hold in all of them.
"""

import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import plasmid
from tests.real import leftovers
from tests.real.lab import boxes, cluster, daemons, engines, pods, rootfs

# The fixtures of places, by the scheme of the connector that leads there.
CONNECTORS = ("docker", "podman", "kubectl", "lxc", "nspawn", "nsenter", "slurm")
CONTAINERS = CONNECTORS[:-1]


class Place(NamedTuple):
    """Somewhere to connect to. fields: those that a URL has too. options: how the lab's program is reached."""

    url: str
    fields: "dict[str, Any]"
    options: "dict[str, Any]"

    @property
    def scheme(self) -> str:
        """Which connector leads there."""
        return self.url.partition(":")[0]

    @property
    def command(self) -> "list[str]":
        """The program that leads there with the arguments of the lab, for whoever can give it no options."""
        return [self.options[f"{self.scheme}_path"], *self.options[f"{self.scheme}_args"]]

    def connect(self, router: plasmid.Router, **more: Any) -> plasmid.Context:
        """Return a new context there, by the Router's method. more: further options."""
        method: Callable[..., plasmid.Context] = getattr(router, self.scheme)
        return method(**{**self.fields, **self.options, **more})


@pytest.fixture(scope="session")
def lab_folder(session_leaves_nothing: leftovers.Session) -> Path:
    """Give the folder that the lab's parts have theirs in."""
    return session_leaves_nothing.folder


@pytest.fixture(scope="session")
def lab_root(lab_folder: Path) -> "Iterator[Path]":
    """Give a root file system of this machine's Python, a shell and little else."""
    daemons.require_root()
    folder = rootfs.make(lab_folder / "root")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def lab_archive(lab_folder: Path, lab_root: Path) -> "Iterator[Path]":
    """Give the root file system as an archive."""
    path = rootfs.archive(lab_root, lab_folder / "root.tar")
    yield path
    path.unlink()


@pytest.fixture(scope="session")
def docker_engine(lab_folder: Path, lab_archive: Path) -> "Iterator[engines.Engine]":
    """Give a private docker engine."""
    with engines.running_docker(lab_folder / "docker", lab_archive) as engine:
        yield engine


@pytest.fixture(scope="session")
def podman_engine(lab_folder: Path, lab_archive: Path) -> "Iterator[engines.Engine]":
    """Give a private Podman."""
    with engines.running_podman(lab_folder / "podman", lab_archive) as engine:
        yield engine


@pytest.fixture(scope="session")
def docker(docker_engine: engines.Engine) -> Place:
    """Give a container of docker's."""
    name = docker_engine.start_container("web")
    return Place(f"docker://{name}", {"container": name}, docker_engine.options)


@pytest.fixture
def docker_on_path(docker: Place, tmp_path: Path) -> "Iterator[Path]":
    """Give a folder whose `docker` asks the private engine."""
    folder = tmp_path / "docker-on-path"
    folder.mkdir()
    daemons.write_script(folder / "docker", f'exec {shlex.join(docker.command)} "$@"')
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def podman(podman_engine: engines.Engine) -> Place:
    """Give a container of Podman's."""
    name = podman_engine.start_container("web")
    return Place(f"podman://{name}", {"container": name}, podman_engine.options)


@pytest.fixture(scope="session")
def kubectl(lab_folder: Path, lab_root: Path) -> "Iterator[Place]":
    """Give a pod."""
    with pods.running_cluster(lab_folder / "pods", lab_root) as running:
        url = f"kubectl://{pods.NAMESPACE}/{pods.POD}/side"
        fields = {"namespace": pods.NAMESPACE, "pod": pods.POD, "container": "side"}
        yield Place(url, fields, running.options)


@pytest.fixture(scope="session")
def lxc(lab_folder: Path, lab_root: Path) -> "Iterator[Place]":
    """Give a container of LXC's."""
    with boxes.running_lxc(lab_folder / "lxc", lab_root) as box:
        yield Place(f"lxc://{box.name}", {"container": box.name}, box.options)


@pytest.fixture(scope="session")
def nspawn(lab_folder: Path, lab_root: Path) -> "Iterator[Place]":
    """Give a folder for systemd-nspawn."""
    script = boxes.write_nspawn(lab_folder / "nspawn")
    yield Place(f"nspawn://{lab_root}", {"folder": str(lab_root)}, {"nspawn_path": str(script)})
    # What one leaves that was killed.
    lab_root.with_name(f".#{lab_root.name}.lck").unlink(missing_ok=True)
    script.unlink()


@pytest.fixture(scope="session")
def nsenter(lab_folder: Path, lab_root: Path) -> "Iterator[Place]":
    """Give a process in namespaces of its own."""
    log_path = lab_folder / "nsenter.log"
    with boxes.namespaced_process(lab_root, log_path) as pid:
        yield Place(f"nsenter://{pid}", {"pid": pid}, {})
    log_path.unlink()


@pytest.fixture(scope="session")
def slurm_cluster(lab_folder: Path) -> "Iterator[cluster.Slurm]":
    """Give a private Slurm cluster with several nodes."""
    with cluster.running_slurm(lab_folder / "slurm") as slurm:
        yield slurm


@pytest.fixture(scope="session")
def slurm(slurm_cluster: cluster.Slurm) -> Place:
    """Give a place on whichever node of the cluster has room."""
    return Place("slurm:", {}, slurm_cluster.options)


@pytest.fixture
def place(request: pytest.FixtureRequest, scheme: str) -> Place:
    """Give the place that the connector of the test's `scheme` leads to."""
    found = request.getfixturevalue(scheme)
    assert isinstance(found, Place)
    return found


def each_of(*schemes: str) -> pytest.MarkDecorator:
    """Run a test for each of these connectors, as its parameter `scheme`."""
    return pytest.mark.parametrize("scheme", [pytest.param(one, marks=pytest.mark.connector(one)) for one in schemes])
