"""Transactional producers over raw sockets, by the protocol of KIP-890, so cheap that the coordinator is what is measured.

    Produce (which opens the transaction) --acknowledged--> EndTxn --acknowledged, the next epoch--> Produce ...

INVARIANT: one request under way for each producer. One that is told CONCURRENT_TRANSACTIONS, for the markers of its last
transaction are not written yet, asks again as clients do: a little later.
"""

from __future__ import annotations

import selectors
import struct
import time
from heapq import heappop, heappush

from pykafkacore import _core
from pykafkacore.protocol.apis import api
from pykafkacore.protocol.headers import decode_response
from tests.support.wire import Wire, request_frame

PRODUCE, PRODUCE_VERSION = api("Produce"), 12
END_TXN, END_TXN_VERSION = api("EndTxn"), 5
# CONCURRENT_TRANSACTIONS
CONCURRENT, RETRY_S = 51, 0.02
# COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR
NOT_YET = frozenset({14, 15, 16, CONCURRENT})

RECORDS = [(1, None, b"v" * 100, [])] * 10


class Producer:
    """One transactional id on a connection of its own, which writes to one partition."""

    def __init__(self, port: int, name: str, topic: str, partition: int) -> None:
        self.wire, self.name = Wire(port), name
        message = PRODUCE.request
        self._data = message.PartitionProduceData(index=partition)
        row = message.TopicProduceData(name=topic, partition_data=[self._data])
        self._produce = message(transactional_id=name, acks=-1, timeout_ms=10_000, topic_data=[row])
        # header, throttle or the one topic, its name, the one partition, its index
        self._error_at = 4 + 1 + 1 + 1 + len(topic) + 1 + 4
        self.is_ending, self.began, self.due = False, 0.0, 0.0
        self.producer_id, self.producer_epoch = self._init()

    def _init(self) -> tuple[int, int]:
        body = api("InitProducerId").request(transactional_id=self.name, transaction_timeout_ms=60_000)
        while (told := self.wire.ask("InitProducerId", 5, body)).error_code:
            assert told.error_code in NOT_YET, told
            time.sleep(0.02)
        return told.producer_id, told.producer_epoch

    def speak(self) -> None:
        if self.is_ending:
            body = END_TXN.request(
                transactional_id=self.name, producer_id=self.producer_id, producer_epoch=self.producer_epoch, committed=True
            )
            self.wire.send(request_frame(END_TXN.name, END_TXN_VERSION, body))
            return
        self._data.records = _core.build_batch(
            RECORDS, transactional=True, producer_id=self.producer_id, producer_epoch=self.producer_epoch, base_sequence=0
        )
        self.wire.send(request_frame(PRODUCE.name, PRODUCE_VERSION, self._produce))

    def hear(self) -> int:
        """Takes the answer; its error code."""
        answer = self.wire.receive()
        if not self.is_ending:
            [code] = struct.unpack_from(">h", answer, self._error_at)
            self.is_ending = code == 0
            return code
        told = decode_response(END_TXN, END_TXN_VERSION, answer)[1]
        if told.error_code == 0:
            self.producer_id, self.producer_epoch = told.producer_id, told.producer_epoch
            self.is_ending = False
        return int(told.error_code)


def transactions(port: int, topic: str, producers: int, partitions: int, seconds: float) -> tuple[list[float], int, float]:
    """(seconds of each transaction, how often one was told to come again, seconds in all)"""
    crowd = [Producer(port, f"producer-{number}", topic, number % partitions) for number in range(producers)]
    selector = selectors.DefaultSelector()
    start = time.perf_counter()
    for each in crowd:
        selector.register(each.wire.socket, selectors.EVENT_READ, each)
        each.began = start
        each.speak()
    found: list[float] = []
    turned_back: list[tuple[float, int, Producer]] = []
    refusals, under_way, end = 0, producers, start + seconds
    while under_way:
        now = time.perf_counter()
        while turned_back and turned_back[0][0] <= now:
            heappop(turned_back)[2].speak()
        for key, _ in selector.select(max(0.0, turned_back[0][0] - now) if turned_back else 1):
            producer = key.data
            code = producer.hear()
            now = time.perf_counter()
            if code == CONCURRENT:
                refusals += 1
                heappush(turned_back, (now + RETRY_S, refusals, producer))
                continue
            assert code == 0, f"{producer.name}: error {code}"
            if not producer.is_ending:
                found.append(now - producer.began)
                producer.began = now
                if now >= end:
                    under_way -= 1
                    continue
            producer.speak()
    elapsed = time.perf_counter() - start
    selector.close()
    for each in crowd:
        each.wire.close()
    return found, refusals, elapsed
