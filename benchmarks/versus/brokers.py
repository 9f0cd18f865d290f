"""The brokers that are compared, each a process of its own over a directory of its own, from the same properties.

What it is: formatting, starting, stopping, and where each can be reached. What it is not: any measuring.
Apache Kafka runs with the flags of its own start script and one of a few settings (`Jvm`); which is best is found by
`calibrate`. Loopback only.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.versus import admin
from benchmarks.versus.memory import meminfo_bytes
from tests.support import apache

ROOT = Path(__file__).parent.parent.parent
LOAD = ROOT / "target" / "release" / "pykafkacore-load"

# What differs from the defaults, on both sides: deleted files go at once, so that one run's bytes do not burden the next, and
# thousands of connections may come at once (with a backlog of 50 each overflow costs a second's wait of the kernel's).
PROPERTIES = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    "log.retention.ms": "-1",
    "log.segment.delete.delay.ms": "0",
    "message.max.bytes": "2097152",
    "socket.listen.backlog.size": "5000",
}
CLUSTER_ID = "MkU3OEVBNTcwNTJENDM2Qg"


def build_load() -> None:
    """Builds the load generator (and its limits) if its sources are newer."""
    subprocess.run(["cargo", "build", "--release", "--quiet", "-p", "pykafkacore-load"], cwd=ROOT, check=True)


def pinned(command: list[str], processors: str | None) -> list[str]:
    return command if processors is None else ["taskset", "-c", processors, *command]


@dataclass
class Broker:
    """One side. `name` is what tables call it; `processors` is a list for taskset, or None for all of them."""

    directory: Path
    processors: str | None = None
    extra: dict[str, str] = field(default_factory=dict)
    port: int = 0
    process: subprocess.Popen | None = None
    name = ""

    def __post_init__(self) -> None:
        self.port = self.port or apache.free_port()

    @property
    def properties(self) -> Path:
        return self.directory / "server.properties"

    @property
    def pid(self) -> int:
        assert self.process is not None, f"{self.name} is not running"
        return self.process.pid

    def write_properties(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        lines = {
            **PROPERTIES,
            **apache.addresses(self.port, self.port + 1),
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
            "log.dirs": str(self.directory / "data"),
            **self.extra,
        }
        self.properties.write_text("".join(f"{key}={value}\n" for key, value in lines.items()))

    def format(self) -> None:
        raise NotImplementedError

    def command(self) -> list[str]:
        raise NotImplementedError

    def start(self, deadline_s: float = 90) -> Broker:
        log_path = self.directory / "broker.log"
        with log_path.open("ab") as log:
            self.process = subprocess.Popen(
                pinned(self.command(), self.processors), stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        try:
            apache.wait_for_port(self.port, self.process, deadline_s)
        except AssertionError as error:
            self.stop()
            raise RuntimeError(f"{self.name}: {error}\n{log_path.read_text()[-3000:]}") from None
        return self

    def stop(self) -> None:
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(90)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
        self.process = None

    def create_topic(self, name: str, partitions: int, configs: Mapping[str, str] | None = None) -> None:
        admin.create_topics(self.port, [name], partitions, configs)

    def delete_topic(self, name: str) -> None:
        admin.delete_topics(self.port, [name])

    def discard(self) -> None:
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)


class Ours(Broker):
    name = "ours"

    def format(self) -> None:
        self.write_properties()
        program = Path(sys.executable).with_name("kafka-storage")
        command = [str(program), "format", "--standalone", "-t", CLUSTER_ID, "-c", str(self.properties)]
        subprocess.run(command, check=True, capture_output=True)

    def command(self) -> list[str]:
        return [str(Path(sys.executable).with_name("pykafkacore")), "server-start", str(self.properties)]


@dataclass(frozen=True)
class Jvm:
    """One way of running Apache Kafka."""

    name: str
    heap: str = "1g"
    collector: tuple[str, ...] = (
        "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-XX:InitiatingHeapOccupancyPercent=35", "-XX:+ExplicitGCInvokesConcurrent",
    )  # fmt: skip
    java: str = "newest"
    threads: tuple[int, int] | None = None

    def told(self) -> str:
        threads = "default threads" if self.threads is None else f"{self.threads[0]} network and {self.threads[1]} I/O threads"
        return f"{java_version(java_program(self.java))}, heap {self.heap}, {' '.join(self.collector[:1])}, {threads}"


# The start script's own settings first; then its usual remedies. The newest JDK at hand, and the one on the path.
JVMS = [
    Jvm("default"),
    Jvm("heap-4g", heap="4g"),
    Jvm("few-threads", threads=(2, 2)),
    Jvm("parallel", collector=("-XX:+UseParallelGC",)),
    Jvm("path-jdk", java="path"),
]


def java_program(which: str) -> str:
    if which == "path":
        return "java"
    found = [(_major(path), str(path)) for path in Path("/usr/lib/jvm").glob("*/bin/java") if _major(path)]
    return max(found, default=(0, "java"))[1]


def _major(path: Path) -> int:
    release = path.parent.parent / "release"
    if not release.exists():
        return 0
    line = next((line for line in release.read_text().splitlines() if line.startswith("JAVA_VERSION=")), "")
    digits = line.partition('"')[2].partition(".")[0].rstrip('"')
    return int(digits) if digits.isdecimal() else 0


def java_version(program: str) -> str:
    told = subprocess.run([program, "-version"], capture_output=True, text=True, check=True).stderr
    return told.splitlines()[0].replace('"', "")


class Apache(Broker):
    name = "Apache Kafka"
    jvm: Jvm = JVMS[0]

    def format(self) -> None:
        if self.jvm.threads is not None:
            network, disk = self.jvm.threads
            self.extra = {**self.extra, "num.network.threads": str(network), "num.io.threads": str(disk)}
        self.write_properties()
        apache.run_tool("kafka-storage", "format", "--standalone", "-t", CLUSTER_ID, "-c", str(self.properties))

    def command(self) -> list[str]:
        return [
            java_program(self.jvm.java), f"-Xms{self.jvm.heap}", f"-Xmx{self.jvm.heap}", "-server", *self.jvm.collector,
            "-Djava.awt.headless=true", f"-Dlog4j.configuration=file:{apache.log_config()}",
            "-cp", apache.jars(apache.JAVA_DIR), "kafka.Kafka", str(self.properties),
        ]  # fmt: skip


class Bare(Broker):
    """The load generator's own bare loop: no broker, but a limit that is loaded like one."""

    name = "bare"

    def format(self) -> None:
        (self.directory / "data").mkdir(parents=True, exist_ok=True)

    def command(self) -> list[str]:
        return [str(LOAD), "bare", "--port", str(self.port), "--directory", str(self.directory / "data")]

    def create_topic(self, name: str, partitions: int, configs: Mapping[str, str] | None = None) -> None:
        """Every topic is there."""

    def delete_topic(self, name: str) -> None:
        """The next topic takes its place."""


class SyncedBare(Bare):
    """A bare loop that answers when all that came is on the disk, with one sync."""

    def command(self) -> list[str]:
        return [*super().command(), "--sync", "yes"]


def settle(deadline_s: float = 4, dirty_bytes_max: int = 256 << 20) -> None:
    """Before a run: little is left to be written back, for it must not pay for the one before it."""
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        memory = meminfo_bytes()
        if memory["Dirty"] + memory["Writeback"] < dirty_bytes_max:
            return
        time.sleep(0.1)
