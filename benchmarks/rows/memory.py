"""Memory: after the start, with 1,000 TFTP transfers under way, and with nodes."""

from __future__ import annotations

import json
import time

from benchmarks import meter
from benchmarks.bench import Bench
from benchmarks.cast import Contender
from benchmarks.rows.tftp import words

TRANSFERS = 1000
HOLD = 12.0
IDLE = 10.0
"""Seconds after the start that count as idle."""


def rows(bench: Bench) -> None:
    """Proportional set size of the whole process tree."""
    if not bench.wanted("memory"):
        return
    with bench.cast() as cast:
        sides = [cast.appliance(), *(cast.peer(name) for name in ("nginx", "dnsmasq", "tftpd-hpa", "atftpd"))]
        bench.introduce(*sides)
        time.sleep(IDLE)
        idle = {side.name: meter.memory(side.pid) for side in sides}
        own = meter.memory_of(sides[0].pid)
        held = {side.name: _held(bench, side) for side in sides if side.name != "nginx"}
    busy = {name: taken for name, (taken, _) in held.items()}
    bench.add({
        "key": "memory",
        "title": "memory of all processes",
        "kind": "memory",
        "idle": idle,
        "processes": own,
        "transfers": TRANSFERS,
        "with_transfers": busy,
        "accepted": {name: accepted for name, (_, accepted) in held.items()},
        "told": ", ".join(f"{n} {b / 1e6:.1f} MB" for n, b in idle.items())
        + f" (of {sides[0].name}'s " + ", ".join(f"{n} {b / 1e6:.1f}" for n, b in own.items()) + ")"
        + "; with 1,000 transfers "
        + ", ".join(f"{n} {b / 1e6:.1f} MB" for n, b in busy.items()),
    })  # fmt: skip


def _held(bench: Bench, side: Contender) -> tuple[int, int]:
    """Memory in the middle of 1,000 transfers whose clients do not acknowledge, and how many of them were
    accepted.
    """
    argv = words(bench, side, 1468, 1, TRANSFERS)
    command = [*argv, "-m", str(TRANSFERS), "-r", "300", "-h", str(2 * HOLD), "-w", "0", "-t", str(HOLD)]
    process = side.stage.client.start(command, side.stage.folder / "held.log")
    try:
        time.sleep(HOLD * 2 / 3)
        taken = meter.memory(side.pid)
        process.wait_for_text("}", HOLD + 10)
        accepted = int(json.loads(process.text())["accepted"])
    finally:
        process.stop()
    return taken, accepted
