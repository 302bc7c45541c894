"""The machine's disks, from /sys/block, and a disk as something to read."""

from __future__ import annotations

import fcntl
import os
import re
from pathlib import Path
from typing import Any

from pxeserver.agent import signatures, sysfs

SECTOR = 512
"""/sys/block/*/size counts in these, whatever the disk's own sector."""
CDROM_GET_CAPABILITY = 0x5331
_SKIP = re.compile(r"(loop|ram|zram|fd|sr|dm-|md|nbd|mtdblock|drbd|bcache|mmcblk\d+(boot|rpmb))")


class BlockDevice:
    """A disk (or a file) opened for reading, or for reading and writing by nobody else."""

    def __init__(self, path: Path, *, write: bool = False) -> None:
        # O_EXCL on a block device: refused while it is mounted or part of a RAID or volume group.
        flags = os.O_RDWR | os.O_EXCL if write else os.O_RDONLY
        self.fd = os.open(path, flags | os.O_CLOEXEC)
        self.size = os.lseek(self.fd, 0, os.SEEK_END)

    def read(self, offset: int, length: int) -> bytes:
        """Bytes at `offset`; fewer at the end."""
        parts = []
        while length > 0:
            part = os.pread(self.fd, length, offset)
            if not part:
                break
            parts.append(part)
            offset, length = offset + len(part), length - len(part)
        return b"".join(parts)

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """All of `data` at `offset`."""
        view = memoryview(data)
        while view:
            done = os.pwrite(self.fd, view, offset)
            offset, view = offset + done, view[done:]

    def flush(self) -> None:
        """Have everything on the medium, and forget the cached copy so that a read comes from the medium."""
        os.fsync(self.fd)
        try:
            fcntl.ioctl(self.fd, 0x1261)  # BLKFLSBUF
        except OSError:
            os.posix_fadvise(self.fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def close(self) -> None:
        """Close the device."""
        os.close(self.fd)

    def __enter__(self) -> BlockDevice:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def disks(sys: Path = Path("/sys"), dev: Path = Path("/dev")) -> list[dict[str, Any]]:
    """All disks (no CD drives, loop or assembled devices), each with what was found on it."""
    found = []
    for block in sysfs.entries(sys / "block"):
        hidden = sysfs.text(block / "hidden") == "1"  # one path of a multipath NVMe disk
        if hidden or _SKIP.match(block.name) or not sysfs.number(block / "size", 0):
            continue
        found.append(describe(block, dev))
    return found


def describe(block: Path, dev: Path = Path("/dev")) -> dict[str, Any]:
    """One disk. Size in bytes; `by_path` is its place on the buses, which stays when its name changes."""
    device = block / "device"
    node = dev / block.name.replace("!", "/")
    words: dict[str, Any] = {
        "name": block.name,
        "path": str(node),
        "by_path": bus_path(block),
        "serial": serial_of(block),
        "wwn": sysfs.text(block / "wwid") or sysfs.text(device / "wwid"),
        "model": _model(device),
        "size": (sysfs.number(block / "size", 0) or 0) * SECTOR,
        "removable": sysfs.text(block / "removable") == "1",
        "rotational": sysfs.text(block / "queue/rotational") == "1",
        "read_only": sysfs.text(block / "ro") == "1",
        "transport": transport_of(block),
    }
    try:
        with BlockDevice(node) as disk:
            words["signatures"] = signatures.signatures(disk)
    except OSError as error:
        # A disk that cannot be read is not an empty one.
        words["signatures"] = ["unreadable"]
        words["error"] = str(error)
    return words


def _model(device: Path) -> str:
    vendor = sysfs.text(device / "vendor")
    # A virtio disk has the number of its bus there, and no model.
    return " ".join(("" if vendor.startswith("0x") else vendor, sysfs.text(device / "model"))).strip()


def serial_of(block: Path) -> str:
    """A disk's serial number: the kernel keeps it in different places for each kind of disk."""
    device = block / "device"
    plain = sysfs.text(block / "serial") or sysfs.text(device / "serial")
    if plain:
        return plain
    try:  # SCSI and SATA: vital product data page 0x80 (SPC-4 7.8.15), a header of 4 bytes before the number
        page = (device / "vpd_pg80").read_bytes()
    except OSError:
        return ""
    return page[4:].decode("ascii", "replace").strip("\0 ")


def bus_path(block: Path) -> str:
    """The disk's place as pci-0000:00:04.0 and what follows on its way down, without kernel-made numbers."""
    try:
        real = block.resolve()
    except OSError:
        return ""
    parts = [part for part in real.parts if part not in {"/", "sys", "devices", "block"}]
    pci = [
        i for i, part in enumerate(parts) if re.fullmatch(r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.\d", part)
    ]
    if not pci:
        return ""
    rest = [
        p
        for p in parts[pci[-1] + 1 : -1]
        if re.match(r"(ata\d|\d+:\d+:\d+:\d+$|nvme\d|usb\d|\d+-[\d.]+$)", p)
    ]
    scsi = [re.sub(r"^\d+:", "", p) for p in rest if re.match(r"\d+:\d+:\d+:\d+$", p)]
    ata = [p for p in rest if p.startswith("ata")]
    usb = [p.split("-", 1)[1] for p in rest if re.match(r"\d+-[\d.]+$", p)]
    tail = [*ata, *(f"usb-{one}" for one in usb[-1:]), *(f"scsi-{one}" for one in scsi if not ata)]
    return "-".join((f"pci-{parts[pci[-1]]}", *tail))


def transport_of(block: Path) -> str:
    """virtio, nvme, usb, sata, sas, scsi, mmc or empty."""
    try:
        real = str(block.resolve())
    except OSError:
        return ""
    for mark, name in (
        ("/virtio", "virtio"),
        ("/nvme", "nvme"),
        ("/usb", "usb"),
        ("/ata", "sata"),
        ("/mmc", "mmc"),
    ):
        if mark in real:
            return name
    return "sas" if "/end_device-" in real else "scsi" if "/host" in real else ""
