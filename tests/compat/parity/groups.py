"""Cases of groups and committed offsets, which mostly need more than one request."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from tests.compat.parity.hostile import UNKNOWN_ID
from tests.compat.parity.recorder import Case, Site, Step

Tree = dict[str, Any]


def coordinators(site: Site) -> None:
    """Waits until the coordinator of groups answers."""
    while True:
        found = site.ask("FindCoordinator", 4, {"coordinator_keys": ["x", "y"], "key_type": 0}).coordinators
        codes = {each.error_code for each in found}
        if codes == {0}:
            codes = {site.ask("Heartbeat", 4, {"group_id": each, "member_id": "m", "generation_id": 1}).error_code for each in "xy"}
            if codes == {25}:
                break
        assert codes <= {0, 14, 15, 16, 25}, codes
        time.sleep(0.02)
    site.learn()


def kept_groups(site: Site) -> None:
    """Groups of offsets alone, for those who look at them."""
    for group in ("kept-one", "kept-two"):
        rows = [{"partition_index": 0, "committed_offset": 5, "committed_metadata": "m"}]
        tree = {"group_id": group, "topics": [{"name": "groups", "partitions": rows}]}
        answer = site.ask("OffsetCommit", 8, tree)
        assert answer.topics[0].partitions[0].error_code == 0, answer


def find_coordinator(version: int) -> dict[str, Tree]:
    def one(key: str, kind: int = 0) -> Tree:
        return {"coordinator_keys": [key], "key_type": kind} if version >= 4 else {"key": key, "key_type": kind}

    found = {"a group": one("kept-one")}
    if version >= 1:
        found |= {"transaction": one("t", 1), "type 2": one("kept-one", 2), "type 3": one("t", 3), "type -1": one("t", -1)}
        found["a transaction without a name"] = one("", 1)
    return found


GOOD: dict[str, Callable[[int], dict[str, Tree]]] = {"FindCoordinator": find_coordinator}
SPECIAL: dict[str, Callable[[int], Iterator[Case]]] = {}
_ = UNKNOWN_ID, Step
