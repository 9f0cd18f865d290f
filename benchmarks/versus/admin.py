"""Topics for the runs, over a plain socket."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from pykafkacore.protocol.apis import api
from tests.support.wire import Wire

EXISTS = 36
# KAFKA: 4.4 refuses a request that would write more than 10,000 metadata records; a larger topic grows in steps.
PARTITIONS_A_REQUEST_MAX = 5_000


def create_topics(
    port: int, names: Sequence[str], partitions: int, configs: Mapping[str, str] | None = None, a_request: int = 100
) -> None:
    """Creates topics, so many a request, and waits until each partition has a leader."""
    wire = Wire(port)
    first = min(partitions, PARTITIONS_A_REQUEST_MAX)
    message = api("CreateTopics").request
    rows = [message.CreatableTopicConfig(name=key, value=value) for key, value in (configs or {}).items()]
    for at in range(0, len(names), a_request):
        topics = [
            message.CreatableTopic(name=name, num_partitions=first, replication_factor=1, configs=rows)
            for name in names[at : at + a_request]
        ]
        answer = wire.ask("CreateTopics", 7, message(topics=topics, timeout_ms=60_000))
        wrong = [(row.name, row.error_code, row.error_message) for row in answer.topics if row.error_code not in (0, EXISTS)]
        if wrong:
            raise RuntimeError(f"creating topics failed: {wrong[:3]}")
    for count in range(first, partitions, PARTITIONS_A_REQUEST_MAX):
        grow_topics(wire, names, min(partitions, count + PARTITIONS_A_REQUEST_MAX))
    for at in range(0, len(names), a_request):
        wait_for_leaders(wire, names[at : at + a_request], partitions)
    wire.close()


def grow_topics(wire: Wire, names: Sequence[str], partitions: int) -> None:
    message = api("CreatePartitions").request
    for name in names:
        topics = [message.CreatePartitionsTopic(name=name, count=partitions, assignments=None)]
        answer = wire.ask("CreatePartitions", 3, message(topics=topics, timeout_ms=60_000))
        if answer.results[0].error_code:
            raise RuntimeError(f"growing {name} to {partitions} partitions failed: {answer.results[0]}")


def wait_for_leaders(wire: Wire, names: Sequence[str], partitions: int, deadline_s: float = 300) -> None:
    """Waits until each partition serves: Metadata may name a leader before the leader itself knows."""
    message = api("ListOffsets").request
    rows = [message.ListOffsetsPartition(partition_index=number, timestamp=-1) for number in range(partitions)]
    wanted = message(topics=[message.ListOffsetsTopic(name=name, partitions=rows) for name in names])
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        told = wire.ask("ListOffsets", 1, wanted).topics
        if not any(partition.error_code for topic in told for partition in topic.partitions):
            return
        time.sleep(0.005)
    raise TimeoutError(f"not every partition of {names[:3]} has a leader after {deadline_s} s")


def delete_topics(port: int, names: Sequence[str], a_request: int = 100) -> None:
    """Deletes topics and waits until nobody knows them."""
    wire = Wire(port)
    message = api("DeleteTopics").request
    for at in range(0, len(names), a_request):
        answer = wire.ask("DeleteTopics", 5, message(topic_names=list(names[at : at + a_request]), timeout_ms=60_000))
        wrong = [(row.name, row.error_code) for row in answer.responses if row.error_code]
        if wrong:
            raise RuntimeError(f"deleting topics failed: {wrong[:3]}")
    wire.close()
