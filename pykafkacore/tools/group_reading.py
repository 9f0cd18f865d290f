"""Reading as a member of a group, for kafka-console-consumer: what is owned is fetched, what was printed is committed.

What it is: a membership, a Fetching that is begun anew whenever the share changes, and commits: every few seconds, before
partitions are given up, and at the end.
INVARIANT: only what has been printed is committed. What was fetched and not printed is fetched again by whoever comes next.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import trio

from pykafkacore.client.connection import ConnectionClosed
from pykafkacore.client.groups import commit_offsets, fetch_committed
from pykafkacore.client.membership import LOST, ClassicMembership, ConsumerMembership, Membership, Subscription
from pykafkacore.protocol.errors import ApiError, Code
from pykafkacore.tools.common import ToolError, int_property

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pykafkacore.client import Client
    from pykafkacore.tools.fetching import Fetching

COMMIT_INTERVAL_MS = 5_000
LAST_WORDS_S = 5
PROTOCOLS = ("classic", "consumer")
# A commit that comes too late: the partition is somebody else's by now, or will be read from the older offset.
TOO_LATE = frozenset([*LOST, Code.REBALANCE_IN_PROGRESS, Code.STALE_MEMBER_EPOCH])
Place = tuple[str, int]


def subscription(properties: Mapping[str, str], group_id: str, topic: str | None, pattern: str | None) -> Subscription:
    """What the settings of Kafka's consumers make of a membership. Either a topic is given or a pattern."""
    settings = dict(properties)
    chooses: Callable[[str], bool] | None = None
    if pattern is not None:
        from pykafkacore.tools.topics import topic_pattern

        compiled = topic_pattern(pattern)
        chooses = lambda name: compiled.fullmatch(name) is not None  # noqa: E731
        pattern = compiled.pattern
    return Subscription(
        group_id=group_id,
        topics=() if topic is None else (topic,),
        pattern=pattern,
        chooses=chooses,
        instance_id=settings.get("group.instance.id"),
        rack_id=settings.get("client.rack") or None,
        assignor=settings.get("group.remote.assignor"),
        session_timeout_ms=int_property(settings, "session.timeout.ms", 45_000),
        heartbeat_interval_ms=int_property(settings, "heartbeat.interval.ms", 3_000),
        rebalance_timeout_ms=int_property(settings, "max.poll.interval.ms", 300_000),
    )


def parse_protocol(properties: Mapping[str, str]) -> str:
    """KAFKA: classic, unless told otherwise."""
    protocol = properties.get("group.protocol", "classic")
    if protocol.lower() not in PROTOCOLS:
        allowed = ", ".join(each.upper() for each in PROTOCOLS)
        raise ToolError(
            f"Invalid value {protocol} for configuration group.protocol: String must be one of (case insensitive): {allowed}"
        )
    return protocol.lower()


def open_membership(client: Client, wants: Subscription, protocol: str) -> Membership:
    from uuid import uuid4

    from pykafkacore.protocol.types import uuid_to_text

    if protocol == "classic":
        return ClassicMembership(client, wants)
    return ConsumerMembership(client, wants, uuid_to_text(uuid4().bytes))


class GroupReading:
    """Runs until it is cancelled; `close` afterwards."""

    def __init__(
        self, client: Client, membership: Membership, group_id: str, fetching: Fetching, commit_interval_ms: int | None
    ) -> None:
        self._client = client
        self._membership = membership
        self._group_id = group_id
        self._fetching = fetching
        self._commit_interval_ms = commit_interval_ms
        self._printed: dict[Place, int] = {}
        self._committed: dict[Place, int] = {}
        self._owned: frozenset[Place] = frozenset()
        self._reading = trio.CancelScope()

    def note_printed(self, place: Place, next_offset: int) -> None:
        if place in self._owned:
            self._printed[place] = next_offset

    async def run(self) -> None:
        """The membership, the commits and the fetching, side by side; the first failure ends all of them."""
        failure: Exception | None = None
        async with trio.open_nursery() as nursery:

            async def guarded(work: Callable[..., Any], *arguments: Any) -> None:
                nonlocal failure
                try:
                    await work(*arguments)
                except Exception as error:  # carried around the nursery, which would wrap it
                    failure = failure or error
                    nursery.cancel_scope.cancel()

            async def change(owned: frozenset[Place]) -> None:
                await self._change(owned)
                if owned:
                    nursery.start_soon(guarded, self._read, self._reading)

            nursery.start_soon(guarded, self._membership.run, change)
            nursery.start_soon(guarded, self._commit_now_and_then)
        if failure is not None:
            raise failure

    async def _read(self, scope: trio.CancelScope) -> None:
        with scope:
            places = sorted(self._owned)
            for place in places:
                if place not in self._printed:
                    # KAFKA: it is committed even if nothing comes: who comes back later goes on from here.
                    self._printed[place] = await self._fetching.first_position(place)
            await self._fetching.run(places, self._printed)

    async def _change(self, owned: frozenset[Place]) -> None:
        """Stop reading, commit what leaves, and find out where to begin with what comes."""
        self._reading.cancel()
        self._reading = trio.CancelScope()
        gone, come = self._owned - owned, sorted(owned - self._owned)
        if gone:
            await self._commit(gone)
        self._owned = owned
        for known in (self._printed, self._committed):
            for place in [place for place in known if place not in owned]:
                del known[place]
        if come:
            committed = await fetch_committed(self._client, self._group_id, come, require_stable=True)
            self._committed |= {place: found.offset for place, found in committed.items()}
            self._printed |= {place: found.offset for place, found in committed.items()}

    # ---- commits

    async def _commit_now_and_then(self) -> None:
        if self._commit_interval_ms is None:
            return
        while True:
            await trio.sleep(self._commit_interval_ms / 1000)
            try:
                await self._commit(self._owned)
            except ApiError as error:
                if error.code is not Code.REQUEST_TIMED_OUT:
                    raise
                # It is tried again when the next is due.

    async def _commit(self, places: frozenset[Place]) -> None:
        if self._commit_interval_ms is None:
            return
        offsets = {
            place: offset
            for place, offset in self._printed.items()
            if place in places and offset != self._committed.get(place)
        }
        refused = await commit_offsets(
            self._client,
            self._group_id,
            offsets,
            member_id=self._membership.member_id,
            member_epoch=self._membership.member_epoch,
        )
        for code in refused.values():
            if code not in TOO_LATE:
                raise ApiError(code, f"offsets of group {self._group_id} cannot be committed")
        self._committed |= {place: offset for place, offset in offsets.items() if place not in refused}

    async def close(self) -> None:
        """Commit and leave, but not for ever: who does not answer will notice by itself that this member is gone."""
        with trio.move_on_after(LAST_WORDS_S) as limit:
            limit.shield = True
            try:
                await self._commit(self._owned)
                await self._membership.leave()
            except (ApiError, ConnectionClosed) as error:
                if not (isinstance(error, ApiError) and error.code in TOO_LATE):
                    print(f"group {self._group_id} was not left in order: {error}", file=sys.stderr)
