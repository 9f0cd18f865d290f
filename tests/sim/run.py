"""Replay one seed, or run many: `python -m tests.sim.run --seed 7`, `--seeds 1000 --controllers`."""

from __future__ import annotations

import argparse

from tests.sim.cluster import simulate
from tests.sim.controllers import simulate_controllers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=1, help="how many, from --seed on")
    parser.add_argument("--nodes", type=int, default=0, help="0: by seed, of 1, 3 and 5")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--kraft-version", type=int, default=-1, help="-1: by seed")
    parser.add_argument("--spares", type=int, default=-1, help="nodes that are no voters at first; -1: by seed")
    parser.add_argument("--controllers", action="store_true", help="with controllers on top of Raft")
    arguments = parser.parse_args()
    steps = 0
    for seed in range(arguments.seed, arguments.seed + arguments.seeds):
        nodes = arguments.nodes or (1, 3, 5)[seed % 3]
        kraft_version = arguments.kraft_version if arguments.kraft_version >= 0 else int(seed % 4 != 3)
        spares = arguments.spares if arguments.spares >= 0 else (seed // 3) % 3 if kraft_version else 0
        if arguments.controllers:
            cluster = simulate_controllers(seed, nodes, arguments.rounds, spares)
        else:
            cluster = simulate(seed, nodes, arguments.rounds, kraft_version, spares)
        steps += cluster.step_count
        epoch = max(node.disk.quorum_state.leader_epoch for node in cluster.nodes.values())
        print(
            f"seed {seed}: {nodes} voters, {spares} spares, {cluster.step_count} steps, "
            f"{len(cluster.committed_values)} committed, epoch {epoch}"
        )
    print(f"{arguments.seeds} seeds, {steps} steps, all invariants held")


if __name__ == "__main__":
    main()
