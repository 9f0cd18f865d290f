"""Records of Kafka's own topics as text: metadata, groups and offsets, transactions, share groups, control records.

What it is: the way from schema to the JSON that kafka-dump-log prints, field names and rules as Apache's tool has them.
What it is not: a check. What cannot be read is said in the line of that record, and the dump goes on.
KAFKA: tagged fields are shown only when they differ from their default; uuids and bytes are base64.
"""

from __future__ import annotations

from collections.abc import Callable
from json import dumps
from typing import TYPE_CHECKING, Any

from pykafkacore.protocol import log_records as lr
from pykafkacore.protocol.types import MalformedMessage, uuid_to_text
from pykafkacore.tools.common import ToolError

if TYPE_CHECKING:
    from pykafkacore.protocol.notation import FieldSpec, StructSpec
    from pykafkacore.protocol.schema import Message

# (offset, key, value) -> what is shown for key and payload; None shows nothing.
Decoder = Callable[[int, "bytes | None", "bytes | None"], tuple["str | None", "str | None"]]

_ODD_NAMES = {"kraft_version": "kRaftVersion", "kraft_version_feature": "kRaftVersionFeature"}
_CONTROL_TITLES = {
    lr.CONTROL_LEADER_CHANGE: "LeaderChange:",
    lr.CONTROL_SNAPSHOT_HEADER: "SnapshotHeader",
    lr.CONTROL_SNAPSHOT_FOOTER: "SnapshotFooter",
    lr.CONTROL_KRAFT_VERSION: "KRaftVersion",
    lr.CONTROL_KRAFT_VOTERS: "KRaftVoters",
}


def json_text(value: Any) -> str:
    return dumps(value, ensure_ascii=False, separators=(",", ":"))


def field_name(name: str) -> str:
    """`topic_id` as `topicId`."""
    if name in _ODD_NAMES:
        return _ODD_NAMES[name]
    first, *rest = name.split("_")
    return first + "".join(part[:1].upper() + part[1:] for part in rest)


def message_json(message: Message, struct: Any, version: int) -> dict[str, Any]:
    """A message as JSON values."""
    return _struct_json(message.root, struct, version)


def _struct_json(spec: StructSpec, struct: Any, version: int) -> dict[str, Any]:
    found = {}
    for field in spec.fields:
        if not field.present(version):
            continue
        value = getattr(struct, field.name)
        if field.tag is not None and _is_default(field, value):
            continue
        found[field_name(field.name)] = _value_json(field, value, version)
    return found


def _is_default(field: FieldSpec, value: Any) -> bool:
    if value is None:
        return field.default is None
    if field.struct is not None and not field.is_array and field.default is not None:
        return bool(value == type(value)())
    if field.is_fresh:
        return not value
    if field.default == "fresh":
        return value in (0, False, "", b"", bytes(16))
    return bool(value == field.default)


def _value_json(field: FieldSpec, value: Any, version: int) -> Any:
    if value is None:
        return None
    if field.is_array:
        return [_one_json(field, each, version) for each in value]
    return _one_json(field, value, version)


def _one_json(field: FieldSpec, value: Any, version: int) -> Any:
    if field.struct is not None:
        return _struct_json(field.struct, value, version)
    if field.type == "uuid":
        return uuid_to_text(value)
    if field.type in ("bytes", "records"):
        from binascii import b2a_base64

        return b2a_base64(value, newline=False).decode()
    return value


# ---- data records


def plain(offset: int, key: bytes | None, value: bytes | None) -> tuple[str | None, str | None]:
    """Key and value as the text that they may be."""
    return _text(key), _text(value)


def _text(data: bytes | None) -> str | None:
    return None if data is None else data.decode("utf-8", "replace")


def metadata(offset: int, key: bytes | None, value: bytes | None) -> tuple[str | None, str | None]:
    """Records of __cluster_metadata and its snapshots."""
    try:
        message, version, struct = lr.decode_metadata_record(value or b"")
    except MalformedMessage as error:
        return None, f"Error at {offset}, skipping. {error}"
    kind = "".join(f"_{letter}" if letter.isupper() else letter.upper() for letter in message.name).lstrip("_")
    return None, json_text({"type": kind, "version": version, "data": message_json(message, struct, version)})


def groups(offset: int, key: bytes | None, value: bytes | None) -> tuple[str | None, str | None]:
    return _coordinator(offset, key, value, lr.GROUP_RECORDS)


def transactions(offset: int, key: bytes | None, value: bytes | None) -> tuple[str | None, str | None]:
    return _coordinator(offset, key, value, lr.TRANSACTION_RECORDS)


def share_groups(offset: int, key: bytes | None, value: bytes | None) -> tuple[str | None, str | None]:
    return _coordinator(offset, key, value, lr.SHARE_RECORDS)


def _coordinator(
    offset: int, key: bytes | None, value: bytes | None, table: dict[int, tuple[Message, Message]]
) -> tuple[str | None, str | None]:
    if key is None:
        # KAFKA: that ends the dump; what else cannot be read is said in its line.
        raise ToolError(f"Failed to decode message at offset {offset} using the specified decoder (message had a missing key)")
    try:
        found = lr.decode_coordinator_key(key, table)
        if found is None:
            kind = int.from_bytes(key[:2], "big", signed=True)
            return f"Unknown record type {kind} at offset {offset}, skipping.", None
        kind, value_message, key_struct = found
        key_message = table[kind][0]
        shown_key = {"type": str(kind), "data": message_json(key_message, key_struct, key_message.versions[1])}
        if value is None:
            return json_text(shown_key), "<DELETE>"
        version, struct = lr.decode_versioned(value_message, value)
        data = message_json(value_message, struct, version)
        if value_message.name == "GroupMetadataValue":
            _open_members(data, struct)
        return json_text(shown_key), json_text({"version": str(version), "data": data})
    except MalformedMessage as error:
        return f"Error at offset {offset}, skipping. {error}", None


def _open_members(data: dict[str, Any], struct: Any) -> None:
    """What members of a consumer group say is opened; that of other kinds of groups stays base64."""
    if struct.protocol_type != "consumer":
        return
    from pykafkacore.protocol.schemas.groups import CONSUMER_PROTOCOL_ASSIGNMENT, CONSUMER_PROTOCOL_SUBSCRIPTION

    for shown, member in zip(data["members"], struct.members, strict=True):
        for name, message in (
            ("subscription", CONSUMER_PROTOCOL_SUBSCRIPTION), ("assignment", CONSUMER_PROTOCOL_ASSIGNMENT),
        ):  # fmt: skip
            raw = getattr(member, name)
            if len(raw) < 2:
                continue
            # A newer version than ours is read as ours, as the protocol asks.
            version = min(int.from_bytes(raw[:2], "big"), message.versions[1])
            shown[name] = message_json(message, message.decode_from(raw, 2, version)[0], version)


# ---- control records


def control(key: bytes | None, value: bytes | None) -> str:
    """What a control record says, as it stands after the record's own facts."""
    kind = lr.decode_control_key(key or b"")
    value = value or b""
    if kind in (lr.CONTROL_ABORT, lr.CONTROL_COMMIT):
        marker = lr.END_TXN_MARKER.decode_from(value, 2, 0)[0]
        title = "COMMIT" if kind == lr.CONTROL_COMMIT else "ABORT"
        return f" endTxnMarker: {title} coordinatorEpoch: {marker.coordinator_epoch}"
    message = lr.CONTROL_RECORDS.get(kind)
    if message is None:
        return f" controlType: UNKNOWN({kind})"
    # These say their own version in their first field; LeaderChange is the only one with more than one.
    version = min(int.from_bytes(value[:2], "big"), message.versions[1])
    struct = message.decode(value, version)
    return f" {_CONTROL_TITLES[kind]} {json_text(message_json(message, struct, version))}"
