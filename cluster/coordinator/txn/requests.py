"""What the host of a transaction coordinator's shard hands in, beyond a client's bare request, and what it is asked to do.
Pure values.

A shard can neither allocate producer ids nor write markers, so the host
    brings a spare producer id along with every request that may need one. One that the answer does not name may come
    along with another request, unless the shard was dropped meanwhile: what it decided may yet stand in the log;
    writes the markers of each `WriteMarkers` it is handed, again and again until the partition has it or its topic is
    deleted, and reports with `MarkersDone`;
    has at most one marker of a producer under way to a partition, also when a shard that was dropped is loaded anew in the
    same leader epoch and asks for what its predecessor asked for: by the old protocol a marker that comes late, when its
    transaction is complete, would end the producer's next one. Between leader epochs the partitions see to that.
"""

from __future__ import annotations

from msgspec import Struct

from cluster.coordinator.txn.state import Producer, TopicPartition
from cluster.coordinator.values import Request
from cluster.shard import Offset, Ticket


class InitProducer(Struct, frozen=True):
    """An InitProducerId with a transactional id."""

    request: Request
    spare_producer_id: int

    @property
    def ticket(self) -> Ticket:
        return self.request.ticket


class EndTransaction(Struct, frozen=True):
    """An EndTxn."""

    request: Request
    spare_producer_id: int


class AddOffsets(Struct, frozen=True):
    """An AddOffsetsToTxn; `offsets_partition` is that of the group in `__consumer_offsets`."""

    request: Request
    offsets_partition: int


class TakePart(Struct, frozen=True):
    """A producer opens its transaction on these partitions, says the broker that leads them (KIP-890): an
    AddPartitionsToTxn that needs no bytes. With `verify_only` none is added. The answer: an error code for each."""

    transactional_id: str
    producer: Producer
    partitions: frozenset[TopicPartition]
    verify_only: bool


class WriteMarkers(Struct, frozen=True):
    """An effect: write these markers. `producer_epoch` is the one that the markers carry; `prepared_offset`, where the
    outcome stands in the log, tells them from those of any other transaction."""

    transactional_id: str
    producer_id: int
    producer_epoch: int
    commit: bool
    coordinator_epoch: int
    transaction_version: int
    prepared_offset: Offset
    partitions: tuple[TopicPartition, ...]


class MarkersDone(Struct, frozen=True):
    """These partitions have the marker that was asked for, or are no more. May come in parts, repeatedly and late. Of
    markers that were asked for in another leader epoch it counts for nothing: a partition that has not seen the present
    one would still take a marker of that time. The answer is whether the transaction is complete with it."""

    markers: WriteMarkers
    partitions: tuple[TopicPartition, ...]
