"""Generations, group epochs and target epochs never go back while a group has members; nor does a member's own, while it
is the same member.

KAFKA: a group that nobody is in any more starts counting anew when it comes back with the other protocol.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.coordinator.group.consumer import ConsumerGroup
from cluster.coordinator.values import Record
from tests.sim.group_invariants import Invariant

if TYPE_CHECKING:
    from tests.sim.groups import GroupWorld


class EpochsRise(Invariant):
    def __init__(self) -> None:
        self.seen: dict[tuple[str, ...], int] = {}
        self.read = 0

    def _rises(self, key: tuple[str, ...], value: int) -> None:
        assert value >= self.seen.get(key, 0), f"{' '.join(key)} went from {self.seen[key]} back to {value}"
        self.seen[key] = value

    def check(self, world: GroupWorld) -> None:
        # What is not replicated may be undone by a crash: what was told to clients counts, and the replicated log.
        for client in world.clients:
            epoch = getattr(client, "epoch", 0)
            if epoch == 0:
                self.seen.pop(("member", client.name), None)
            else:
                self._rises(("member", client.name), epoch)
            # KAFKA: a generation is logged with its assignment; one that never got so far may be counted again.
            generation = client.synced_generation
            if generation < 0 or not client.member_id:
                self.seen.pop(("generation synced by", client.name), None)
            else:
                self._rises(("generation synced by", client.name), generation)
        while self.read < world.high_watermark:
            record = world.log[self.read]
            self.read += 1
            if isinstance(record, Record):
                self._of_group(world, record)
        for group in world.runtime.shard.groups.values() if world.runtime.is_active else ():
            if isinstance(group, ConsumerGroup):
                assert group.target_epoch <= group.group_epoch
                for member in group.members.values():
                    assert member.member_epoch <= group.target_epoch, "a member is ahead of its group"

    def _of_group(self, world: GroupWorld, record: Record) -> None:
        name, value = record.key_message.name, record.value
        if name == "ConsumerGroupMetadataKey":
            epoch, goes_on = (0, False) if value is None else (value.epoch, True)
            key = ("group", record.key.group_id)
        elif name == "GroupMetadataKey":
            epoch, goes_on = (0, False) if value is None else (value.generation, bool(value.members))
            key = ("group", record.key.group)
        else:
            return
        if goes_on:
            self._rises(key, epoch)
        elif name == "ConsumerGroupMetadataKey" or value is not None:
            # The group counts anew, and so does whoever was in it.
            self.seen.pop(key, None)
            for client in world.clients:
                if client.group == key[1]:
                    client.synced_generation = -1
