"""A Slurm cluster of a test run's own, all on this machine: munged, slurmctld, and a slurmd for each of its nodes."""

import contextlib
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.real import parts, ports
from tests.real.lab import daemons

NODES = 3
CPUS = 2  # of each node
CONFIG = """\
ClusterName=plasmid
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SchedulerType=sched/backfill
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SwitchType=switch/none
PropagateResourceLimits=NONE
{nodes}
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


class Slurm(NamedTuple):
    """A running cluster. srun: what to run in the place of `srun`; the other commands stand beside it."""

    folder: Path
    srun: str

    @property
    def environment(self) -> "dict[str, str]":
        """What leads Slurm's own programs to it."""
        return {"SLURM_CONF": f"{self.folder}/slurm.conf"}

    @property
    def options(self) -> "dict[str, Any]":
        """The options with which a Router reaches it."""
        return {"srun_path": self.srun}

    def run(self, *argv: str) -> str:
        """Run one of Slurm's programs and return what it printed."""
        return daemons.run(*argv, environment=self.environment)

    def jobs(self) -> "list[str]":
        """Return a line for each job that is queued or runs."""
        return self.run("squeue", "--noheader", "--format=%i %j %T").splitlines()


@contextlib.contextmanager
def running_slurm(folder: Path) -> "Iterator[Slurm]":
    """Run a cluster in a folder that doesn't exist yet. Takes 1.5 s."""
    daemons.require_root()
    munged = parts.required_program("munged", "munge")
    slurmctld = parts.required_program("slurmctld", "slurm-wlm")
    slurmd = parts.required_program("slurmd", "slurm-wlm")
    srun = parts.required_program("srun", "slurm-wlm")
    folder.mkdir(mode=0o755)
    os.chmod(folder.parent, 0o711)  # munged, which isn't root, has to get through
    (folder / "state").mkdir()
    host = socket.gethostname().partition(".")[0]
    lines = []
    for number in range(1, NODES + 1):
        (folder / f"spool-n{number}").mkdir()
        where = f"NodeHostname={host} NodeAddr=127.0.0.1 Port={ports.free_port()}"
        lines.append(f"NodeName=n{number} {where} CPUs={CPUS} State=UNKNOWN")
    text = CONFIG.format(folder=folder, host=host, port=ports.free_port(), nodes="\n".join(lines))
    (folder / "slurm.conf").write_text(text)
    script = daemons.write_script(
        folder / "srun", f'SLURM_CONF={folder}/slurm.conf; export SLURM_CONF; exec {srun} "$@"'
    )
    slurm = Slurm(folder, str(script))
    with contextlib.ExitStack() as running:
        running.enter_context(_munged(munged, folder / "munge"))
        for name, argv in [
            ("slurmctld", [slurmctld, "-D"]),
            *((f"slurmd-n{number}", [slurmd, "-D", "-N", f"n{number}"]) for number in range(1, NODES + 1)),
        ]:
            daemon = daemons.Daemon(argv, folder / f"{name}.log", slurm.environment)
            running.callback(daemon.stop)
        daemon.wait_until(lambda: _idle_nodes(slurm) == NODES)
        yield slurm
        assert slurm.jobs() == [], "jobs were left behind in the Slurm cluster"
    shutil.rmtree(folder)


@contextlib.contextmanager
def _munged(program: str, folder: Path) -> "Iterator[None]":
    """Run the daemon that vouches for who says what."""
    folder.mkdir(mode=0o755)
    key = folder / "key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o600)
    for path in (folder, key):
        shutil.chown(path, "munge", "munge")
    as_munge = ("setpriv", "--reuid=munge", "--regid=munge", "--clear-groups")
    files = [f"--{option}={folder}/{name}" for option, name in MUNGE_FILES]
    daemon = daemons.Daemon([*as_munge, program, "--foreground", "--force", *files], folder.with_suffix(".log"))
    try:
        daemon.wait_until((folder / "socket").exists)
        yield
    finally:
        daemon.stop()


MUNGE_FILES = [
    ("key-file", "key"),
    ("socket", "socket"),
    ("pid-file", "pid"),
    ("log-file", "log"),
    ("seed-file", "seed"),
]


def _idle_nodes(slurm: Slurm) -> int:
    try:
        return sum(map(int, slurm.run("sinfo", "--noheader", "--states=idle", "--format=%D").split()))
    except RuntimeError:
        return 0
