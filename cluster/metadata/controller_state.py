"""What the controller's subjects decide on, and what they are asked: requests, settings, policies, sessions, the image. Pure."""

from __future__ import annotations

from typing import Any

from immutables import Map
from msgspec import Struct, field

from cluster.config.settings import BrokerSettings
from cluster.metadata import records as r
from cluster.metadata.apply import WorkingImage
from cluster.metadata.placement import RandomSource
from pykafkacore.protocol.errors import ApiError, Code
from pykafkacore.protocol.types import Uuid, uuid_is_reserved


class ControllerRequest(Struct, frozen=True):
    """A request that has been authorised. `context` is the handlers' own (principal, client host...)."""

    api_key: int
    api_version: int
    body: Any
    context: Any = None


class ControllerSettings:
    """What the controller takes from its node's configuration. `broker` holds the static layer (and the defaults)."""

    def __init__(self, cluster_id: str, node_id: int, broker: BrokerSettings) -> None:
        self.cluster_id = cluster_id
        self.node_id = node_id
        self.broker = broker
        self.session_timeout_ms: int = broker["broker.session.timeout.ms"]
        self.partition_count: int = broker["num.partitions"]
        self.replication_factor: int = broker["default.replication.factor"]
        self.min_in_sync_replicas: int = broker["min.insync.replicas"]
        self.deletes_topics: bool = broker["delete.topic.enable"]
        self.balances_leaders: bool = broker["auto.leader.rebalance.enable"]
        self.balance_interval_ms: int = broker["leader.imbalance.check.interval.seconds"] * 1000
        self.no_op_interval_ms: int = broker["metadata.max.idle.interval.ms"]


class Policies(Struct, frozen=True):
    """The user's policies; None allows all that is valid."""

    create_topic: Any = None
    alter_config: Any = None


class Session(Struct):
    """What heartbeats say of a broker and no log carries. `deadline` passed: it may be fenced, its id taken over."""

    broker_epoch: int
    deadline: int
    metadata_offset: int = -1
    shutdown_offset: int | None = None


class ControllerState(Struct):
    """What the subjects decide on."""

    settings: ControllerSettings
    policies: Policies
    random: RandomSource
    image: WorkingImage
    next_offset: int = 0
    sessions: dict[int, Session] = field(default_factory=dict)
    no_op_offset: int = -1
    _broker_settings: tuple[Map[str, str], BrokerSettings] | None = None

    def cluster_settings(self) -> BrokerSettings:
        """The node's settings with the cluster-wide dynamic layer on top: what topics inherit."""
        layer = self.image.configs_of(r.RESOURCE_BROKER, "")
        if self._broker_settings is None or self._broker_settings[0] is not layer:
            self._broker_settings = (layer, self.settings.broker.with_dynamic(layer, {}))
        return self._broker_settings[1]

    def random_uuid(self) -> Uuid:
        """KAFKA: ids whose text would begin with a dash are avoided: tools take them for options."""
        while True:
            candidate = self.random.randbytes(16)
            uuid = candidate[:6] + bytes((candidate[6] & 0x0F | 0x40, candidate[7])) + candidate[8:]
            uuid = uuid[:8] + bytes((uuid[8] & 0x3F | 0x80,)) + uuid[9:]
            if not uuid_is_reserved(uuid) and uuid[0] >> 2 != 62:
                return uuid

    def check_broker_epoch(self, broker_id: int, broker_epoch: int) -> None:
        broker = self.image.brokers.get(broker_id)
        if broker is None:
            raise ApiError(Code.STALE_BROKER_EPOCH, f"broker {broker_id} is not registered")
        if broker.broker_epoch != broker_epoch:
            raise ApiError(
                Code.STALE_BROKER_EPOCH, f"broker {broker_id} is at epoch {broker.broker_epoch}, not {broker_epoch}"
            )
