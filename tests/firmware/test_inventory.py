"""What a machine is made of comes up in its inventory.

Its hardware are stand-ins: QEMU's disks and cards, swtpm for the TPM, OpenIPMI's simulator for the
management controller, the lab for the switch at the other end of the cable.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pxeserver.lab import standins
from pxeserver.lab.firmware import Firmware

pytestmark = [pytest.mark.firmware, pytest.mark.timeout(600)]

MIB = 1 << 20
SECOND, BMC_MAC = "52:54:00:99:00:01", "52:54:00:b0:00:01"
ONLINE = 150.0


def several_systems(path: Path) -> None:
    """A GUID partition table with an ext4, an LVM physical volume and a swap partition."""
    table = "label: gpt\nsize=32MiB\nsize=64MiB,type=lvm\nsize=16MiB,type=swap\n"
    subprocess.run(["sfdisk", "-q", str(path)], input=table, text=True, check=True)
    parts = ((1, 31, "mkfs.ext4 -q -F"), (33, 64, ""), (97, 16, "mkswap -q"))
    for start, size, make in parts:
        part = path.with_suffix(".part")
        with part.open("wb") as out:
            out.truncate(size * MIB)
            if not make:  # what pvcreate writes into the second sector (lvm2, label header)
                out.seek(512)
                out.write(b"LABELONE" + (1).to_bytes(8, "little") + bytes(8) + b"LVM2 001")
        if make:
            subprocess.run([*make.split(), str(part)], check=True, capture_output=True)
        with part.open("rb") as content, path.open("r+b") as disk:
            disk.seek(start * MIB)
            disk.write(content.read())
        part.unlink()


def rich(site: Any) -> Any:
    """A UEFI machine with everything."""
    lab = site.lab
    fast = lab.disk("fast", 64 * MIB, serial="NVME-1", bus="nvme")
    full = lab.disk("full", 128 * MIB, serial="SATA-1", bus="sata")
    several_systems(full.path)
    extra = (
        *standins.tpm(lab, "rich"),
        *standins.bmc(lab, "rich", "10.77.0.9", BMC_MAC),
        *standins.card(lab, "second", SECOND),
    )
    return lab.machine(Firmware.OVMF_PXE, "rich", disks=(fast, full), cpus=2, extra=extra)


def plain(site: Any) -> Any:
    """A BIOS machine with a disk of unknown content, and a controller without a network."""
    disk = site.lab.disk("bare", 64 * MIB, serial="VIRTIO-1")
    with disk.path.open("r+b") as content:
        content.write(b"\x13\x37" * 100)
    return site.lab.machine(Firmware.BIOS_VIRTIO, "plain", disks=(disk,), extra=standins.silent_bmc())


@pytest.fixture(scope="module")
def seen(make_site: Callable[..., Any]) -> dict[str, dict[str, Any]]:
    """The inventories of both machines, by name, with what the command line shows and the console said."""
    site = make_site("--unknown", "discover")
    machines = [rich(site), plain(site)]

    def look(machine: Any) -> dict[str, Any]:
        name, server = machine.spec.name, site.server
        machine.power_on()
        try:
            machine.wait_for_console("inventory sent", timeout=ONLINE)
            code = {m["mac"]: m["code"] for m in server.ask("node", "list", "--unknown")}[machine.spec.mac]
            server.command("node", "approve", code, name)
            machine.wait_for_console(f"this is node {name}", timeout=30)
            if name == "rich":
                _switch_speaks(site, machine)
        finally:
            machine.power_off()
        shown = server.command("node", "show", name)
        return {**server.ask("node", "show", name), "shown": shown, "console": machine.since_power_on()}

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(("rich", "plain"), pool.map(look, machines), strict=True))


def _switch_speaks(site: Any, machine: Any) -> None:
    frames = {
        tap: standins.lldp_frame("02:00:00:00:00:01", port, "leaf1\x1b[31m")
        for tap, port in ((machine.tap, "swp7"), ("second", "swp8"))
    }
    for tap, frame in frames.items():
        standins.say_on_cable(site.lab, tap, [frame])
    machine.wait_for_console("on port swp7 of leaf1", timeout=30)


def test_disks_with_what_is_on_them(seen: dict[str, dict[str, Any]]) -> None:
    disks = {disk["serial"]: disk for disk in seen["rich"]["inventory"]["disks"]}
    assert set(disks) == {"NVME-1", "SATA-1"}
    fast, full = disks["NVME-1"], disks["SATA-1"]
    assert (fast["size"], fast["transport"], fast["rotational"]) == (64 * MIB, "nvme", False)
    assert (fast["signatures"], fast["by_path"][:9]) == ([], "pci-0000:")
    assert (full["size"], full["transport"], full["model"]) == (128 * MIB, "sata", "ATA QEMU HARDDISK")
    assert full["signatures"] == ["gpt", "1:ext4", "2:lvm2", "3:swap"]
    assert full["by_path"].startswith("pci-0000:00:1f.2-ata")
    (bare,) = seen["plain"]["inventory"]["disks"]
    assert (bare["serial"], bare["signatures"]) == ("VIRTIO-1", ["unknown content"])


def test_cards_and_the_switch_behind_them(seen: dict[str, dict[str, Any]]) -> None:
    cards = {nic["mac"]: nic for nic in seen["rich"]["inventory"]["nics"]}
    first = next(nic for mac, nic in cards.items() if mac != SECOND)
    second = cards[SECOND]
    assert (first["driver"], first["link"], first["boot"]) == ("virtio_net", True, True)
    assert (second["driver"], second["link"], second["speed"], second["boot"]) == (
        "e1000e",
        True,
        1000,
        False,
    )
    assert first["lldp"] == {
        "chassis": "02:00:00:00:00:01",
        "port": "swp7",
        "port_description": "",
        "system": "leaf1[31m",
    }, "what a switch says comes without its escape character"
    assert second["lldp"]["port"] == "swp8"


def test_firmware_processor_tpm_and_controller(seen: dict[str, dict[str, Any]]) -> None:
    rich, plain = seen["rich"]["inventory"], seen["plain"]["inventory"]
    assert (rich["firmware"]["kind"], rich["firmware"]["secure_boot"]) == ("uefi", False)
    assert (plain["firmware"]["kind"], plain["firmware"]["secure_boot"]) == ("bios", None)
    assert (rich["machine"]["vendor"], rich["machine"]["product"]) == ("Lab", "ovmf-pxe")
    assert (rich["cpu"]["threads"], plain["cpu"]["threads"]) == (2, 1)
    assert 900 * MIB < rich["memory"]["bytes"] < 1024 * MIB
    assert (rich["tpm"], plain["tpm"]) == ({"version": 2, "driver": "tpm_tis"}, None)
    assert rich["bmc"] == {"device": True, "address": "10.77.0.9", "mac": BMC_MAC}
    assert plain["bmc"] == {"device": True, "address": None, "mac": None}, "QEMU's controller has no network"
    assert rich["accelerators"] == plain["accelerators"] == rich["infiniband"] == []


def test_a_person_reads_it_all(seen: dict[str, dict[str, Any]]) -> None:
    shown = seen["rich"]["shown"]
    for words in (
        "Lab ovmf-pxe",
        "uefi EFI Development Kit",
        "secure boot  off",
        "cores 2, threads 2",
        "version 2, tpm_tis",
        f"10.77.0.9 {BMC_MAC}",
        "up, 1 Gbit/s",
        "leaf1[31m (02:00:00:00:00:01) port swp8",
        "1:ext4",
        "2:lvm2",
    ):
        assert words in shown, f"{words!r} is not in\n{shown}"
    assert "\x1b" not in shown
    console = seen["rich"]["console"]
    for words in (
        "looking for devices",
        "asking for an address on eth",
        "disk sda 0.1 GB serial SATA-1: gpt",
    ):
        assert words in console
    assert "\x1b[31m" not in console.partition("discovery system")[2]


def test_its_boot_is_the_node_s_although_it_was_approved_later(seen: dict[str, dict[str, Any]]) -> None:
    (boot,) = seen["rich"]["attempts"]
    assert boot["stage"] == "inventory"
