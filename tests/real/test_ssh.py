"""What ssh is told, tried on a real sshd: options in place of a configuration, URLs, names, hops."""

import getpass
import re
from pathlib import Path
from typing import Any

import pytest

import plasmid
from tests.real import far, leftovers, ports, sshd

pytestmark = pytest.mark.connector("ssh")


def key_of(client: sshd.Client) -> Path:
    """Return the file with the client's key."""
    match = re.search(r"IdentityFile (.*)", client.config_path.read_text())
    assert match is not None
    return Path(match[1])


@pytest.fixture
def no_config(tmp_path: Path) -> "list[str]":
    """Give the ssh arguments that keep the tester's own configuration and agent out."""
    empty = tmp_path / "ssh_config"
    empty.write_text("Host *\n  IdentityAgent none\n")
    return ["-F", str(empty)]


def test_options_say_all_that_a_configuration_could(  # U1
    router: plasmid.Router, ssh_server: sshd.Server, ssh_client: sshd.Client, no_config: "list[str]"
) -> None:
    context = router.ssh(
        ports.LOOPBACK,
        username=getpass.getuser(),
        port=ssh_server.port,
        identity_file=key_of(ssh_client),
        check_host_keys="ignore",
        ssh_args=no_config,
        compression=True,
        keepalive_interval=5,
        python_path=[str(sshd.OWN_PYTHON), "-E"],
        connect_timeout=20,
        name="web1",
    )
    assert (context.name, str(context)) == ("web1", "web1 (/1)")
    assert context.call(far.add, 1) == 11


def test_a_url_says_where_to(  # U1
    router: plasmid.Router, ssh_server: sshd.Server, ssh_client: sshd.Client, no_config: "list[str]"
) -> None:
    options: dict[str, Any] = {"identity_file": str(key_of(ssh_client)), "check_host_keys": "ignore"}
    options["ssh_args"] = no_config
    url = f"ssh://{getpass.getuser()}@{ports.LOOPBACK}:{ssh_server.port}"
    first = router.connect(url, **options)
    second = router.connect(url, via=first, name="second", **options)
    third = router.connect("local:", via=second)
    bare = router.connect(f"{ports.LOOPBACK}:{ssh_server.port}", **options)
    assert [str(context) for context in (first, second, third, bare)] == [
        f"{ports.LOOPBACK} (/1)",
        "second (/1/1)",
        "local (/1/1/1)",
        f"{ports.LOOPBACK} (/2)",
    ]
    assert third.call(far.own_place) == [third, second, router.myself()]
    assert bare.call(far.add, 1) == 11


def test_the_process_list_names_the_context_and_shows_no_secret(  # U2
    router: plasmid.Router, ssh_client: sshd.Client
) -> None:
    context = router.ssh(ssh_client.hostname, ssh_args=ssh_client.ssh_args, name="web1")
    pid = context.call(far.process_ids)[0]
    command = next(process.command for process in leftovers.processes() if process.pid == pid)
    assert command.endswith(" plasmid:web1")
    assert len(command) < 2000


def test_nothing_is_written_to_the_far_disk(router: plasmid.Router, ssh_server: sshd.Server) -> None:  # U2
    before = set(ssh_server.home.rglob("*"))  # other tests' login shells may keep something there: fish does
    client = ssh_server.client()
    context = router.ssh(client.hostname, ssh_args=client.ssh_args)
    assert context.service(far.Counter).add(1) == 1
    assert context.call(far.open_files) == []
    assert set(ssh_server.home.rglob("*")) == before


def test_a_noisy_login_is_no_obstacle(router: plasmid.Router, ssh_server: sshd.Server) -> None:  # U2
    client = ssh_server.noisy_client(100_000)
    context = router.ssh(client.hostname, ssh_args=client.ssh_args)
    assert context.call(far.add, 1) == 11


def test_the_steps_of_a_connection_and_what_it_sent_are_known(router: plasmid.Router, ssh_client: sshd.Client) -> None:
    context = router.ssh(ssh_client.hostname, ssh_args=ssh_client.ssh_args)
    child = router.child(context)
    assert child is not None
    steps = [step for step, _ in child.steps]
    assert steps == ["start ssh", "wait for the far side's first line", "send the program", "say hello"]
    assert all(seconds >= 0 for _, seconds in child.steps)
    assert 10_000 < child.boot_bytes < 24 * 1024
    assert child.info["pid"] == context.call(far.process_ids)[0]
