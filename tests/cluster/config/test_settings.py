"""Layers and descriptions; the expected answers were read off a running Kafka 4.4 with the same settings."""

from __future__ import annotations

import pytest

from cluster.config.settings import (
    BrokerSettings,
    ConfigErrors,
    NotDynamicError,
    Source,
    Synonym,
    describe_group,
    describe_topic,
    group_settings,
    load_static,
    topic_settings,
    validate_client_metrics,
    validate_dynamic_broker,
    validate_group,
    validate_topic,
)
from cluster.config.values import ConfigError

STATIC = {"log.retention.hours": "100", "log.segment.bytes": "2000000", "log.cleanup.policy": " delete , compact"}
CLUSTER = {"log.retention.ms": "5000000", "log.segment.bytes": "3000000", "foo.bar": "3"}


def one(described: list, name: str):  # type: ignore[no-untyped-def, type-arg]
    return next(entry for entry in described if entry.name == name)


def test_the_nearest_layer_wins() -> None:
    layers = [
        BrokerSettings({}),
        BrokerSettings(STATIC),
        BrokerSettings(STATIC, CLUSTER),
        BrokerSettings(STATIC, CLUSTER, {"log.segment.bytes": "4000000"}),
    ]
    assert [settings["log.segment.bytes"] for settings in layers] == [1073741824, 2000000, 3000000, 4000000]


def test_a_change_of_dynamic_configs_makes_new_settings() -> None:
    old = BrokerSettings(STATIC)
    new = old.with_dynamic({"log.segment.bytes": "3000000"}, {})
    assert (old["log.segment.bytes"], new["log.segment.bytes"]) == (2000000, 3000000)


def test_an_unknown_broker_key_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        BrokerSettings({})["log.segment.byte"]


def test_a_topic_inherits_from_the_broker_unless_it_says_otherwise() -> None:
    broker = BrokerSettings(STATIC)
    assert topic_settings(broker, {})["segment.bytes"] == 2000000
    own = topic_settings(broker, {"segment.bytes": "1048576"})
    assert (own["segment.bytes"], own["cleanup.policy"]) == (1048576, ["delete", "compact"])


@pytest.mark.parametrize(
    ("static", "expected"),
    [
        ({}, 604_800_000),
        ({"log.retention.hours": "1"}, 3_600_000),
        ({"log.retention.hours": "1", "log.retention.minutes": "3"}, 180_000),
        ({"log.retention.hours": "1", "log.retention.minutes": "3", "log.retention.ms": "9"}, 9),
        ({"log.retention.hours": "-1"}, -1),
        ({"log.retention.minutes": "-1"}, -1),
    ],
)
def test_the_finest_unit_of_retention_wins(static: dict[str, str], expected: int) -> None:
    assert topic_settings(BrokerSettings(static), {})["retention.ms"] == expected


def test_a_dynamic_fine_unit_beats_a_static_coarse_one() -> None:
    assert topic_settings(BrokerSettings(STATIC, CLUSTER), {})["retention.ms"] == 5_000_000


def test_flush_ms_falls_back_to_the_scheduler_interval() -> None:
    assert topic_settings(BrokerSettings({"log.flush.scheduler.interval.ms": "7"}), {})["flush.ms"] == 7


def test_a_group_inherits_from_the_broker() -> None:
    broker = BrokerSettings({"group.consumer.session.timeout.ms": "46000"})
    settings = group_settings(broker, {"consumer.heartbeat.interval.ms": "6000"})
    assert settings["consumer.session.timeout.ms"] == 46000
    assert settings["consumer.heartbeat.interval.ms"] == 6000
    assert settings["streams.assignor.name"] == "sticky"
    assert settings["share.isolation.level"] == "read_uncommitted"


# ---- descriptions


def test_a_topic_key_is_described_with_every_layer_above_it() -> None:
    broker = BrokerSettings(STATIC, CLUSTER, {"log.segment.bytes": "4000000"})
    entry = one(describe_topic(broker, {"segment.bytes": "1048576"}, with_synonyms=True), "segment.bytes")
    assert (entry.value, entry.source, entry.is_read_only, entry.type_number) == ("1048576", Source.TOPIC, False, 3)
    assert entry.synonyms == (
        Synonym("segment.bytes", "1048576", Source.TOPIC),
        Synonym("log.segment.bytes", "4000000", Source.DYNAMIC_BROKER),
        Synonym("log.segment.bytes", "3000000", Source.DYNAMIC_DEFAULT_BROKER),
        Synonym("log.segment.bytes", "2000000", Source.STATIC_BROKER),
        Synonym("log.segment.bytes", "1073741824", Source.DEFAULT),
    )


def test_a_value_from_a_coarser_key_counts_as_default_and_has_no_synonyms() -> None:
    entry = one(describe_topic(BrokerSettings(STATIC), {}, with_synonyms=True), "retention.ms")
    assert (entry.value, entry.source, entry.synonyms) == ("360000000", Source.DEFAULT, ())


def test_synonyms_keep_the_text_as_it_was_written_and_the_value_is_canonical() -> None:
    entry = one(describe_topic(BrokerSettings(STATIC), {}, with_synonyms=True), "cleanup.policy")
    assert (entry.value, entry.source) == ("delete,compact", Source.STATIC_BROKER)
    assert entry.synonyms[0].value == " delete , compact"
    small = one(describe_topic(BrokerSettings({}), {"min.cleanable.dirty.ratio": "1e-4"}), "min.cleanable.dirty.ratio")
    assert small.value == "1.0E-4"


def test_synonyms_are_left_out_unless_asked_for() -> None:
    assert all(entry.synonyms == () for entry in describe_topic(BrokerSettings({}), {}))


def test_internal_keys_are_not_shown_and_unknown_names_are_left_out() -> None:
    assert "internal.segment.bytes" not in [entry.name for entry in describe_topic(BrokerSettings({}), {})]
    assert [entry.name for entry in describe_topic(BrokerSettings({}), {}, ["nope", "segment.ms"])] == ["segment.ms"]
    assert BrokerSettings({}).describe(["nope"]) == []


def test_a_topic_shows_all_its_public_keys() -> None:
    assert len(describe_topic(BrokerSettings({}), {})) == 37


def test_an_unknown_key_of_the_file_is_described_without_its_value() -> None:
    entry = one(BrokerSettings({"my.plugin.key": "secret"}).describe(with_synonyms=True), "my.plugin.key")
    assert (entry.value, entry.source, entry.is_sensitive, entry.type_number) == (None, Source.STATIC_BROKER, True, 0)
    assert entry.synonyms == (Synonym("my.plugin.key", None, Source.STATIC_BROKER),)


def test_a_password_is_never_shown() -> None:
    entry = BrokerSettings({"ssl.key.password": "secret"}).describe(["ssl.key.password"], with_synonyms=True)[0]
    assert entry.value is None and entry.is_sensitive
    assert "secret" not in repr(entry)


def test_only_dynamic_broker_keys_can_be_written() -> None:
    described = BrokerSettings({"node.id": "1"}).describe(["num.partitions", "log.segment.bytes", "node.id"])
    assert [entry.is_read_only for entry in described] == [True, False, True]


def test_the_cluster_default_shows_only_what_was_set() -> None:
    described = BrokerSettings(STATIC, CLUSTER).describe_cluster_default(with_synonyms=True)
    assert {entry.name: entry.value for entry in described} == {
        "log.retention.ms": "5000000", "log.segment.bytes": "3000000", "foo.bar": None,
    }  # fmt: skip
    assert described[0].source is Source.DYNAMIC_DEFAULT_BROKER


def test_a_group_key_without_a_broker_key_is_its_own_default() -> None:
    broker = BrokerSettings({"group.consumer.session.timeout.ms": "46000"})
    described = describe_group(broker, {"consumer.heartbeat.interval.ms": "6000"}, with_synonyms=True)
    assert one(described, "share.auto.offset.reset").synonyms == (
        Synonym("share.auto.offset.reset", "latest", Source.DEFAULT),
    )
    assert one(described, "consumer.session.timeout.ms").source is Source.STATIC_BROKER
    assert one(described, "consumer.heartbeat.interval.ms").source is Source.GROUP


# ---- validation


@pytest.mark.parametrize(
    ("configs", "problem"),
    [
        ({"nope": "1"}, "no such topic key"),
        ({"segment.byte": "1"}, "did you mean segment.bytes"),
        ({"segment.ms": "0"}, r"not in \[1..\]"),
        (
            {"min.compaction.lag.ms": "9", "max.compaction.lag.ms": "5"},
            "is more than max.compaction.lag.ms, which is 5",
        ),
        ({"remote.storage.enable": "true"}, "tiered storage"),
    ],
)
def test_wrong_topic_configs_are_refused(configs: dict[str, str], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        validate_topic(configs)


def test_topic_configs_are_checked_against_what_they_inherit() -> None:
    broker = BrokerSettings({"log.cleaner.max.compaction.lag.ms": "5"})
    with pytest.raises(ConfigError, match="which is 5"):
        validate_topic({"min.compaction.lag.ms": "9"}, broker.topic_defaults())
    validate_topic({"min.compaction.lag.ms": "9"})
    validate_topic({"retention.bytes": "-9", "remote.storage.enable": "false", "cleanup.policy": ""})


@pytest.mark.parametrize(
    ("configs", "problem"),
    [
        ({"consumer.heartbeat.interval.ms": "60000"}, "at most 15000"),
        ({"consumer.session.timeout.ms": "1"}, "at least 45000"),
        ({"nope": "1"}, "no such group key"),
        ({"share.delivery.count.limit": "11"}, "at most 10"),
        ({"streams.num.standby.replicas": "3"}, "at most 2"),
        ({"streams.session.timeout.ms": "45000", "streams.heartbeat.interval.ms": "4000"}, "at least 5000"),
    ],
)
def test_group_configs_outside_of_the_brokers_limits_are_refused(configs: dict[str, str], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        validate_group(configs, BrokerSettings({}))


def test_group_configs_within_the_limits_are_accepted() -> None:
    validate_group({"share.heartbeat.interval.ms": "14999", "consumer.session.timeout.ms": "60000"}, BrokerSettings({}))


def test_keys_that_are_not_dynamic_cannot_be_changed() -> None:
    with pytest.raises(NotDynamicError, match="restart"):
        validate_dynamic_broker({"num.partitions": "3"}, per_broker=True)


def test_per_broker_keys_cannot_be_changed_for_the_cluster() -> None:
    with pytest.raises(NotDynamicError, match="one broker at a time"):
        validate_dynamic_broker({"listeners": "A://:1"}, per_broker=False)
    validate_dynamic_broker({"listeners": "A://:1"}, per_broker=True)


def test_keys_of_one_listener_follow_the_key_behind_the_prefix() -> None:
    validate_dynamic_broker({"listener.name.a.ssl.keystore.location": "x"}, per_broker=True)
    validate_dynamic_broker({"listener.name.a.max.connections": "3"}, per_broker=False)
    with pytest.raises(ConfigError, match="whole number"):
        validate_dynamic_broker({"listener.name.a.max.connections": "x"}, per_broker=True)


def test_unknown_broker_keys_are_accepted_as_dynamic_configs() -> None:
    validate_dynamic_broker({"foo.bar": "3"}, per_broker=False)


def test_dynamic_values_are_checked() -> None:
    with pytest.raises(ConfigError, match="whole number"):
        validate_dynamic_broker({"log.segment.bytes": "x"}, per_broker=False)


def test_client_metrics_configs() -> None:
    validate_client_metrics({"interval.ms": "100", "metrics": "a,b", "match": "client_id=x"})
    with pytest.raises(ConfigError, match="client metrics key"):
        validate_client_metrics({"interval": "100"})
    with pytest.raises(ConfigError, match=r"\[100\.\.3600000\]"):
        validate_client_metrics({"interval.ms": "1"})


# ---- the file


def test_unknown_keys_of_the_file_are_warned_about_with_the_nearest_key() -> None:
    _, warnings = load_static(
        "process.roles=broker\n\nlog.segment.byte=5\nrsm.config.x=1\nlistener.name.a.ssl.protocol=x\n"
    )
    assert warnings == ["line 3: key log.segment.byte is unknown and has no effect; did you mean log.segment.bytes?"]


def test_all_wrong_keys_are_reported_with_their_lines() -> None:
    with pytest.raises(ConfigErrors) as caught:
        load_static("num.partitions=0\nnode.id=x\n")
    assert str(caught.value).splitlines() == [
        "line 1: key num.partitions: value 0 is not in [1..]",
        "line 2: key node.id: value x is not a whole number",
    ]


def test_overrides_win_over_the_file_and_have_no_line() -> None:
    settings, _ = load_static("num.partitions=3", {"num.partitions": "4"})
    assert settings["num.partitions"] == 4
    with pytest.raises(ConfigError) as caught:
        load_static("num.partitions=3", {"num.partitions": "0"})
    assert str(caught.value) == "key num.partitions: value 0 is not in [1..]"


def test_the_broker_id_is_shown_as_the_node_id() -> None:
    settings, _ = load_static("node.id=7")
    assert settings["broker.id"] == 7


@pytest.mark.parametrize(
    "text",
    [
        "replica.fetch.wait.max.ms=40000",
        "group.min.session.timeout.ms=2000000",
        "group.consumer.heartbeat.interval.ms=16000",
        "group.share.session.timeout.ms=1000",
        "queued.max.request.bytes=5",
        "log.cleaner.max.compaction.lag.ms=5\nlog.cleaner.min.compaction.lag.ms=6",
    ],
)
def test_keys_that_do_not_go_together_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"is (more|less|not less) than"):
        load_static(text)
