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
    compared = []
    for number in range(bench.repeats):
        for count in (*NODES, MILLION):
            if count != MILLION or not number:
                runs[str(count)].append(_decide(count))
        compared.append(_decide(*NODES))
    ratios = {name: sorted(told[name]["ratio"] for told in compared) for name in ("same", "different")}
    bench.add({
        "key": "decision",
        "title": "cost of a decision with 10 and with 100,000 nodes; a million nodes in memory",
        "kind": "decision",
        "runs": runs,
        "compared": compared,
        "offer_ratio": _spread(ratios["same"]),
        "offer_ratio_of_different_machines": _spread(ratios["different"]),
        "told": "; ".join(f"{count} nodes: {told[-1]}" for count, told in runs.items()),
    })  # fmt: skip


def _decide(*counts: int) -> dict[str, Any]:
    """benchmarks.decide in a process of its own, on the server's core."""
    words = [sys.executable, "-m", "benchmarks.decide", *map(str, counts)]
    command = ["taskset", "-c", str(SERVER_CORE), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ})
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def _spread(ratios: list[float]) -> dict[str, float]:
    """Of sorted ratios."""
    return {"median": ratios[len(ratios) // 2], "least": ratios[0], "greatest": ratios[-1]}
