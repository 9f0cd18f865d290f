"""THE TABLE of cases: for each API good requests, requests made bad by the schema, and bad ones that need thought.

GOOD names for each API its good requests as functions of the version; the first of them is the one that the mutations of
`hostile.py` start from. SPECIAL adds cases of several steps. Cut and padded bodies, client ids and versions come for all.
Both brokers get all cases in the same order, so state may build up; still a case should not lean on another.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from typing import Any

from pykafkacore.protocol.apis import api
from tests.compat.parity import batches, groups, transactions
from tests.compat.parity.hostile import CLIENT_ID, UNKNOWN_ID, body_of, framed, header_of, mutations
from tests.compat.parity.recorder import Case, Site, Step

Tree = dict[str, Any]
TOPICS = {
    "one": 2, "records": 2, "produce": 3, "compacted": 1, "stamped": 1, "shrunk": 2, "groups": 2, "grown": 1, "doomed": 1,
    "doomed-too": 1, "moved": 2,
}  # fmt: skip
FOR_EVER = {"retention.ms": "-1"}  # the records of the tests have a fixed clock, which is long past one day
TOPIC_CONFIGS = {
    "records": FOR_EVER,
    "shrunk": FOR_EVER,
    "produce": FOR_EVER,
    "compacted": {"cleanup.policy": "compact"},
    "stamped": {"message.timestamp.type": "LogAppendTime"},
}
TOPIC, BROKER = 2, 4


def topic_id(name: str) -> Callable[[Site], bytes]:
    return lambda site: site.topic_ids[name]


def named(version: int, ids_from: int, key: str, name: str, **more: Any) -> Tree:
    """A topic by its name, or by its id where the version wants that."""
    return {"topic_id": topic_id(name), **more} if version >= ids_from else {key: name, **more}


def unknown(version: int, ids_from: int, key: str, **more: Any) -> Tree:
    return {"topic_id": UNKNOWN_ID, **more} if version >= ids_from else {key: "no-such-topic", **more}


# --- the data path --------------------------------------------------------------------------------------------------------


def produce(version: int) -> dict[str, Tree]:
    def one(data: bytes, index: int = 0, topic: str = "produce", **more: Any) -> Tree:
        rows = [{"index": index, "records": data}]
        return {
            "acks": -1,
            "timeout_ms": 5000,
            "topic_data": [named(version, 13, "name", topic, partition_data=rows)],
            **more,
        }

    found = {"a batch": one(batches.good())}
    found |= {f"batch: {told}": one(data, 1) for told, data in batches.variants()}
    found["partition unknown"] = one(batches.good(), 77)
    found["compacted topic, no key"] = one(batches.good(), 0, "compacted")
    found["log append time"] = one(batches.good(), 0, "stamped")
    found["internal topic"] = one(batches.good(), 0, "__consumer_offsets")
    found["acks 1"] = one(batches.good(), acks=1)
    rows = [{"index": 0, "records": batches.good()}]
    found["unknown topic"] = {
        "acks": -1,
        "timeout_ms": 5000,
        "topic_data": [unknown(version, 13, "name", partition_data=rows)],
    }
    return found


def one_way(version: int) -> Iterator[Case]:
    """acks=0: no answer, and on any error the connection closes."""
    good = produce(version)["a batch"]
    after = Step("ApiVersions", 0, {})
    for told, index, data in (
        ("good", 0, batches.good()), ("unknown partition", 77, batches.good()), ("wrong checksum", 1, batches.good()[:-1] + b"x"),
    ):  # fmt: skip
        rows = [{"index": index, "records": data}]
        topics = [named(version, 13, "name", "produce", partition_data=rows)]
        tree = good | {"acks": 0, "topic_data": topics}
        yield Case(f"acks 0: {told}", version, (Step("Produce", version, tree, is_one_way=True), after))
    yield from transactions.produced(version)


def fetch(version: int) -> dict[str, Tree]:
    def one(topic: str = "records", rows: list[Tree] | None = None, **more: Any) -> Tree:
        rows = rows or [{"partition": 0, "fetch_offset": 0, "partition_max_bytes": 1 << 20}]
        topics = [named(version, 13, "topic", topic, partitions=rows)]
        return {"max_wait_ms": 0, "min_bytes": 0, "max_bytes": 1 << 20, "topics": topics, **more}

    def at(**more: Any) -> Tree:
        return one(rows=[{"partition": 0, "fetch_offset": 0, "partition_max_bytes": 1 << 20, **more}])

    found = {
        "from the start": one(),
        "nothing there": one("one"),
        "at the end": at(fetch_offset=3),
        "beyond the end": at(fetch_offset=4),
        "partition unknown": at(partition=9),
        "few bytes": at(partition_max_bytes=1),
        "stale leader epoch": at(current_leader_epoch=0),
        "newer leader epoch": at(current_leader_epoch=5),
        "diverged": at(last_fetched_epoch=0, fetch_offset=2),
        "diverged later": at(last_fetched_epoch=7, fetch_offset=2),
        "committed only": one(isolation_level=1),
        "isolation level 2": one(isolation_level=2),
        "zstd records": one("records", [{"partition": 1, "fetch_offset": 0, "partition_max_bytes": 1 << 20}]),
        "as replica 1": one(replica_id=1, replica_state={"replica_id": 1, "replica_epoch": 5}),
        "as replica 9": one(replica_id=9, replica_state={"replica_id": 9, "replica_epoch": 5}),
        "foreign cluster": one(cluster_id="x"),
        "session asked for": one(session_id=0, session_epoch=0),
        "session unknown": one(session_id=1234, session_epoch=1),
        "session 0 epoch 1": one(session_id=0, session_epoch=1),
        "session closed that is unknown": one(session_id=1234, session_epoch=-1),
        "unknown topic": one() | {
            "topics": [unknown(version, 13, "topic", partitions=[{"fetch_offset": 0, "partition_max_bytes": 100}])]
        },
        "unknown topic forgotten": one(
            session_id=0, session_epoch=0, forgotten_topics_data=[unknown(version, 13, "topic", partitions=[0])]
        ),
    }  # fmt: skip
    return found


def fetch_sessions(version: int) -> Iterator[Case]:
    if version < 7:
        return
    full = fetch(version)["session asked for"]

    def step(epoch: int, **more: Any) -> Step:
        return Step(
            "Fetch", version, full | {"session_id": lambda s: s.answers[0].session_id, "session_epoch": epoch, **more}
        )

    first = Step("Fetch", version, full)
    forgotten = [named(version, 13, "topic", "records", partitions=[0])]
    yield Case("session: nothing new", version, (first, step(1, topics=[]), step(2, topics=[])))
    yield Case("session: epoch repeated", version, (first, step(1, topics=[]), step(1, topics=[])))
    yield Case("session: epoch left out", version, (first, step(2, topics=[])))
    yield Case("session: asked again", version, (first, step(1)))
    yield Case(
        "session: forgotten", version, (first, step(1, topics=[], forgotten_topics_data=forgotten), step(2, topics=[]))
    )
    yield Case("session: closed", version, (first, step(-1), step(1, topics=[])))
    yield Case("session: restarted", version, (first, step(0)))
    bad = unknown(version, 13, "topic", partitions=[{"fetch_offset": 0, "partition_max_bytes": 100}])
    yield Case("session: unknown topic added", version, (first, step(1, topics=[bad]), step(2, topics=[])))


def list_offsets(version: int) -> dict[str, Tree]:
    def one(topic: str = "records", **more: Any) -> Tree:
        return {"replica_id": -1, "topics": [{"name": topic, "partitions": [{"timestamp": -1, **more}]}]}

    found = {"latest": one(), "unknown topic": one("no-such-topic"), "invalid topic": one("no such topic")}
    for timestamp in (-2, -3, -4, -5, -6, -7, 0, batches.AT + 1, batches.AT + 999):
        found[f"timestamp {timestamp - batches.AT if timestamp > 0 else timestamp}"] = one(timestamp=timestamp)
    found["leader epoch 0"] = one(current_leader_epoch=0)
    found["leader epoch 9"] = one(current_leader_epoch=9)
    found["partition unknown"] = one(partition_index=7)
    found["committed"] = one() | {"isolation_level": 1}
    found["isolation level 7"] = one() | {"isolation_level": 7}
    found["as replica 9"] = one() | {"replica_id": 9}
    found["as debugger"] = one() | {"replica_id": -2}
    return found


def offset_for_leader_epoch(version: int) -> dict[str, Tree]:
    def one(topic: str = "records", **more: Any) -> Tree:
        return {"replica_id": -1, "topics": [{"topic": topic, "partitions": [{"leader_epoch": 0, **more}]}]}

    return {
        "epoch 0": one(),
        "epoch 5": one(leader_epoch=5),
        "unknown topic": one("no-such-topic"),
        "partition unknown": one(partition=9),
        "current epoch 0": one(current_leader_epoch=0),
        "current epoch 9": one(current_leader_epoch=9),
        "empty log": one("one"),
    }


def delete_records(version: int) -> dict[str, Tree]:
    def one(topic: str = "shrunk", offset: int = 1, index: int = 0) -> Tree:
        return {
            "timeout_ms": 5000,
            "topics": [{"name": topic, "partitions": [{"partition_index": index, "offset": offset}]}],
        }

    return {
        "up to 1": one(),
        "beyond the end": one(offset=99),
        "all": one(offset=-1, index=1),
        "again": one(offset=0),
        "unknown topic": one("no-such-topic"),
        "partition unknown": one(index=9),
        "internal": one("__consumer_offsets"),
        "compacted": one("compacted", 0),
    }


def describe_producers(version: int) -> dict[str, Tree]:
    def one(name: str, *indexes: int) -> Tree:
        return {"topics": [{"name": name, "partition_indexes": list(indexes)}]}

    return {
        "none": one("one", 0, 1),
        "some": one("produce", 2),
        "unknown topic": one("no-such-topic", 0),
        "partition unknown": one("one", 9),
        "no partitions": one("one"),
    }


def alter_replica_log_dirs(version: int) -> dict[str, Tree]:
    def one(path: str, name: str, *indexes: int) -> Tree:
        return {"dirs": [{"path": path, "topics": [{"name": name, "partitions": list(indexes)}]}]}

    return {
        "nothing": {"dirs": []},
        "no partitions": one("/nowhere", "one"),
        "unknown directory": one("/nowhere", "one", 0, 1),
        "unknown directory and topic": one("/nowhere", "no-such-topic", 0),
        "directory without a name": one("", "one", 0),
        "a long name": one("/nowhere", "x" * 249, 0),
    }


def describe_log_dirs(version: int) -> dict[str, Tree]:
    def one(name: str, *indexes: int) -> Tree:
        return {"topics": [{"topic": name, "partitions": list(indexes)}]}

    return {
        "a topic": one("records", 0, 1),
        "unknown topic": one("no-such-topic", 0),
        "partition unknown": one("one", 9),
    }


# --- metadata -------------------------------------------------------------------------------------------------------------


def api_versions(version: int) -> dict[str, Tree]:
    def one(software: str = "parity", release: str = "1.0", **more: Any) -> Tree:
        return {"client_software_name": software, "client_software_version": release, **more}

    found = {"good": one()}
    for bad in ("-x", "x-", "a b", "é", ".", "a..b", "a_b"):
        found[f"software {bad}"] = one(bad)
        found[f"release {bad}"] = one(release=bad)
    if version >= 5:
        found["this broker"] = one(cluster_id=lambda s: s.cluster_id, node_id=1)
        found["other node"] = one(cluster_id=lambda s: s.cluster_id, node_id=7)
        found["other cluster"] = one(cluster_id="other", node_id=1)
        found["no cluster"] = one(cluster_id="", node_id=1)
        found["cluster alone"] = one(cluster_id=lambda s: s.cluster_id)
        found["node alone"] = one(node_id=1)
    return found


def metadata(version: int) -> dict[str, Tree]:
    def one(*names: str | None, **more: Any) -> Tree:
        return {"topics": [{"name": name} for name in names], "allow_auto_topic_creation": False, **more}

    found = {
        "one topic": one("one"),
        "two": one("records", "one"),
        "twice": one("one", "one"),
        "none": one(),
        "internal": one("__consumer_offsets"),
        "with operations": one(
            "one", include_topic_authorized_operations=True, include_cluster_authorized_operations=version <= 10
        ),
    }
    if version >= 4:
        for name in ("no-such-topic", "", ".", "..", "a b", "é", "x" * 249, "x" * 250, "__share_group_state"):
            found[f"topic {name[:20]} of {len(name)}"] = one(name)
    if version >= 1:
        found["all"] = {"topics": None, "allow_auto_topic_creation": False}
    if version >= 10:
        found["by id"] = {"topics": [{"topic_id": topic_id("one"), "name": None}]}
        found["by id and name"] = {"topics": [{"topic_id": topic_id("one"), "name": "one"}]}
        found["by unknown id"] = {"topics": [{"topic_id": UNKNOWN_ID, "name": None}]}
        found["by known and unknown id"] = {
            "topics": [{"topic_id": UNKNOWN_ID, "name": None}, {"topic_id": topic_id("one"), "name": None}]
        }
        found["by nothing"] = {"topics": [{"topic_id": bytes(16), "name": None}]}
    return found


def auto_creation(version: int) -> Iterator[Case]:
    tree = {"topics": [{"name": f"made-by-asking-{version}"}], "allow_auto_topic_creation": True}
    bad = {"topics": [{"name": "made by asking"}], "allow_auto_topic_creation": True}
    yield Case("auto-creation", version, (Step("Metadata", version, tree),))
    yield Case("auto-creation of an invalid topic", version, (Step("Metadata", version, bad),))


def describe_topic_partitions(version: int) -> dict[str, Tree]:
    def one(*names: str, limit: int = 100, **more: Any) -> Tree:
        return {"topics": [{"name": name} for name in names], "response_partition_limit": limit, "cursor": None, **more}

    def after(topic: str, index: int) -> Tree:
        return {"topic_name": topic, "partition_index": index}

    return {
        "two": one("one", "records", cursor=after("one", 1)),
        "limit 1": one("records", "one", limit=1),
        "limit 2": one("records", "one", limit=2),
        "limit 3": one("records", "one", limit=3),
        "twice": one("one", "one"),
        "unknown": one("no-such-topic", "one"),
        "invalid": one("no such topic"),
        "without a name": one("", "records"),
        "cursor behind": one("one", cursor=after("zzz", 0)),
        "cursor before": one("one", cursor=after("a", 3)),
        "cursor beyond the partitions": one("one", "records", cursor=after("one", 9)),
        "cursor of a topic that is not there": one("one", "records", cursor=after("pppp", 1)),
    }


def describe_cluster(version: int) -> dict[str, Tree]:
    found = {
        "good": {"include_cluster_authorized_operations": False},
        "with operations": {"include_cluster_authorized_operations": True},
    }
    if version >= 1:
        found |= {f"endpoint type {kind}": {"endpoint_type": kind} for kind in (1, 2, 3, 0)}
    return found


def describe_quorum(version: int) -> dict[str, Tree]:
    def one(topic: str, *indexes: int) -> Tree:
        return {"topics": [{"topic_name": topic, "partitions": [{"partition_index": index} for index in indexes]}]}

    return {
        "good": one("__cluster_metadata", 0),
        "partition 1": one("__cluster_metadata", 1),
        "two partitions": one("__cluster_metadata", 0, 1),
        "another topic": one("one", 0),
    }


# --- topics and configs ---------------------------------------------------------------------------------------------------


def create_topics(version: int) -> dict[str, Tree]:
    def one(
        name: Any = lambda site: site.fresh,
        count: int = 2,
        replication: int = 1,
        validate_only: bool = True,
        **more: Any,
    ) -> Tree:
        configs = more.pop("configs", {"cleanup.policy": "compact"})
        rows = [{"name": key, "value": value} for key, value in configs.items()]
        topic = {"name": name, "num_partitions": count, "replication_factor": replication, "configs": rows, **more}
        return {"topics": [topic], "timeout_ms": 10_000, "validate_only": validate_only}

    found = {
        "validated": one(),
        "made": one(f"made-{version}", validate_only=False),
        "made again": one(f"made-{version}", validate_only=False),
        "exists": one("one"),
        "defaults": one(count=-1, replication=-1),
        "many partitions": one(count=10_001),
        "replication 2": one(replication=2),
        "replication 2 and partitions 0": one(count=0, replication=2),
        "metadata topic": one("__cluster_metadata"),
        "collides": one("a.b") | {"topics": [*one("a.b", configs={})["topics"], *one("a_b", configs={})["topics"]]},
        "two with one bad": {**one(), "topics": [*one("fine")["topics"], *one("not fine")["topics"]]},
        "twice": {**one(), "topics": [*one("same")["topics"], *one("same")["topics"], *one("other")["topics"]]},
    }
    for name in ("", ".", "..", "a b", "é", "x" * 249, "x" * 250):
        found[f"name {name[:20]} of {len(name)}"] = one(name)
    for key, value in (
        ("cleanup.policy", "nonsense"), ("cleanup.policy", ""), ("cleanup.policy", None), ("cleanup.policy", "compact,delete"),
        ("retention.ms", "x"), ("retention.ms", "-2"), ("retention.ms", ""), ("no.such.key", "1"), ("segment.bytes", "13"),
        ("max.message.bytes", "-1"), ("compression.type", "brotli"), ("min.insync.replicas", "0"), ("", "1"),
        ("min.cleanable.dirty.ratio", "1.5"), ("preallocate", "yes"), ("message.timestamp.type", "Never"),
        ("remote.storage.enable", "true"), ("unclean.leader.election.enable", "TRUE"), ("retention.ms", " 5 "),
        ("segment.ms", "0"), ("local.retention.ms", "5"), ("max.compaction.lag.ms", "0"), ("compression.gzip.level", "10"),
        ("follower.replication.throttled.replicas", "x"), ("leader.replication.throttled.replicas", "*"),
    ):  # fmt: skip
        found[f"config {key}={value}"] = one(configs={key: value})
    for told, rows in (
        ("good", [(0, [1])]), ("of two", [(0, [1]), (1, [1])]), ("with a gap", [(0, [1]), (2, [1])]),
        ("unknown broker", [(0, [9])]), ("no replicas", [(0, [])]),
        ("broker twice", [(0, [1, 1])]), ("partition twice", [(0, [1]), (0, [1])]),
        ("negative broker", [(0, [-1])]), ("starting at 1", [(1, [1])]), ("uneven", [(0, [1]), (1, [1, 2])]),
    ):  # fmt: skip
        assignments = [{"partition_index": index, "broker_ids": brokers} for index, brokers in rows]
        found[f"assigned {told}"] = one(count=-1, replication=-1, assignments=assignments)
        if told == "good":
            found["assigned with a count"] = one(count=1, replication=-1, assignments=assignments)
            found["assigned with a factor"] = one(count=-1, replication=1, assignments=assignments)
            found["assigned at the base"] = one(assignments=assignments)
    return found


def delete_topics(version: int) -> dict[str, Tree]:
    def one(*names: str | None, ids: tuple[Any, ...] = ()) -> Tree:
        if version >= 6:
            rows = [{"name": name} for name in names] + [{"name": None, "topic_id": each} for each in ids]
            return {"topics": rows, "timeout_ms": 10_000}
        return {"topic_names": list(names), "timeout_ms": 10_000}

    found = {
        "unknown": one("no-such-topic"),
        "made": one(f"made-{version}"),
        "twice": one("no-such-topic", "no-such-topic"),
        "known twice": one("doomed", "doomed"),
        "invalid": one("no such topic", ""),
    }
    if version >= 6:
        found["by unknown id"] = one(ids=(UNKNOWN_ID,))
        found["by id"] = one(ids=(topic_id("gone-by-id"),))
        both = {"name": "doomed-too", "topic_id": topic_id("doomed-too")}
        found["by name and id"] = {"topics": [both], "timeout_ms": 10_000}
        found["by id twice"] = one(ids=(UNKNOWN_ID, UNKNOWN_ID))
        found["by name and the same id"] = one("doomed-too", ids=(topic_id("doomed-too"),))
    return found


def create_partitions(version: int) -> dict[str, Tree]:
    def one(name: str = "one", count: int = 3, assignments: Any = None, validate_only: bool = True) -> Tree:
        topic = {"name": name, "count": count, "assignments": assignments}
        return {"topics": [topic], "timeout_ms": 10_000, "validate_only": validate_only}

    found = {
        "validated": one(assignments=[{"broker_ids": [1]}]),
        "made": one("grown", version + 2, validate_only=False),
        "same count": one(count=2),
        "fewer": one(count=1),
        "many": one(count=100_000),
        "unknown": one("no-such-topic"),
        "invalid": one("no such topic"),
        "internal": one("__consumer_offsets", 9),
        "too few assignments": one(count=4, assignments=[{"broker_ids": [1]}]),
        "too many assignments": one(assignments=[{"broker_ids": [1]}, {"broker_ids": [1]}]),
        "unknown broker": one(assignments=[{"broker_ids": [9]}]),
        "two replicas": one(assignments=[{"broker_ids": [1, 9]}]),
        "broker twice": one(assignments=[{"broker_ids": [1, 1]}]),
        "no broker": one(assignments=[{"broker_ids": []}]),
        "no assignment": one(assignments=[]),
    }
    return found


def describe_configs(version: int) -> dict[str, Tree]:
    def one(kind: int = TOPIC, name: str = "compacted", keys: list[str] | None = None, **more: Any) -> Tree:
        rows = [{"resource_type": kind, "resource_name": name, "configuration_keys": keys}]
        return {"resources": rows, "include_synonyms": True, "include_documentation": version >= 3, **more}

    found = {
        "one key": one(keys=["cleanup.policy", "no.such.key"]),
        "topic": one(),
        "topic without synonyms": one(include_synonyms=False, include_documentation=False),
        "broker": one(BROKER, "1"),
        "cluster default": one(BROKER, ""),
        "another broker": one(BROKER, "9"),
        "no number": one(BROKER, "x"),
        "unknown topic": one(TOPIC, "no-such-topic"),
        "invalid topic": one(TOPIC, "no such topic"),
        "no keys": one(keys=[]),
    }
    for kind in (0, 1, 3, 8, 16, 32, 64, -1, 127):
        found[f"resource type {kind}"] = one(kind, "x")
        found[f"resource type {kind} without a name"] = one(kind, "")
    found["logger of 1"] = one(8, "1", keys=["no.such.logger"])
    found["group"] = one(32, "some-group")
    return found


CONFIGS = (
    ("retention.ms", "5"), ("retention.ms", "x"), ("retention.ms", None), ("retention.ms", ""), ("no.such.key", "1"), ("", "1"),
    ("cleanup.policy", "delete"), ("cleanup.policy", "nonsense"), ("cleanup.policy", "compact"), ("compression.type", "x"),
)  # fmt: skip


def alter_configs(version: int) -> dict[str, Tree]:
    def one(kind: int = TOPIC, name: str = "one", *configs: tuple[str, str | None], validate_only: bool = True) -> Tree:
        rows = [{"name": key, "value": value} for key, value in configs or [("retention.ms", "5000")]]
        return {
            "resources": [{"resource_type": kind, "resource_name": name, "configs": rows}],
            "validate_only": validate_only,
        }

    found = {"validated": one(), "changed": one(TOPIC, "grown", ("retention.ms", "77777"), validate_only=False)}
    found |= {f"{key}={value}": one(TOPIC, "one", (key, value)) for key, value in CONFIGS}
    found |= _of_resources(one)
    found["key twice"] = one(TOPIC, "one", ("retention.ms", "5"), ("retention.ms", "6"))
    return found


def _of_resources(one: Callable[..., Tree]) -> dict[str, Tree]:
    found = {
        "unknown topic": one(TOPIC, "no-such-topic"),
        "invalid topic": one(TOPIC, "no such topic"),
        "two resources": {**one(), "resources": [*one()["resources"], *one(TOPIC, "no-such-topic")["resources"]]},
        "broker 1": one(BROKER, "1", ("message.max.bytes", "2000000")),
        "broker default": one(BROKER, "", ("message.max.bytes", "2000000")),
        "broker, bad value": one(BROKER, "1", ("message.max.bytes", "x")),
        "broker, read only": one(BROKER, "1", ("node.id", "2")),
        "broker, per broker only": one(BROKER, "", ("listeners", "PLAINTEXT://:1")),
        "broker unknown": one(BROKER, "9", ("message.max.bytes", "2000000")),
        "broker no number": one(BROKER, "x", ("message.max.bytes", "2000000")),
        "broker, unknown key": one(BROKER, "1", ("no.such.key", "1")),
        "group": one(32, "some-group", ("consumer.session.timeout.ms", "46000")),
        "group, bad value": one(32, "some-group", ("consumer.session.timeout.ms", "x")),
        "group, unknown key": one(32, "some-group", ("no.such.key", "x")),
        "group, too small": one(32, "some-group", ("consumer.session.timeout.ms", "1")),
        "client metrics": one(16, "some", ("interval.ms", "1000")),
        "client metrics, bad": one(16, "some", ("interval.ms", "1")),
        "client metrics, unknown key": one(16, "some", ("no.such.key", "1")),
    }
    for kind in (0, 1, 3, 64, -1, 127):
        found[f"resource type {kind}"] = one(kind, "x")
    for kind in (BROKER, 8, 16, 32, TOPIC):
        found[f"resource type {kind} without a name"] = one(kind, "", ("no.such.key", "1"))
    return found


def incremental_alter_configs(version: int) -> dict[str, Tree]:
    def one(kind: int = TOPIC, name: str = "one", *configs: tuple[Any, ...], validate_only: bool = True) -> Tree:
        rows = [
            {"name": config[0], "config_operation": config[2] if len(config) > 2 else 0, "value": config[1]}
            for config in configs or [("retention.ms", "5000")]
        ]
        return {
            "resources": [{"resource_type": kind, "resource_name": name, "configs": rows}],
            "validate_only": validate_only,
        }

    found = {"validated": one(), "changed": one(TOPIC, "grown", ("retention.ms", "88888"), validate_only=False)}
    for operation in (0, 1, 2, 3):
        found |= {f"{key}={value} by {operation}": one(TOPIC, "one", (key, value, operation)) for key, value in CONFIGS}
    found |= _of_resources(one)
    found["key twice"] = one(TOPIC, "one", ("retention.ms", "5"), ("retention.ms", "6"))
    found["set and deleted"] = one(TOPIC, "one", ("retention.ms", "5"), ("retention.ms", None, 1))
    found["logger"] = one(8, "1", ("org.apache.kafka", "INFO"))
    found["logger level unknown"] = one(8, "1", ("org.apache.kafka", "LOUD"))
    found["logger of another broker"] = one(8, "9", ("org.apache.kafka", "INFO"))
    return found


def list_config_resources(version: int) -> dict[str, Tree]:
    if version == 0:
        return {"all": {}}
    return {"topics": {"resource_types": [2]}} | {
        f"type {kind}": {"resource_types": [kind]} for kind in (0, 1, 4, 8, 16, 32, 64, -1)
    } | {"several": {"resource_types": [2, 4, 32]}, "several, one unknown": {"resource_types": [2, 99]}}  # fmt: skip


def update_features(version: int) -> dict[str, Tree]:
    def one(feature: str, level: int, **more: Any) -> Tree:
        more = {key: value for key, value in more.items() if (key == "allow_downgrade") == (version == 0)}
        return {
            "feature_updates": [{"feature": feature, "max_version_level": level, **more}],
            "timeout_ms": 5000,
            "validate_only": True,
        }

    found = {
        "unknown feature": one("no.such.feature", 1),
        "unknown feature down": one("no.such.feature", 0, allow_downgrade=True, upgrade_type=2),
        "nothing": {"feature_updates": []},
    }
    if version >= 1:
        found |= {
            "the same level": one("group.version", 1),
            "too high": one("group.version", 99),
            "negative": one("group.version", -1),
            "down without leave": one("group.version", 0),
            "down": one("group.version", 0, upgrade_type=2),
            "down unsafely": one("group.version", 0, upgrade_type=3),
            "metadata.version too high": one("metadata.version", 999),
            "metadata.version down": one("metadata.version", 20, upgrade_type=2),
            "metadata.version 0": one("metadata.version", 0, upgrade_type=3),
            "kraft.version": one("kraft.version", 1),
            "kraft.version too high": one("kraft.version", 9),
            "type 0": one("group.version", 1, upgrade_type=0),
            "type 9": one("group.version", 1, upgrade_type=9),
        }
    return found


def alter_partition_reassignments(version: int) -> dict[str, Tree]:
    def one(name: str = "one", index: int = 0, replicas: list[int] | None = None) -> Tree:
        partitions = [{"partition_index": index, "replicas": replicas}]
        return {"timeout_ms": 10_000, "topics": [{"name": name, "partitions": partitions}]}

    twice = one(replicas=[1])
    twice["topics"][0]["partitions"] *= 2
    found = {
        "to where it is": one(replicas=[1]),
        "cancelled, but not under way": one(),
        "unknown topic": one("no-such-topic", replicas=[1]),
        "invalid topic": one("no such topic", replicas=[1]),
        "unknown partition": one(index=99, replicas=[1]),
        "partition twice": twice,
        "unknown broker": one(replicas=[9]),
        "another one, unknown": one(replicas=[1, 9]),
        "broker twice": one(replicas=[1, 1]),
        "no broker": one(replicas=[]),
        "negative broker": one(replicas=[-1]),
        "nothing": {"timeout_ms": 10_000, "topics": []},
    }
    if version >= 1:
        found["of the same number"] = {**one(replicas=[1]), "allow_replication_factor_change": False}
        found["of another number"] = {**one(replicas=[1, 9]), "allow_replication_factor_change": False}
        found["of the same number, too late"] = {**found["of the same number"], "timeout_ms": 0}
    return found


def list_partition_reassignments(version: int) -> dict[str, Tree]:
    def of(*topics: tuple[str, list[int]]) -> Tree:
        return {"timeout_ms": 10_000, "topics": [{"name": name, "partition_indexes": each} for name, each in topics]}

    return {
        "all": {"timeout_ms": 10_000, "topics": None},
        "none": of(),
        "one": of(("one", [0])),
        "unknown": of(("no-such-topic", [0]), ("one", [99])),
        "no partition": of(("one", [])),
    }


def unregister_broker(version: int) -> dict[str, Tree]:
    return {"unknown": {"broker_id": 77}}


GOOD: dict[str, Callable[[int], dict[str, Tree]]] = {
    "Produce": produce,
    "Fetch": fetch,
    "ListOffsets": list_offsets,
    "Metadata": metadata,
    "ApiVersions": api_versions,
    "CreateTopics": create_topics,
    "DeleteTopics": delete_topics,
    "DeleteRecords": delete_records,
    "OffsetForLeaderEpoch": offset_for_leader_epoch,
    "DescribeConfigs": describe_configs,
    "AlterConfigs": alter_configs,
    "AlterReplicaLogDirs": alter_replica_log_dirs,
    "DescribeLogDirs": describe_log_dirs,
    "CreatePartitions": create_partitions,
    "IncrementalAlterConfigs": incremental_alter_configs,
    "DescribeQuorum": describe_quorum,
    "UpdateFeatures": update_features,
    "DescribeCluster": describe_cluster,
    "DescribeProducers": describe_producers,
    "AlterPartitionReassignments": alter_partition_reassignments,
    "ListPartitionReassignments": list_partition_reassignments,
    "UnregisterBroker": unregister_broker,
    "ListConfigResources": list_config_resources,
    "DescribeTopicPartitions": describe_topic_partitions,
    **groups.GOOD,
    **transactions.GOOD,
}
SPECIAL: dict[str, Callable[[int], Iterator[Case]]] = {
    "Produce": one_way,
    "Fetch": fetch_sessions,
    "Metadata": auto_creation,
    **groups.SPECIAL,
    **transactions.SPECIAL,
}

# (API, case): what Apache Kafka leaves without an answer.
UNANSWERED = [
    ("Produce", "*records null"), ("Produce", "*records of length -2"),
    ("AlterConfigs", "*resources twice"), ("JoinGroup", "one protocol twice"), ("AddPartitionsToTxn", "spoilt: transactions *"),
    ("WriteTxnMarkers", "spoilt: markers.* twice"),
]  # fmt: skip


# --- what comes for every API ---------------------------------------------------------------------------------------------


def cases_of(api_name: str, oldest: int, latest: int) -> Iterator[Case]:
    """All cases of one API at the versions that both offer."""
    if api_name in ("Framing", "Last"):
        yield from framing() if api_name == "Framing" else last()
        return
    for version in range(oldest, latest + 1):
        if not api(api_name).serves(version):
            yield Case("a version that is offered but not served", version, (_raw(api_name, version, bytes(40)),))
            continue
        yield from _at(api_name, version)
    for version in (latest + 1, -1, 32767):
        body = b"\x02a\x02b\0" if api_name == "ApiVersions" else bytes(40)
        yield Case("a version that is not served", version, (_raw(api_name, version, body),))


def _at(api_name: str, version: int) -> Iterator[Case]:
    good = GOOD.get(api_name, lambda _: {"defaults": {}})(version)
    trees = dict(good)
    base = next(iter(good.values()))
    for told, tree in mutations(api_name, version, base):
        trees[f"spoilt: {told}"] = tree
    for told, tree in trees.items():
        silent = any(fnmatchcase(api_name, one) and fnmatchcase(told, pattern) for one, pattern in UNANSWERED)
        yield Case(told, version, (Step(api_name, version, tree),), silent)
    if api_name in SPECIAL:
        yield from SPECIAL[api_name](version)

    def spoilt(told: str, make: Callable[[Site], bytes]) -> Case:
        return Case(f"bytes: {told}", version, (Step(api_name, version, frame=lambda site: framed(make(site))),))

    def body(site: Site) -> bytes:
        return body_of(api_name, version, base, site)

    header = header_of(api_name, version)
    if base:
        yield spoilt("body cut by one", lambda site: header + body(site)[:-1])
        yield spoilt("body cut in half", lambda site: header + body(site)[: len(body(site)) // 2])
        yield spoilt("no body", lambda site: header)
    yield spoilt("more after the body", lambda site: header + body(site) + b"more")
    yield spoilt("client id null", lambda site: header_of(api_name, version, None) + body(site))
    yield spoilt("client id empty", lambda site: header_of(api_name, version, b"") + body(site))
    yield spoilt("client id of length -2", lambda site: header_of(api_name, version, b"", -2) + body(site))
    yield spoilt("client id longer than the frame", lambda site: header_of(api_name, version, b"", 32767) + body(site))
    if api(api_name).is_flexible(version):
        tagged = header[:-1] + b"\x01\x63\x02xy"
        yield spoilt("unknown tag in the header", lambda site: tagged + body(site))
        yield spoilt("unknown tag in the body", lambda site: header + body(site)[:-1] + b"\x01\x63\x02xy")


def _raw(api_name: str, version: int, body: bytes) -> Step:
    return Step(api_name, version, frame=lambda _: framed(header_of(api_name, version) + body))


def framing() -> Iterator[Case]:
    """Frames that are wrong before any API is known."""
    frames = {
        "size negative": struct.pack(">i", -1) + bytes(20),
        "size beyond the limit": struct.pack(">i", 104_857_601) + bytes(20),
        "size largest": struct.pack(">i", 2**31 - 1) + bytes(20),
        "size 0": struct.pack(">i", 0) + framed(header_of("ApiVersions", 0)),
        "size 1": framed(b"\0"),
        "header cut after the version": framed(struct.pack(">hh", 18, 0)),
        "header cut after the correlation id": framed(struct.pack(">hhi", 18, 0, 7)),
        "api key unknown": framed(struct.pack(">hhih", 999, 0, 7, -1)),
        "api key negative": framed(struct.pack(">hhih", -1, 0, 7, -1)),
        "api key of a withdrawn API": framed(struct.pack(">hhih", 4, 0, 7, -1) + bytes(20)),
        "api key of a controller's API": framed(struct.pack(">hhih", 52, 0, 7, -1) + bytes(20)),
        "client id not UTF-8": framed(header_of("ApiVersions", 0, b"\xff\xfe")),
        "HTTP": b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(600),
    }
    for told, frame in frames.items():
        yield Case(told, 0, (Step("ApiVersions", 0, frame=lambda _, frame=frame: frame),))
    two = framed(header_of("ApiVersions", 0)) * 2
    yield Case(
        "two at once", 0, (Step("ApiVersions", 0, frame=lambda _: two), Step("ApiVersions", 0, frame=lambda _: b""))
    )
    yield Case("one after another", 0, (Step("ApiVersions", 0, {}), Step("Metadata", 1, {"topics": []})))


def last() -> Iterator[Case]:
    """What makes the controller of Apache Kafka 4.4 give up its office, so that for a while nothing can be changed."""
    for told, operation in (("operation 4", 4), ("operation -1", -1)):
        config = {"name": "retention.ms", "config_operation": operation, "value": "5"}
        resource = {"resource_type": TOPIC, "resource_name": "one", "configs": [config]}
        yield Case(told, 1, (Step("IncrementalAlterConfigs", 1, {"resources": [resource], "validate_only": True}),))


# --- what stands before the first case ------------------------------------------------------------------------------------


def some_records(site: Site) -> None:
    for topic, index, data in (
        ("records", 0, batches.good()), ("records", 1, batches.good(codec=4)), ("shrunk", 0, batches.good()),
        ("shrunk", 1, batches.good()), ("produce", 2, batches.good(producer_id=99, producer_epoch=0, base_sequence=0)),
    ):  # fmt: skip
        rows = [{"index": index, "records": data}]
        answer = site.ask(
            "Produce", 9, {"acks": -1, "timeout_ms": 5000, "topic_data": [{"name": topic, "partition_data": rows}]}
        )
        assert answer.responses[0].partition_responses[0].error_code == 0, answer


def doomed_topics(site: Site) -> None:
    site.create({"gone-by-id": 1}, {})


PREPARATIONS: tuple[Callable[[Site], None], ...] = (
    some_records,
    groups.coordinators,
    groups.kept_groups,
    transactions.coordinators,
    doomed_topics,
)
__all__ = ["CLIENT_ID", "PREPARATIONS", "TOPICS", "TOPIC_CONFIGS", "cases_of"]
