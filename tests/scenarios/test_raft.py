"""Scripts of commands with the traces that they must leave (`raft/*.txt`), in the manner of etcd.

A script is blocks of `> command` and the lines expected of it. To see what a changed node does now:
`python -m tests.scenarios.test_raft raft/NAME.txt` prints the script with today's trace, to be read before it is kept.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.scenarios.raft_script import Script

FOLDER = Path(__file__).parent / "raft"


def replay(text: str) -> str:
    """The script with the trace that it leaves today. `nodes N` in the first lines says how many voters there are."""
    script = Script(3)
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith("# nodes "):
            script = Script(int(line.split()[2]))
        if line.startswith("> "):
            lines.append(line)
            lines.extend(f"  {each}" for each in script.run(line[2:]))
        elif not line.startswith("  "):
            lines.append(line)
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.glob("*.txt")))
def test_the_trace_is_as_written(name: str) -> None:
    text = (FOLDER / name).read_text()
    assert replay(text) == text


if __name__ == "__main__":
    sys.stdout.write(replay((Path(__file__).parent / sys.argv[1]).read_text()))
