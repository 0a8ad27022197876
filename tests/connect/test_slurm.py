"""slurm.py: the command, URLs, and what is refused."""

from typing import Any

import pytest

from plasmid.connect import from_spec, parse
from plasmid.connect.slurm import Slurm

START = ["setsid", "--wait", "srun", "--unbuffered", "--ntasks=1", "--nodes=1", "--immediate=29"]
START += ["--job-name=plasmid", "--overlap"]
PYTHON = ["python3", "-S", "-c", "text", "plasmid:x"]


@pytest.mark.parametrize(
    ("url", "own", "target", "name"),
    [
        ("slurm:", [], "slurm://", "slurm"),
        ("slurm://", [], "slurm://", "slurm"),
        ("slurm://12", ["--jobid=12"], "slurm://12", "slurm"),
        ("slurm://12/n3", ["--jobid=12", "--nodelist=n3"], "slurm://12/n3", "n3"),
    ],
)
def test_a_url_says_which_job_and_which_node(url: str, own: "list[str]", target: str, name: str) -> None:  # U1
    connector = parse(url)
    assert connector.argv("text", "plasmid:x") == START + own + PYTHON
    assert (connector.target, connector.name, connector.program) == (target, name, "srun")
    assert from_spec(connector.spec()).argv("text", "plasmid:x") == START + own + PYTHON


def test_the_users_arguments_come_last_so_that_srun_takes_them() -> None:
    connector = Slurm(partition="debug", srun_path="/opt/srun", srun_args=["--cpus-per-task=4"], connect_timeout=0.5)
    assert connector.argv("text", "plasmid:x") == [
        *("setsid", "--wait", "/opt/srun", "--unbuffered", "--ntasks=1", "--nodes=1", "--immediate=1"),
        *("--job-name=plasmid", "--overlap", "--partition=debug", "--cpus-per-task=4", *PYTHON),
    ]


@pytest.mark.parametrize("url", ["slurm://n1", "slurm://12/a/b", "slurm://12//", "slurm:///n1"])
def test_a_url_that_makes_no_sense_is_refused(url: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse(url)
    assert str(caught.value) == f"{url!r}: write slurm:, slurm://job or slurm://job/node, the job as its number"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"job": 0}, "job must be the number of a Slurm job; it is 0"),
        ({"job": "12"}, "job must be the number of a Slurm job; it is '12'"),
        ({"node": ""}, "node must be a name that Slurm knows; it is ''"),
        ({"node": "-x"}, "node must be a name that Slurm knows; it is '-x'"),
        ({"partition": "a\n"}, "partition must be a name that Slurm knows; it is 'a\\n'"),
    ],
)
def test_a_value_that_srun_could_misread_is_refused(parameters: "dict[str, Any]", message: str) -> None:
    with pytest.raises(ValueError) as caught:
        Slurm(**parameters)
    assert str(caught.value) == message
