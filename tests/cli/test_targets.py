"""What the command line says about where to run becomes connectors."""

import pytest

import plasmid
from plasmid.cli.targets import ConnectOptions, make_hops, make_targets, split_targets
from plasmid.inventory import from_text


def specs(written: "list[str]", options: ConnectOptions) -> "list[dict[str, object]]":
    """Return the connectors of targets, as far as they differ from those without options."""
    plain = {"local": make_targets(["local:"], ConnectOptions()), "ssh": make_targets(["host"], ConnectOptions())}
    found = []
    for target in make_targets(written, options):
        spec = target.connector.spec()
        usual = plain[target.connector.scheme][0].connector.spec()
        found.append({key: value for key, value in spec.items() if value != usual[key]})
    return found


def test_targets_are_separated_by_commas_or_stand_apart() -> None:
    assert split_targets(["a,b, c", "d", ","]) == ["a", "b", "c", "d"]


def test_each_target_has_a_name_of_its_own() -> None:
    targets = make_targets(["web1", "local:", "ssh://me@web1:23", "local:", "db"], ConnectOptions())
    assert [(target.written, target.name, target.connector.name) for target in targets] == [
        ("web1", "web1-1", "web1-1"),
        ("local:", "local-1", "local-1"),
        ("ssh://me@web1:23", "web1-2", "web1-2"),
        ("local:", "local-2", "local-2"),
        ("db", "db", "db"),
    ]


def test_options_hold_for_the_targets_that_can_have_them() -> None:
    options = ConnectOptions((), "/py", ("-4",), "/key", 23, "accept", 5.0)
    common = {"python_path": "/py", "connect_timeout": 5.0}
    of_ssh = {**common, "ssh_args": ["-4"], "identity_file": "/key", "check_host_keys": "accept"}
    assert specs(["local:", "web1", "web2:24"], options) == [
        common,
        {**of_ssh, "hostname": "web1", "name": "web1", "port": 23},
        {**of_ssh, "hostname": "web2", "name": "web2", "port": 24},
    ]


def test_with_hops_the_key_and_the_arguments_are_for_the_ssh_that_starts_here() -> None:
    options = ConnectOptions(("bastion", "inner"), "/py", ("-4",), "/key", 23, "accept", 5.0)
    policy = {"check_host_keys": "accept", "connect_timeout": 5.0}
    hops = [hop.spec() for hop in make_hops(options)]
    assert [(hop["hostname"], hop["ssh_args"], hop["identity_file"], hop["port"]) for hop in hops] == [
        ("bastion", ["-4"], "/key", None),
        ("inner", [], None, None),
    ]
    assert [hop["python_path"] for hop in hops] == [None, None]
    assert specs(["db"], options) == [{**policy, "hostname": "db", "name": "db", "port": 23, "python_path": "/py"}]


@pytest.mark.parametrize("written", ["ssh://", "web1:x", "ssh://-oProxyCommand=x", "ftp://web1", "local://x"])
def test_what_is_no_target_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        make_targets([written], ConnectOptions())


INVENTORY = from_text(
    "[web]\nweb1 ansible_user=own\nweb2 ansible_host=10.0.0.2\nbad ansible_winrm_transport=x\n", "ini", "f.ini"
)


def test_hosts_and_groups_of_an_inventory_are_targets() -> None:
    options = ConnectOptions(inventory=INVENTORY, port=23, python="/py")
    targets = make_targets(["web2", "other", "web"], options)
    assert [(target.written, target.name) for target in targets] == [
        ("web2", "web2-1"),
        ("other", "other"),
        ("web1", "web1"),
        ("web2", "web2-2"),
        ("bad", "bad"),
    ]
    found = [target.connector.spec() for target in targets[:4]]
    assert [(one["hostname"], one["username"], one["port"], one["python_path"]) for one in found] == [
        ("10.0.0.2", None, 23, "/py"),
        ("other", None, 23, "/py"),
        ("web1", "own", 23, "/py"),
        ("10.0.0.2", None, 23, "/py"),
    ]


def test_a_host_that_the_inventory_gives_no_way_to_fails_when_it_is_connected_to() -> None:
    (target,) = make_targets(["bad"], ConnectOptions(inventory=INVENTORY))
    with pytest.raises(plasmid.ConnectError) as caught:
        target.connector.spec()
    assert str(caught.value) == (
        "connecting to bad: read the inventory: f.ini: bad: Plasmid can't keep to ansible_winrm_transport"
    )
