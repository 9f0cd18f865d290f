"""DescribeConfigs, ListConfigResources, and what a broker adds to the controller's word on changes."""

from __future__ import annotations

import pytest

from cluster.handlers import configs
from pykafkacore.protocol.apis import api
from pykafkacore.protocol.errors import ApiError, Code
from tests.cluster.handlers.fake import FakeContext, call, done

DESCRIBE = api("DescribeConfigs").request
TOPIC, BROKER, LOGGER, METRICS, GROUP = 2, 4, 8, 16, 32
TOPIC_SOURCE, STATIC_SOURCE, DEFAULT_SOURCE, METRICS_SOURCE = 1, 4, 5, 7


@pytest.fixture
def ctx() -> FakeContext:
    ctx = FakeContext()
    ctx.harness.create("one", configs={"retention.ms": "1000"})
    return ctx


def described(ctx: FakeContext, kind: int, name: str, keys: list[str] | None = None, **fields: bool):
    resource = DESCRIBE.DescribeConfigsResource(resource_type=kind, resource_name=name, configuration_keys=keys)
    [told] = configs.describe_configs(ctx, call("DescribeConfigs", 4, resources=[resource], **fields)).results
    return told


def test_a_key_is_told_with_its_source_and_where_else_it_stands() -> None:
    ctx = FakeContext(message_max_bytes="5000")
    ctx.harness.create("one", configs={"max.message.bytes": "1000"})
    [row] = described(ctx, TOPIC, "one", ["max.message.bytes", "no.such.key"], include_synonyms=True).configs
    assert (row.value, row.config_source) == ("1000", TOPIC_SOURCE)
    assert [(each.name, each.source) for each in row.synonyms] == [
        ("max.message.bytes", TOPIC_SOURCE), ("message.max.bytes", STATIC_SOURCE), ("message.max.bytes", DEFAULT_SOURCE),
    ]  # fmt: skip


def test_no_keys_are_all_of_them(ctx) -> None:
    everything = [row.name for row in described(ctx, TOPIC, "one").configs]
    assert [row.name for row in described(ctx, TOPIC, "one", []).configs] == everything
    assert len(everything) > 30


def test_documentation_and_synonyms_come_when_asked_for(ctx) -> None:
    [row] = described(ctx, TOPIC, "one", ["retention.ms"]).configs
    assert (row.synonyms, row.documentation) == ([], None)
    [row] = described(ctx, TOPIC, "one", ["retention.ms"], include_documentation=True).configs
    assert row.documentation


@pytest.mark.parametrize(
    ("kind", "name", "code"),
    [
        (TOPIC, "no-such", Code.UNKNOWN_TOPIC_OR_PARTITION),
        (TOPIC, "no such", Code.INVALID_TOPIC_EXCEPTION),
        (BROKER, "9", Code.INVALID_REQUEST),
        (BROKER, "x", Code.INVALID_REQUEST),
        (GROUP, "", Code.INVALID_REQUEST),
        (METRICS, "", Code.INVALID_REQUEST),
        (LOGGER, "1", Code.INVALID_REQUEST),
        (3, "x", Code.INVALID_REQUEST),
    ],
)
def test_a_resource_that_is_none_is_refused_alone(ctx, kind: int, name: str, code: Code) -> None:
    told = described(ctx, kind, name)
    assert (told.error_code, told.configs) == (code, [])
    assert told.error_message


def test_a_metrics_subscription_has_defaults_until_it_is_set(ctx) -> None:
    rows = {row.name: (row.value, row.config_source) for row in described(ctx, METRICS, "some").configs}
    assert rows["interval.ms"] == ("300000", DEFAULT_SOURCE)
    change(ctx, "IncrementalAlterConfigs", METRICS, "some", "interval.ms", "1000")
    rows = {row.name: (row.value, row.config_source) for row in described(ctx, METRICS, "some").configs}
    assert rows["interval.ms"] == ("1000", METRICS_SOURCE)


def change(ctx: FakeContext, name: str, kind: int, resource: str, key: str, value: str, times: int = 1):
    message = api(name).request
    row = message.AlterConfigsResource(
        resource_type=kind, resource_name=resource, configs=[message.AlterableConfig(name=key, value=value)]
    )
    return done(configs.alter_configs(ctx, call(name, 1, resources=[row] * times))).responses


@pytest.mark.parametrize("name", ["AlterConfigs", "IncrementalAlterConfigs"])
def test_a_broker_that_is_not_registered_is_a_wrong_request(ctx, name: str) -> None:
    assert [row.error_code for row in change(ctx, name, BROKER, "9", "message.max.bytes", "9")] == [Code.INVALID_REQUEST]


def test_a_resource_that_stands_twice_is_refused_twice(ctx) -> None:
    rows = change(ctx, "IncrementalAlterConfigs", TOPIC, "one", "retention.ms", "9", times=2)
    assert [row.error_code for row in rows] == [Code.INVALID_REQUEST] * 2


def listed(ctx: FakeContext, api_version: int, *kinds: int) -> list[tuple[int, str]]:
    answer = configs.list_config_resources(ctx, call("ListConfigResources", api_version, resource_types=list(kinds)))
    return [(row.resource_type, row.resource_name) for row in answer.config_resources]


def test_resources_are_listed_by_kind_and_each_kind_once(ctx) -> None:
    assert listed(ctx, 1, TOPIC, TOPIC) == [(TOPIC, "one")]
    assert listed(ctx, 1, BROKER, TOPIC) == [(BROKER, "1"), (TOPIC, "one")]
    assert {kind for kind, _ in listed(ctx, 1)} == {TOPIC, BROKER, LOGGER}
    assert listed(ctx, 0) == []


def test_a_kind_that_cannot_be_listed_is_an_unsupported_version(ctx) -> None:
    with pytest.raises(ApiError) as caught:
        listed(ctx, 1, TOPIC, 99)
    assert caught.value.code == Code.UNSUPPORTED_VERSION
