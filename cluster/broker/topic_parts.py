"""Has the data plane answer Metadata of topics by their names: gives down what is told of each topic, ahead of the questions.

It begins with the first question of a kind (version and listener) that comes up; from then on what changes is told anew.
Topics are told a few at a time, so that requests are answered meanwhile; what is not told yet, the control plane answers.

INVARIANT: what is told is of the image that is published; what a newer one makes untrue is taken back as it takes over.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import trio

from cluster.handlers.context import Call, Context
from cluster.handlers.metadata import around_topics, partition_rows, topic_part
from cluster.metadata.apply import ImageDelta
from pykafkacore.protocol.apis import api

PARTITIONS_AT_ONCE = 50
"""A quarter of a millisecond's work."""

Kind = tuple[int, int]
"""API version, and which of the listeners."""


class TopicParts:
    """`core` keeps the parts; `listeners` by their places there."""

    def __init__(self, ctx: Context, core: Any, listeners: Sequence[str]) -> None:
        self._ctx = ctx
        self._core = core
        self._listeners = listeners
        # Names of the topics that are still to be told.
        self._untold: dict[Kind, dict[str, None]] = {}
        self._news = trio.Event()

    def asked(self, kind: Kind) -> None:
        """The control plane had to answer such a question."""
        if kind not in self._untold:
            self._begin([kind])

    def on_image(self, delta: ImageDelta) -> None:
        """The image that the context has from now on."""
        if delta.brokers:
            self._begin(list(self._untold))
            return
        ids = delta.partitions.keys() | delta.topics_added | delta.topics_removed
        if not ids or not self._untold:
            return
        known = (delta.before.topics.get(topic_id) or delta.after.topics.get(topic_id) for topic_id in ids)
        names = {topic.name for topic in known if topic is not None}
        self._core.forget_topic_parts(list(names))
        for untold in self._untold.values():
            untold.update(dict.fromkeys(names))
        self._news.set()

    def _begin(self, kinds: Iterable[Kind]) -> None:
        """All that was told of these kinds is taken back."""
        for kind in kinds:
            self._core.begin_topic_parts(kind, *around_topics(self._ctx, self._call(kind)))
            self._untold[kind] = dict.fromkeys(self._ctx.image.topic_ids)
        self._news.set()

    def _call(self, kind: Kind) -> Call:
        api_version, place = kind
        return Call(api("Metadata"), api_version, None, None, self._listeners[place], "")

    async def run(self) -> None:
        """Tells what is untold, for ever."""
        while True:
            await self._news.wait()
            self._news = trio.Event()
            while self.tell_some():
                await trio.lowlevel.checkpoint()

    def tell_some(self) -> bool:
        """False if all was told already."""
        kind = next((kind for kind, untold in self._untold.items() if untold), None)
        if kind is None:
            return False
        image, call, untold = self._ctx.image, self._call(kind), self._untold[kind]
        rows = partition_rows(image, call)
        parts: list[tuple[str, bytes]] = []
        partitions = 0
        while untold and partitions < PARTITIONS_AT_ONCE:
            name, _ = untold.popitem()
            topic = image.topic_named(name)
            if topic is not None:
                parts.append((name, topic_part(call, topic, rows)))
                partitions += len(topic.partitions)
        if not self._core.keep_topic_parts(kind, parts):
            # There is no room for more.
            untold.clear()
        return True
