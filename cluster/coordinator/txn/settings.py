"""What a transaction coordinator is configured with."""

from __future__ import annotations

from typing import Any

from msgspec import Struct


class TransactionSettings(Struct, frozen=True):
    transaction_max_timeout_ms: int = 900_000
    transactional_id_expiration_ms: int = 604_800_000
    abort_timed_out_interval_ms: int = 10_000
    remove_expired_interval_ms: int = 3_600_000
    two_phase_commit_enabled: bool = False
    partition_verification_enabled: bool = True
    """Read where partitions are written to, not by the coordinator: whether to ask it before an append."""


def transaction_settings(settings: Any) -> TransactionSettings:
    """From a broker's settings."""
    return TransactionSettings(
        transaction_max_timeout_ms=settings["transaction.max.timeout.ms"],
        transactional_id_expiration_ms=settings["transactional.id.expiration.ms"],
        abort_timed_out_interval_ms=settings["transaction.abort.timed.out.transaction.cleanup.interval.ms"],
        remove_expired_interval_ms=settings["transaction.remove.expired.transaction.cleanup.interval.ms"],
        two_phase_commit_enabled=settings["transaction.two.phase.commit.enable"],
        partition_verification_enabled=settings["transaction.partition.verification.enable"],
    )
