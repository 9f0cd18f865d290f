from __future__ import annotations

from pykafkacore.protocol.errors import Code
from tests.cluster.metadata.harness import Harness


def test_blocks_follow_one_another_and_never_repeat() -> None:
    harness = Harness(2)
    starts = []
    for broker_id in (1, 2, 1):
        answer = harness.ask("AllocateProducerIds", 0, broker_id=broker_id, broker_epoch=harness.epochs[broker_id])
        assert (answer.error_code, answer.producer_id_len) == (0, 1000)
        starts.append(answer.producer_id_start)
    assert starts == [0, 1000, 2000]
    assert harness.image.next_producer_id == 3000


def test_a_stale_broker_gets_none() -> None:
    harness = Harness(1)
    answer = harness.ask("AllocateProducerIds", 0, broker_id=1, broker_epoch=harness.epochs[1] - 1)
    assert answer.error_code == Code.STALE_BROKER_EPOCH
