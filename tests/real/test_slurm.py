"""Contexts on the nodes of a real Slurm cluster: one, and all tasks of an allocation at once."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import plasmid
from tests.conftest import PROCESS_END_TIMEOUT_S
from tests.real import far, leftovers
from tests.real.lab.cluster import CPUS, NODES, Slurm
from tests.real.lab.fixtures import Place

pytestmark = pytest.mark.connector("slurm")
ROOT = Path(__file__).parents[2]


def node_of(context: plasmid.Context) -> str:
    """Return the node that a context is on."""
    node = context.call(far.environment)["SLURMD_NODENAME"]
    assert isinstance(node, str)
    return node


@pytest.fixture
def allocation(slurm_cluster: Slurm) -> "Iterator[int]":
    """Give the number of a job with two nodes and three tasks that runs nothing, made with salloc."""
    slurm_cluster.run("salloc", "--no-shell", "--nodes=2", "--ntasks=3", "--job-name=held", "--quiet")
    (number,) = (int(line.split()[0]) for line in slurm_cluster.jobs() if " held " in line)
    yield number
    slurm_cluster.run("scancel", str(number))
    assert no_jobs(slurm_cluster) == []


def no_jobs(cluster: Slurm) -> "list[str]":
    """Return the jobs that are still there when they had the time to go."""
    return leftovers.until_empty(cluster.jobs, PROCESS_END_TIMEOUT_S)


def test_a_context_has_a_job_of_its_own_that_ends_with_it(  # U1, U7
    router: plasmid.Router, slurm: Place, slurm_cluster: Slurm
) -> None:
    context = slurm.connect(router, name="far")
    (job,) = slurm_cluster.jobs()
    assert job == f"{context.call(far.environment)['SLURM_JOB_ID']} plasmid RUNNING"
    context.shutdown()
    assert no_jobs(slurm_cluster) == []


def test_a_context_runs_on_the_node_and_with_what_was_asked_for(router: plasmid.Router, slurm: Place) -> None:  # U1
    context = slurm.connect(router, node="n2", partition="debug", srun_args=["--cpus-per-task=2"])
    assert node_of(context) == "n2"
    assert context.call(far.environment)["SLURM_CPUS_PER_TASK"] == "2"
    assert context.name == "n2"


def test_a_job_is_gone_when_its_srun_was_to_be_killed(slurm: Place, slurm_cluster: Slurm) -> None:  # U7
    with plasmid.Router() as router:
        context = slurm.connect(router)
        context.call_no_reply(far.ignore_signals)
        context.call_no_reply(far.hold_interpreter_lock)
        router.close(patience_s=0)
    assert no_jobs(slurm_cluster) == []


def test_contexts_run_in_an_allocation_that_exists_and_leave_it_as_it_was(  # U1
    router: plasmid.Router, slurm: Place, slurm_cluster: Slurm, allocation: int
) -> None:
    contexts = [router.connect(f"slurm://{allocation}/n{number}", **slurm.options) for number in (1, 2)]
    assert [node_of(context) for context in contexts] == ["n1", "n2"]
    with pytest.raises(plasmid.ConnectError) as caught:
        slurm.connect(router, job=allocation, node="n3")
    assert caught.value.advice.startswith("The allocation has no such node")
    for context in contexts:
        context.shutdown()
    assert slurm_cluster.jobs() == [f"{allocation} held RUNNING"]


def test_each_node_of_an_allocation_gets_a_context_from_outside_of_it(  # U1
    router: plasmid.Router, slurm: Place, allocation: int
) -> None:
    found = router.slurm_all(allocation, **slurm.options)
    assert (sorted(map(node_of, found)), found.failures) == (["n1", "n2"], {})
    assert [name.partition(".")[0] for name in found.names] == [node_of(context) for context in found]
    again = router.slurm_all(allocation, via=router.local(), **slurm.options)
    assert (sorted(map(node_of, again)), again.failures) == (["n1", "n2"], {})


PROGRAM = """
import sys
import plasmid
from tests.real import far
with plasmid.Router() as router:
    found = router.slurm_all()
    assert found.failures == {}, found.failures
    print(*sorted(context.call(far.environment)["SLURMD_NODENAME"] for context in found))
"""


def test_each_task_of_an_allocation_gets_a_context_from_inside_of_it(slurm_cluster: Slurm) -> None:  # U1
    environment = {**slurm_cluster.environment, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    argv = ["salloc", "--nodes=2", "--ntasks=3", "--quiet", sys.executable, "-c", PROGRAM]
    ended = subprocess.run(argv, env={**os.environ, **environment}, capture_output=True, text=True, timeout=50)
    assert (ended.stdout, ended.returncode) == ("n1 n1 n2\n", 0), ended.stderr


def test_outside_of_a_job_somebody_has_to_say_which(router: plasmid.Router) -> None:
    with pytest.raises(plasmid.ConnectError) as caught:
        router.slurm_all()
    assert str(caught.value) == (
        "connecting to slurm://: ask which tasks the job has: it was to be that of the job that this runs in, and this "
        "runs in none\nGive the number of a job: job=."
    )


BUSY = "The cluster has nothing free"
FAILURES: "list[tuple[dict[str, Any], str, str]]" = [
    ({"partition": "nowhere"}, "invalid partition specified: nowhere", "`sinfo` lists the partitions"),
    ({"node": "n99"}, "Invalid node name specified", "`sinfo --Node` lists the nodes"),
    ({"job": 99999}, "Invalid job id specified", "`squeue --me` lists your jobs"),
    ({"srun_args": ["--cpus-per-task=64"], "connect_timeout": 3}, "not available now", "No node that is up has"),
    ({"python_path": "python9"}, "python9: No such file or directory", "There is no such Python on that node"),
]


@pytest.mark.parametrize(("change", "output", "advice"), FAILURES, ids=[next(iter(row[0])) for row in FAILURES])
def test_a_failure_says_what_srun_printed_and_what_to_do(
    router: plasmid.Router, slurm: Place, slurm_cluster: Slurm, change: "dict[str, Any]", output: str, advice: str
) -> None:
    with pytest.raises(plasmid.ConnectError) as caught:
        slurm.connect(router, **change)
    assert output in caught.value.output
    assert caught.value.advice.startswith(advice)
    assert no_jobs(slurm_cluster) == []


def test_a_job_that_gets_no_room_in_time_is_taken_back(
    router: plasmid.Router, slurm: Place, slurm_cluster: Slurm
) -> None:
    whole = f"--cpus-per-task={CPUS}"
    holders = [slurm.connect(router, srun_args=[whole]) for _ in range(NODES)]
    with pytest.raises(plasmid.ConnectError) as caught:
        slurm.connect(router, connect_timeout=3)
    assert "queued and waiting for resources" in caught.value.output
    assert caught.value.found == "srun exited with status 1"
    assert caught.value.advice.startswith(BUSY)
    assert len(slurm_cluster.jobs()) == len(holders)


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("", "Slurm isn't set up on this machine"),
        (
            "ClusterName=x\nSlurmctldHost=localhost(127.0.0.1)\nSlurmctldPort=1\nMessageTimeout=1\nAuthType=auth/none\n",
            "Its controller (slurmctld) doesn't answer",
        ),
    ],
    ids=["no configuration", "no controller"],
)
def test_a_machine_without_a_cluster_is_told(
    router: plasmid.Router, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, advice: str
) -> None:
    (tmp_path / "slurm.conf").write_text(text)
    monkeypatch.setenv("SLURM_CONF", str(tmp_path / "slurm.conf"))
    with pytest.raises(plasmid.ConnectError) as caught:
        router.slurm(connect_timeout=20)
    assert caught.value.advice.startswith(advice), caught.value
