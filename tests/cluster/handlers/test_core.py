"""What ApiVersions and DescribeCluster say."""

from __future__ import annotations

import pytest

from cluster.handlers import core
from pykafkacore.protocol.apis import api
from pykafkacore.protocol.errors import ApiError, Code
from tests.cluster.handlers.fake import FakeContext, call


def versions(api_version: int, listener: str = "PLAINTEXT", **fields: object):
    named = {"client_software_name": "tests", "client_software_version": "1.0"} if api_version >= 3 else {}
    return core.api_versions(FakeContext(), call("ApiVersions", api_version, listener, **{**named, **fields}))


def test_an_unknown_version_of_api_versions_is_answered_in_version_0_with_its_own_row() -> None:
    answer = api("ApiVersions").response.decode(core.unsupported_api_versions(FakeContext(), "PLAINTEXT"), 0)
    assert answer.error_code == Code.UNSUPPORTED_VERSION
    assert [(row.api_key, row.min_version, row.max_version) for row in answer.api_keys] == [(18, 0, 5)]


@pytest.mark.parametrize("name", ["", "-a", "a-", ".", "a b", "a_b", "é"])
def test_a_software_name_must_be_plain(name: str) -> None:
    answer = versions(3, client_software_name=name)
    assert (answer.error_code, answer.api_keys) == (Code.INVALID_REQUEST, [])


@pytest.mark.parametrize("name", ["a", "a.b", "a-b.c", "apache-kafka-java", "1"])
def test_a_plain_software_name_is_taken(name: str) -> None:
    assert versions(3, client_software_name=name).error_code == Code.NONE


def test_features_that_may_be_off_are_hidden_from_old_clients() -> None:
    old, new = versions(3), versions(4)
    assert all(row.min_version > 0 for row in old.supported_features)
    assert any(row.min_version == 0 for row in new.supported_features)


def test_features_at_level_0_are_not_finalized() -> None:
    assert [row.name for row in versions(4).finalized_features] == ["group.version", "metadata.version"]


def test_produce_is_offered_from_version_0_to_clients() -> None:
    [produce] = [row for row in versions(4).api_keys if row.api_key == 0]
    assert produce.min_version == 0


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({}, Code.NONE),
        ({"cluster_id": "test-cluster", "node_id": 1}, Code.NONE),
        ({"cluster_id": "test-cluster", "node_id": 7}, Code.REBOOTSTRAP_REQUIRED),
        ({"cluster_id": "other", "node_id": 1}, Code.REBOOTSTRAP_REQUIRED),
        ({"cluster_id": "", "node_id": 1}, Code.REBOOTSTRAP_REQUIRED),
        ({"cluster_id": "test-cluster"}, Code.INVALID_REQUEST),
        ({"node_id": 1}, Code.INVALID_REQUEST),
    ],
)
def test_a_client_that_reached_somebody_else_is_told(fields: dict[str, object], code: Code) -> None:
    assert versions(5, **fields).error_code == code


def test_a_controller_does_not_mind_whom_the_client_meant() -> None:
    assert versions(5, "CONTROLLER", cluster_id="other", node_id=9).error_code == Code.NONE
    assert versions(5, "CONTROLLER", node_id=9).error_code == Code.INVALID_REQUEST


def test_describe_cluster_lists_brokers_that_are_not_fenced() -> None:
    ctx = FakeContext(broker_count=2)
    ctx.harness.heartbeat(2, fence=True)
    answer = core.describe_cluster(ctx, call("DescribeCluster", 1))
    assert [(row.broker_id, row.host, row.port) for row in answer.brokers] == [(1, "host1", 9092)]
    answer = core.describe_cluster(ctx, call("DescribeCluster", 2, include_fenced_brokers=True))
    assert [(row.broker_id, row.is_fenced) for row in answer.brokers] == [(1, False), (2, True)]


@pytest.mark.parametrize(
    ("listener", "api_version", "kind", "code"),
    [
        ("PLAINTEXT", 1, 2, Code.MISMATCHED_ENDPOINT_TYPE),
        ("PLAINTEXT", 1, 3, Code.UNSUPPORTED_ENDPOINT_TYPE),
        ("CONTROLLER", 1, 1, Code.MISMATCHED_ENDPOINT_TYPE),
        ("CONTROLLER", 0, 1, Code.INVALID_REQUEST),
    ],
)
def test_describe_cluster_refuses_the_wrong_kind_of_endpoint(listener: str, api_version: int, kind: int, code: Code) -> None:
    with pytest.raises(ApiError) as caught:
        core.describe_cluster(FakeContext(), call("DescribeCluster", api_version, listener, endpoint_type=kind))
    assert caught.value.code == code
