"""Who leads a partition, who is in sync, who may be elected: one function that plans a PartitionChange. Pure.

Election, in order: the leader stays if it is valid; else the first replica in assignment order that is acceptable (its
broker active, its directory online) and in the target ISR, or with ELR and an empty ISR in the ELR; else, with ELR and
both sets empty, the last known leader if acceptable (unclean); else, only where unclean election is allowed, the first
acceptable replica. An unclean leader starts alone in the ISR and in recovery.

INVARIANT: without ELR the ISR is never emptied; with ELR it may be, as the ELR keeps who holds all that is committed.
INVARIANT: a record is written only for a change; every record raises the partition epoch.
Sources: KIP-841, KIP-966; PROTOCOL F.6, F.7.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any

from cluster.metadata import records as r
from cluster.metadata.controller_state import ControllerState
from cluster.metadata.image import RECOVERING, ImageReads, PartitionImage, TopicImage
from cluster.metadata.records import NO_LEADER, NO_LEADER_CHANGE, MetadataRecord, record
from pykafkacore.protocol.types import DIRECTORY_UNASSIGNED, Uuid

UNCLEAN_ELECTION_CONFIG = "unclean.leader.election.enable"

Acceptable = Callable[[int], bool]


class Election(Enum):
    ONLINE = "online"
    PREFERRED = "preferred"
    UNCLEAN = "unclean"


class PartitionChange:
    """The planning of one change: set the targets, then `plan()`."""

    def __init__(self, image: ImageReads, topic_id: Uuid, index: int, before: PartitionImage, min_isr: int) -> None:
        self.topic_id = topic_id
        self.index = index
        self.before = before
        self.elr_is_on = image.elr_is_on
        self.metadata_version = image.metadata_version
        self.min_isr = min_isr
        self.is_acceptable: Acceptable = lambda replica: image.is_replica_online(replica, before)
        self.election = Election.ONLINE
        self.isr: tuple[int, ...] = before.isr
        self.replicas: tuple[int, ...] = before.replicas
        self.adding: tuple[int, ...] = before.adding_replicas
        self.removing: tuple[int, ...] = before.removing_replicas
        self.recovery_state = before.leader_recovery_state
        self.directories: dict[int, Uuid] = {}
        self.unclean_brokers: tuple[int, ...] = ()
        self._elr: tuple[int, ...] = before.eligible_leader_replicas
        self._is_unclean = False

    def plan(self) -> MetadataRecord | None:
        before = self.before
        self._complete_reassignment()
        self._plan_elr()
        leader = self._elect()
        names_leader = leader if leader != before.leader else NO_LEADER_CHANGE
        if self._is_unclean:
            self.isr, self._elr = (leader,), ()
            if before.leader_recovery_state != RECOVERING:
                self.recovery_state = RECOVERING
        elif not self.isr and not self.elr_is_on:
            self.isr = before.isr
        if names_leader == NO_LEADER_CHANGE and self._needs_new_leader_epoch():
            names_leader = before.leader
        fields = self._changes(leader, names_leader)
        if not fields:
            return None
        version = r.partition_version(self.metadata_version, self.elr_is_on)
        return record(r.PARTITION_CHANGE, version, partition_id=self.index, topic_id=self.topic_id, **fields)

    def _complete_reassignment(self) -> None:
        """The last of the added replicas has come into the ISR: the removed ones go, in the same record."""
        if not (self.adding or self.removing):
            return
        isr = tuple(each for each in self.isr if each not in self.removing)
        replicas = tuple(each for each in self.replicas if each not in self.removing)
        if not isr or not replicas or any(each not in isr for each in self.adding):
            return
        self.isr, self.replicas, self.adding, self.removing = isr, replicas, (), ()

    def _plan_elr(self) -> None:
        if not self.elr_is_on:
            return
        if len(self.isr) >= min(self.min_isr, len(self.replicas)):
            self._elr = ()
            return
        candidates = (*self.before.eligible_leader_replicas, *self.before.isr)
        self._elr = tuple(
            replica
            for replica in dict.fromkeys(candidates)
            if replica not in self.isr and replica not in self.unclean_brokers and replica in self.replicas
        )

    def _is_valid(self, replica: int) -> bool:
        is_eligible = replica in self.isr or (self.elr_is_on and not self.isr and replica in self._elr)
        return is_eligible and self.is_acceptable(replica)

    def _elect(self) -> int:
        before = self.before
        leader = NO_LEADER
        if self.election == Election.PREFERRED and self._is_valid(self.replicas[0]):
            leader = self.replicas[0]
        elif before.leader in self.replicas and self._is_valid(before.leader):
            leader = before.leader
        else:
            leader = next((each for each in self.replicas if self._is_valid(each)), NO_LEADER)
        if leader != NO_LEADER:
            if leader in self._elr:
                self.isr = (leader,)
                # From here on commits need as many as the ISR has: where that is enough, the others fall behind.
                is_enough = len(self.isr) >= min(self.min_isr, len(self.replicas))
                self._elr = () if is_enough else tuple(each for each in self._elr if each != leader)
            return leader
        last_known = before.last_known_elr
        if self.elr_is_on and not self.isr and not self._elr and len(last_known) == 1:
            if last_known[0] in self.replicas and self.is_acceptable(last_known[0]):
                self._is_unclean = True
                return last_known[0]
        if self.election == Election.UNCLEAN:
            leader = next((each for each in self.replicas if self.is_acceptable(each)), NO_LEADER)
            self._is_unclean = leader != NO_LEADER
        return leader

    def _needs_new_leader_epoch(self) -> bool:
        if any(replica not in self.replicas for replica in self.before.replicas):
            return True
        if self.metadata_version < r.MV_3_6_IV0:
            # KAFKA: before 3.6 every shrinking of the ISR raised the leader epoch.
            return any(replica not in self.isr for replica in self.before.isr)
        return False

    def _changes(self, leader: int, names_leader: int) -> dict[str, Any]:
        before = self.before
        fields: dict[str, Any] = {}
        if names_leader != NO_LEADER_CHANGE:
            fields["leader"] = names_leader
        if self.isr != before.isr:
            fields["isr"] = list(self.isr)
        if self.replicas != before.replicas:
            fields["replicas"] = list(self.replicas)
        if self.adding != before.adding_replicas:
            fields["adding_replicas"] = list(self.adding)
        if self.removing != before.removing_replicas:
            fields["removing_replicas"] = list(self.removing)
        if self.recovery_state != before.leader_recovery_state:
            fields["leader_recovery_state"] = self.recovery_state
        if self.elr_is_on:
            if self._elr != before.eligible_leader_replicas:
                fields["eligible_leader_replicas"] = list(self._elr)
            last_known = self._last_known_elr(leader)
            if last_known != before.last_known_elr:
                fields["last_known_elr"] = list(last_known)
        if self.metadata_version >= r.MV_3_7_IV2:
            directories = tuple(
                self.directories[replica]
                if replica in self.directories
                else before.directory_of(replica) if replica in before.replicas else DIRECTORY_UNASSIGNED
                for replica in self.replicas
            )
            if directories != before.directories:
                fields["directories"] = list(directories)
        return fields

    def _last_known_elr(self, leader: int) -> tuple[int, ...]:
        """KAFKA: keeps only the leader of the moment when the partition lost its last one, until it has one again."""
        before = self.before
        if leader != NO_LEADER:
            return ()
        if before.leader != NO_LEADER:
            return (before.leader,)
        return before.last_known_elr


def all_but(broker_id: int, is_acceptable: Acceptable) -> Acceptable:
    return lambda replica: replica != broker_id and is_acceptable(replica)


def this_or(broker_id: int, is_acceptable: Acceptable) -> Acceptable:
    return lambda replica: replica == broker_id or is_acceptable(replica)


def allows_unclean_election(state: ControllerState, topic_name: str) -> bool:
    for resource in ((r.RESOURCE_TOPIC, topic_name), (r.RESOURCE_BROKER, "")):
        text = state.image.configs_of(*resource).get(UNCLEAN_ELECTION_CONFIG)
        if text is not None:
            return text.strip().lower() == "true"
    return bool(state.settings.broker[UNCLEAN_ELECTION_CONFIG])


def change_of(state: ControllerState, topic: TopicImage, index: int) -> PartitionChange:
    min_isr = state.image.min_in_sync_replicas(topic.name, state.settings.min_in_sync_replicas)
    return PartitionChange(state.image, topic.topic_id, index, topic.partitions[index], min_isr)


def partitions_where(
    image: ImageReads, wanted: Callable[[PartitionImage], bool]
) -> Iterable[tuple[TopicImage, int, PartitionImage]]:
    for topic in image.topics.values():
        for index, partition in topic.partitions.items():
            if wanted(partition):
                yield topic, index, partition


def plan_without_broker(state: ControllerState, broker_id: int, is_unclean: bool = False) -> list[MetadataRecord]:
    """The broker leaves all ISRs and leaderships: it is fenced, shuts down, is removed or (`is_unclean`) came back
    without knowing what it had; then it leaves the ELRs too."""
    records = []
    for topic, index, partition in partitions_where(
        state.image,
        lambda each: (
            broker_id in each.isr
            or each.leader == broker_id
            or (is_unclean and broker_id in each.eligible_leader_replicas)
        ),
    ):
        change = change_of(state, topic, index)
        change.isr = tuple(each for each in partition.isr if each != broker_id)
        change.is_acceptable = all_but(broker_id, change.is_acceptable)
        if is_unclean:
            change.unclean_brokers = (broker_id,)
        if allows_unclean_election(state, topic.name):
            change.election = Election.UNCLEAN
        planned = change.plan()
        if planned is not None:
            records.append(planned)
    return records


def plan_with_broker(state: ControllerState, broker_id: int) -> list[MetadataRecord]:
    """The broker is about to be active: partitions without a leader may get one. `broker_id` counts as active."""
    records = []
    broker = state.image.brokers[broker_id]
    for topic, index, partition in partitions_where(
        state.image, lambda each: not each.has_leader and broker_id in each.replicas
    ):
        change = change_of(state, topic, index)
        if broker.has_directory_online(partition.directory_of(broker_id)):
            change.is_acceptable = this_or(broker_id, change.is_acceptable)
        if allows_unclean_election(state, topic.name):
            change.election = Election.UNCLEAN
        planned = change.plan()
        if planned is not None:
            records.append(planned)
    return records
