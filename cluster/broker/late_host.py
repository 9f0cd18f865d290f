"""A coordinator's host that is made when its topic is there: until then nobody needs it, and a broker starts without it.

Answers as `cluster.handlers.context.Coordinators` do of a topic that is not there; everything else goes to the host itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pykafkacore.protocol.errors import ApiError, Code

if TYPE_CHECKING:
    from cluster.metadata.apply import ImageDelta


class LateHost:
    def __init__(self, topic: str, make: Callable[[], Any]) -> None:
        self._topic = topic
        self._make = make
        self._host: Any = None

    def __getattr__(self, name: str) -> Any:
        if self._host is None:
            raise ApiError(Code.COORDINATOR_NOT_AVAILABLE, f"topic {self._topic} is not there yet")
        found = getattr(self._host, name)
        if callable(found):
            self.__dict__[name] = found  # from now on without this way round
        return found

    @property
    def partition_count(self) -> int:
        return 0 if self._host is None else int(self._host.partition_count)

    def led_partitions(self) -> list[int]:
        return [] if self._host is None else list(self._host.led_partitions())

    def on_image(self, delta: ImageDelta) -> None:
        if self._host is None and delta.after.topic_named(self._topic) is not None:
            self._host = self._make()
        if self._host is not None:
            self._host.on_image(delta)

    def close(self) -> None:
        if self._host is not None:
            self._host.close()
