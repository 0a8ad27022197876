"""Contexts on the nodes of a Slurm cluster: one context is one task, started with srun.

Outside of a job srun asks for an allocation of its own, for as long as the context lives. With `job`, or inside one,
it starts a step in that allocation, beside whatever else runs in it (--overlap). tasks() tells which tasks an
allocation has, for a context of each.
"""

import os

from plasmid.connect.connector import Connector
from plasmid.connect.handshake import Handshake, describe_end
from plasmid.core.connect_error import ConnectError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Sequence, Union

    from plasmid.runtime.context import Context

STEP_LAYOUT = "ask which tasks the job has"
# How long tasks() waits for srun. A step of an allocation that exists starts at once or not at all.
LAYOUT_TIMEOUT_S = 30.0

_BUSY = (
    "The cluster has nothing free: see `squeue` and `sinfo`. connect_timeout= lets it wait for longer; partition= may "
    "name a part with less to do."
)


class Slurm(Connector):
    """Run Python as a task. job: the number of a job to run in; None for the one that this runs in, or else a new one.

    node: where, None for wherever there is room. partition: of a new job. srun_args: further arguments for srun, which
    override ours: ["--cpus-per-task=4", "--time=10"]. connect_timeout counts the wait for an allocation too.
    """

    scheme = "slurm"
    PARAMETERS = ("job", "node", "partition", "srun_path", "srun_args") + Connector.PARAMETERS
    known_failures = (
        ("invalid partition", "`sinfo` lists the partitions: check partition=."),
        ("invalid node name", "`sinfo --Node` lists the nodes: check node=."),
        ("invalid job id", "`squeue --me` lists your jobs: check job=."),
        ("create step for job", "The allocation has no such node, or none with room for what was asked for."),
        (
            "partition configuration not available",
            "No node that is up has what was asked for: see `sinfo` and srun_args=.",
        ),
        ("node configuration is not available", "No node has what was asked for: see `sinfo` and srun_args=."),
        ("requested nodes are busy", _BUSY),
        ("queued and waiting for resources", _BUSY),
        ("step creation temporarily disabled", _BUSY),
        ("already completing or completed", "The job has ended: `squeue --me` lists those that run."),
        ("job/step already", "The job has ended: `squeue --me` lists those that run."),
        ("account/partition combination", "Your account may not use that partition: check partition= and --account."),
        ("time limit exceeds", "Ask for less time: srun_args=['--time=...']."),
        ("configuration source", "Slurm isn't set up on this machine: see SLURM_CONF, or go by way of a login node."),
        ("unable to process configuration", "Slurm isn't set up on this machine: see SLURM_CONF."),
        ("unable to contact slurm controller", "Its controller (slurmctld) doesn't answer: see `scontrol ping`."),
        ("munge", "munge doesn't run here, or with another key than on the cluster: see `munge -n | unmunge`."),
        ("no such file or directory", "There is no such Python on that node: name another with python_path=."),
    )

    def __init__(
        self,
        job: "Optional[int]" = None,
        node: "Optional[str]" = None,
        partition: "Optional[str]" = None,
        srun_path: str = "srun",
        srun_args: "Sequence[str]" = (),
        name: "Optional[str]" = None,
        python_path: "Union[str, List[str], None]" = None,
        connect_timeout: float = 30.0,
    ) -> None:
        if job is not None and not (isinstance(job, int) and job > 0):
            raise ValueError("job must be the number of a Slurm job; it is %r" % (job,))
        for what, value in (("node", node), ("partition", partition)):
            if value is not None and (not value or value.startswith("-") or not value.isprintable()):
                raise ValueError("%s must be a name that Slurm knows; it is %r" % (what, value))
        Connector.__init__(self, name or node or "slurm", python_path, connect_timeout)
        self.job = job
        self.node = node
        self.partition = partition
        self.srun_path = srun_path
        self.srun_args = list(srun_args)

    @classmethod
    def url_fields(cls, url: str, rest: str) -> "Dict[str, Any]":
        """Take `job` or `job/node` apart; nothing at all is a new job."""
        if not rest:
            return {}
        job, slash, node = rest.partition("/")
        if not job.isdigit() or "/" in node or (slash and not node):
            raise ValueError("%r: write slurm:, slurm://job or slurm://job/node, the job as its number" % url)
        return {"job": int(job), "node": node} if node else {"job": int(job)}

    @property
    def target(self) -> str:
        where = "" if self.job is None else str(self.job)
        return "slurm://%s%s" % (where, "/" + self.node if self.node else "")

    @property
    def program(self) -> str:
        return os.path.basename(self.srun_path)

    def argv(self, first_stage: str, ps_name: str) -> "List[str]":
        # setsid: a killed srun leaves its job in the queue and its task running. In a session of its own it isn't
        # killed with what we started, sees the end of the link, passes it on, and cleans up.
        argv = ["setsid", "--wait", os.path.expanduser(self.srun_path)]
        # Unbuffered, since otherwise only whole lines come through. --immediate: srun itself gives up in time, and
        # takes its request back; a second before we do, so that it can still say so.
        argv += ["--unbuffered", "--ntasks=1", "--nodes=1", "--immediate=%d" % max(1, int(self.connect_timeout) - 1)]
        argv += ["--job-name=plasmid", "--overlap"]
        if self.job is not None:
            argv.append("--jobid=%d" % self.job)
        if self.node is not None:
            argv.append("--nodelist=" + self.node)
        if self.partition is not None:
            argv.append("--partition=" + self.partition)
        return argv + self.srun_args + self._python_argv(first_stage, ps_name)


def tasks(
    job: "Optional[int]" = None, via: "Optional[Context]" = None, srun_path: str = "srun", **options: "Any"
) -> "List[Slurm]":
    """Return a connector for each task of an allocation, in their order; each is called after its node and its number.

    job: its number; None for the one that this context, or `via`, runs in. From outside of it there is one task on each
    node. options: as for Slurm. Blocks while srun is asked. Raises ConnectError.
    """
    nodes = task_nodes(job, srun_path) if via is None else via.call(task_nodes, job, srun_path)
    return [
        Slurm(job=job, node=node, srun_path=srun_path, name="%s.%d" % (node, number), **options)
        for number, node in enumerate(nodes)
    ]


def task_nodes(job: "Optional[int]", srun_path: str) -> "List[str]":
    """Return the node of each task of an allocation, in their order. Blocks; raises ConnectError."""
    import subprocess

    target = "slurm://%s" % ("" if job is None else job)
    if job is None and "SLURM_JOB_ID" not in os.environ:
        found = "it was to be that of the job that this runs in, and this runs in none"
        raise ConnectError(target, STEP_LAYOUT, found, advice="Give the number of a job: job=.")
    argv = [os.path.expanduser(srun_path), "--overlap", "--label", "printenv", "SLURMD_NODENAME"]
    if job is not None:
        argv.insert(1, "--jobid=%d" % job)
    try:
        asked = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except OSError as error:
        found = "%s can't be started here: %s" % (srun_path, os.strerror(error.errno or 0))
        raise ConnectError(target, STEP_LAYOUT, found, advice="Install it, or give its path.") from error
    try:
        said, errors = asked.communicate(timeout=LAYOUT_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        asked.terminate()  # and not killed: it has to take its request back
        said, errors = asked.communicate()
    if asked.returncode:
        program = os.path.basename(srun_path)
        handshake = Handshake(target, "", program, "printenv", Slurm.known_failures, has_shell=False)
        handshake.feed_error(errors)
        raise handshake.failure(STEP_LAYOUT, describe_end(program, asked.returncode), asked.returncode)
    # "1: n2": the number of a task, and its node.
    nodes = dict(line.split(": ") for line in said.decode().splitlines())
    return [nodes[number] for number in sorted(nodes, key=int)]
