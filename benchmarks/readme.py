"""`python -m benchmarks.readme`: the README's part "How fast", written from results.json."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.report import RESULTS, clean, ratio_text

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- how fast: written by benchmarks/readme.py -->", "<!-- end of how fast -->"


class NotPublishable(Exception):  # noqa: N818 - the text says why
    """These results are not to be shown to anybody."""


def section(told: Mapping[str, Any]) -> str:
    """The part between the markers. NotPublishable where the run was disturbed or bytes were wrong."""
    if not told["quiet"]:
        raise NotPublishable(f"the machine was not idle when this was measured: {told['busy_before']}")
    if not clean(told):
        raise NotPublishable("not every byte was compared and right")
    where = told["machine"]
    out = [
        BEGIN, "", "## How fast", "",
        f"`{told['command']}` on {told['date']}: {where['cores']} cores of {where['cpu']}, {where['system']},"
        " server and clients on a core each, in network namespaces. A ratio is ours divided by theirs, with"
        " its spread over the pairs of runs; a rate is compared only where both kept their core busy.",
        "", "| what | against | rate | CPU for the same work |", "|---|---|---|---|",
    ]  # fmt: skip
    for row in told["rows"]:
        if row["kind"] not in ("throughput", "latency"):
            continue
        for name, against in row["against"].items():
            if name.startswith("pxeserver"):
                continue
            rate = ratio_text(against["rate"]) if against["rate_counts"] else "-"
            out.append(f"| {row['title']} | {name} | {rate} | {ratio_text(against['cpu_per_unit'])} |")
    out += ["", *_storms(told), ""]
    versions = ", ".join(f"{name} {version}" for name, version in where["peers"].items())
    out += [
        f"Peers: Debian's {versions}, tuned; their configurations are in the report that the command writes.",
        "",
        END,
    ]
    return "\n".join(out)


def _storms(told: Mapping[str, Any]) -> list[str]:
    lines = []
    for row in told["rows"]:
        if row["kind"] == "storm":
            run = sorted(row["runs"], key=lambda r: r["boots_per_minute"])[len(row["runs"]) // 2]
            kernel = run["time_to_kernel"]
            lines.append(
                f"* {row['title']}: {run['boots_per_minute']:.0f} boots a minute, {run['failures']} failed;"
                f" a kernel started after {kernel['p50']:.1f} s (p50), {kernel['p99']:.1f} s (p99)."
            )
    return lines


def put(text: str, new: str) -> str:
    """The README with the part in place of its former one, or before "When a machine does not boot"."""
    if BEGIN in text and END in text:
        return text[: text.index(BEGIN)] + new + text[text.index(END) + len(END) :]
    mark = "## When a machine does not boot"
    at = text.index(mark) if mark in text else len(text)
    return f"{text[:at]}{new}\n\n{text[at:]}"


def main() -> int:
    """Write it, or say why not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS / "results.json")
    parser.add_argument("--readme", type=Path, default=README)
    options = parser.parse_args()
    try:
        new = section(json.loads(options.results.read_text()))
    except (NotPublishable, FileNotFoundError) as error:
        print(f"benchmarks.readme: nothing written: {error}", file=sys.stderr)
        return 1
    options.readme.write_text(put(options.readme.read_text(), new))
    return 0


if __name__ == "__main__":
    sys.exit(main())
