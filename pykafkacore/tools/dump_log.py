"""kafka-dump-log: print the files of a log directory, and say what in them does not fit together.

What it is: Apache Kafka's DumpLogSegments for .log, .checkpoint, .index, .timeindex, .txnindex and .snapshot files: the
same lines, findings on standard error at the end.
What it is not: a repair. Files are read batch by batch, so that a segment of a GiB needs no GiB of memory.
KAFKA: findings do not change the exit code; a file that cannot be read at all ends the dump with exit code 1.
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

from msgspec import Struct, field

from pykafkacore.tools.common import Parser, ToolError, finish, handle_help

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence

    from pykafkacore.tools.record_text import Decoder

ABOUT = (
    "This tool helps to parse a log file and dump its contents to the console, "
    "useful for debugging a seemingly corrupt log segment."
)
INT32_MAX = 0x7FFFFFFF
MESSAGE_BYTES_MAX = 5 * 1024 * 1024
_OVERHEAD_BYTES = 12
_BATCH_BYTES_MIN = 61
_LEGACY_BYTES_MIN = 14
_WARM_INDEX_BYTES = 8192
_TXN_ENTRY = struct.Struct(">hqqqq")
_PRODUCER_ENTRY = struct.Struct(">qhiqiqiq")
_TEXT_DECODERS = (None, "org.apache.kafka.tools.api.StringDecoder", "org.apache.kafka.tools.api.DefaultDecoder")


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    finish(lambda: run(sys.argv[1:] if arguments is None else list(arguments)))


def run(arguments: list[str]) -> int:
    options = _parse(arguments)
    findings = Findings()
    try:
        decoder = _decoder(options)
        for path in (each.strip() for each in options.files.split(",")):
            print(f"Dumping {path}")
            _dump(path, options, decoder, findings)
    except ToolError as error:
        sys.stdout.flush()
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        sys.stdout.flush()
        print(f"{error.filename or ''}: {error.strerror or error}", file=sys.stderr)
        return 1
    sys.stdout.flush()
    for line in findings.lines():
        print(line, file=sys.stderr)
    return 0


def _parse(arguments: list[str]) -> Namespace:
    parser = Parser("kafka-dump-log", ABOUT)
    parser.add_argument("--files", metavar="FILE,...", help="the files to print")
    parser.add_argument("--print-data-log", action="store_true", help="print keys and values of records too")
    parser.add_argument("--deep-iteration", action="store_true", help="print records, not only batches")
    parser.add_argument("--skip-record-metadata", action="store_true", help="of records print only keys and values")
    parser.add_argument("--max-bytes", type=int, default=INT32_MAX, metavar="COUNT", help="how much of a log to read")
    parser.add_argument(
        "--max-message-size", type=int, default=MESSAGE_BYTES_MAX, metavar="COUNT", help="size of the largest batch"
    )
    parser.add_argument("--index-sanity-check", action="store_true", help="only check indexes, as at a start")
    parser.add_argument("--verify-index-only", action="store_true", help="check indexes without printing them")
    parser.add_argument("--cluster-metadata-decoder", action="store_true", help="read values as metadata records")
    parser.add_argument("--offsets-decoder", action="store_true", help="read records as those of __consumer_offsets")
    parser.add_argument("--transaction-log-decoder", action="store_true", help="... of __transaction_state")
    parser.add_argument("--share-group-state-decoder", action="store_true", help="... of __share_group_state")
    parser.add_argument("--remote-log-metadata-decoder", action="store_true", help="not offered: there is no remote log")
    for name in ("key-decoder-class", "value-decoder-class"):
        parser.add_argument(f"--{name}", metavar="CLASS", help="only Kafka's own for text; prints keys and values too")
    parser.add_argument("--help", action="store_true", help="print this help")
    parser.add_argument("--version", action="store_true", help="print the version")
    if not arguments:
        parser.usage_error(ABOUT)
    options = parser.parse(arguments)
    handle_help(parser, options, ABOUT)
    parser.require(options, "files")
    return options


def _decoder(options: Namespace) -> Decoder | None:
    """How keys and values are shown; None when they are not."""
    for name in (options.key_decoder_class, options.value_decoder_class):
        if name not in _TEXT_DECODERS:
            raise ToolError(f"decoder class {name} cannot be loaded here: leave it out to have text")
    if options.remote_log_metadata_decoder:
        raise ToolError("--remote-log-metadata-decoder is not offered: there is no remote storage here")
    wanted = (
        (options.offsets_decoder, "groups"), (options.transaction_log_decoder, "transactions"),
        (options.cluster_metadata_decoder, "metadata"), (options.share_group_state_decoder, "share_groups"),
        (options.print_data_log or options.key_decoder_class or options.value_decoder_class, "plain"),
    )  # fmt: skip
    name = next((name for is_wanted, name in wanted if is_wanted), None)
    if name is None:
        return None
    from pykafkacore.tools import record_text

    return getattr(record_text, name)  # type: ignore[no-any-return]


class Findings(Struct):
    """What does not fit, by kind and file, in the order in which it was found."""

    index: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    timestamps: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    out_of_order: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    not_found: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    gaps: dict[str, list[tuple[int, int]]] = field(default_factory=dict)

    def lines(self) -> Iterator[str]:
        for table, title, text in (
            (self.index, "Mismatches in :", "  Index offset: {}, log offset: {}"),
            (self.timestamps, "Found timestamp mismatch in :", "  Index timestamp: {}, log timestamp: {}"),
            (
                self.out_of_order,
                "Found out of order timestamp in :",
                "  Index timestamp: {}, Previously indexed timestamp: {}",
            ),
            (
                self.not_found,
                "The following indexed offsets are not found in :",
                "Indexed offset: {}, found log offset: {}",
            ),
            (self.gaps, "Non-consecutive offsets in ", "  {} is followed by {}"),
        ):
            for path, pairs in table.items():
                yield f"{title}{path}"
                for pair in pairs:
                    yield text.format(*pair)


def _dump(path: str, options: Namespace, decoder: Decoder | None, findings: Findings) -> None:
    name = os.path.basename(path)
    suffix = name[name.rfind(".") :] if "." in name else ""
    # KAFKA: absolute or not, findings name the file by its absolute path.
    absolute = os.path.abspath(path)
    if suffix in (".log", ".checkpoint"):
        _dump_log(path, absolute, name, options, decoder, findings)
    elif suffix == ".index":
        _dump_index(path, absolute, options, findings)
    elif suffix == ".timeindex":
        _dump_time_index(path, absolute, options, findings)
    elif suffix == ".snapshot":
        _dump_producers(path)
    elif suffix == ".txnindex":
        _dump_aborted(path)
    else:
        sys.stdout.flush()
        print(f"Ignoring unknown file {path}", file=sys.stderr)


def base_offset_of(path: str) -> int:
    stem = os.path.basename(path).split(".")[0]
    if not stem.isascii() or not stem.isdigit():
        raise ToolError(f"{path}: the name does not begin with a base offset")
    return int(stem)


# ---- batches


def read_batches(file: BinaryIO, start: int, end: int, with_records: bool) -> Iterator[dict[str, Any]]:
    """Whole batches of a file between two positions, each with its own position in the file."""
    from pykafkacore._core import parse_batches

    position = start
    while end - position >= _OVERHEAD_BYTES:
        file.seek(position)
        head = file.read(_OVERHEAD_BYTES)
        size = _OVERHEAD_BYTES + int.from_bytes(head[8:12], "big", signed=True)
        if size < _OVERHEAD_BYTES + _LEGACY_BYTES_MIN:
            raise ToolError(
                f"Found record size {size - _OVERHEAD_BYTES} smaller than minimum record overhead "
                f"({_LEGACY_BYTES_MIN}) in file {file.name}."
            )
        if end - position < size:
            return
        data = head + file.read(size - _OVERHEAD_BYTES)
        if len(data) > 16 and data[16] != 2:
            raise ToolError(f"{file.name}: the batch at position {position} has magic {data[16]}; only 2 can be read")
        if size < _BATCH_BYTES_MIN:
            raise ToolError(f"{file.name}: the batch at position {position} has {size} bytes, too few for a batch")
        try:
            batch = parse_batches(data, records=with_records)[0]
        except Exception as error:  # the extension's own error; whatever it is, it is about these bytes
            raise ToolError(f"{file.name}: the batch at position {position} cannot be read: {error}") from None
        batch["position"] = position
        yield batch
        position += size


def batch_line(batch: dict[str, Any]) -> str:
    horizon = f"OptionalLong[{batch['base_timestamp']}]" if batch["has_delete_horizon"] else "OptionalLong.empty"
    return (
        f"baseOffset: {batch['base_offset']} lastOffset: {batch['last_offset']} count: {batch['record_count']} "
        f"baseSequence: {batch['base_sequence']} lastSequence: {batch['last_sequence']} "
        f"producerId: {batch['producer_id']} producerEpoch: {batch['producer_epoch']} "
        f"partitionLeaderEpoch: {batch['leader_epoch']} isTransactional: {_java(batch['is_transactional'])} "
        f"isControl: {_java(batch['is_control'])} deleteHorizonMs: {horizon} position: {batch['position']} "
        f"{_timestamp_type(batch)}: {batch['max_timestamp']} size: {batch['size_bytes']} magic: {batch['magic']} "
        f"compresscodec: {batch['codec']} crc: {batch['crc']} isvalid: {_java(batch['crc_is_valid'])}"
    )


def _java(flag: bool) -> str:
    return "true" if flag else "false"


def _timestamp_type(batch: dict[str, Any]) -> str:
    return "LogAppendTime" if batch["log_append_time"] else "CreateTime"


def record_facts(batch: dict[str, Any], record: Any) -> str:
    """What a record's line begins with: all but its key and value."""
    offset, timestamp, key, value, headers = record
    names = ",".join(name.decode("utf-8", "replace") for name, _ in headers)
    line = (
        f"| offset: {offset} {_timestamp_type(batch)}: {timestamp} keySize: {-1 if key is None else len(key)} "
        f"valueSize: {-1 if value is None else len(value)} sequence: {_sequence(batch, offset)} headerKeys: [{names}]"
    )
    if not batch["is_control"]:
        return line
    from pykafkacore.tools.record_text import control

    return line + control(key, value)


def record_content(record: Any, decoder: Decoder, prefix: str) -> str:
    """The rest of that line. KAFKA: with nothing before it, a record that shows nothing is an empty line without a mark."""
    offset, _, key, value, _ = record
    shown_key, shown_value = decoder(offset, key, value)
    line = ""
    if shown_key is not None:
        line, prefix = f"{prefix}key: {shown_key}", " "
    return line if shown_value is None else f"{line}{prefix}payload: {shown_value}"


def _sequence(batch: dict[str, Any], offset: int) -> int:
    base = batch["base_sequence"]
    return -1 if base < 0 else (base + offset - batch["base_offset"]) % (INT32_MAX + 1)


def _dump_log(
    path: str, absolute: str, name: str, options: Namespace, decoder: Decoder | None, findings: Findings
) -> None:
    from pykafkacore.protocol.types import MalformedMessage

    is_deep = options.deep_iteration or decoder is not None
    if name.endswith(".checkpoint"):
        end_offset, _, rest = name.partition("-")
        if len(end_offset) != 20 or not end_offset.isdigit() or not rest[:10].isdigit():
            raise ToolError(f"{path}: the name is not that of a snapshot")
        print(f"Snapshot end offset: {int(end_offset)}, epoch: {int(rest[:10])}")
    else:
        print(f"Log starting offset: {base_offset_of(path)}")
    write = sys.stdout.write
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        end = min(size, options.max_bytes)
        read_bytes, last_offset = 0, -1
        for batch in read_batches(file, 0, end, is_deep):
            write(batch_line(batch) + "\n")
            read_bytes = batch["position"] + batch["size_bytes"]
            for record in batch["records"] if is_deep else ():
                if last_offset not in (-1, record[0] - 1):
                    findings.gaps.setdefault(absolute, []).append((last_offset, record[0]))
                last_offset = record[0]
                try:
                    if not options.skip_record_metadata:
                        write(record_facts(batch, record))
                    if decoder is not None and not batch["is_control"]:
                        write(record_content(record, decoder, "| " if options.skip_record_metadata else " "))
                    write("\n")
                except MalformedMessage as error:
                    raise ToolError(f"{path}: the record at offset {record[0]} cannot be read: {error}") from None
        if size > read_bytes and options.max_bytes == INT32_MAX:
            print(f"Found {size - read_bytes} invalid bytes at the end of {name}")


# ---- indexes


class Index(Struct, frozen=True):
    """Entries of an index as they stand in the file: (key, value) pairs, where the key of a time index is a time."""

    entries: list[tuple[int, int]]
    base_offset: int
    last_bytes: int

    def shown(self) -> Iterator[tuple[int, int]]:
        """Up to the first slot of zeros: the rest of a file that was made larger than needed."""
        for at, entry in enumerate(self.entries):
            if at > 0 and entry[0] == self.base_offset:
                return
            yield entry

    def position_of(self, offset: int) -> int:
        """Where a reader would begin to look for an offset: Kafka's own search, over the zeros at the end as well."""
        entries = self.entries
        if not entries:
            return 0
        first_warm = max(0, len(entries) - 1 - _WARM_INDEX_BYTES // 8)
        if entries[first_warm][0] < offset:
            low, high = first_warm, len(entries) - 1
        elif entries[0][0] > offset:
            return 0
        else:
            low, high = 0, first_warm
        while low < high:
            middle = (low + high + 1) // 2
            found = entries[middle][0]
            if found == offset:
                return entries[middle][1]
            low, high = (low, middle - 1) if found > offset else (middle, high)
        return entries[low][1]


def read_index(path: str) -> Index:
    base = base_offset_of(path)
    with open(path, "rb") as file:
        data = file.read()
    entries = [(base + offset, position) for offset, position in struct.iter_unpack(">ii", data[: len(data) // 8 * 8])]
    return Index(entries, base, len(data) % 8)


def read_time_index(path: str) -> Index:
    base = base_offset_of(path)
    with open(path, "rb") as file:
        data = file.read()
    whole = data[: len(data) // 12 * 12]
    entries = [(timestamp, base + offset) for timestamp, offset in struct.iter_unpack(">qi", whole)]
    return Index(entries, base, len(data) % 12)


def _log_of(path: str) -> BinaryIO:
    return open(path[: path.rfind(".")] + ".log", "rb")


def _check_sanity(path: str, absolute: str, index: Index, entry_bytes: int, is_sane: bool) -> None:
    """The checks that a broker makes at its start."""
    if index.entries and not is_sane:
        raise ToolError(f"Corrupt index found: {absolute}: its last entry lies before its base offset or its first entry")
    if index.last_bytes:
        raise ToolError(f"Corrupt index found: {absolute}: its size is not a multiple of {entry_bytes}")
    print(f"{path} passed sanity check.")


def _dump_index(path: str, absolute: str, options: Namespace, findings: Findings) -> None:
    index = read_index(path)
    if not index.entries:
        print(f"{path} is empty.")
        return
    if options.index_sanity_check:
        _check_sanity(path, absolute, index, 8, index.entries[-1][0] >= index.base_offset)
        return
    with _log_of(path) as log:
        size = os.fstat(log.fileno()).st_size
        for offset, position in index.shown():
            batch = next(read_batches(log, position, min(size, position + options.max_message_size), False), None)
            if batch is None:
                raise ToolError(f"{path}: no batch of the log begins at position {position}")
            if batch["last_offset"] != offset:
                findings.index.setdefault(absolute, []).append((offset, batch["last_offset"]))
            if not options.verify_index_only:
                print(f"offset: {offset} position: {position}")


def _dump_time_index(path: str, absolute: str, options: Namespace, findings: Findings) -> None:
    index = read_time_index(path)
    if options.index_sanity_check:
        first, last = (index.entries[0], index.entries[-1]) if index.entries else ((0, 0), (0, index.base_offset))
        is_sane = last[0] >= first[0] and last[1] >= index.base_offset
        _check_sanity(path, absolute, index, 12, is_sane)
        return
    # KAFKA: of an empty index nothing is said; of an empty .index it is.
    offsets = read_index(path[: path.rfind(".")] + ".index")
    previous = -1
    with _log_of(path) as log:
        size = os.fstat(log.fileno()).st_size
        for at, (timestamp, offset) in enumerate(index.entries):
            if at > 0 and offset == index.base_offset:
                return
            found = read_batches(log, offsets.position_of(offset), size, False)
            batch = next((each for each in found if each["last_offset"] >= offset), None)
            if batch is None or batch["last_offset"] != offset:
                shown = -1 if batch is None else batch["last_offset"]
                findings.not_found.setdefault(absolute, []).append((offset, shown))
            else:
                largest = _largest_timestamp(log, batch)
                if largest != timestamp:
                    findings.timestamps.setdefault(absolute, []).append((timestamp, largest))
                if previous >= timestamp:
                    findings.out_of_order.setdefault(absolute, []).append((timestamp, previous))
            if not options.verify_index_only:
                print(f"timestamp: {timestamp} offset: {offset}")
            previous = timestamp


def _largest_timestamp(log: BinaryIO, batch: dict[str, Any]) -> int:
    start = batch["position"]
    whole = next(read_batches(log, start, start + batch["size_bytes"], True))
    return max((record[1] for record in whole["records"]), default=-1)


# ---- producers and transactions


def _dump_aborted(path: str) -> None:
    with open(path, "rb") as file:
        data = file.read()
    for start in range(0, len(data), _TXN_ENTRY.size):
        if len(data) - start < _TXN_ENTRY.size:
            raise ToolError(f"{path}: {len(data) - start} bytes at its end are no whole entry")
        version, producer_id, first, last, stable = _TXN_ENTRY.unpack_from(data, start)
        print(
            f"version: {version} producerId: {producer_id} firstOffset: {first} lastOffset: {last} "
            f"lastStableOffset: {stable}"
        )


def _dump_producers(path: str) -> None:
    with open(path, "rb") as file:
        data = file.read()
    try:
        lines = list(producer_lines(data))
    except ValueError as error:
        # KAFKA: said on standard error, and the dump goes on.
        sys.stdout.flush()
        print(f"{path}: {error}", file=sys.stderr)
        return
    for line in lines:
        print(line)


def producer_lines(data: bytes) -> Iterator[str]:
    """The producers in a snapshot; ValueError when it is damaged."""
    from pykafkacore._core import crc32c

    if len(data) < 10:
        raise ValueError(f"a producer snapshot has at least 10 bytes, not {len(data)}")
    version = int.from_bytes(data[:2], "big", signed=True)
    if version != 1:
        raise ValueError(f"Snapshot contained an unknown file version {version}")
    claimed = int.from_bytes(data[2:6], "big")
    if crc32c(data[6:]) != claimed:
        raise ValueError("Snapshot is corrupt (CRC is no longer valid)")
    count = int.from_bytes(data[6:10], "big", signed=True)
    if not 0 <= count <= (len(data) - 10) // _PRODUCER_ENTRY.size:
        raise ValueError(f"the snapshot claims {count} producers, but has room for fewer")
    for at in range(count):
        (
            producer_id, producer_epoch, last_sequence, last_offset, offset_delta, timestamp, coordinator_epoch,
            first_offset,
        ) = _PRODUCER_ENTRY.unpack_from(data, 10 + at * _PRODUCER_ENTRY.size)  # fmt: skip
        transaction = f"OptionalLong[{first_offset}]" if first_offset >= 0 else "OptionalLong.empty"
        line = (
            f"producerId: {producer_id} producerEpoch: {producer_epoch} coordinatorEpoch: {coordinator_epoch} "
            f"currentTxnFirstOffset: {transaction} lastTimestamp: {timestamp} "
        )
        if last_offset >= 0:
            first_sequence = _back(last_sequence, offset_delta)
            line += (
                f"firstSequence: {first_sequence} lastSequence: {last_sequence} lastOffset: {last_offset} "
                f"offsetDelta: {offset_delta} timestamp: {timestamp}"
            )
        yield line


def _back(sequence: int, count: int) -> int:
    """`count` before a sequence number, which goes round at 2^31."""
    return sequence - count if sequence >= count else sequence - count + INT32_MAX + 1
