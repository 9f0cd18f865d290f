"""The group coordinators of this broker: what their host needs to know of groups in particular.

Assignors of users run on threads of their own, so that one that stalls holds up its own group only.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import trio
from msgspec.structs import replace

from cluster.broker.coordinator_host import CoordinatorHost, CoordinatorKind
from cluster.coordinator.group import records
from cluster.coordinator.group.consumer import AssignmentJob
from cluster.coordinator.group.settings import ConsumerSettings, consumer_settings, group_settings
from cluster.coordinator.group.shard import AssignmentComputed, GroupShard, MetadataIs, TopicsDeleted
from cluster.coordinator.group.topics import GroupTopics
from cluster.handlers.internal_topics import GROUP_TOPIC
from cluster.metadata.records import RESOURCE_BROKER, RESOURCE_GROUP
from cluster.plane.native import match_names
from cluster.rebalance.range import RangeAssignor
from cluster.rebalance.uniform import UniformAssignor
from pykafkacore.policies import load_policy
from pykafkacore.policies.assignor import ConsumerGroupAssignor

if TYPE_CHECKING:
    from cluster.config.settings import BrokerSettings
    from cluster.metadata.apply import ImageDelta
    from cluster.metadata.image import MetadataImage

log = logging.getLogger("pykafkacore.groups")

ASSIGNOR_TIMEOUT_S = 10
HEARTBEAT_INTERVAL_MS_MIN = 200
HEARTBEATS_PER_S = 1000
"""Of all members together, unless an interval is configured. Nearly all are answered by the data plane."""
ASSIGNMENT_INTERVAL_MS = 50
BUILT_IN: dict[str, type] = {"uniform": UniformAssignor, "range": RangeAssignor}


def load_assignors(settings: BrokerSettings) -> dict[str, ConsumerGroupAssignor]:
    """By name, in the order of `group.consumer.assignors`."""
    found: dict[str, ConsumerGroupAssignor] = {}
    for entry in settings["group.consumer.assignors"]:
        # KAFKA: the class names of Kafka's own assignors stand for them too.
        short = entry.rpartition(".")[2].removesuffix("Assignor").lower() if entry.startswith("org.apache.") else entry
        assignor = BUILT_IN[short]() if short in BUILT_IN else load_policy(entry, ConsumerGroupAssignor)  # type: ignore[type-abstract]
        assignor.configure(dict(settings.static))
        found[assignor.name] = assignor
    return found


class GroupHost:
    """Implements `cluster.handlers.context.Coordinators`."""

    def __init__(
        self, settings: BrokerSettings, image: Callable[[], MetadataImage], make_host: Callable[..., CoordinatorHost]
    ) -> None:
        """`make_host(kind, perform)` makes the host of the shards."""
        self._settings = settings
        self._image = image
        self.assignors = load_assignors(settings)
        self._topics = GroupTopics(image(), match_names)
        self._count_again_at_ms = 0
        self._interval_ms = HEARTBEAT_INTERVAL_MS_MIN
        self._usual: dict[int, ConsumerSettings] = {}  # of groups with no settings of their own, by the easy interval
        codec = settings["offsets.topic.compression.codec"]
        kind = CoordinatorKind(GROUP_TOPIC, records.TABLE, self._make_shard, codec, answers_stand=True)
        self.host = make_host(kind, self._perform)
        self.led_partitions, self.ask = self.host.led_partitions, self.host.ask

    def _make_shard(self, partition: int, leader_epoch: int) -> GroupShard:
        settings = group_settings(self._settings)
        return GroupShard(settings, self._topics, self._consumer_settings, self.assignors)

    def _consumer_settings(self, group_id: str) -> ConsumerSettings:
        own = self._image().configs_of(RESOURCE_GROUP, group_id)
        easy_interval_ms = self._easy_interval_ms()
        if own:
            return self._settings_with(own, easy_interval_ms)
        usual = self._usual.get(easy_interval_ms)
        if usual is None:
            self._usual = {easy_interval_ms: (usual := self._settings_with(own, easy_interval_ms))}
        return usual

    def _settings_with(self, own: Mapping[str, str], easy_interval_ms: int) -> ConsumerSettings:
        settings = consumer_settings(self._settings, own)
        easy: dict[str, Any] = {}
        if not self._is_chosen(own, "consumer.heartbeat.interval.ms"):
            easy["heartbeat_interval_ms"] = min(settings.heartbeat_interval_ms, easy_interval_ms)
        if not self._is_chosen(own, "consumer.assignment.interval.ms"):
            # KAFKA: 4.4 computes an assignment once a second at most. Ours takes milliseconds.
            easy["assignment_interval_ms"] = ASSIGNMENT_INTERVAL_MS
        return replace(settings, **easy)

    def _is_chosen(self, own: Mapping[str, str], key: str) -> bool:
        return key in own or self._settings.is_set(f"group.{key}")

    def _easy_interval_ms(self) -> int:
        """A member hears of a rebalance with its next heartbeat only: so they come as often as this broker takes lightly.

        KAFKA: 4.4 asks for one every five seconds, however few the members are."""
        now = self.host.clock.now_ms()
        if now >= self._count_again_at_ms:
            self._count_again_at_ms = now + 1000
            members = sum(shard.consumer_count for shard in self.host.shards())
            interval_ms = max(HEARTBEAT_INTERVAL_MS_MIN, members * 1000 // HEARTBEATS_PER_S)
            if abs(interval_ms - self._interval_ms) > self._interval_ms // 4:
                # Answers that stand tell the old one.
                self.host.in_task(self._tell_anew())
                self._interval_ms = interval_ms
        return self._interval_ms

    async def _tell_anew(self) -> None:
        self.host.tell_all(MetadataIs(self._topics))

    # --- the handlers' port -----------------------------------------------------------------------------------------------

    @property
    def partition_count(self) -> int:
        return self.host.partition_count

    # --- metadata -----------------------------------------------------------------------------------------------------------

    def on_image(self, delta: ImageDelta) -> None:
        """A change of the metadata is published."""
        changed = delta.partitions.keys() | delta.topics_added | delta.topics_removed
        is_set_anew = any(resource_type in (RESOURCE_GROUP, RESOURCE_BROKER) for resource_type, _ in delta.configs)
        if is_set_anew:
            self._usual.clear()
        if not changed and not delta.brokers and not is_set_anew:
            return
        topics = GroupTopics(delta.after, match_names)
        if is_set_anew or not topics.is_as_before(self._topics):
            self._topics = topics
            self.host.tell_all(MetadataIs(topics))
        gone = {delta.before.topics[each].name for each in delta.topics_removed if each in delta.before.topics}
        if gone:
            self.host.tell_all(TopicsDeleted(frozenset(gone)))
        if self.host.concerns(delta.before, delta.after, changed):
            self.host.on_image(delta.after)

    # --- assignors of users -------------------------------------------------------------------------------------------------

    def _perform(self, partition: int, job: AssignmentJob) -> None:
        self.host.in_task(self._assign(partition, job))

    async def _assign(self, partition: int, job: AssignmentJob) -> None:
        assign: Callable[[], Mapping[str, Any]] = partial(self.assignors[job.assignor].assign, job.members, job.topics)
        assignment: Any = TimeoutError(f"no assignment within {ASSIGNOR_TIMEOUT_S} seconds")
        try:
            with trio.move_on_after(ASSIGNOR_TIMEOUT_S):
                assignment = await trio.to_thread.run_sync(assign, abandon_on_cancel=True)
        except Exception as error:
            assignment = error

        def answered(why: Any) -> None:
            if why is not None:
                log.error("group %s keeps its assignment, assignor %s failed: %s", job.group_id, job.assignor, why)

        self.host.ask(partition, lambda _: AssignmentComputed(job, assignment)).then(answered)

    def close(self) -> None:
        self.host.close()
        for assignor in self.assignors.values():
            assignor.close()
