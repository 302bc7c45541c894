"""The wipe guard: which disk an install may write, or why none.

An empty disk of a node with an install order needs no further word. A disk with anything on it (a partition
table, a file system, a RAID or LVM member, or content nobody could name) needs the consent of a person that
names this order, the disk's serial number and exactly what was seen on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pxeserver.boot.lifecycle import Life, life
from pxeserver.boot.model import Consent, Node, NodeState, Profile, ProfileKind

UNKNOWN_CONTENT = "unknown content"
"""The signature of a disk that was not, or could not be, looked at: it is never taken for empty."""

MAX_DISKS = 512


@dataclass(frozen=True, slots=True)
class Disk:
    """One disk as the discovery system saw it. `signatures` is empty only for a disk that was read and
    found empty.
    """

    path: str
    serial: str
    size: int
    signatures: tuple[str, ...]
    removable: bool = False
    read_only: bool = False

    def __str__(self) -> str:
        return f"{self.path or '?'} (serial {self.serial or 'none'}, {self.size / 1e9:.1f} GB)"


@dataclass(frozen=True, slots=True)
class WriteDisk:
    """The disk to write, and why it may be written."""

    disk: Disk
    why: str


@dataclass(frozen=True, slots=True)
class Refused:
    """No disk may be written; the reason is a sentence for the screen, the timeline and the operator."""

    reason: str


def disks_of(inventory_disks: Iterable[Mapping[str, Any]]) -> tuple[Disk, ...]:
    """The disks of an inventory. What a machine did not tell counts against writing: no size is 0, no
    signatures unknown.
    """
    disks = []
    for number, told in enumerate(inventory_disks):
        if number >= MAX_DISKS:
            break
        size, signatures = told.get("size"), told.get("signatures")
        if isinstance(signatures, Sequence) and not isinstance(signatures, str):
            seen = tuple(sorted({str(signature) for signature in signatures}))
        else:
            seen = (UNKNOWN_CONTENT,)
        if told.get("partitions"):
            seen = seen or ("partitions",)
        disks.append(
            Disk(
                path=str(told.get("path") or ""),
                serial=str(told.get("serial") or "").strip(),
                size=size if isinstance(size, int) and not isinstance(size, bool) and size > 0 else 0,
                signatures=seen,
                removable=told.get("removable") not in (None, False, 0),
                read_only=told.get("read_only") not in (None, False, 0),
            )
        )
    return tuple(disks)


def disk_order(
    node: Node,
    state: NodeState,
    profile: Profile,
    inventory_disks: Iterable[Mapping[str, Any]],
    consents: Iterable[Consent],
    *,
    rule: str = "smallest-empty",
    need_bytes: int = 0,
    attempt: str = "",
) -> WriteDisk | Refused:
    """The disk that this node's install order may write now, or why not.

    `rule` is the value install_disk: smallest-empty, serial:TEXT or path:/dev/NAME. `need_bytes` is the
    size of what is written. `attempt` is the boot that asks: the one that already writes may ask again.
    """
    if profile.kind is not ProfileKind.DISK:
        return Refused(f"profile {profile.name} writes no disk")
    if node.hold:
        return Refused(f"node {node.name} is held: {node.hold}")
    if life(state, node, attempt) not in (Life.ARMED, Life.INSTALLING) or not _may_ask(state, node, attempt):
        return Refused(f"node {node.name} has no install order that is not used up")
    disks = disks_of(inventory_disks)
    given = {(c.disk_serial, tuple(sorted(set(c.signatures)))) for c in consents if c.order == node.order}
    if rule == "smallest-empty":
        return _smallest(disks, given, need_bytes)
    kind, _, wanted = rule.partition(":")
    named = [
        d
        for d in disks
        if wanted and (d.serial if kind == "serial" else d.path if kind == "path" else "") == wanted
    ]
    if len(named) != 1:
        fault = "several disks are" if named else "no disk is"
        return Refused(f"{fault} {rule} (value install_disk); there are: {_listed(disks)}")
    return _judge(named[0], given, need_bytes)


def _may_ask(state: NodeState, node: Node, attempt: str) -> bool:
    """Whether this boot may write: the order is unused, or this very boot is the one that uses it."""
    return node.order > state.order or (bool(attempt) and attempt == state.attempt)


def _smallest(
    disks: tuple[Disk, ...], given: set[tuple[str, tuple[str, ...]]], need: int
) -> WriteDisk | Refused:
    """The smallest empty disk that is large enough; where none is empty, the smallest one with a consent."""
    fit = [d for d in disks if not _unfit(d, need)]
    by_size = sorted(fit, key=lambda d: (d.size, d.serial, d.path))
    for disk in by_size:
        if not disk.signatures:
            return _judge(disk, given, need)
    for disk in by_size:
        verdict = _judge(disk, given, need)
        if isinstance(verdict, WriteDisk):
            return verdict
    if not disks:
        return Refused("the machine has no disk")
    if not fit:
        return Refused(f"no disk can be installed to: {'; '.join(_unfit(d, need) for d in disks[:4])}")
    verdict = _judge(by_size[0], given, need)
    return Refused(f"no disk is empty; {verdict.reason}") if isinstance(verdict, Refused) else verdict


def _judge(disk: Disk, given: set[tuple[str, tuple[str, ...]]], need: int) -> WriteDisk | Refused:
    """Whether this one disk may be written."""
    unfit = _unfit(disk, need)
    if unfit:
        return Refused(unfit)
    if not disk.signatures:
        return WriteDisk(disk, "the disk is empty")
    if not disk.serial:
        return Refused(f"{disk} is not empty and has no serial number that a consent could name")
    if (disk.serial, disk.signatures) in given:
        return WriteDisk(disk, "a consent names this order, this disk and what is on it")
    seen = ", ".join(disk.signatures)
    if any(serial == disk.serial for serial, _ in given):
        return Refused(f"{disk} has changed since the consent was given: it now has {seen}")
    return Refused(f"{disk} is not empty ({seen}): it needs a consent for this order")


def _unfit(disk: Disk, need: int) -> str:
    """Why a disk cannot be installed to whatever anybody consents to; "" where it can."""
    if disk.removable:
        return f"{disk} is removable"
    if disk.read_only:
        return f"{disk} is read-only"
    if disk.size < max(need, 1):
        return f"{disk} is too small: {need / 1e9:.1f} GB are needed"
    return ""


def _listed(disks: tuple[Disk, ...]) -> str:
    return "; ".join(str(disk) for disk in disks[:8]) or "none"
