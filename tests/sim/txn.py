"""A transaction coordinator in a simulated world: producers of both protocols, zombies among them, over a network that
loses, delays, repeats and reorders; partitions with epochs and markers; a coordinator that is reloaded from its log at any
append, less what was not replicated; a clock that jumps. All from one seed.

    python -m tests.sim.txn --seed 7          replay one
    python -m tests.sim.txn --seeds 10000     the long run

By the old protocol a request that its client has given up is never delivered after all: such a thing breaks the old
protocol (KAFKA-17754), and `late_requests` shows it. By the new protocol any copy of anything may come at any time.
After the faults stop, every outcome must be complete within CONVERGES_WITHIN_MS.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from heapq import heappop, heappush
from random import Random
from typing import Any

from cluster.coordinator import values
from cluster.coordinator.runtime import Append, Dropped, Fail, Faulted, Perform, Respond, ShardRuntime
from cluster.coordinator.txn.records import transaction_from, transaction_record
from cluster.coordinator.txn.requests import EndTransaction, InitProducer, MarkersDone, TakePart, WriteMarkers
from cluster.coordinator.txn.settings import TransactionSettings
from cluster.coordinator.txn.shard import TransactionShard
from cluster.coordinator.txn.state import EPOCH_MAX, Producer, Status, Transaction
from cluster.coordinator.values import Encoded, Request
from pykafkacore.protocol.errors import ApiError, Code
from pykafkacore.protocol.errors import code_of as code_numbered
from pykafkacore.protocol.log_records import TRANSACTION_RECORDS
from pykafkacore.protocol.schemas import transactions as schemas
from tests.sim.txn_invariants import AT_THE_END, INVARIANTS, Memory
from tests.sim.txn_news import Appended, Committed, Logged, Place, Token, Told
from tests.sim.txn_partition import Partition
from tests.sim.txn_producers import Add, Answer, Init, SimProducer, Wait, Write

CONVERGES_WITHIN_MS = 100_000
GIVES_UP_AFTER_MS = 1_000
IDS = ("a", "b")
DAY_MS = 86_400_000


class InvariantViolated(AssertionError):
    pass


class TxnWorld:
    def __init__(self, seed: int, late_requests: bool = False, protocols: tuple[bool, ...] = (False, True)) -> None:
        """`protocols`: those that producers speak; True is the new one."""
        self.seed = seed
        self.random = random = Random(seed)
        self.late_requests = late_requests
        self.protocols = protocols
        self.now = 1_000_000
        self.wall_ms = 0
        self.turned_back_ms = 0
        self.step_count = 0
        self.faults = random.choice((0.0, 0.05, 0.2, 0.35))
        self.crash_chance = random.choice((0.0, 0.02, 0.2))
        self.replication_ms = random.choice((0, 0, 10, 150))
        self.marker_ms = random.choice((2, 40, 400))
        self.crowd = random.choice((1, 2, 5))
        self.transaction_version = random.choice((0, 1, 2, 2))
        self.settings = TransactionSettings(abort_timed_out_interval_ms=1_000, remove_expired_interval_ms=10_000)
        self.log: list[Encoded] = []
        self._batch_ends: list[int] = [0]
        self.high_watermark = 0
        self.leader_epoch = 0
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._order = 0
        self._ticket = 0
        self._under_way: set[tuple[WriteMarkers, Place]] = set()
        self._waiting: dict[int, Callable[[Any], None]] = {}
        self._spare = 1_000
        self._woken_at: int | None = None
        self._news: list[Any] = []
        self.memory = Memory()
        self.written: dict[Token, int] = {}
        self.running: set[int] = set()
        self._clients = 0
        self.is_winding_down = False
        places = [("t", 0), ("t", 1), ("u", 0)][: random.randint(1, 3)]
        self.partitions = {place: Partition(place, self._verify, self.tell) for place in places}
        self._begin_log()
        self.runtime = ShardRuntime(values.encode, Code.NOT_COORDINATOR, size=values.encoded_bytes)
        self._start()

    def _begin_log(self) -> None:
        """Some ids have a long past."""
        for name in IDS:
            if self.random.random() < 0.3:
                self._spare += 1
                epoch = EPOCH_MAX - self.random.randint(1, 6)
                past = Transaction(name, self._spare, epoch, 60_000, Status.EMPTY, self.time())
                self.log.append(values.encode(transaction_record(past, self.transaction_version)))
                self._tell_log(Logged, len(self.log) - 1, len(self.log))
        self.high_watermark = len(self.log)
        self._batch_ends.append(len(self.log))

    # --- time ---------------------------------------------------------------------------------------------------------------

    def time(self) -> int:
        """As the coordinator's clock has it."""
        return self.now + self.wall_ms

    def after(self, delay_ms: int, action: Callable[[], None]) -> None:
        self._order += 1
        heappush(self._events, (self.now + delay_ms, self._order, action))

    def run(self, duration_ms: int) -> None:
        end = self.now + duration_ms
        while self._events and self._events[0][0] <= end:
            self.now, _, action = heappop(self._events)
            action()
            self.step_count += 1
            self._check()
        self.now = end

    def tell(self, news: Any) -> None:
        if isinstance(news, Appended):
            self.written[news.token] = self.written.get(news.token, 0) + 1
        self._news.append(news)

    def _check(self) -> None:
        if not self._news:
            return
        news, self._news = self._news, []
        for invariant in INVARIANTS:
            try:
                invariant(self.memory, news, self)
            except AssertionError as error:
                raise InvariantViolated(f"{invariant.__name__}: {error}") from error

    # --- the coordinator ----------------------------------------------------------------------------------------------------

    @property
    def shard(self) -> TransactionShard:
        return self.runtime.shard

    def replayed(self) -> TransactionShard:
        shard = TransactionShard(0, self.settings, lambda: self.transaction_version, self.leader_epoch)
        values.replay(shard, 0, (values.decode(key, value, TRANSACTION_RECORDS) for key, value in self.log))
        return shard

    def _start(self, leader_epoch: int | None = None) -> None:
        if not self.runtime.is_active and leader_epoch in (None, self.leader_epoch):
            self.leader_epoch += leader_epoch is None
            end = len(self.log)
            self._take(self.runtime.start(self.replayed(), self.leader_epoch, end, self.high_watermark, self.time()))
            self._replicate_later()

    def reload(self) -> None:
        """Leadership moves on: what was not replicated may be lost, in whole batches."""
        if not self.runtime.is_active:
            return
        self._take(self.runtime.stop("reload"))
        keep = self.random.choice([end for end in self._batch_ends if end >= self.high_watermark])
        del self.log[keep:]
        self._batch_ends = [end for end in self._batch_ends if end <= keep]
        self.after(self.random.choice((0, 1, 300)), self._start)

    def submit(self, make: Callable[[int], Any], answered: Callable[[Any], None]) -> None:
        self._ticket += 1
        ticket = self._ticket
        self._waiting[ticket] = answered
        self._take(self.runtime.submit(ticket, make(ticket), self.time()))
        if self.random.random() < 0.7:
            self._flush()
        else:
            self.after(self.random.choice((0, 3)), self._flush)

    def _flush(self) -> None:
        self._take(self.runtime.flush())
        self._arm()

    def _arm(self) -> None:
        deadline = self.runtime.deadline()
        if deadline is None:
            return
        at = max(self.now, deadline - self.wall_ms)
        if self._woken_at is None or self._woken_at > at:
            self._woken_at = at
            self.after(at - self.now, self._wake)

    def _wake(self) -> None:
        if self._woken_at is not None and self._woken_at <= self.now:
            self._woken_at = None
            if self.runtime.is_active:
                self._take(self.runtime.expire(self.time()))
        self._arm()

    def _take(self, effects: list[Any]) -> None:
        for effect in effects:
            if isinstance(effect, Append):
                self._append(effect)
            elif isinstance(effect, Respond | Fail):
                self._waiting.pop(effect.ticket)(effect.response if isinstance(effect, Respond) else effect.error)
            elif isinstance(effect, Perform):
                self._write_markers(effect.effect)
            elif isinstance(effect, Faulted):
                raise effect.exception
            else:
                assert isinstance(effect, Dropped)
        if self.runtime.is_active:
            self._arm()

    def _append(self, append: Append) -> None:
        if append.leader_epoch != self.leader_epoch or not self.runtime.is_active:
            return
        assert append.base_offset == len(self.log), "the runtime knows where it writes"
        if self.random.random() < self.crash_chance / 4:
            # The log refuses it: another shard is loaded within the same leader epoch.
            self._take(self.runtime.append_failed(append.leader_epoch, "no space"))
            self.after(self.random.choice((0, 1, 20)), lambda leader_epoch=self.leader_epoch: self._start(leader_epoch))
            return
        self.log.extend(append.records)
        self._batch_ends.append(len(self.log))
        self._tell_log(Logged, append.base_offset, len(self.log))
        if self.random.random() < self.crash_chance:
            self.after(self.random.choice((0, 0, 5, 50)), self.reload)
        self._replicate_later()

    def _replicate_later(self) -> None:
        delay = self.random.randint(0, self.replication_ms) if self.replication_ms else 0
        if delay:
            self.after(delay, lambda leader_epoch=self.leader_epoch, end=len(self.log): self._replicate(leader_epoch, end))
        else:
            self._replicate(self.leader_epoch, len(self.log))

    def _replicate(self, leader_epoch: int, end: int) -> None:
        if leader_epoch == self.leader_epoch and self.runtime.is_active and end > self.high_watermark:
            self._tell_log(Committed, self.high_watermark, end)
            self.high_watermark = end
            self._take(self.runtime.committed(end))
        elif leader_epoch == self.leader_epoch and self.runtime.is_active:
            self._take(self.runtime.committed(self.high_watermark))

    def _tell_log(self, news: Any, start: int, end: int) -> None:
        for key, value in self.log[start:end]:
            record = values.decode(key, value, TRANSACTION_RECORDS)
            assert record is not None
            self.tell(news(record.key.transactional_id, transaction_from(record)))

    # --- its host: markers --------------------------------------------------------------------------------------------------

    def _write_markers(self, asked: WriteMarkers) -> None:
        for place in asked.partitions:
            if (asked, place) not in self._under_way:
                self._under_way.add((asked, place))
                self._send_marker(asked, place)

    def _send_marker(self, asked: WriteMarkers, place: Place) -> None:
        """Until it is known to be written, one copy at a time, and what an earlier coordinator sent may arrive still. By the
        new protocol strays may come as late as they like: their epoch tells them apart."""
        if self.random.random() < self.faults:
            self.after(self._marker_delay(), lambda: self._again(asked, place))
        else:
            self.after(self._marker_delay(), lambda: self._deliver_marker(asked, place))
        if asked.transaction_version >= 2 and self.random.random() < self.faults:
            stray_delay = self.random.choice((1, 40, 3_000, 20_000))
            self.after(stray_delay, lambda: self._deliver_marker(asked, place, is_stray=True))

    def _deliver_marker(self, asked: WriteMarkers, place: Place, is_stray: bool = False) -> None:
        code = self.partitions[place].write_marker(
            asked.producer_id, asked.producer_epoch, asked.commit, asked.coordinator_epoch, asked.transaction_version
        )
        if code == "NONE" and self.random.random() >= self.faults:
            done = MarkersDone(asked, (place,))
            self.after(self._marker_delay(), lambda: self._report(done))
            if self.faults and self.random.random() < 0.5:
                self.after(self.random.randint(1, 2_000), lambda: self._report(done))
        elif not is_stray:
            self.after(100 if code != "NONE" else self._marker_delay(), lambda: self._again(asked, place))

    def _again(self, asked: WriteMarkers, place: Place) -> None:
        current = self.runtime.shard.transactions.get(asked.transactional_id) if self.runtime.is_active else None
        is_open = current is not None and current.producer == Producer(asked.producer_id, asked.producer_epoch)
        is_open = is_open and current.status in (Status.PREPARE_COMMIT, Status.PREPARE_ABORT)
        if asked.coordinator_epoch == self.leader_epoch and is_open:
            self._send_marker(asked, place)
        else:
            self._under_way.discard((asked, place))

    def _report(self, done: MarkersDone) -> None:
        self._under_way -= {(done.markers, place) for place in done.partitions}
        self.submit(lambda ticket: done, lambda answer: None)

    def _marker_delay(self) -> int:
        return self.random.randint(1, self.marker_ms)

    # --- the network --------------------------------------------------------------------------------------------------------

    def _delay(self) -> int:
        return self.random.choice((1, 2, 5, 40))

    def _verify(self, place: Place, pid: int, epoch: int, is_new: bool, answered: Callable[[str], None]) -> None:
        """A partition asks about the first write of a transaction: by the old protocol it looks, by the new it adds."""
        name = self.memory.ids.get(pid, "unknown")
        asked = TakePart(name, Producer(pid, epoch), frozenset((place,)), not is_new)

        def request(ticket: int) -> TakePart:
            return asked

        def arrived(answer: Any) -> None:
            if self.random.random() >= self.faults:
                self.after(self._delay(), lambda: answered(_added_code(answer)))
            else:
                answered("NOT_ENOUGH_REPLICAS")

        if self.random.random() < self.faults:
            self.after(self._delay(), lambda: answered("NOT_ENOUGH_REPLICAS"))
        else:
            self.after(self._delay(), lambda: self.submit(request, arrived))
            if self.random.random() < self.faults:
                self.after(self._delay(), lambda: self.submit(request, lambda answer: None))

    def _add_request(self, name: str, producer: Producer, places: tuple[Place, ...]) -> Callable[[int], Any]:
        message = schemas.ADD_PARTITIONS_TO_TXN_REQUEST
        body = message(
            v3_and_below_transactional_id=name, v3_and_below_producer_id=producer.producer_id,
            v3_and_below_producer_epoch=producer.producer_epoch,
            v3_and_below_topics=[message.AddPartitionsToTxnTopic(name=t, partitions=[index]) for t, index in places],
        )  # fmt: skip
        return lambda ticket: Request(ticket, "AddPartitionsToTxn", 3, body)

    def send(self, client: SimProducer, what: Any, answered: Callable[[Answer], None]) -> None:
        """One try. By the old protocol it arrives before its client gives up, or never; by the new in as many copies and
        as late as it likes."""
        any_time = client.is_new or self.late_requests
        copies = 1 + (any_time and self.random.random() < self.faults)
        if self.random.random() < self.faults and not (any_time and copies > 1):
            return
        first = True
        for _ in range(copies):
            delay = self.random.choice((5, 40, 300, 3_000, 20_000)) if any_time and not first else self._delay()
            self.after(delay, lambda: self._deliver(client, what, answered))
            first = False

    def _deliver(self, client: SimProducer, what: Any, answered: Callable[[Answer], None]) -> None:
        def reply(answer: Answer) -> None:
            if self.random.random() >= self.faults:
                self.after(self._delay(), lambda: answered(answer))

        if isinstance(what, Write):
            producer = what.producer
            self.partitions[what.place].produce(
                producer.producer_id, producer.producer_epoch, what.sequence, what.token, client.is_new,
                lambda code: reply(Answer(code)),
            )  # fmt: skip
        else:
            self.submit(self._request(client, what), lambda answer: reply(self._read(client, what, answer)))

    def _request(self, client: SimProducer, what: Any) -> Callable[[int], Any]:
        name = client.transactional_id
        if isinstance(what, Add):
            return self._add_request(name, what.producer, what.places)
        self._spare += 1
        spare = self._spare
        if isinstance(what, Init):
            shows = what.shows or Producer(-1, -1)
            init = schemas.INIT_PRODUCER_ID_REQUEST(
                transactional_id=name, transaction_timeout_ms=what.timeout_ms, producer_id=shows.producer_id,
                producer_epoch=shows.producer_epoch,
            )  # fmt: skip
            return lambda ticket: InitProducer(Request(ticket, "InitProducerId", 5, init), spare)
        end = schemas.END_TXN_REQUEST(
            transactional_id=name, producer_id=what.producer.producer_id, producer_epoch=what.producer.producer_epoch,
            committed=what.commit,
        )  # fmt: skip
        version = 5 if client.is_new else 4
        return lambda ticket: EndTransaction(Request(ticket, "EndTxn", version, end), spare)

    def _read(self, client: SimProducer, what: Any, answer: Any) -> Answer:
        if isinstance(what, Add):
            return Answer(_added_code(answer))
        if isinstance(answer, ApiError):
            return Answer(answer.code.name)
        producer = Producer(answer.producer_id, answer.producer_epoch)
        if producer.producer_id >= 0:
            told = Told(
                client.transactional_id, client.number, isinstance(what, Init), producer.producer_id, producer.producer_epoch
            )
            self.tell(told)
        return Answer("NONE", producer)

    # --- producers ----------------------------------------------------------------------------------------------------------

    def spawn(self) -> None:
        self._clients += 1
        is_new = self.random.choice(self.protocols)
        client = SimProducer(self, self._clients, self.random.choice(IDS), is_new, Random(self.random.randrange(2**32)))
        dies_at = self.now + self.random.choice((100, 1_000, 10_000, 10**9))
        self.running.add(client.number)
        self._drive(client, client.run(), None, dies_at)

    def _drive(self, client: SimProducer, steps: Any, answer: Answer | None, dies_at: int) -> None:
        if self.now >= dies_at:
            self.running.discard(client.number)
            return
        try:
            what = steps.send(answer)
        except StopIteration:
            self.running.discard(client.number)
            return
        if isinstance(what, Wait):
            self.after(what.ms, lambda: self._drive(client, steps, None, dies_at))
            return
        is_over = [False]

        def once(answer: Answer | None) -> None:
            if not is_over[0]:
                is_over[0] = True
                self._drive(client, steps, answer, dies_at)

        self.send(client, what, once)
        self.after(GIVES_UP_AFTER_MS, lambda: once(None))

    # --- mishaps ------------------------------------------------------------------------------------------------------------

    def wreak(self) -> None:
        choice = self.random.randrange(10)
        if choice < self.crowd or not self.running:
            self.spawn()
        elif choice == 5:
            self.reload()
        elif choice == 6:
            jump_ms = (-30_000, 2_000, 70_000, 70_000, 8 * DAY_MS)
            before, self.wall_ms = self.wall_ms, max(0, self.wall_ms + self.random.choice(jump_ms))
            self.turned_back_ms += max(0, before - self.wall_ms)
            self._arm()
        elif choice == 7:
            self.transaction_version = 2

    def heal(self) -> None:
        self.faults = self.crash_chance = 0.0
        self.is_winding_down = True


def _added_code(answer: Any) -> str:
    """The worst of the partitions' codes."""
    if isinstance(answer, ApiError):
        return answer.code.name
    if isinstance(answer, dict):
        codes = set(answer.values())
    else:
        topics = answer.results_by_topic_v3_and_below
        codes = {row.partition_error_code for topic in topics for row in topic.results_by_partition}
    return code_numbered(max(codes)).name


def simulate(seed: int, rounds: int = 30, **shape: Any) -> TxnWorld:
    """A run of faults, then of healing. Raises what is wrong, with the line that replays it."""
    try:
        world = TxnWorld(seed, **shape)
        for _ in range(rounds):
            world.wreak()
            world.run(world.random.choice((20, 200, 1_500)))
        world.heal()
        world.run(CONVERGES_WITHIN_MS + world.turned_back_ms)
        for invariant in AT_THE_END:
            try:
                invariant(world)
            except AssertionError as error:
                raise InvariantViolated(f"{invariant.__name__}: {error}") from error
    except Exception as error:
        error.add_note(f"replay: python -m tests.sim.txn --seed {seed} --rounds {rounds}")
        raise
    return world


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=1, help="how many, from --seed on")
    parser.add_argument("--rounds", type=int, default=30)
    arguments = parser.parse_args()
    steps = transactions = commits = 0
    for seed in range(arguments.seed, arguments.seed + arguments.seeds):
        world = simulate(seed, arguments.rounds)
        steps += world.step_count
        transactions += len(world.written)
        commits += sum(world.memory.outcomes.values())
    print(f"{arguments.seeds} seeds, {steps} steps, {transactions} transactions, {commits} committed: all invariants held")


if __name__ == "__main__":
    main()
