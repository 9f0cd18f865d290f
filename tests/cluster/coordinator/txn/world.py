"""A transaction coordinator over a log in memory, in virtual time. Requests are lines, answers come back at once, unless
`replicated` is off. `reload` throws the shard away and makes a new one from the bytes of the log.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from cluster.coordinator import values
from cluster.coordinator.runtime import Append, Dropped, Fail, Faulted, Perform, Respond, ShardRuntime
from cluster.coordinator.txn.requests import AddOffsets, EndTransaction, InitProducer, MarkersDone, WriteMarkers
from cluster.coordinator.txn.settings import TransactionSettings
from cluster.coordinator.txn.shard import TransactionShard
from cluster.coordinator.txn.state import EPOCH_MAX, NAMES, Producer
from cluster.coordinator.values import Encoded, Request
from pykafkacore.protocol.apis import api as api_named
from pykafkacore.protocol.errors import ApiError
from pykafkacore.protocol.errors import code_of as code_numbered
from pykafkacore.protocol.log_records import TRANSACTION_RECORDS
from pykafkacore.protocol.schemas import transactions as schemas

ID = "app"
FIRST_SPARE = 1000

Place = tuple[str, int]


class World:
    def __init__(self, transaction_version: int = 2, **settings: Any) -> None:
        self.settings = TransactionSettings(**settings)
        self.transaction_version = transaction_version
        self.now = 1_000_000
        self.log: list[Encoded] = []
        self.replicated = True
        self.answers: dict[int, Any] = {}
        self.markers: list[WriteMarkers] = []
        self.leader_epoch = 0
        self.spare = FIRST_SPARE
        self._ticket = 0
        self.runtime = ShardRuntime(values.encode, size=values.encoded_bytes)
        self._start()

    def make_shard(self) -> TransactionShard:
        return TransactionShard(7, self.settings, lambda: self.transaction_version, self.leader_epoch)

    def replayed(self) -> TransactionShard:
        shard = self.make_shard()
        values.replay(shard, 0, (values.decode(key, value, TRANSACTION_RECORDS) for key, value in self.log))
        return shard

    def _start(self) -> None:
        self.leader_epoch += 1
        end = len(self.log)
        self._take(self.runtime.start(self.replayed(), self.leader_epoch, end, end, self.now))

    def reload(self) -> None:
        """Another leader. What the old one was asked to do is forgotten."""
        self.markers = []
        self._take(self.runtime.stop("reload"))
        self._start()

    @property
    def shard(self) -> TransactionShard:
        return self.runtime.shard

    def status(self, transactional_id: str = ID) -> str:
        return NAMES[self.shard.transactions[transactional_id].status]

    def value_versions(self) -> list[int]:
        return [value[1] for _, value in self.log if value is not None]

    # --- asking -----------------------------------------------------------------------------------------------------------

    def submit(self, make: Any) -> Any:
        """The answer to the request that `make(ticket)` hands back; None while it waits for its commit."""
        self._ticket += 1
        self._take(self.runtime.submit(self._ticket, make(self._ticket), self.now))
        self._take(self.runtime.flush())
        return self.answers.pop(self._ticket, None)

    def ask(self, name: str, version: int, wrap: Any, body: Any) -> Any:
        return self.submit(lambda ticket: wrap(Request(ticket, name, version, body)))

    def body(self, name: str, version: int, **fields: Any) -> Any:
        """As it comes off the wire."""
        message = api_named(name).request
        return message.decode(message.encode(message(**fields), version), version)

    def init(self, version: int = 5, transactional_id: str = ID, timeout_ms: int = 60_000, **fields: Any) -> Any:
        body = self.body(
            "InitProducerId", version, transactional_id=transactional_id, transaction_timeout_ms=timeout_ms, **fields
        )
        self.spare += 1
        return self.ask("InitProducerId", version, lambda request: InitProducer(request, self.spare), body)

    def producer(self, version: int = 5, **fields: Any) -> Producer:
        """Who an InitProducerId, repeated while it is told to, makes of its client."""
        answer = self.init(version, **fields)
        if code_of(answer) == "CONCURRENT_TRANSACTIONS":
            self.write_markers()
            answer = self.init(version, **fields)
        assert not isinstance(answer, ApiError), answer
        return Producer(answer.producer_id, answer.producer_epoch)

    def add(
        self, producer: Producer, *places: Place, version: int = 5, verify: bool = False, transactional_id: str = ID
    ) -> list[str]:
        """The code of each partition."""
        answer = self.add_answer(producer, *places, version=version, verify=verify, transactional_id=transactional_id)
        topics = answer.topic_results if version >= 4 else answer.results_by_topic_v3_and_below
        return [name_of(row.partition_error_code) for topic in topics for row in topic.results_by_partition]

    def add_answer(
        self, producer: Producer, *places: Place, version: int = 5, verify: bool = False, transactional_id: str = ID
    ) -> Any:
        message = schemas.ADD_PARTITIONS_TO_TXN_REQUEST
        topics = [message.AddPartitionsToTxnTopic(name=name, partitions=[index]) for name, index in places]
        if version < 4:
            body = self.body(
                "AddPartitionsToTxn", version, v3_and_below_transactional_id=transactional_id, v3_and_below_topics=topics,
                v3_and_below_producer_id=producer.producer_id, v3_and_below_producer_epoch=producer.producer_epoch,
            )  # fmt: skip
        else:
            one = message.AddPartitionsToTxnTransaction(
                transactional_id=transactional_id, producer_id=producer.producer_id,
                producer_epoch=producer.producer_epoch, verify_only=verify, topics=topics,
            )  # fmt: skip
            body = self.body("AddPartitionsToTxn", version, transactions=[one]).transactions[0]
        return self.ask("AddPartitionsToTxn", version, lambda request: request, body)

    def add_offsets(self, producer: Producer, offsets_partition: int, version: int = 4) -> Any:
        body = self.body(
            "AddOffsetsToTxn", version, transactional_id=ID, producer_id=producer.producer_id,
            producer_epoch=producer.producer_epoch, group_id="g",
        )  # fmt: skip
        return self.ask("AddOffsetsToTxn", version, lambda request: AddOffsets(request, offsets_partition), body)

    def end(self, producer: Producer, commit: bool = True, version: int = 5, transactional_id: str = ID) -> Any:
        body = self.body(
            "EndTxn", version, transactional_id=transactional_id, producer_id=producer.producer_id,
            producer_epoch=producer.producer_epoch, committed=commit,
        )  # fmt: skip
        self.spare += 1
        return self.ask("EndTxn", version, lambda request: EndTransaction(request, self.spare), body)

    def commit(self, producer: Producer, *places: Place, version: int = 5, commit: bool = True) -> Producer:
        """A whole transaction; the producer of the next."""
        assert set(self.add(producer, *places, version=5 if version >= 5 else 3)) == {"NONE"}
        answer = self.end(producer, commit, version)
        assert not isinstance(answer, ApiError), answer
        self.write_markers()
        return Producer(answer.producer_id, answer.producer_epoch) if version >= 5 else producer

    def report(self, markers: WriteMarkers, *places: Place) -> Any:
        done = MarkersDone(markers, places or markers.partitions)
        return self.submit(lambda ticket: done)

    def write_markers(self) -> None:
        """What the host is asked to write, it has written."""
        markers, self.markers = self.markers, []
        for each in markers:
            self.report(each)

    def describe(self, transactional_id: str = ID) -> Any:
        return self.ask("DescribeTransactions", 0, lambda request: request, transactional_id)

    def list(self, version: int = 2, **fields: Any) -> Any:
        return self.ask(
            "ListTransactions", version, lambda request: request, self.body("ListTransactions", version, **fields)
        )

    def pass_ms(self, ms: int) -> None:
        """Runs every timer on the way."""
        end = self.now + ms
        while (deadline := self.runtime.deadline()) is not None and deadline <= end:
            self.now = max(self.now, deadline)
            self._take(self.runtime.expire(self.now))
        self.now = end

    # --- effects ------------------------------------------------------------------------------------------------------------

    def _take(self, effects: list[Any]) -> None:
        for effect in effects:
            if isinstance(effect, Append):
                assert effect.base_offset == len(self.log), "the runtime knows where it writes"
                self.log.extend(effect.records)
                if self.replicated:
                    self._take(self.runtime.committed(len(self.log)))
            elif isinstance(effect, Respond | Fail):
                assert effect.ticket not in self.answers, "answered twice"
                self.answers[effect.ticket] = effect.response if isinstance(effect, Respond) else effect.error
            elif isinstance(effect, Perform):
                self.markers.append(effect.effect)
            elif isinstance(effect, Faulted):
                raise effect.exception
            else:
                assert isinstance(effect, Dropped)

    def replicate(self) -> None:
        self.replicated = True
        self._take(self.runtime.committed(len(self.log)))


def name_of(code: int) -> str:
    return code_numbered(code).name


def code_of(answer: Any) -> str:
    """The name of the error, NONE if there is none."""
    return answer.code.name if isinstance(answer, ApiError) else name_of(answer.error_code)


# --- producers to begin with ---------------------------------------------------------------------------------------------------

T0, T1, U0 = ("t", 0), ("t", 1), ("u", 0)
LAST = EPOCH_MAX - 1  # the last epoch that a client is told


def ongoing(version: int = 5, world: World | None = None) -> tuple[World, Producer]:
    """A producer with a transaction over two partitions, by the new protocol (EndTxn 5) or the old (below)."""
    world = world or World()
    producer = world.producer()
    assert world.add(producer, T0, T1, version=5 if version >= 5 else 3) == ["NONE", "NONE"]
    return world, producer


def at_epoch(world: World, epoch: int) -> Producer:
    """A producer that has come to this epoch, in few steps."""
    producer = world.producer()
    current = world.shard.transactions[ID]
    world.shard.transactions[ID] = replace(current, producer_epoch=epoch)
    return Producer(producer.producer_id, epoch)


def shown(producer: Producer) -> dict[str, int]:
    return {"producer_id": producer.producer_id, "producer_epoch": producer.producer_epoch}
