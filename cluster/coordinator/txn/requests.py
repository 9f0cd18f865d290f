"""What the host of a transaction coordinator's shard hands in, beyond a client's bare request, and what it is asked to do.
Pure values.

A shard can neither allocate producer ids nor write markers, so the host
    brings a spare producer id along with every request that may need one (an unused one may come along with the next);
    writes the markers of each `WriteMarkers` it is handed, again and again until the partition has it or its topic is
    deleted, and reports with `MarkersDone`; it forgets all of them when the shard is dropped or its leadership ends.
"""

from __future__ import annotations

from dataclasses import dataclass

from cluster.coordinator.txn.state import TopicPartition
from cluster.coordinator.values import Request
from cluster.shard import Ticket


@dataclass(frozen=True, slots=True)
class InitProducer:
    """An InitProducerId with a transactional id."""

    request: Request
    spare_producer_id: int

    @property
    def ticket(self) -> Ticket:
        return self.request.ticket


@dataclass(frozen=True, slots=True)
class EndTransaction:
    """An EndTxn."""

    request: Request
    spare_producer_id: int


@dataclass(frozen=True, slots=True)
class AddOffsets:
    """An AddOffsetsToTxn; `offsets_partition` is that of the group in `__consumer_offsets`."""

    request: Request
    offsets_partition: int


@dataclass(frozen=True, slots=True)
class WriteMarkers:
    """An effect: write these markers. `producer_epoch` is the one that the markers carry."""

    transactional_id: str
    producer_id: int
    producer_epoch: int
    commit: bool
    coordinator_epoch: int
    transaction_version: int
    partitions: tuple[TopicPartition, ...]


@dataclass(frozen=True, slots=True)
class MarkersDone:
    """These partitions have their marker, or are no more. May come in parts, repeatedly and late; producer id and epoch
    are those of the `WriteMarkers`. The answer is whether the transaction is complete with it."""

    transactional_id: str
    producer_id: int
    producer_epoch: int
    partitions: tuple[TopicPartition, ...]
