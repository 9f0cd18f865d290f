"""What Apache's kafka-dump-log says of files: the judge of directories that ours wrote."""

from __future__ import annotations

from pathlib import Path

from tests.support.apache import run_tool

INDEX_FAULTS = ("Mismatches", "mismatch", "Found timestamp", "out of order", "Index mismatch")


def dump(files: list[Path], *flags: str) -> str:
    return run_tool("kafka-dump-log", *flags, "--files", ",".join(str(each) for each in files), timeout_s=300)


def partitions_of(data: Path) -> list[Path]:
    """Directories of partitions, but for internal topics'."""
    return [each for each in sorted(data.iterdir()) if (each / "partition.metadata").exists() and each.name[0] != "_"]


def check_segments(partitions: list[Path], *flags: str) -> int:
    """Every segment, index and snapshot is without a fault; gives how many segments there are."""
    logs = [file for each in partitions for file in sorted(each.glob("*.log"))]
    told = dump(logs, *flags)
    assert "isvalid: false" not in told
    assert "invalid" not in told.lower().replace("isvalid", "")
    indexes = [file for each in partitions for file in [*each.glob("*.index"), *each.glob("*.timeindex")]]
    told = dump(indexes, "--index-sanity-check")
    assert told.count("passed sanity check") + told.count("is empty") == len(indexes), told
    told = dump(indexes)
    for fault in INDEX_FAULTS:
        assert fault not in told, told
    snapshots = [file for each in partitions for file in each.glob("*.snapshot")]
    if snapshots:
        assert "corrupt" not in dump(snapshots).lower()
    return len(logs)


def check_metadata(data: Path) -> None:
    metadata = data / "__cluster_metadata-0"
    told = dump([*metadata.glob("*.log"), *metadata.glob("*.checkpoint")], "--cluster-metadata-decoder")
    assert "isvalid: false" not in told
    assert "Could not deserialize" not in told
    assert "TOPIC_RECORD" in told
