"""Running the load generator, and reading a broker's processor time and memory where it does not do so itself."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.versus import brokers

Result = Mapping[str, Any]
TICKS = os.sysconf("SC_CLK_TCK")
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Form:
    """How long, how often, and how much of the work of rows that are counted and not timed (1: all of it)."""

    rounds: int
    seconds: float
    warmup: float
    scale: float = 1
    load_processors: str | None = None


def fresh_name(base: str) -> str:
    return f"{base}-{next(_numbers)}"


def load_command(command: str, arguments: Mapping[str, object], processors: str | None = None) -> list[str]:
    options = itertools.chain.from_iterable((f"--{key}", str(value)) for key, value in arguments.items())
    return brokers.pinned([str(brokers.LOAD), command, *options], processors)


def run_load(arguments: Mapping[str, object], processors: str | None = None, timeout_s: float = 300) -> dict[str, Any]:
    """Runs the load to its end; what it complains of becomes the error."""
    command = load_command("run", arguments, processors)
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr.strip()}")
    return json.loads(done.stdout)


def run_limits(directory: Path, seconds: float = 1) -> dict[str, Any]:
    command = load_command("limits", {"directory": directory, "seconds": seconds})
    found = json.loads(subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout)
    return {**found, "interpreter_s": min(_interpreter_s() for _ in range(3))}


def _interpreter_s() -> float:
    """What a program in Python takes before it does anything of its own: the interpreter, and its event loop's modules."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import trio"], check=True)
    return time.perf_counter() - began


def cpu_s(pid: int) -> tuple[float, float]:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) / TICKS, int(fields[12]) / TICKS


def rss_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


def machine_s() -> tuple[float, float]:
    """(busy, stolen) seconds of all processors."""
    ticks = [int(field) / TICKS for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    return sum(ticks[at] for at in (0, 1, 2, 5, 6)), ticks[7]


@contextmanager
def watching(pid: int) -> Iterator[dict[str, Any]]:
    """Fills a result with what the broker and the machine used meanwhile, under the load generator's own names."""
    found: dict[str, Any] = {}
    (user, system), (busy, steal), began = cpu_s(pid), machine_s(), time.perf_counter()
    yield found
    found["seconds"] = time.perf_counter() - began
    (user_now, system_now), (busy_now, steal_now) = cpu_s(pid), machine_s()
    found |= {"broker_user_s": user_now - user, "broker_system_s": system_now - system}
    found |= {"machine_busy_s": busy_now - busy, "machine_steal_s": steal_now - steal, "broker_rss_bytes": rss_bytes(pid)}
