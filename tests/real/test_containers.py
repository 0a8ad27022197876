"""Contexts in real containers of every kind: what works there, what is said when it doesn't, and what is left."""

import contextlib
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import plasmid
from tests.conftest import PROCESS_END_TIMEOUT_S
from tests.real import far, leftovers
from tests.real.lab import engines, rootfs
from tests.real.lab.fixtures import CONNECTORS, CONTAINERS, Place, each_of
from tests.test_examples import run_example

ROOT = Path(__file__).parents[2]
# The context in it is gone within what is promised; to clear away a container takes its engine a while longer.
ENGINE_TIMEOUT_S = 20


def of_context(name: str) -> "list[str]":
    """Return a line for each process here or in any container that belongs to a context of this name."""
    return [str(one) for one in leftovers.processes() if one.command.endswith(f"plasmid:{name}")]


def unique_name() -> str:
    """Return a name for a context that no other test on this machine uses."""
    return f"far-{uuid.uuid4().hex}"


@each_of(*CONNECTORS)
def test_calls_services_and_streams_work_there(router: plasmid.Router, place: Place) -> None:  # U1
    context = place.connect(router, name="far")
    every_byte = bytes(range(256)) * 1000
    assert context.call(far.echo, every_byte) == every_byte
    counter = context.service(far.Counter)
    assert [counter.add(2), counter.add(3)] == [2, 5]
    with plasmid.Pool(router, services=[far.Catalog(router)]):
        assert context.call(far.ask_catalog, "k") == ["k", "far"]
    receiver = plasmid.Receiver(router)
    context.call_no_reply(far.put_all, receiver.to_sender(), list(range(100)))
    assert [receiver.get(30) for _ in range(100)] == list(range(100))


@each_of(*CONTAINERS)
def test_a_context_is_inside_and_not_beside_its_container(
    router: plasmid.Router, place: Place, lab_root: Path
) -> None:  # U1
    context = place.connect(router)
    seen = context.call(far.read_text, "/etc/os-release")
    assert seen == (lab_root / "etc" / "os-release").read_text()
    assert context.call(os.path.exists, str(ROOT)) is False


@each_of(*CONNECTORS)
def test_a_url_leads_to_the_same_place_by_way_of_any_context(router: plasmid.Router, place: Place) -> None:  # U1
    outer = router.local(name="outer")
    context = router.connect(place.url, via=outer, **place.options)
    assert context.address[: len(outer.address)] == outer.address
    assert context.call(far.add, 1) == 11
    again = router.local(via=context, name="inner")  # and a context may start others from there
    assert again.call(far.add, 1) == 11


@each_of(*CONNECTORS)
def test_nothing_is_left_there_when_the_context_is_closed(place: Place) -> None:  # U7, D11
    name = unique_name()
    with plasmid.Router() as router:
        context = place.connect(router, name=name)
        context.call(far.start_sleeper)
        assert of_context(name) != []
    assert leftovers.until_empty(lambda: of_context(name), PROCESS_END_TIMEOUT_S) == []


NEAR_SIDE = """
import os, signal, sys
import plasmid
from tests.real import far
name, url, options, how = sys.argv[1], sys.argv[2], eval(sys.argv[3]), sys.argv[4]
router = plasmid.Router()
context = router.connect(url, name=name, **options)
context.call(far.start_sleeper)
if how == "native code":
    context.call_no_reply(far.hold_interpreter_lock)
if how == "client stopped":
    os.kill(router.child(context).process.pid, signal.SIGSTOP)
print("ready", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def near_side(place: Place, name: str, how: str = "native code") -> "Iterator[subprocess.Popen[bytes]]":
    """Run a program with a context there that is busy in native code, or out of reach; it has to be ended."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    argv = [sys.executable, "-c", NEAR_SIDE, name, place.url, repr(place.options), how]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as near:
        assert near.stdout is not None
        assert near.stdout.readline() == b"ready\n"
        yield near


@each_of(*CONNECTORS)
def test_nothing_is_left_there_when_the_near_side_is_killed_even_if_native_code_is_busy(
    place: Place,
) -> None:  # U7, D11
    name = unique_name()
    with near_side(place, name) as near:
        assert of_context(name) != []
        near.send_signal(signal.SIGKILL)
    assert leftovers.until_empty(lambda: of_context(name), PROCESS_END_TIMEOUT_S) == []


@each_of(*CONNECTORS)
def test_nothing_is_left_there_or_here_when_the_near_side_is_killed_and_what_leads_there_was_stopped(
    place: Place,
) -> None:  # U7, D11
    name = unique_name()
    with near_side(place, name, "client stopped") as near:
        assert of_context(name) != []
        near.send_signal(signal.SIGKILL)
    assert leftovers.until_empty(lambda: of_context(name), PROCESS_END_TIMEOUT_S) == []


@each_of(*CONNECTORS)
def test_nothing_is_left_there_when_the_program_that_leads_there_is_killed(place: Place) -> None:  # U7, D11
    name = unique_name()
    with plasmid.Router() as router:
        child = router.child(place.connect(router, name=name))
        assert child is not None
        child.process.kill()
    assert leftovers.until_empty(lambda: of_context(name), PROCESS_END_TIMEOUT_S) == []


@pytest.fixture
def new_place(request: pytest.FixtureRequest, scheme: str) -> Place:
    """Give the making of a container, from the engine's own image."""
    engine: engines.Engine = request.getfixturevalue(f"{scheme}_engine")
    run_args = ["--network=none", f"--cgroup-parent={engine.cgroup}", "--pull=never"]
    return Place(f"{scheme}:", {}, {"image": engines.IMAGE, "run_args": run_args, **engine.options})


def made_from(place: Place) -> "list[str]":
    """Return a line for each container that was made from an image and not named by the tests."""
    scheme = place.url.rstrip(":")
    engine = engines.Engine(scheme, [place.options[f"{scheme}_path"], *place.options[f"{scheme}_args"]], "")
    return [name for name in engine.run("ps", "--all", "--format={{.Names}}").split() if name != "web"]


@each_of("docker", "podman")
def test_a_container_that_is_made_for_a_context_is_removed_with_it(  # U1, U7
    router: plasmid.Router, new_place: Place, lab_root: Path
) -> None:
    outer = router.local(name="outer")
    context = router.connect(new_place.url, via=outer, username="worker", **new_place.options)
    assert context.call(far.read_text, "/etc/os-release") == (lab_root / "etc" / "os-release").read_text()
    assert context.call(os.getuid) == rootfs.USER_ID
    assert context.service(far.Counter).add(2) == 2
    assert context.call(os.getpid) != 1
    beside = router.connect(new_place.url, **new_place.options)
    assert beside.call(os.getuid) == 0
    assert len(made_from(new_place)) == 2
    context.shutdown()
    beside.shutdown()
    assert leftovers.until_empty(lambda: made_from(new_place), ENGINE_TIMEOUT_S) == []


@each_of("docker", "podman")
@pytest.mark.parametrize("how", ["native code", "client stopped"])
def test_a_container_that_was_made_is_removed_when_the_near_side_is_killed_whatever_is_stuck(  # D11
    new_place: Place, how: str
) -> None:
    with near_side(new_place, unique_name(), how) as near:
        assert len(made_from(new_place)) == 1
        near.send_signal(signal.SIGKILL)
    assert leftovers.until_empty(lambda: made_from(new_place), ENGINE_TIMEOUT_S) == []


@each_of("docker", "podman")
def test_a_container_that_was_made_is_removed_when_the_program_that_leads_there_is_killed(  # D11
    router: plasmid.Router, new_place: Place
) -> None:
    child = router.child(router.connect(new_place.url, **new_place.options))
    assert child is not None
    child.process.kill()
    assert leftovers.until_empty(lambda: made_from(new_place), ENGINE_TIMEOUT_S) == []


@each_of("docker", "podman")
def test_an_image_that_there_is_not_is_told(router: plasmid.Router, new_place: Place, scheme: str) -> None:
    with pytest.raises(plasmid.ConnectError) as caught:
        router.connect(new_place.url, **{**new_place.options, "image": "nowhere/at-all"})
    assert caught.value.target == f"{scheme} (image nowhere/at-all)"
    assert caught.value.advice == (
        "The engine has no such image and can't get one: check image=, or pull or build it before."
    )


@each_of("docker", "podman", "nspawn")
def test_a_context_runs_as_the_user_that_was_named(router: plasmid.Router, place: Place) -> None:
    as_root = place.connect(router)
    assert as_root.call(os.getuid) == 0
    as_root.shutdown()  # a folder has room for one container of nspawn's at a time
    scheme, _, rest = place.url.partition("://")
    as_worker = router.connect(f"{scheme}://worker@{rest}", **place.options)
    assert as_worker.call(os.getuid) == rootfs.USER_ID


@each_of(*CONTAINERS)
def test_no_environment_of_ours_gets_inside(
    router: plasmid.Router, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLASMID_CANARY", "a secret of the near side")
    environment = place.connect(router).call(far.environment)
    assert "PLASMID_CANARY" not in environment
    assert "/usr/bin" in environment["PATH"].split(":")


NO_PYTHON = (
    "There is no such program in it: install Python 3 there, or name it with python_path= (some images call it "
    "`python`)."
)
# Connector, what is changed, what is printed, what the advice starts with.
FAILURES: "list[tuple[str, dict[str, Any], str, str]]" = [
    ("docker", {"container": "nobody"}, "No such container: nobody", "`docker ps` lists those that run"),
    ("docker", {"username": "nobody"}, "unable to find user nobody", "There is no such user in it"),
    ("docker", {"docker_args": ["--host", "unix:///nowhere"]}, "/nowhere", "Check that the engine runs"),
    ("docker", {"docker_args": ["--context", "nowhere"]}, "nowhere", "`docker context ls` lists"),
    ("podman", {"container": "nobody"}, 'no container with name or ID "nobody"', "`podman ps` lists those that run."),
    ("podman", {"username": "nobody"}, "nobody", "There is no such user in it"),
    ("kubectl", {"pod": "nobody"}, 'pods "nobody" not found', "`kubectl get pods` lists"),
    ("kubectl", {"namespace": "nowhere"}, 'namespaces "nowhere" not found', "`kubectl get namespaces` lists"),
    ("kubectl", {"container": "nobody"}, "container nobody is not valid for pod", "The pod has no such container"),
    ("kubectl", {"kubectl_args": ["--server=http://127.0.0.1:1"]}, "127.0.0.1:1", "The cluster can't be reached"),
    ("kubectl", {"kubectl_args": ["--context=nowhere"]}, "nowhere", "`kubectl config get-contexts` lists"),
    ("lxc", {"container": "nobody"}, "Failed to get init pid", "`lxc-ls --running` lists"),
    ("lxc", {"container": "stopped"}, "Failed to get init pid", "`lxc-ls --running` lists"),
    ("nspawn", {"folder": "/nowhere"}, "/nowhere", "There is no such folder."),
    ("nspawn", {"username": "nobody"}, "nobody", "Its `getent` knows no such user"),
    ("nsenter", {"pid": 4194304}, "/proc/4194304/ns/", "There is no such process any more"),
    *((scheme, {"python_path": "python9"}, "python9", NO_PYTHON) for scheme in CONTAINERS),
]


@pytest.mark.parametrize(
    ("scheme", "change", "output", "advice"),
    [
        pytest.param(*row, marks=pytest.mark.connector(row[0]), id=f"{row[0]}-{'-'.join(map(str, row[1]))}{number}")
        for number, row in enumerate(FAILURES)
    ],
)
def test_a_failure_says_what_was_printed_and_what_to_do(
    router: plasmid.Router, place: Place, change: "dict[str, Any]", output: str, advice: str
) -> None:
    if "kubectl_args" in change:
        change = {"kubectl_args": [*place.options["kubectl_args"], *change["kubectl_args"]]}
    with pytest.raises(plasmid.ConnectError) as caught:
        place.connect(router, **change)
    error = caught.value
    assert error.target.startswith(f"{place.scheme}://")
    assert error.step == "wait for the far side's first line"
    assert output in error.output
    assert error.advice.startswith(advice)


@pytest.mark.connector("docker")
def test_a_container_that_has_ended_is_told_from_one_that_never_was(
    router: plasmid.Router, docker_engine: engines.Engine
) -> None:
    name = docker_engine.start_container("ended")
    docker_engine.run("kill", name)
    with pytest.raises(plasmid.ConnectError) as caught:
        router.connect(f"docker://{name}", **docker_engine.options)
    assert "is not running" in caught.value.output
    assert caught.value.advice == "Start it with `docker start`; `docker logs` may say why it ended."


@each_of("nspawn")
def test_a_folder_that_is_no_root_file_system_is_told(router: plasmid.Router, place: Place, tmp_path: Path) -> None:
    with pytest.raises(plasmid.ConnectError) as caught:
        place.connect(router, folder=str(tmp_path))
    assert "doesn't look like it has an OS tree" in caught.value.output
    assert caught.value.advice.startswith("Name the top folder of a root file system")


@pytest.mark.connector("docker")
@pytest.mark.connector("podman")
def test_a_container_can_be_entered_from_a_context_of_another_kind(
    router: plasmid.Router, docker: Place, podman: Place, lxc: Place
) -> None:  # U1
    contexts = [place.connect(router, via=router.local()) for place in (docker, podman, lxc)]
    assert [context.call(far.add, 1) for context in contexts] == [11, 11, 11]


@pytest.mark.connector("docker")
def test_the_example_of_tools_runs_them_in_the_container(docker_on_path: Path) -> None:
    ended = run_example("sandbox_tools.py", "docker://web", path_first=str(docker_on_path))
    assert (ended.returncode, ended.stderr) == (0, "")
    lines = ended.stdout.splitlines()
    assert lines[:2] == [
        "100 bytes written; run there: status 0, 0 1 1 2 3 5 8 13 21 34 ",
        "an error of a tool is its own: [Errno 2] No such file or directory: '/no/such/file'",
    ]
    assert ".dockerenv" in lines[2].split()
    assert lines[3] == "tool list_files(folder: str = '/') -> list[str]: Return the names in a folder."
    assert not Path("/tmp/fibonacci.py").exists()


RENAME = """
import glob, os
os.rename("/usr/bin/python3", "/usr/bin/python")
for path in glob.glob("/usr/bin/python3*"):
    os.remove(path)
"""


@pytest.mark.connector("docker")
def test_a_container_whose_python_has_another_name_is_entered_all_the_same(  # U2
    router: plasmid.Router, docker_engine: engines.Engine
) -> None:
    name = docker_engine.start_container("odd")
    docker_engine.run("exec", name, "python3", "-c", RENAME)
    assert router.connect(f"docker://{name}", **docker_engine.options).call(far.add, 1) == 11
