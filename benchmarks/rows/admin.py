"""The admin plane: how soon its pages are there, and what it costs the boot plane beside it."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from contextlib import closing, suppress
from typing import Any

from benchmarks import meter
from benchmarks.bench import Bench
from benchmarks.browser import Browser
from benchmarks.cast import Contender
from benchmarks.rows.tftp import words
from benchmarks.stage import CLIENT_CORE, SERVER_CORE
from pxeserver.lab.process import LabError, Process

NODES = 10_000
LOADS = 15
"""Times that each page is opened, after once to warm up."""
CLIENTS = 50
SHARE = 0.3
"""Of the TFTP server's limit."""
PLANE = "http://127.0.0.1:8080"
SETTLE = 2.0
"""Seconds for which the crowd has been at work when the measurement begins."""


def rows(bench: Bench) -> None:
    """Pages of 10,000 nodes in a browser; TFTP beside a crowd at the admin plane."""
    if bench.wanted("admin-pages"):
        with bench.cast() as cast:
            _pages(bench, cast.appliance())
    if bench.wanted("admin-beside"):
        with bench.cast() as cast:
            _beside(bench, cast.appliance())


# ------------------------------------------------------------------------------------------------ pages


def _pages(bench: Bench, side: Contender) -> None:
    if side.appliance is None:
        raise LabError("no appliance")
    side.appliance.add_nodes(NODES, "bench")
    loads = 5 if bench.quick else LOADS
    with closing(Browser(side.stage.server, PLANE)) as browser:
        browser.log_in("demo", "demo")
        paths = {"overview": "/", "live boots": "/boots", "nodes": "/nodes", "found": "/nodes?q=bench007421"}
        paths["node"] = "/nodes/bench007421"
        figures = {name: browser.opened(path, loads) for name, path in paths.items()}
        search = browser.searched(
            "/nodes", "#f-q", [f"bench00{n:04}" for n in range(1000, 1000 + 97 * loads, 97)]
        )
    bench.add({
        "key": "admin-pages",
        "title": f"pages with {NODES:,} nodes",
        "kind": "pages",
        "pages": figures,
        "search": search,
        "told": f"list {figures['nodes']['paint'] * 1e3:.0f} ms to the first paint,"
        f" {figures['nodes']['compressed'] / 1e3:.0f} kB; search {search['median'] * 1e3:.0f} ms",
    })  # fmt: skip


# ------------------------------------------------------------------------------------------------ beside


def _beside(bench: Bench, side: Contender) -> None:
    """TFTP at a share of its limit: alone, beside the crowd, and beside a process that burns as much CPU."""
    if side.appliance is None:
        raise LabError("no appliance")
    told = side.appliance.command("token", "add", "demo", "bench", "--scope", "*:write", "-o", "json")
    token = json.loads(told)["secret"]
    base = words(bench, side, 1468, 1, CLIENTS)
    limit = bench.run(side, "1000 requests", base)["rate"] * 1000
    paced = [*base, "-R", f"{limit * SHARE:.1f}"]
    runs = []
    for _ in range(bench.repeats):
        alone = bench.run(side, "1000 requests", paced)
        crowded, crowd, share = _beside_crowd(bench, side, paced, token)
        burnt = _beside_burner(bench, side, paced, share)
        runs.append({
            "alone": alone, "crowd": crowded, "burner": burnt, "crowd_told": crowd, "burnt_share": share,
            "ratio": crowded["p99"] / burnt["p99"],
        })  # fmt: skip
    ratios = sorted(run["ratio"] for run in runs)
    bench.add({
        "key": "admin-beside",
        "title": f"TFTP at {SHARE:.0%} of its limit; 100 live viewers, 50 parallel logins, a 1 GiB upload",
        "kind": "beside",
        "limit": limit,
        "runs": runs,
        "ratio": {"median": statistics.median(ratios), "least": ratios[0], "greatest": ratios[-1]},
        "told": f"p99 {statistics.median(ratios):.2f}x of what the same CPU burnt by another process costs;"
        f" alone {runs[-1]['alone']['p99'] * 1e3:.1f} ms, crowd {runs[-1]['crowd']['p99'] * 1e3:.1f} ms,"
        f" burner {runs[-1]['burner']['p99'] * 1e3:.1f} ms; crowd {runs[-1]['crowd_told']}",
    })  # fmt: skip


def _beside_crowd(
    bench: Bench, side: Contender, load: list[str], token: str
) -> tuple[dict[str, Any], dict[str, int], float]:
    """The run, what the crowd did, and the share of the core that all but the boot worker took for it."""
    seconds = bench.seconds + SETTLE + 1
    command = [sys.executable, "-m", "benchmarks.adminload", PLANE, token, f"{seconds}"]
    crowd = _start(side, CLIENT_CORE, command, "crowd.log")
    try:
        time.sleep(SETTLE)
        before, begun = _others(side), time.monotonic()
        sample = bench.run(side, "1000 requests", load)
        share = (_others(side) - before) / (time.monotonic() - begun)
        crowd.wait_for_text("}", 30)
        told = next(line for line in crowd.text().splitlines() if line.startswith("{"))
        return sample, json.loads(told), share
    finally:
        crowd.stop()


def _beside_burner(bench: Bench, side: Contender, load: list[str], share: float) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.burn", f"{share:.3f}", f"{bench.seconds + 2}"]
    with _start(side, SERVER_CORE, command, "burner.log"):
        return bench.run(side, "1000 requests", load)


def _start(side: Contender, core: int, command: list[str], log: str) -> Process:
    """Start a program beside the server, on its host."""
    return side.stage.server.start(["taskset", "-c", str(core), *command], side.stage.folder / log)


def _others(side: Contender) -> float:
    """CPU seconds of all the server's processes but the boot worker."""
    total = meter.cpu_seconds(side.pid)
    with suppress(subprocess.SubprocessError, LabError):
        if side.appliance is not None:
            total -= meter.cpu_seconds(side.appliance.worker())
    return total
