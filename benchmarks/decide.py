"""`python -m benchmarks.decide NODES`: what a decision costs with so many nodes, and what the nodes cost;
with two numbers: what it costs with few and with many, side by side.
"""

from __future__ import annotations

import gc
import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.stage import machine_mac
from pxeserver.boot import decision
from pxeserver.boot.catalog import Catalog, NodeTable
from pxeserver.boot.model import ClientKind, FileRef, Image, Loader, Machine, Node, Profile, ProfileKind

SERVER = "10.70.0.2"
ROUNDS = 3000
PAIRS = 11
ATTEMPT = "abcdefghij"


def nodes(count: int) -> Iterator[Node]:
    """Nodes as an inventory makes them: UUID, serial, one MAC address, a profile."""
    for number in range(count):
        mac = machine_mac(number)
        yield Node(
            number + 1,
            f"node{number:07d}",
            uuid=f"be000000-0000-0000-0000-{mac.replace(':', '')}",
            serial=f"SN{number:09d}",
            macs=(mac,),
            values={"profile": "compute"},
        )


def catalog() -> Catalog:
    """A small catalog: one image, its profile, two loaders."""
    files = (
        FileRef("vmlinuz", "1" * 64, 8 << 20, "kernel"),
        FileRef("initrd.img", "2" * 64, 4 << 20, "initrd"),
    )
    return Catalog(
        profiles={"compute": Profile("compute", ProfileKind.KERNEL, image="debian", args="quiet")},
        images={"debian": Image("debian", files)},
        loaders={
            arch: Loader(arch, FileRef(name, "0" * 64, 300_000, "loader"))
            for arch, name in ((0, "undionly.kpxe"), (7, "snponly.efi"))
        },
    )


def resident() -> int:
    """Bytes of memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def microseconds(work: Callable[[int], object], rounds: int = ROUNDS) -> float:
    """CPU time of one call, the least of five series: what else the machine did is in the others."""
    best = float("inf")
    for _ in range(5):
        begun = time.process_time()
        for number in range(rounds):
            work(number)
        best = min(best, time.process_time() - begun)
    return round(best / rounds * 1e6, 3)


def machine(number: int, *, ipxe: bool) -> Machine:
    """A machine as DHCP sees it."""
    mac = machine_mac(number)
    kind = ClientKind.IPXE if ipxe else ClientKind.FIRMWARE_PXE
    return Machine(mac, uuid=f"be000000-0000-0000-0000-{mac.replace(':', '')}", arch=7, kind=kind)


def measure(count: int) -> dict[str, float | int]:
    """Load time and bytes of a node, and the cost of an offer and of a script."""
    gc.collect()
    before, begun = resident(), time.process_time()
    table = NodeTable(nodes(count))
    seconds = time.process_time() - begun
    taken = resident() - before
    gc.freeze()  # as the boot worker does with its table (worker.py)
    chosen, step = catalog(), 7919  # a prime: the asked nodes lie all over the table
    asked = [machine(n * step % count, ipxe=False) for n in range(ROUNDS)]
    assert isinstance(decision.offer(asked[0], chosen, table, SERVER, ATTEMPT), decision.Offer)
    script = decision.boot_script(asked[0], ATTEMPT, f"http://{SERVER}", chosen, table)
    assert isinstance(script, decision.ScriptChoice)
    assert "vmlinuz" in script.text
    return {
        "nodes": count,
        "load_seconds": round(seconds, 3),
        "bytes_each": round(taken / count, 1),
        "offer_us": microseconds(lambda n: decision.offer(asked[n], chosen, table, SERVER, ATTEMPT)),
        "script_us": microseconds(
            lambda n: decision.boot_script(asked[n], ATTEMPT, f"http://{SERVER}", chosen, table), ROUNDS // 3
        ),
    }


def compare(few: int, many: int) -> dict[str, Any]:
    """The cost of an offer with few and with many nodes, in one process and in turn: ratios of neighbours, so
    that a busy moment is in both.

    `same`: as many machines ask in both tables, again and again. `different`: of many nodes ROUNDS different
    ones ask, each of whose records has to come from memory, and of few the same ones.
    """
    tables = NodeTable(nodes(few)), NodeTable(nodes(many))
    chosen, step = catalog(), 7919
    gc.collect()
    gc.freeze()  # as the boot worker does with its table (worker.py)
    near = [machine(number, ipxe=False) for number in range(few)]
    far = [machine(number * step % many, ipxe=False) for number in range(few)]
    away = [machine(number * step % many, ipxe=False) for number in range(ROUNDS)]
    again = [machine(number % few, ipxe=False) for number in range(ROUNDS)]
    asked = {"same": (near, far), "different": (again, away)}

    def series(table: NodeTable, machines: list[Machine]) -> float:
        begun = time.process_time()
        for number in range(ROUNDS):
            decision.offer(machines[number % len(machines)], chosen, table, SERVER, ATTEMPT)
        return (time.process_time() - begun) / ROUNDS * 1e6

    told: dict[str, Any] = {"few": few, "many": many}
    for name, machines in asked.items():
        pairs = [[series(*side) for side in zip(tables, machines, strict=True)] for _ in range(PAIRS)]
        ratios = sorted(pair[1] / pair[0] for pair in pairs)
        told[name] = {
            "few_us": round(min(pair[0] for pair in pairs), 3),
            "many_us": round(min(pair[1] for pair in pairs), 3),
            "ratio": round(ratios[len(ratios) // 2], 3),
        }
    return told


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:]]
    print(json.dumps(compare(*numbers) if len(numbers) == 2 else measure(*numbers)))
