"""The committed metadata log, read into images: what every node does, leader or not. Pure: bytes come as arguments.

    load(base_offset, leader_epoch, values) ... take_delta()  ->  what changed, for the view and other readers
    skip(end_offset, leader_epoch)                            ->  a control batch

INVARIANT: only committed records are loaded, each once, in order.
INVARIANT: an unknown or malformed record raises: a node that cannot read its metadata must stop.
Not here: the controller's own, uncommitted state (controller.py).
"""

from __future__ import annotations

from collections.abc import Iterable

from cluster.metadata.apply import ImageDelta, InconsistentLog, WorkingImage
from cluster.metadata.image import EMPTY_IMAGE, MetadataImage
from cluster.metadata.records import unframe


class MetadataLoader:
    def __init__(self, image: MetadataImage = EMPTY_IMAGE) -> None:
        self._working = WorkingImage(image)

    @property
    def offset(self) -> int:
        """The end (exclusive) of what has been loaded."""
        return self._working.offset

    @property
    def may_snapshot(self) -> bool:
        """False while a transaction is open: its records are in no image yet."""
        return not self._working.is_in_transaction

    def image(self) -> MetadataImage:
        return self._working.image()

    def load(self, base_offset: int, leader_epoch: int, values: Iterable[bytes | memoryview]) -> None:
        """The values of one committed batch. What was loaded before (by a snapshot) is passed over."""
        if base_offset > self._working.offset:
            raise InconsistentLog(f"the metadata log goes on at {base_offset}, but was read to {self._working.offset}")
        for position, value in enumerate(values):
            if base_offset + position >= self._working.offset:
                self._working.apply(base_offset + position, unframe(value), leader_epoch)

    def load_snapshot(self, end_offset: int, leader_epoch: int, values: Iterable[bytes | memoryview]) -> ImageDelta:
        """Start over from a snapshot. The delta is of everything, for those who want to build anew."""
        self._working = image_of_snapshot(end_offset, leader_epoch, values)
        return self._working.take_delta()

    def skip(self, end_offset: int, leader_epoch: int) -> None:
        if end_offset > self._working.offset:
            self._working.skip(end_offset, leader_epoch)

    def take_delta(self) -> ImageDelta:
        return self._working.take_delta()


def image_of_snapshot(end_offset: int, leader_epoch: int, values: Iterable[bytes | memoryview]) -> WorkingImage:
    working = WorkingImage()
    for position, value in enumerate(values):
        working.apply(position, unframe(value))
    working.skip(end_offset, leader_epoch)
    return working
