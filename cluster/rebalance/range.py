"""The range assignor: of every topic each subscriber gets one run of partitions, in the order of their names, so that
topics with equally many partitions are split alike (co-partitioning).

Sources: KIP-848 (range assignor).
"""

from __future__ import annotations

from collections.abc import Mapping

from pykafkacore.policies.assignor import GroupMember, SubscribedTopic


class RangeAssignor:
    name = "range"

    def configure(self, configs: Mapping[str, str]) -> None:
        pass

    def close(self) -> None:
        pass

    def assign(
        self, members: Mapping[str, GroupMember], topics: Mapping[bytes, SubscribedTopic]
    ) -> dict[str, dict[bytes, set[int]]]:
        # A static member keeps its place in the order when it comes back under another id.
        order = sorted(members.values(), key=lambda member: (member.instance_id or member.member_id, member.member_id))
        given: dict[str, dict[bytes, set[int]]] = {member.member_id: {} for member in order}
        for topic_id in sorted(topics):
            subscribers = [member for member in order if topic_id in member.topic_ids]
            if not subscribers:
                continue
            least, more = divmod(topics[topic_id].partition_count, len(subscribers))
            start = 0
            for at, member in enumerate(subscribers):
                end = start + least + (at < more)
                if end > start:
                    given[member.member_id][topic_id] = set(range(start, end))
                start = end
        return given
