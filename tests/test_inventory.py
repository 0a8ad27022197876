"""Inventories: what each form says becomes hosts, groups and connectors; what makes no sense is named in an error."""

import json
from pathlib import Path
from typing import Any

import pytest

from plasmid import inventory
from plasmid.connect.connector import Connector
from plasmid.connect.many import read_targets
from plasmid.inventory import Host, Inventory, InventoryError, expand, from_text, load
from tests.real import parts


def specs(hosts: Inventory) -> "dict[str, dict[str, Any]]":
    """Return what is unusual in each host's connector, by name."""
    usual = {"ssh": Host("x", {"hostname": "x"}).connector().spec(), "local": Host("x", {}, "local").connector().spec()}
    found = {}
    for host in hosts:
        spec = host.connector().spec()
        found[host.name] = {key: value for key, value in spec.items() if value != usual[spec["scheme"]].get(key)}
    return found


# -- ranges


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("web1", ["web1"]),
        ("web[1-3]", ["web1", "web2", "web3"]),
        ("web[08-11].example", ["web08.example", "web09.example", "web10.example", "web11.example"]),
        ("web[9-10]", ["web9", "web10"]),
        ("db[a-c]", ["dba", "dbb", "dbc"]),
        ("db[a:c]", ["dba", "dbb", "dbc"]),
        ("n[0-10:5]", ["n0", "n5", "n10"]),
        ("r[1-2]n[a-b]", ["r1na", "r1nb", "r2na", "r2nb"]),
        ("[::1]:22", ["[::1]:22"]),
        ("ssh://me@web[1-2]:22", ["ssh://me@web1:22", "ssh://me@web2:22"]),
        ("[1-2]", ["1", "2"]),
    ],
)
def test_a_range_stands_for_its_names(pattern: str, names: "list[str]") -> None:
    assert expand(pattern) == names


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("web[3-1]", "'web[3-1]': [3-1] runs backwards"),
        ("web[01-100]", "'web[01-100]': both ends of [01-100] must be as wide, or the first without a zero"),
        ("web[a-10]", "'web[a-10]': [a-10] is no range of numbers, nor of letters from the first to the last"),
        ("web[c-a]", "'web[c-a]': [c-a] is no range of numbers, nor of letters from the first to the last"),
        ("web[1-9:0]", "'web[1-9:0]': the step of [1-9:0] must be at least 1"),
        ("web[1-100001]", "'web[1-100001]' stands for more than 100000 names"),
        ("a[1-1000]b[1-1000]", "'a[1-1000]b[1-1000]' stands for more than 100000 names"),
        ("web[1-99999999999999999999]", "'web[1-99999999999999999999]' stands for more than 100000 names"),
    ],
)
def test_what_is_no_range_is_an_error(pattern: str, found: str) -> None:
    with pytest.raises(InventoryError) as caught:
        expand(pattern)
    assert str(caught.value) == found


# -- plain lists

PLAIN = """\
# the web servers
web[1-2]        # two of them
admin@db1:2222  local:

-bad
"""


def test_a_plain_list_has_a_name_a_range_or_a_url_in_each_place() -> None:
    hosts = from_text(PLAIN, "plain", "hosts.txt")
    assert list(hosts.hosts) == ["web1", "web2", "admin@db1:2222", "local:", "-bad"]
    targets = read_targets(hosts, {})
    assert [target.connector.target if target.connector else "" for target in targets] == [
        "ssh://web1",
        "ssh://web2",
        "ssh://admin@db1:2222",
        "local",
        "",
    ]
    assert [target.name for target in targets] == ["web1", "web2", "admin@db1:2222", "local:", "-bad"]
    assert [str(target.error) for target in targets if target.error] == [
        "connecting to -bad: read the target: the host name for ssh must not start with '-'; it is '-bad'\n"
        "Correct it; nothing was started for it."
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a\nb\na\n", "hosts.txt: a stands there twice"),
        ("# nobody\n", "hosts.txt: there is no host in it"),
        ("a\nb[2-1]\n", "hosts.txt:2: 'b[2-1]': [2-1] runs backwards"),
    ],
)
def test_what_is_wrong_with_a_list_is_said_with_its_file(text: str, found: str) -> None:
    with pytest.raises(InventoryError) as caught:
        from_text(text, "plain", "hosts.txt")
    assert str(caught.value) == found


# -- Ansible

INI = """\
lone ansible_host=10.0.0.9

[web]
web[01:02].example ansible_user=deploy
web03.example:2222 rack='a 1' # but this is

[db]
db1 ansible_connection=local

[db:vars]
ansible_python_interpreter=/opt/py/bin/python3
tier = "data"

[site:children]
web
db

[site:vars]
ansible_user=everyone
ansible_ssh_common_args='-o ProxyJump=bastion'
tier=none

[all:vars]
ansible_port=22022
"""


def test_the_ini_form_has_hosts_groups_variables_and_children() -> None:
    hosts = from_text(INI, "ini", "hosts.ini")
    assert hosts.groups == {
        "ungrouped": ["lone"],
        "web": ["web01.example", "web02.example", "web03.example"],
        "db": ["db1"],
        "site": ["web01.example", "web02.example", "web03.example", "db1"],
    }
    jump = {"port": 22022, "ssh_args": ["-o", "ProxyJump=bastion"]}
    assert specs(hosts) == {
        "lone": {"hostname": "10.0.0.9", "name": "lone", "port": 22022},
        "web01.example": {"hostname": "web01.example", "name": "web01.example", "username": "deploy", **jump},
        "web02.example": {"hostname": "web02.example", "name": "web02.example", "username": "deploy", **jump},
        "web03.example": {
            "hostname": "web03.example",
            "name": "web03.example",
            "username": "everyone",
            **jump,
            "port": 2222,
        },
        "db1": {"name": "db1", "python_path": "/opt/py/bin/python3"},
    }
    assert hosts.hosts["web03.example"].variables == {"tier": "none", "rack": "a 1"}
    assert hosts.hosts["db1"].variables == {"tier": "data"}
    assert hosts.hosts["db1"].groups == ("site", "db")
    assert [host.name for host in hosts.select("db", "lone", "all")][:3] == ["db1", "lone", "web01.example"]


TREE: "dict[str, Any]" = {
    "all": {
        "vars": {"ansible_user": "everyone"},
        "hosts": {"lone": {"ansible_host": "10.0.0.9"}},
        "children": {
            "web": {"hosts": {"web[1:2]": None}, "vars": {"ansible_become": True, "ansible_become_user": "app"}},
            "db": {"hosts": {"db1": {"ansible_port": 2222, "ansible_timeout": 7}}},
        },
    }
}
TREE_SPECS = {
    "lone": {"hostname": "10.0.0.9", "name": "lone", "username": "everyone"},
    "web1": {
        "hostname": "web1",
        "name": "web1",
        "username": "everyone",
        "python_path": ["sudo", "-n", "-u", "app", "--", "python3"],
    },
    "web2": {
        "hostname": "web2",
        "name": "web2",
        "username": "everyone",
        "python_path": ["sudo", "-n", "-u", "app", "--", "python3"],
    },
    "db1": {"hostname": "db1", "name": "db1", "username": "everyone", "port": 2222, "connect_timeout": 7},
}


def test_the_yaml_form_says_the_same() -> None:
    # JSON is YAML as well.
    hosts = from_text(json.dumps(TREE, indent=2), "yaml", "hosts.yml")
    assert specs(hosts) == TREE_SPECS
    assert hosts.groups == {"web": ["web1", "web2"], "db": ["db1"]}


def test_what_ansible_inventory_prints_says_the_same() -> None:
    printed = {
        "_meta": {
            "hostvars": {
                "lone": {"ansible_host": "10.0.0.9", "ansible_user": "everyone"},
                "db1": {"ansible_port": 2222, "ansible_timeout": 7, "ansible_user": "everyone"},
            }
        },
        "all": {"children": ["ungrouped", "web", "db"]},
        "ungrouped": {"hosts": ["lone"]},
        "web": {
            "hosts": ["web1", "web2"],
            "vars": {"ansible_become": "yes", "ansible_become_user": "app", "ansible_user": "everyone"},
        },
        "db": ["db1"],
    }
    for hosts in (load(lambda: json.dumps(printed)), load(lambda: printed), load(printed)):
        assert specs(hosts) == TREE_SPECS
        assert hosts.groups == {"ungrouped": ["lone"], "web": ["web1", "web2"], "db": ["db1"]}


@pytest.mark.parametrize(
    ("variables", "found"),
    [
        ("ansible_password={{vaulted}}", "ansible_password is a template or a secret, which only Ansible can fill in"),
        ("ansible_winrm_transport=ntlm", "Plasmid can't keep to ansible_winrm_transport"),
        ("ansible_connection=winrm", "ansible_connection=winrm is no way to connect that Plasmid has"),
        (
            "ansible_become=yes ansible_become_method=runas",
            "Plasmid can't keep to ansible_become_method=runas; only to sudo",
        ),
        (
            "ansible_become=yes ansible_become_password=x",
            "Plasmid can't keep to ansible_become_password: sudo is run with -n there, which asks for none; start "
            "these hosts without ansible_become, and then router.sudo(via=..., password=...) by way of each",
        ),
        ("ansible_port=ssh", "ansible_port='ssh' is no number"),
        ("ansible_become=perhaps", "ansible_become='perhaps' is neither yes nor no"),
        ("ansible_host={{address}}", "ansible_host is a template or a secret, which only Ansible can fill in"),
    ],
)
def test_a_variable_that_cannot_be_kept_to_fails_its_own_host_by_name(variables: str, found: str) -> None:
    hosts = from_text(f"good\nbad {variables}\n", "ini", "hosts.ini")
    good, bad = read_targets(hosts, {})
    assert good.error is None
    assert bad.error is not None
    assert bad.error.found == f"hosts.ini: bad: {found}"


@pytest.mark.parametrize("name", ["ansible_password", "ansible_ssh_pass", "ansible_ssh_password"])
def test_a_password_for_ssh_is_taken_and_shown_nowhere(name: str) -> None:
    inventory = from_text(f"a {name}=open-sesame\nb ansible_connection=local {name}=open-sesame\n", "ini")
    a, b = inventory
    assert [secret.reveal() for secret in a.connector().secrets().values()] == ["open-sesame"]
    assert b.connector().secrets() == {}
    assert "open-sesame" not in repr([a, b, inventory.hosts, read_targets(inventory, {})])


@pytest.mark.parametrize(
    ("variables", "scheme", "fields"),
    [
        ("ansible_connection=docker", "docker", {"container": "box"}),
        (
            "ansible_connection=community.docker.docker ansible_host=web ansible_user=app ansible_timeout=7",
            "docker",
            {"container": "web", "username": "app", "connect_timeout": 7},
        ),
        ("ansible_connection=containers.podman.podman", "podman", {"container": "box"}),
        (
            "ansible_connection=podman ansible_python_interpreter=/py",
            "podman",
            {"container": "box", "python_path": "/py"},
        ),
        ("ansible_connection=lxc ansible_user=app ansible_port=2", "lxc", {"container": "box"}),
    ],
)
def test_containers_are_entered_by_their_own_way(variables: str, scheme: str, fields: "dict[str, Any]") -> None:
    (host,) = from_text(f"box {variables}\n", "ini")
    assert (host.scheme, host.options, host.problem) == (scheme, fields, "")
    connector = host.connector()
    assert (connector.scheme, connector.name) == (scheme, "box")


def test_variables_without_a_meaning_here_are_left_alone() -> None:
    hosts = from_text("a ansible_pipelining=true ansible_remote_tmp=/tmp/x ansible_become=no\n", "ini")
    assert specs(hosts) == {"a": {"hostname": "a", "name": "a"}}


@pytest.mark.parametrize(
    ("text", "form", "found"),
    [
        ("[web\na b\n", "ini", "f:2: 'b' is no variable of a: NAME=VALUE"),
        ("[web:kids]\n", "ini", "f:1: [web:kids] is none of :vars and :children"),
        ("[web:vars]\nx\n", "ini", "f:2: 'x' is no variable: NAME=VALUE"),
        ("a x='1\n", "ini", "f:1: No closing quotation"),
        ("[a:children]\nb\n[b:children]\na\n[a]\nx\n", "ini", "f: the group a is a child of itself, by way of a and b"),
        ("{", "json", "f:1: it is no JSON: Expecting property name enclosed in double quotes"),
        ("[]", "json", "f: what `ansible-inventory --list` prints is a mapping, not []"),
        ('{"web": 3}', "json", "f: the group web is a mapping or a list of hosts, not 3"),
        ("- a\n", "yaml", "f: an inventory is a mapping of groups, not list"),
        ("web: {host: {}}\n", "yaml", "f: the group web has hosts, vars and children, not {'host': {}}"),
        ("web: {hosts: {a: 3}}\n", "yaml", "f: the variables of a are no mapping: 3"),
    ],
)
def test_what_is_no_ansible_inventory_is_said_with_its_place(text: str, form: str, found: str) -> None:
    with pytest.raises(InventoryError) as caught:
        from_text(text, form, "f")
    assert str(caught.value) == found


def test_yaml_that_is_none_is_an_error() -> None:
    with pytest.raises(InventoryError, match=r"^f: it is no YAML: "):
        from_text("a: [", "yaml", "f")


# -- an ssh configuration


def write_ssh_config(folder: Path) -> Path:
    """Write a configuration with an included file, and return it."""
    (folder / "more").write_text("Host db1\n  Port 2222\nHost *.example\n")
    path = folder / "ssh_config"
    path.write_text(
        f"Include {folder}/mor[e]\n# Host commented\n"
        'Host=web1 "web2"\n  User me\nHOST web3 !web4 web? *\n  HostName 10.0.0.3\n'
        "Match host web1\n  Port 1\nHostName web9\n"
    )
    return path


def test_the_hosts_of_an_ssh_configuration_are_its_names_without_wildcards(tmp_path: Path) -> None:
    path = write_ssh_config(tmp_path)
    hosts = load(path)
    assert list(hosts.hosts) == ["db1", "web1", "web2", "web3"]
    assert [host.connector().spec()["ssh_args"] for host in hosts] == [["-F", str(path)]] * 4


def test_what_ssh_makes_of_such_a_host_is_asked_of_ssh(tmp_path: Path) -> None:
    parts.required_program("ssh", "openssh-client")
    details = load(write_ssh_config(tmp_path)).hosts["db1"].ssh_details()
    assert (details["hostname"], details["port"]) == ("10.0.0.3", "2222")


def test_an_ssh_configuration_that_includes_itself_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(f"Host a\nInclude {path}\n")
    with pytest.raises(InventoryError, match=r"Include goes deeper than 16 files$"):
        load(path)


def test_ssh_that_fails_says_why(tmp_path: Path) -> None:
    parts.required_program("ssh", "openssh-client")
    path = tmp_path / "config"
    path.write_text("Host a\n  NoSuchOption x\n")
    with pytest.raises(InventoryError, match=r"NoSuchOption|nosuchoption"):
        load(path).hosts["a"].ssh_details()


# -- where it comes from


@pytest.mark.parametrize(
    ("name", "text", "form"),
    [
        ("hosts.yml", "all: {hosts: {a: }}", "yaml"),
        ("hosts.json", '{"all": {"hosts": ["a"]}}', "json"),
        ("hosts", '{"all": {"hosts": ["a"]}}', "json"),
        ("hosts", "[web]\na\n", "ini"),
        ("hosts", "a ansible_port=3\n", "ini"),
        ("hosts", "a\n", "plain"),
        ("hosts.txt", "a[1-2]\n", "plain"),
    ],
)
def test_the_form_of_a_file_is_seen_by_its_name_and_its_text(tmp_path: Path, name: str, text: str, form: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    assert inventory.form_of(path.suffix, text) == form
    assert len(load(path)) == (2 if "a[" in text else 1)


def test_a_function_and_an_iterable_are_inventories_too() -> None:
    own = Host("own", {"hostname": "10.0.0.1"})
    assert list(load(["web[1-2]", own]).hosts) == ["web1", "web2", "own"]
    assert list(load(lambda: ["web[1-2]", own]).hosts) == ["web1", "web2", "own"]
    assert load(load([own])).hosts == {"own": own}


@pytest.mark.parametrize(
    ("source", "form", "found"),
    [
        ([3], "", "an inventory holds names, ranges, URLs and Hosts, not 3"),
        ([], "", "the inventory: there is no host in it"),
        (
            "/nonexistent/hosts",
            "",
            "the inventory /nonexistent/hosts can't be read: [Errno 2] No such file or directory: ",
        ),
        ("/nonexistent/config", "", "the inventory /nonexistent/config can't be read: there is no such file"),
        ("x", "toml", "no form of inventory is called 'toml'; there are plain, ssh, ini, yaml, json"),
    ],
)
def test_what_is_no_inventory_is_an_error(source: Any, form: str, found: str) -> None:
    with pytest.raises(InventoryError) as caught:
        load(source, form)
    assert str(caught.value).startswith(found)


def test_a_name_that_the_inventory_lacks_is_an_error_that_names_the_groups() -> None:
    with pytest.raises(InventoryError) as caught:
        from_text("[web]\na\n", "ini").select("wbe")
    assert str(caught.value) == "the inventory has no host and no group 'wbe'; its groups are all, web"


def test_a_host_is_a_target_whose_own_options_come_first() -> None:
    host = Host("web", {"hostname": "10.0.0.1", "username": "own"})
    (target,) = read_targets([host], {"username": "all", "port": 23})
    assert isinstance(target.connector, Connector)
    spec = target.connector.spec()
    assert (target.name, spec["name"], spec["username"], spec["port"]) == ("web", "web", "own", 23)
