"""The firmware the lab can start, and the QEMU command line of each.

What is odd in these lines was found by trying: a transitional virtio NIC with an explicit BIOS romfile is
silently not booted from, so the x86 default ROM is used; `romfile=` (empty) makes UEFI use its own network
driver instead of iPXE's; newer edk2 refuses network boot without a random number generator; `graphics=off`
puts BIOS text on the serial port.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

OVMF = Path("/usr/share/OVMF")
AAVMF = Path("/usr/share/AAVMF")
E1000_ROM = Path("/usr/lib/ipxe/qemu/pxe-e1000.rom")


class Firmware(Enum):
    """A kind of machine, by what it boots from the network with."""

    BIOS_VIRTIO = "bios-ipxe-virtio"
    """SeaBIOS with the iPXE option ROM of the virtio NIC."""
    BIOS_E1000 = "bios-ipxe-e1000"
    """SeaBIOS with the iPXE option ROM of an Intel e1000."""
    BIOS_PLAIN = "bios-plain"
    """The virtio ROM with its iPXE user class hidden by the lab: it looks like any BIOS PXE ROM and needs
    undionly.kpxe.
    """
    OVMF_PXE = "ovmf-pxe"
    OVMF_HTTP = "ovmf-http"
    AAVMF_PXE = "aavmf-pxe"
    AAVMF_HTTP = "aavmf-http"

    @property
    def arm(self) -> bool:
        """Whether this is a 64-bit ARM machine."""
        return self in {Firmware.AAVMF_PXE, Firmware.AAVMF_HTTP}

    @property
    def bios(self) -> bool:
        """Whether this is a BIOS machine."""
        return self in {Firmware.BIOS_VIRTIO, Firmware.BIOS_E1000, Firmware.BIOS_PLAIN}

    @property
    def console(self) -> str:
        """The Linux name of the machine's serial console."""
        return "ttyAMA0" if self.arm else "ttyS0"


@dataclass(frozen=True, slots=True)
class Disk:
    """A raw disk file. `bus` is virtio, nvme or sata."""

    path: Path
    serial: str = "LABDISK1"
    bus: str = "virtio"


# Network boot of these kinds has to be off, so that HTTP Boot comes first without editing variables.
_ONLY_HTTP = tuple(
    word
    for family in ("IPv4", "IPv6")
    for word in ("-fw_cfg", f"name=opt/org.tianocore/{family}PXESupport,string=n")
)


def firmware_words(firmware: Firmware, mac: str, variables: Path) -> list[str]:
    """QEMU program and options for machine, firmware and network card. `variables` holds UEFI's own copy of
    its variables.
    """
    if firmware.bios:
        card = f"virtio-net-pci,netdev=n0,mac={mac},bootindex=1"
        if firmware is Firmware.BIOS_E1000:
            card = f"e1000,netdev=n0,mac={mac},romfile={E1000_ROM},bootindex=1"
        return ["qemu-system-x86_64", "-machine", "pc,graphics=off", "-device", card]
    if firmware.arm:
        words = ["qemu-system-aarch64", "-machine", "virt", "-cpu", "cortex-a57"]
        code, fresh = AAVMF / "AAVMF_CODE.fd", AAVMF / "AAVMF_VARS.fd"
    else:
        words = ["qemu-system-x86_64", "-machine", "q35"]
        code, fresh = OVMF / "OVMF_CODE_4M.fd", OVMF / "OVMF_VARS_4M.fd"
    if not variables.exists():
        shutil.copyfile(fresh, variables)
    words += ["-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={code}"]
    words += ["-drive", f"if=pflash,format=raw,unit=1,file={variables}"]
    words += ["-device", f"virtio-net-pci,netdev=n0,mac={mac},bootindex=1,romfile="]
    if firmware in {Firmware.OVMF_HTTP, Firmware.AAVMF_HTTP}:
        words += _ONLY_HTTP
    return words


def disk_words(disks: tuple[Disk, ...]) -> list[str]:
    """QEMU options for disks, booted after the network card in their order."""
    words: list[str] = []
    for number, disk in enumerate(disks):
        words += ["-drive", f"if=none,id=d{number},format=raw,cache=unsafe,discard=unmap,file={disk.path}"]
        device = {"virtio": "virtio-blk-pci", "nvme": "nvme", "sata": f"ide-hd,bus=ide.{number}"}[disk.bus]
        words += ["-device", f"{device},drive=d{number},serial={disk.serial},bootindex={number + 2}"]
    return words


def hide_ipxe(tap: str) -> str:
    """nftables rules that make the iPXE ROM behind `tap` look like any BIOS PXE ROM.

    The codes of its user class (77) and iPXE options (175) become site-local ones that no server reads.
    They lie at fixed places, which move by 23 bytes once the ROM has taken over a proxy's short vendor
    class. Only the ROM sends with the broadcast flag off: undionly.kpxe, which it loads, stays iPXE. The
    UDP checksum is set to none (0).
    """
    udp_header, long_class, short_class = 8, 290, 267
    flags = f"@th,{(udp_header + 10) * 8},16"
    rules = []
    for user_class in (long_class, short_class):
        for code, unread, at in ((77, 224, user_class), (175, 225, user_class + 31)):
            where = f"@th,{(udp_header + at) * 8},8"
            rules.append(f'iifname "{tap}" udp dport 67 {flags} 0 {where} {code} {where} set {unread}')
    rules.append(f'iifname "{tap}" udp dport 67 udp checksum set 0')
    chain = "\n".join(("type filter hook prerouting priority 0;", *rules))
    return f"table bridge hide-{tap} {{\nchain early {{\n{chain}\n}}\n}}\n"
