"""connect/__init__.py: URLs and what they mean, specs there and back, and what is refused."""

import sys
from pathlib import Path
from typing import Any

import pytest

from plasmid.connect import SCHEMES, connector_class, from_spec, options, parse, parse_chain, travelling_spec
from plasmid.connect.become import Doas, Su, Sudo
from plasmid.connect.connector import Connector, split_user
from plasmid.connect.local import Local
from plasmid.connect.ssh import Ssh
from plasmid.connect.supply import OPTIONS

OWN = ", ".join(sorted(SCHEMES))

SSH: "list[tuple[str, dict[str, Any]]]" = [
    ("web1", {"hostname": "web1"}),
    ("joe@web1", {"hostname": "web1", "username": "joe"}),
    ("web1:2222", {"hostname": "web1", "port": 2222}),
    ("ssh://web1", {"hostname": "web1"}),
    ("ssh://web1/", {"hostname": "web1"}),
    ("ssh://joe@web1:2222", {"hostname": "web1", "username": "joe", "port": 2222}),
    ("ssh://joe@corp@web1", {"hostname": "web1", "username": "joe@corp"}),
    ("ssh://[::1]", {"hostname": "::1"}),
    ("ssh://[fe80::1%eth0]:22", {"hostname": "fe80::1%eth0", "port": 22}),
    ("fe80::1", {"hostname": "fe80::1"}),
]


# U1
@pytest.mark.parametrize(("url", "fields"), SSH)
def test_a_url_of_a_host_is_an_ssh_connector(url: str, fields: "dict[str, Any]") -> None:
    connector = parse(url)
    assert type(connector) is Ssh
    assert connector.spec() == Ssh(**fields).spec()


@pytest.mark.parametrize("url", ["local:", "local://", "local:///"])
def test_local_is_this_machine(url: str) -> None:
    assert parse(url).spec() == Local().spec()


@pytest.mark.parametrize(
    ("url", "connector"),
    [
        ("sudo:", Sudo()),
        ("sudo://", Sudo("root")),
        ("sudo://@", Sudo("root")),
        ("sudo://joe@", Sudo("joe")),
        ("su://joe", Su("joe")),
        ("doas://joe@/", Doas("joe")),
    ],
)
def test_a_url_of_another_user_of_this_machine(url: str, connector: Connector) -> None:  # U1
    parsed = parse(url)
    assert (type(parsed), parsed.spec(), parsed.target) == (type(connector), connector.spec(), connector.target)
    assert connector.target in ("sudo://root@", "sudo://joe@", "su://joe@", "doas://joe@")


def test_options_are_given_to_the_connector_and_outdo_the_url() -> None:
    connector = parse("ssh://web1:22", port=23, python_path="python3.9")
    assert connector.spec() == Ssh("web1", port=23, python_path="python3.9").spec()
    assert parse("local:", name="x").name == "x"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "the host name for ssh is empty"),
        ("ssh://", "the host name for ssh is empty"),
        ("ssh://@web1", "the user name for ssh is empty"),
        ("-oProxyCommand=id", "the host name for ssh must not start with '-'; it is '-oProxyCommand=id'"),
        ("ssh://-v@web1", "the user name for ssh must not start with '-'; it is '-v'"),
        ("ssh://joe:secret@web1", "a URL must not hold a password: joe:...@web1"),
        ("ssh://web1:", "'ssh://web1:': there is no port after the colon"),
        ("ssh://web1:ssh", "'ssh://web1:ssh': 'ssh' is no port number"),
        ("ssh://web1:70000", "port must be 1 to 65535; it is 70000"),
        ("ssh://web1/etc", "'ssh://web1/etc': a path makes no sense here"),
        ("ssh://web1:22/etc", "'ssh://web1:22/etc': '22/etc' is no port number"),
        ("ssh://[::1", "'ssh://[::1': an IPv6 address is written [::1] or [::1]:22"),
        ("ssh://[::1]22", "'ssh://[::1]22': an IPv6 address is written [::1] or [::1]:22"),
        ("local://web1", "'local://web1': `local:` takes nothing after it"),
        ("sudo://joe:secret@", "a URL must not hold a password: joe:...@"),
        ("sudo://joe@web1", "'sudo://joe@web1': it leads to a user of the same machine, so nothing may follow the @"),
        ("su://-c@", "the user name for su must not start with '-'; it is '-c'"),
        ("telnet://web1", f"no way to connect is called 'telnet'; there are {OWN}"),
        ("telnet:", f"no way to connect is called 'telnet'; there are {OWN}"),
    ],
)
def test_a_url_that_means_nothing_is_refused_by_name(url: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse(url)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "connector",
    [
        Local(),
        Local(name="a", python_path=["b", "c"], connect_timeout=1.5),
        Ssh("web1"),
        Ssh("web1", "joe", 22, "/key", "ignore", "/bin/ssh", ["-v"], True, 1, 2, "n", ["py"], 9),
        Sudo(),
        Sudo("joe", None, "/bin/sudo", ["-k"], "n", ["py"], 9),
        Su("joe", None, "/bin/su", ["-m"], "n", ["py"], 9),
        Doas("joe", None, "/bin/doas", ["-L"], "n", ["py"], 9),
    ],
)
def test_a_spec_makes_the_same_connector_again(connector: Connector) -> None:
    again = from_spec(connector.spec())
    assert type(again) is type(connector)
    assert again.spec() == connector.spec()
    assert again.argv("text", "name") == connector.argv("text", "name")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({}, f"no way to connect is called ''; there are {OWN}"),
        ({"scheme": "x"}, f"no way to connect is called 'x'; there are {OWN}"),
        ({"scheme": "local", "b": 1, "a": 2}, "a connector of kind 'local' has no parameter a, b"),
    ],
)
def test_a_spec_that_fits_no_connector_is_refused(spec: "dict[str, Any]", message: str) -> None:
    with pytest.raises(ValueError) as caught:
        from_spec(spec)
    assert str(caught.value) == message


def test_every_scheme_names_its_class() -> None:
    assert [connector_class(scheme).scheme for scheme in SCHEMES] == list(SCHEMES)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_options_that_editors_know_are_the_parameters_of_the_connector(scheme: str) -> None:
    # What a method's signature asks for by itself isn't among its options.
    known = getattr(options, f"{scheme.capitalize()}Options").__annotations__
    assert {*known, *REQUIRED.get(scheme, ())} - {"via", *OPTIONS} == set(connector_class(scheme).PARAMETERS)


REQUIRED = {
    "ssh": ["hostname"],
    "sudo": ["username"],
    "su": ["username"],
    "doas": ["username"],
    "docker": ["container"],
    "podman": ["container"],
    "kubectl": ["pod"],
    "lxc": ["container"],
    "nspawn": ["folder"],
    "nsenter": ["pid"],
}


@pytest.mark.parametrize(
    ("rest", "parts"), [("web", (None, "web")), ("joe@web", ("joe", "web")), ("@web", ("", "web")), ("", (None, ""))]
)
def test_the_user_of_a_url_is_what_stands_before_the_last_at(rest: str, parts: "tuple[str | None, str]") -> None:
    assert split_user(rest, rest) == parts


# U1
@pytest.mark.parametrize("url", ["ssh://joe@a|ssh://b:23|local:", "joe@a | b:23 | local:"])
def test_a_chain_of_urls_is_one_connector_after_the_other(url: str) -> None:
    connectors = parse_chain(url, name="last")
    assert [one.spec() for one in connectors] == [
        one.spec() for one in (Ssh("a", "joe"), Ssh("b", port=23), Local("last"))
    ]


@pytest.mark.parametrize("url", ["", "|", "a|", "|a", "a||b"])
def test_a_chain_with_nothing_in_a_place_is_refused(url: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_chain(url)
    assert str(caught.value) == "the host name for ssh is empty"


LAB = """
from plasmid.connect.connector import Connector
from plasmid.connect.local import Local

class Lab(Local):
    scheme = "lab"

    @classmethod
    def url_fields(cls, url, rest):
        return {"name": rest}
"""
LAB_POINTS = """
[plasmid.connectors]
lab = lab_plasmid:Lab
far = lab_plasmid:Lab
text = lab_plasmid:LAB
ssh = lab_plasmid:Lab
"""


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a package with connectors of its own."""
    (tmp_path / "lab_plasmid.py").write_text(LAB + "LAB = 'no class'\n")
    info = tmp_path / "lab_plasmid-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lab-plasmid\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(LAB_POINTS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "lab_plasmid", raising=False)


@pytest.mark.usefixtures("lab")
def test_a_package_brings_ways_of_its_own_by_entry_points() -> None:  # U1
    connector = parse("lab://bench1", python_path="py")
    assert (type(connector).__name__, connector.name, connector.python_path) == ("Lab", "bench1", "py")
    assert type(parse("ssh://web1")) is Ssh, "a way of ours can't be replaced"


@pytest.mark.usefixtures("lab")
def test_an_entry_point_that_leads_to_something_else_is_refused() -> None:
    for scheme, message in {
        "far": "the entry point 'far' of plasmid.connectors leads to the connector for 'lab'",
        "text": "the entry point 'text' of plasmid.connectors leads to 'no class', which is no Connector",
    }.items():
        with pytest.raises(TypeError) as caught:
            parse(f"{scheme}://x")
        assert str(caught.value) == message
    with pytest.raises(ValueError) as unknown:
        parse("telnet://x")
    known = ", ".join(sorted([*SCHEMES, "far", "lab", "text"]))
    assert str(unknown.value) == f"no way to connect is called 'telnet'; there are {known}"


@pytest.mark.usefixtures("lab")
def test_another_context_is_asked_only_for_what_it_finds_in_its_own_table() -> None:
    with pytest.raises(ValueError) as caught:
        travelling_spec(parse("lab://bench1"))
    assert str(caught.value) == (
        f"local can't be started via another context: over there only the ways that come with Plasmid are known ({OWN})"
    )
    with pytest.raises(ValueError) as far:
        from_spec({"scheme": "lab", "name": "bench1"})
    assert str(far.value) == f"no way to connect is called 'lab'; there are {OWN}"
    assert travelling_spec(Ssh("web1")) == Ssh("web1").spec()
