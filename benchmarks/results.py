"""What rows come to: rates, costs, and ratios with their spread. Written to and read from JSON."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

Sample = dict[str, Any]
"""One run of one row on one side: what the load generator and the meter told, and what follows from it."""


def sample(load: Mapping[str, Any], meter: Mapping[str, Any], per: str) -> Sample:
    """Put a run together. `per` is "GB" or "1000 requests": the unit of throughput and cost."""
    seconds = load["seconds"] or 1e-9
    done = load["bytes"] / 1e9 if per == "GB" else load["requests"] / 1000
    # The server worked for the warm-up as well, so its cost is divided by all it has done.
    whole = load.get("all_bytes", 0) / 1e9 if per == "GB" else load.get("all_requests", 0) / 1000
    return {
        "rate": done / seconds,
        "cpu_per_unit": meter["cpu"] / whole if whole else None,
        "requests": load["requests"],
        "failures": load["failures"],
        "p50": load["p50"],
        "p99": load["p99"],
        "heard_p99": load.get("heard_p99"),
        "client_core_share": round(load["cpu"] / seconds, 3),
        "server": dict(meter),
        "client": dict(load),
    }


def middle(samples: Sequence[Mapping[str, Any]], key: str) -> float | None:
    """The median of a figure over the runs; None where no run has it."""
    values = [s[key] for s in samples if s.get(key) is not None]
    return statistics.median(values) if values else None


def ratio(ours: Sequence[Sample], theirs: Sequence[Sample], key: str) -> dict[str, float] | None:
    """Ours divided by theirs: each pair of neighbouring runs gives one ratio; their median, least and
    greatest. A peer that ran once is compared with each of our runs.
    """
    values = []
    for number, own in enumerate(ours):
        other = theirs[min(number, len(theirs) - 1)] if theirs else {}
        if own.get(key) and other.get(key):
            values.append(own[key] / other[key])
    if not values:
        return None
    return {
        "median": statistics.median(values),
        "least": min(values),
        "greatest": max(values),
        "pairs": len(values),
    }


def row(
    key: str,
    title: str,
    per: str,
    sides: Mapping[str, Sequence[Sample]],
    ours: str,
    *,
    note: str = "",
    kind: str = "throughput",
) -> dict[str, Any]:
    """A finished row. The throughput counts where every run kept its server's core busy; the cost always."""
    saturated = {name: all(s["server"]["saturated"] for s in runs) for name, runs in sides.items() if runs}
    comparisons = {}
    for name, runs in sides.items():
        if name != ours and runs:
            both = saturated[name] and saturated.get(ours, False)
            comparisons[name] = {
                "rate": ratio(sides[ours], runs, "rate"),
                "rate_counts": both or kind != "throughput",
                "cpu_per_unit": ratio(sides[ours], runs, "cpu_per_unit"),
                "p99": ratio(sides[ours], runs, "p99"),
            }
    return {
        "key": key,
        "title": title,
        "kind": kind,
        "per": per,
        "ours": ours,
        "note": note,
        "saturated": saturated,
        "sides": {name: list(runs) for name, runs in sides.items()},
        "medians": {
            name: {
                what: middle(runs, what)
                for what in (
                    "rate",
                    "cpu_per_unit",
                    "p50",
                    "p99",
                    "heard_p99",
                    "failures",
                    "client_core_share",
                )
            }
            | {
                "memory": middle([s["server"] for s in runs], "memory"),
                "core_busy": middle([s["server"] for s in runs], "core_busy"),
            }
            for name, runs in sides.items()
        },
        "against": comparisons,
    }
