"""A bootable raw disk image for the lab: small, made from Debian's packages, started by BIOS and UEFI alike.

One active FAT partition behind an MBR holds SYSLINUX for BIOS, systemd-boot at the removable-media path for
UEFI, a kernel and an initramfs that says one line on the serial console and powers off. Everything is written
into the file with mtools, so nothing has to be mounted.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from pxeserver.lab.process import run

MARKER = "INSTALLED-SYSTEM-IS-UP"
SECTOR = 512
_START = 2048 * SECTOR
_SYSLINUX_MBR = Path("/usr/lib/syslinux/mbr/mbr.bin")
_BUSYBOX = Path("/bin/busybox")
_EFI_LOADER = "usr/lib/systemd/boot/efi/systemd-bootx64.efi"

_INIT = f"""#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox echo "{MARKER} $(/bin/busybox cat /proc/cmdline)" >/dev/console
/bin/busybox sleep 1
/bin/busybox poweroff -f
"""
_ARGUMENTS = "console=ttyS0,115200 panic=5"
_SYSLINUX = f"""SERIAL 0 115200
DEFAULT linux
LABEL linux
KERNEL /linux
INITRD /initrd
APPEND {_ARGUMENTS} firmware=bios
"""
_ENTRY = f"title installed\nlinux /linux\ninitrd /initrd\noptions {_ARGUMENTS} firmware=uefi\n"


def build_boot_disk(path: Path, kernel: Path, work: Path, *, size: int = 80 << 20) -> Path:
    """Write the image to `path` (`size` bytes) with the given Linux kernel; LabError when a program fails."""
    work.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as out:
        out.truncate(size)
    table = f"label: dos\nstart={_START // SECTOR}, type=ef, bootable\n"
    run("sfdisk", "-q", str(path), stdin=table)
    with path.open("r+b") as out:
        out.write(_SYSLINUX_MBR.read_bytes()[:440])
    part = f"{path}@@{_START}"
    run("mformat", "-i", part, "-F", "-v", "INSTALLED", "-T", str((size - _START) // SECTOR), "::")
    run("mmd", "-i", part, "::/EFI", "::/EFI/BOOT", "::/loader", "::/loader/entries")
    files = {
        "linux": kernel,
        "initrd": _initramfs(work),
        "EFI/BOOT/BOOTX64.EFI": _efi_loader(work),
        "syslinux.cfg": _text(work / "syslinux.cfg", _SYSLINUX),
        "loader/loader.conf": _text(work / "loader.conf", "timeout 0\ndefault linux\n"),
        "loader/entries/linux.conf": _text(work / "linux.conf", _ENTRY),
    }
    for name, source in files.items():
        run("mcopy", "-i", part, str(source), f"::/{name}")
    run("syslinux", "--install", "--offset", str(_START), str(path))
    return path


def _text(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def _initramfs(work: Path) -> Path:
    tree = work / "initramfs"
    shutil.rmtree(tree, ignore_errors=True)
    for name in ("bin", "proc", "dev"):
        (tree / name).mkdir(parents=True)
    shutil.copy(_BUSYBOX, tree / "bin/busybox")
    (tree / "init").write_text(_INIT)
    (tree / "init").chmod(0o755)
    names = "\n".join(str(p.relative_to(tree)) for p in sorted(tree.rglob("*")))
    archive = work / "initrd"
    with archive.open("wb") as out:
        subprocess.run(
            ["cpio", "-o", "-H", "newc", "--quiet", "-R", "0:0"],
            input=names.encode(),
            stdout=out,
            cwd=tree,
            check=True,
        )
    return archive


def _efi_loader(work: Path) -> Path:
    # Unpacked beside, not installed: installing systemd-boot would make it this machine's own boot loader.
    tree = work / "systemd-boot"
    if not (tree / _EFI_LOADER).exists():
        debs = work / "debs"
        debs.mkdir(exist_ok=True)
        subprocess.run(
            ["apt-get", "download", "-qq", "systemd-boot-efi"], cwd=debs, check=True, capture_output=True
        )
        run("dpkg-deb", "-x", str(next(debs.glob("systemd-boot-efi_*.deb"))), str(tree))
    return tree / _EFI_LOADER
