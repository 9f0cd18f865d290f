"""Running a node as a program: logs, signals, exit codes."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import trio

from cluster.broker.broker import Broker
from cluster.broker.storage import Format, StorageError, format_directories, random_uuid, standalone_voter
from cluster.config.settings import load_static
from cluster.config.values import ConfigError
from cluster.plane.native import CoreError
from pykafkacore.protocol.types import uuid_to_text

log = logging.getLogger("pykafkacore")

GC_THRESHOLDS = (50_000, 20, 50)


class _LineFormatter(logging.Formatter):
    """`[2026-11-21 09:15:00,123] INFO text (logger)`, as Kafka's own logs read."""

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
        line = f"[{moment},{int(record.msecs):03d}] {record.levelname} {record.getMessage()} ({record.name})"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def set_up_logging(level: int = logging.INFO) -> None:
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_LineFormatter())
    root = logging.getLogger("pykafkacore")
    root.handlers[:] = [handler]
    root.setLevel(level)
    root.propagate = False


def raise_file_limit() -> None:
    """A broker of many partitions needs many descriptors: take what the system allows."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def serve_until_signal(broker: Broker, on_ready: Callable[[Broker], None]) -> None:
    async def watch_signals() -> None:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for _ in signals:
                broker.stop()

    async def tell_ready() -> None:
        await broker.ready.wait()
        on_ready(broker)

    # What was made to start is kept for good. Programs start without collections.
    gc.freeze()
    gc.enable()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch_signals)
        nursery.start_soon(tell_ready)
        await broker.serve()
        nursery.cancel_scope.cancel()


def run(text: str, overrides: Mapping[str, str] | None = None) -> int:
    """Runs the node that a server.properties describes until SIGTERM or SIGINT. The exit code."""
    set_up_logging()
    return _run(text, overrides, lambda broker: log.info("Kafka Server started"))


def _run(text: str, overrides: Mapping[str, str] | None, on_ready: Callable[[Broker], None]) -> int:
    raise_file_limit()
    # A collection for every 700 new objects would cost more than it finds, most of all while a large image is read.
    gc.set_threshold(*GC_THRESHOLDS)
    try:
        settings, warnings = load_static(text, overrides)
        for warning in warnings:
            log.warning("%s", warning)
        broker = Broker(settings)
    except (ConfigError, StorageError, CoreError, ValueError) as error:
        log.error("cannot start: %s", getattr(error, "message", error))
        return 1
    trio.run(serve_until_signal, broker, on_ready)
    return 0


def dev_properties(port: int, data: Path, host: str = "127.0.0.1") -> str:
    """A server.properties for one combined node, small and quick: what `pykafkacore dev` runs."""
    return "\n".join(
        [
            "process.roles=broker,controller",
            "node.id=1",
            f"listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{port and port + 1}",
            "controller.listener.names=CONTROLLER",
            f"controller.quorum.bootstrap.servers={host}:{port + 1 if port else 9093}",
            f"log.dirs={data}",
            "offsets.topic.replication.factor=1",
            "transaction.state.log.replication.factor=1",
            "transaction.state.log.min.isr=1",
            "share.coordinator.state.topic.replication.factor=1",
            "share.coordinator.state.topic.min.isr=1",
            "group.initial.rebalance.delay.ms=0",
            "",
        ]
    )


def format_dev(data: Path, node_id: int = 1, controller_port: int = 9093) -> None:
    """Formats a data directory on first use; leaves a formatted one alone."""
    if (data / "meta.properties").exists():
        return
    directory_id = random_uuid()
    wanted = Format(
        cluster_id=uuid_to_text(random_uuid()),
        node_id=node_id,
        directories=(str(data),),
        metadata_directory=str(data),
        voters=(standalone_voter(node_id, directory_id, [("CONTROLLER", "127.0.0.1", controller_port)]),),
    )
    format_directories(wanted, {str(data): directory_id}, time.time_ns() // 1_000_000)


def dev(port: int = 9092, data: str | os.PathLike[str] = "data", host: str = "127.0.0.1") -> int:
    """One broker on this machine: formats `data` on first use, prints where it is, stops on Ctrl-C."""
    started = time.monotonic()
    set_up_logging(logging.WARNING)
    directory = Path(data).absolute()
    format_dev(directory, controller_port=port + 1 if port else 9093)

    def ready(broker: Broker) -> None:
        took_ms = (time.monotonic() - started) * 1000
        where = f"{host}:{broker.bound['PLAINTEXT']}"
        print(f"Kafka is ready at {where} ({took_ms:.0f} ms). Data: {directory}. Ctrl-C stops it.", flush=True)

    code = _run(dev_properties(port, directory, host), None, ready)
    print("stopped", flush=True)
    return code
