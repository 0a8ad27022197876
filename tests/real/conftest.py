"""Routers and contexts for the real tests. Each test has its own, so that each also proves that nothing is left."""

from collections.abc import Iterator
from typing import Any

import pytest

import plasmid
from tests.real import sshd

# How a test reaches its far side: the same tests hold for all of them.
LOCAL, SSH, DEEP = "local", "ssh", "deep"
ways = pytest.mark.parametrize("way", [LOCAL, SSH, DEEP])
# For what doesn't depend on the way there.
one_way = pytest.mark.parametrize("way", [LOCAL])


@pytest.fixture
def router() -> "Iterator[plasmid.Router]":
    """Give a Router that is closed after the test."""
    with plasmid.Router() as router:
        yield router


@pytest.fixture
def context(request: pytest.FixtureRequest, router: plasmid.Router, way: str) -> plasmid.Context:
    """Give a context called `far`. deep: by ssh from a local context, and two levels below the root at that."""
    return connect(request, router, way, "far")


def connect(
    request: pytest.FixtureRequest, router: plasmid.Router, way: str, name: str, **options: Any
) -> plasmid.Context:
    """Return a new context, reached in that way. options: further ones for router.local() or router.ssh()."""
    if way == LOCAL:
        return router.local(name=name, **options)
    client: sshd.Client = request.getfixturevalue("ssh_client")
    above = router.local(name="between") if way == DEEP else None
    return router.ssh(client.hostname, ssh_args=client.ssh_args, name=name, via=above, **options)
