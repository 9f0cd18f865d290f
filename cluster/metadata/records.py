"""Metadata records: a schema, a version and a body; their frame in the log; and which version a cluster may write.

INVARIANT: an unknown record is an error, never skipped: an image without it would be wrong.
INVARIANT: a record version is chosen by the cluster's metadata.version, so that every member can read it.
Sources: KIP-631; PROTOCOL E.6, E.7.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from pykafkacore.protocol import log_records as lr
from pykafkacore.protocol.schema import Message

# Record keys.
REGISTER_BROKER = 0
UNREGISTER_BROKER = 1
TOPIC = 2
PARTITION = 3
CONFIG = 4
PARTITION_CHANGE = 5
FENCE_BROKER = 7
UNFENCE_BROKER = 8
REMOVE_TOPIC = 9
DELEGATION_TOKEN = 10
USER_SCRAM_CREDENTIAL = 11
FEATURE_LEVEL = 12
CLIENT_QUOTA = 14
PRODUCER_IDS = 15
BROKER_REGISTRATION_CHANGE = 17
ACCESS_CONTROL_ENTRY = 18
REMOVE_ACCESS_CONTROL_ENTRY = 19
NO_OP = 20
ZK_MIGRATION_STATE = 21
REMOVE_USER_SCRAM_CREDENTIAL = 22
BEGIN_TRANSACTION = 23
END_TRANSACTION = 24
ABORT_TRANSACTION = 25
REMOVE_DELEGATION_TOKEN = 26
REGISTER_CONTROLLER = 27
CLEAR_ELR = 28
UNREGISTER_CONTROLLER = 29

# Resource types of Config records.
RESOURCE_TOPIC = 2
RESOURCE_BROKER = 4
RESOURCE_BROKER_LOGGER = 8
RESOURCE_CLIENT_METRICS = 16
RESOURCE_GROUP = 32

# What a PartitionChange says where it says nothing.
NO_LEADER_CHANGE = -2
NO_LEADER = -1
NO_RECOVERY_CHANGE = -1

# Levels of metadata.version that this code asks about.
MV_3_4_IV0 = 8
MV_3_6_IV0 = 12
MV_3_6_IV1 = 13
MV_3_7_IV0 = 15
MV_3_7_IV2 = 17
MV_4_0_IV1 = 23
MV_4_3_IV0 = 30
MV_4_4_IV2 = 33

RECORDS_PER_BATCH_MAX = 10_000


class MetadataRecord(Struct, frozen=True):
    """One record of the metadata log. Made with `record(...)` or read with `unframe`."""

    api_key: int
    record_version: int
    body: Any


def message_of(api_key: int) -> Message:
    return lr.METADATA_RECORDS[api_key]


def record(api_key: int, record_version: int = 0, **fields: Any) -> MetadataRecord:
    return MetadataRecord(api_key, record_version, lr.METADATA_RECORDS[api_key](**fields))


def config_record(resource_type: int, resource_name: str, key: str, value: str | None) -> MetadataRecord:
    return record(CONFIG, resource_type=resource_type, resource_name=resource_name, name=key, value=value)


def frame(metadata_record: MetadataRecord) -> bytes:
    """The value as it stands in the log."""
    message = lr.METADATA_RECORDS[metadata_record.api_key]
    return lr.encode_metadata_record(message, metadata_record.body, metadata_record.record_version)


def unframe(data: bytes | memoryview) -> MetadataRecord:
    """Raises MalformedMessage on anything that is not a known record: whoever reads a metadata log must stop then."""
    message, record_version, body = lr.decode_metadata_record(data)
    assert message.api_key is not None
    return MetadataRecord(message.api_key, record_version, body)


def register_broker_version(metadata_version: int) -> int:
    if metadata_version >= MV_4_3_IV0:
        return 4
    if metadata_version >= MV_3_7_IV2:
        return 3
    return 2 if metadata_version >= MV_3_4_IV0 else 1


def broker_registration_change_version(metadata_version: int) -> int:
    if metadata_version >= MV_4_3_IV0:
        return 3
    return 2 if metadata_version >= MV_3_7_IV2 else 1


def partition_version(metadata_version: int, elr_is_on: bool) -> int:
    """Of Partition and PartitionChange alike."""
    if elr_is_on and metadata_version >= MV_4_0_IV1:
        return 2
    return 1 if metadata_version >= MV_3_7_IV2 else 0
