"""Metadata that the data plane puts together from parts is what the control plane would answer."""

from __future__ import annotations

from random import Random

import pytest

from cluster.broker.topic_parts import Kind, TopicParts
from cluster.handlers import metadata
from cluster.metadata.apply import WorkingImage
from pykafkacore.protocol.apis import api
from pykafkacore.testing import Broker
from tests.cluster.handlers.fake import FakeContext, call
from tests.support.policies import POLICY, held_up
from tests.support.wire import Wire, create_topic, request_frame

METADATA = api("Metadata")
WANTED = METADATA.request.MetadataRequestTopic
KINDS = [(9, 0), (12, 0)]


class Core:
    """The data plane's part of it."""

    def __init__(self, topics_max: int = 1 << 20) -> None:
        self.around: dict[Kind, tuple[bytes, bytes]] = {}
        self.parts: dict[Kind, dict[str, bytes]] = {}
        self.topics_max = topics_max

    def begin_topic_parts(self, kind: Kind, before: bytes, behind: bytes) -> None:
        self.around[kind], self.parts[kind] = (before, behind), {}

    def keep_topic_parts(self, kind: Kind, topics: list[tuple[str, bytes]]) -> bool:
        self.parts[kind].update(topics[: self.topics_max - len(self.parts[kind])])
        return len(self.parts[kind]) < self.topics_max

    def forget_topic_parts(self, names: list[str]) -> None:
        for parts in self.parts.values():
            for name in names:
                parts.pop(name, None)

    def answer(self, kind: Kind, names: list[str]) -> bytes:
        (before, behind), parts = self.around[kind], self.parts[kind]
        count = bytes([len(names) + 1]) if METADATA.is_flexible(kind[0]) else len(names).to_bytes(4, "big")
        return before + count + b"".join(parts[name] for name in names) + behind


def made_by_the_control_plane(ctx: FakeContext, kind: Kind, names: list[str]) -> bytes:
    asked = call("Metadata", kind[0], topics=[WANTED(name=name) for name in names])
    data: bytes = METADATA.response.encode(metadata.answer(ctx, asked), kind[0])
    return data


def test_an_answer_of_parts_is_that_of_the_control_plane_at_every_version() -> None:
    ctx, core = FakeContext(broker_count=3), Core()
    ctx.harness.create("one", 3, factor=2)
    ctx.harness.create("__consumer_offsets", 2)
    ctx.harness.create("three")
    parts = TopicParts(ctx, core, ["PLAINTEXT"])
    for version in range(14):
        parts.asked((version, 0))
    while parts.tell_some():
        pass
    for version in range(14):
        for names in (["three", "one"], ["__consumer_offsets"], ["one", "three", "__consumer_offsets"]):
            assert core.answer((version, 0), names) == made_by_the_control_plane(ctx, (version, 0), names), (version, names)


def test_without_room_the_rest_is_left_to_the_control_plane() -> None:
    ctx, core = FakeContext(), Core(topics_max=1)
    ctx.harness.create("one")
    ctx.harness.create("two")
    parts = TopicParts(ctx, core, ["PLAINTEXT"])
    parts.asked((9, 0))
    assert parts.tell_some()
    assert not parts.tell_some()
    assert len(core.parts[9, 0]) == 1


@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_told_that_the_metadata_does_not_say_any_more(seed: int) -> None:
    random, ctx, core = Random(seed), FakeContext(broker_count=3), Core()
    harness, working = ctx.harness, WorkingImage()
    parts = TopicParts(ctx, core, ["PLAINTEXT"])
    applied, told, names = 0, 0, [f"t{number}" for number in range(6)]

    def change() -> None:
        name, broker_id = random.choice(names), random.choice([1, 2, 3])
        topic = harness.image.topic_named(name)
        if random.random() < 0.15:
            harness.heartbeat(broker_id, fence=random.random() < 0.5)
        elif topic is None:
            harness.create(name, random.randint(1, 4), factor=2)
        elif random.random() < 0.3:
            wanted = api("DeleteTopics").request.DeleteTopicState(name=name)
            harness.ask("DeleteTopics", 6, topics=[wanted], topic_names=[], timeout_ms=1000)
        elif topic.partitions[0].has_leader:
            harness.alter_isr(name, [topic.partitions[0].leader])

    for step in range(120):
        change()
        for offset in range(applied, len(harness.log)):
            working.apply(offset, harness.log[offset])
        applied = len(harness.log)
        parts.on_image(working.take_delta())
        if step % 10 == 3:
            parts.asked(random.choice(KINDS))
        for _ in range(random.choice([0, 1, 5])):
            parts.tell_some()
        for kind, known in core.parts.items():
            told += len(known)
            for name in known:
                assert core.answer(kind, [name]) == made_by_the_control_plane(ctx, kind, [name]), f"seed {seed}, step {step}"
    while parts.tell_some():
        pass
    assert all(set(known) == set(harness.image.topic_ids) for known in core.parts.values()), "all is told in the end"
    assert told > 100


def test_the_data_plane_answers_while_the_control_plane_is_held_up() -> None:
    def question(*names: str) -> bytes:
        return request_frame("Metadata", 9, METADATA.request(topics=[WANTED(name=name) for name in names]))

    with Broker(POLICY) as broker:
        wire = Wire(broker.port)
        answers = {}
        for name in ("a", "b", "c"):
            create_topic(broker.port, name, 3)
        for names in (("a", "b", "c"), ("c", "a")):
            wire.send(question(*names))
            answers[names] = wire.receive()
        with held_up(broker.port):
            wire.socket.settimeout(10)
            for names in (("a", "b", "c"), ("c", "a")):
                wire.send(question(*names))
                assert wire.receive() == answers[names]
            wire.send(question("b", "a"))
            told = METADATA.response.decode(wire.receive()[5:], 9)
            assert [(topic.name, len(topic.partitions), topic.error_code) for topic in told.topics] == [("b", 3, 0), ("a", 3, 0)]
        create_topic(broker.port, "a-new-one", 1)
        wire.send(question("a-new-one", "b"))
        assert [topic.error_code for topic in METADATA.response.decode(wire.receive()[5:], 9).topics] == [0, 0]
        wire.close()
