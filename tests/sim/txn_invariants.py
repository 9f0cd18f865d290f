"""What must hold in the simulated world of transactions, after every step: one function each, of what has happened since
the last look. What a function must remember stands in `Memory`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cluster.coordinator.txn.state import MAY_FOLLOW, NAMES, NEW_PROTOCOL, PREPARED, Status, Transaction
from tests.sim.txn_news import Appended, Committed, EndAsked, EndTold, Logged, Marked, Place, Token, Told

if TYPE_CHECKING:
    from tests.sim.txn import TxnWorld

Rank = tuple[int, int]
"""Producer id and epoch: ids are handed out in rising order, so a later producer has a higher rank."""


@dataclass
class Memory:
    outcomes: dict[Token, bool] = field(default_factory=dict)
    commit_asked: set[Token] = field(default_factory=set)
    told: dict[Token, bool] = field(default_factory=dict)
    ranks: dict[str, Rank] = field(default_factory=dict)
    partition_epochs: dict[tuple[Place, int], int] = field(default_factory=dict)
    taken_over_at: dict[str, Rank] = field(default_factory=dict)
    owners: dict[Rank, int] = field(default_factory=dict)
    logged: dict[str, Transaction] = field(default_factory=dict)
    ids: dict[int, str] = field(default_factory=dict)


def no_transaction_is_torn(memory: Memory, news: list[Any], world: TxnWorld) -> None:
    """All of its partitions commit it, or none."""
    for each in news:
        if isinstance(each, Marked):
            for token in each.tokens:
                known = memory.outcomes.setdefault(token, each.commit)
                assert known == each.commit, f"transaction {token} is committed in some partitions and aborted in {each.place}"


def nothing_is_added_to_a_committed_transaction(memory: Memory, news: list[Any], world: TxnWorld) -> None:
    """To an aborted one something may be, where its marker is still to come."""
    for each in news:
        if isinstance(each, Appended):
            ended = memory.outcomes.get(each.token) or memory.told.get(each.token)
            assert not ended, f"transaction {each.token} is committed and yet writes to {each.place}"


def only_what_was_to_be_committed_is_visible(memory: Memory, news: list[Any], world: TxnWorld) -> None:
    for each in news:
        if isinstance(each, EndAsked) and each.commit:
            memory.commit_asked.add(each.token)
    for each in news:
        if isinstance(each, Marked) and each.commit:
            for token in each.tokens:
                assert token in memory.commit_asked, f"{token} is visible in {each.place}, and nobody asked to commit it"


def what_a_producer_was_told_is_so(memory: Memory, news: list[Any], world: TxnWorld) -> None:
    for each in news:
        if isinstance(each, EndTold):
            memory.told[each.token] = each.commit
    for each in news:
        tokens = each.tokens if isinstance(each, Marked) else [each.token] if isinstance(each, EndTold) else ()
        for token in tokens:
            told, outcome = memory.told.get(token), memory.outcomes.get(token)
            assert told is None or outcome is None or told == outcome, f"{token} was told commit={told}, and it is not so"


def epochs_never_go_back(memory: Memory, news: list[Any], world: TxnWorld) -> None:
    """Neither at the coordinator nor at a partition."""
    for each in news:
        if isinstance(each, Committed) and each.transaction is not None:
            rank = (each.transaction.producer_id, each.transaction.producer_epoch)
            before = memory.ranks.get(each.transactional_id, rank)
            assert rank >= before, f"{each.transactional_id} goes back from {before} to {rank}"
            memory.ranks[each.transactional_id] = rank
        elif isinstance(each, Appended | Marked):
            key = (each.place, each.producer_id)
            known = memory.partition_epochs.get(key, -1)
            assert each.producer_epoch >= known, f"epoch {each.producer_epoch} of {key} comes after {known}"
            memory.partition_epochs[key] = each.producer_epoch


def who_is_fenced_never_commits(memory: Memory, news: list[Any], world: TxnWorld) -> None:
    for each in news:
        if isinstance(each, Told) and each.by_init:
            rank = (each.producer_id, each.producer_epoch)
            memory.taken_over_at[each.transactional_id] = max(rank, memory.taken_over_at.get(each.transactional_id, rank))
        elif isinstance(each, Logged) and each.transaction is not None:
            transaction = each.transaction
            if transaction.status is Status.PREPARE_COMMIT:
                own_epoch = transaction.producer_epoch - (transaction.protocol >= NEW_PROTOCOL)
                rank, since = (transaction.producer_id, own_epoch), memory.taken_over_at.get(each.transactional_id)
                assert since is None or rank >= since, f"{rank} commits, and {since} has taken {each.transactional_id} over"


def an_epoch_belongs_to_one_producer(memory: Memory, news: list[Any], world: TxnWorld) -> None:
    for each in news:
        if isinstance(each, Told):
            rank = (each.producer_id, each.producer_epoch)
            owner = memory.owners.setdefault(rank, each.client)
            assert owner == each.client, f"{rank} was told to producers {owner} and {each.client}"


def states_follow_the_table(memory: Memory, news: list[Any], world: TxnWorld) -> None:
    for each in news:
        if isinstance(each, Committed):
            before = memory.logged.pop(each.transactional_id, None)
            after = each.transaction
            becomes = Status.DEAD if after is None else after.status
            if before is not None:
                allowed = before.status in MAY_FOLLOW[becomes]
                assert allowed, f"{each.transactional_id} goes from {NAMES[before.status]} to {NAMES[becomes]}"
            if after is not None:
                memory.logged[each.transactional_id] = after


def an_id_has_one_open_transaction(memory: Memory, news: list[Any], world: TxnWorld) -> None:
    for each in news:
        if isinstance(each, Logged) and each.transaction is not None:
            memory.ids[each.transaction.producer_id] = each.transactional_id
    if not any(isinstance(each, Appended) for each in news):
        return
    found: dict[str, Token] = {}
    for partition in world.partitions.values():
        for pid, tokens in partition.open_tokens().items():
            for token in tokens:
                known = found.setdefault(memory.ids[pid], token)
                assert known == token, f"{memory.ids[pid]} has both {known} and {token} open"


INVARIANTS = (
    no_transaction_is_torn,
    nothing_is_added_to_a_committed_transaction,
    only_what_was_to_be_committed_is_visible,
    what_a_producer_was_told_is_so,
    epochs_never_go_back,
    who_is_fenced_never_commits,
    an_epoch_belongs_to_one_producer,
    states_follow_the_table,
    an_id_has_one_open_transaction,
)


# --- once the faults have stopped -------------------------------------------------------------------------------------------


def every_outcome_is_complete(world: TxnWorld) -> None:
    for transaction in world.shard.transactions.values():
        at = NAMES[transaction.status]
        assert transaction.status not in PREPARED, f"{transaction.transactional_id} is still {at} after all was healed"
        assert transaction.status is not Status.ONGOING, f"{transaction.transactional_id} did not time out"


def no_transaction_hangs(world: TxnWorld) -> None:
    for place, partition in world.partitions.items():
        assert not partition.open_tokens(), f"{place} has open transactions after all was healed: {partition.open_tokens()}"


def what_was_acknowledged_is_committed(world: TxnWorld) -> None:
    for token, commit in world.memory.told.items():
        written = world.written.get(token)
        if written is not None:
            assert world.memory.outcomes.get(token) == commit, f"{token} was told commit={commit}, and it is not so"


def every_producer_has_come_to_an_end(world: TxnWorld) -> None:
    assert not world.running, f"producers {sorted(world.running)} are still waiting"


def the_log_tells_it_all(world: TxnWorld) -> None:
    assert world.replayed().transactions == world.shard.transactions, "a shard from the log knows something else"


AT_THE_END = (
    every_outcome_is_complete,
    no_transaction_hangs,
    what_was_acknowledged_is_committed,
    every_producer_has_come_to_an_end,
    the_log_tells_it_all,
)
