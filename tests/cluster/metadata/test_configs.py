from __future__ import annotations

from typing import Any

import pytest

from cluster.metadata.controller_state import Policies
from pykafkacore.policies import PolicyViolation
from pykafkacore.protocol.apis import api
from pykafkacore.protocol.errors import Code
from tests.cluster.metadata.harness import Harness

TOPIC, BROKER, LOGGER, METRICS, GROUP = 2, 4, 8, 16, 32
SET, DELETE, APPEND, SUBTRACT = 0, 1, 2, 3


def harness_with_topic(policies: Policies | None = None) -> Harness:
    harness = Harness(1, policies)
    harness.made("t")
    return harness


def test_values_are_set_and_deleted_one_by_one() -> None:
    harness = harness_with_topic()
    assert harness.set_config(TOPIC, "t", ("retention.ms", SET, "5"), ("segment.ms", SET, "9")).error_code == 0
    assert dict(harness.image.configs[TOPIC, "t"]) == {"retention.ms": "5", "segment.ms": "9"}
    assert harness.set_config(TOPIC, "t", ("retention.ms", DELETE, None)).error_code == 0
    assert dict(harness.image.configs[TOPIC, "t"]) == {"segment.ms": "9"}


def test_lists_are_added_to_and_taken_from_beginning_with_the_default() -> None:
    harness = harness_with_topic()
    harness.set_config(TOPIC, "t", ("cleanup.policy", APPEND, "compact"))
    assert harness.image.configs[TOPIC, "t"]["cleanup.policy"] == "delete,compact"
    harness.set_config(TOPIC, "t", ("cleanup.policy", SUBTRACT, "delete"))
    assert harness.image.configs[TOPIC, "t"]["cleanup.policy"] == "compact"


def test_what_does_not_change_is_not_written() -> None:
    harness = harness_with_topic()
    harness.set_config(TOPIC, "t", ("retention.ms", SET, "5"))
    before = len(harness.log)
    assert harness.set_config(TOPIC, "t", ("retention.ms", SET, "5")).error_code == 0
    assert len(harness.log) == before


@pytest.mark.parametrize(
    ("resource", "change", "code"),
    [
        ((TOPIC, "none"), ("retention.ms", SET, "5"), Code.UNKNOWN_TOPIC_OR_PARTITION),
        ((TOPIC, "t"), ("no.such.key", SET, "5"), Code.INVALID_CONFIG),
        ((TOPIC, "t"), ("retention.ms", SET, "x"), Code.INVALID_CONFIG),
        ((TOPIC, "t"), ("retention.ms", SET, None), Code.INVALID_REQUEST),
        ((TOPIC, "t"), ("retention.ms", APPEND, "5"), Code.INVALID_CONFIG),
        ((TOPIC, "t"), ("retention.ms", 9, "5"), Code.INVALID_REQUEST),
        ((BROKER, "1"), ("log.cleaner.threads", SET, "none"), Code.INVALID_REQUEST),
        ((BROKER, "1"), ("node.id", SET, "3"), Code.INVALID_REQUEST),
        ((BROKER, "7"), ("log.cleaner.threads", SET, "2"), Code.BROKER_ID_NOT_REGISTERED),
        ((BROKER, "x"), ("log.cleaner.threads", SET, "2"), Code.INVALID_REQUEST),
        ((BROKER, "1"), ("my.plugins.own.key", SET, "2"), Code.NONE),
        ((BROKER, ""), ("log.cleaner.threads", SET, "2"), Code.NONE),
        ((LOGGER, "1"), ("root", SET, "INFO"), Code.INVALID_REQUEST),
        ((METRICS, "sub"), ("interval.ms", SET, "1000"), Code.NONE),
        ((METRICS, ""), ("interval.ms", SET, "1000"), Code.INVALID_REQUEST),
        ((GROUP, "g"), ("consumer.session.timeout.ms", SET, "x"), Code.INVALID_CONFIG),
        ((99, "t"), ("retention.ms", SET, "5"), Code.INVALID_REQUEST),
    ],
)
def test_each_resource_has_its_rules(
    resource: tuple[int, str], change: tuple[str, int, str | None], code: Code
) -> None:
    result = harness_with_topic().set_config(*resource, change)
    assert result.error_code == code, result.error_message


def test_a_key_given_twice_is_refused() -> None:
    result = harness_with_topic().set_config(TOPIC, "t", ("retention.ms", SET, "5"), ("retention.ms", SET, "6"))
    assert result.error_code == Code.INVALID_REQUEST


def test_a_resource_given_twice_is_refused_once_and_answered_once() -> None:
    harness = harness_with_topic()
    message = api("AlterConfigs").request
    resource = message.AlterConfigsResource(resource_type=TOPIC, resource_name="t", configs=[])
    answer = harness.ask("AlterConfigs", 2, resources=[resource, resource])
    assert [each.error_code for each in answer.responses] == [Code.INVALID_REQUEST]


def test_validate_only_writes_nothing() -> None:
    harness = harness_with_topic()
    assert harness.set_config(TOPIC, "t", ("retention.ms", SET, "5"), validate_only=True).error_code == 0
    assert (TOPIC, "t") not in harness.image.configs


def test_the_old_request_replaces_everything() -> None:
    harness = harness_with_topic()
    harness.set_config(TOPIC, "t", ("retention.ms", SET, "5"))
    message = api("AlterConfigs").request
    config = message.AlterableConfig(name="segment.ms", value="9")
    resource = message.AlterConfigsResource(resource_type=TOPIC, resource_name="t", configs=[config])
    assert harness.ask("AlterConfigs", 2, resources=[resource]).responses[0].error_code == 0
    assert dict(harness.image.configs[TOPIC, "t"]) == {"segment.ms": "9"}


def test_a_new_minimum_of_in_sync_replicas_clears_the_eligible_leaders() -> None:
    harness = Harness(2)
    harness.made("t", assignments={0: [1, 2]}, configs={"min.insync.replicas": "2"})
    harness.alter_isr("t", [1])
    assert harness.partition("t").eligible_leader_replicas == (2,)
    epoch = harness.partition("t").partition_epoch
    harness.set_config(TOPIC, "t", ("min.insync.replicas", SET, "1"))
    assert harness.partition("t").eligible_leader_replicas == ()
    assert harness.partition("t").partition_epoch == epoch + 1


def test_with_elr_the_minimum_of_in_sync_replicas_belongs_to_the_cluster() -> None:
    harness = harness_with_topic()
    assert harness.set_config(BROKER, "1", ("min.insync.replicas", SET, "2")).error_code == Code.INVALID_CONFIG
    assert harness.set_config(BROKER, "", ("min.insync.replicas", DELETE, None)).error_code == Code.INVALID_CONFIG
    assert harness.set_config(BROKER, "", ("min.insync.replicas", SET, "2")).error_code == 0


def test_a_policy_sees_what_changes_and_may_refuse() -> None:
    class Policy:
        seen: Any = None

        def validate(self, request_metadata: Any) -> None:
            self.seen = request_metadata
            raise PolicyViolation("no")

    policy = Policy()
    harness = harness_with_topic(Policies(alter_config=policy))
    assert harness.set_config(TOPIC, "t", ("retention.ms", SET, "5")).error_code == Code.POLICY_VIOLATION
    assert (policy.seen.resource.type, policy.seen.resource.name) == ("topic", "t")
    assert policy.seen.configs == {"retention.ms": "5"}


def test_new_topics_inherit_the_clusters_dynamic_configs() -> None:
    harness = Harness(1)
    harness.set_config(BROKER, "", ("log.retention.ms", SET, "1234"))
    by_name = {config.name: config for config in harness.create("t").configs}
    assert (by_name["retention.ms"].value, by_name["retention.ms"].config_source) == ("1234", 3)
