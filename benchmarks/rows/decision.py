"""Decisions and nodes in memory: measured in this process, on the server's core, by the clock of the CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from benchmarks.bench import Bench
from benchmarks.stage import SERVER_CORE

NODES = (10, 100_000)
MILLION = 1_000_000


def rows(bench: Bench) -> None:
    """A process of its own for each size, so that one size's memory is not another's."""
    if not bench.wanted("decision"):
        return
    runs: dict[str, list[dict[str, Any]]] = {str(count): [] for count in (*NODES, MILLION)}
    for number in range(bench.repeats):
        for count in (*NODES, MILLION):
            if count == MILLION and number:
                continue
            command = (
                "taskset",
                "-c",
                str(SERVER_CORE),
                sys.executable,
                "-m",
                "benchmarks.decide",
                str(count),
            )
            done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ})
            runs[str(count)].append(json.loads(done.stdout))
    few, many = runs[str(NODES[0])], runs[str(NODES[1])]
    ratios = [m["offer_us"] / f["offer_us"] for f, m in zip(few, many, strict=True)]
    bench.add({
        "key": "decision",
        "title": "cost of a decision with 10 and with 100,000 nodes; a million nodes in memory",
        "kind": "decision",
        "runs": runs,
        "offer_ratio": {
            "median": sorted(ratios)[len(ratios) // 2],
            "least": min(ratios),
            "greatest": max(ratios),
        },
        "told": "; ".join(f"{count} nodes: {told[-1]}" for count, told in runs.items()),
    })  # fmt: skip
