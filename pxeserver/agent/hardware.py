"""What the machine is: identity, firmware, processor, memory, accelerators, TPM and management controller."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

from pxeserver.agent import sysfs

EFI_GLOBAL = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
# PCI class codes (PCI Code and ID Assignment 1.x): display controllers, processing accelerators,
# co-processors.
_ACCELERATORS = {0x0300: "gpu", 0x0302: "gpu", 0x0380: "gpu", 0x1200: "accelerator", 0x0B40: "accelerator"}
# Display controllers that only draw a server's screen: ASPEED, Matrox, Cirrus, and those of virtual machines.
_SCREENS = {0x1A03, 0x102B, 0x1013, 0x1234, 0x1AF4, 0x15AD, 0x1B36, 0x80EE, 0x1414}


def machine(sys: Path = Path("/sys")) -> dict[str, str]:
    """Who made the machine and how it is told from others (SMBIOS types 1, 2 and 3)."""
    dmi = sys / "class/dmi/id"
    names = {
        "uuid": "product_uuid",
        "serial": "product_serial",
        "vendor": "sys_vendor",
        "product": "product_name",
        "board": "board_name",
        "board_serial": "board_serial",
        "asset_tag": "chassis_asset_tag",
    }
    return {key: sysfs.text(dmi / name) for key, name in names.items()}


def firmware(sys: Path = Path("/sys")) -> dict[str, Any]:
    """BIOS or UEFI, and whether Secure Boot is on (None where that cannot be told, and on BIOS)."""
    dmi = sys / "class/dmi/id"
    efi = sys / "firmware/efi"
    secure: bool | None = None
    if efi.exists():
        try:  # 4 bytes of attributes, then the value (efivarfs)
            secure = (efi / f"efivars/SecureBoot-{EFI_GLOBAL}").read_bytes()[4:5] == b"\x01"
        except OSError:
            secure = None
    return {
        "kind": "uefi" if efi.exists() else "bios",
        "secure_boot": secure,
        "vendor": sysfs.text(dmi / "bios_vendor"),
        "version": sysfs.text(dmi / "bios_version"),
        "date": sysfs.text(dmi / "bios_date"),
    }


def cpu(proc: Path = Path("/proc"), sys: Path = Path("/sys")) -> dict[str, Any]:
    """Model, sockets, cores and threads."""
    models = []
    for line in _lines(proc / "cpuinfo"):
        key, _, value = line.partition(":")
        if key.strip() in {"model name", "Processor", "CPU part"}:
            models.append(value.strip())
    threads = list((sys / "devices/system/cpu").glob("cpu[0-9]*/topology"))
    sockets = {sysfs.text(one / "physical_package_id") for one in threads}
    cores = {(sysfs.text(one / "physical_package_id"), sysfs.text(one / "core_id")) for one in threads}
    return {
        "architecture": platform.machine(),
        "model": models[0] if models else "",
        "sockets": len(sockets) or 1,
        "cores": len(cores) or 1,
        "threads": len(threads) or os.cpu_count() or 1,
    }


def memory(proc: Path = Path("/proc")) -> dict[str, int]:
    """Bytes of memory the kernel has."""
    for line in _lines(proc / "meminfo"):
        words = line.split()
        if words[:1] == ["MemTotal:"] and len(words) > 1:
            return {"bytes": int(words[1]) * 1024}
    return {"bytes": 0}


def accelerators(sys: Path = Path("/sys")) -> list[dict[str, Any]]:
    """GPUs and processing accelerators on PCI, without what only draws a screen. `memory` is the largest
    memory region, in bytes.
    """
    found = []
    for device in sysfs.entries(sys / "bus/pci/devices"):
        kind = _ACCELERATORS.get((sysfs.number(device / "class", 0) or 0) >> 8)
        screen = kind == "gpu" and sysfs.number(device / "vendor") in _SCREENS
        if kind and not screen:
            found.append(
                {
                    "kind": kind,
                    "pci": device.name,
                    "vendor_id": sysfs.text(device / "vendor"),
                    "device_id": sysfs.text(device / "device"),
                    "driver": sysfs.link_name(device / "driver"),
                    "memory": _largest_region(device / "resource"),
                }
            )
    return found


def _largest_region(path: Path) -> int:
    sizes = [0]
    for line in _lines(path):
        words = line.split()
        if len(words) == 3 and int(words[2], 16) & 0x200:  # IORESOURCE_MEM (linux/ioport.h)
            sizes.append(int(words[1], 16) - int(words[0], 16) + 1)
    return max(sizes)


def tpm(sys: Path = Path("/sys")) -> dict[str, Any] | None:
    """The first TPM, with its major version; None without one."""
    for chip in sysfs.entries(sys / "class/tpm"):
        return {
            "version": sysfs.number(chip / "tpm_version_major"),
            "driver": sysfs.link_name(chip / "device/driver"),
        }
    return None


def has_bmc(sys: Path = Path("/sys")) -> bool:
    """Whether SMBIOS announces a management controller (type 38, IPMI device information)."""
    try:
        table = (sys / "firmware/dmi/tables/DMI").read_bytes()
    except OSError:
        return False
    return 38 in smbios_types(table)


def smbios_types(table: bytes) -> set[int]:
    """The types of the structures in an SMBIOS table (DSP0134 6.1: header, formatted area, strings)."""
    found: set[int] = set()
    at = 0
    while at + 4 <= len(table):
        kind, length = table[at], table[at + 1]
        end = table.find(b"\0\0", at + length)
        if length < 4 or end < 0 or kind == 127:  # 127 is the end of the table
            break
        found.add(kind)
        at = end + 2
    return found


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").splitlines()
    except OSError:
        return []
