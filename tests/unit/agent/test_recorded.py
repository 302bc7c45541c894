"""Hardware that no virtual machine has, read from what real machines had in /sys: tests/captures/sysfs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pxeserver.agent import hardware, nics
from pxeserver.agent.disks import disks
from pxeserver.agent.inventory import gather
from pxeserver.inventory import parse_inventory

RECORDED = Path(__file__).parents[2] / "captures" / "sysfs"


def unpack(name: str, root: Path) -> Path:
    """Lay out a recording below `root`: a path, its kind, and its content or target in each line."""
    for line in (RECORDED / f"{name}.tsv").read_text().splitlines():
        path, kind, content = line.split("\t")
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if kind == "link":
            place.symlink_to(content)
        else:
            place.write_text(content.encode().decode("unicode_escape"))
    return root


def cards(found: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [(c["name"], c["driver"], c["link"], c["speed"], c["pci"], c["vendor_id"]) for c in found]


@pytest.fixture
def dell(tmp_path: Path) -> Path:
    return unpack("dell-dcs8000z-xeon-phi", tmp_path)


def test_a_xeon_phi_and_not_the_screen_beside_it(dell: Path) -> None:
    (phi,) = hardware.accelerators(dell / "sys")
    assert phi == {
        "kind": "accelerator",
        "pci": "0000:83:00.0",
        "vendor_id": "0x8086",
        "device_id": "0x225c",
        "driver": "mic",
        "memory": 8 << 30,
    }


def test_a_mellanox_adapter_with_its_port_and_its_network_card(dell: Path) -> None:
    (port,) = nics.infiniband(dell / "sys")
    assert port == {
        "name": "mlx4_0",
        "port": "1",
        "guid": "0002:c903:00f9:bfa0",
        "firmware": "2.11.500",
        "state": "ACTIVE",
        "rate": "56 Gb/sec (4X FDR)",
        "link_layer": "InfiniBand",
    }
    found = nics.nics(dell / "sys", "84:8F:69:FE:CC:40")
    assert cards(found) == [
        ("ib0", "mlx4_core", True, None, "0000:82:00.0", "0x15b3"),
        ("eth0", "igb", True, 1000, "0000:02:00.0", "0x8086"),
        ("eth1", "igb", False, None, "0000:02:00.3", "0x8086"),
    ], "no bridge, VLAN, loopback or link to the Xeon Phi"
    assert [card["boot"] for card in found] == [False, True, False]
    assert found[0]["mac"] == "80:00:00:48:fe:80:00:00:00:00:00:00:00:02:c9:03:00:f9:bf:a1"


def test_the_whole_machine_is_an_inventory_that_the_server_takes(dell: Path) -> None:
    told = parse_inventory(gather("84:8f:69:fe:cc:40", dell))
    assert (told.machine.vendor, told.machine.product, told.machine.serial) == ("Dell", "DCS8000Z", "")
    assert (told.firmware.kind, told.firmware.secure_boot, told.firmware.version) == ("bios", None, "1.0.30")
    assert (told.cpu.sockets, told.cpu.cores, told.cpu.threads) == (2, 16, 16)
    assert told.memory.bytes == 32836008 * 1024
    (disk,) = told.disks
    assert (disk.name, disk.model, disk.size) == ("sda", "ATA ST9250610NS", 488397168 * 512)
    assert disk.rotational
    assert disk.signatures == ["unreadable"], "a recording has no content: never an empty disk"
    assert (len(told.accelerators), len(told.infiniband), len(told.nics)) == (1, 1, 3)


def test_an_infiniband_adapter_of_qlogic_and_a_raid_controller(tmp_path: Path) -> None:
    sys = unpack("dell-r910-qlogic-infiniband", tmp_path) / "sys"
    assert hardware.accelerators(sys) == [], "the Matrox screen of the management controller is none"
    (port,) = nics.infiniband(sys)
    assert (port["name"], port["guid"], port["state"]) == ("qib0", "0011:7500:0077:cfc8", "ACTIVE")
    assert (port["rate"], port["firmware"]) == ("40 Gb/sec (4X QDR)", ""), "its driver publishes no fw_ver"
    assert [card[:3] for card in cards(nics.nics(sys))] == [
        ("ib0", "ib_qib", True),
        ("eth0", "bnx2", True),
        ("eth1", "bnx2", False),
        ("eth2", "bnx2", False),
        ("eth3", "bnx2", False),
    ]
    (volume,) = disks(sys, tmp_path / "dev")
    assert (volume["model"], volume["by_path"]) == ("DELL PERC H700", "pci-0000:01:00.0-scsi-2:0:0")


def test_eight_vector_engines_behind_switches(tmp_path: Path) -> None:
    sys = unpack("nec-vector-engines", tmp_path) / "sys"
    found = hardware.accelerators(sys)
    slots = ("1b", "1c", "1d", "1e", "3d", "3f", "40", "41")
    assert [one["pci"] for one in found] == [f"0000:{slot}:00.0" for slot in slots]
    assert {(one["kind"], one["vendor_id"], one["driver"]) for one in found} == {
        ("accelerator", "0x1bcf", "ve_drv")
    }
    assert {one["memory"] for one in found} == {64 << 30}
    assert [card[:5] for card in cards(nics.nics(sys))] == [
        ("enp96s0f0", "i40e", True, 1000, "0000:60:00.0"),
        ("enp96s0f1", "i40e", False, None, "0000:60:00.1"),
    ]


def test_an_amd_gpu_and_the_adapters_of_three_fabrics(tmp_path: Path) -> None:
    sys = unpack("amd-vega-and-fabrics", tmp_path) / "sys"
    (gpu,) = hardware.accelerators(sys)
    assert (gpu["kind"], gpu["pci"], gpu["vendor_id"], gpu["device_id"]) == (
        "gpu",
        "0000:09:00.0",
        "0x1002",
        "0x687f",
    )
    told = int((sys / "bus/pci/devices/0000:09:00.0/mem_info_vram_total").read_text())
    assert told <= gpu["memory"] == 8 << 30, "the region holds what the driver says is there"
    assert [(p["name"], p["port"], p["firmware"], p["state"], p["rate"]) for p in nics.infiniband(sys)] == [
        ("hfi1_0", "1", "1.27.0", "ACTIVE", "100 Gb/sec (4X EDR)"),
        ("mlx4_0", "1", "2.31.5050", "ACTIVE", "40 Gb/sec (4X QDR)"),
        ("mlx4_0", "2", "2.31.5050", "ACTIVE", "40 Gb/sec (4X QDR)"),
        ("mlx5_0", "1", "14.28.2006", "ACTIVE", "25 Gb/sec (1X EDR)"),
    ]
