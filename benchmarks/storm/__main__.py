"""A boot storm by itself: `python -m benchmarks.storm --machines 1000 --loss 1`. Needs root."""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import meter
from benchmarks.appliance import Appliance
from benchmarks.peers import make_file
from benchmarks.stage import SERVER_CORE, pin_harness
from pxeserver.lab.netns import need_root

LOADER_BYTES, KERNEL_BYTES, INITRD_BYTES = 300_000, 8 << 20, 4 << 20


def prepare(
    folder: Path, machines: int, *, event_loop: str = "asyncio", wire: bool = False, admission: bool = True
) -> Appliance:
    """A running appliance that knows the machines as nodes and has a kernel and an initrd for them."""
    loader = make_file(folder / "files/snponly.efi", LOADER_BYTES)
    appliance = Appliance(folder / "appliance", loader, wire=wire, event_loop=event_loop, admission=admission)
    try:
        appliance.start()
        kernel = make_file(folder / "files/vmlinuz", KERNEL_BYTES)
        initrd = make_file(folder / "files/initrd.img", INITRD_BYTES)
        appliance.add_image("storm", kernel, initrd)
        appliance.add_nodes(machines, "storm")
        appliance.stage.own_macs(machines)
    except BaseException:
        appliance.close()
        raise
    return appliance


def run(
    appliance: Appliance,
    machines: int,
    *,
    loss: float = 0,
    spread: float = 0,
    conversation: bool = False,
    give_up: float = 300,
    shape: str = "",
) -> dict[str, Any]:
    """One storm: the clients' summary, the server's cost, and the wire's share."""
    words = ["--machines", str(machines), "--spread", str(spread), "--give-up", str(give_up)]
    words += ["--conversation"] if conversation else []
    stage = appliance.stage
    stage.loss(loss)
    if shape:
        stage.shape(shape)
    before = stage.frames()
    measured = meter.Meter(stage, appliance.pid, SERVER_CORE)
    try:
        command = [sys.executable, "-m", "benchmarks.storm.client", *words]
        told = stage.load(command, timeout=give_up + spread + 120)
        carried = stage.shaped() if shape else {}
    finally:
        stage.loss(0)
        if shape:
            stage.shape("")
    after = stage.frames()
    sent = after["sent"] - before["sent"]
    told["wire"] = {
        "bytes_sent": sent,
        "frames": after["frames"] - before["frames"],
        "useful": round(told["bytes"] / sent, 4) if sent else 0,
        "gigabit_per_second": round(sent * 8 / 1e9 / max(told["seconds"], 1e-3), 3),
    }
    if shape:
        told["wire"] |= _share(carried, shape, told["seconds"])
    return {
        "machine": machines,
        "shape": shape,
        "loss": loss,
        "spread": spread,
        "conversation": conversation,
        **told,
        "server": measured.stop(),
    }


def _share(carried: dict[str, int], shape: str, seconds: float) -> dict[str, float | int]:
    """How much of the shaped wire was used, from power-on to the last machine's report."""
    capacity = bits(shape) / 8 * seconds
    return {"share": round(carried["bytes"] / capacity, 4), "drops": carried["drops"]}


def bits(rate: str) -> float:
    """Bits a second of tc's "1gbit" or "100mbit". ValueError for any other word."""
    for unit, factor in (("gbit", 1e9), ("mbit", 1e6)):
        if rate.endswith(unit):
            return float(rate.removesuffix(unit)) * factor
    raise ValueError(f"{rate!r} is no rate like 1gbit or 100mbit")


def main() -> int:
    """Parse the command line, run a storm, print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--machines", type=int, default=100)
    parser.add_argument("--loss", type=float, default=0.0, help="percent of the frames, in each direction")
    parser.add_argument("--spread", type=float, default=0.0)
    parser.add_argument("--conversation", action="store_true")
    parser.add_argument("--give-up", type=float, default=300.0)
    parser.add_argument("--shape", default="", help="the server's wire: 1gbit, 100mbit; no limit without")
    parser.add_argument("--no-admission", action="store_true", help="all machines load at once")
    parser.add_argument("--event-loop", default="asyncio", choices=("asyncio", "uvloop"))
    options = parser.parse_args()
    need_root()
    pin_harness()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # through the finally clauses
    folder = Path(tempfile.mkdtemp(prefix="pxebench"))
    try:
        appliance = prepare(
            folder, options.machines, event_loop=options.event_loop, wire=options.loss > 0,
            admission=not options.no_admission,
        )  # fmt: skip
        try:
            told = run(
                appliance, options.machines, loss=options.loss, spread=options.spread,
                conversation=options.conversation, give_up=options.give_up, shape=options.shape,
            )  # fmt: skip
        finally:
            appliance.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps(told, indent=1))
    return 0 if not told["failures"] else 1


if __name__ == "__main__":
    sys.exit(main())
