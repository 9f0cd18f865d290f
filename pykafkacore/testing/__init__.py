"""A real broker for tests: in this process, on a free port, with a directory of its own.

    from pykafkacore.testing import Broker

    with Broker() as broker:
        producer = confluent_kafka.Producer({"bootstrap.servers": broker.bootstrap_servers})

With pytest, the fixtures `kafka_broker` and `kafka_topic` are there as soon as pykafkacore is installed.
It is the same broker as any other: real sockets, real logs, the real control plane on a thread of its own.
"""

from __future__ import annotations

import contextlib
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Broker:
    """One combined node on 127.0.0.1. `properties` are Kafka's own keys; `data` is kept if given, else removed."""

    def __init__(
        self, properties: Mapping[str, str] | None = None, *, port: int = 0, data: str | Path | None = None
    ) -> None:
        self._properties = dict(properties or {})
        self._port = port
        self._own_data = tempfile.TemporaryDirectory(prefix="pykafkacore-") if data is None else None
        self.data = Path(self._own_data.name if self._own_data else data or "") / "kafka"
        self._thread: threading.Thread | None = None
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._broker: Any = None
        self._token: Any = None

    @property
    def bootstrap_servers(self) -> str:
        """What clients take as `bootstrap.servers`."""
        if self._broker is None:
            raise RuntimeError("the broker is not running: use it in a `with` statement, or call start()")
        return f"127.0.0.1:{self._broker.bound['PLAINTEXT']}"

    def get_bootstrap_server(self) -> str:
        """The same, under the name that testcontainers' KafkaContainer has."""
        return self.bootstrap_servers

    @property
    def port(self) -> int:
        return self._broker.bound["PLAINTEXT"]

    @property
    def node(self) -> Any:
        """The running node itself (`cluster.broker.broker.Broker`). Touch it from its own thread only: see `call`."""
        return self._broker

    def start(self) -> Broker:
        self._started.clear()
        self._thread = threading.Thread(target=self._run, name="kafka-broker", daemon=True)
        self._thread.start()
        while not self._started.wait(1):
            if not self._thread.is_alive():
                raise RuntimeError("the broker's thread ended before the broker was ready")
        if self._failure is not None:
            self._thread.join()
            raise self._failure
        return self

    def _run(self) -> None:
        import trio

        from cluster.broker.broker import Broker as Node
        from cluster.broker.main import dev_properties, format_dev, raise_file_limit
        from cluster.config.settings import load_static

        async def main() -> None:
            settings, _ = load_static(dev_properties(self._port, self.data), self._properties)
            node = Node(settings)

            async def tell_ready() -> None:
                await node.ready.wait()
                self._broker = node
                self._started.set()

            self._token = trio.lowlevel.current_trio_token()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(tell_ready)
                await node.serve()
                nursery.cancel_scope.cancel()

        try:
            self.data.parent.mkdir(parents=True, exist_ok=True)
            raise_file_limit()
            format_dev(self.data)
            trio.run(main)
        except BaseException as error:
            self._failure = error
        finally:
            self._started.set()

    def call(self, function: Any, *args: Any) -> Any:
        """Runs `function(*args)` on the broker's Trio thread and gives its result."""
        import trio

        return trio.from_thread.run_sync(function, *args, trio_token=self._token)

    def stop(self) -> None:
        """A controlled shutdown; the data directory is left as after any clean stop."""
        if self._thread is None:
            return
        import trio

        broker, self._broker = self._broker, None
        if broker is not None:
            with contextlib.suppress(trio.RunFinishedError):
                trio.from_thread.run_sync(broker.stop, trio_token=self._token)
        self._thread.join(60)
        self._thread = None
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        self.stop()
        if self._own_data is not None:
            self._own_data.cleanup()

    def __enter__(self) -> Broker:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()
