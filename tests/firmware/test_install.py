"""Installing once: the discovery system writes a disk, the firmware then starts it through us. Nothing is
overwritten that nobody agreed to.
"""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pxeserver.lab.firmware import Firmware
from pxeserver.lab.rawdisk import MARK
from pxeserver.lab.server import steps_missing

pytestmark = [pytest.mark.firmware, pytest.mark.timeout(900)]

DISK = 64 << 20
INSTALLED = 240.0
"""Seconds from power-on to the installed system on a busy 2-core machine; 60 on a quiet one."""


@pytest.fixture(scope="module")
def site(make_site: Callable[..., Any], raw_disk: Path) -> Any:
    """A server with an image to install."""
    site = make_site()
    site.server.command("image", "add", "tiny", "--disk", str(raw_disk))
    site.server.command("profile", "add", "tiny", "--kind", "disk", "--image", "tiny", "--install")
    return site


def armed(site: Any, kind: Firmware, name: str, disk: Any) -> Any:
    """A node with an install order, and its machine."""
    machine = site.lab.machine(kind, name, disks=(disk,))
    site.server.command("node", "add", name, "--mac", machine.spec.mac, "--profile", "tiny")
    site.server.command("node", "install", name)
    return machine


def state(site: Any, name: str) -> dict[str, Any]:
    found: dict[str, Any] = site.server.ask("node", "show", name)["state"]
    return found


def digest(path: Path, size: int | None = None) -> str:
    with path.open("rb") as content:
        return hashlib.sha256(content.read(size if size is not None else -1)).hexdigest()


def wait_state(site: Any, name: str, phase: str) -> dict[str, Any]:
    site.server.wait(lambda: state(site, name)["phase"] == phase, 20, f"{name} is not {phase}")
    return state(site, name)


def test_bios_and_uefi_install_once_and_then_start_their_disk(site: Any, raw_disk: Path) -> None:
    names = {"bios": Firmware.BIOS_VIRTIO, "uefi": Firmware.OVMF_PXE}
    disks = {name: site.lab.disk(name, DISK, serial=f"D-{name}") for name in names}
    machines = {name: armed(site, kind, name, disks[name]) for name, kind in names.items()}

    def install(name: str) -> None:
        try:
            machines[name].power_on()
            machines[name].wait_for_console(MARK, timeout=INSTALLED)
        finally:
            machines[name].power_off()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(install, names))
    image = raw_disk.stat().st_size
    for name, machine in machines.items():
        assert state(site, name)["phase"] == "installed"
        assert digest(disks[name].path, image) == digest(raw_disk)
        # UEFI goes through all its network entries before the disk, so it may ask more than once.
        *later, first = (
            site.server.ask("boot", "show", b["id"])["timeline"] for b in site.server.boots(machine)
        )
        steps = ["script-sent", "inventory", "install-started", "installed"]
        assert not steps_missing([event["kind"] for event in first], steps), first
        assert later
        for timeline in later:
            assert "install-started" not in [event["kind"] for event in timeline]
            # A script from TFTP or HTTP boot only leads to the one that decides.
            scripts = [event["detail"] for event in timeline if event["kind"] == "script-sent"]
            assert {detail["action"] for detail in scripts if "action" in detail} == {"local"}
    # Started again, they start their disks again: the order is used up.
    machines["bios"].power_on()
    machines["bios"].wait_for_console(MARK, timeout=INSTALLED)
    machines["bios"].power_off()
    assert state(site, "bios")["order"] == 1


def test_a_disk_with_data_needs_a_consent_that_names_it(site: Any, raw_disk: Path) -> None:
    disk = site.lab.disk("full", DISK, serial="D-full")
    subprocess.run(["mkfs.ext4", "-q", "-F", str(disk.path)], check=True)
    before = digest(disk.path)
    machine = armed(site, Firmware.BIOS_VIRTIO, "full", disk)
    machine.power_on()
    machine.wait_for_console("needs a consent", timeout=INSTALLED)
    assert "is not empty (ext4)" in machine.since_power_on()
    assert digest(disk.path) == before
    assert state(site, "full")["phase"] == "idle"
    site.server.command("node", "consent", "full", "D-full", "--yes")
    machine.wait_for_console("installed; telling the server", timeout=60)
    wait_state(site, "full", "installed")
    machine.power_off()
    assert digest(disk.path, raw_disk.stat().st_size) == digest(raw_disk)


def test_a_power_cut_while_writing_holds_the_node(site: Any, raw_disk: Path) -> None:
    disk = site.lab.disk("cut", DISK, serial="D-cut")
    machine = armed(site, Firmware.BIOS_VIRTIO, "cut", disk)
    machine.power_on()
    machine.wait_for_console("looking at the hardware", timeout=INSTALLED)
    site.lab.slow(machine, 16)
    machine.wait_for_console("MiB written", timeout=60)
    machine.power_off()
    assert state(site, "cut")["phase"] == "installing"
    with disk.path.open("rb") as content:
        assert not any(content.read(512)), "half a system must not look bootable"
    machine.power_on()
    held = wait_state(site, "cut", "held")
    assert held["reason"]
    machine.wait_for_console("not booted from the network", timeout=60)
    machine.power_off()
    assert "install-started" not in site.server.timeline(machine)
    # A new order is a person's word that it may be tried again; what was half written needs a consent.
    site.server.command("node", "install", "cut")
    assert site.server.ask("node", "show", "cut")["armed"]
