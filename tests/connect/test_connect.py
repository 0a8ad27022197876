"""connect/__init__.py: URLs and what they mean, specs there and back, and what is refused."""

from typing import Any

import pytest

from plasmid.connect import SCHEMES, connector_class, from_spec, parse
from plasmid.connect.connector import Connector
from plasmid.connect.local import Local
from plasmid.connect.ssh import Ssh

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
        ("telnet://web1", "no way to connect is called 'telnet'; there are local, ssh"),
        ("telnet:", "no way to connect is called 'telnet'; there are local, ssh"),
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
        ({}, "no way to connect is called ''; there are local, ssh"),
        ({"scheme": "x"}, "no way to connect is called 'x'; there are local, ssh"),
        ({"scheme": "local", "b": 1, "a": 2}, "a connector of kind 'local' has no parameter a, b"),
    ],
)
def test_a_spec_that_fits_no_connector_is_refused(spec: "dict[str, Any]", message: str) -> None:
    with pytest.raises(ValueError) as caught:
        from_spec(spec)
    assert str(caught.value) == message


def test_every_scheme_names_its_class() -> None:
    assert [connector_class(scheme).scheme for scheme in SCHEMES] == list(SCHEMES)
