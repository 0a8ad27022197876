"""A cluster for the real kubectl: pods that are processes in namespaces, behind an API server of ours.

kubectl, how it is called, its stream over a WebSocket and its errors are real. Not covered: a kubelet and its runtime,
scheduling, who may do what, and the older stream over SPDY. See pod_server.py.
"""

import contextlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.real import parts
from tests.real.lab import boxes, daemons

ROOT = Path(__file__).parents[3]
NAMESPACE = "lab"
POD = "web-1"
KUBECONFIG = """\
apiVersion: v1
kind: Config
clusters: [{{name: lab, cluster: {{server: "http://127.0.0.1:{port}"}}}}]
users: [{{name: lab, user: {{}}}}]
contexts: [{{name: lab, context: {{cluster: lab, user: lab, namespace: {namespace}}}}}]
current-context: lab
"""


class Cluster(NamedTuple):
    """A running cluster with one pod, of the containers `main` and `side`."""

    kubectl: str
    config_path: Path

    @property
    def options(self) -> "dict[str, Any]":
        """The options with which a Router reaches it."""
        return {"kubectl_path": self.kubectl, "kubectl_args": [f"--kubeconfig={self.config_path}"]}


@contextlib.contextmanager
def running_cluster(folder: Path, root: Path) -> "Iterator[Cluster]":
    """Run a cluster in a folder that doesn't exist yet."""
    kubectl = parts.required_program("kubectl")
    folder.mkdir()
    with contextlib.ExitStack() as pod:
        pids = [
            str(pod.enter_context(boxes.namespaced_process(root, folder / f"{name}.log"))) for name in ("main", "side")
        ]
        port_path = folder / "port"
        server = [sys.executable, "-m", "tests.real.lab.pod_server", str(port_path), NAMESPACE, POD, *pids]
        daemon = daemons.Daemon(server, folder / "log", {"PYTHONPATH": str(ROOT)})
        try:
            daemon.wait_until(port_path.exists)
            config = folder / "config"
            config.write_text(KUBECONFIG.format(port=port_path.read_text(), namespace=NAMESPACE))
            yield Cluster(kubectl, config)
        finally:
            daemon.kill()
    shutil.rmtree(folder)
