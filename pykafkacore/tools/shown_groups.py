"""What kafka-consumer-groups prints: tables of groups, of their offsets, members and state, and what was deleted.

What it is: rows in, text out.
What it is not: asking anybody (consumer_groups.py). KAFKA: the tables, with every blank and empty line of them.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from msgspec import Struct

from pykafkacore.tools.common import ToolError
from pykafkacore.tools.java import WORDS, exception_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pykafkacore.client.groups import CommittedOffset, DescribedGroup, GroupMember, ListedGroup
    from pykafkacore.protocol.errors import ApiError, Code

MISSING = "-"
Place = tuple[str, int]
REBALANCING = frozenset(["PreparingRebalance", "CompletingRebalance", "Assigning", "Reconciling"])


class OffsetRow(Struct, frozen=True):
    """A partition as a group stands to it; what is not known is None."""

    place: Place
    committed: CommittedOffset | None
    log_end_offset: int | None
    member_id: str
    host: str
    client_id: str

    @property
    def lag(self) -> int | None:
        if self.committed is None or self.log_end_offset is None:
            return None
        return self.log_end_offset - self.committed.offset


def print_error(message: str) -> None:
    print(f"\nError: {message}")


def _row(widths: Sequence[int], cells: Sequence[object]) -> str:
    """Cells side by side, the last as long as it is."""
    padded = [f"{cell:<{width}}" for cell, width in zip(map(str, cells), widths, strict=False)]
    return " ".join([*padded, *map(str, cells[len(widths) :])])


def _shown(value: object) -> str:
    return MISSING if value is None else str(value)


def _width(least: int, texts: Iterable[str]) -> int:
    return max([least, *map(len, texts)])


def _has_more_to_tell(group: DescribedGroup, row_count: int) -> bool:
    """Says what there is to say of the state; whether there are rows to print besides."""
    name = group.group_id
    if group.state == "Dead":
        print_error(f"Consumer group '{name}' does not exist.")
    elif group.state == "Empty":
        print(f"\nConsumer group '{name}' has no active members.", file=sys.stderr)
    elif group.state in REBALANCING:
        print(f"\nWarning: Consumer group '{name}' is rebalancing.", file=sys.stderr)
    elif group.state != "Stable":
        raise ToolError(f"Expected a valid consumer group state, but found '{group.state}'.")
    return group.state != "Dead" and row_count > 0


# ---- list


def print_list(groups: Sequence[ListedGroup], with_type: bool, with_state: bool) -> None:
    width = _width(15, (group.group_id for group in groups)) + 10
    columns = [(width, "GROUP", lambda group: group.group_id)]
    if with_type:
        columns.append((20, "TYPE", lambda group: group.type.capitalize() or "Unknown"))
    if with_state:
        columns.append((20, "STATE", lambda group: group.state or "Unknown"))
    widths = [width for width, _, _ in columns]
    print(_row(widths, [name for _, name, _ in columns]))
    for group in groups:
        print(_row(widths, [value(group) for _, _, value in columns]))


# ---- describe


def print_offsets(group: DescribedGroup, rows: Sequence[OffsetRow], verbose: bool) -> None:
    if not _has_more_to_tell(group, len(rows)):
        return
    epoch = ["LEADER-EPOCH"] if verbose else []
    lines = [
        ["GROUP", "TOPIC", "PARTITION", *epoch, "CURRENT-OFFSET", "LOG-END-OFFSET", "LAG", "CONSUMER-ID", "HOST", "CLIENT-ID"]
    ]
    for row in rows:
        topic, partition = row.place
        committed = row.committed
        epoch = [_shown(committed and committed.leader_epoch)] if verbose else []
        offset = None if committed is None else committed.offset
        lines.append([
            group.group_id, topic, str(partition), *epoch, _shown(offset), _shown(row.log_end_offset), _shown(row.lag),
            row.member_id, row.host, row.client_id,
        ])  # fmt: skip
    widths = [
        _width(15, [group.group_id]), _width(15, (row.place[0] for row in rows)), 10, *[15] * (4 if verbose else 3),
        _width(15, (row.member_id for row in rows)), _width(15, (row.host for row in rows)),
    ]  # fmt: skip
    for line in lines:
        print(f"\n{_row(widths, line)}", end="")
    print()


def assignment_text(places: Iterable[Place]) -> str:
    """`a:0,1;b:2`, or `-`."""
    topics: dict[str, list[int]] = {}
    for topic, partition in sorted(set(places)):
        topics.setdefault(topic, []).append(partition)
    texts = (f"{topic}:{','.join(map(str, partitions))}" for topic, partitions in topics.items())
    return ";".join(sorted(texts)) or MISSING


def print_members(group: DescribedGroup, verbose: bool) -> None:
    members = group.members
    # KAFKA: a group without members gets the headings all the same, in their least widths.
    measured = members if _has_more_to_tell(group, len(members)) else ()
    with_instance = any(member.instance_id for member in measured)
    kinds = {member.is_upgraded for member in measured}
    is_migrating = {True, False} <= kinds
    instance_width = [_width(17, (member.instance_id or "" for member in measured))] if with_instance else []
    widths = [
        _width(15, (group.group_id for _ in measured)), _width(15, (member.member_id for member in measured)), *instance_width,
        _width(15, (member.client_host for member in measured)), _width(15, (member.client_id for member in measured)), 15,
    ]  # fmt: skip
    more_widths = [
        15, _width(20, (assignment_text(member.assignment) for member in measured)),
        15, _width(20, (assignment_text(member.target_assignment) for member in measured)),
    ]  # fmt: skip
    instance = ["GROUP-INSTANCE-ID"] if with_instance else []
    more = ["CURRENT-EPOCH", "CURRENT-ASSIGNMENT", "TARGET-EPOCH", "TARGET-ASSIGNMENT"] if verbose else []
    upgraded = ["UPGRADED"] if verbose and is_migrating else []
    print()

    def tell(cells: Sequence[object], rest: Sequence[object]) -> None:
        print(f"{_row(widths, cells)} {_row(more_widths, rest)}")

    tell(["GROUP", "CONSUMER-ID", *instance, "HOST", "CLIENT-ID", "#PARTITIONS"], [*more, *upgraded])
    for member in members:
        cells = [
            group.group_id, member.member_id, *([member.instance_id or ""] if with_instance else []),
            member.client_host, member.client_id, len(set(member.assignment)),
        ]  # fmt: skip
        tell(cells, _epochs(group, member, is_migrating) if verbose else [])


def _epochs(group: DescribedGroup, member: GroupMember, is_migrating: bool) -> list[str]:
    upgraded = [_shown(None if member.is_upgraded is None else str(member.is_upgraded).lower())] if is_migrating else []
    return [
        _shown(member.member_epoch), assignment_text(member.assignment),
        _shown(group.assignment_epoch), assignment_text(member.target_assignment), *upgraded,
    ]  # fmt: skip


def print_state(group: DescribedGroup, verbose: bool) -> None:
    if not _has_more_to_tell(group, 1):
        return
    where = group.coordinator
    coordinator = f"{where.host}:{where.port}  ({where.node_id})"
    epochs = ["GROUP-EPOCH", "TARGET-ASSIGNMENT-EPOCH"] if verbose else []
    values = [_shown(group.group_epoch), _shown(group.assignment_epoch)] if verbose else []
    widths = [_width(15, [group.group_id]), _width(25, [coordinator]), 20, 20, *([15, 25] if verbose else [])]
    print("\n" + _row(widths, ["GROUP", "COORDINATOR (ID)", "ASSIGNMENT-STRATEGY", "STATE", *epochs, "#MEMBERS"]))
    assignor = group.assignor or MISSING
    print(_row(widths, [group.group_id, coordinator, assignor, group.state, *values, len(group.members)]))


# ---- deleted offsets

OF_THE_GROUP = frozenset(["INVALID_GROUP_ID", "GROUP_ID_NOT_FOUND", "GROUP_AUTHORIZATION_FAILED", "NON_EMPTY_GROUP"])
OF_A_PARTITION = frozenset(["GROUP_SUBSCRIBED_TO_TOPIC", "TOPIC_AUTHORIZATION_FAILED", "UNKNOWN_TOPIC_OR_PARTITION"])


def print_deletion(group_id: str, first: Code | None, results: Mapping[Place, ApiError | None]) -> None:
    """`first` is what went wrong with the group, or with the first partition. A topic that is not known has partition -1."""
    if first is None:
        print(f"Request succeeded for deleting offsets from group {group_id}.")
    elif first.name in OF_THE_GROUP:
        print_error(WORDS[first.name])
    elif first.name in OF_A_PARTITION:
        print_error("Encountered some partition-level error, see the follow-up details.")
    else:
        print_error(f"Encountered some unknown error: {first.name}")
    widths = [_width(15, (topic for topic, _ in results)), 10]
    lines: list[tuple[str, str, str]] = [("TOPIC", "PARTITION", "STATUS")]
    for topic, partition in sorted(results, key=lambda place: f"{place[0]}{place[1]}"):
        error = results[topic, partition]
        status = "Successful" if error is None else f"Error: {exception_text(error)}"
        lines.append((topic, str(partition) if partition >= 0 else MISSING, f"{status:<15}"))
    for line in lines:
        print(f"\n{_row(widths, (*line[:2], f'{line[2]:<15}'))}", end="")
    print()


# ---- regular expressions

# What Python calls a mistake, and RE2. KAFKA: one bracket too many is an internal error to it.
REASONS = {
    "missing ), unterminated subpattern": "missing closing )",
    "unbalanced parenthesis": "regexp/syntax: internal error",
    "unterminated character set": "missing closing ]",
    "nothing to repeat": "missing argument to repetition operator",
    "bad escape (end of pattern)": "trailing backslash at end of expression",
    "min repeat greater than max repeat": "invalid repeat count",
}
# What Python knows and RE2 does not.
UNKNOWN_TO_RE2 = {
    r"\(\?<[=!]": "invalid named capture",
    r"\(\?": "invalid or unsupported Perl syntax",
    r"\\\d": "invalid escape sequence",
}


def print_verdict(pattern: str) -> None:
    """Whether a pattern is one of RE2, as the brokers see it."""
    import re

    from pykafkacore._core import match_names

    if match_names(pattern, []) is not None:
        print(f"The regular expression `{pattern}` is valid.")
        return
    try:
        re.compile(pattern)
        unknown = (reason for form, reason in UNKNOWN_TO_RE2.items() if re.search(form, pattern))
        reason = next(unknown, "invalid or unsupported syntax")
    except re.error as error:
        reason = REASONS.get(error.msg, error.msg)
    print(f"The regular expression `{pattern}` is invalid: {reason}.")
