"""What the tests of services share."""

from collections.abc import Iterator
from typing import Any

import pytest

from plasmid.service import (
    Service,
)
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
