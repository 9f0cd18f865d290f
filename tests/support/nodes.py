"""Nodes as processes of their own: a cluster on loopback, formatted and started as an operator would."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from cluster.broker.storage import Format, format_directories, random_uuid, standalone_voter
from tests.support.apache import free_port, wait_for_port

CLUSTER_ID = "MkU3OEVBNTcwNTJENDM2Qg"
PROGRAM = "import sys; from cluster.broker.main import run; sys.exit(run(open(sys.argv[1]).read()))"


def start_dev(port: int, data: Path) -> subprocess.Popen:
    """A node for development on this port, once it listens."""
    program = f"from cluster.broker.main import dev; dev({port}, {str(data)!r})"
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.DEVNULL)
    wait_for_port(port, process, 30)
    return process


class Node:
    def __init__(self, directory: Path, node_id: int, lines: dict[str, str], port: int) -> None:
        self.directory, self.node_id, self.port = directory, node_id, port
        self.properties = directory / "server.properties"
        self.properties.write_text("".join(f"{key}={value}\n" for key, value in lines.items()))
        self.process: subprocess.Popen | None = None
        self.environment: dict[str, str] = {}

    def start(self) -> Node:
        log = (self.directory / "node.log").open("ab")
        command = [sys.executable, "-c", PROGRAM, str(self.properties)]
        self.process = subprocess.Popen(
            command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env={**os.environ, **self.environment}
        )
        return self

    def wait(self) -> Node:
        assert self.process is not None
        try:
            wait_for_port(self.port, self.process, 30)
        except AssertionError as error:
            raise AssertionError(f"node {self.node_id}: {error}\n{self.log()[-4000:]}") from None
        return self

    def log(self) -> str:
        return (self.directory / "node.log").read_text()

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self) -> int:
        assert self.process is not None
        self.process.terminate()
        code = self.process.wait(30)
        self.process = None
        return code


class Cluster:
    """`controllers` nodes from id 101 on, `brokers` nodes from id 1 on."""

    def __init__(self, directory: Path, controllers: int, brokers: int, **extra: str) -> None:
        ports = {100 + number: free_port() for number in range(1, controllers + 1)}
        identities = {node_id: random_uuid() for node_id in ports}
        voters = tuple(
            standalone_voter(node_id, identities[node_id], [("CONTROLLER", "127.0.0.1", port)])
            for node_id, port in ports.items()
        )
        bootstrap = ",".join(f"127.0.0.1:{port}" for port in ports.values())
        common = {
            "controller.listener.names": "CONTROLLER",
            "controller.quorum.bootstrap.servers": bootstrap,
            "offsets.topic.replication.factor": "1",
            **{key.replace("_", "."): value for key, value in extra.items()},
        }
        self.controllers: list[Node] = []
        self.brokers: list[Node] = []
        for node_id, port in ports.items():
            home = self._home(directory, node_id, identities[node_id], voters)
            lines = {
                **common, "process.roles": "controller", "node.id": str(node_id), "log.dirs": str(home / "data"),
                "listeners": f"CONTROLLER://127.0.0.1:{port}",
            }  # fmt: skip
            self.controllers.append(Node(home, node_id, lines, port))
        for node_id in range(1, brokers + 1):
            port = free_port()
            home = self._home(directory, node_id, random_uuid(), None)
            lines = {
                **common, "process.roles": "broker", "node.id": str(node_id), "log.dirs": str(home / "data"),
                "listeners": f"PLAINTEXT://127.0.0.1:{port}",
            }  # fmt: skip
            self.brokers.append(Node(home, node_id, lines, port))

    def _home(self, directory: Path, node_id: int, directory_id: bytes, voters: tuple | None) -> Path:
        home = directory / f"node-{node_id}"
        data = str(home / "data")
        wanted = Format(CLUSTER_ID, node_id, (data,), data, voters)
        format_directories(wanted, {data: directory_id}, time.time_ns() // 1_000_000)
        return home

    @property
    def nodes(self) -> list[Node]:
        return self.controllers + self.brokers

    @property
    def bootstrap(self) -> str:
        return ",".join(f"127.0.0.1:{node.port}" for node in self.brokers)

    def __enter__(self) -> Cluster:
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            node.wait()
        return self

    def __exit__(self, *_: object) -> None:
        for node in self.nodes:
            node.kill()
