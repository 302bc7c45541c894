"""Memory: after the start, with 1,000 TFTP transfers under way, and with nodes."""

from __future__ import annotations

import time

from benchmarks import meter
from benchmarks.bench import Bench
from benchmarks.cast import Contender
from benchmarks.rows.tftp import words

TRANSFERS = 1000
HOLD = 6.0


def rows(bench: Bench) -> None:
    """Proportional set size of the whole process tree."""
    if not bench.wanted("memory"):
        return
    with bench.cast() as cast:
        sides = [cast.appliance(), *(cast.peer(name) for name in ("nginx", "dnsmasq", "tftpd-hpa", "atftpd"))]
        bench.introduce(*sides)
        time.sleep(1)
        idle = {side.name: meter.memory(side.pid) for side in sides}
        busy = {side.name: _held(bench, side) for side in sides if side.name != "nginx"}
    bench.add({
        "key": "memory",
        "title": "memory of all processes",
        "kind": "memory",
        "idle": idle,
        "transfers": TRANSFERS,
        "with_transfers": busy,
        "told": ", ".join(f"{n} {b / 1e6:.1f} MB" for n, b in idle.items())
        + "; with 1,000 transfers "
        + ", ".join(f"{n} {b / 1e6:.1f} MB" for n, b in busy.items()),
    })  # fmt: skip


def _held(bench: Bench, side: Contender) -> int:
    """Memory in the middle of 1,000 transfers whose clients take their time over the first block."""
    argv = words(bench, side, 1468, 1, TRANSFERS)
    command = [*argv, "-m", str(TRANSFERS), "-h", str(HOLD), "-w", "0", "-t", str(HOLD / 2)]
    process = side.stage.client.start(command, side.stage.folder / "held.log")
    try:
        time.sleep(HOLD / 3)
        return meter.memory(side.pid)
    finally:
        process.stop()
