"""THE TABLE of differences from Apache Kafka 4.4, each with its reason.

`case`, `field`, `ours` and `theirs` are patterns with *; an API of * stands for all. test_parity.py fails for a difference
that no row names, and for a row that no case shows any more. docs/DIFFERENCES.md says the same in prose: what this prints
(`python -m tests.compat.parity.differences`) stands there between two marks, and test_differences.py holds it to that.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

ON_CONTROLLER = "on a controller: "


@dataclass(frozen=True, slots=True)
class Difference:
    api: str
    case: str
    field: str
    ours: str
    theirs: str
    why: str
    is_meant: bool = True
    """False: a gap of ours, to be closed."""

    def covers(self, api: str, case: str, field: str, ours: str, theirs: str) -> bool:
        """A row of an API holds on the controllers' listener too."""
        apis = {api, api.removeprefix(ON_CONTROLLER)}
        if not any(fnmatchcase(each, self.api) for each in apis):
            return False
        pairs = ((case, self.case), (field, self.field), (ours, self.ours), (theirs, self.theirs))
        return all(fnmatchcase(text, pattern) for text, pattern in pairs)


def _rows(api: str, why: str, *rows: tuple[str, str, str, str], is_meant: bool = True) -> list[Difference]:
    """Rows of one reason: (case, field, ours, theirs)."""
    return [Difference(api, *row, why, is_meant) for row in rows]


_PART = "responses.partition_responses"
_READ = "responses.partitions"
_SERVER = "UNKNOWN_SERVER_ERROR"
_NOT_DECODED = (
    "records are opaque: they are decoded only where a rule of the topic needs to see them; the checksum holds them"
)
_PRECISE = "an error that names the fault instead of UNKNOWN_SERVER_ERROR"
_ANSWERED = "4.4 never answers; the connection would hang until the client gives up"
_BOTH = "what is asked twice is answered twice, in its places; 4.4 answers it once"

DIFFERENCES: tuple[Difference, ...] = (
    # --- everywhere
    *_rows("*", "a compact length of 2^31 and more is refused; 4.4 takes it for a negative number, and that for null",
           ("spoilt: * of length -2", "answer", "closed", "*")),
    *_rows("*", "says what is wrong where 4.4 gives no words",
           ("*", "*error_message", "some words", "null"), ("*", "*error_message", "some words", "")),
    # --- the data path
    *_rows("Produce", _ANSWERED, ("spoilt: *records null", "answer", "INVALID_RECORD", "silent"),
           ("spoilt: *records of length -2", "answer", "INVALID_RECORD", "silent")),
    *_rows("Produce", _NOT_DECODED,
           ("batch: record *", f"{_PART}.*", "*", "*"), ("batch: count and last offset too large", f"{_PART}.*", "*", "*"),
           ("batch: * without compression", f"{_PART}.*", "*", "*")),
    *_rows("Produce", _PRECISE, ("batch: codec [57]", f"{_PART}.error_code", "INVALID_RECORD", _SERVER),
           ("batch: * empty", f"{_PART}.error_code", "INVALID_RECORD", _SERVER)),
    *_rows("Produce", "nothing but one whole batch is stored; 4.4 ignores surplus bytes that are fewer than a header",
           ("batch: bytes after it", f"{_PART}.error_code", "INVALID_RECORD", "NONE"),
           ("batch: bytes after it", f"{_PART}.base_offset", "-1", "an offset")),
    *_rows("Produce", _BOTH, ("spoilt: topic_data twice", "responses*", "2 rows, NONE", "1 rows, NONE"),
           ("spoilt: topic_data.partition_data twice", _PART, "2 rows, NONE", "1 rows, NONE")),
    *_rows("Produce", "a batch that is cut counts as damaged on the way", *(
        (f"batch: {case}", f"{_PART}.error_code", "CORRUPT_MESSAGE", "INVALID_RECORD")
        for case in ("cut", "cut in its header", "length too large")), is_meant=False),
    *_rows("Produce", "an empty zstd batch from an old client is refused for being empty before it is for being zstd",
           ("batch: zstd empty", f"{_PART}.error_code", "INVALID_RECORD", "UNSUPPORTED_COMPRESSION_TYPE"), is_meant=False),
    *_rows("Produce", "a timestamp too far ahead refuses the batch without naming its records",
           ("batch: timestamp far ahead", f"{_PART}.record_errors", "0 rows, NONE", "3 rows, NONE"), is_meant=False),
    *_rows("Produce", "a batch that is refused for what it holds always comes with the log's start offset",
           ("*", f"{_PART}.log_start_offset", "0", "-1")),
    *_rows("Fetch", _PRECISE,
           ("*isolation[ _]level *", "responses*", "*INVALID_REQUEST", "*"),
           ("*isolation[ _]level *", "error_code", "NONE", _SERVER),
           ("spoilt: *partition_max_bytes -*", f"{_READ}.error_code", "INVALID_REQUEST", _SERVER),
           ("spoilt: *partition_max_bytes -*", f"{_READ}.aborted_transactions", "0 rows, NONE", "null")),
    *_rows("Fetch", "a negative limit is taken for 0, and the first batch is returned whole; 4.4 fails",
           ("spoilt: max_bytes -*", f"{_READ}.*", "*", "*")),
    *_rows("Fetch", "session epoch -1 asks for no session, whatever its id; 4.4 fails on the largest id",
           ("spoilt: session_id largest", "*", "*", "*")),
    *_rows("Fetch", _BOTH, ("spoilt: topics* twice", _READ, "2 rows, NONE", "1 rows, NONE")),
    *_rows("Fetch", "the leader is named with UNKNOWN_LEADER_EPOCH too: the client need not ask for metadata",
           *((case, field, "*", "*") for case in ("newer leader epoch", "spoilt: *current_leader_epoch largest")
             for field in (f"{_READ}.current_leader.*", "node_endpoints"))),
    *_rows("Fetch", "who asks as a replica, and is none, is not told who leads: only followers ask so",
           ("as replica *", f"{_READ}.current_leader.*", "-1", "*")),
    *_rows("Fetch", "a session that was left without partitions lives on; 4.4 closes it",
           ("session: forgotten", "session_id", "some", "0"),
           ("session: forgotten", "error_code", "NONE", "FETCH_SESSION_ID_NOT_FOUND"), is_meant=False),
    *_rows("ListOffsets", _PRECISE, ("*isolation[ _]level *", "topics.partitions.error_code", "INVALID_REQUEST", _SERVER)),
    *_rows("OffsetForLeaderEpoch", "an epoch below -1 is as unknown as -1 is",
           ("spoilt: topics.partitions.leader_epoch -2", "topics.partitions.*", "*", "*")),
    # --- metadata
    *_rows("Metadata", "a topic that is made by asking is there in the same answer: no second request, no back-off",
           ("auto-creation", "topics.made-by-asking-n.*", "*", "*")),
    *_rows("Metadata", _PRECISE, *(
        (case, field, "INVALID_REQUEST", _SERVER)
        for case in ("by nothing", "spoilt: topics.name null") for field in ("topics..error_code", "error_code"))),
    *_rows("DescribeTopicPartitions", "a cursor beyond the last partition goes on with the next topic; 4.4 overflows",
           ("spoilt: cursor.partition_index largest", "*", "*", "*")),
    *_rows("DescribeTopicPartitions", "a topic without a name is refused alone; 4.4 fails for all",
           ("without a name", "*", "*", "*")),
    # --- topics, configs, features
    *_rows("CreateTopics", "names that collide in metrics are refused within one request too",
           ("collides", "topics.a_b.*", "*", "*")),
    *_rows("CreateTopics", "a config is shown as it was understood, not as it was typed",
           ("config *", "topics.fresh-n.configs.*.value", "true", "TRUE"),
           ("config *", "topics.fresh-n.configs.*.value", "5", " 5 ")),
    *_rows("DescribeConfigs", "there are no loggers to look at or to set",
           ("logger of 1", "results.error_code", "INVALID_REQUEST", "NONE")),
    *_rows("IncrementalAlterConfigs", "there are no loggers to look at or to set",
           ("logger*", "responses.error_code", "INVALID_REQUEST", "INVALID_CONFIG")),
    *_rows("AlterConfigs", _ANSWERED, ("spoilt: resources twice", "answer", "INVALID_REQUEST", "silent")),
    *_rows(f"{ON_CONTROLLER}AlterConfigs", "a controller checks all that a broker checks",
           ("*", "responses.error_code", "INVALID_REQUEST", "*")),
    *_rows(f"{ON_CONTROLLER}IncrementalAlterConfigs", "a controller checks all that a broker checks",
           ("*", "responses.error_code", "INVALID_REQUEST", "*")),
    *_rows("Last", "an unknown operation is refused; the controller of 4.4 gives up its office over it",
           ("operation *", "responses.error_code", "INVALID_REQUEST", _SERVER),
           ("operation *", "answer", "INVALID_REQUEST", "silent")),
    *_rows("UpdateFeatures", "kraft.version is fixed when a cluster is formatted, even to the level it has",
           ("kraft.version", "*", "*", "*"), is_meant=False),
    # --- groups
    *_rows("FindCoordinator", "share groups are not offered yet",
           ("type 2", "*error_code", "UNSUPPORTED_VERSION", "INVALID_REQUEST"), is_meant=False),
    *_rows("WriteTxnMarkers", "a marker belongs to a producer: ids and epochs below 0 are refused",
           ("spoilt: markers.producer_* -[12]", "*error_code", "INVALID_REQUEST", "*")),
    *_rows("AlterPartitionReassignments", "a partition that is given twice is refused: it can go to one place only",
           ("partition twice", "responses.partitions.error_code", "INVALID_REQUEST", "NONE"),
           ("spoilt: topics.partitions twice", "responses.partitions.error_code", "INVALID_REQUEST", "NONE")),
    *_rows("WriteTxnMarkers", _ANSWERED, ("spoilt: markers.* twice", "answer", "*", "silent")),
    *_rows("WriteTxnMarkers", _BOTH, ("spoilt: markers twice", "markers", "2 rows, *", "1 rows, *")),
    *_rows("AddPartitionsToTxn", _ANSWERED, ("spoilt: transactions *", "answer", "INVALID_REQUEST", "silent")),
    *_rows("JoinGroup", _ANSWERED, ("one protocol twice", "answer", "NONE", "silent")),
    *_rows("JoinGroup", "of a protocol that is named twice, the first counts", ("spoilt: protocols twice", "*", "*", "*")),
    *_rows("OffsetDelete", "a group without members and offsets is gone at once; 4.4 clears it away later",
           ("*", "error_code", "GROUP_ID_NOT_FOUND", "NONE"), ("*", "topics", "0 rows, NONE", "1 rows, *")),
    *_rows("ConsumerGroupHeartbeat", "few members may beat more often than is configured: assignments settle sooner",
           ("*", "heartbeat_interval_ms", "200", "5000")),
    *_rows("ConsumerGroupHeartbeat", "an expression is resolved before the first answer; 4.4 assigns with a later heartbeat",
           ("regex", "assignment.topic_partitions", "2 rows, NONE", "0 rows, NONE")),
)  # fmt: skip


def render() -> str:
    """The table in prose, for docs/DIFFERENCES.md."""
    lines: list[str] = []
    for title, is_meant in (("Meant", True), ("To be closed", False)):
        lines += [f"### {title}", ""]
        chosen = [row for row in DIFFERENCES if row.is_meant is is_meant]
        for api in dict.fromkeys(row.api for row in chosen):
            name = {"*": "Every API", "Last": "IncrementalAlterConfigs, unknown operation"}.get(api, api)
            lines += [f"**{name}**", ""]
            for why in dict.fromkeys(row.why for row in chosen if row.api == api):
                cases = dict.fromkeys(row.case for row in chosen if row.api == api and row.why == why)
                shown = ", ".join(f"`{case}`" for case in cases)
                lines.append(f"- {why[0].upper()}{why[1:]}. Cases: {shown}.")
            lines.append("")
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    print(render(), end="")
