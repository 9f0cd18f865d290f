"""The environment of a broker whose disk fails (faulty_disk.c)."""

from __future__ import annotations

from pathlib import Path


def faults(library: Path, directory: Path, call: str, path: str) -> dict[str, str]:
    return {
        "LD_PRELOAD": str(library),
        "FAULT_CALL": call,
        "FAULT_PATH": path,
        "FAULT_ON": str(directory / "on"),
        "FAULT_LOG": str(directory / "calls"),
    }
