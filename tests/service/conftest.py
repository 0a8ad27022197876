"""What the tests of services share."""

from collections.abc import Iterator
from typing import Any

import pytest

import plasmid
from plasmid.service import Service
from plasmid.testing import ANSWER_TIMEOUT_S
from tests.service.live import Kinds
from tests.service.stage import Stage, Worker


@pytest.fixture
def stages() -> "Iterator[list[Stage]]":
    """Close every stage that a test puts here."""
    made: list[Stage] = []
    yield made
    for stage in made:
        for service in stage.services:
            if isinstance(service, Worker):
                service.go.release(2000)
        stage.pool.close()


@pytest.fixture
def new_stage(stages: "list[Stage]") -> Any:
    def make(size: int = 1, *classes: "type[Service]") -> Stage:
        stages.append(Stage(size, *classes))
        return stages[-1]

    return make


@pytest.fixture
def router() -> "Iterator[plasmid.Router]":
    """Give a real root, which calls itself."""
    with plasmid.Router() as router:
        yield router


@pytest.fixture
def kinds(router: plasmid.Router) -> "Iterator[Kinds]":
    """Give a service with methods of every kind, served by one thread."""
    kinds = Kinds(router)
    with plasmid.Pool(router, [kinds], size=1):
        yield kinds
        kinds.go.release(100)


@pytest.fixture
def client(router: plasmid.Router, kinds: Kinds) -> Kinds:
    """Give a client of that service."""
    return router.myself().service(Kinds, timeout=ANSWER_TIMEOUT_S)
