"""Finding the schema of what is written into logs: metadata records, coordinator records, control records.

What it is: the way from a number on disk to a Message, and the small frames around record bodies.
What it is not: the meaning of a record; replaying is the business of the control plane.
Every schema of the three modules is also an attribute here: `log_records.TOPIC_RECORD`.
Sources: KIP-631 (frame of metadata records), KIP-848, KIP-932, KIP-447.
"""

from __future__ import annotations

from struct import error as _struct_error
from struct import pack, unpack_from
from typing import TYPE_CHECKING, Any

from pykafkacore.protocol.schemas import control_records, coordinator_records, metadata_records
from pykafkacore.protocol.schemas.control_records import *  # noqa: F403
from pykafkacore.protocol.schemas.coordinator_records import *  # noqa: F403
from pykafkacore.protocol.schemas.metadata_records import *  # noqa: F403
from pykafkacore.protocol.types import MalformedMessage, decode_uvarint, encode_uvarint

if TYPE_CHECKING:
    from types import ModuleType

    from pykafkacore.protocol.schema import Message

METADATA_FRAME_VERSION = 1

# Types of control records: the number in the key.
CONTROL_ABORT = 0
CONTROL_COMMIT = 1
CONTROL_LEADER_CHANGE = 2
CONTROL_SNAPSHOT_HEADER = 3
CONTROL_SNAPSHOT_FOOTER = 4
CONTROL_KRAFT_VERSION = 5
CONTROL_KRAFT_VOTERS = 6

CONTROL_RECORDS: dict[int, Message] = {
    CONTROL_ABORT: control_records.END_TXN_MARKER,
    CONTROL_COMMIT: control_records.END_TXN_MARKER,
    CONTROL_LEADER_CHANGE: control_records.LEADER_CHANGE_MESSAGE,
    CONTROL_SNAPSHOT_HEADER: control_records.SNAPSHOT_HEADER_RECORD,
    CONTROL_SNAPSHOT_FOOTER: control_records.SNAPSHOT_FOOTER_RECORD,
    CONTROL_KRAFT_VERSION: control_records.KRAFT_VERSION_RECORD,
    CONTROL_KRAFT_VOTERS: control_records.VOTERS_RECORD,
}


_INT16 = [pack(">h", number) for number in range(128)]


def _messages(module: ModuleType) -> list[Message]:
    return [value for name, value in vars(module).items() if name.isupper()]


METADATA_RECORDS: dict[int, Message] = {
    message.api_key: message for message in _messages(metadata_records) if message.api_key is not None
}


def _pairs(prefixes: tuple[str, ...]) -> dict[int, tuple[Message, Message]]:
    """(key schema, value schema) by record type, of the coordinator records whose name starts so."""
    found: dict[int, dict[str, Message]] = {}
    for message in _messages(coordinator_records):
        if message.name.startswith(prefixes) and message.api_key is not None:
            found.setdefault(message.api_key, {})["Key" if message.name.endswith("Key") else "Value"] = message
    return {number: (pair["Key"], pair["Value"]) for number, pair in sorted(found.items())}


# Record type -> (key, value), one table per coordinator topic.
TRANSACTION_RECORDS = _pairs(("TransactionLog",))
SHARE_RECORDS = _pairs(("ShareSnapshot", "ShareUpdate"))
GROUP_RECORDS = _pairs(
    ("LegacyOffsetCommit", "OffsetCommit", "GroupMetadata", "ConsumerGroup", "ShareGroup", "StreamsGroup")
)


def encode_metadata_record(message: Message, record: Any, record_version: int) -> bytes:
    """The value of a record of the metadata log: frame version, api key, version, body."""
    assert message.api_key is not None, f"{message.name} is not a metadata record"
    frame = bytes((METADATA_FRAME_VERSION,)) + encode_uvarint(message.api_key) + encode_uvarint(record_version)
    return frame + message.encode(record, record_version)


def decode_metadata_record(data: bytes | memoryview) -> tuple[Message, int, Any]:
    """(message, version, record). Anything unknown is an error: a metadata log must not be skipped over."""
    frame_version, pos = decode_uvarint(data, 0)
    if frame_version != METADATA_FRAME_VERSION:
        raise MalformedMessage(f"metadata record has frame version {frame_version} instead of {METADATA_FRAME_VERSION}")
    api_key, pos = decode_uvarint(data, pos)
    record_version, pos = decode_uvarint(data, pos)
    message = METADATA_RECORDS.get(api_key)
    if message is None:
        raise MalformedMessage(f"metadata record has the unknown api key {api_key}")
    if not message.versions[0] <= record_version <= message.versions[1]:
        raise MalformedMessage(f"{message.name} has the unknown version {record_version}")
    record, pos = message.decode_from(data, pos, record_version)
    if pos != len(data):
        raise MalformedMessage(f"{message.name} v{record_version} is followed by {len(data) - pos} unexpected bytes")
    return message, record_version, record


def encode_versioned(message: Message, struct: Any, version: int) -> bytes:
    """An int16 version and the body: values of coordinator records, and the serialised principal."""
    return _INT16[version] + message.encode(struct, version)


def decode_versioned(message: Message, data: bytes | memoryview) -> tuple[int, Any]:
    """(version, struct) of what encode_versioned wrote; an unknown version is an error."""
    version = _int16(data, message.name)
    if not message.versions[0] <= version <= message.versions[1]:
        raise MalformedMessage(f"{message.name} has the unknown version {version}")
    return version, message.decode_from(data, 2, version)[0]


def encode_coordinator_key(message: Message, struct: Any) -> bytes:
    """The key of a coordinator record: its type and a body that has only one version."""
    assert message.api_key is not None, f"{message.name} is not the key of a coordinator record"
    return _INT16[message.api_key] + message.encode(struct, message.versions[1])


def decode_coordinator_key(
    data: bytes | memoryview, records: dict[int, tuple[Message, Message]]
) -> tuple[int, Message, Any] | None:
    """(record type, value message, key struct), or None for a type that we do not know: such records are skipped."""
    record_type = _int16(data, "the key of a coordinator record")
    pair = records.get(record_type)
    if pair is None:
        return None
    key, value = pair
    return record_type, value, key.decode_from(data, 2, key.versions[1])[0]


def encode_control_key(control_type: int) -> bytes:
    """The key of a control record: version 0 and the type."""
    return pack(">hh", 0, control_type)


def decode_control_key(data: bytes | memoryview) -> int:
    """The type in the key of a control record; later versions of the key are read as the known one."""
    if len(data) < 4:
        raise MalformedMessage(f"the key of a control record has {len(data)} bytes instead of 4")
    version: int
    control_type: int
    version, control_type = unpack_from(">hh", data)
    if version < 0:
        raise MalformedMessage(f"the key of a control record has the version {version}")
    return control_type


def _int16(data: bytes | memoryview, what: str) -> int:
    try:
        number: int = unpack_from(">h", data)[0]
    except _struct_error:
        raise MalformedMessage(f"{what} has {len(data)} bytes, too few for its version") from None
    return number
