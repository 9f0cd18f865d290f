"""An answer as a tree of plain values, with everything blotted out that differs by nature from broker to broker.

By nature: generated ids, ports, the cluster id, clocks, paths, sizes of files, offsets of the metadata log, and the words
of an error (only whether there are any is compared). Lists whose order comes out of a hash map become dicts by their keys.
"""

from __future__ import annotations

import re
from typing import Any

from cluster.handlers.dispatch import HANDLERS
from pykafkacore.protocol.apis import api
from pykafkacore.protocol.errors import Code
from pykafkacore.protocol.headers import decode_response, encode_response
from pykafkacore.protocol.notation import StructSpec

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[A-Za-z0-9_-]{22}(?![A-Za-z0-9_-])")

OFFERED = {kind: {api(name).key for name in handlers} for kind, handlers in HANDLERS.items()}
_NUMBERED = re.compile(r"(fresh|made-by-asking)-[A-Za-z]*-?\d+")
# Where all topics are listed, those are left out that one of the two makes when somebody needs them.
LISTS_TOPICS = {"Metadata", "DescribeLogDirs", "ListConfigResources", "DescribeTopicPartitions"}
LATE_TOPICS = {"__transaction_state", "__share_group_state"}
# (API, path): the fields that tell rows apart.
KEYED: dict[tuple[str, str], tuple[str, ...]] = {
    ("ApiVersions", "api_keys"): ("api_key",),
    ("ApiVersions", "supported_features"): ("name",),
    ("ApiVersions", "finalized_features"): ("name",),
    ("DescribeConfigs", "results.configs"): ("name",),
    ("CreateTopics", "topics.configs"): ("name",),
    ("ListGroups", "groups"): ("group_id",),
    ("Metadata", "topics"): ("name",),
    ("CreateTopics", "topics"): ("name",),
    ("DescribeGroups", "groups"): ("group_id",),
    ("DeleteGroups", "results"): ("group_id",),
    ("DescribeLogDirs", "results.topics"): ("name",),
    ("DescribeLogDirs", "results.topics.partitions"): ("partition_index",),
    ("ListConfigResources", "config_resources"): ("resource_type", "resource_name"),
}
# Fields of which only the sign is compared: minus one, nothing, something.
SIGN_ONLY = {
    "finalized_features_epoch", "producer_id", "partition_size", "total_bytes", "usable_bytes", "last_timestamp",
    "log_append_time_ms", "session_id", "transaction_start_time_ms", "last_fetch_timestamp", "last_caught_up_timestamp",
}  # fmt: skip
SETS = {"subscribed_topic_names"}
EPOCHS = {"member_epoch", "group_epoch", "assignment_epoch"}  # of consumer groups: each counts from where it likes
METADATA_LOG = {"high_watermark", "log_end_offset", "leader_epoch"}  # in DescribeQuorum
# Configs whose values are places of a node.
PLACES = {
    "listeners", "advertised.listeners", "log.dirs", "log.dir", "metadata.log.dir", "controller.quorum.bootstrap.servers",
    "controller.quorum.voters",
}  # fmt: skip


def tree_of(site: Any, name: str, version: int, answer: bytes) -> Any:
    """The normalised tree. AssertionError where our codec would not write the very same bytes."""
    row = api(name)
    version = version if row.serves(version) else 0
    correlation_id, body = decode_response(row, version, answer)
    again = encode_response(row, version, correlation_id, body)
    assert again == answer, (
        f"{name} v{version} of {site.name} re-encodes to\n{again.hex()}, was\n{answer.hex()}\n{body}"
    )
    return {"correlation_id": correlation_id} | Normaliser(site, name, version).struct(row.response.root, body, "")


class Normaliser:
    def __init__(self, site: Any, api_name: str, version: int) -> None:
        self.site, self.api_name, self.version = site, api_name, version

    def struct(self, spec: StructSpec, body: Any, path: str) -> dict[str, Any]:
        told = {}
        for field in spec.fields:
            if not field.present(self.version) or field.name == "throttle_time_ms":
                continue
            place = f"{path}.{field.name}" if path else field.name
            value = getattr(body, field.name)
            if field.struct is not None and value is not None:
                value = (
                    self.structs(field.struct, value, place)
                    if field.is_array
                    else self.struct(field.struct, value, place)
                )
            elif field.is_array and value is not None:
                value = [self.value(field.name, each, body) for each in value]
                value = sorted(value) if field.name in SETS else value
            else:
                value = self.value(field.name, value, body)
            told[field.name] = value
        return told

    def structs(self, spec: StructSpec, rows: list[Any], place: str) -> Any:
        trees = [self.struct(spec, each, place) for each in rows]
        if place == "transaction_states" and self.api_name == "ListTransactions":
            trees = [each for each in trees if each["transactional_id"].startswith("kept-")]
        if self.api_name == "ListGroups":
            # Groups of other cases come and go with their members' sessions.
            trees = [each for each in trees if each["group_id"].startswith("kept-")]
        if self.api_name == "Metadata" and place == "topics" and len(trees) > 1:
            # Made by earlier cases, and there sooner or later.
            trees = [each for each in trees if not (each["name"] or "").startswith("made-by-asking-")]
        if place.endswith(".configs"):
            trees = [each if each["name"] not in PLACES else {"name": each["name"]} for each in trees]
        if place == "api_keys":
            # What is not offered is not part of the comparison: every offered version is.
            trees = [each for each in trees if each["api_key"] in OFFERED[self.site.kind]]
        if self.api_name in LISTS_TOPICS:
            trees = [each for each in trees if each.get("name", each.get("resource_name")) not in LATE_TOPICS]
        keys = KEYED.get((self.api_name, place))
        if self.api_name == "DeleteTopics":
            return sorted(trees, key=repr)  # a topic may stand there by its name and by its id
        keyed = {" ".join(str(each[key]) for key in keys or ()): each for each in trees}
        return keyed if keys is not None and len(keyed) == len(trees) else trees

    def value(self, name: str, value: Any, body: Any) -> Any:
        if isinstance(value, str):
            return self.text(name, value, body)
        if isinstance(value, bytes) and len(value) == 16:
            named = {topic_id: topic for topic, topic_id in self.site.topic_ids.items()}
            return value.hex() if value in (bytes(16), b"\x11" * 16) else f"id of {named.get(value, 'something new')}"
        if name.endswith("error_code"):
            return Code(value).name if value in Code.__members__.values() else value
        if name == "port" and value >= 0:
            return "a port"
        if name == "base_offset" and value >= 0:
            return "an offset"  # what one broker refuses, the other may keep; the records themselves are fetched
        if name in SIGN_ONLY or (self.api_name == "DescribeQuorum" and name in METADATA_LOG) or name in EPOCHS:
            return "some" if value > 0 else value
        return value

    def text(self, name: str, value: str, body: Any) -> str:
        if name.endswith("error_message"):
            return "some words" if value else ""
        if name == "documentation":
            return "some words"
        if name == "log_dir":
            return "a directory"
        if value == self.site.cluster_id:
            return "the cluster id"
        return _UUID.sub("<uuid>", value) if name in ("member_id", "leader", "member") else value


def differences(path: str, ours: Any, theirs: Any) -> list[tuple[str, str, str]]:
    """(field, ours, theirs) of each place where two trees differ; places in lists are not numbered."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        found = []
        for key in dict.fromkeys([*ours, *theirs]):
            place = _NUMBERED.sub(r"\1-n", f"{path}.{key}" if path else str(key))
            if key in ours and key in theirs:
                found += differences(place, ours[key], theirs[key])
            else:
                found.append((place, _told(ours.get(key, "absent")), _told(theirs.get(key, "absent"))))
        return found
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        return [each for one, other in zip(ours, theirs, strict=True) for each in differences(path, one, other)]
    return [] if ours == theirs and type(ours) is type(theirs) else [(path, _told(ours), _told(theirs))]


def _told(value: Any) -> str:
    if isinstance(value, bytes):
        return value.hex() or "empty"
    if isinstance(value, list | dict):
        return f"{len(value)} rows, {codes_of(value)}"
    return "null" if value is None else str(value)


def codes_of(tree: Any) -> str:
    """The errors in a tree, for short."""
    found: dict[str, None] = {}

    def visit(name: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, each in value.items():
                visit(key, each)
        elif isinstance(value, list):
            for each in value:
                visit("", each)
        elif name.endswith("error_code") and value != "NONE":
            found[str(value)] = None

    visit("", tree)
    return " ".join(found) or "NONE"
