"""Administration of transactions over a client: what coordinators know of them, what partitions do, and ending them.

What it is: each call gives plain values or raises ApiError, in the words of Kafka's own clients.
What it is not: a transactional producer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from pykafkacore.client.groups import TRANSACTION, ask_coordinator, by_topic
from pykafkacore.protocol.apis import api
from pykafkacore.protocol.errors import RETRIABLE, ApiError, Code, code_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pykafkacore.client.client import Client

Place = tuple[str, int]
# What a transaction is given that nobody means to go on with.
TERMINATED_TIMEOUT_MS = 30_000


class TransactionState(Struct, frozen=True):
    coordinator_id: int
    transactional_id: str
    producer_id: int
    producer_epoch: int
    state: str
    timeout_ms: int
    start_time_ms: int
    """-1 when none is going on."""
    partitions: tuple[Place, ...]


class ListedTransaction(Struct, frozen=True):
    transactional_id: str
    producer_id: int
    state: str


class ActiveProducer(Struct, frozen=True):
    """A producer as a partition knows it; -1 stands for what is not known."""

    producer_id: int
    producer_epoch: int
    coordinator_epoch: int
    last_sequence: int
    last_timestamp_ms: int
    transaction_start_offset: int


def name_of(place: Place) -> str:
    return f"{place[0]}-{place[1]}"


# ---- at coordinators


async def describe_transaction(client: Client, transactional_id: str) -> TransactionState:
    asked = f"DescribeTransactions request for transactionalId `{transactional_id}` failed"
    words = {
        Code.TRANSACTIONAL_ID_NOT_FOUND: f"{asked} because the ID could not be found",
        Code.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: f"{asked} due to authorization failure",
    }

    def check(answer: Any) -> None:
        code = code_of(answer.transaction_states[0].error_code)
        if code is not Code.NONE:
            raise ApiError(code, words.get(code, f"{asked} due to unexpected error"))

    body = api("DescribeTransactions").request(transactional_ids=[transactional_id])
    answer, coordinator = await ask_coordinator(
        client, transactional_id, "DescribeTransactions", body, check, kind=TRANSACTION
    )
    found = answer.transaction_states[0]
    return TransactionState(
        coordinator_id=coordinator.node_id,
        transactional_id=transactional_id,
        producer_id=found.producer_id,
        producer_epoch=found.producer_epoch,
        state=found.transaction_state,
        timeout_ms=found.transaction_timeout_ms,
        start_time_ms=found.transaction_start_time_ms,
        partitions=tuple((topic.topic, partition) for topic in found.topics for partition in topic.partitions),
    )


async def list_transactions(
    client: Client, *, producer_ids: Iterable[int] = (), duration_ms: int = -1, pattern: str | None = None
) -> dict[int, list[ListedTransaction]]:
    """The transactional ids of each broker that coordinates some; the brokers apply the filters."""
    body = api("ListTransactions").request(
        producer_id_filters=list(producer_ids), duration_filter=duration_ms, transactional_id_pattern=pattern
    )
    found: dict[int, list[ListedTransaction]] = {}
    for node_id in (await client.refresh_metadata([])).nodes:

        async def attempt(node_id: int = node_id) -> Any:
            answer = await client.request_node(node_id, "ListTransactions", body)
            if answer.error_code != Code.NONE:
                told = f"ListTransactions request sent to broker {node_id} failed with an unexpected exception"
                raise ApiError(code_of(answer.error_code), told)
            return answer

        answer = await client.retrying(attempt)
        found[node_id] = [
            ListedTransaction(one.transactional_id, one.producer_id, one.transaction_state)
            for one in answer.transaction_states
        ]
    return found


async def terminate_transaction(client: Client, transactional_id: str) -> None:
    """Fence whoever uses this id, which ends what it has open."""
    asked = f"InitProducerId request for transactionalId `{transactional_id}` failed due to"
    words = {
        Code.CLUSTER_AUTHORIZATION_FAILED: f"{asked} cluster authorization failure",
        Code.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: f"{asked} transactional ID authorization failure",
    }

    def check(answer: Any) -> None:
        code = code_of(answer.error_code)
        if code is not Code.NONE:
            raise ApiError(code, words.get(code, f"{asked} unexpected error"))

    body = api("InitProducerId").request(
        transactional_id=transactional_id, transaction_timeout_ms=TERMINATED_TIMEOUT_MS
    )
    await ask_coordinator(client, transactional_id, "InitProducerId", body, check, kind=TRANSACTION)


# ---- at partitions


async def describe_producers(
    client: Client, places: Sequence[Place], broker_id: int | None = None
) -> dict[Place, list[ActiveProducer]]:
    """The producers that the leader of each partition knows, or this broker, which has to have a replica of all."""
    row = api("DescribeProducers")
    found: dict[Place, list[ActiveProducer]] = {}

    async def attempt() -> None:
        by_broker: dict[int, list[Place]] = {}
        for place in places:
            if place not in found:
                asked_id = await client.leader_of(*place) if broker_id is None else broker_id
                by_broker.setdefault(asked_id, []).append(place)
        passing: ApiError | None = None
        for asked_id, wanted in by_broker.items():
            topics = [
                row.request.TopicRequest(name=topic, partition_indexes=partitions)
                for topic, partitions in by_topic(wanted).items()
            ]
            answer = await client.request_node(asked_id, "DescribeProducers", row.request(topics=topics))
            for topic in answer.topics:
                for one in topic.partitions:
                    passing = _take_producers((topic.name, one.partition_index), one, broker_id, found) or passing
        if passing is not None:
            raise passing

    await client.retrying(attempt)
    return {place: found[place] for place in places}


def _take_producers(
    place: Place, answer: Any, broker_id: int | None, found: dict[Place, list[ActiveProducer]]
) -> ApiError | None:
    """What to try again for, if anything; raises what is for good."""
    code = code_of(answer.error_code)
    told = f"Failed to describe active producers for partition {name_of(place)}"
    if code is Code.NOT_LEADER_OR_FOLLOWER and broker_id is not None:
        # Not fit to be tried again: the broker was named. A code of its own keeps it from that.
        raise ApiError(Code.INVALID_REQUEST, f"{told} on brokerId {broker_id}")
    if code in RETRIABLE:
        return ApiError(code, told)
    if code is Code.TOPIC_AUTHORIZATION_FAILED:
        raise ApiError(code, f"{told} due to authorization failure on topic `{place[0]}`")
    if code is not Code.NONE:
        raise ApiError(code, f"{told} due to unexpected error")
    found[place] = [
        ActiveProducer(
            producer_id=one.producer_id,
            producer_epoch=one.producer_epoch,
            coordinator_epoch=one.coordinator_epoch,
            last_sequence=one.last_sequence,
            last_timestamp_ms=one.last_timestamp,
            transaction_start_offset=one.current_txn_start_offset,
        )
        for one in answer.active_producers
    ]
    return None


def abort_text(place: Place, producer: ActiveProducer) -> str:
    return (
        f"AbortTransactionSpec(topicPartition={name_of(place)}, producerId={producer.producer_id}, "
        f"producerEpoch={producer.producer_epoch}, coordinatorEpoch={producer.coordinator_epoch})"
    )


async def abort_at_partition(client: Client, place: Place, producer: ActiveProducer) -> None:
    """Write an abort marker of this producer into one partition, whatever its coordinator thinks."""
    request = api("WriteTxnMarkers").request
    topic, partition = place
    marker = request.WritableTxnMarker(
        producer_id=producer.producer_id,
        producer_epoch=producer.producer_epoch,
        coordinator_epoch=producer.coordinator_epoch,
        transaction_result=False,
        topics=[request.WritableTxnMarkerTopic(name=topic, partition_indexes=[partition])],
    )
    asked = f"WriteTxnMarkers request with {abort_text(place, producer)} failed"
    words = {
        Code.CLUSTER_AUTHORIZATION_FAILED: f"{asked} due to cluster authorization error",
        Code.INVALID_PRODUCER_EPOCH: f"{asked} due an invalid producer epoch",
        Code.TRANSACTION_COORDINATOR_FENCED:
            f"{asked} since the provided coordinator epoch {producer.coordinator_epoch} has been fenced by the active "
            "coordinator",
    }  # fmt: skip

    async def attempt() -> None:
        leader_id = await client.leader_of(topic, partition)
        answer = await client.request_node(leader_id, "WriteTxnMarkers", request(markers=[marker]))
        found = answer.markers[0].topics[0].partitions[0]
        code = code_of(found.error_code)
        if code is not Code.NONE:
            raise ApiError(code, words.get(code, f"{asked} due to unexpected error: {code.name}"))

    await client.retrying(attempt)


async def check_describable(client: Client, broker_id: int | None) -> None:
    """ApiError at once for a broker that is not there."""
    if broker_id is not None:
        nodes = (await client.refresh_metadata([])).nodes
        if broker_id not in nodes:
            known = ", ".join(map(str, sorted(nodes)))
            raise ApiError(Code.BROKER_NOT_AVAILABLE, f"there is no broker {broker_id}: there are {known}")

