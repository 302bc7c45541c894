"""What is on a disk: the formats by their real tools where they are at hand, the others by their published
layout.
"""

from __future__ import annotations

import random
import struct
import subprocess
from pathlib import Path

import pytest

from pxeserver.agent.disks import BlockDevice
from pxeserver.agent.signatures import signatures

MIB = 1 << 20


class Bytes:
    """A disk in memory."""

    def __init__(self, size: int = 8 * MIB, **at: bytes) -> None:
        self.size = size
        self.data = bytearray(size)
        for place, content in at.items():
            side, _, number = place.partition("_")
            offset = int(number) if side == "at" else size - int(number)
            self.data[offset : offset + len(content)] = content

    def read(self, offset: int, length: int) -> bytes:
        return bytes(self.data[offset : offset + length])


def of_file(path: Path) -> list[str]:
    with BlockDevice(path) as disk:
        return signatures(disk)


def made(path: Path, *command: str, size: int = 32 * MIB) -> list[str]:
    with path.open("wb") as out:
        out.truncate(size)
    subprocess.run([*command, str(path)], check=True, capture_output=True)
    return of_file(path)


def test_an_empty_disk_has_none() -> None:
    assert signatures(Bytes()) == []


@pytest.mark.parametrize("offset", [0, 5, MIB - 1, 8 * MIB - 1, 7 * MIB])
def test_a_single_byte_at_either_end_is_content(offset: int) -> None:
    disk = Bytes()
    disk.data[offset] = 1
    assert signatures(disk) == ["unknown content"]


@pytest.mark.parametrize(
    ("command", "found"),
    [
        (("mkfs.ext4", "-q", "-F"), ["ext4"]),
        (("mke2fs", "-q", "-F", "-t", "ext2"), ["ext2"]),
        (("mke2fs", "-q", "-F", "-t", "ext3"), ["ext3"]),
        (("mkfs.vfat", "-F", "16"), ["vfat"]),
        (("mkfs.vfat", "-F", "32"), ["vfat"]),
        (("mkswap", "-q"), ["swap"]),
    ],
)
def test_file_systems_made_by_their_own_tools(
    tmp_path: Path, command: tuple[str, ...], found: list[str]
) -> None:
    assert made(tmp_path / "disk", *command, size=48 * MIB) == found


@pytest.mark.parametrize("label", ["gpt", "dos"])
def test_partitions_are_looked_into(tmp_path: Path, label: str) -> None:
    disk, part = tmp_path / "disk", tmp_path / "part"
    with disk.open("wb") as out:
        out.truncate(64 * MIB)
    layout = f"label: {label}\nstart=2048, size=32768\nstart=40960, size=65536\n"
    subprocess.run(["sfdisk", "-q", str(disk)], input=layout, text=True, check=True)
    assert of_file(disk) == ["gpt" if label == "gpt" else "mbr"]
    assert made(part, "mkfs.ext4", "-q", "-F", size=32 * MIB) == ["ext4"]
    with disk.open("r+b") as out:
        out.seek(40960 * 512)
        out.write(part.read_bytes())
    assert of_file(disk) == ["gpt" if label == "gpt" else "mbr", "2:ext4"]


def test_a_gpt_whose_first_copy_is_gone_is_still_one(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with disk.open("wb") as out:
        out.truncate(64 * MIB)
    subprocess.run(["sfdisk", "-q", str(disk)], input="label: gpt\n,\n", text=True, check=True)
    with disk.open("r+b") as out:
        out.write(bytes(MIB))
    assert of_file(disk)[0] == "gpt"


def test_logical_partitions(tmp_path: Path) -> None:
    disk, part = tmp_path / "disk", tmp_path / "part"
    with disk.open("wb") as out:
        out.truncate(64 * MIB)
    places = (
        "start=2048, size=4096",
        "start=8192, type=5",
        "start=10240, size=8192",
        "start=20480, size=65536",
    )
    layout = "\n".join(("label: dos", *places, ""))
    subprocess.run(["sfdisk", "-q", str(disk)], input=layout, text=True, check=True)
    made(part, "mkswap", "-q", size=32 * MIB)
    with disk.open("r+b") as out:
        out.seek(20480 * 512)
        out.write(part.read_bytes())
    assert of_file(disk) == ["mbr", "6:swap"]


@pytest.mark.parametrize(
    ("place", "magic", "name"),
    [
        ("at_0", b"XFSB", "xfs"),
        ("at_0", b"LUKS\xba\xbe\0\2", "luks"),
        ("at_3", b"NTFS    ", "ntfs"),
        ("at_65600", b"_BHRfS_M", "btrfs"),
        ("at_512", b"LABELONE", "lvm2"),
        ("at_0", struct.pack("<I", 0xA92B4EFC), "mdraid"),
        ("at_4096", struct.pack("<I", 0xA92B4EFC), "mdraid"),
        ("end_8192", struct.pack("<I", 0xA92B4EFC), "mdraid"),
        ("end_65536", struct.pack("<I", 0xA92B4EFC), "mdraid"),
        ("at_131072", struct.pack("<Q", 0x00BAB10C), "zfs"),
        ("end_131072", struct.pack("<Q", 0x00BAB10C), "zfs"),
        ("end_512", b"\xde\x11\xde\x11", "ddf-raid"),
        ("end_1024", b"Intel Raid ISM Cfg Sig. 1.3.00", "isw-raid"),
        ("at_32769", b"CD001", "iso9660"),
    ],
)
def test_other_formats_by_their_layout(place: str, magic: bytes, name: str) -> None:
    assert signatures(Bytes(**{place: magic})) == [name]


def test_a_partition_chain_that_bites_its_tail_ends() -> None:
    disk = Bytes()
    entry = struct.pack("<B3sB3sII", 0, b"\0\0\0", 5, b"\0\0\0", 8, 8)
    for sector in (0, 8, 16):
        disk.data[sector * 512 + 446 : sector * 512 + 462] = struct.pack(
            "<B3sB3sII", 0, b"\0\0\0", 0x83, b"\0\0\0", 1, 1
        )
        disk.data[sector * 512 + 462 : sector * 512 + 478] = entry
        disk.data[sector * 512 + 510 : sector * 512 + 512] = b"\x55\xaa"
    assert signatures(disk)[0] == "mbr"


@pytest.mark.parametrize("size", [0, 1, 511, 512, 4096, 70_000, 300_000])
def test_small_disks_are_no_trouble(size: int) -> None:
    assert signatures(Bytes(size)) == []


def test_damaged_content_is_never_an_error_and_never_empty() -> None:
    dice = random.Random(7)
    for _ in range(15):
        disk = Bytes(2 * MIB)
        disk.data[:] = dice.randbytes(2 * MIB)
        disk.data[510:512] = b"\x55\xaa"
        disk.data[446] = disk.data[462] = disk.data[478] = disk.data[494] = 0
        disk.data[512:520] = b"EFI PART"
        disk.data[512 + 72 : 512 + 84] = struct.pack(
            "<QI", dice.choice([2, 0, 1 << 60]), dice.choice([0, 4, 1 << 31])
        )
        disk.data[512 + 84 : 512 + 88] = struct.pack("<I", dice.choice([0, 127, 128, 4096, 1 << 31]))
        assert signatures(disk)
