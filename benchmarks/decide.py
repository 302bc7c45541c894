"""`python -m benchmarks.decide NODES`: what a decision costs with so many nodes, and what the nodes cost."""

from __future__ import annotations

import gc
import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.stage import machine_mac
from pxeserver.boot import decision
from pxeserver.boot.catalog import Catalog, NodeTable
from pxeserver.boot.model import ClientKind, FileRef, Image, Loader, Machine, Node, Profile, ProfileKind

SERVER = "10.70.0.2"
ROUNDS = 3000
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


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]))))
