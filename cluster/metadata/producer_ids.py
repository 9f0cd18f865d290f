"""Blocks of producer ids for brokers: each block is given out once, for ever. Pure."""

from __future__ import annotations

from cluster.metadata import records as r
from cluster.metadata.controller_state import ControllerRequest, ControllerState
from cluster.metadata.records import record
from cluster.shard import Outcome
from pykafkacore.protocol.apis import api
from pykafkacore.protocol.errors import ApiError, Code

BLOCK_LENGTH = 1000
PRODUCER_ID_MAX = 2**63 - 1


def allocate_producer_ids(state: ControllerState, request: ControllerRequest, now: int) -> Outcome:
    body, message = request.body, api("AllocateProducerIds").response
    try:
        state.check_broker_epoch(body.broker_id, body.broker_epoch)
        start = state.image.next_producer_id
        if start > PRODUCER_ID_MAX - BLOCK_LENGTH:
            raise ApiError(Code.UNKNOWN_SERVER_ERROR, "all producer ids are used up")
    except ApiError as error:
        return Outcome(response=message(error_code=int(error.code)))
    written = record(
        r.PRODUCER_IDS,
        broker_id=body.broker_id,
        broker_epoch=body.broker_epoch,
        next_producer_id=start + BLOCK_LENGTH,
    )
    return Outcome([written], message(producer_id_start=start, producer_id_len=BLOCK_LENGTH))
