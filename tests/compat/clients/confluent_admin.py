"""One round of administration with confluent-kafka; prints what came of each call."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
)


def tell(what: str, call: Callable[[], object]) -> None:
    try:
        print(f"{what}: {call()}")
    except KafkaException as error:
        print(f"{what}: {error.args[0].name()}")


def only(futures: dict) -> object:
    (future,) = futures.values()
    return future.result(30)


def until(wanted: str, call: Callable[[], object]) -> object:
    """Apache Kafka answers before its broker has taken a change over: asks again until the answer starts so."""
    deadline = time.monotonic() + 20
    while True:
        try:
            found = call()
        except KafkaException:
            if time.monotonic() > deadline:
                raise
        else:
            if str(found).startswith(wanted) or time.monotonic() > deadline:
                return found
        time.sleep(0.02)


def main(bootstrap: str, topic: str) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    resource = ConfigResource(ResourceType.TOPIC, topic)

    def config(name: str) -> str:
        entry = only(admin.describe_configs([resource]))[name]
        return f"{entry.value} source {entry.source} default {entry.is_default} read-only {entry.is_read_only}"

    def alter(name: str, value: str) -> object:
        operation = AlterConfigOpType.SET
        entry = ConfigEntry(name, value, incremental_operation=operation)
        return only(admin.incremental_alter_configs([ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])]))

    def offset(spec: OffsetSpec) -> int:
        return only(admin.list_offsets({TopicPartition(topic, 0): spec})).offset

    tell("create", lambda: only(admin.create_topics([NewTopic(topic, 2, 1, config={"retention.ms": "60000"})])))
    tell("create again", lambda: only(admin.create_topics([NewTopic(topic, 2, 1)])))
    tell("grow", lambda: only(admin.create_partitions([NewPartitions(topic, 3)])))
    tell("partitions", lambda: until("3", lambda: len(admin.list_topics(topic, timeout=10).topics[topic].partitions)))
    tell("config", lambda: config("retention.ms"))
    tell("default", lambda: config("cleanup.policy"))
    tell("alter", lambda: alter("retention.ms", "70000"))
    tell("altered", lambda: until("70000", lambda: config("retention.ms")))
    tell("alter badly", lambda: alter("retention.ms", "soon"))
    tell("latest", lambda: until("0", lambda: offset(OffsetSpec.latest())))
    tell("earliest", lambda: offset(OffsetSpec.earliest()))
    tell("cluster", lambda: len(admin.describe_cluster().result(30).nodes))
    tell("delete records", lambda: only(admin.delete_records([TopicPartition(topic, 0, 0)])).low_watermark)
    tell("delete", lambda: only(admin.delete_topics([topic])))
    tell("delete again", lambda: only(admin.delete_topics([topic])))


if __name__ == "__main__":
    main(*sys.argv[1:])
