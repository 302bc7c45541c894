"""What the tests boot: Debian's network installer, and a small system made from its kernel and modules."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from pxeserver import debian, initramfs, kernelmodules

PACKAGE = "debian-installer-12-netboot-amd64"
TREE = "usr/lib/debian-installer/images/12/amd64/text/debian-installer/amd64"
MODULES = ("kernel/drivers/net/virtio_net", "kernel/drivers/virtio/virtio_pci.")
MARK = "SMALL-SYSTEM-IS-UP"

_INIT = f"""#!/bin/sh
export PATH=/bin
busybox mkdir -p /proc /sys /dev
busybox mount -t proc proc /proc
busybox mount -t sysfs sys /sys
busybox mount -t devtmpfs dev /dev
busybox modprobe virtio_pci
busybox modprobe virtio_net
busybox ip link set eth0 up
busybox udhcpc -i eth0 -q -t 20 -T 2 -s /etc/udhcpc.script
url=$(busybox sed 's/.*pxeserver.url=\\([^ ]*\\).*/\\1/' /proc/cmdline)
until busybox timeout 10 busybox wget -q -O /dev/null "$url/report/booted"; do busybox sleep 1; done
echo {MARK} > /dev/ttyS0
while :; do busybox sleep 60; done
"""
_UDHCPC = """#!/bin/sh
[ "$1" = bound ] && busybox ip address add "$ip/$mask" dev "$interface"
exit 0
"""


@dataclass(frozen=True)
class KernelFiles:
    """A kernel with its RAM disk."""

    kernel: Path
    initrd: Path

    @property
    def size(self) -> int:
        """Bytes of both."""
        return self.kernel.stat().st_size + self.initrd.stat().st_size


def debian_installer(cache: Path) -> KernelFiles:
    """The installer of Debian 12 for the network, from its package; it is downloaded once."""
    folder = cache / "debian-installer"
    files = KernelFiles(folder / "linux", folder / "initrd.gz")
    if not files.initrd.exists():
        folder.mkdir(parents=True, exist_ok=True)
        deb = debian.host_download(PACKAGE, folder / "package")
        tree = debian.unpack(deb, folder / "tree") / TREE
        for file in (files.kernel, files.initrd):
            (tree / file.name).replace(file)
        shutil.rmtree(folder / "tree")
        shutil.rmtree(folder / "package")
    return files


def small_system(cache: Path, work: Path) -> KernelFiles:
    """The installer's kernel with a RAM disk that gets an address, reports `booted`, and says MARK on ttyS0.

    Its kernel command line has to hold `pxeserver.url={url}`.
    """
    installer = debian_installer(cache)
    opened, root = work / "opened", work / "root"
    opened.mkdir(parents=True)
    with subprocess.Popen(["zcat", str(installer.initrd)], stdout=subprocess.PIPE) as packed:
        words = ["cpio", "-id", "--quiet", "lib/modules/*", "usr/lib/modules/*"]
        subprocess.run(words, stdin=packed.stdout, cwd=opened, check=True)
    tree = next(path for path in opened.glob("**/lib/modules/*") if path.is_dir())
    target = root / "lib/modules" / tree.name
    kernelmodules.install(tree, kernelmodules.select(tree, MODULES), target)
    kernelmodules.depmod(root, tree.name)
    for folder in ("bin", "etc"):
        (root / folder).mkdir()
    shutil.copy("/bin/busybox", root / "bin/busybox")
    (root / "bin/sh").symlink_to("busybox")
    for name, text in (("init", _INIT), ("etc/udhcpc.script", _UDHCPC)):
        (root / name).write_text(text)
        (root / name).chmod(0o755)
    initramfs.pack(root, work / "small.img", "zstd")
    shutil.rmtree(opened)
    return KernelFiles(installer.kernel, work / "small.img")
