"""One Apache broker and one Java process for all the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import apache
from tests.support.apache import ApacheKafka
from tests.tools.kit import KINDS, ApacheTools, Pair, running


@pytest.fixture(scope="session")
def theirs() -> Iterator[ApacheTools]:
    if (reason := apache.missing()) is not None:
        pytest.skip(reason)
    tools = ApacheTools()
    try:
        yield tools.wait_until_ready()
    finally:
        tools.stop()


@pytest.fixture(scope="session")
def broker(theirs: ApacheTools, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApacheKafka]:
    kafka = ApacheKafka(tmp_path_factory.mktemp("apache"))
    kafka.format()
    with kafka:
        yield kafka


@pytest.fixture(scope="session")
def both(theirs: ApacheTools, broker: ApacheKafka) -> Pair:
    return Pair(theirs, broker)


@pytest.fixture(scope="module", params=KINDS)
def either(
    request: pytest.FixtureRequest, theirs: ApacheTools, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pair]:
    """Both tools, on Apache's broker and on ours."""
    with running(request.param, tmp_path_factory.mktemp("either")) as broker:
        yield Pair(theirs, broker)
