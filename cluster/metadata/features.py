"""Features: which levels this software knows, which a new cluster gets, and UpdateFeatures. Pure.

INVARIANT: a finalised level lies within what every registered broker and controller supports.
kraft.version is listed but kept by Raft in a control record; raising it is not a matter of this file.
Sources: PROTOCOL E.7; the table of metadata versions of 4.4.
"""

from __future__ import annotations

from typing import Any

from cluster.metadata import records as r
from cluster.metadata.controller_state import ControllerRequest, ControllerState
from cluster.metadata.image import ELR_VERSION, METADATA_VERSION, METADATA_VERSION_MIN, MIN_IN_SYNC_REPLICAS
from cluster.metadata.records import config_record, record
from cluster.shard import Outcome
from pykafkacore.protocol.apis import api
from pykafkacore.protocol.errors import ApiError, Code

KRAFT_VERSION = "kraft.version"
TRANSACTION_VERSION = "transaction.version"
GROUP_VERSION = "group.version"
SHARE_VERSION = "share.version"
STREAMS_VERSION = "streams.version"

METADATA_VERSION_LATEST = 33

SUPPORTED: dict[str, tuple[int, int]] = {
    METADATA_VERSION: (METADATA_VERSION_MIN, METADATA_VERSION_LATEST),
    KRAFT_VERSION: (0, 1),
    TRANSACTION_VERSION: (0, 2),
    GROUP_VERSION: (0, 1),
    ELR_VERSION: (0, 1),
    SHARE_VERSION: (0, 2),
    STREAMS_VERSION: (0, 1),
}

DEFAULT_LEVELS: dict[str, int] = {
    METADATA_VERSION: METADATA_VERSION_LATEST,
    TRANSACTION_VERSION: 2,
    GROUP_VERSION: 1,
    ELR_VERSION: 1,
    SHARE_VERSION: 2,
    STREAMS_VERSION: 1,
}

# Levels of metadata.version that change what records mean: going down across one would lose something.
LEVELS_THAT_CHANGE_METADATA = (7, 8, 11, 13, 14, 15, 17, 23, 30, 32, 33)

# The metadata.version that a feature level needs before it can be finalised.
NEEDED_METADATA_VERSION: dict[tuple[str, int], int] = {
    (GROUP_VERSION, 1): 22,
    (ELR_VERSION, 1): 23,
    (TRANSACTION_VERSION, 1): 24,
    (TRANSACTION_VERSION, 2): 24,
    (SHARE_VERSION, 1): 28,
    (SHARE_VERSION, 2): 31,
    (STREAMS_VERSION, 1): 29,
}

UPGRADE = 1
SAFE_DOWNGRADE = 2
UNSAFE_DOWNGRADE = 3


def update_features(state: ControllerState, request: ControllerRequest, now: int) -> Outcome:
    """UpdateFeatures: all or nothing. v0-1 answer per feature, v2 only at the top."""
    body, message = request.body, api("UpdateFeatures").response
    # KAFKA: of a feature that is named twice the last entry counts.
    updates = {update.feature: update for update in body.feature_updates}
    try:
        records = [each for update in updates.values() for each in _update(state, request, update)]
    except ApiError as error:
        return Outcome(response=message(error_code=int(error.code), error_message=error.message))
    results = []
    if request.api_version <= 1:
        results = [
            message.UpdatableFeatureResult(feature=update.feature, error_code=0, error_message="NONE")
            for update in body.feature_updates
        ]
    return Outcome(
        () if body.validate_only else records, message(error_code=0, error_message=None, results=results)
    )


def _update(state: ControllerState, request: ControllerRequest, update: Any) -> list[r.MetadataRecord]:
    image, name, level = state.image, update.feature, update.max_version_level
    upgrade_type = update.upgrade_type
    if request.api_version == 0:
        upgrade_type = SAFE_DOWNGRADE if update.allow_downgrade else UPGRADE
    if name not in SUPPORTED:
        raise _refuse(f"there is no feature {name}")
    if upgrade_type not in (UPGRADE, SAFE_DOWNGRADE, UNSAFE_DOWNGRADE):
        raise _refuse(f"feature {name}: upgrade type {upgrade_type} is none of 1, 2, 3")
    current = image.features.get(name, METADATA_VERSION_MIN if name == METADATA_VERSION else 0)
    low, high = SUPPORTED[name]
    if name == KRAFT_VERSION:
        raise _refuse("kraft.version cannot be changed through this software yet: format new nodes with it")
    if level < 0:
        raise _refuse(f"feature {name}: level {level} is negative")
    if not low <= level <= high:
        raise _refuse(f"feature {name}: level {level} is not in [{low}..{high}], which this controller supports")
    if level == current:
        return []
    if level < current:
        if upgrade_type == UPGRADE:
            raise _refuse(f"feature {name} is at level {current}: going down to {level} needs a downgrade type")
        if name == METADATA_VERSION and any(level < each <= current for each in LEVELS_THAT_CHANGE_METADATA):
            raise _refuse(f"metadata.version {level} lacks records that {current} has written: it cannot go back")
    elif upgrade_type != UPGRADE:
        raise _refuse(f"feature {name} is at level {current}: {level} is no downgrade")
    _check_members(state, name, level)
    wanted = {each.feature: each.max_version_level for each in request.body.feature_updates}
    _check_dependencies(wanted, image, name, level)
    records = [record(r.FEATURE_LEVEL, name=name, feature_level=level)]
    if name == ELR_VERSION and level == 1:
        records.extend(_elr_records(state))
    return records


def _check_members(state: ControllerState, name: str, level: int) -> None:
    """Everybody registered must be able to follow; a stale registration blocks until it is removed."""
    image = state.image
    for kind, members in (("broker", image.brokers), ("controller", image.controllers)):
        for node_id, member in members.items():
            low, high = member.features.get(name, (0, 0))
            if level and not low <= level <= high:
                raise _refuse(f"feature {name}: {kind} {node_id} supports [{low}..{high}], not level {level}")


def _check_dependencies(wanted: dict[str, int], image: Any, name: str, level: int) -> None:
    metadata_version = wanted.get(METADATA_VERSION, image.metadata_version)
    needed = NEEDED_METADATA_VERSION.get((name, level), METADATA_VERSION_MIN)
    if metadata_version < needed:
        raise _refuse(f"feature {name}: level {level} needs metadata.version {needed}, not {metadata_version}")
    if name == METADATA_VERSION:
        for (other, other_level), other_needed in NEEDED_METADATA_VERSION.items():
            if wanted.get(other, image.features.get(other, 0)) == other_level and level < other_needed:
                raise _refuse(f"feature {other} at level {other_level} needs metadata.version {other_needed}")


def _elr_records(state: ControllerState) -> list[r.MetadataRecord]:
    """Turning ELR on fixes the cluster-wide min.insync.replicas, and takes the brokers' own values away."""
    records = []
    if MIN_IN_SYNC_REPLICAS not in state.image.configs_of(r.RESOURCE_BROKER, ""):
        value = str(state.settings.min_in_sync_replicas)
        records.append(config_record(r.RESOURCE_BROKER, "", MIN_IN_SYNC_REPLICAS, value))
    for (resource_type, name), values in state.image.configs.items():
        if resource_type == r.RESOURCE_BROKER and name and MIN_IN_SYNC_REPLICAS in values:
            records.append(config_record(resource_type, name, MIN_IN_SYNC_REPLICAS, None))
    return records


def _refuse(message: str) -> ApiError:
    return ApiError(Code.INVALID_UPDATE_VERSION, message)
