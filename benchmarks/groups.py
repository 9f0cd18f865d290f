"""Rebalances of consumer groups (KIP-848) and what groups cost, beside Apache Kafka's, in turns.

    stable    10 and 100 members on 900 partitions: a member joins, leaves, is killed; until every partition has an owner, every
              member its share, and all of them the group's newest epoch. A kill is counted from when its session is over
    idle      1,000 groups of five members that only heartbeat: the broker's part of one processor
    produce   p99 of paced producers beside those groups: while all are quiet, while a member of each leaves and comes back, and
              while as much happens to the groups of another broker of the same kind, on the same processors: what the second
              has beyond the third is what a broker's groups do to its own producers. Producers and members have machines of
              their own in earnest: producers go before all others, where that is allowed, and members only when nobody else
              wants the processor

The brokers run with their defaults, but for the session of the group whose members are killed, and the interval of idle ones,
which is Apache Kafka's default on both sides. Members are those of `group_members`,
which notice what moves, and that no partition has two owners. Run: python -m benchmarks.groups [--only stable] [--rounds 3]
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import load
from benchmarks.coordinators import wait_for_coordinator
from benchmarks.group_members import Crowd, Member, Owners
from benchmarks.versus.brokers import Apache, Broker, Ours, build_load
from benchmarks.versus.loading import cpu_s, fresh_name, run_load
from benchmarks.versus.special import another
from pykafkacore.protocol.apis import api
from tests.support.wire import Wire

PARTITIONS = 900
SESSION_S = 6
GROUPS, MEMBERS = 1_000, 5
INTERVAL_S = 5
GROUP_RESOURCE = 32

Found = dict[str, dict[str, list[float]]]
"""By row, by side."""


def shorten_session(port: int, group: str) -> None:
    message = api("IncrementalAlterConfigs").request
    config = message.AlterableConfig(name="consumer.session.timeout.ms", config_operation=0, value=str(SESSION_S * 1000))
    resource = message.AlterConfigsResource(resource_type=GROUP_RESOURCE, resource_name=group, configs=[config])
    wire = Wire(port)
    [told] = wire.ask("IncrementalAlterConfigs", 1, message(resources=[resource])).responses
    assert told.error_code == 0, told
    wire.close()


# --- stable -----------------------------------------------------------------------------------------------------------------


class Group:
    """One group, and how long it takes to settle after a change."""

    def __init__(self, broker: Broker, size: int, topic: str) -> None:
        self.port, self.topic, self.name = broker.port, topic, fresh_name("settling")
        wait_for_coordinator(self.port, self.name)
        shorten_session(self.port, self.name)
        self.owners, self.crowd = Owners(PARTITIONS), Crowd()
        self.members = [self._member() for _ in range(size)]
        for member in self.members:
            self.crowd.add(member)
        self._settle(0)
        self.rest()

    def _member(self) -> Member:
        return Member(self.port, self.name, self.topic, self.owners)

    def _settle(self, above_epoch: int) -> float:
        return self.crowd.run(lambda _: self.owners.is_stable(self.members, above_epoch), 90)

    def rest(self) -> None:
        """Heartbeats spread a little, as those of clients would."""
        end = time.perf_counter() + random.uniform(0.5, 1.5)
        self.crowd.run(lambda now: now > end, 10)

    def after(self, change: Callable[[], float]) -> tuple[float, int, float]:
        """(seconds until it is stable, partitions that stayed, the longest that one of those had no owner)"""
        epoch = max(member.epoch for member in self.members)
        self.owners.begin()
        began = change()
        found = self._settle(epoch) - began, *self.owners.stayed()
        self.rest()
        return found

    def join(self) -> float:
        began = time.perf_counter()
        self.members.append(self._member())
        self.crowd.add(self.members[-1])
        return began

    def leave(self) -> float:
        return self.crowd.leave(self.members.pop(random.randrange(len(self.members))))

    def kill(self) -> float:
        return self.crowd.kill(self.members.pop(random.randrange(len(self.members)))) + SESSION_S


def settling(broker: Broker, size: int, topic: str, found: dict[str, list[float]]) -> None:
    group = Group(broker, size, topic)
    for name, change in (("join", group.join), ("leave", group.leave), ("join", group.join), ("kill", group.kill)):
        seconds, stayed, gap = group.after(change)
        found.setdefault(f"{size} members, {name}", []).append(seconds)
        found.setdefault(f"{size} members, gap of what stayed", []).append(gap)
        assert stayed >= PARTITIONS * (size - 1) // (size + 1) // 2, f"only {stayed} partitions stayed"
    group.crowd.close()


def stable(sides: list[Broker], rounds: int) -> None:
    for broker in sides:
        broker.create_topic("settled", PARTITIONS)
    found: Found = {broker.name: {} for broker in sides}
    for size in (10, 100):
        for _ in load.rounds(rounds):
            for broker in sides:
                settling(broker, size, "settled", found[broker.name])
        ours, theirs = (found[broker.name] for broker in sides)
        for name in [each for each in ours if each.startswith(f"{size} members")]:
            tell(name, ours[name], theirs[name], "s")


def tell(name: str, ours: list[float], theirs: list[float], unit: str) -> None:
    a, b = statistics.median(ours), statistics.median(theirs)
    ratio = f"{b / a:8.1f}x" if a else ""
    print(f"{name:44} ours {a:8.3f} {unit} (worst {max(ours):.3f})   Apache {b:8.3f} {unit} {ratio}", flush=True)


# --- many groups --------------------------------------------------------------------------------------------------------------


class Multitude:
    """A thousand groups, each with a topic's partitions for its members."""

    def __init__(self, broker: Broker, topic: str) -> None:
        broker.create_topic(topic, MEMBERS)
        self.broker, self.topic, self.crowd = broker, topic, Crowd()
        prefix = fresh_name("many")
        wait_for_coordinator(broker.port, prefix)
        self.groups = {f"{prefix}-{number}": [] for number in range(GROUPS)}
        for number, name in enumerate(self.groups):
            self.groups[name] = [Member(broker.port, name, topic) for _ in range(MEMBERS)]
            for member in self.groups[name]:
                self.crowd.add(member, time.perf_counter() + number * INTERVAL_S / GROUPS)
        self.crowd.run(lambda _: self.crowd.beats >= GROUPS * MEMBERS and self._is_at_rest(), 120)

    def _is_at_rest(self) -> bool:
        return all(
            member.owned and member.interval_s > INTERVAL_S / 2 and member.epoch == members[0].epoch
            for members in self.groups.values()
            for member in members
        )

    def come_back(self) -> None:
        """After a while of silence: members heartbeat evenly again, and none of it is left to be made up for."""
        self.crowd.spread(INTERVAL_S)
        end = time.perf_counter() + INTERVAL_S
        self.crowd.run(lambda now: now > end, INTERVAL_S + 10)

    def idle(self, seconds: float) -> tuple[float, float]:
        """(the broker's part of one processor, heartbeats a second)"""
        before, beats, began = sum(cpu_s(self.broker.pid)), self.crowd.beats, time.perf_counter()
        elapsed = self.crowd.run(lambda now: now > began + seconds, seconds + 10) - began
        return (sum(cpu_s(self.broker.pid)) - before) / elapsed, (self.crowd.beats - beats) / elapsed

    def churn(self, is_over: Callable[[float], bool], period_s: float) -> int:
        """In every period a member of each group leaves, and another comes half a period later; how many did."""
        names, began, count = list(self.groups), time.perf_counter(), 0
        while True:
            at = began + count * period_s / 2 / GROUPS
            self.crowd.run(lambda now: now >= at or is_over(now), period_s)  # noqa: B023
            if is_over(time.perf_counter()):
                return count
            members = self.groups[names[count % GROUPS]]
            if len(members) == MEMBERS:
                self.crowd.leave(members.pop(0))
            else:
                members.append(Member(self.broker.port, names[count % GROUPS], self.topic))
                self.crowd.add(members[-1])
            count += 1


def idle(sides: list[Broker], rounds: int) -> None:
    found: Found = {broker.name: {} for broker in sides}
    for broker in sides:
        multitude = Multitude(broker, "idle")
        for _ in range(rounds):
            part, beats = multitude.idle(20)
            found[broker.name].setdefault("part", []).append(part * 100)
            found[broker.name].setdefault("beats", []).append(beats)
        multitude.crowd.close()
        print(f"{broker.name}: {statistics.median(found[broker.name]['beats']):.0f} heartbeats/s", flush=True)
    ours, theirs = (found[broker.name]["part"] for broker in sides)
    tell("1,000 idle groups of 5, of one processor", ours, theirs, "%")


def produce(sides: list[Broker], rounds: int, seconds: float = 10) -> None:
    found: Found = {broker.name: {} for broker in sides}
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    for broker in sides:
        broker.create_topic("paced", 6)
        with another(broker) as other:
            here, elsewhere = (Multitude(each, "idle") for each in (broker, other))
            states = {"quiet": (here, False), "rebalancing": (here, True), "those of another broker": (elsewhere, True)}
            for _ in load.rounds(rounds):
                for state, (multitude, churns) in states.items():
                    result, changes = beside(multitude, broker, seconds, churns)
                    found[broker.name].setdefault(state, []).append(result["latency"]["p99_us"] / 1000)
                    print(f"{broker.name}, {state}: {changes / result['seconds']:.0f} changes/s", flush=True)
            for multitude in (here, elsewhere):
                multitude.crowd.close()
    ours, theirs = (found[broker.name] for broker in sides)
    for state in ours:
        tell(f"produce p99, 1,000 groups: {state}", ours[state], theirs[state], "ms")


def beside(multitude: Multitude, broker: Broker, seconds: float, churns: bool) -> tuple[Any, int]:
    """One run of paced producers while the groups heartbeat, or rebalance; how many members left and came."""
    multitude.come_back()
    common = {"port": broker.port, "topic": "paced", "partitions": 6, "producers": 4, "in-flight": 1, "batch-bytes": 1024}
    results: list[Any] = []
    arguments = {**common, "record-bytes": 512, "rate": 1000, "seconds": seconds, "warmup": 1, "first": "yes"}
    thread = threading.Thread(target=lambda: results.append(run_load(arguments)))
    thread.start()
    is_over = lambda _: not thread.is_alive()  # noqa: E731
    changes = 0
    if churns:
        changes = multitude.churn(is_over, period_s=INTERVAL_S * 2)
    else:
        multitude.crowd.run(is_over, seconds + 60)
    thread.join()
    return results[0], changes


# Ours asks for heartbeats as often as it takes lightly, unless told how often: of idle groups both are to have as many.
SHORT_SESSIONS = {"group.consumer.min.session.timeout.ms": str(SESSION_S * 1000)}
DEFAULT_INTERVAL = {"group.consumer.heartbeat.interval.ms": str(INTERVAL_S * 1000)}

ROWS: dict[str, tuple[Callable[[list[Broker], int], None], dict[str, str]]] = {
    "stable": (stable, SHORT_SESSIONS),
    "idle": (idle, DEFAULT_INTERVAL),
    "produce": (produce, DEFAULT_INTERVAL),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=list(ROWS), action="append")
    given = parser.parse_args()
    build_load()
    for name in given.only or ROWS:
        run, extra = ROWS[name]
        with tempfile.TemporaryDirectory() as directory:
            sides: list[Broker] = [kind(Path(directory) / kind.__name__, extra=extra) for kind in (Ours, Apache)]
            try:
                for broker in sides:
                    broker.format()
                    broker.start()
                run(sides, given.rounds)
            finally:
                for broker in sides:
                    broker.stop()


if __name__ == "__main__":
    main()
