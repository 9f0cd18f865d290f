"""What a group coordinator is configured with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

MINUTE_MS = 60_000


class GroupSettings(Struct, frozen=True):
    session_timeout_ms_min: int = 6_000
    session_timeout_ms_max: int = 1_800_000
    initial_rebalance_delay_ms: int = 3_000
    group_size_max: int = 2**31 - 1
    metadata_bytes_max: int = 4_096
    offsets_retention_ms: int = 10_080 * MINUTE_MS
    offsets_check_interval_ms: int = 10 * MINUTE_MS
    new_member_join_timeout_ms: int = 5 * MINUTE_MS
    """KAFKA: a member whose first join is pending is given five minutes, whatever its session timeout."""


def group_settings(settings: Any) -> GroupSettings:
    """From a broker's settings."""
    return GroupSettings(
        session_timeout_ms_min=settings["group.min.session.timeout.ms"],
        session_timeout_ms_max=settings["group.max.session.timeout.ms"],
        initial_rebalance_delay_ms=settings["group.initial.rebalance.delay.ms"],
        group_size_max=settings["group.max.size"],
        metadata_bytes_max=settings["offset.metadata.max.bytes"],
        offsets_retention_ms=settings["offsets.retention.minutes"] * MINUTE_MS,
        offsets_check_interval_ms=settings["offsets.retention.check.interval.ms"],
    )


class ConsumerSettings(Struct, frozen=True):
    """Of the consumer protocol, for one group: the broker's, unless the group has its own."""

    session_timeout_ms: int = 45_000
    heartbeat_interval_ms: int = 5_000
    assignment_interval_ms: int = 1_000
    size_max: int = 2**31 - 1
    migration: str = "bidirectional"


_OF_A_GROUP = ("session.timeout.ms", "heartbeat.interval.ms", "assignment.interval.ms")


def consumer_settings(settings: Any, own: Mapping[str, str]) -> ConsumerSettings:
    """`own`: what is configured for the group itself, within the broker's bounds."""

    def value(key: str) -> int:
        found = int(own.get(f"consumer.{key}", settings[f"group.consumer.{key}"]))
        low, high = (settings[f"group.consumer.{bound}.{key}"] for bound in ("min", "max"))
        return max(low, min(found, high))

    session, heartbeat, assignment = map(value, _OF_A_GROUP)
    return ConsumerSettings(
        session, heartbeat, assignment, settings["group.consumer.max.size"],
        settings["group.consumer.migration.policy"].lower(),
    )  # fmt: skip
