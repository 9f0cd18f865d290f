"""What goes into a coordinator's shard and what its log is made of. Pure values.

    Request   one request of a client, with the ticket that its answer needs
    Record    a key and a value (None: the key is deleted) of `__consumer_offsets` or `__transaction_state`
    Pending   a Record within a producer's transaction: true once that transaction is committed
    Marker    the end of a producer's transaction on this partition

The schemas are those of `pykafkacore.protocol.schemas.coordinator_records`.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from pykafkacore.protocol.log_records import (
    decode_coordinator_key,
    decode_versioned,
    encode_coordinator_key,
    encode_versioned,
)

if TYPE_CHECKING:
    from cluster.shard import Ticket
    from pykafkacore.protocol.schema import Message


KEPT_LENGTH_MAX = 256
"""Of a name, in characters. What is made of a longer one is not kept: clients choose names, and many of them are remembered."""


class Request(Struct, frozen=True):
    """`body` is the decoded request; `api_name` and `api_version` say which. `client_host` is the address as text;
    `fresh_id` is a UUID that nobody else was given, where a member may have no name yet."""

    ticket: Ticket
    api_name: str
    api_version: int
    body: Any
    client_id: str = ""
    client_host: str = ""
    fresh_id: str = ""


class RecurringKey(Struct, frozen=True):
    """A key that comes again and again: its bytes are kept."""

    group: str


class Record(Struct, frozen=True):
    key_message: Message
    key: Any
    value_message: Message
    value: Any | None
    value_version: int


class Pending(Struct, frozen=True):
    producer_id: int
    producer_epoch: int
    record: Record


class Marker(Struct, frozen=True):
    producer_id: int
    producer_epoch: int
    is_commit: bool


Logged = Record | Pending | Marker
Encoded = tuple[bytes, bytes | None]


def encode(logged: Logged) -> Encoded:
    """Key and value as they stand in the log. A marker is a control record, which whoever appends it makes."""
    if isinstance(logged, Marker):
        return b"", None
    record = logged.record if isinstance(logged, Pending) else logged
    key, value = record.key, record.value
    is_kept = isinstance(key, RecurringKey) and len(key.group) <= KEPT_LENGTH_MAX
    encoded_key = (_encoded_key if is_kept else encode_coordinator_key)(record.key_message, key)
    return encoded_key, None if value is None else encode_versioned(record.value_message, value, record.value_version)


@lru_cache(maxsize=16_384)
def _encoded_key(key_message: Message, key: RecurringKey) -> bytes:
    return encode_coordinator_key(key_message, key)


def encoded_bytes(encoded: Encoded) -> int:
    """An upper bound of what the record takes in a batch."""
    key, value = encoded
    return len(key) + len(value or b"") + 32


def decode(key: bytes, value: bytes | None, table: dict[int, tuple[Message, Message]]) -> Record | None:
    """A record of the log; None for a type that we do not know. Raises MalformedMessage for an unknown version."""
    found = decode_coordinator_key(key, table)
    if found is None:
        return None
    record_type, value_message, key_struct = found
    key_message = table[record_type][0]
    if value is None:
        return Record(key_message, key_struct, value_message, None, value_message.versions[1])
    version, struct = decode_versioned(value_message, value)
    return Record(key_message, key_struct, value_message, struct, version)


def replay(shard: Any, base_offset: int, logged: Iterable[Logged]) -> int:
    """Gives a shard what its log holds; the offset behind the last."""
    offset = base_offset
    for each in logged:
        shard.apply(offset, each)
        offset += 1
    return offset
