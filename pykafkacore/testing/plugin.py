"""The pytest plugin: `kafka_broker` (one for the session) and `kafka_topic` (a fresh name for each test)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(scope="session")
def kafka_broker() -> Iterator[Any]:
    """A running broker; `kafka_broker.bootstrap_servers` is where."""
    from pykafkacore.testing import Broker

    with Broker() as broker:
        yield broker


@pytest.fixture
def kafka_topic(request: pytest.FixtureRequest) -> str:
    """A topic name of this test's own. The topic is made when it is first used (auto.create.topics.enable)."""
    import itertools

    counter = request.session.stash.setdefault(_COUNTER, itertools.count())
    name = "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in request.node.name)
    return f"{name[:200]}-{next(counter)}"


_COUNTER: pytest.StashKey[Any] = pytest.StashKey()
