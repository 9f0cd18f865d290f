"""A commit that was acknowledged stands in the replicated log for good.

Which of two commits of the same member comes first is up to the network; that none is lost is not. That the coordinator
has what the log says is another invariant's business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.coordinator.group import records
from cluster.coordinator.values import Record
from tests.sim.group_invariants import Invariant

if TYPE_CHECKING:
    from tests.sim.groups import GroupWorld

Row = tuple[str, str, int, int]
"""Group, topic, partition, offset."""


class CommitsStay(Invariant):
    def __init__(self) -> None:
        self.rows: list[Row | None] = []
        self.places: dict[Row, int] = {}

    def check(self, world: GroupWorld) -> None:
        for row in self.rows[len(world.log) :]:
            # The network may repeat a request: the first of two records counts.
            if row is not None and self.places.get(row, -1) >= len(world.log):
                del self.places[row]
        del self.rows[len(world.log) :]
        while len(self.rows) < len(world.log):
            record, row = world.log[len(self.rows)], None
            if isinstance(record, Record) and records.is_offset(record) and record.value is not None:
                row = (record.key.group, record.key.topic, record.key.partition, record.value.offset)
                self.places.setdefault(row, len(self.rows))
            self.rows.append(row)
        for client in world.clients:
            for place, offset in client.acknowledged.items():
                row = (client.group, *place, offset)
                assert self.places.get(row, world.high_watermark) < world.high_watermark, f"{row} is lost"
