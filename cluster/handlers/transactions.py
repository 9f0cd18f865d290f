"""The APIs of transactions: ids for producers, what a transaction touches, how it ends, and what there is to see.

Each finds the coordinator's partition and asks its shard. Offsets of a transaction are the group coordinator's, once the
transaction's own coordinator has said that they are part of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from cluster.coordinator.group.shard import MarkerSeen, OffsetsOfTransaction
from cluster.coordinator.txn.requests import AddOffsets, EndTransaction, InitProducer, WriteMarkers
from cluster.handlers.context import Call, Context
from cluster.handlers.coordination import partition_of
from cluster.handlers.groups import Places, ask_every_partition, request_for
from cluster.handlers.internal_topics import GROUP_TOPIC
from pykafkacore.protocol.errors import ApiError, Code
from pykafkacore.protocol.schemas import transactions as schemas

ADDS_OFFSETS_FROM = 5
"""TxnOffsetCommit versions from which the broker adds the offsets to the transaction itself (KIP-890)."""

VERIFY_ATTEMPTS_MAX = 5

# A transaction's coordinator speaks to producers; these are the group coordinator's words for the same.
_AS_GROUPS_SAY = {
    Code.REQUEST_TIMED_OUT: Code.COORDINATOR_NOT_AVAILABLE,
    Code.PRODUCER_FENCED: Code.INVALID_PRODUCER_EPOCH,
}


def _partition(ctx: Context, transactional_id: str) -> int:
    count = ctx.transactions.partition_count
    if not count:
        raise ApiError(Code.COORDINATOR_NOT_AVAILABLE, "the topic of the transaction coordinators is not there yet")
    return partition_of(transactional_id, count)


def _ask(ctx: Context, call: Call, transactional_id: str, make_request: Callable[[int], Any]) -> Awaitable[Any]:
    return ctx.transactions.ask(_partition(ctx, transactional_id), make_request)


async def init_producer_id(ctx: Context, call: Call) -> Any:
    body = call.request
    if call.api_version >= 3 and not _come_together(body.producer_id, body.producer_epoch):
        raise ApiError(Code.INVALID_REQUEST, "producer_id and producer_epoch come together, or neither does")
    if body.transactional_id is None:
        return schemas.INIT_PRODUCER_ID_RESPONSE(producer_id=await ctx.producer_id(), producer_epoch=0)
    if body.transactional_id == "":
        raise ApiError(Code.INVALID_REQUEST, "transactional_id is empty")
    partition = _partition(ctx, body.transactional_id)
    return await ctx.transactions.ask_with_spare(
        partition, lambda ticket, spare: InitProducer(request_for(ctx, call, body, ticket), spare)
    )


def _come_together(producer_id: int, producer_epoch: int) -> bool:
    return (producer_id == producer_epoch == -1) or (producer_id >= 0 and producer_epoch >= 0)


async def end_txn(ctx: Context, call: Call) -> Any:
    body = call.request
    partition = _partition(ctx, body.transactional_id)
    return await ctx.transactions.ask_with_spare(
        partition, lambda ticket, spare: EndTransaction(request_for(ctx, call, body, ticket), spare)
    )


async def add_offsets_to_txn(ctx: Context, call: Call) -> Any:
    body = call.request
    if not body.transactional_id:
        raise ApiError(Code.INVALID_REQUEST, "transactional_id is empty")
    # KAFKA: a group without a name is none of a transaction's business: its commit is refused later.
    if not ctx.groups.partition_count:
        raise ApiError(Code.COORDINATOR_NOT_AVAILABLE, "the topic of the group coordinators is not there yet")
    partition = partition_of(body.group_id, ctx.groups.partition_count)
    return await _ask(
        ctx, call, body.transactional_id, lambda ticket: AddOffsets(request_for(ctx, call, body, ticket), partition)
    )


# --- AddPartitionsToTxn ---------------------------------------------------------------------------------------------------


async def add_partitions_to_txn(ctx: Context, call: Call) -> Any:
    body, message = call.request, schemas.ADD_PARTITIONS_TO_TXN_RESPONSE
    if call.api_version >= 4:
        if not body.transactions:
            # KAFKA: 4.4 never answers this one.
            raise ApiError(Code.INVALID_REQUEST, "transactions is empty")
        response = message()
        for transaction in body.transactions:
            result = await _add_partitions(ctx, call, transaction.transactional_id, transaction.topics, transaction)
            response.results_by_transaction.append(result)
        return response
    return await _add_partitions(ctx, call, body.v3_and_below_transactional_id, body.v3_and_below_topics, body)


async def _add_partitions(ctx: Context, call: Call, transactional_id: str, topics: list[Any], body: Any) -> Any:
    unknown = {(t.name, i) for t in topics for i in t.partitions if not _exists(ctx, t.name, i)}
    if unknown:
        # All or nothing: what does exist is not tried.
        def code_for(name: str, index: int) -> int:
            return Code.UNKNOWN_TOPIC_OR_PARTITION if (name, index) in unknown else Code.OPERATION_NOT_ATTEMPTED

        return _added(call.api_version, transactional_id, topics, code_for)
    try:
        return await _ask(ctx, call, transactional_id, lambda ticket: request_for(ctx, call, body, ticket))
    except ApiError as error:
        code = error.code
        return _added(call.api_version, transactional_id, topics, lambda name, index: code)


def _exists(ctx: Context, name: str, index: int) -> bool:
    topic = ctx.image.topic_named(name)
    return topic is not None and index in topic.partitions


def _added(api_version: int, transactional_id: str, topics: list[Any], code_for: Callable[[str, int], int]) -> Any:
    message = schemas.ADD_PARTITIONS_TO_TXN_RESPONSE
    row = message.AddPartitionsToTxnPartitionResult
    results = [
        message.AddPartitionsToTxnTopicResult(
            name=topic.name,
            results_by_partition=[
                row(partition_index=index, partition_error_code=code_for(topic.name, index)) for index in topic.partitions
            ],
        )
        for topic in topics
    ]
    if api_version < 4:
        return message(results_by_topic_v3_and_below=results)
    return message.AddPartitionsToTxnResult(transactional_id=transactional_id, topic_results=results)


# --- offsets --------------------------------------------------------------------------------------------------------------


async def txn_offset_commit(ctx: Context, call: Call) -> Any:
    body, message = call.request, schemas.TXN_OFFSET_COMMIT_RESPONSE
    if not ctx.groups.partition_count:
        raise ApiError(Code.COORDINATOR_NOT_AVAILABLE, "the topic of the group coordinators is not there yet")
    partition = partition_of(body.group_id, ctx.groups.partition_count)
    if not body.group_id:
        raise ApiError(Code.INVALID_GROUP_ID, "group_id is empty")
    # KAFKA: a topic without partitions is not answered.
    places = Places(ctx, [topic for topic in body.topics if topic.partitions], by_id=call.api_version >= 6)
    answered = await _commit_offsets(ctx, call, partition, places.known) if places.known else []
    parts = message.TxnOffsetCommitResponseTopic, message.TxnOffsetCommitResponsePartition
    return places.told(message, *parts, answered)


async def _commit_offsets(ctx: Context, call: Call, partition: int, topics: list[Any]) -> list[Any]:
    """The topics of the group coordinator's answer, once the transaction's own has said that the offsets are part of it."""
    body = call.request
    for attempt in range(VERIFY_ATTEMPTS_MAX):
        # A marker that comes while the coordinator is asked makes its word void: it is asked anew.
        guard = await ctx.groups.ask(partition, lambda _: MarkerSeen(body.producer_id))
        codes = await ctx.transactions.verify(
            body.transactional_id, body.producer_id, body.producer_epoch, [(GROUP_TOPIC, partition)],
            verify_only=call.api_version < ADDS_OFFSETS_FROM,
        )  # fmt: skip
        code = codes[GROUP_TOPIC, partition]
        if code:
            known = _AS_GROUPS_SAY.get(Code(code), Code(code))
            if known == Code.TRANSACTION_ABORTABLE and call.api_version < ADDS_OFFSETS_FROM - 1:
                known = Code.INVALID_TXN_STATE
            raise ApiError(known, "the transaction's coordinator refused it")
        asked = schemas.TXN_OFFSET_COMMIT_REQUEST(
            transactional_id=body.transactional_id,
            group_id=body.group_id,
            producer_id=body.producer_id,
            producer_epoch=body.producer_epoch,
            generation_id_or_member_epoch=body.generation_id_or_member_epoch,
            member_id=body.member_id,
            group_instance_id=body.group_instance_id,
            topics=topics,
        )
        verified = OffsetsOfTransaction(asked, guard)
        try:
            response = await ctx.groups.ask(partition, lambda ticket: request_for(ctx, call, verified, ticket))  # noqa: B023
        except ApiError as error:
            if error.code != Code.INVALID_TXN_STATE or attempt + 1 == VERIFY_ATTEMPTS_MAX:
                raise
        else:
            found: list[Any] = response.topics
            return found
    raise AssertionError("the last attempt returns or raises")


# --- markers of other coordinators ----------------------------------------------------------------------------------------


async def write_txn_markers(ctx: Context, call: Call) -> Any:
    message = schemas.WRITE_TXN_MARKERS_RESPONSE
    response = message()
    for marker in call.request.markers:
        if not any(topic.partition_indexes for topic in marker.topics):
            # KAFKA: a marker for no partition is not answered.
            continue
        markers = WriteMarkers(
            "",
            marker.producer_id,
            marker.producer_epoch,
            marker.transaction_result,
            marker.coordinator_epoch,
            marker.transaction_version,
            -1,
            tuple((topic.name, index) for topic in marker.topics for index in topic.partition_indexes),
        )
        if marker.producer_id < 0 or marker.producer_epoch < 0:
            codes = dict.fromkeys(markers.partitions, int(Code.INVALID_REQUEST))
        else:
            codes = await ctx.transactions.write_here(markers, list(markers.partitions))
        row = message.WritableTxnMarkerPartitionResult
        response.markers.append(
            message.WritableTxnMarkerResult(
                producer_id=marker.producer_id,
                topics=[
                    message.WritableTxnMarkerTopicResult(
                        name=topic.name,
                        partitions=[
                            row(partition_index=i, error_code=codes[topic.name, i]) for i in topic.partition_indexes
                        ],
                    )
                    for topic in marker.topics
                ],
            )
        )
    return response


# --- administration -------------------------------------------------------------------------------------------------------


async def describe_transactions(ctx: Context, call: Call) -> Any:
    message = schemas.DESCRIBE_TRANSACTIONS_RESPONSE
    response = message()
    for transactional_id in call.request.transactional_ids:
        try:
            state = await _ask(
                ctx, call, transactional_id, lambda ticket: request_for(ctx, call, transactional_id, ticket)  # noqa: B023
            )
        except ApiError as error:
            state = message.TransactionState(transactional_id=transactional_id, error_code=error.code)
        response.transaction_states.append(state)
    return response


async def list_transactions(ctx: Context, call: Call) -> Any:
    """The transactions of every partition that this broker leads; clients ask every broker."""
    response = schemas.LIST_TRANSACTIONS_RESPONSE()
    for found in await ask_every_partition(ctx, call, ctx.transactions):
        response.unknown_state_filters = found.unknown_state_filters
        response.transaction_states.extend(found.transaction_states)
    return response
