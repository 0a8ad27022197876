"""container.py: the command of each row as a whole, what each parameter adds, URLs, and what is refused."""

from typing import Any

import pytest

from plasmid.connect import connector_class, from_spec, parse
from plasmid.connect.container import PATH, Container

PYTHON = ["python3", "-S", "-c", "text", "plasmid:x"]
NSPAWN = ["--quiet", "--pipe", "--as-pid2", "--register=no", "--keep-unit"]


def made(scheme: str, **parameters: Any) -> Container:
    """Return the connector for a scheme."""
    make: Any = connector_class(scheme)
    connector = make(**parameters)
    assert isinstance(connector, Container)
    return connector


# URL, the command before Python's words, what the context is called.
PLAIN = [
    ("docker://web", ["docker", "exec", "--interactive", "web"], "web"),
    ("docker://joe@web", ["docker", "exec", "--interactive", "--user=joe", "web"], "web"),
    ("podman://web", ["podman", "exec", "--interactive", "web"], "web"),
    ("podman://joe@web", ["podman", "exec", "--interactive", "--user=joe", "web"], "web"),
    ("kubectl://web-1", ["kubectl", "exec", "--stdin", "--quiet", "web-1", "--"], "web-1"),
    ("kubectl://lab/web-1", ["kubectl", "exec", "--stdin", "--quiet", "--namespace=lab", "web-1", "--"], "web-1"),
    (
        "kubectl://lab/web-1/side",
        ["kubectl", "exec", "--stdin", "--quiet", "--namespace=lab", "--container=side", "web-1", "--"],
        "web-1",
    ),
    ("lxc://box", ["lxc-attach", "--name=box", "--clear-env", f"--set-var={PATH}", "--"], "box"),
    ("nspawn:///srv/box", ["systemd-nspawn", *NSPAWN, "--directory=/srv/box", "--"], "/srv/box"),
    ("nspawn://joe@/srv/box", ["systemd-nspawn", *NSPAWN, "--user=joe", "--directory=/srv/box", "--"], "/srv/box"),
    ("nsenter://12", ["env", "-i", PATH, "nsenter", "--target=12", "--all", "--root", "--wd", "--"], "12"),
]


@pytest.mark.parametrize(("url", "command", "name"), PLAIN, ids=[row[0] for row in PLAIN])
def test_a_url_says_all_of_the_command_and_is_the_target_in_messages(  # U1
    url: str, command: "list[str]", name: str
) -> None:
    connector = parse(url)
    assert connector.argv("text", "plasmid:x") == command + PYTHON
    assert (connector.target, connector.name) == (url, name)
    again = from_spec(connector.spec())
    assert (again.spec(), again.argv("text", "plasmid:x")) == (connector.spec(), command + PYTHON)


@pytest.mark.parametrize("scheme", ["docker", "podman"])
def test_an_image_has_a_container_made_that_ends_with_its_program(scheme: str) -> None:  # U1
    connector = parse(f"{scheme}:", image="python:3.12-slim", username="joe", run_args=["--network=none"])
    run = ["run", "--rm", "--interactive", "--init", "--log-driver=none", "--user=joe", "--network=none"]
    command = [scheme, *run, "--entrypoint=python3", "python:3.12-slim", *PYTHON[1:]]
    assert connector.argv("text", "plasmid:x") == command
    assert (connector.target, connector.name) == (f"{scheme} (image python:3.12-slim)", "python:3.12-slim")
    again = from_spec(connector.spec())
    assert (again.spec(), again.argv("text", "plasmid:x")) == (connector.spec(), command)
    looks = connector.with_any_python().argv("text", "plasmid:x")
    assert looks[looks.index("python:3.12-slim") - 1 :][:3] == ["--entrypoint=sh", "python:3.12-slim", "-c"]


@pytest.mark.parametrize("scheme", ["docker", "podman"])
def test_a_container_is_one_that_runs_or_a_new_one(scheme: str) -> None:
    needs = f"^{scheme} needs container= or image=, one of them$"
    for parameters in {}, {"container": "web", "image": "python"}, {"container": None, "image": None}:
        with pytest.raises(TypeError, match=needs):
            made(scheme, **parameters)
    with pytest.raises(TypeError, match=f"^{scheme} takes run_args= for a new container alone, with image=$"):
        made(scheme, container="web", run_args=["--network=none"])
    with pytest.raises(ValueError, match=f"^image= for {scheme} must be printable, not empty and not start with '-'"):
        made(scheme, image="--privileged")


PLACES: "dict[str, dict[str, Any]]" = {
    "docker": {"container": "web"},
    "podman": {"container": "web"},
    "kubectl": {"pod": "web-1"},
    "lxc": {"container": "box"},
    "nspawn": {"folder": "/srv/box"},
    "nsenter": {"pid": 12},
}


@pytest.mark.parametrize("scheme", PLACES)
def test_the_users_program_and_arguments_stand_in_front_of_ours(scheme: str) -> None:
    options = {f"{scheme}_path": "/opt/bin/it", f"{scheme}_args": ["--one", "two"], "python_path": ["nice", "python"]}
    connector = made(scheme, **PLACES[scheme], **options)
    argv = connector.argv("text", "plasmid:x")
    at = argv.index("/opt/bin/it")
    assert argv[at : at + 3] == ["/opt/bin/it", "--one", "two"]
    assert argv[-6:] == ["nice", "python", *PYTHON[1:]]
    assert connector.program == "it"


def test_a_container_without_a_namespace_is_told_apart_in_messages() -> None:
    connector = made("kubectl", pod="web-1", container="side")
    assert connector.target == "kubectl://web-1 (container side)"


@pytest.mark.parametrize("value", ["", "-v", "a\nb", "a\0"])
@pytest.mark.parametrize("scheme", PLACES)
def test_a_value_that_the_program_could_misread_is_refused(scheme: str, value: str) -> None:
    make = connector_class(scheme)
    assert issubclass(make, Container)
    own = [key for key in make.PARAMETERS if key in {"username", "namespace", "container", make.place}]
    for key in own:
        with pytest.raises(ValueError) as caught:
            made(scheme, **{**PLACES[scheme], key: value})
        expected = f"{key}= for {scheme} must be printable, not empty and not start with '-'; it is {value!r}"
        assert str(caught.value) == expected


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("docker://", "'docker://': there is no container behind docker://"),
        ("docker://joe@", "'docker://joe@': there is no container behind docker://"),
        ("docker://joe:secret@web", "a URL must not hold a password: joe:...@web"),
        ("lxc://", "'lxc://': there is no container behind lxc://"),
        (
            "kubectl://",
            "'kubectl://': write kubectl://pod, kubectl://namespace/pod or kubectl://namespace/pod/container",
        ),
        (
            "kubectl://a//b",
            "'kubectl://a//b': write kubectl://pod, kubectl://namespace/pod or kubectl://namespace/pod/container",
        ),
        (
            "kubectl://a/b/c/d",
            "'kubectl://a/b/c/d': write kubectl://pod, kubectl://namespace/pod or kubectl://namespace/pod/container",
        ),
        ("nspawn://box", "folder= for nspawn must be an absolute path; it is 'box'"),
        ("nsenter://web", "pid= for nsenter must be the number of a process; it is 'web'"),
    ],
)
def test_a_url_that_makes_no_sense_is_refused(url: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse(url)
    assert str(caught.value) == message


def test_a_parameter_that_there_is_not_or_that_is_missing_is_named() -> None:
    with pytest.raises(TypeError) as unknown:
        made("lxc", container="box", username="joe")
    assert str(unknown.value) == (
        "lxc takes no username=; there are container, lxc_path, lxc_args, name, python_path, connect_timeout"
    )
    with pytest.raises(TypeError) as missing:
        made("lxc")
    assert str(missing.value) == "lxc needs container="
