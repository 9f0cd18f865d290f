"""Heartbeats that the data plane answers by itself count as heartbeats, and stop as soon as they would be wrong."""

from __future__ import annotations

import time
from typing import Any

import pytest

from pykafkacore.protocol.apis import api
from pykafkacore.protocol.errors import Code
from pykafkacore.testing import Broker
from tests.support.wire import Wire, create_topic

pytestmark = pytest.mark.e2e

SESSION_S = 1.0
SETTINGS = {
    "group.consumer.min.session.timeout.ms": "100",
    "group.consumer.session.timeout.ms": str(int(SESSION_S * 1000)),
    "group.consumer.min.heartbeat.interval.ms": "10",
    "group.consumer.heartbeat.interval.ms": "50",
}


class Member:
    def __init__(self, port: int, member_id: str) -> None:
        self.wire = Wire(port)
        self.member_id = member_id
        self.epoch = 0

    def beat(self, **told: Any) -> Any:
        body = api("ConsumerGroupHeartbeat").request(
            group_id="g", member_id=self.member_id, member_epoch=self.epoch, **told
        )
        answer = self.wire.ask("ConsumerGroupHeartbeat", 1, body)
        if not answer.error_code:
            self.epoch = answer.member_epoch
        return answer

    def join(self) -> None:
        find = api("FindCoordinator").request(key_type=0, coordinator_keys=["g"])
        while self.wire.ask("FindCoordinator", 4, find).coordinators[0].error_code:
            time.sleep(0.02)
        self.epoch = 0
        first = {"rebalance_timeout_ms": 60_000, "topic_partitions": [], "subscribed_topic_names": ["t"]}
        while self.beat(**first).error_code:
            time.sleep(0.05)


def test_a_member_that_only_beats_outlives_its_session_and_a_silent_one_does_not() -> None:
    with Broker(SETTINGS) as broker:
        create_topic(broker.port, "t", 4)
        living, silent = Member(broker.port, "living"), Member(broker.port, "silent")
        living.join()
        silent.join()
        told = []
        end = time.monotonic() + 3 * SESSION_S
        while time.monotonic() < end:
            answer = living.beat()
            assert answer.error_code == 0, Code(answer.error_code).name
            if answer.assignment is not None:
                told.append(sum(len(row.partitions) for row in answer.assignment.topic_partitions))
                row = api("ConsumerGroupHeartbeat").request.TopicPartitions
                has = answer.assignment.topic_partitions
                living.beat(topic_partitions=[row(topic_id=each.topic_id, partitions=each.partitions) for each in has])
            time.sleep(0.01)
        assert told[-1] == 4, "what the silent one had went to the other, though nobody but the data plane answered it"
        assert silent.beat().error_code == Code.UNKNOWN_MEMBER_ID
        silent.join()
        while living.beat().assignment is None:
            time.sleep(0.01)
        living.wire.close()
        silent.wire.close()
