"""New offsets for groups without members: what `kafka-consumer-groups --reset-offsets` plans and commits.

What it is: scopes (topics, partitions, a file), methods (a table), the plan as text and as CSV.
What it is not: the command's options (consumer_groups.py). Offsets beyond the ends of a log are moved to them.
KAFKA: plans are printed in the order of Java's hash maps.
"""

from __future__ import annotations

import csv
import io
import sys
from typing import TYPE_CHECKING

from pykafkacore.tools.common import ToolError, java_hash_order
from pykafkacore.tools.java import (
    WRAPPED,
    Mistake,
    parse_date,
    parse_duration,
    partition_order,
    told_as_java,
    words_of,
)
from pykafkacore.tools.shown_groups import print_error

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence

    from pykafkacore.client import Client

Place = tuple[str, int]
Plan = dict[Place, int]
CAN_BE_RESET = ("Empty", "Dead")
SCENARIOS = "[to-offset], [shift-by], [to-datetime], [by-duration], [to-earliest], [to-latest], [to-current], [from-file]"
LONG_MAX = 2**63 - 1


# ---- partitions


def parse_partitions(text: str) -> list[Place]:
    """The partitions of `topic:0,1`."""
    parts = text.rstrip(":").split(":")
    if len(parts) != 2:
        raise Mistake(f"Invalid topic arg '{text}', expected topic name and partitions")
    topic, partitions = parts
    found = []
    for one in partitions.rstrip(",").split(","):
        try:
            found.append((topic, int(one)))
        except ValueError:
            # KAFKA: two quotes at the end.
            raise Mistake(f"Invalid partition '{one}' specified in topic arg '{text}''") from None
    return found


async def find_topics(client: Client, names: Iterable[str]) -> dict[str, dict[int, int | None]]:
    """The leader, if there is one, of every partition of these topics; ApiError when one is not there."""
    from pykafkacore.protocol.errors import ApiError, Code

    wanted = list(dict.fromkeys(names))
    known = (await client.refresh_metadata(wanted)).topics if wanted else {}
    for name in wanted:
        if known[name].error is not Code.NONE and not known[name].partitions:
            raise ApiError(known[name].error)
    return {
        name: {
            partition: known_as.leader_id if known_as.leader_id >= 0 else None
            for partition, known_as in known[name].partitions.items()
        }
        for name in wanted
    }


async def find_leaders(client: Client, places: Collection[Place]) -> dict[Place, int | None]:
    """The leader of each of these; None also where there is no such partition."""
    topics = await find_topics(client, (topic for topic, _ in places))
    return {(topic, partition): topics[topic].get(partition) for topic, partition in places}


async def partitions_of(client: Client, names: Sequence[str]) -> list[Place]:
    topics = await find_topics(client, names)
    return [(name, partition) for name in java_hash_order(topics, is_sized=True) for partition in sorted(topics[name])]


async def _check_partitions(client: Client, places: Sequence[Place]) -> None:
    with told_as_java(WRAPPED):
        topics = await find_topics(client, (topic for topic, _ in places))
    missing = [place for place in places if place[1] not in topics[place[0]]]
    if missing:
        raise ToolError(f'The partitions "{_names(missing)}" do not exist')
    without = [place for place in places if topics[place[0]][place[1]] is None]
    if without:
        raise ToolError(f'The partitions "{_names(without)}" have no leader')


def _names(places: Iterable[Place]) -> str:
    return ",".join(f"{topic}-{partition}" for topic, partition in places)


# ---- offsets of logs


async def log_offsets(client: Client, places: Collection[Place], timestamp: int) -> Plan:
    """Where the logs of these partitions are for a timestamp, EARLIEST or LATEST."""
    from pykafkacore.client.offsets import list_offsets
    from pykafkacore.protocol.errors import ApiError

    with told_as_java(WRAPPED):
        found = await list_offsets(client, dict.fromkeys(places, timestamp))
        plan: Plan = {}
        for place, offset in found.items():
            if isinstance(offset, ApiError):
                raise offset
            plan[place] = offset
    return plan


async def _within(client: Client, wanted: Mapping[Place, int]) -> Plan:
    """The offsets that are wanted, or the nearest that their logs have, with a word about it."""
    from pykafkacore.client.client import EARLIEST, LATEST

    starts = await log_offsets(client, wanted, EARLIEST)
    ends = await log_offsets(client, wanted, LATEST)
    plan: Plan = {}
    for place, offset in wanted.items():
        plan[place] = min(max(offset, starts[place]), ends[place])
        if plan[place] != offset:
            how = "higher than latest" if offset > ends[place] else "lower than earliest"
            told = f"New offset ({offset}) is {how} offset for topic partition {_names([place])}."
            print(f"WARN {told} Value will be set to {plan[place]}.", file=sys.stderr)
    return plan


async def _at_time(client: Client, places: Sequence[Place], timestamp_ms: int) -> Plan:
    from pykafkacore.client.client import LATEST

    found = await log_offsets(client, places, timestamp_ms)
    later = [place for place in partition_order(found) if found[place] < 0]
    for topic, partition in later:
        print(f"\nWarn: Partition {partition} from topic {topic} is empty. Falling back to latest known offset.")
    return {**found, **await log_offsets(client, later, LATEST)}


# ---- the methods


async def _to_offset(client: Client, options: Namespace, group_id: str, places: Sequence[Place]) -> Plan:
    return await _within(client, dict.fromkeys(places, options.to_offset[0]))


async def _to_earliest(client: Client, options: Namespace, group_id: str, places: Sequence[Place]) -> Plan:
    from pykafkacore.client.client import EARLIEST

    return await log_offsets(client, places, EARLIEST)


async def _to_latest(client: Client, options: Namespace, group_id: str, places: Sequence[Place]) -> Plan:
    from pykafkacore.client.client import LATEST

    return await log_offsets(client, places, LATEST)


async def _shift_by(client: Client, options: Namespace, group_id: str, places: Sequence[Place]) -> Plan:
    committed = await _committed(client, group_id)
    wanted = {}
    for place in places:
        if place not in committed:
            name = _names([place])
            raise Mistake(f"Cannot shift offset for partition {name} since there is no current committed offset")
        wanted[place] = committed[place] + options.shift_by
    return await _within(client, wanted)


async def _to_datetime(client: Client, options: Namespace, group_id: str, places: Sequence[Place]) -> Plan:
    try:
        timestamp_ms = parse_date(options.to_datetime[0])
    except ValueError as error:
        raise ToolError(f"java.text.ParseException: {error}") from None
    return await _at_time(client, places, timestamp_ms)


async def _by_duration(client: Client, options: Namespace, group_id: str, places: Sequence[Place]) -> Plan:
    from time import time_ns

    try:
        duration_ms = parse_duration(options.by_duration)
    except ValueError as error:
        raise ToolError(str(error)) from None
    return await _at_time(client, places, time_ns() // 1_000_000 - duration_ms)


async def _to_current(client: Client, options: Namespace, group_id: str, places: Sequence[Place]) -> Plan:
    from pykafkacore.client.client import LATEST

    committed = await _committed(client, group_id)
    plan = {place: committed[place] for place in places if place in committed}
    return {**plan, **await log_offsets(client, [place for place in places if place not in committed], LATEST)}


async def _from_file(client: Client, options: Namespace, group_id: str, places: Sequence[Place]) -> Plan:
    plans = read_plans(options.from_file[0], options.group or [])
    if group_id not in plans:
        print_error(f"No reset plan for group {group_id} found")
        return {}
    return await _within(client, plans[group_id])


METHODS: dict[str, Callable[[Client, Namespace, str, Sequence[Place]], Awaitable[Plan]]] = {
    "to_offset": _to_offset,
    "to_earliest": _to_earliest,
    "to_latest": _to_latest,
    "shift_by": _shift_by,
    "to_datetime": _to_datetime,
    "by_duration": _by_duration,
    "from_file": _from_file,
    "to_current": _to_current,
}


# ---- groups


async def reset_groups(client: Client, options: Namespace, group_ids: Sequence[str]) -> dict[str, Plan]:
    """The plan of each group, committed if that is what the options say."""
    from pykafkacore.client.groups import describe_group
    from pykafkacore.protocol.errors import ApiError, Code

    plans: dict[str, Plan] = {}
    for group_id in group_ids:
        state = "Dead"
        with told_as_java(WRAPPED):
            try:
                state = (await describe_group(client, group_id)).state
            except ApiError as error:
                if error.code is not Code.GROUP_ID_NOT_FOUND:
                    raise
        if state in CAN_BE_RESET:
            plans[group_id] = await _reset_group(client, options, group_id)
            continue
        print_error(
            f"Assignments can only be reset if the group '{group_id}' is inactive, but the current state is {state}."
        )
        plans[group_id] = {}
    return plans


async def _reset_group(client: Client, options: Namespace, group_id: str) -> Plan:
    from pykafkacore.client.groups import commit_offsets
    from pykafkacore.protocol.errors import ApiError

    try:
        places = await _scope(client, options, group_id)
        await _check_partitions(client, places)
        method = next((name for name in METHODS if getattr(options, name) not in (None, False)), None)
        if method is None:
            raise Mistake(f"Option '[reset-offsets]' requires one of the following scenarios: [{SCENARIOS}]")
        found = await METHODS[method](client, options, group_id, places)
        plan = {place: found[place] for place in partition_order(found)}
        if options.execute:
            refused = await commit_offsets(client, group_id, plan)
            if refused:
                order = [f"{topic}-{partition}" for topic, partition in partition_order(refused)]
                told = f"Failed altering group offsets for the following partitions: [{', '.join(order)}]"
                raise ApiError(refused[partition_order(refused)[0]], told)
    except ApiError as error:
        raise ToolError(words_of(error)) from None
    return plan


async def _scope(client: Client, options: Namespace, group_id: str) -> list[Place]:
    if options.all_topics:
        return partition_order(await _committed(client, group_id))
    if options.topic is not None:
        named = [place for text in options.topic if ":" in text for place in parse_partitions(text)]
        return named + await partitions_of(client, [text for text in options.topic if ":" not in text])
    if options.from_file is None:
        raise Mistake("One of the reset scopes should be defined: --all-topics, --topic.")
    return []


async def _committed(client: Client, group_id: str) -> Plan:
    from pykafkacore.client.groups import fetch_committed

    with told_as_java(WRAPPED):
        return {place: found.offset for place, found in (await fetch_committed(client, group_id)).items()}


# ---- plans as text


def print_plan(plans: Mapping[str, Plan]) -> None:
    group_width = max([15, *map(len, plans)])
    topic_width = max([15, *(len(topic) for plan in plans.values() for topic, _ in plan)])
    rows = [("GROUP", "TOPIC", "PARTITION", "NEW-OFFSET")] if plans else []
    for group_id, plan in plans.items():
        rows += [(group_id, topic, str(partition), str(offset)) for (topic, partition), offset in plan.items()]
    for group_id, topic, partition, offset in rows:
        print(f"\n{group_id:<{group_width}} {topic:<{topic_width}} {partition:<10} {offset}", end="")
    print()


def print_csv(plans: Mapping[str, Plan], is_single: bool) -> None:
    """Without the group where there is but one."""
    for group_id, plan in plans.items():
        for (topic, partition), offset in plan.items():
            texts = [topic] if is_single else [group_id, topic]
            print(",".join([*map(_csv_text, texts), str(partition), str(offset)]))
    print()


def _csv_text(text: str) -> str:
    """KAFKA: quoted when it is long, without asking what is in it."""
    if len(text) > 24 or not text or any(char <= "," for char in text):
        return '"' + text.replace('"', '""') + '"'
    return text


def read_plans(path: str, group_ids: Sequence[str]) -> dict[str, Plan]:
    """Lines `topic,partition,offset` for a single group, or `group,topic,partition,offset`."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = list(csv.reader(io.StringIO(file.read())))
    except OSError as error:
        raise ToolError(f"java.nio.file.NoSuchFileException: {path}: {error.strerror}") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise ToolError(f"{path}: {error}") from None
    while rows and not rows[-1]:
        rows.pop()
    is_old = bool(rows) and len(rows[0]) <= 3 and len(group_ids) == 1
    form = "topic,partition,offset" if is_old else "group,topic,partition,offset"
    plans: dict[str, Plan] = {}
    for number, row in enumerate(rows, 1):
        *names, partition, offset = row if len(row) == (3 if is_old else 4) else [""] * 4
        if not names[-1] or not partition.isdecimal() or not offset.isdecimal() or int(offset) > LONG_MAX:
            raise ToolError(f"{path}, line {number}: {','.join(row)} is not {form}")
        group_id = group_ids[0] if is_old else names[0]
        plans.setdefault(group_id, {})[names[-1], int(partition)] = int(offset)
    return plans
