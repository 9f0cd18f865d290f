"""What Apache Kafka itself says about its protocol: message definitions and tables, read from beside the checkout."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ORACLE = Path(__file__).resolve().parents[2].parent / "shared" / "protocol"

needs_oracle = pytest.mark.skipif(not ORACLE.is_dir(), reason="../shared/protocol does not stand beside the checkout")


@cache
def table(name: str) -> list[dict[str, Any]]:
    return json.loads((ORACLE / "tables" / f"{name}.json").read_text())


@cache
def definitions() -> dict[str, dict[str, Any]]:
    """Every message definition by name, with the folder it stands in as `family`."""
    found = {}
    if ORACLE.is_dir():
        for path in sorted(ORACLE.glob("*/*.json")):
            if path.parent.name != "tables":
                definition = json.loads(path.read_text())
                definition["family"] = path.parent.name
                found[definition["name"]] = definition
    return found


def snake_case(name: str) -> str:
    """Kafka's field names as ours: `NewIsrWithEpochs` is `new_isr_with_epochs`."""
    name = name.replace("KRaft", "Kraft").replace("2Pc", "_2pc")
    out = ""
    for position, letter in enumerate(name):
        if letter.isupper() and position > 0:
            before_is_upper = name[position - 1].isupper()
            next_is_lower = name[position + 1 : position + 2].islower()
            if name[position - 1] != "_" and (not before_is_upper or next_is_lower):
                out += "_"
        out += letter.lower()
    return out
