"""What is on a disk, by the magic numbers of partition tables, file systems, RAID, LVM and encryption.

The result is a list of words such as "gpt", "1:vfat", "2:lvm2": the number before the colon is the
partition. An empty list means that the disk's first and last MiB hold nothing but zeros: only that counts
as an empty disk. Data nobody knows is "unknown content", so that it needs a person's consent as well.
"""

from __future__ import annotations

import struct
from typing import Protocol

SECTOR = 512
EDGE = 1 << 20
"""Bytes looked at from each end of a disk before it is called empty."""
MOST_PARTITIONS = 128
KIB = 1024

# (name, offset from the start, magic bytes)
_MAGIC: tuple[tuple[str, int, bytes], ...] = (
    ("xfs", 0, b"XFSB"),
    ("luks", 0, b"LUKS\xba\xbe"),
    ("ntfs", 3, b"NTFS    "),
    ("exfat", 3, b"EXFAT   "),
    ("vfat", 82, b"FAT32   "),
    ("vfat", 54, b"FAT1"),
    ("bitlocker", 3, b"-FVE-FS-"),
    ("squashfs", 0, b"hsqs"),
    ("swap", 4086, b"SWAPSPACE2"),
    ("swap", 4086, b"SWAP-SPACE"),
    ("ext", KIB + 56, b"\x53\xef"),
    ("btrfs", 64 * KIB + 64, b"_BHRfS_M"),
    ("f2fs", KIB, b"\x10\x20\xf5\xf2"),
    ("iso9660", 32 * KIB + 1, b"CD001"),
    ("bcache", 4 * KIB + 24, bytes.fromhex("c68573f64e1a45ca8265f57f48ba6d81")),
    ("lvm2", 0, b"LABELONE"),
    ("lvm2", SECTOR, b"LABELONE"),
    ("lvm2", 2 * SECTOR, b"LABELONE"),
    ("lvm2", 3 * SECTOR, b"LABELONE"),
    ("ceph-bluestore", 0, b"bluestore block device"),
    ("vmfs", 2 << 20, b"\x0d\xd0\x01\xc0"),
)
_MD_MAGIC = struct.pack("<I", 0xA92B4EFC)
_ZFS_MAGIC = (struct.pack("<Q", 0x00BAB10C), struct.pack(">Q", 0x00BAB10C))
# RAID cards and firmware ("fake") RAID leave their mark in the last sectors (ddf: SNIA DDF 1.2; isw: Intel).
_TAIL = (
    ("ddf-raid", 1, b"\xde\x11\xde\x11"),
    ("isw-raid", 2, b"Intel Raid ISM Cfg Sig. "),
    ("nvidia-raid", 2, b"NVIDIA"),
)
_PROTECTIVE, _EXTENDED = 0xEE, {0x05, 0x0F, 0x85}


class Readable(Protocol):
    """A disk that can be read at any place."""

    size: int

    def read(self, offset: int, length: int) -> bytes:
        """Bytes from `offset`; fewer at the end of the disk. OSError where the disk cannot be read."""


def signatures(disk: Readable) -> list[str]:
    """Everything recognised on a disk, in a stable order."""
    found = [name for name, _ in _content(disk, 0, disk.size)]
    gpt = _gpt(disk)
    table = gpt or _mbr(disk)
    if gpt is not None:
        found.insert(0, "gpt")
    elif table is not None:
        found.insert(0, "mbr")
    for number, start, length in table or ():
        found += [f"{number}:{name}" for name, _ in _content(disk, start, length)]
    if not found and not _empty(disk):
        found.append("unknown content")
    return list(dict.fromkeys(found))


def _content(disk: Readable, start: int, length: int) -> list[tuple[str, int]]:
    """Signatures of the range [start, start + length)."""
    head = disk.read(start, min(length, 68 * KIB))
    found = []
    for name, offset, magic in _MAGIC:
        have = head[offset : offset + len(magic)]
        if offset + len(magic) > len(head):
            have = disk.read(start + offset, len(magic)) if offset + len(magic) <= length else b""
        if have == magic:
            found.append((_ext_name(head) if name == "ext" else name, offset))
    found += [("mdraid", at) for at in _md_places(length) if _has(disk, start, length, at, _MD_MAGIC)]
    if _zfs(disk, start, length):
        found.append(("zfs", 0))
    for name, sectors, magic in _TAIL:
        if _has(disk, start, length, length // SECTOR * SECTOR - sectors * SECTOR, magic):
            found.append((name, length))
    return found


def _has(disk: Readable, start: int, length: int, at: int, magic: bytes) -> bool:
    return 0 <= at <= length - len(magic) and disk.read(start + at, len(magic)) == magic


def _md_places(length: int) -> tuple[int, ...]:
    """Where md keeps its superblock: version 1.1, 1.2, 1.0 and 0.90 (md.4)."""
    sectors = length // SECTOR
    return (0, 4 * KIB, (sectors - 16 & ~7) * SECTOR, (length & ~(64 * KIB - 1)) - 64 * KIB)


def _zfs(disk: Readable, start: int, length: int) -> bool:
    """Whether one of the two leading or trailing vdev labels has an uberblock."""
    label = 256 * KIB
    tail = length // label * label
    for at in (0, label, tail - 2 * label, tail - label):
        if not 0 <= at <= length - label:
            continue
        ring = disk.read(start + at + 128 * KIB, 128 * KIB)
        if any(ring[slot : slot + 8] in _ZFS_MAGIC for slot in range(0, len(ring), KIB)):
            return True
    return False


def _ext_name(head: bytes) -> str:
    compatible, incompatible = struct.unpack_from("<II", head, KIB + 92)
    if incompatible & 0x40:  # extents
        return "ext4"
    return "ext3" if compatible & 4 else "ext2"


def _gpt(disk: Readable) -> list[tuple[int, int, int]] | None:
    """Partitions (number, start, length in bytes) of a GUID partition table, also of one whose first copy
    is gone.

    UEFI specification 5.3; sector sizes of 512 and 4096 bytes are tried.
    """
    for sector in (SECTOR, 4096):
        for at in (sector, disk.size // sector * sector - sector):
            header = disk.read(at, 92) if at > 0 else b""
            if len(header) < 92 or header[:8] != b"EFI PART":
                continue
            table, count, size = struct.unpack_from("<QII", header, 72)
            if not 128 <= size <= 4096:
                return []
            return _gpt_entries(disk, table * sector, min(count, MOST_PARTITIONS), size, sector)
    return None


def _gpt_entries(disk: Readable, at: int, count: int, size: int, sector: int) -> list[tuple[int, int, int]]:
    raw = disk.read(at, count * size) if at < disk.size else b""
    found = []
    for number in range(len(raw) // size):
        first, last = struct.unpack_from("<QQ", raw, number * size + 32)
        if (
            any(raw[number * size : number * size + 16])
            and last >= first
            and (last + 1) * sector <= disk.size
        ):
            found.append((number + 1, first * sector, (last - first + 1) * sector))
    return found


def _mbr(disk: Readable) -> list[tuple[int, int, int]] | None:
    """Partitions of a master boot record, logical ones included; None where sector 0 is a file system's or
    nobody's.
    """
    primary = _mbr_entries(disk.read(0, SECTOR))
    if primary is None:
        return None
    found = []
    for number, (kind, first, count) in enumerate(primary, start=1):
        if kind in _EXTENDED:
            found += _logical(disk, first)
        elif kind not in {0, _PROTECTIVE} and (first + count) * SECTOR <= disk.size:
            found.append((number, first * SECTOR, count * SECTOR))
    return found


def _logical(disk: Readable, extended: int) -> list[tuple[int, int, int]]:
    found: list[tuple[int, int, int]] = []
    at = extended
    while len(found) < MOST_PARTITIONS:  # a chain that bites its tail ends here
        here = _mbr_entries(disk.read(at * SECTOR, SECTOR))
        if here is None:
            break
        kind, first, count = here[0]
        if kind and (at + first + count) * SECTOR <= disk.size:
            found.append((len(found) + 5, (at + first) * SECTOR, count * SECTOR))
        if here[1][0] not in _EXTENDED or not here[1][1]:
            break
        at = extended + here[1][1]
    return found


def _mbr_entries(sector: bytes) -> list[tuple[int, int, int]] | None:
    if sector[510:512] != b"\x55\xaa":
        return None
    raw = [sector[at : at + 16] for at in range(446, 510, 16)]
    # A FAT or NTFS boot sector ends like an MBR; its code lies where the table would be.
    if any(one[0] not in {0, 0x80} for one in raw) or not any(one[4] for one in raw):
        return None
    return [(one[4], *struct.unpack_from("<II", one, 8)) for one in raw]


def _empty(disk: Readable) -> bool:
    places = (0, max(0, disk.size - EDGE))
    return not any(any(disk.read(at, min(EDGE, disk.size))) for at in places)
