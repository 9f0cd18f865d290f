from __future__ import annotations

from random import Random

import pytest

from cluster.config.settings import BrokerSettings
from cluster.coordinator.runtime import ShardRuntime, appends
from cluster.metadata import records as r
from cluster.metadata.apply import WorkingImage
from cluster.metadata.controller import Controller
from cluster.metadata.controller_state import ControllerRequest, ControllerSettings, Policies
from cluster.metadata.image import EMPTY_IMAGE, MetadataImage
from cluster.metadata.loader import MetadataLoader
from cluster.metadata.records import frame, record, unframe
from pykafkacore.protocol.errors import ApiError, Code
from tests.cluster.metadata.harness import CLUSTER_ID, STATIC, Harness


def take_over(image: MetadataImage, node_id: int = 100, **static: str) -> tuple[Controller, ShardRuntime, list[int]]:
    """A new controller on an old image: the keys of what it writes first."""
    settings = ControllerSettings(CLUSTER_ID, node_id, BrokerSettings({**STATIC, **static}))
    controller = Controller(image, settings, Policies(), Random(2))
    runtime = ShardRuntime(frame)
    effects = runtime.start(controller, 2, image.offset, image.offset, 50_000)
    written = [unframe(value).api_key for append in appends(effects) for value in append.records]
    return controller, runtime, written


def test_a_new_cluster_begins_with_its_features_in_a_transaction() -> None:
    keys = take_over(EMPTY_IMAGE)[2]
    assert keys[0] == r.BEGIN_TRANSACTION and keys[-1] == r.END_TRANSACTION
    assert keys.count(r.FEATURE_LEVEL) == 6 and r.CONFIG in keys


def test_an_old_cluster_is_taken_over_without_a_word() -> None:
    assert take_over(Harness(1).image)[2] == []


def test_a_transaction_left_open_is_aborted_first() -> None:
    working = WorkingImage(Harness(1).image)
    working.apply(working.offset, record(r.BEGIN_TRANSACTION))
    controller = take_over(Harness(1).image)[0]
    controller.state.image = working
    outcome = controller.activate(0)
    assert [each.api_key for each in outcome.records] == [r.ABORT_TRANSACTION]


def test_brokers_get_a_fresh_session_from_a_new_controller() -> None:
    harness = Harness(1)
    harness.made("t")
    controller, runtime, _ = take_over(harness.image)
    assert runtime.deadline() is not None
    runtime.expire(50_000 + 8_999)
    assert not controller.image.brokers[1].is_fenced
    runtime.expire(50_000 + 9_000)
    assert controller.image.brokers[1].is_fenced


@pytest.mark.parametrize(("node_id", "code"), [(100, Code.DUPLICATE_BROKER_REGISTRATION), (1, Code.NONE)])
def test_only_the_broker_of_the_controllers_own_node_registers_without_waiting(node_id: int, code: Code) -> None:
    harness = Harness(1)
    harness.settings = ControllerSettings(CLUSTER_ID, node_id, BrokerSettings(STATIC))
    harness.run(harness.runtime.stop("the controller changes"))
    harness.controller = Controller(harness.image, harness.settings, Policies(), Random(2))
    harness.run(harness.runtime.start(harness.controller, 2, len(harness.log), len(harness.log), harness.now))
    assert harness.register(1, b"second").error_code == code


def test_an_idle_log_is_written_to_now_and_then() -> None:
    harness = Harness(0, static={"metadata.max.idle.interval.ms": "500"})
    before = len(harness.log)
    harness.pass_time(5000)
    written = harness.log[before:]
    assert 8 <= len(written) <= 10 and {each.api_key for each in written} == {r.NO_OP}


def test_a_request_that_no_controller_knows_is_refused() -> None:
    with pytest.raises(ApiError) as caught:
        Harness(0).controller.handle(ControllerRequest(0, 0, None), 0)
    assert caught.value.code == Code.UNSUPPORTED_VERSION


def test_replaying_the_log_gives_the_controllers_own_image() -> None:
    harness = Harness(3)
    harness.made("t", 5, 3)
    harness.heartbeat(2, fence=True)
    harness.pass_time(20_000)
    loader = MetadataLoader()
    loader.load(0, 1, [frame(each) for each in harness.log])
    ours, theirs = loader.image(), harness.image
    for name in MetadataImage.__slots__:
        if name != "leader_epoch":
            assert getattr(ours, name) == getattr(theirs, name), name


def test_the_same_seed_makes_the_same_log() -> None:
    def log(seed: int) -> list[bytes]:
        harness = Harness(3, seed=seed)
        harness.made("t", 5, 2)
        return [frame(each) for each in harness.log]

    assert log(7) == log(7)
    assert log(7) != log(8)
