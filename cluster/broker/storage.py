"""Log directories before anything runs: formatting them, and reading who they belong to.

Formats are Apache Kafka 4.4's: `meta.properties` v1 in every directory, and a bootstrap snapshot
`__cluster_metadata-0/00000000000000000000-0000000000.checkpoint` in the metadata directory (KIP-853, KIP-1170).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from msgspec import Struct

from cluster.config.properties import parse_properties
from cluster.raft.messages import BOOTSTRAP_SNAPSHOT, Endpoint, ReplicaKey, Voter
from pykafkacore.protocol import log_records as lr
from pykafkacore.protocol.types import Uuid, uuid_from_text, uuid_is_reserved, uuid_to_text

META_PROPERTIES = "meta.properties"
METADATA_DIR = "__cluster_metadata-0"
METADATA_TOPIC_ID = bytes(15) + b"\x01"


class StorageError(Exception):
    """A directory is not what it should be; the message names it and the way out."""


class MetaProperties(Struct, frozen=True):
    cluster_id: str
    node_id: int
    directory_id: Uuid


def random_uuid(random_bytes: Callable[[int], bytes] = os.urandom) -> Uuid:
    """A version 4 uuid. KAFKA: those whose text begins with a dash are avoided, as tools take them for options."""
    while True:
        raw = bytearray(random_bytes(16))
        raw[6] = raw[6] & 0x0F | 0x40
        raw[8] = raw[8] & 0x3F | 0x80
        uuid = bytes(raw)
        if not uuid_is_reserved(uuid) and not uuid_to_text(uuid).startswith("-"):
            return uuid


def write_atomically(path: Path, data: bytes | Iterable[bytes]) -> None:
    """There whole or not at all, also after a power failure."""
    temporary = path.with_name(path.name + ".tmp")
    with open(temporary, "wb") as file:
        for part in (data,) if isinstance(data, bytes) else data:
            file.write(part)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def read_meta_properties(directory: Path) -> MetaProperties | None:
    """None for a directory that was never formatted."""
    path = directory / META_PROPERTIES
    try:
        text = path.read_text()
    except FileNotFoundError:
        return None
    found = {name: entry.value for name, entry in parse_properties(text).items()}
    try:
        if found["version"] != "1":
            raise StorageError(f"{path}: version={found['version']}, but only version 1 can be read")
        return MetaProperties(found["cluster.id"], int(found["node.id"]), uuid_from_text(found["directory.id"]))
    except (KeyError, ValueError) as error:
        raise StorageError(f"{path}: cluster.id, node.id or directory.id is missing or malformed ({error})") from None


def write_meta_properties(directory: Path, meta: MetaProperties) -> None:
    lines = [
        "#",
        "version=1",
        f"cluster.id={meta.cluster_id}",
        f"directory.id={uuid_to_text(meta.directory_id)}",
        f"node.id={meta.node_id}",
    ]
    write_atomically(directory / META_PROPERTIES, ("\n".join(lines) + "\n").encode())


def usable_directories(directories: Iterable[str], needed: str) -> tuple[tuple[str, ...], dict[str, str]]:
    """Those that can be read and written, and why the others cannot. `needed` is the one that nothing works without."""
    usable, failed = [], {}
    for directory in directories:
        try:
            os.close(os.open(os.path.join(directory, ".lock"), os.O_RDWR | os.O_CREAT, 0o644))
            read_meta_properties(Path(directory))
            usable.append(directory)
        except OSError as error:
            if directory == needed and isinstance(error, FileNotFoundError):
                usable.append(directory)  # to be told that it is not formatted
            else:
                failed[directory] = str(error)
    if needed in failed:
        raise StorageError(f"{needed} holds the metadata log and cannot be used: {failed[needed]}")
    return tuple(usable), failed


def load_directories(directories: Iterable[str], node_id: int) -> list[MetaProperties]:
    """Every directory's identity, checked against one another and the node."""
    found: list[MetaProperties] = []
    for directory in directories:
        meta = read_meta_properties(Path(directory))
        if meta is None:
            raise StorageError(
                f"{directory} is not formatted: no {META_PROPERTIES} in it. Run kafka-storage format --standalone "
                "-t $(kafka-storage random-uuid) -c <server.properties>"
            )
        if meta.node_id != node_id:
            raise StorageError(f"{directory} belongs to node.id={meta.node_id}, but the configuration says {node_id}")
        if found and meta.cluster_id != found[0].cluster_id:
            raise StorageError(f"{directory} belongs to cluster {meta.cluster_id}, others to {found[0].cluster_id}")
        if any(meta.directory_id == other.directory_id for other in found):
            raise StorageError(f"{directory} has the same directory.id as another log directory: one is a copy")
        found.append(meta)
    return found


class Format(Struct, frozen=True):
    """What to format.

    `voters` None: the quorum is found elsewhere, or stands in controller.quorum.voters (then kraft_version is 0).
    `levels` None: those of a new cluster. `has_snapshot` False: no bootstrap snapshot, for a node that is no controller.
    """

    cluster_id: str
    node_id: int
    directories: tuple[str, ...]
    metadata_directory: str
    voters: tuple[Voter, ...] | None
    levels: dict[str, int] | None = None
    kraft_version: int = 1
    has_snapshot: bool = True


def standalone_voter(node_id: int, directory_id: Uuid, endpoints: Iterable[tuple[str, str, int]]) -> Voter:
    return Voter(ReplicaKey(node_id, directory_id), tuple(Endpoint(*endpoint) for endpoint in endpoints))


def format_directories(wanted: Format, directory_ids: dict[str, Uuid], now_ms: int) -> list[str]:
    """Formats what is not formatted yet, the metadata directory last; gives the directories that were."""
    done = []
    for directory in sorted(wanted.directories, key=lambda each: each == wanted.metadata_directory):
        path = Path(directory)
        path.mkdir(parents=True, exist_ok=True)
        if read_meta_properties(path) is not None:
            continue
        if directory == wanted.metadata_directory and wanted.has_snapshot:
            metadata_dir = path / METADATA_DIR
            metadata_dir.mkdir(exist_ok=True)
            write_atomically(metadata_dir / _snapshot_name(), _bootstrap_snapshot(wanted, now_ms))
        # Last, so that a directory with meta.properties is a whole one.
        write_meta_properties(path, MetaProperties(wanted.cluster_id, wanted.node_id, directory_ids[directory]))
        done.append(directory)
    return done


def _snapshot_name() -> str:
    from cluster.raft.snapshot import snapshot_name

    return snapshot_name(BOOTSTRAP_SNAPSHOT)


def _bootstrap_snapshot(wanted: Format, now_ms: int) -> Iterable[bytes]:
    """The file's batches. KAFKA: without voters of its own it says only the kraft.version, and nothing for 0."""
    from cluster.metadata.features import KRAFT_VERSION
    from cluster.metadata.records import FEATURE_LEVEL, frame
    from cluster.metadata.snapshot import bootstrap_records
    from cluster.plane.native import crc32c
    from cluster.raft.batches import encode_control, encode_records
    from cluster.raft.messages import KRaftVersion
    from cluster.raft.snapshot import build_snapshot

    levels = None if wanted.levels is None else {k: v for k, v in wanted.levels.items() if k != KRAFT_VERSION}
    records = [frame(each) for each in bootstrap_records(levels) if each.api_key == FEATURE_LEVEL]
    if wanted.kraft_version == 0 or wanted.voters is not None:
        kraft_version, voters = wanted.kraft_version, wanted.voters or ()
        return build_snapshot(BOOTSTRAP_SNAPSHOT, now_ms, kraft_version, voters, records, now_ms, crc=crc32c)
    first = [
        (lr.encode_control_key(lr.CONTROL_SNAPSHOT_HEADER), lr.SNAPSHOT_HEADER_RECORD.encode(
            lr.SNAPSHOT_HEADER_RECORD(version=0, last_contained_log_timestamp=now_ms), 0)),
        encode_control(KRaftVersion(wanted.kraft_version)),
    ]  # fmt: skip
    footer = lr.SNAPSHOT_FOOTER_RECORD.encode(lr.SNAPSHOT_FOOTER_RECORD(version=0), 0)
    last = [(lr.encode_control_key(lr.CONTROL_SNAPSHOT_FOOTER), footer)]
    end = len(first) + len(records)
    return [
        encode_records(0, 0, first, now_ms, True, crc32c),
        encode_records(len(first), 0, [(None, record) for record in records], now_ms, False, crc32c),
        encode_records(end, 0, last, now_ms, True, crc32c),
    ]
