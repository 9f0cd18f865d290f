"""The controller: a shard over `__cluster_metadata`. It routes requests to the subjects and owns nothing else.

    subject          requests
    ---------------  ------------------------------------------------------------------------------------------
    topics           CreateTopics, DeleteTopics, CreatePartitions
    brokers          BrokerRegistration, BrokerHeartbeat, UnregisterBroker, ControllerRegistration,
                     UnregisterController, AssignReplicasToDirs; sessions
    isr              AlterPartition
    configs          IncrementalAlterConfigs, AlterConfigs
    features         UpdateFeatures
    producer_ids     AllocateProducerIds
    reassignment     ElectLeaders, AlterPartitionReassignments, ListPartitionReassignments; leader balance

INVARIANT: `handle` and `expire` decide on the state as of all records written so far, committed or not, and change
nothing; the runtime releases a response only when all that it was decided on is committed.
Not here: who may ask (the handlers authorise first), and anything that touches bytes, clocks or sockets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from cluster.metadata import brokers, configs, features, isr, producer_ids, reassignment, topics
from cluster.metadata import records as r
from cluster.metadata.apply import WorkingImage
from cluster.metadata.controller_state import ControllerRequest, ControllerSettings, ControllerState, Policies
from cluster.metadata.image import MetadataImage
from cluster.metadata.placement import RandomSource
from cluster.metadata.records import MetadataRecord, record
from cluster.metadata.snapshot import bootstrap_records
from cluster.shard import Outcome, SetTimer, Timer
from pykafkacore.protocol.errors import ApiError, Code

NO_OP_TIMER = Timer("no_op")
BALANCE_TIMER = Timer("leader_balance")
UNCLEAN_TIMER = Timer("unclean_election")
UNCLEAN_INTERVAL_MS = 300_000


Handler = Callable[[ControllerState, ControllerRequest, int], Outcome]

HANDLERS: dict[int, Handler] = {
    19: topics.create_topics,
    20: topics.delete_topics,
    33: configs.alter_configs,
    37: topics.create_partitions,
    43: reassignment.elect_leaders,
    44: configs.incremental_alter_configs,
    45: reassignment.alter_partition_reassignments,
    46: reassignment.list_partition_reassignments,
    56: isr.alter_partition,
    57: features.update_features,
    62: brokers.register_broker,
    63: brokers.heartbeat,
    64: brokers.unregister_broker,
    67: producer_ids.allocate_producer_ids,
    70: brokers.register_controller,
    73: brokers.assign_replicas_to_dirs,
    94: brokers.unregister_controller,
}


class Controller:
    """A `Shard[ControllerRequest, MetadataRecord, message]`; see `cluster.shard`."""

    def __init__(
        self,
        image: MetadataImage,
        settings: ControllerSettings,
        policies: Policies,
        random: RandomSource,
        bootstrap: list[MetadataRecord] | None = None,
    ) -> None:
        """`image` is where applying starts: of a snapshot, or empty. `bootstrap`: a new cluster's first records."""
        self.state = ControllerState(settings, policies, random, WorkingImage(image))
        self.state.next_offset = image.offset
        self._bootstrap = bootstrap

    @property
    def image(self) -> MetadataImage:
        """As of everything applied so far, committed or not: for decisions, not for views."""
        return self.state.image.image()

    def will_write_at(self, offset: int) -> None:
        """The runtime says where the next record goes: a broker's epoch is the offset of its registration."""
        self.state.next_offset = offset

    def handle(self, request: ControllerRequest, now: int) -> Outcome:
        """Raises ApiError where the whole request fails; the caller makes the response of it."""
        handler = HANDLERS.get(request.api_key)
        if handler is None:
            raise ApiError(Code.UNSUPPORTED_VERSION, f"api key {request.api_key} is not one of the controller's")
        return handler(self.state, request, now)

    def apply(self, offset: int, metadata_record: MetadataRecord) -> None:
        self.state.image.apply(offset, metadata_record)
        self.state.next_offset = offset + 1

    def observe(self, fact: Any, now: int) -> None:
        if isinstance(fact, brokers.Heard):
            brokers.observe_heartbeat(self.state, fact)
        elif isinstance(fact, brokers.Forgotten):
            self.state.sessions.pop(fact.broker_id, None)
        elif isinstance(fact, _NoOpChecked):
            self.state.no_op_offset = fact.offset
        else:
            raise TypeError(f"{type(fact).__name__} is not a fact of the controller")

    def expire(self, timer: Timer, now: int) -> Outcome:
        if timer.kind == brokers.SESSION:
            return brokers.expire_session(self.state, timer.key, now)
        if timer == NO_OP_TIMER:
            return self._no_op(now)
        if timer == BALANCE_TIMER:
            again = SetTimer(BALANCE_TIMER, now + self.state.settings.balance_interval_ms)
            return Outcome(reassignment.plan_balance(self.state), timers=(again,), atomic=False)
        if timer == UNCLEAN_TIMER:
            again = SetTimer(UNCLEAN_TIMER, now + UNCLEAN_INTERVAL_MS)
            return Outcome(reassignment.plan_unclean(self.state), timers=(again,), atomic=False)
        raise ValueError(f"{timer} is not a timer of the controller")

    def activate(self, now: int) -> Outcome:
        """Take over: end what the one before left open, begin what a new cluster needs, give every broker a session."""
        state = self.state
        records: list[MetadataRecord] = []
        image = state.image
        if image.is_in_transaction:
            records.append(record(r.ABORT_TRANSACTION, reason="the controller changed"))
        if not image.features and self._bootstrap is None:
            records.extend(_in_transaction(bootstrap_records(None, state.settings.min_in_sync_replicas)))
        elif not image.features and self._bootstrap:
            records.extend(_in_transaction(self._bootstrap))
        timers = [SetTimer(UNCLEAN_TIMER, now + UNCLEAN_INTERVAL_MS)]
        if state.settings.no_op_interval_ms > 0:
            timers.append(SetTimer(NO_OP_TIMER, now + state.settings.no_op_interval_ms))
        if state.settings.balances_leaders:
            timers.append(SetTimer(BALANCE_TIMER, now + state.settings.balance_interval_ms))
        facts: list[Any] = []
        for broker_id, broker in sorted(image.brokers.items()):
            deadline = now + state.settings.session_timeout_ms
            if not broker.is_fenced:
                timers.append(SetTimer(Timer(brokers.SESSION, broker_id), deadline))
                # The broker of this very node cannot be an earlier process that still lives: do not let it wait.
                alive_until = now if broker_id == state.settings.node_id else deadline
                facts.append(brokers.Heard(broker_id, broker.broker_epoch, alive_until, -1, None))
        return Outcome(records, timers=tuple(timers), facts=tuple(facts))

    def _no_op(self, now: int) -> Outcome:
        """An idle log is written to now and then, so that followers see that time passes."""
        state = self.state
        again = SetTimer(NO_OP_TIMER, now + state.settings.no_op_interval_ms)
        is_idle = state.next_offset == state.no_op_offset
        written = [record(r.NO_OP)] if is_idle else []
        return Outcome(written, timers=(again,), facts=(_NoOpChecked(state.next_offset + len(written)),))


class _NoOpChecked(Struct, frozen=True):
    offset: int


def _in_transaction(records: list[MetadataRecord]) -> list[MetadataRecord]:
    return [record(r.BEGIN_TRANSACTION, name="Bootstrap records"), *records, record(r.END_TRANSACTION)]
