"""The part of a Kubernetes API server that `kubectl exec` talks to: one pod, and programs in it over a WebSocket.

    python -m tests.real.lab.pod_server PORT_FILE NAMESPACE POD PID PID

The processes are the pod's containers, `main` and `side`: a program is run in the namespaces of one of them. As with a
kubelet it isn't killed when the client goes: it sees the end of its stdin. PORT_FILE is written once the server
listens.

The stream is `v5.channel.k8s.io`: each message begins with the number of a channel, 0 for stdin, 1 stdout, 2 stderr,
3 the end as a Status object, 255 for the end of the channel that follows.
"""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

PROTOCOL = Subprotocol("v5.channel.k8s.io")
STDIN, STDOUT, STDERR, END, CLOSE = 0, 1, 2, 3, 255
CHUNK_SIZE = 1 << 16
NOT_FOUND_STATUS = 127
CONTAINERS = ("main", "side")

RESOURCES = [
    {"name": "pods", "singularName": "pod", "namespaced": True, "kind": "Pod", "verbs": ["get"]},
    {"name": "pods/exec", "singularName": "", "namespaced": True, "kind": "PodExecOptions", "verbs": ["get", "create"]},
]
# What kubectl asks before it comes to the point.
DISCOVERY = {
    "/api": {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []},
    "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
    "/api/v1": {"kind": "APIResourceList", "groupVersion": "v1", "resources": RESOURCES},
}


class Pod:
    """The pod. pids: of its containers, in the order of CONTAINERS."""

    def __init__(self, namespace: str, name: str, pids: "list[str]") -> None:
        above = f"/api/v1/namespaces/{namespace}"
        self.name = name
        self.path = f"{above}/pods/{name}"
        self.pids: dict[str, str] = dict(zip(CONTAINERS, pids, strict=True))
        description = {
            "kind": "Pod",
            "apiVersion": "v1",
            "metadata": {"name": name, "namespace": namespace, "uid": name},
            "spec": {"nodeName": "node", "containers": [{"name": one, "image": "far"} for one in CONTAINERS]},
            "status": {"phase": "Running"},
        }
        of_namespace = {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": namespace}}
        self.known = {**DISCOVERY, above: of_namespace, self.path: description}

    def answer(self, connection: ServerConnection, request: Request) -> "Response | None":
        """Return the answer to a request, None for one that opens a stream."""
        url = urlsplit(request.path)
        if url.path == f"{self.path}/exec":
            container = parse_qs(url.query).get("container", [""])[0]
            if container in self.pids:
                return None
            text = f"container {container} is not valid for pod {self.name}"
            return respond(connection, 400, status("Failure", "BadRequest", text, code=400))
        found = self.known.get(url.path)
        if found is None:
            kind, name = url.path.split("/")[-2:]
            return respond(connection, 404, status("Failure", "NotFound", f'{kind} "{name}" not found', code=404))
        return respond(connection, 200, found)

    async def execute(self, connection: ServerConnection) -> None:
        """Run the program that a stream asks for, until it and its output have ended."""
        assert connection.request is not None
        asked = parse_qs(urlsplit(connection.request.path).query)
        inside = ("nsenter", "--target", self.pids[asked["container"][0]], "--all", "--root", "--wd", "--")
        program = await asyncio.create_subprocess_exec(
            *inside, *asked["command"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert program.stdin is not None
        assert program.stdout is not None
        assert program.stderr is not None
        feeding = asyncio.create_task(feed(connection, program.stdin))
        await asyncio.gather(pump(connection, STDOUT, program.stdout), pump(connection, STDERR, program.stderr))
        ended = await program.wait()
        feeding.cancel()
        with contextlib.suppress(Exception):  # the client may have gone first
            await connection.send(bytes([END]) + json.dumps(end_of(ended, asked["command"][0])).encode())


async def feed(connection: ServerConnection, stdin: asyncio.StreamWriter) -> None:
    """Pass on what comes for stdin; close it at its end and when the client goes."""
    try:
        async for message in connection:
            assert isinstance(message, bytes)
            if message[0] == STDIN:
                stdin.write(message[1:])
                await stdin.drain()
            elif message[0] == CLOSE:
                break
    except (ConnectionError, ConnectionClosed):
        pass  # the program has ended, or the client was killed
    finally:
        stdin.close()


async def pump(connection: ServerConnection, channel: int, output: asyncio.StreamReader) -> None:
    """Pass on what comes from the program, and throw it away once nobody wants it."""
    while data := await output.read(CHUNK_SIZE):
        with contextlib.suppress(Exception):
            await connection.send(bytes([channel]) + data)


def end_of(exit_status: int, program: str) -> "dict[str, Any]":
    """Return the Status object for how a program ended."""
    if exit_status == 0:
        return status("Success")
    if exit_status == NOT_FOUND_STATUS:  # nsenter's; a kubelet's runtime words it like this
        text = f'exec failed: unable to start container process: exec: "{program}": executable file not found in $PATH'
        return status("Failure", "InternalError", f"error executing command in container: {text}", code=500)
    causes = {"causes": [{"reason": "ExitCode", "message": str(exit_status)}]}
    text = f"command terminated with non-zero exit code: exit status {exit_status}"
    return status("Failure", "NonZeroExitCode", text, details=causes)


def status(outcome: str, reason: str = "", message: str = "", **more: Any) -> "dict[str, Any]":
    """Return a Status object."""
    known = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": outcome}
    return {**known, "reason": reason, "message": message, **more}


def respond(connection: ServerConnection, code: int, body: object) -> Response:
    """Return an answer in JSON."""
    response = connection.respond(code, json.dumps(body))
    del response.headers["Content-Type"]  # setting it would give it a second one
    response.headers["Content-Type"] = "application/json"
    return response


async def run(port_path: Path, pod: Pod) -> None:
    """Serve until this process is killed."""
    async with serve(
        pod.execute,
        "127.0.0.1",
        0,
        subprotocols=[PROTOCOL],
        process_request=pod.answer,
        max_size=None,
    ) as server:
        unfinished = port_path.with_suffix(".new")
        unfinished.write_text(str(next(iter(server.sockets)).getsockname()[1]))
        os.replace(unfinished, port_path)
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1]), Pod(sys.argv[2], sys.argv[3], sys.argv[4:])))
