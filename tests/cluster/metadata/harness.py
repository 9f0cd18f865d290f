"""A controller on a runtime over a log that commits at once, and short ways to ask it things."""

from __future__ import annotations

from random import Random
from typing import Any

from cluster.config.settings import BrokerSettings
from cluster.coordinator.runtime import Append, Dropped, Fail, Faulted, Respond, ShardRuntime
from cluster.metadata.controller import Controller
from cluster.metadata.controller_state import ControllerRequest, ControllerSettings, Policies
from cluster.metadata.features import SUPPORTED
from cluster.metadata.image import EMPTY_IMAGE, MetadataImage, PartitionImage
from cluster.metadata.records import MetadataRecord, frame, unframe
from cluster.metadata.snapshot import bootstrap_records
from pykafkacore.protocol.apis import api
from pykafkacore.protocol.errors import Code

STATIC = {
    "node.id": "100",
    "process.roles": "controller",
    "controller.listener.names": "CONTROLLER",
    "metadata.max.idle.interval.ms": "0",
    "auto.leader.rebalance.enable": "false",
}
CLUSTER_ID = "test-cluster"


def directory(broker_id: int) -> bytes:
    return b"directory" + bytes(6) + bytes([broker_id])


class Harness:
    def __init__(
        self,
        broker_count: int = 1,
        policies: Policies | None = None,
        levels: dict[str, int] | None = None,
        static: dict[str, str] | None = None,
        seed: int = 1,
        racks: dict[int, str] | None = None,
        node_id: int = 100,
    ) -> None:
        self.settings = ControllerSettings(CLUSTER_ID, node_id, BrokerSettings({**STATIC, **(static or {})}))
        self.now = 0
        self.log: list[MetadataRecord] = []
        self.epochs: dict[int, int] = {}
        self.racks = racks or {}
        self._ticket = 0
        self.controller = Controller(
            EMPTY_IMAGE, self.settings, policies or Policies(), Random(seed), bootstrap_records(levels)
        )
        self.runtime = ShardRuntime(frame)
        self.run(self.runtime.start(self.controller, 1, 0, 0, self.now))
        for broker_id in range(1, broker_count + 1):
            self.register(broker_id)
            self.heartbeat(broker_id)

    def restart(self) -> None:
        """The node of the controller starts again: what is not in the log is gone."""
        self.controller = Controller(self.image, self.settings, Policies(), Random(2))
        self.runtime = ShardRuntime(frame)
        self.run(self.runtime.start(self.controller, 2, len(self.log), len(self.log), self.now))

    def run(self, effects: list[Any]) -> list[Any]:
        """Append, commit, and give back what was answered."""
        answers = []
        pending = list(effects)
        while pending:
            effect = pending.pop(0)
            if isinstance(effect, Append):
                assert effect.base_offset == len(self.log)
                self.log.extend(unframe(value) for value in effect.records)
                pending.extend(self.runtime.committed(len(self.log)))
            elif isinstance(effect, Respond):
                answers.append(effect.response)
            elif isinstance(effect, Fail):
                answers.append(effect.error)
            elif isinstance(effect, Faulted):
                raise effect.exception
            else:
                assert isinstance(effect, Dropped)
        return answers

    def ask(self, name: str, api_version: int, **fields: Any) -> Any:
        self._ticket += 1
        request = ControllerRequest(api(name).key, api_version, api(name).request(**fields))
        effects = self.runtime.submit(self._ticket, request, self.now)
        [answer] = self.run(effects + self.runtime.flush())
        return answer

    def pass_time(self, duration_ms: int) -> None:
        end = self.now + duration_ms
        while (due := self.runtime.deadline()) is not None and due <= end:
            self.now = due
            self.run(self.runtime.expire(self.now))
        self.now = end

    @property
    def image(self) -> MetadataImage:
        return self.controller.image

    # --- short ways -----------------------------------------------------------------------------------------------

    def register(
        self, broker_id: int, /, incarnation: bytes = b"first", previous_epoch: int = -1, **changes: Any
    ) -> Any:
        message = api("BrokerRegistration").request
        fields: dict[str, Any] = {
            "broker_id": broker_id,
            "cluster_id": CLUSTER_ID,
            "incarnation_id": incarnation.ljust(16, b"."),
            "listeners": [message.Listener(name="PLAINTEXT", host=f"host{broker_id}", port=9092)],
            "features": [
                message.Feature(name=name, min_supported_version=low, max_supported_version=high)
                for name, (low, high) in SUPPORTED.items()
            ],
            "rack": self.racks.get(broker_id),
            "log_dirs": [directory(broker_id)],
            "previous_broker_epoch": previous_epoch,
        }
        answer = self.ask("BrokerRegistration", 4, **{**fields, **changes})
        if answer.error_code == 0:
            self.epochs[broker_id] = answer.broker_epoch
        return answer

    def heartbeat(
        self, broker_id: int, /, fence: bool = False, shut_down: bool = False, offset: int | None = None, **changes: Any
    ) -> Any:
        fields = {
            "broker_id": broker_id,
            "broker_epoch": self.epochs[broker_id],
            "current_metadata_offset": len(self.log) if offset is None else offset,
            "want_fence": fence,
            "want_shut_down": shut_down,
        }
        return self.ask("BrokerHeartbeat", 2, **{**fields, **changes})

    def create(
        self, name: str, partitions: int = 1, factor: int = 1, assignments: dict[int, list[int]] | None = None,
        configs: dict[str, str | None] | None = None, **fields: Any,
    ) -> Any:
        """The result for the one topic."""
        message = api("CreateTopics").request
        topic = message.CreatableTopic(
            name=name,
            num_partitions=-1 if assignments else partitions,
            replication_factor=-1 if assignments else factor,
            assignments=[
                message.CreatableReplicaAssignment(partition_index=index, broker_ids=replicas)
                for index, replicas in (assignments or {}).items()
            ],
            configs=[
                message.CreatableTopicConfig(name=key, value=value) for key, value in (configs or {}).items()
            ],
        )
        [result] = self.ask("CreateTopics", 7, topics=[topic], **fields).topics
        return result

    def made(self, name: str, *args: Any, **kwargs: Any) -> bytes:
        """Create a topic that must succeed; its id."""
        result = self.create(name, *args, **kwargs)
        assert result.error_code == 0, (Code(result.error_code), result.error_message)
        return result.topic_id

    def partition(self, name: str, index: int = 0) -> PartitionImage:
        topic = self.image.topic_named(name)
        assert topic is not None
        return topic.partitions[index]

    def alter_isr(self, name: str, isr: list[int], index: int = 0, leader: int | None = None, **changes: Any) -> Any:
        """The result for the one partition."""
        before = self.partition(name, index)
        topic = self.image.topic_named(name)
        assert topic is not None
        leader = before.leader if leader is None else leader
        message = api("AlterPartition").request
        fields = {
            "partition_index": index,
            "leader_epoch": before.leader_epoch,
            "new_isr_with_epochs": [
                message.BrokerState(broker_id=each, broker_epoch=self.epochs.get(each, -1)) for each in isr
            ],
            "leader_recovery_state": before.leader_recovery_state,
            "partition_epoch": before.partition_epoch,
        }
        data = message.PartitionData(**{**fields, **changes})
        answer = self.ask(
            "AlterPartition",
            3,
            broker_id=leader,
            broker_epoch=self.epochs[leader],
            topics=[message.TopicData(topic_id=topic.topic_id, partitions=[data])],
        )
        return answer.topics[0].partitions[0]

    def set_config(self, resource_type: int, name: str, *changes: tuple[str, int, str | None], **fields: Any) -> Any:
        """IncrementalAlterConfigs of one resource, as (key, operation, value); the result."""
        message = api("IncrementalAlterConfigs").request
        configs = [message.AlterableConfig(name=key, config_operation=op, value=value) for key, op, value in changes]
        resource = message.AlterConfigsResource(resource_type=resource_type, resource_name=name, configs=configs)
        [result] = self.ask("IncrementalAlterConfigs", 1, resources=[resource], **fields).responses
        return result
