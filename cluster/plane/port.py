"""The seam between the control plane and the data plane, as far as it goes down: views, as pure values.

The control plane publishes what the committed metadata decides (partitions hosted here, leader epochs, ISR, effective
topic settings) as a `ViewDelta`; what the data plane cannot decide comes up as an upcall (`plane/native.py`).

INVARIANT: a view is projected from committed metadata only and carries its offset; offsets of views never go back.
INVARIANT: a `ViewDelta` costs what changed, never what exists.
What it deliberately is not: the extension (`plane/native.py` is its one importer) and not a fake (`tests/support`).
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

Uuid = bytes


class TopicView(Struct, frozen=True):
    """A topic of which this broker hosts a partition, with its effective data plane settings (see metadata/view.py)."""

    topic_id: Uuid
    name: str
    settings: dict[str, Any]


class PartitionView(Struct, frozen=True):
    """A partition as committed. A broker that is missing from `replicas` no longer hosts it: stop it here."""

    topic_id: Uuid
    topic_name: str
    partition: int
    leader_id: int
    leader_epoch: int
    partition_epoch: int
    replicas: tuple[int, ...]
    isr: tuple[int, ...]
    directory_id: Uuid


class BrokerEndpoint(Struct, frozen=True):
    """A registered, unfenced broker on the inter-broker listener."""

    node_id: int
    host: str
    port: int
    rack: str | None = None


class ViewDelta(Struct, frozen=True):
    """What changed up to `metadata_offset` (exclusive). `brokers` is the whole set, or None where none changed."""

    metadata_offset: int
    topics: tuple[TopicView, ...] = ()
    partitions: tuple[PartitionView, ...] = ()
    removed_topics: tuple[Uuid, ...] = ()
    brokers: tuple[BrokerEndpoint, ...] | None = None
