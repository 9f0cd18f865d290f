"""A policy that refuses topics and holds up the control plane, as its topics' names tell it to."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from pykafkacore.policies import PolicyViolation
from tests.support.wire import create_topic


class NamingPolicy:
    """Refuses topics, or sleeps until it is released, by their names."""

    release = threading.Event()
    entered = threading.Event()

    def configure(self, configs: dict) -> None:
        assert configs["process.roles"]

    def validate(self, metadata: object) -> None:
        if metadata.topic.startswith("forbidden"):
            raise PolicyViolation(f"{metadata.topic} with {metadata.num_partitions} partitions")
        if metadata.topic == "blocks":
            self.entered.set()
            self.release.wait(30)

    def close(self) -> None:
        pass


POLICY = {"create.topic.policy.class.name": f"{__name__}.NamingPolicy"}


@contextmanager
def held_up(port: int) -> Iterator[None]:
    """The control plane of a broker with this policy sleeps meanwhile; fails if it did not until the end."""
    NamingPolicy.release.clear()
    NamingPolicy.entered.clear()
    blocked = threading.Thread(target=create_topic, args=(port, "blocks", 1))
    blocked.start()
    try:
        assert NamingPolicy.entered.wait(10)
        yield
        assert blocked.is_alive(), "the control plane is still blocked"
    finally:
        NamingPolicy.release.set()
        blocked.join()
