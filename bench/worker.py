"""One measurement of one subject, in a process of its own: no subject sees what another one left behind."""

import contextlib
import importlib
import json
import os
import signal
import subprocess
from pathlib import Path

from bench import machine
from bench.measurements import FULL, MEASUREMENTS, QUICK
from bench.subject import NotOffered, Subject

OWN = {"raw": "bench.raw:Raw", "plasmid": "bench.own:Own"}
PEERS = {
    "mitogen": "bench.peers.with_mitogen:Mitogen",
    "execnet": "bench.peers.with_execnet:Execnet",
    "rpyc": "bench.peers.with_rpyc:Rpyc",
    "Pyro5": "bench.peers.with_pyro:Pyro",
    "managers": "bench.peers.with_managers:Managers",
}
ADAPTERS = {**OWN, **PEERS}
TIMEOUT_S = 120


class Failed(Exception):
    """A measurement that ended without figures, and what its process said last."""


def adapter(name: str) -> Subject:
    """Return a new adapter; ImportError where its library isn't installed."""
    module, _, cls = ADAPTERS[name].partition(":")
    made = getattr(importlib.import_module(module), cls)()
    assert isinstance(made, Subject)
    return made


def work(name: str, measurement: str, quick: bool) -> None:
    """Do one measurement in this process, and print its figures as the last line."""
    wanted = MEASUREMENTS[measurement]
    if wanted.pinned:
        # Before anything is started: threads and processes inherit it.
        machine.pin()
    subject = adapter(name)
    try:
        subject.open()
        figures = wanted.run(subject, QUICK if quick else FULL)
    except NotOffered:
        figures = {}
    finally:
        subject.close()
    print(json.dumps(figures), flush=True)


def measure(name: str, measurement: str, quick: bool, python: str, folder: Path) -> "dict[str, float]":
    """Return the figures of one measurement, made in a new process of that interpreter. Raises Failed.

    folder: for its temporary files, some of which stay.
    """
    run_py = str(Path(__file__).with_name("run.py"))
    argv = [python, run_py, "--worker", name, measurement, *(["--quick"] if quick else [])]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    environment["TMPDIR"] = str(folder)
    process = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )
    try:
        output, errors = process.communicate(timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        output, errors = "", f"no figures within {TIMEOUT_S} s"
    finally:
        # All that it started and that stayed in its session; what left it has the link's end to go by.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    lines = output.splitlines()
    if process.returncode or not lines:
        raise Failed((errors.strip().splitlines() or ["no output"])[-1])
    figures = json.loads(lines[-1])
    return {str(key): float(value) for key, value in figures.items()}
