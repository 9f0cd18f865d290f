from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cluster.metadata.features import DEFAULT_LEVELS, METADATA_VERSION_LATEST, SUPPORTED
from pykafkacore.protocol.apis import api
from pykafkacore.protocol.errors import Code
from tests.cluster.metadata.harness import Harness

UPGRADE, SAFE, UNSAFE = 1, 2, 3
TABLE = Path(__file__).parents[4] / "shared/protocol/tables/metadata_versions.json"


def update(harness: Harness, *updates: tuple[str, int, int], version: int = 2, **fields: Any) -> Any:
    message = api("UpdateFeatures").request
    entries = [
        message.FeatureUpdateKey(feature=name, max_version_level=level, upgrade_type=kind)
        for name, level, kind in updates
    ]
    return harness.ask("UpdateFeatures", version, feature_updates=entries, **fields)


def test_a_new_cluster_has_the_levels_of_4_4() -> None:
    assert dict(Harness(0).image.features) == DEFAULT_LEVELS


def test_the_latest_metadata_version_is_kafkas() -> None:
    if not TABLE.exists():
        pytest.skip("the tables of Apache Kafka are not beside the checkout")
    production = [row["level"] for row in json.loads(TABLE.read_text()) if row["production"]]
    assert SUPPORTED["metadata.version"] == (min(production), max(production))


def test_a_level_goes_up_when_all_members_support_it() -> None:
    harness = Harness(1, levels={**DEFAULT_LEVELS, "group.version": 0})
    assert "group.version" not in harness.image.features
    assert update(harness, ("group.version", 1, UPGRADE)).error_code == 0
    assert harness.image.features["group.version"] == 1


def test_a_member_that_cannot_follow_blocks() -> None:
    harness = Harness(0, levels={**DEFAULT_LEVELS, "metadata.version": 31})
    message = api("BrokerRegistration").request
    features = [
        message.Feature(name=name, min_supported_version=low, max_supported_version=high)
        for name, (low, high) in {**SUPPORTED, "metadata.version": (7, 31)}.items()
    ]
    harness.register(1, features=features)
    assert update(harness, ("metadata.version", 33, UPGRADE)).error_code == Code.INVALID_UPDATE_VERSION
    assert update(harness, ("metadata.version", 31, UPGRADE)).error_code == 0


@pytest.mark.parametrize(
    ("name", "level", "kind", "code"),
    [
        ("no.such.feature", 1, UPGRADE, Code.INVALID_UPDATE_VERSION),
        ("metadata.version", METADATA_VERSION_LATEST + 1, UPGRADE, Code.INVALID_UPDATE_VERSION),
        ("metadata.version", 6, SAFE, Code.INVALID_UPDATE_VERSION),
        ("metadata.version", 31, UPGRADE, Code.INVALID_UPDATE_VERSION),
        ("metadata.version", 31, SAFE, Code.INVALID_UPDATE_VERSION),
        ("group.version", 0, UPGRADE, Code.INVALID_UPDATE_VERSION),
        ("group.version", 0, SAFE, Code.NONE),
        ("group.version", 0, 9, Code.INVALID_UPDATE_VERSION),
        ("group.version", -1, SAFE, Code.INVALID_UPDATE_VERSION),
    ],
)
def test_wrong_levels_are_refused(name: str, level: int, kind: int, code: Code) -> None:
    assert update(Harness(1), (name, level, kind)).error_code == code


def test_a_feature_needs_the_metadata_version_that_carries_it() -> None:
    harness = Harness(0, levels={"metadata.version": 21})
    assert update(harness, ("group.version", 1, UPGRADE)).error_code == Code.INVALID_UPDATE_VERSION
    assert update(harness, ("metadata.version", 22, UPGRADE), ("group.version", 1, UPGRADE)).error_code == 0


def test_all_or_nothing() -> None:
    harness = Harness(1)
    answer = update(harness, ("group.version", 0, SAFE), ("no.such.feature", 1, UPGRADE))
    assert answer.error_code == Code.INVALID_UPDATE_VERSION
    assert harness.image.features["group.version"] == 1


def test_old_requests_are_answered_per_feature() -> None:
    answer = update(Harness(1), ("group.version", 0, SAFE), version=1)
    assert [(each.feature, each.error_code) for each in answer.results] == [("group.version", 0)]


def test_validate_only_writes_nothing() -> None:
    harness = Harness(1)
    assert update(harness, ("group.version", 0, SAFE), validate_only=True).error_code == 0
    assert harness.image.features["group.version"] == 1


def test_turning_elr_on_fixes_the_clusters_minimum_of_in_sync_replicas() -> None:
    harness = Harness(1, levels={"metadata.version": 33}, static={"min.insync.replicas": "2"})
    harness.set_config(4, "1", ("min.insync.replicas", 0, "1"))
    assert update(harness, ("eligible.leader.replicas.version", 1, UPGRADE)).error_code == 0
    assert harness.image.configs[4, ""]["min.insync.replicas"] == "2"
    assert (4, "1") not in harness.image.configs
