"""The node system in the lab: built once for all of its users, and the machines that run it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

from pxeserver.clusternode import FILES, NAME, NOTE, NodeSystem, build_cluster_node
from pxeserver.discovery import BuildFailed
from pxeserver.lab.firmware import Disk, Firmware
from pxeserver.lab.machine import Machine
from pxeserver.lab.network import Lab
from pxeserver.lab.process import LabError

SHARED = Path("/var/tmp/pxeserver-lab/loaders") / NAME
"""Where the playground's server looks for it, too."""
MEMORY = 2048
"""MiB. The system itself takes 700 of them, its image included."""
ACCEL = "tcg,tb-size=256"
"""Without the limit QEMU's own code cache grows to a gigabyte for each machine."""
FAST = NodeSystem(compression="fast")


def build_node_system(
    say: Callable[[str], None] = print, *, folder: Path = SHARED, wanted: NodeSystem = FAST
) -> Path:
    """Have the node system in `folder`; minutes the first time, seconds when only our own files have changed.

    Users of one folder wait for each other. LabError where it cannot be built.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            build_cluster_node(folder / "work", folder, wanted, say)
        except BuildFailed as error:
            raise LabError(str(error)) from error
    return folder


def lend_node_system(state: Path, *, folder: Path = SHARED) -> None:
    """Give it to a server that is not started yet: it publishes image and profile at its start."""
    target = state / "loaders" / NAME
    target.mkdir(parents=True, exist_ok=True)
    for name in (*FILES, NOTE):
        (target / name).unlink(missing_ok=True)
        os.link(folder / name, target / name)


def node_machine(
    lab: Lab,
    name: str,
    *,
    disks: tuple[Disk, ...] = (),
    firmware: Firmware = Firmware.BIOS_VIRTIO,
    **more: object,
) -> Machine:
    """A machine that is large enough for the node system, powered off."""
    more.setdefault("memory", MEMORY)
    more.setdefault("accel", ACCEL)
    return lab.machine(firmware, name, disks=disks, **more)
