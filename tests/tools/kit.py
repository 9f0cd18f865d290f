"""Tools as calls: ours as programs of their own, Apache's within one Java process that stays.

Not a test. `same` is what "agrees with Apache's tool" means in this folder.
"""

from __future__ import annotations

import re
import struct
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path

from pykafkacore.testing import Broker
from tests.support import apache

HERE = Path(__file__).parent
PROGRAMS = Path(sys.executable).parent
# For topics whose records bear times of long ago: either broker would delete them while it is asked.
KEPT = {"retention.ms": "-1"}


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


def ours(name: str, *args: str, stdin: bytes = b"", timeout_s: float = 60, cwd: Path | None = None) -> Done:
    done = subprocess.run(
        [str(PROGRAMS / name), *args], input=stdin, capture_output=True, timeout=timeout_s, check=False, cwd=cwd
    )
    return Done(done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace"))


class ApacheTools:
    """Apache's tools in one Java process, of one of the two poms: kafka-storage is in that of 4.4."""

    def __init__(self, directory: Path = apache.TOOLS_DIR) -> None:
        self.process = subprocess.Popen(
            [
                "java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-Dlog4j2.StatusLogger.level=OFF",
                f"-Dlog4j.configuration=file:{apache.log_config()}",
                "-cp", apache.jars(directory), str(HERE / "ToolServer.java"),
            ],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=None,
        )  # fmt: skip

    def __call__(self, name: str, *args: str, stdin: bytes = b"") -> Done:
        parts = [apache.TOOLS[name].encode(), *(each.encode() for each in args), stdin]
        assert self.process.stdin is not None
        self.process.stdin.write(struct.pack(">i", len(args)))
        for part in parts:
            self.process.stdin.write(struct.pack(">i", len(part)) + part)
        self.process.stdin.flush()
        code = self._int()
        return Done(code, self._text(), self._text())

    def alone(self, name: str, *args: str, stdin: bytes = b"") -> Done:
        """In a process of its own: mistakes in the options of tools with subcommands end it whatever we do."""
        command = apache.java(apache.TOOLS[name], *args)
        done = subprocess.run(command, input=stdin, capture_output=True, timeout=60, check=False)
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())

    def wait_until_ready(self) -> ApacheTools:
        assert self._int() == 0
        return self

    def _int(self) -> int:
        assert self.process.stdout is not None
        found = self.process.stdout.read(4)
        assert len(found) == 4, "the Java process is gone"
        return struct.unpack(">i", found)[0]

    def _text(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.read(self._int()).decode("utf-8", "replace")

    def stop(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(30)


@dataclass(frozen=True)
class OurBroker:
    """Our broker where a Pair takes Apache's."""

    bootstrap: str
    controller_port: int = 0


KINDS = ("apache", "ours")


@contextmanager
def running(kind: str, directory: Path, **settings: str) -> Iterator[OurBroker | apache.ApacheKafka]:
    """A broker of this kind, with settings written `like_this`."""
    if kind == "ours":
        lines = {key.replace("_", "."): value for key, value in settings.items()}
        with Broker({"group.initial.rebalance.delay.ms": "0", "offsets.topic.num.partitions": "2", **lines}) as broker:
            yield OurBroker(broker.bootstrap_servers)
        return
    kafka = apache.ApacheKafka(directory, **settings)
    kafka.format()
    with kafka:
        yield kafka


USAGE = re.compile(r"^(Option +Description *$|usage: )", re.MULTILINE)
FRAMES = re.compile(r"^(\tat |\t\.\.\. |Caused by: ).*\n", re.MULTILINE)
CLASSES = re.compile(r"^((?:\w+\.)+\w+(?:Exception|Error): )+", re.MULTILINE)
HINT = re.compile(r"^The consumer rebalance protocol \(KIP-848\) is production-ready!.*\n", re.MULTILINE)
OPTIONS = re.compile(r"\[(\[[a-z-]+\](?:, \[[a-z-]+\])+)\]")
LISTS = re.compile(r"(?<=: )([\w\[\]-]+(?:, [\w\[\]-]+)+)$", re.MULTILINE)


def told(text: str) -> list[str]:
    """The lines of standard error without the list of options, whose descriptions are everybody's own, without Java's
    stack traces, and with sets in order."""
    found = USAGE.search(text)
    text = text if found is None else text[: found.start()]
    text = CLASSES.sub("", FRAMES.sub("", HINT.sub("", text)))
    text = OPTIONS.sub(lambda pair: f"[{', '.join(sorted(pair[1].split(', ')))}]", text)
    text = LISTS.sub(lambda found: ", ".join(sorted(found[1].split(", "))), text)
    return list(dict.fromkeys(line for line in text.splitlines() if line.strip()))


IDS = re.compile(r"(?<=TopicId: )[\w-]{22}")


class Pair:
    """The same call by both. `{w}` in it is who calls, so that each has topics of its own; `{b}` and `{c}` are where the
    broker and the controller listen."""

    def __init__(self, theirs: ApacheTools, broker: OurBroker | apache.ApacheKafka) -> None:
        self.theirs, self.broker = theirs, broker

    def arguments(self, line: str, who: str) -> list[str]:
        b, c = self.broker.bootstrap, f"127.0.0.1:{self.broker.controller_port}"
        return [each.format(w=who, b=b, c=c) for each in line.split()]

    def run(self, name: str, line: str, stdin: bytes = b"") -> tuple[Done, Done]:
        with ThreadPoolExecutor(1) as other:
            running = other.submit(self.theirs, name, *self.arguments(line, "them"), stdin=stdin)
            if "console" not in name:
                running.result()  # one after the other: what one changes may not come between what the other reads
            mine = ours(name, *self.arguments(line, "ours"), stdin=stdin)
            theirs = running.result()
        return self._neutral(mine, "ours", line), self._neutral(theirs, "them", line)

    def check(self, name: str, line: str, stdin: bytes = b"") -> None:
        mine, theirs = self.run(name, line, stdin)
        agree(mine, theirs, line)

    @staticmethod
    def _neutral(done: Done, who: str, line: str) -> Done:
        def neutral(text: str) -> str:
            return IDS.sub("ID", text.replace(who, "WHO")) if "{w}" in line else text

        return Done(done.code, neutral(done.out), neutral(done.err))


def same_output(mine: Done, theirs: Done, call: str = "") -> None:
    if (mine.code, mine.out) != (theirs.code, theirs.out):
        lines = "\n".join(unified_diff(theirs.out.splitlines(), mine.out.splitlines(), "theirs", "ours", n=0, lineterm=""))
        told = f"theirs: {theirs.err[:500]}\nours: {mine.err[:500]}"
        raise AssertionError(f"{call}\nexit code {mine.code}, not {theirs.code}\n{lines[:3000]}\n{told}")


def agree(mine: Done, theirs: Done, call: str = "") -> None:
    """Exit code and standard output to the letter, and what `told` leaves of standard error."""
    same_output(mine, theirs, call)
    assert told(mine.err) == told(theirs.err), f"{call}\nours: {told(mine.err)}\ntheirs: {told(theirs.err)}"


def agree_roughly(mine: Done, theirs: Done) -> None:
    """Exit code and standard output to the letter; standard error has something in it, in words of our own."""
    same_output(mine, theirs)
    assert mine.err.strip() and "Traceback" not in mine.err
