"""Group coordinators in a simulated world: members of both protocols over a network that loses, delays, repeats and
reorders; members that crash, hang, leave and come back; a coordinator that is reloaded from its log at any append, less
what was not replicated. All from one seed.

    python -m tests.sim.groups --seed 7          replay one
    python -m tests.sim.groups --seeds 10000     the long run

After the faults stop, every history must converge: each group's live members own every partition between them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from heapq import heappop, heappush
from random import Random
from typing import Any

from cluster.coordinator import values
from cluster.coordinator.group.settings import ConsumerSettings, GroupSettings
from cluster.coordinator.group.shard import GroupShard, MetadataIs
from cluster.coordinator.group.topics import GroupTopics
from cluster.coordinator.runtime import Append, Dropped, Fail, Faulted, Respond, ShardRuntime
from cluster.coordinator.values import Logged, Request
from cluster.rebalance.range import RangeAssignor
from cluster.rebalance.uniform import UniformAssignor
from pykafkacore.protocol.apis import api as api_named
from pykafkacore.protocol.errors import ApiError, Code
from pykafkacore.protocol.log_records import GROUP_RECORDS
from tests.cluster.coordinator.group.world import image, match
from tests.sim.group_clients import ClassicClient, Client, ConsumerClient
from tests.sim.group_invariants import all_invariants

TOPICS = ("t", "u", "v")
CONVERGES_WITHIN_MS = 150_000
RESTS_ON_TCP = ("ConsumerGroupHeartbeat", "JoinGroup")


class InvariantViolated(AssertionError):
    pass


class KeptInWorld:
    """Answers that stand, given by the network in the coordinator's stead: implements `KeptAnswers`."""

    def __init__(self) -> None:
        self._scope = 0
        self._answers: dict[int, dict[Any, Any]] = {}
        self._given: dict[int, int] = {}
        self.given_count = 0

    def new_scope(self) -> int:
        self._scope += 1
        return self._scope

    def keep(self, scope: int, question: Any, answer: Any, now: int) -> None:
        self._answers.setdefault(scope, {})[question] = answer
        self._given[scope] = now

    def find(self, question: Any, now: int) -> Any | None:
        for scope, answers in self._answers.items():
            if question in answers:
                self._given[scope] = now
                self.given_count += 1
                return answers[question]
        return None

    def last_given(self, scope: int, now: int) -> int | None:
        return self._given.get(scope)

    def take_back(self, scope: int, now: int) -> int | None:
        self._answers.pop(scope, None)
        return self._given.pop(scope, None)


class GroupWorld:
    def __init__(self, seed: int, mutate: Callable[[GroupShard], None] | None = None) -> None:
        self.seed = seed
        self.random = Random(seed)
        self.mutate = mutate
        self.now = 1_000_000
        self.step_count = 0
        self.faults = self.random.choice((0.0, 0.02, 0.1, 0.25))
        self.crash_chance = self.random.choice((0.0, 0.002, 0.02))
        self.replication_ms = self.random.choice((0, 0, 5, 200))
        self.partition_counts = {name: self.random.randint(1, 6) for name in TOPICS}
        self.log: list[Logged] = []
        self.batch_ends: list[int] = []
        self.high_watermark = 0
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._order = 0
        self._ticket = 0
        self._waiting: dict[int, Callable[[Any], None]] = {}
        self._questions: dict[int, Any] = {}
        self._fresh = 0
        self._topics_version = 1
        self.kept = KeptInWorld()
        self.runtime = ShardRuntime(values.encode, Code.NOT_COORDINATOR, size=values.encoded_bytes, kept=self.kept)
        self.invariants = all_invariants()
        self.clients: list[Client] = []
        self.load()
        for number in range(self.random.randint(2, 5)):
            self.add_client(number)

    # --- the world -------------------------------------------------------------------------------------------------------

    def at(self, delay_ms: int, event: Callable[[], None]) -> None:
        self._order += 1
        heappush(self._events, (self.now + max(0, delay_ms), self._order, event))

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def add_client(self, number: int) -> None:
        group = self.random.choice(("a", "a", "b"))
        # Of four groups one speaks both protocols.
        kinds = ((ConsumerClient,), (ClassicClient,), (ConsumerClient,), (ConsumerClient, ClassicClient))
        kind = self.random.choice(kinds[(self.seed + ord(group)) % 4])
        topics = tuple(sorted(self.random.sample(TOPICS, self.random.randint(1, 3))))
        if kind is ClassicClient:
            topics = TOPICS
        instance = f"static-{number}" if self.chance(0.3) else None
        client = kind(self, f"{group}{number}", group, topics, instance)
        self.clients.append(client)
        self.at(self.random.randint(0, 5_000), client.start)

    def change_topics(self) -> None:
        name = self.random.choice(TOPICS)
        self.partition_counts[name] += 1
        self._topics_version += 1
        if self.runtime.is_active:
            self._submit(MetadataIs(self.topics()), lambda answer: None)

    def topics(self) -> GroupTopics:
        return GroupTopics(image(self.partition_counts, self._topics_version), match)

    # --- the network -----------------------------------------------------------------------------------------------------

    def send(self, client: Client, name: str, version: int, body: Any, answered: Callable[[Any], None]) -> None:
        """Both ways may fail. `answered` gets the response, an ApiError, or None when nothing came in time.

        Heartbeats of KIP-848, and joins, are not repeated by the network: they rest on TCP, which does not either. A first
        heartbeat that is processed twice gives everything back that its first answer handed out; a join that is processed
        once more puts its member into a generation that it does not know of, and a static member that joins twice is two, of
        which the second fences the first (so it is in Kafka).
        """
        done = [False]

        def once(answer: Any) -> None:
            if not done[0]:
                done[0] = True
                answered(answer)

        def arrive() -> None:
            def back(answer: Any) -> None:
                if not self.chance(self.faults):
                    self.at(self.delay(), lambda: once(answer))

            self._fresh += 1
            api = api_named(name)
            encoded = api.request.encode(body, version)
            kept = self.kept.find((name, version, encoded), self.now)
            if kept is not None:
                back(kept)
                return
            decoded = api.request.decode(encoded, version)
            request = Request(0, name, version, decoded, client.name, "/sim", f"id{self._fresh}")
            self._submit(request, back, (name, version, encoded))

        delay_ms = self.delay()
        if not self.chance(self.faults):
            self.at(delay_ms, arrive)
        is_repeatable = name not in RESTS_ON_TCP and getattr(body, "group_instance_id", None) is None
        if self.chance(self.faults) and is_repeatable:
            self.at(delay_ms + self.random.randint(0, 2_000), arrive)
        self.at(client.request_timeout_ms, lambda: once(None))

    def delay(self) -> int:
        return self.random.randint(0, 2_000) if self.chance(self.faults) else self.random.randint(0, 5)

    # --- the coordinator ---------------------------------------------------------------------------------------------------

    def load(self) -> None:
        settings = GroupSettings(initial_rebalance_delay_ms=self.random.choice((0, 3_000)))
        consumer = ConsumerSettings(
            session_timeout_ms=45_000, heartbeat_interval_ms=3_000, assignment_interval_ms=self.random.choice((0, 1_000))
        )
        assignors = {each.name: each for each in (UniformAssignor(), RangeAssignor())}
        shard = GroupShard(settings, self.topics(), lambda group_id: consumer, assignors)
        if self.mutate is not None:
            self.mutate(shard)
        for offset, logged in enumerate(self.log):
            shard.apply(offset, logged)
        end = len(self.log)
        self.high_watermark = end
        self._take(self.runtime.start(shard, 1, end, end, self.now))

    def crash(self) -> None:
        """The leader moves: what was not replicated may be gone, or not, each batch as a whole."""
        self._take(self.runtime.stop("crash"))
        keep = self.random.choice([self.high_watermark, *(end for end in self.batch_ends if end > self.high_watermark)])
        del self.log[keep:]
        self.batch_ends = [end for end in self.batch_ends if end <= keep]
        self.load()

    def _submit(self, request: Any, answered: Callable[[Any], None], question: Any = None) -> None:
        if not self.runtime.is_active:
            answered(ApiError(Code.NOT_COORDINATOR))
            return
        self._ticket += 1
        if isinstance(request, Request):
            request = Request(
                self._ticket, request.api_name, request.api_version, request.body, request.client_id,
                request.client_host, request.fresh_id,
            )  # fmt: skip
        self._waiting[self._ticket] = answered
        self._questions[self._ticket] = question
        self._take(self.runtime.submit(self._ticket, request, self.now))
        self._take(self.runtime.flush())

    def _take(self, effects: list[Any]) -> None:
        for effect in effects:
            if isinstance(effect, Append):
                self._append(effect)
            elif isinstance(effect, Respond):
                question = self._questions.pop(effect.ticket)
                if effect.scope is not None and self.runtime.stands(effect.scope):
                    self.kept.keep(effect.scope, question, effect.response, self.now)
                self._waiting.pop(effect.ticket)(effect.response)
            elif isinstance(effect, Fail):
                self._waiting.pop(effect.ticket)(effect.error)
            elif isinstance(effect, Faulted):
                raise effect.exception
            else:
                assert isinstance(effect, Dropped), effect

    def _append(self, append: Append) -> None:
        assert append.base_offset == len(self.log)
        for key, value in append.records:
            record = values.decode(key, value, GROUP_RECORDS)
            assert record is not None
            self.log.append(record)
        end = len(self.log)
        self.batch_ends = [each for each in self.batch_ends if each > self.high_watermark] + [end]
        if self.chance(self.crash_chance):
            self.at(0, self.crash)
        elif self.replication_ms == 0:
            self._replicated(end)
        else:
            self.at(self.random.randint(0, self.replication_ms), lambda: self._replicated(end))

    def _replicated(self, end: int) -> None:
        if self.high_watermark < end <= len(self.log):
            self.high_watermark = end
            self._take(self.runtime.committed(end))

    # --- a history ---------------------------------------------------------------------------------------------------------

    def run(self, duration_ms: int) -> None:
        end = self.now + duration_ms
        while True:
            deadline = self.runtime.deadline() if self.runtime.is_active else None
            due = [self._events[0][0]] if self._events else []
            due += [deadline] if deadline is not None else []
            if not due or min(due) > end:
                self.now = end
                return
            self.now = max(self.now, min(due))
            if deadline is not None and deadline <= self.now:
                self._take(self.runtime.expire(self.now))
            else:
                heappop(self._events)[2]()
            self.step_count += 1
            self.check()

    def check(self) -> None:
        for invariant in self.invariants:
            try:
                invariant.check(self)
            except AssertionError as error:
                raise InvariantViolated(f"{type(invariant).__name__}: {error}") from error

    def disturb(self) -> None:
        """Something happens to somebody."""
        client = self.random.choice(self.clients)
        match self.random.randint(0, 7):
            case 0:
                client.crash()
            case 1 | 2:
                client.start()
            case 3:
                client.leave()
            case 4:
                client.hang(self.random.choice((1_000, 20_000, 70_000)))
            case 5:
                if self.chance(0.3):
                    self.change_topics()
            case 6:
                self.crash()
            case 7:
                self.now += self.random.choice((0, 10_000, 60_000))  # a clock that jumps
        self.check()


def simulate(seed: int, rounds: int = 25, mutate: Callable[[GroupShard], None] | None = None) -> GroupWorld:
    """One history. What goes wrong names the line that replays it."""
    world = GroupWorld(seed, mutate)
    try:
        for _ in range(rounds):
            world.run(world.random.choice((50, 1_000, 5_000, 15_000)))
            world.disturb()
        world.faults = world.crash_chance = 0.0
        for client in world.clients:
            client.start()
        world.run(CONVERGES_WITHIN_MS)
        for invariant in world.invariants:
            try:
                invariant.at_rest(world)
            except AssertionError as error:
                raise InvariantViolated(f"{type(invariant).__name__} at rest: {error}") from error
    except Exception as error:
        error.add_note(f"replay: python -m tests.sim.groups --seed {seed}")
        raise
    return world


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=1, help="how many, from --seed on")
    parser.add_argument("--rounds", type=int, default=25)
    arguments = parser.parse_args()
    steps = 0
    for seed in range(arguments.seed, arguments.seed + arguments.seeds):
        steps += simulate(seed, arguments.rounds).step_count
        if seed % 500 == 499:
            print(f"{seed + 1 - arguments.seed} seeds, {steps} steps", flush=True)
    print(f"{arguments.seeds} seeds, {steps} steps, all invariants held")


if __name__ == "__main__":
    main()
