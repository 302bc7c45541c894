"""Step brick: this node's part of the shared volume, a file system on a disk or in a file; and its glusterd.

A disk is written only when it is empty or bears the label that this step gave it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pxeserver.agent.disks import BlockDevice, disks
from pxeserver.agent.join import files
from pxeserver.agent.join.command import need, run
from pxeserver.agent.join.step import Drift, Facts, StepFailed, Tell, Want
from pxeserver.agent.join.steps import gluster
from pxeserver.agent.signatures import signatures

SPARE = 256 << 20
"""Bytes of the file system around a brick file that stay free."""


class Brick:
    """The step."""

    name = "brick"

    def check(self, want: Want) -> list[Drift]:
        """Whether the file system is mounted, and glusterd runs as the member it is to be."""
        drift = []
        if want.get("device") and not _mounted(want):
            drift.append(Drift(f"file system at {want['mount']}", "mounted", "not mounted"))
        elif want.get("device") and not brick_path(want).is_dir():
            drift.append(Drift(f"brick {brick_path(want)}", "there", "missing"))
        if not gluster.running():
            drift.append(Drift("glusterd", "running", "not running"))
        elif gluster.own_uuid() != want["gluster_uuid"]:
            drift.append(Drift("GlusterFS UUID", want["gluster_uuid"], gluster.own_uuid() or "none"))
        return drift

    def apply(self, want: Want, tell: Tell) -> Facts:
        """Make and mount the file system, then start glusterd."""
        if want.get("device"):
            if not _mounted(want):
                _mount(want, tell)
            brick_path(want).mkdir(mode=0o755, exist_ok=True)
        tell("starting glusterd")
        gluster.start(want["gluster_uuid"])
        gluster.remember(want.get("members", ()), tell)
        return self.facts(want)

    def facts(self, want: Want) -> Facts:
        """The member's UUID, and where its brick is."""
        path = str(brick_path(want)) if want.get("device") else ""
        return {"uuid": gluster.own_uuid(), "path": path}

    def undo(self, want: Want, tell: Tell) -> None:
        """Stop glusterd and forget the pool, unmount, and take away what was made."""
        tell("glusterd stops; the brick goes")
        run("systemctl", "stop", gluster.SERVICE, timeout=60)
        run("pkill", "-x", "glusterfsd", timeout=10)  # brick processes live on when glusterd stops
        for known in (gluster.INFO.parent / "vols", gluster.PEERS):
            shutil.rmtree(known, ignore_errors=True)
        files.remove(gluster.INFO)
        if not want.get("device"):
            return
        device = want["device"]
        if _mounted(want):
            need("umount", want["mount"], timeout=60)
        if device["kind"] == "loop":
            Path(device["path"]).unlink(missing_ok=True)
        elif (path := _disk(device)) and _label(path) == label(want):
            need("wipefs", "--all", "--quiet", path, timeout=60)


def brick_path(want: Want) -> Path:
    """The folder that is the brick: below the mount, so that an unmounted disk is no empty brick.

    It is named after its file system. A node that comes back with an empty disk so has another brick, which
    takes the place of the lost one and is filled from the others; under the old name GlusterFS would read
    its emptiness as the newest state.
    """
    found = need("findmnt", "--noheadings", "--output", "UUID", "--mountpoint", want["mount"], timeout=15)
    return Path(want["mount"]) / f"{want['volume']}-{found.strip()[:8]}"


def label(want: Want) -> str:
    """The label of the file system, at most 16 characters (ext4)."""
    return f"brick-{want['volume']}"[:16]


def _mounted(want: Want) -> bool:
    return os.path.ismount(want["mount"])


def _mount(want: Want, tell: Tell) -> None:
    device = want["device"]
    Path(want["mount"]).mkdir(parents=True, exist_ok=True)
    if device["kind"] == "loop":
        path, options = _file(device, tell), "loop,noatime"
    else:
        path, options = _disk(device), "noatime"
        if not path:
            named = device.get("serial") or device.get("path")
            raise StepFailed(f"there is no disk {named} on this node", retry=False)
    if _label(path) != label(want):
        _format(path, label(want), tell)
    need("mount", "-t", "ext4", "-o", options, path, want["mount"], timeout=60)


def _file(device: Mapping[str, Any], tell: Tell) -> str:
    path, size = Path(device["path"]), int(device["bytes"])
    if path.exists() and path.stat().st_size == size:
        return str(path)
    if path.exists():
        raise StepFailed(
            f"{path} is there with {path.stat().st_size} bytes instead of {size}: a brick is not resized",
            retry=False,
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(path.parent).free
    if free < size + SPARE:
        raise StepFailed(
            f"{path.parent} has {free >> 20} MiB free, the brick of {size >> 20} MiB needs "
            f"{(size + SPARE) >> 20}: give the storage a smaller `disk`, or the node a larger disk",
            retry=False,
        )
    tell(f"brick file {path} of {size >> 20} MiB")
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    with beside.open("wb") as made:
        # Allocated whole: a volume that believes in space which is not there loses data when it fills up.
        os.posix_fallocate(made.fileno(), 0, size)
    beside.rename(path)
    return str(path)


def _disk(device: Mapping[str, Any]) -> str:
    """The device file of the wanted disk; "" where it is not there."""
    for disk in disks():
        if device.get("serial"):
            if disk["serial"] == device["serial"]:
                return str(disk["path"])
        elif disk["path"] == device.get("path"):
            return str(disk["path"])
    return ""


def _label(path: str) -> str:
    return run("blkid", "-p", "-s", "LABEL", "-o", "value", path, timeout=30).out.strip()


def _format(path: str, name: str, tell: Tell) -> None:
    holds = _holds(path)
    if holds:
        raise StepFailed(
            f"{path} holds data ({', '.join(holds)}) and is not overwritten: name another disk, or empty it "
            f"with `wipefs --all {path}` if nobody needs it",
            retry=False,
        )
    tell(f"formatting {path}")
    need("mkfs.ext4", "-q", "-I", "512", "-L", name, path, timeout=300)


def _holds(path: str) -> list[str]:
    try:
        with BlockDevice(Path(path)) as disk:
            return signatures(disk)
    except OSError as error:
        raise StepFailed(f"{path} cannot be read: {error.strerror}") from error
