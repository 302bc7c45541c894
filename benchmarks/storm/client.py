"""The storm itself, inside the machines' namespace: `python -m benchmarks.storm.client --machines 1000`."""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from benchmarks.stage import machine_address, machine_mac
from benchmarks.storm.dhcp import Dhcp
from benchmarks.storm.guard import NotTheLab, require_lab
from benchmarks.storm.machine import STAGES, Lan, SimulatedMachine, Story
from benchmarks.storm.personalities import FIRMWARES


def share(values: Sequence[float], part: float) -> float | None:
    """The value below which this share of the values lies; None where there are none."""
    if not values:
        return None
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(part * len(ordered)))], 3)


def spread(values: Sequence[float]) -> dict[str, float | None]:
    """p50, p99 and the greatest."""
    return {"p50": share(values, 0.5), "p99": share(values, 0.99), "max": share(values, 1.0)}


def by_second(times: Sequence[float], begun: float) -> list[int]:
    """How many of the moments had come after each second."""
    if not times:
        return []
    counts = Counter(int(moment - begun) for moment in times)
    total, rows = 0, []
    for second in range(max(counts) + 1):
        total += counts[second]
        rows.append(total)
    return rows


def summary(stories: Sequence[Story], begun: float) -> dict[str, Any]:
    """What a storm came to, as JSON."""
    up = [story for story in stories if story.reported is not None]
    started = [story.started - story.power_on for story in stories if story.started is not None]
    last = max((story.reported for story in up if story.reported is not None), default=begun)
    retries: Counter[str] = Counter()
    troubles: Counter[str] = Counter()
    for story in stories:
        retries.update(story.retries)
        troubles.update(story.troubles)
    return {
        "machines": len(stories),
        "booted": len(up),
        "failures": len(stories) - len(up),
        "failed_why": dict(Counter(story.failed for story in stories if story.failed).most_common(10)),
        "seconds": round(last - begun, 3),
        "boots_per_minute": round(len(up) / (last - begun) * 60, 1) if up else 0.0,
        "time_to_kernel": spread(started),
        "waiting": {
            stage: spread([story.waited[stage] for story in stories if stage in story.waited])
            for stage in STAGES
        },
        "retries": dict(retries),
        "troubles": dict(troubles.most_common(20)),
        "bytes": sum(story.bytes for story in stories),
        "powered": by_second([story.power_on for story in stories if story.power_on], begun),
        "kernels": by_second([story.started for story in stories if story.started is not None], begun),
    }


async def storm(options: argparse.Namespace) -> dict[str, Any]:
    """Power all machines on, at one instant or spread evenly at random, and wait for the last."""
    chance = random.Random(options.seed)
    lan = Lan(Dhcp(options.interface), options.conversation, options.give_up)
    machines = [
        SimulatedMachine(lan, i, machine_mac(i), machine_address(i), FIRMWARES[i % len(FIRMWARES)])
        for i in range(options.machines)
    ]

    async def one(machine: SimulatedMachine, delay: float) -> Story:
        await asyncio.sleep(delay)
        return await machine.boot()

    begun = time.monotonic()
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(m, chance.uniform(0, options.spread))) for m in machines]
    finally:
        lan.dhcp.close()
    told = summary([task.result() for task in tasks], begun)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    wall = time.monotonic() - begun
    return {
        **told,
        "unwanted_answers": lan.dhcp.unwanted,
        "cpu": round(usage.ru_utime + usage.ru_stime, 3),
        "client_core_share": round((usage.ru_utime + usage.ru_stime) / wall, 3),
    }


def main(words: Sequence[str] | None = None) -> int:
    """Run a storm and print its summary as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--machines", type=int, default=100)
    parser.add_argument("--spread", type=float, default=0.0, help="seconds over which power comes on")
    parser.add_argument("--conversation", action="store_true", help="every step, but no file's bytes")
    parser.add_argument(
        "--give-up", type=float, default=300.0, help="seconds after which a machine has failed"
    )
    parser.add_argument("--interface", default="eth0")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--this-network-is-mine-alone", action="store_true")
    options = parser.parse_args(words)
    try:
        require_lab(allow=options.this_network_is_mine_alone)
    except NotTheLab as error:
        print(f"benchmarks.storm: {error}", file=sys.stderr)
        return 2
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    room = options.machines + 1000  # a machine has one socket at a time
    if hard != resource.RLIM_INFINITY and room > hard:
        print(
            f"benchmarks.storm: {room} open files are needed, {hard} are allowed (ulimit -Hn)",
            file=sys.stderr,
        )
        return 2
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(room, soft), hard))
    try:
        import uvloop  # noqa: PLC0415 - faster, not needed
    except ImportError:
        print(json.dumps(asyncio.run(storm(options))))
    else:
        print(json.dumps(uvloop.run(storm(options))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
