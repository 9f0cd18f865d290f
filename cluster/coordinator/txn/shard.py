"""The transaction coordinator of one partition of `__transaction_state`: who a transactional id belongs to, which
partitions its transaction has touched, and how it ends.

    InitProducerId        fences whoever had the id before; an open transaction of theirs is aborted first
    AddPartitionsToTxn    opens a transaction or adds to it; with verify_only it only looks
    AddOffsetsToTxn       the same, for a partition of `__consumer_offsets`
    EndTxn                logs the outcome; the host then writes the markers     MarkersDone   and logs that it is so
    DescribeTransactions, ListTransactions

    EndTxn --> Prepare* logged --> answer, WriteMarkers --> every MarkersDone --> Complete* logged

INVARIANT: an outcome that is logged is never taken back, and is asked for again after every load until it is complete.
INVARIANT: a transaction is complete only when each of its partitions has its marker: until then its producer waits.
INVARIANT: who asks for the producer id has an epoch that nobody was told before.
What no log carries: which markers are written already (after a load all are written once more, which changes nothing), and
from which epoch one was renewed (a client that repeats InitProducerId over a change of coordinators is fenced. KAFKA: so
is it there).
The table of states stands in `state`, how a transaction ends in `ending`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from cluster.coordinator.txn import ending
from cluster.coordinator.txn.records import tombstone, transaction_from, transaction_record
from cluster.coordinator.txn.requests import (
    AddOffsets,
    EndTransaction,
    InitProducer,
    MarkersDone,
    TakePart,
    WriteMarkers,
)
from cluster.coordinator.txn.settings import TransactionSettings
from cluster.coordinator.txn.state import (
    AT_REST,
    EPOCH_MAX,
    MAY_FOLLOW,
    NAMES,
    NEVER_TIMES_OUT_MS,
    NEW_PROTOCOL,
    NO_EPOCH,
    NO_PRODUCER_ID,
    OLD_PROTOCOL,
    PREPARED,
    STATUS_NAMED,
    Producer,
    Status,
    TopicPartition,
    Transaction,
)
from cluster.coordinator.values import Record, Request
from cluster.shard import LATER, Millis, Offset, Outcome, SetTimer, Timer
from pykafkacore.protocol.errors import ApiError, Code
from pykafkacore.protocol.schemas import transactions as schemas

OFFSETS_TOPIC = "__consumer_offsets"

ABORT_TIMED_OUT = Timer("abort timed out")
REMOVE_EXPIRED = Timer("remove expired")

PARTITIONS_BYTES_MAX = 900_000
"""A transaction's record must fit into the log's largest batch of 1 MiB, or its coordinator could not go on."""
TRANSACTIONAL_ID_BYTES_MAX = 2**15 - 1

MatchRegex = Callable[[str, list[str]], list[str] | None]
"""(pattern, names) -> the names that match as a whole; None if the pattern is none."""


def match_names(pattern: str, names: list[str]) -> list[str] | None:
    """What ListTransactions filters by, unless the host has something better."""
    import re

    try:
        compiled = re.compile(pattern)
    except re.error:
        return None
    return [name for name in names if compiled.fullmatch(name)]


class Renewed(Struct, frozen=True):
    """A fact: a producer that showed its epoch was given another. Should it ask again, the answer was lost."""

    transactional_id: str
    before: Producer
    after: Producer


class Written(Struct, frozen=True):
    """A fact: these partitions have the marker of the prepared transaction."""

    transactional_id: str
    partitions: frozenset[TopicPartition]


class _Prepared(Struct, frozen=True):
    """Where an outcome stands in the log, and which partitions are not known to have its marker."""

    offset: Offset
    unmarked: frozenset[TopicPartition]


class TransactionShard:
    def __init__(
        self,
        partition: int,
        settings: TransactionSettings,
        transaction_version: Callable[[], int],
        coordinator_epoch: int,
        match: MatchRegex = match_names,
    ) -> None:
        """`transaction_version()`: the finalized feature. `coordinator_epoch`: the leader epoch of the partition."""
        self.partition = partition
        self.settings = settings
        self.transaction_version = transaction_version
        self.coordinator_epoch = coordinator_epoch
        self.match = match
        self.transactions: dict[str, Transaction] = {}
        self._ongoing: set[str] = set()
        self._prepared: dict[str, _Prepared] = {}
        self._next_offset = 0
        self._renewed: dict[str, Renewed] = {}

    # --- the shard's contract -------------------------------------------------------------------------------------------

    def will_write_at(self, offset: Offset) -> None:
        self._next_offset = offset

    def handle(self, request: Any, now: Millis) -> Outcome:
        name = _OF_HOST.get(type(request))
        if name is not None:
            outcome: Outcome = getattr(self, name)(request, now)
            return outcome
        return _HANDLERS[request.api_name](self, request, now)

    def apply(self, offset: Offset, record: Record) -> None:
        transactional_id = record.key.transactional_id
        transaction = transaction_from(record)
        self._ongoing.discard(transactional_id)
        self._prepared.pop(transactional_id, None)
        if transaction is None:
            self.transactions.pop(transactional_id, None)
            self._renewed.pop(transactional_id, None)
            return
        before = self.transactions.get(transactional_id)
        self.transactions[transactional_id] = transaction if before is None else transaction.following(before)
        if transaction.status is Status.ONGOING:
            self._ongoing.add(transactional_id)
        elif transaction.status in PREPARED:
            self._prepared[transactional_id] = _Prepared(offset, transaction.partitions)

    def observe(self, fact: Renewed | Written, now: Millis) -> None:
        if isinstance(fact, Renewed):
            self._renewed[fact.transactional_id] = fact
        else:
            before = self._prepared[fact.transactional_id]
            self._prepared[fact.transactional_id] = _Prepared(before.offset, before.unmarked - fact.partitions)

    def activate(self, now: Millis) -> Outcome:
        """What was decided and is not complete goes on. What is open has its time from when it began."""
        records: list[Record] = []
        effects: list[WriteMarkers] = []
        for transaction in self.transactions.values():
            if transaction.status is Status.PREPARE_EPOCH_FENCE:
                self._log_end(transaction, transaction.fenced(now), now, records, effects)
            elif transaction.status in PREPARED:
                offset = self._prepared[transaction.transactional_id].offset
                self._carry_on(transaction, offset, now, records, effects)
        timers = (
            SetTimer(ABORT_TIMED_OUT, now + self.settings.abort_timed_out_interval_ms),
            SetTimer(REMOVE_EXPIRED, now + self.settings.remove_expired_interval_ms),
        )
        return Outcome(records, effects=effects, timers=timers, atomic=False)

    def expire(self, timer: Timer, now: Millis) -> Outcome:
        if timer == ABORT_TIMED_OUT:
            return self._abort_timed_out(now)
        return self._remove_expired(now)

    # --- what is logged -----------------------------------------------------------------------------------------------------

    def _record(self, before: Transaction | None, after: Transaction) -> Record:
        if before is not None:
            was, becomes = NAMES[before.status], NAMES[after.status]
            assert before.status in MAY_FOLLOW[after.status], f"{after.transactional_id!r}: from {was} to {becomes}"
        else:
            assert after.status is Status.EMPTY, f"{after.transactional_id!r} starts as {NAMES[after.status]}"
        return transaction_record(after, self.transaction_version())

    def _log_end(
        self, before: Transaction, prepared: Transaction, now: Millis, records: list[Record], effects: list[Any]
    ) -> None:
        """The outcome, and all that can follow from it at once."""
        offset = self._next_offset + len(records)
        records.append(self._record(before, prepared))
        self._carry_on(prepared, offset, now, records, effects)

    def _carry_on(
        self, prepared: Transaction, offset: Offset, now: Millis, records: list[Record], effects: list[Any]
    ) -> None:
        if prepared.partitions:
            effects.append(self._markers(prepared, offset))
        else:
            records.append(self._record(prepared, prepared.completed(now)))

    def _markers(self, prepared: Transaction, offset: Offset) -> WriteMarkers:
        return WriteMarkers(
            prepared.transactional_id,
            prepared.producer_id,
            prepared.producer_epoch,
            prepared.status is Status.PREPARE_COMMIT,
            self.coordinator_epoch,
            prepared.protocol,
            offset,
            tuple(sorted(prepared.partitions)),
        )

    # --- InitProducerId -----------------------------------------------------------------------------------------------------

    def _init_producer(self, asked: InitProducer, now: Millis) -> Outcome:
        body, api_version = asked.request.body, asked.request.api_version
        transactional_id = _checked_id(body.transactional_id)
        expected = _expected_producer(body)
        timeout_ms = self._timeout_of(body)
        current = self.transactions.get(transactional_id)
        if current is None:
            new = Transaction(transactional_id, asked.spare_producer_id, 0, timeout_ms, Status.EMPTY, now)
            return self._initialized(None, new, expected)
        if current.status in PREPARED:
            raise ending.being_ended(current)
        is_retry = expected is not None and self._was_renewed(current, expected)
        if expected is not None and not is_retry and expected != current.producer:
            raise _fenced(
                ApiError(Code.PRODUCER_FENCED, f"{transactional_id!r} has another producer by now"), api_version, 4
            )
        if current.status is Status.ONGOING:
            # The epoch with which it is aborted is told to nobody: the client asks again, and gets the next one.
            records: list[Record] = []
            effects: list[Any] = []
            self._log_end(current, current.fenced(now), now, records, effects)
            return Outcome(records, LATER, answers=((asked.ticket, ending.being_ended(current)),), effects=effects)
        if is_retry and current.producer_epoch < EPOCH_MAX:
            return self._initialized(current, current.answered_again(timeout_ms, now), expected)
        if current.has_used_up_its_epochs:
            return self._initialized(current, current.rotated(asked.spare_producer_id, timeout_ms, now), expected)
        return self._initialized(current, current.renewed(timeout_ms, now), expected)

    def _initialized(self, before: Transaction | None, after: Transaction, expected: Producer | None) -> Outcome:
        response = schemas.INIT_PRODUCER_ID_RESPONSE(producer_id=after.producer_id, producer_epoch=after.producer_epoch)
        facts = () if expected is None else (Renewed(after.transactional_id, expected, after.producer),)
        return Outcome([self._record(before, after)], response, facts=facts)

    def _was_renewed(self, current: Transaction, expected: Producer) -> bool:
        """The producer shows the epoch before the current one, which is nobody else's. By the new protocol that is so
        after each of its transactions; KAFKA: and after a time-out, from which a producer thus recovers."""
        if ending.is_ended_by(current, expected):
            return True
        renewed = self._renewed.get(current.transactional_id)
        is_last = renewed is not None and (renewed.before, renewed.after) == (expected, current.producer)
        return is_last and current.status is Status.EMPTY

    def _timeout_of(self, body: Any) -> int:
        if body.keep_prepared_txn:
            raise ApiError(Code.UNSUPPORTED_VERSION, "keep_prepared_txn is not supported: a prepared transaction cannot be kept")
        if body.enable_2pc:
            if not self.settings.two_phase_commit_enabled:
                raise ApiError(Code.UNSUPPORTED_VERSION, "enable_2pc needs transaction.two.phase.commit.enable=true")
            return NEVER_TIMES_OUT_MS
        timeout_ms: int = body.transaction_timeout_ms
        if not 0 < timeout_ms <= self.settings.transaction_max_timeout_ms:
            raise ApiError(
                Code.INVALID_TRANSACTION_TIMEOUT,
                f"transaction_timeout_ms is {timeout_ms}: it must be above 0 and at most transaction.max.timeout.ms,"
                f" {self.settings.transaction_max_timeout_ms}",
            )
        return timeout_ms

    # --- AddPartitionsToTxn, AddOffsetsToTxn --------------------------------------------------------------------------------

    def _add_partitions(self, request: Request, now: Millis) -> Outcome:
        """Up to v3 the body is the request, from v4 on one transaction of it; so is the answer. Errors stand inside."""
        body, api_version = request.body, request.api_version
        if api_version < 4:
            producer = Producer(body.v3_and_below_producer_id, body.v3_and_below_producer_epoch)
            transactional_id, topics, is_look = body.v3_and_below_transactional_id, body.v3_and_below_topics, False
        else:
            producer = Producer(body.producer_id, body.producer_epoch)
            transactional_id, topics, is_look = body.transactional_id, body.topics, body.verify_only
        partitions = frozenset((topic.name, index) for topic in topics for index in topic.partitions)
        protocol = NEW_PROTOCOL if api_version >= 5 else OLD_PROTOCOL
        records, missing, error = self._taking_part(transactional_id, producer, partitions, protocol, is_look, now)
        code = Code.NONE if error is None else _fenced(error, api_version, 2).code

        def code_for(place: TopicPartition) -> int:
            return int(Code.TRANSACTION_ABORTABLE if place in missing else code)

        return Outcome(records, _added_response(api_version, transactional_id, topics, code_for))

    def _take_part(self, asked: TakePart, now: Millis) -> Outcome:
        records, missing, error = self._taking_part(
            asked.transactional_id, asked.producer, asked.partitions, NEW_PROTOCOL, asked.verify_only, now
        )
        codes = dict.fromkeys(asked.partitions, 0 if error is None else int(error.code))
        codes.update(dict.fromkeys(missing, int(Code.TRANSACTION_ABORTABLE)))
        return Outcome(records, codes)

    def _taking_part(
        self, transactional_id: str, producer: Producer, partitions: frozenset[TopicPartition], protocol: int,
        is_look: bool, now: Millis,
    ) -> tuple[list[Record], frozenset[TopicPartition], ApiError | None]:  # fmt: skip
        """(records, partitions that are looked for in vain, why nothing is done)"""
        nothing: frozenset[TopicPartition] = frozenset()
        try:
            if is_look:
                return [], self._not_in_transaction(transactional_id, producer, partitions), None
            return self._adding(transactional_id, producer, partitions, protocol, now), nothing, None
        except ApiError as error:
            return [], nothing, error

    def _add_offsets(self, asked: AddOffsets, now: Millis) -> Outcome:
        body = asked.request.body
        place = (OFFSETS_TOPIC, asked.offsets_partition)
        producer = Producer(body.producer_id, body.producer_epoch)
        try:
            records = self._adding(body.transactional_id, producer, frozenset((place,)), OLD_PROTOCOL, now)
        except ApiError as error:
            raise _fenced(error, asked.request.api_version, 2) from None
        return Outcome(records, schemas.ADD_OFFSETS_TO_TXN_RESPONSE())

    def _adding(
        self, transactional_id: str, producer: Producer, partitions: frozenset[TopicPartition], protocol: int, now: Millis
    ) -> list[Record]:
        current = self._owned(transactional_id, producer)
        if not partitions or (current.status is Status.ONGOING and partitions <= current.partitions):
            return []
        after = current.with_partitions(partitions, protocol, now)
        topics = {topic for topic, _ in after.partitions}
        if sum(map(len, topics)) * 3 + len(topics) * 10 + len(after.partitions) * 4 > PARTITIONS_BYTES_MAX:
            raise ApiError(
                Code.MESSAGE_TOO_LARGE,
                f"the transaction of {transactional_id!r} has too many partitions: {len(after.partitions)}",
            )
        return [self._record(current, after)]

    def _not_in_transaction(
        self, transactional_id: str, producer: Producer, partitions: frozenset[TopicPartition]
    ) -> frozenset[TopicPartition]:
        return partitions - self._owned(transactional_id, producer).partitions

    def _owned(self, transactional_id: str, producer: Producer) -> Transaction:
        """The transactional id as its producer may write to it now."""
        current = self._known(transactional_id)
        if current.status in PREPARED and producer == current.successor:
            raise ending.being_ended(current)
        ending.check_producer(current, producer)
        return current

    def _known(self, transactional_id: str) -> Transaction:
        current = self.transactions.get(_checked_id(transactional_id))
        if current is None:
            raise ApiError(Code.INVALID_PRODUCER_ID_MAPPING, f"the transactional id {transactional_id!r} is not known")
        return current

    # --- EndTxn and what follows --------------------------------------------------------------------------------------------

    def _end_transaction(self, asked: EndTransaction, now: Millis) -> Outcome:
        body, api_version = asked.request.body, asked.request.api_version
        producer = Producer(body.producer_id, body.producer_epoch)
        is_commit = bool(body.committed)
        try:
            current = self._known(body.transactional_id)
            if api_version < 5:
                after = ending.end_by_old_protocol(current, producer, is_commit, now)
            else:
                after = ending.end_by_new_protocol(current, producer, is_commit, now, asked.spare_producer_id)
        except ApiError as error:
            raise _fenced(error, api_version, 2) from None
        records: list[Record] = []
        effects: list[Any] = []
        if after is not None:
            self._log_end(current, after, now, records, effects)
        response = schemas.END_TXN_RESPONSE()
        if api_version >= 5:
            successor = (after or current).successor
            response.producer_id, response.producer_epoch = successor.producer_id, successor.producer_epoch
        return Outcome(records, response, effects=effects)

    def _markers_done(self, report: MarkersDone, now: Millis) -> Outcome:
        markers, partitions = report.markers, frozenset(report.partitions)
        prepared = self._prepared.get(markers.transactional_id)
        if prepared is None or prepared.offset != markers.prepared_offset:
            return Outcome(response=False)
        if markers.coordinator_epoch != self.coordinator_epoch:
            return Outcome(response=False)
        if prepared.unmarked - partitions:
            return Outcome(response=False, facts=(Written(markers.transactional_id, partitions),))
        current = self.transactions[markers.transactional_id]
        return Outcome([self._record(current, current.completed(now))], response=True)

    # --- time ---------------------------------------------------------------------------------------------------------------

    def _abort_timed_out(self, now: Millis) -> Outcome:
        records: list[Record] = []
        effects: list[Any] = []
        for transactional_id in sorted(self._ongoing):
            current = self.transactions[transactional_id]
            if current.timeout_ms != NEVER_TIMES_OUT_MS and current.started_ms + current.timeout_ms < now:
                self._log_end(current, current.fenced(now), now, records, effects)
        timers = (SetTimer(ABORT_TIMED_OUT, now + self.settings.abort_timed_out_interval_ms),)
        return Outcome(records, effects=effects, timers=timers, atomic=False)

    def _remove_expired(self, now: Millis) -> Outcome:
        is_old_at = now - self.settings.transactional_id_expiration_ms
        records = [
            tombstone(each.transactional_id)
            for each in self.transactions.values()
            if each.status in AT_REST and each.updated_ms <= is_old_at
        ]
        timers = (SetTimer(REMOVE_EXPIRED, now + self.settings.remove_expired_interval_ms),)
        return Outcome(records, timers=timers, atomic=False)

    # --- looking ------------------------------------------------------------------------------------------------------------

    def _describe(self, request: Request, now: Millis) -> Outcome:
        """The body is one transactional id."""
        message = schemas.DESCRIBE_TRANSACTIONS_RESPONSE
        transactional_id: str = request.body
        state = message.TransactionState(transactional_id=transactional_id)
        current = self.transactions.get(transactional_id)
        if not transactional_id:
            state.error_code = int(Code.INVALID_REQUEST)
        elif current is None:
            state.error_code = int(Code.TRANSACTIONAL_ID_NOT_FOUND)
        else:
            topics: dict[str, list[int]] = {}
            for topic, partition in sorted(current.partitions):
                topics.setdefault(topic, []).append(partition)
            state.transaction_state = NAMES[current.status]
            state.transaction_timeout_ms = current.timeout_ms
            state.transaction_start_time_ms = current.started_ms
            state.producer_id, state.producer_epoch = current.producer_id, current.producer_epoch
            state.topics = [message.TopicData(topic=topic, partitions=ids) for topic, ids in topics.items()]
        return Outcome(response=state)

    def _list(self, request: Request, now: Millis) -> Outcome:
        body, message = request.body, schemas.LIST_TRANSACTIONS_RESPONSE
        unknown = [name for name in body.state_filters if name not in STATUS_NAMED]
        statuses = {STATUS_NAMED[name] for name in body.state_filters if name in STATUS_NAMED}
        found = [
            each
            for each in self.transactions.values()
            if (not body.producer_id_filters or each.producer_id in body.producer_id_filters)
            and (not body.state_filters or each.status in statuses)
            # KAFKA: an id without a transaction counts as one that began at -1, and so passes any duration.
            and (body.duration_filter < 0 or now - each.started_ms > body.duration_filter)
        ]
        if body.transactional_id_pattern:
            names = self.match(body.transactional_id_pattern, [each.transactional_id for each in found])
            if names is None:
                raise ApiError(
                    Code.INVALID_REGULAR_EXPRESSION,
                    f"transactional_id_pattern {body.transactional_id_pattern!r} is no regular expression",
                )
            chosen = set(names)
            found = [each for each in found if each.transactional_id in chosen]
        rows = [
            message.TransactionState(
                transactional_id=each.transactional_id,
                producer_id=each.producer_id,
                transaction_state=NAMES[each.status],
            )
            for each in found
        ]
        return Outcome(response=message(unknown_state_filters=unknown, transaction_states=rows))


_OF_HOST: dict[type, str] = {
    TakePart: "_take_part",
    EndTransaction: "_end_transaction",
    MarkersDone: "_markers_done",
    AddOffsets: "_add_offsets",
    InitProducer: "_init_producer",
}
_HANDLERS: dict[str, Callable[[TransactionShard, Request, Millis], Outcome]] = {
    "AddPartitionsToTxn": TransactionShard._add_partitions,
    "DescribeTransactions": TransactionShard._describe,
    "ListTransactions": TransactionShard._list,
}


def _checked_id(transactional_id: str | None) -> str:
    if not transactional_id:
        raise ApiError(Code.INVALID_REQUEST, "transactional_id is empty")
    if len(transactional_id.encode("utf-8", "surrogatepass")) > TRANSACTIONAL_ID_BYTES_MAX:
        raise ApiError(Code.INVALID_REQUEST, f"transactional_id is longer than {TRANSACTIONAL_ID_BYTES_MAX} bytes")
    return transactional_id


def _expected_producer(body: Any) -> Producer | None:
    """Who a client that asks for a producer id says it is."""
    if (body.producer_id == NO_PRODUCER_ID) != (body.producer_epoch == NO_EPOCH):
        raise ApiError(Code.INVALID_REQUEST, "producer_id and producer_epoch must be given together")
    return None if body.producer_id == NO_PRODUCER_ID else Producer(body.producer_id, body.producer_epoch)


def _fenced(error: ApiError, api_version: int, since_api_version: int) -> ApiError:
    """Clients from before PRODUCER_FENCED are told INVALID_PRODUCER_EPOCH."""
    if error.code is Code.PRODUCER_FENCED and api_version < since_api_version:
        return ApiError(Code.INVALID_PRODUCER_EPOCH, error.message)
    return error


def _added_response(
    api_version: int, transactional_id: str, topics: Any, code_for: Callable[[TopicPartition], int]
) -> Any:
    message = schemas.ADD_PARTITIONS_TO_TXN_RESPONSE
    results = [
        message.AddPartitionsToTxnTopicResult(
            name=topic.name,
            results_by_partition=[
                message.AddPartitionsToTxnPartitionResult(
                    partition_index=index, partition_error_code=code_for((topic.name, index))
                )
                for index in topic.partitions
            ],
        )
        for topic in topics
    ]
    if api_version < 4:
        return message(results_by_topic_v3_and_below=results)
    return message.AddPartitionsToTxnResult(transactional_id=transactional_id, topic_results=results)
