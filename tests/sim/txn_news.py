"""What happens in the simulated world of transactions, as its invariants are told of it."""

from __future__ import annotations

from dataclasses import dataclass

from cluster.coordinator.txn.state import Transaction

Place = tuple[str, int]
Token = tuple[int, int]
"""One transaction as its producer means it: the producer's number and a count of its own."""


@dataclass(frozen=True, slots=True)
class Logged:
    """The coordinator appended this; None: the id was forgotten."""

    transactional_id: str
    transaction: Transaction | None


@dataclass(frozen=True, slots=True)
class Committed:
    """And now it is replicated."""

    transactional_id: str
    transaction: Transaction | None


@dataclass(frozen=True, slots=True)
class Told:
    """The coordinator told a producer who it is from now on."""

    transactional_id: str
    client: int
    by_init: bool
    producer_id: int
    producer_epoch: int


@dataclass(frozen=True, slots=True)
class Appended:
    place: Place
    producer_id: int
    producer_epoch: int
    token: Token


@dataclass(frozen=True, slots=True)
class Marked:
    """A marker ended what these tokens had written there."""

    place: Place
    producer_id: int
    producer_epoch: int
    commit: bool
    tokens: tuple[Token, ...]


@dataclass(frozen=True, slots=True)
class EndAsked:
    """The producer decided for this end, before it asks for it."""

    token: Token
    commit: bool


@dataclass(frozen=True, slots=True)
class EndTold:
    """And was told that it is so."""

    token: Token
    commit: bool
