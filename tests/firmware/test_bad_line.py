"""Machines behind a bad line boot all the same: 30 ms round trip, 1 % of the frames lost each way (seeded).

How long they take is recorded, and asserted nowhere: it is the line's and the emulation's doing.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pxeserver.lab.badline import Line
from pxeserver.lab.firmware import Firmware
from pxeserver.lab.machine import Machine
from pxeserver.lab.netboot import MARK, small_system
from pxeserver.lab.network import BOOT_ADDRESS, Lab
from pxeserver.lab.playground import step_times

pytestmark = [pytest.mark.firmware, pytest.mark.timeout(900)]

LINE = Line(delay=15, loss=1, seed=11)
KINDS = (Firmware.BIOS_VIRTIO, Firmware.OVMF_PXE)
LARGEST = 12 << 20
PATIENCE = 300.0
"""Seconds; 35 for the small system and 110 for the discovery system on a busy 2-core machine."""
Record = Callable[[str, object], None]


@pytest.fixture(scope="module")
def site(make_site: Callable[..., Any]) -> Any:
    """A lab whose boot server is behind the bad line."""
    found = make_site("--unknown", "discover", line=LINE)
    assert round_trip(found.lab) >= 2 * LINE.delay / 1000
    return found


def round_trip(lab: Lab) -> float:
    """Seconds that a TCP connection to the boot server takes from the machines' network."""

    def connect() -> float:
        begin = time.monotonic()
        socket.create_connection((BOOT_ADDRESS, 80), 10).close()
        return time.monotonic() - begin

    return lab.dhcp.call(connect)


def test_a_small_system_boots_over_a_bad_line(
    site: Any, loaders: Path, tmp_path: Path, record_testsuite_property: Record
) -> None:
    files = small_system(loaders.parent, tmp_path)
    assert files.size <= LARGEST
    server = site.server
    server.command("image", "add", "small", "--kernel", str(files.kernel), "--initrd", str(files.initrd))
    args = "console=ttyS0,115200n8 pxeserver.url={url}"
    server.command("profile", "add", "small", "--image", "small", "--args", args)
    machines = [site.lab.machine(kind) for kind in KINDS]
    for number, machine in enumerate(machines):
        server.command("node", "add", f"n{number}", "--mac", machine.spec.mac, "--profile", "small")
    with ThreadPoolExecutor(len(machines)) as pool:
        for machine, steps in zip(machines, pool.map(lambda m: booted(site, m, MARK), machines), strict=True):
            assert "booted" in steps
            told(record_testsuite_property, f"small_{machine.spec.firmware.value}", steps)


@pytest.mark.long
def test_the_discovery_system_boots_over_a_bad_line(site: Any, record_testsuite_property: Record) -> None:
    steps = booted(site, site.lab.machine(Firmware.OVMF_PXE), "inventory sent")
    assert "inventory" in steps
    told(record_testsuite_property, "discovery", steps)


def booted(site: Any, machine: Machine, mark: str) -> dict[str, float]:
    """Boot a machine until `mark` is on its console; the seconds of its steps since its first DISCOVER."""
    machine.power_on()
    try:
        machine.wait_for_console(mark, timeout=PATIENCE)
    finally:
        machine.power_off()
    (boot,) = site.server.boots(machine)
    return step_times(site.server.ask("boot", "show", boot["id"])["timeline"])


def told(record: Record, name: str, steps: dict[str, float]) -> None:
    """The steps' seconds, for the reader of the test's output and in the report."""
    line = " ".join(f"{step}={seconds:.1f}" for step, seconds in steps.items())
    print(f"bad line: {name}: {line}")
    record(f"bad_line_{name}", line)
