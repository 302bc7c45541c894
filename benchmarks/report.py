"""A run's results as JSON, as a table for people, and as plots."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import peers, svg

RESULTS = Path(__file__).parent / "results"


def machine() -> dict[str, Any]:
    """What this ran on."""
    models = [
        line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")
    ]
    system = platform.freedesktop_os_release()
    return {
        "cpu": models[0].partition(":")[2].strip() if models else platform.machine(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1),
        "kernel": platform.release(),
        "system": system.get("PRETTY_NAME", ""),
        "python": platform.python_version(),
        "peers": peers.versions(),
        "congestion_control": "cubic in every namespace",
    }


def document(rows: list[dict[str, Any]], **about: Any) -> dict[str, Any]:
    """The whole of a run."""
    return {"date": time.strftime("%Y-%m-%d"), "machine": machine(), **about, "rows": rows}


def ratio_text(ratio: Mapping[str, float] | None) -> str:
    """A ratio with its spread: "1.52x (1.41-1.60)"."""
    if ratio is None:
        return "-"
    if ratio["pairs"] == 1:
        return f"{ratio['median']:.2f}x"
    return f"{ratio['median']:.2f}x ({ratio['least']:.2f}-{ratio['greatest']:.2f})"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds * 1e3:.2f} ms" if seconds < 1 else f"{seconds:.2f} s"


def _compared(row: Mapping[str, Any]) -> list[str]:
    unit = row["per"]
    out = [
        f"| {row['title']} | {unit}/s | CPU s per {unit} | p50 | p99 | failures | server's core | client's"
        " core | memory | our rate | our CPU cost |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, figures in row["medians"].items():
        against = row["against"].get(name, {})
        rate = "-" if name == row["ours"] else ratio_text(against.get("rate"))
        if against and not against["rate_counts"]:
            rate = "not saturated"
        cost = "-" if name == row["ours"] else ratio_text(against.get("cpu_per_unit"))
        cpu = "-" if figures["cpu_per_unit"] is None else f"{figures['cpu_per_unit']:.4g}"
        out.append(
            f"| {name} | {figures['rate']:.4g} | {cpu} | {_time(figures['p50'])} | {_time(figures['p99'])}"
            f" | {figures['failures']:.0f} | {figures['core_busy']:.0%} | {figures['client_core_share']:.0%}"
            f" | {figures['memory'] / 1e6:.1f} MB | {rate} | {cost} |"
        )
    note = row["note"]
    heard = row["medians"][row["ours"]].get("heard_p99")
    if row["kind"] == "latency" and heard:
        note += f"; from the server's first packet on {row['ours']}'s p99 is {_time(heard)}"
    return [*out, f"\n{note}." if note else ""]


def _storm(row: Mapping[str, Any]) -> list[str]:
    out = [f"{row['title']}:"]
    for run in row["runs"]:
        kernel = run["time_to_kernel"]
        out.append(
            f"* {run['boots_per_minute']:.0f} boots a minute; to the kernel p50 {_time(kernel['p50'])}, p99"
            f" {_time(kernel['p99'])}, at most {_time(kernel['max'])}; {run['failures']} failed"
            f" of {run['machines']}; retries {run['retries'] or 'none'}; wire"
            f" {run['wire']['gigabit_per_second']} Gb/s, {run['wire']['useful']:.1%} of it files; server's"
            f" core {run['server']['core_busy']:.0%}, clients' process {run['client_core_share']:.0%}"
        )
        waits = {stage: (w["p50"], w["p99"]) for stage, w in run["waiting"].items() if w["p50"] is not None}
        out.append(
            "  * p50/p99 seconds in " + ", ".join(f"{s} {a:.2f}/{b:.2f}" for s, (a, b) in waits.items())
        )
        if run["failed_why"]:
            out.append(f"  * failed: {run['failed_why']}")
        if run["troubles"]:
            out.append(f"  * made again because of {run['troubles']}")
    return out


def _memory(row: Mapping[str, Any]) -> list[str]:
    head = f"| {row['title']} | after the start | with {row['transfers']} TFTP transfers |"
    out = [head, "|---|---|---|"]
    for name, idle in row["idle"].items():
        busy = row["with_transfers"].get(name)
        text = (
            f"{busy / 1e6:.1f} MB ({row['accepted'][name]} accepted)"
            if busy
            else "-"
            if busy is None
            else "it ended"
        )
        out.append(f"| {name} | {idle / 1e6:.1f} MB | {text} |")
    each = ", ".join(f"{name} {size / 1e6:.1f} MB" for name, size in row["processes"].items())
    return [*out, f"\nOur processes: {each}."]


def _decision(row: Mapping[str, Any]) -> list[str]:
    out = [
        f"| {row['title']} | us an offer | us a script | load, s | bytes a node |",
        "|---|---|---|---|---|",
    ]
    for count, runs in row["runs"].items():
        last = min(runs, key=lambda run: run["offer_us"])
        each = f"{last['bytes_each']:.0f}" if int(count) > 1000 else "-"
        out.append(
            f"| {int(count):,} nodes | {last['offer_us']} | {last['script_us']} | {last['load_seconds']} |"
            f" {each} |"
        )
    return [*out, f"\n100,000 nodes against 10: {_offers(row)}."]


def _offers(row: Mapping[str, Any]) -> str:
    """What an offer costs where as many machines ask, and where 3,000 different ones do."""
    same, other = row["offer_ratio"]["median"], row["offer_ratio_of_different_machines"]["median"]
    return f"{same:.2f}x an offer to the same number of machines, {other:.2f}x where 3,000 different ones ask"


def _pages(row: Mapping[str, Any]) -> list[str]:
    out = [
        f"| {row['title']} | first paint | answer complete | ready | page, gzip | with an empty cache |",
        "|---|---|---|---|---|---|",
    ]
    for name, page in row["pages"].items():
        times = " | ".join(_time(page[key]) for key in ("paint", "answer", "loaded"))
        out.append(f"| {name} | {times} | {page['page'] / 1e3:.0f} kB | {page['compressed'] / 1e3:.0f} kB |")
    search = row["search"]
    told = f"{_time(search['median'])}, at most {_time(search['greatest'])} ({search['times']} searches)"
    return [*out, f"\nA search: {told} from its request to the painted rows."]


def _beside(row: Mapping[str, Any]) -> list[str]:
    out = [f"| {row['title']} | p50 | p99 | failures |", "|---|---|---|---|"]
    last = row["runs"][-1]
    for name, key in (
        ("alone", "alone"),
        ("beside them", "crowd"),
        (f"beside a process that burns {last['burnt_share']:.0%} of the core", "burner"),
    ):
        run = last[key]
        out.append(f"| {name} | {_time(run['p50'])} | {_time(run['p99'])} | {run['failures']:.0f} |")
    ratio = row["ratio"]
    spread = f"({ratio['least']:.2f}-{ratio['greatest']:.2f})"
    return [*out, f"\np99 beside them against beside that process: {ratio['median']:.2f}x {spread}."]


_WRITERS = {
    "storm": _storm,
    "memory": _memory,
    "decision": _decision,
    "pages": _pages,
    "beside": _beside,
}


def table(told: Mapping[str, Any]) -> str:
    """The whole run for people, as Markdown."""
    where = told["machine"]
    out = [
        "# Benchmarks", "",
        f"{told['date']}, `{told['command']}`, {where['cores']} cores of {where['cpu']}, {where['system']},"
        f" Linux {where['kernel']}, Python {where['python']}; {where['congestion_control']}.",
    ]  # fmt: skip
    if not told["quiet"]:
        out += ["", f"**The machine was not idle ({told['busy_before']}): these figures mean nothing.**"]
    out += ["", _compared_bytes(told), ""]
    for row in told["rows"]:
        out += [*_WRITERS.get(row["kind"], _compared)(row), ""]
    out += ["## Configurations", ""]
    for name, side in told["settings"].items():
        out += [f"{name} ({side['processes']}):", "", "```", side["settings"].strip(), "```", ""]
    return "\n".join(out)


def _compared_bytes(told: Mapping[str, Any]) -> str:
    if not told["verified"]:
        return "No row that compares bytes was asked for."
    return "Every byte compared: " + ("no difference." if clean(told) else "DIFFERENCES, see results.json.")


def clean(told: Mapping[str, Any]) -> bool:
    """Whether every pass that compared bytes found them right, and there was one."""
    passes = told["verified"].values()
    return bool(passes) and all(p["wrong"] == 0 and p["failures"] == 0 and p["bytes"] for p in passes)


def plots(told: Mapping[str, Any]) -> dict[str, str]:
    """File names and SVG texts."""
    out = {}
    for row in told["rows"]:
        if row["kind"] == "storm":
            series = {"powered on": row["runs"][-1]["powered"], "kernel started": row["runs"][-1]["kernels"]}
            out[f"{row['key']}.svg"] = svg.curves(row["title"], series, "machines")
        elif row["kind"] == "memory":
            values = {name: size / 1e6 for name, size in row["idle"].items()}
            out[f"{row['key']}.svg"] = svg.bars("memory after the start", values, "MB")
        elif row["kind"] in ("throughput", "latency"):
            key, unit = ("rate", f"{row['per']}/s") if row["kind"] == "throughput" else ("p50", "s")
            values = {name: figures[key] or 0.0 for name, figures in row["medians"].items()}
            spread = {
                name: (min(s[key] for s in runs), max(s[key] for s in runs))
                for name, runs in row["sides"].items()
                if len(runs) > 1
            }
            out[f"{row['key']}.svg"] = svg.bars(row["title"], values, unit, spread)
    return out


def write(told: Mapping[str, Any], folder: Path = RESULTS) -> None:
    """results.json, results.md and a plot for each row."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(told, indent=1) + "\n")
    (folder / "results.md").write_text(table(told))
    for name, text in plots(told).items():
        (folder / name).write_text(text)
