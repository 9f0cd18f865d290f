"""The transaction coordinators of this broker, and what partitions here have to do with transactions of any coordinator.

    effects of shards      WriteMarkers --to every partition's leader, until it has it--> MarkersDone
    other brokers          WriteTxnMarkers: markers for partitions that are led here
    the data plane         Verify: a producer opens its transaction on a partition; the coordinator is asked (KIP-890)

What is asked of shards needs no task; a network or a pause does.

INVARIANT: a marker is written only while the shard that asked for it is at work: one that is late could end the next
transaction of a producer of the old protocol.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import trio

from cluster.broker.coordinator_host import CoordinatorHost, CoordinatorKind, build_marker
from cluster.broker.peers import UNREACHABLE, Links
from cluster.coordinator.group import shard as groups
from cluster.coordinator.txn.records import TABLE
from cluster.coordinator.txn.requests import MarkersDone, TakePart, WriteMarkers
from cluster.coordinator.txn.settings import transaction_settings
from cluster.coordinator.txn.shard import TransactionShard
from cluster.coordinator.txn.state import Producer
from cluster.handlers.answers import Answer, stepped
from cluster.handlers.coordination import partition_of
from cluster.handlers.internal_topics import GROUP_TOPIC, TRANSACTION_TOPIC
from cluster.plane.native import match_names
from pykafkacore.protocol.apis import api as api_named
from pykafkacore.protocol.errors import ApiError, Code

if TYPE_CHECKING:
    from cluster.metadata.apply import ImageDelta

log = logging.getLogger("pykafkacore.transactions")

Place = tuple[str, int]

RETRY_FIRST_S = 0.02
RETRY_MAX_S = 1.0
# KAFKA: a broker waits a little for the end of the transaction before, then lets the client ask again.
CONCURRENT_RETRY_S = 0.02
CONCURRENT_WAIT_S = 0.1
ADDS_PARTITIONS_FROM = 12
ABORTABLE_FROM = 11

_RETRIABLE = frozenset(
    {Code.COORDINATOR_LOAD_IN_PROGRESS, Code.COORDINATOR_NOT_AVAILABLE, Code.NOT_COORDINATOR, Code.REQUEST_TIMED_OUT}
)
_UNCERTAIN = frozenset({Code.NOT_COORDINATOR, Code.UNKNOWN_SERVER_ERROR})
_FENCED = frozenset({Code.INVALID_PRODUCER_EPOCH, Code.TRANSACTION_COORDINATOR_FENCED})


class TransactionHost:
    """Implements `cluster.handlers.context.Transactions`."""

    def __init__(self, ctx: Any, node_id: int, listener: str, links: Links, make_host: Callable[..., CoordinatorHost]) -> None:
        """`ctx`: the broker, as handlers see it; `listener`: the one on which brokers reach one another."""
        self._ctx = ctx
        self._node_id = node_id
        self._listener = listener
        self._links = links
        self._settings = transaction_settings(ctx.settings)
        self._spares: list[int] = []
        self._writing: dict[str, Answer] = {}
        self.host = make_host(CoordinatorKind(TRANSACTION_TOPIC, TABLE, self._make_shard), self._perform)

    def _make_shard(self, partition: int, leader_epoch: int) -> TransactionShard:
        return TransactionShard(partition, self._settings, self.transaction_version, leader_epoch, match_names)

    def transaction_version(self) -> int:
        level: int = self._ctx.image.features.get("transaction.version", 0)
        return level

    @property
    def partition_count(self) -> int:
        return self.host.partition_count

    def led_partitions(self) -> list[int]:
        return self.host.led_partitions()

    def ask(self, partition: int, make_request: Callable[[int], Any]) -> Answer:
        return self.host.ask(partition, make_request)

    async def ask_with_spare(self, partition: int, make_request: Callable[[int, int], Any]) -> Any:
        """As `ask`, with a producer id that the coordinator may give away."""
        spare = self._spares.pop() if self._spares else await self._ctx.producer_id()
        try:
            response = await self.host.ask(partition, lambda ticket: make_request(ticket, spare))
        except ApiError as error:
            # Of a decision that was dropped with its shard nobody knows whether it stands in the log.
            if error.code not in _UNCERTAIN:
                self._spares.append(spare)
            raise
        if response.producer_id != spare:
            self._spares.append(spare)
        return response

    def on_image(self, delta: ImageDelta) -> None:
        changed = delta.partitions.keys() | delta.topics_added | delta.topics_removed
        if changed and self.host.concerns(delta.before, delta.after, changed):
            self.host.on_image(delta.after)

    def close(self) -> None:
        self.host.close()

    # --- markers out --------------------------------------------------------------------------------------------------------

    def _perform(self, partition: int, effect: WriteMarkers) -> None:
        stepped(self._write_out(partition, effect, self.host.shard_of(partition)))

    async def _write_out(self, partition: int, markers: WriteMarkers, shard: Any) -> None:
        """Until every partition has its marker, was deleted, or the shard is no more. One after another for each id: a
        shard that was loaded anew asks for what its predecessor may still be writing."""
        while (before := self._writing.get(markers.transactional_id)) is not None:
            await before
        ended = self._writing[markers.transactional_id] = Answer()
        try:
            await self._write_until_done(partition, markers, shard)
        finally:
            del self._writing[markers.transactional_id]
            ended.settle(None)

    async def _write_until_done(self, partition: int, markers: WriteMarkers, shard: Any) -> None:
        left = set(markers.partitions)
        delay_s = RETRY_FIRST_S
        while left:
            if shard is None or self.host.shard_of(partition) is not shard:
                return
            try:
                done, fenced = await self._write_once(markers, left)
            except Exception:
                log.exception("markers of %s are to be tried again", markers.transactional_id)
                done, fenced = set(), set()
            if fenced:
                log.error("markers of %s are fenced by a newer coordinator or producer: %s", markers.transactional_id, fenced)
                return
            left -= done
            if done and self.host.shard_of(partition) is shard:
                report = MarkersDone(markers, tuple(sorted(done)))
                self.host.ask(partition, lambda _: report)  # noqa: B023
            if left:
                await self.host.in_task(trio.sleep(delay_s))
                delay_s = min(2 * delay_s, RETRY_MAX_S)

    async def _write_once(self, markers: WriteMarkers, places: Iterable[Place]) -> tuple[set[Place], set[Place]]:
        """(done, fenced)."""
        image = self._ctx.image
        by_leader: dict[int, list[Place]] = {}
        done: set[Place] = set()
        for topic, index in sorted(places):
            found = image.topic_named(topic)
            if found is None or index not in found.partitions:
                done.add((topic, index))
            else:
                by_leader.setdefault(found.partitions[index].leader, []).append((topic, index))
        fenced: set[Place] = set()
        for leader, group in by_leader.items():
            if leader == self._node_id:
                codes = await self.write_here(markers, group)
            else:
                codes = await self._write_there(leader, markers, group)
            done.update(place for place, code in codes.items() if code == 0)
            fenced.update(place for place, code in codes.items() if code in _FENCED)
        return done, fenced

    async def _write_there(self, leader: int, markers: WriteMarkers, places: list[Place]) -> dict[Place, int]:
        row = api_named("WriteTxnMarkers")
        message = row.request
        topics: dict[str, list[int]] = {}
        for topic, index in places:
            topics.setdefault(topic, []).append(index)
        marker = message.WritableTxnMarker(
            producer_id=markers.producer_id,
            producer_epoch=markers.producer_epoch,
            transaction_result=markers.commit,
            topics=[message.WritableTxnMarkerTopic(name=t, partition_indexes=ps) for t, ps in topics.items()],
            coordinator_epoch=markers.coordinator_epoch,
            transaction_version=markers.transaction_version,
        )
        response = await self.host.in_task(self._ask_broker(leader, row, message(markers=[marker])))
        if response is None:
            return {}
        return {
            (topic.name, partition.partition_index): partition.error_code
            for told in response.markers
            for topic in told.topics
            for partition in topic.partitions
        }

    async def _ask_broker(self, broker_id: int, row: Any, request: Any) -> Any:
        """None where it cannot be reached."""
        broker = self._ctx.image.brokers.get(broker_id)
        endpoint = None if broker is None else broker.listener(self._listener)
        if endpoint is None:
            return None
        link = None
        try:
            with trio.fail_after(30):
                link = await self._links.to("transactions", endpoint.host, endpoint.port)
                return await link.request(row, request, link.version_for(row))
        except UNREACHABLE as error:
            if link is not None:
                # What was sent is not to arrive after what will be sent instead.
                await link.close()
            log.info("broker %d does not answer %s: %r", broker_id, row.name, error)
            return None

    # --- markers in -----------------------------------------------------------------------------------------------------------

    async def write_here(self, markers: WriteMarkers, places: list[Place]) -> dict[Place, int]:
        """The error code of each partition that is led here."""
        answers = {place: stepped(self._write_one(markers, place)) for place in places}
        return {place: await answer for place, answer in answers.items()}

    async def _write_one(self, markers: WriteMarkers, place: Place) -> int:
        topic, index = place
        found = self._ctx.image.topic_named(topic)
        if found is None or index not in found.partitions:
            return Code.UNKNOWN_TOPIC_OR_PARTITION
        if topic == GROUP_TOPIC:
            return await self._end_offsets(markers, index)
        batch = build_marker(
            markers.producer_id, markers.producer_epoch, markers.commit, markers.coordinator_epoch, self.host.clock.wall_ms()
        )
        return await self.host.append_everywhere((found.topic_id, index), batch, markers.transaction_version)

    async def _end_offsets(self, markers: WriteMarkers, index: int) -> int:
        """Offsets are committed or dropped by their group's coordinator."""
        request = groups.EndTransaction(
            markers.producer_id, markers.producer_epoch, markers.commit, markers.coordinator_epoch
        )
        try:
            await self._ctx.groups.ask(index, lambda _: request)
        except ApiError as error:
            return int(error.code)
        return 0

    # --- verification -----------------------------------------------------------------------------------------------------------

    def on_verify(self, upcall: Any) -> None:
        """Whatever happens, the producer is answered."""

        def told(outcome: Any) -> None:
            if isinstance(outcome, Exception):
                log.error("a transaction of %r cannot be verified", upcall.transactional_id, exc_info=outcome)
                outcome = [int(Code.UNKNOWN_SERVER_ERROR)] * len(upcall.partitions)
            self._ctx.plane.verified(upcall.ticket, outcome)

        stepped(self._codes_for(upcall)).then(told)

    async def _codes_for(self, upcall: Any) -> list[int]:
        transactional_id = upcall.transactional_id.decode("utf-8", "surrogateescape")
        places: dict[tuple[int, int], list[Place]] = {}
        for producer_id, epoch, topic, index in upcall.partitions:
            places.setdefault((producer_id, epoch), []).append((topic, index))
        is_look = upcall.api_version < ADDS_PARTITIONS_FROM
        codes = {
            producer: await self.verify(transactional_id, *producer, wanted, is_look) for producer, wanted in places.items()
        }
        return [
            _for_producers(codes[producer_id, epoch][topic, index], upcall.api_version)
            for producer_id, epoch, topic, index in upcall.partitions
        ]

    async def verify(
        self, transactional_id: str, producer_id: int, producer_epoch: int, places: list[Place], verify_only: bool
    ) -> dict[Place, int]:
        """What the transaction's coordinator says of each partition; with `verify_only` it adds none."""
        if verify_only and not self._settings.partition_verification_enabled:
            return dict.fromkeys(places, 0)
        deadline = trio.current_time() + CONCURRENT_WAIT_S
        while True:
            codes = await self._verify_once(transactional_id, producer_id, producer_epoch, places, verify_only)
            if Code.CONCURRENT_TRANSACTIONS not in codes.values() or trio.current_time() >= deadline:
                return codes
            await self.host.in_task(trio.sleep(CONCURRENT_RETRY_S))

    async def _verify_once(
        self, transactional_id: str, producer_id: int, producer_epoch: int, places: list[Place], verify_only: bool
    ) -> dict[Place, int]:
        topic = self._ctx.image.topic_named(TRANSACTION_TOPIC)
        if topic is None:
            return dict.fromkeys(places, Code.COORDINATOR_NOT_AVAILABLE)
        partition = partition_of(transactional_id, len(topic.partitions))
        leader = topic.partitions[partition].leader
        asked = TakePart(transactional_id, Producer(producer_id, producer_epoch), frozenset(places), verify_only)
        if leader != self._node_id:
            return await self._verify_there(leader, asked)
        try:
            found: dict[Place, int] = await self.host.ask(partition, lambda _: asked)
        except ApiError as error:
            return dict.fromkeys(places, error.code)
        return found

    async def _verify_there(self, leader: int, asked: TakePart) -> dict[Place, int]:
        row = api_named("AddPartitionsToTxn")
        message = row.request
        topics: dict[str, list[int]] = {}
        for topic, index in sorted(asked.partitions):
            topics.setdefault(topic, []).append(index)
        transaction = message.AddPartitionsToTxnTransaction(
            transactional_id=asked.transactional_id,
            producer_id=asked.producer.producer_id,
            producer_epoch=asked.producer.producer_epoch,
            verify_only=asked.verify_only,
            topics=[message.AddPartitionsToTxnTopic(name=name, partitions=indexes) for name, indexes in topics.items()],
        )
        response = await self.host.in_task(self._ask_broker(leader, row, message(transactions=[transaction])))
        if response is None or response.error_code:
            return dict.fromkeys(asked.partitions, Code.COORDINATOR_NOT_AVAILABLE)
        [result] = response.results_by_transaction
        return {
            (told.name, partition.partition_index): partition.partition_error_code
            for told in result.topic_results
            for partition in told.results_by_partition
        }


def _for_producers(code: int, api_version: int) -> int:
    """A coordinator's error as Produce tells it.

    KAFKA: Produce knows no PRODUCER_FENCED, and a coordinator that cannot be asked is like a replica that is missing."""
    if code in _RETRIABLE:
        return Code.NOT_ENOUGH_REPLICAS
    if code in (Code.PRODUCER_FENCED, Code.INVALID_PRODUCER_EPOCH):
        return Code.INVALID_PRODUCER_EPOCH
    if code == Code.TRANSACTION_ABORTABLE and api_version < ABORTABLE_FROM:
        return Code.INVALID_TXN_STATE
    return code
