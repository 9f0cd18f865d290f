"""THE TABLE of differences from Apache Kafka 4.4 that are meant, each with its reason.

`case`, `field`, `ours` and `theirs` are patterns with *. test_parity.py fails for a difference that no row names, and for
a row that no case shows any more. docs/DIFFERENCES.md says the same in prose.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True, slots=True)
class Difference:
    api: str
    case: str
    field: str
    ours: str
    theirs: str
    why: str
    versions: tuple[int, int] = (-(2**15), 2**15)

    def covers(self, version: int, case: str, field: str, ours: str, theirs: str) -> bool:
        pairs = ((case, self.case), (field, self.field), (ours, self.ours), (theirs, self.theirs))
        low, high = self.versions
        return low <= version <= high and all(fnmatchcase(text, pattern) for text, pattern in pairs)


DIFFERENCES: tuple[Difference, ...] = ()
