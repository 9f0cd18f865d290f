from __future__ import annotations

import pytest

from pykafkacore.protocol.apis import APIS, BROKER, CONTROLLER, Api, advertised, api
from pykafkacore.protocol.notation import parse_versions
from tests.protocol.oracle import definitions, needs_oracle, table

CURRENT = [row for row in APIS if not row.is_withdrawn]


@needs_oracle
def test_the_table_says_what_a_running_kafka_says() -> None:
    ours = [
        {
            "key": row.key,
            "name": row.name,
            "oldest": row.oldest,
            "latest": row.latest,
            "cluster_action": row.cluster_action,
            "forwardable": row.forwardable,
        }
        for row in APIS
    ]
    assert ours == table("apis")


@needs_oracle
@pytest.mark.parametrize("row", CURRENT, ids=lambda row: row.name)
def test_listeners_and_flexible_versions_are_those_of_the_definition(row: Api) -> None:
    definition = definitions()[f"{row.name}Request"]
    letters = {"broker": BROKER, "controller": CONTROLLER}
    assert set(row.listeners) == {letters[name] for name in definition["listeners"]}
    assert parse_versions(definition["validVersions"]) == (row.oldest, row.latest)
    assert bool(definition.get("latestVersionUnstable")) == (row.unstable_from <= row.latest)


@pytest.mark.parametrize("row", CURRENT, ids=lambda row: row.name)
def test_both_messages_of_an_api_agree_with_its_row(row: Api) -> None:
    for message in (row.request, row.response):
        assert message.api_key == row.key
        assert message.versions == (row.oldest, row.latest)
        assert message.flexible_from == row.flexible_from or not row.is_flexible(row.latest)


def test_produce_is_advertised_from_0_to_brokers_clients_but_not_served_below_3() -> None:
    assert (0, 0, 13) in advertised(BROKER)
    assert not api("Produce").serves(2)
    assert api("Produce").serves(3)


def test_an_unstable_version_is_advertised_only_on_demand() -> None:
    assert (22, 0, 5) in advertised(BROKER)
    assert (22, 0, 6) in advertised(BROKER, unstable=True)
    assert not api("InitProducerId").serves(6)


def test_a_listener_advertises_only_its_own_apis() -> None:
    broker, controller = ({key for key, _, _ in advertised(kind)} for kind in (BROKER, CONTROLLER))
    assert {0, 3, 18} <= broker and 52 not in broker
    assert {1, 18, 52} <= controller and 0 not in controller
    assert not {4, 5, 6, 7} & (broker | controller)


def test_a_withdrawn_api_serves_no_version_and_has_no_schema() -> None:
    row = api("LeaderAndIsr")
    assert not any(row.serves(version) for version in range(-1, 10))
    with pytest.raises(LookupError, match="withdrawn"):
        row.request  # noqa: B018


def test_the_answer_to_api_versions_always_has_the_oldest_header() -> None:
    assert api("ApiVersions").request_header_version(3) == 2
    assert api("ApiVersions").response_header_version(3) == 0
    assert api("Metadata").response_header_version(9) == 1
    assert api("Metadata").response_header_version(8) == 0
