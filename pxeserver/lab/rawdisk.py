"""A small bootable disk: MBR with syslinux for BIOS, an EFI boot loader for UEFI, a kernel and an initramfs
that says so.

Made with mtools and the unprivileged syslinux: no loop devices, no mounts.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from pathlib import Path

from pxeserver import debian, initramfs

SECTOR = 512
START = 2048
"""First sector of the only partition."""
MBR_CODE = Path("/usr/lib/SYSLINUX/mbr.bin")
ESP, ACTIVE = 0xEF, 0x80
MARK = "HELLO-FROM-THE-INSTALLED-DISK"

_INIT = """#!/bin/sh
/bin/busybox mkdir -p /proc /dev
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
echo {mark} > /dev/{console}
while :; do /bin/busybox sleep 60; done
"""


def tiny_initrd(work: Path, mark: str = MARK, console: str = "ttyS0") -> Path:
    """An initramfs of busybox and one script that prints `mark` and stays."""
    root = work / "tiny"
    (root / "bin").mkdir(parents=True, exist_ok=True)
    shutil.copy("/bin/busybox", root / "bin/busybox")
    (root / "bin/sh").unlink(missing_ok=True)
    (root / "bin/sh").symlink_to("busybox")
    (root / "init").write_text(_INIT.format(mark=mark, console=console))
    (root / "init").chmod(0o755)
    initramfs.pack(root, work / "tiny.img", "zstd")
    return work / "tiny.img"


def boot_disk(work: Path, kernel: Path, cache: Path, mib: int = 32) -> Path:
    """Build the raw disk image in `work`; the EFI boot loader is kept in `cache`. Returns its path."""
    work.mkdir(parents=True, exist_ok=True)
    initrd = tiny_initrd(work)
    part, disk = work / "part.fat", work / "boot.raw"
    sectors = (mib << 20) // SECTOR - START
    with part.open("wb") as out:
        out.truncate(sectors * SECTOR)
    _tool(
        "mformat",
        "-i",
        str(part),
        "-v",
        "LAB",
        "-h",
        "255",
        "-s",
        "63",
        "-H",
        str(START),
        "-T",
        str(sectors),
        "::",
    )
    for folder in ("EFI", "EFI/BOOT", "loader", "loader/entries"):
        _tool("mmd", "-i", str(part), f"::{folder}")
    line = "console=ttyS0,115200n8 panic=5 quiet"
    texts = {
        "syslinux.cfg": "DEFAULT lab\nPROMPT 0\nLABEL lab\nKERNEL /vmlinuz\n"
        f"APPEND initrd=/tiny.img {line}\n",
        "loader/loader.conf": "default lab.conf\ntimeout 0\n",
        "loader/entries/lab.conf": f"title lab\nlinux /vmlinuz\ninitrd /tiny.img\noptions {line}\n",
    }
    for name, text in texts.items():
        (work / "text").write_text(text)
        _tool("mcopy", "-i", str(part), str(work / "text"), f"::{name}")
    for source, name in (
        (kernel, "vmlinuz"),
        (initrd, "tiny.img"),
        (_efi_loader(cache), "EFI/BOOT/BOOTX64.EFI"),
    ):
        _tool("mcopy", "-i", str(part), str(source), f"::{name}")
    _tool("syslinux", "--install", str(part))
    entry = struct.pack("<B3sB3sII", ACTIVE, b"\xfe\xff\xff", ESP, b"\xfe\xff\xff", START, sectors)
    with disk.open("wb") as out:
        out.write(MBR_CODE.read_bytes().ljust(446, b"\0")[:446] + entry + bytes(48) + b"\x55\xaa")
        out.seek(START * SECTOR)
        with part.open("rb") as content:
            shutil.copyfileobj(content, out)
    part.unlink()
    return disk


def _efi_loader(cache: Path) -> Path:
    """systemd-boot, the smallest EFI boot loader of Debian's that reads a kernel's options from a file."""
    kept = cache / "systemd-bootx64.efi"
    if not kept.exists():
        deb = debian.host_download("systemd-boot-efi", cache / "packages")
        tree = debian.unpack(deb, cache / "tree")
        shutil.copy(next(tree.rglob("systemd-bootx64.efi")), kept)
        shutil.rmtree(tree)
    return kept


def _tool(*words: str) -> None:
    done = subprocess.run(
        words, capture_output=True, text=True, check=False, env={**os.environ, "MTOOLS_SKIP_CHECK": "1"}
    )
    if done.returncode:
        raise OSError(f"{' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}")
