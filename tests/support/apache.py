"""Apache Kafka itself, as the oracle: its jars by Maven, its broker as a process, its tools as calls.

Not a fake, and nothing of it is kept in this repository. Everything listens on loopback only.
"""

from __future__ import annotations

import random
import shutil
import socket
import subprocess
import time
from pathlib import Path

JAVA_DIR = Path(__file__).parent.parent / "compat" / "java"
TOOLS_DIR = JAVA_DIR / "tools"
TARGET = JAVA_DIR / "target"

TOOLS = {
    "kafka-storage": "kafka.tools.StorageTool",
    "kafka-topics": "org.apache.kafka.tools.TopicCommand",
    "kafka-configs": "kafka.admin.ConfigCommand",
    "kafka-console-producer": "org.apache.kafka.tools.ConsoleProducer",
    "kafka-console-consumer": "org.apache.kafka.tools.consumer.ConsoleConsumer",
    "kafka-dump-log": "org.apache.kafka.tools.DumpLogSegments",
    "kafka-broker-api-versions": "org.apache.kafka.tools.BrokerApiVersionsCommand",
    "kafka-cluster": "org.apache.kafka.tools.ClusterTool",
    "kafka-consumer-groups": "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
    "kafka-transactions": "org.apache.kafka.tools.TransactionsCommand",
    "kafka-get-offsets": "org.apache.kafka.tools.GetOffsetShell",
    "kafka-delete-records": "org.apache.kafka.tools.DeleteRecordsCommand",
    "kafka-log-dirs": "org.apache.kafka.tools.LogDirsCommand",
    "kafka-features": "org.apache.kafka.tools.FeatureCommand",
    "kafka-reassign-partitions": "org.apache.kafka.tools.reassign.ReassignPartitionsCommand",
    "kafka-metadata-quorum": "org.apache.kafka.tools.MetadataQuorumCommand",
    "kafka-producer-perf-test": "org.apache.kafka.tools.ProducerPerformance",
    "kafka-consumer-perf-test": "org.apache.kafka.tools.ConsumerPerformance",
}


def missing() -> str | None:
    """Why the oracle cannot be used here, or None."""
    for program in ("java", "mvn"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    return None


def jars(directory: Path) -> str:
    """The class path of one of the two poms, fetched (and our own small Java programs compiled) on first use."""
    pom, stamp = directory / "pom.xml", directory / "target" / "jars"
    sources = [*(directory / "src").rglob("*.java"), pom]
    if not stamp.exists() or any(source.stat().st_mtime > stamp.stat().st_mtime for source in sources):
        subprocess.run(["mvn", "-q", "-B", "package", "-DskipTests"], cwd=directory, check=True, timeout=900)
        stamp.touch()
    return f"{directory / 'target' / 'classes'}:{stamp}/*"


def java(main_class: str, *args: str, heap: str = "256m") -> list[str]:
    """The command line of a Java program: the tools are of 4.3.1 (the newest published whole), all else of 4.4.0."""
    directory = TOOLS_DIR if main_class in TOOLS.values() and main_class != "kafka.tools.StorageTool" else JAVA_DIR
    return [
        "java", f"-Xmx{heap}", "-XX:TieredStopAtLevel=1", "-Xshare:auto", f"-Dlog4j.configuration=file:{log_config()}",
        "-cp", jars(directory), main_class, *args,
    ]  # fmt: skip


def log_config() -> Path:
    path = TARGET / "log4j.properties"
    if not path.exists():
        TARGET.mkdir(parents=True, exist_ok=True)
        path.write_text(
            "log4j.rootLogger=WARN,S\nlog4j.appender.S=org.apache.log4j.ConsoleAppender\n"
            "log4j.appender.S.Target=System.err\nlog4j.appender.S.layout=org.apache.log4j.PatternLayout\n"
            "log4j.appender.S.layout.ConversionPattern=%d %p %c %m%n\n"
        )
    return path


def run_tool(name: str, *args: str, stdin: str | None = None, check: bool = True, timeout_s: float = 120) -> str:
    """Runs one of Apache's tools and gives its standard output."""
    done = subprocess.run(
        java(TOOLS.get(name, name), *args), input=stdin, text=True, capture_output=True, timeout=timeout_s, check=False
    )
    if check and done.returncode != 0:
        raise AssertionError(f"{name} {' '.join(args)} exited {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def free_port() -> int:
    """A port that is free, and so is the next. Below those that the system gives to clients: one of them could have it while
    a broker is being started again."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, socket.socket() as next_probe:
            try:
                probe.bind(("127.0.0.1", port))
                next_probe.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port


def addresses(port: int, controller_port: int) -> dict[str, str]:
    """Where a node listens that is broker and controller in one, and the only one."""
    return {
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}",
        "controller.quorum.bootstrap.servers": f"127.0.0.1:{controller_port}",
    }


def wait_for_port(port: int, process: subprocess.Popen, deadline_s: float = 60) -> None:
    end = time.monotonic() + deadline_s
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None:
            raise AssertionError(f"the broker exited with {process.returncode} before it listened on {port}")
        if time.monotonic() > end:
            raise AssertionError(f"nothing listens on port {port} after {deadline_s} s")
        time.sleep(0.05)


class ApacheKafka:
    """A combined Apache Kafka node over a data directory, in a process of its own."""

    def __init__(self, directory: Path, port: int | None = None, controller_port: int | None = None, **extra: str) -> None:
        self.directory = directory
        self.data = directory / "data"
        self.port = port or free_port()
        self.controller_port = controller_port or free_port()
        self.properties = directory / "apache.properties"
        self.process: subprocess.Popen | None = None
        lines = {
            "process.roles": "broker,controller",
            "node.id": "1",
            **addresses(self.port, self.controller_port),
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": str(self.data),
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "offsets.topic.num.partitions": "2",
            "transaction.state.log.num.partitions": "2",
            "group.initial.rebalance.delay.ms": "0",
            **{key.replace("_", "."): value for key, value in extra.items()},
        }
        directory.mkdir(parents=True, exist_ok=True)
        self.properties.write_text("".join(f"{key}={value}\n" for key, value in lines.items()))

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    def format(self, cluster_id: str = "MkU3OEVBNTcwNTJENDM2Qg") -> None:
        run_tool("kafka-storage", "format", "--standalone", "-t", cluster_id, "-c", str(self.properties))

    def start(self) -> ApacheKafka:
        log = (self.directory / "apache.log").open("ab")
        self.process = subprocess.Popen(
            java("kafka.Kafka", str(self.properties), heap="512m"), stdout=log, stderr=log, stdin=subprocess.DEVNULL
        )
        try:
            wait_for_port(self.port, self.process)
        except AssertionError as error:
            text = (self.directory / "apache.log").read_text()
            raise AssertionError(f"{error}\n{text[-3000:]}") from None
        return self

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)
            self.process = None

    def __enter__(self) -> ApacheKafka:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
