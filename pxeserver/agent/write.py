"""Writing an image to a disk: only to the disk that was agreed upon, checked piece by piece, and read back
at the end.

The first chunk, which holds the partition table, is written last: a disk whose writing was cut off does not
start half a system. Every chunk is checked against the manifest before it is written, and the whole disk is
read back against the image's SHA-256 before it is called installed.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pxeserver.agent.disks import BlockDevice, disks
from pxeserver.agent.server import Server, ServerAway, ServerRefused
from pxeserver.agent.signatures import signatures

TAIL = 1 << 20
"""Bytes at the end of the disk that are cleared: an old backup partition table or RAID mark would come back
to life.
"""
GIVE_UP = 900.0
"""Seconds without one good chunk before the install is given up."""
REPORT_EVERY = 2.0
LARGEST_CHUNK = 64 << 20


class WriteFailed(Exception):  # noqa: N818 - told to the server as the reason
    """The disk was not, or not wholly, written; the text is the reason."""


@dataclass(frozen=True, slots=True)
class WriteOrder:
    """What the server orders. The disk is named by serial and path; `expected` are the signatures that may
    be overwritten.
    """

    serial: str
    path: str
    expected: tuple[str, ...]
    url: str
    manifest: str
    size: int
    sha256: str

    @classmethod
    def of(cls, order: Mapping[str, Any]) -> WriteOrder:
        """Read an order; WriteFailed where something is missing."""
        try:
            disk = order["disk"]
            return cls(
                serial=str(disk.get("serial") or ""),
                path=str(disk.get("path") or ""),
                # Without a word about what may be overwritten, only an empty disk may be.
                expected=tuple(sorted(str(one) for one in order.get("signatures") or ())),
                url=str(order["url"]),
                manifest=str(order.get("manifest") or f"{order['url']}.manifest"),
                size=int(order["size"]),
                sha256=str(order["sha256"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as wrong:
            raise WriteFailed(f"the order is incomplete: {wrong!r}") from wrong


def find_disk(order: WriteOrder, found: Sequence[Mapping[str, Any]] | None = None) -> Mapping[str, Any]:
    """The one disk the order names; WriteFailed where there is none, several, or it is not what was agreed
    upon.
    """
    there = disks() if found is None else found
    if order.serial:
        fitting = [disk for disk in there if str(disk["serial"]).strip() == order.serial]
    else:
        fitting = [disk for disk in there if order.path and order.path == disk["path"]]
    if len(fitting) > 1 and order.path:
        fitting = [disk for disk in fitting if order.path == disk["path"]]
    name = order.serial or order.path or "(unnamed)"
    if len(fitting) != 1:
        raise WriteFailed(f"{len(fitting)} disks are {name}: there must be exactly one")
    check_disk(order, str(fitting[0]["name"]), fitting[0]["signatures"])
    return fitting[0]


def check_disk(order: WriteOrder, name: str, seen: Sequence[str]) -> None:
    """WriteFailed where a disk holds something else than what was agreed upon."""
    now = tuple(sorted(set(seen)))
    if now != tuple(sorted(set(order.expected))):
        agreed = ", ".join(order.expected) or "an empty disk"
        raise WriteFailed(f"{name} holds {', '.join(now) or 'nothing'}, agreed was {agreed}")


class Writer:
    """Carries out one order."""

    def __init__(
        self, server: Server, order: WriteOrder, say: Callable[[str], None], dev: Path = Path("/dev")
    ) -> None:
        self.server, self.order, self.say, self.dev = server, order, say, dev
        self._reported = 0.0

    def run(self, found: Sequence[Mapping[str, Any]] | None = None) -> None:
        """Write the image and report it; WriteFailed with the reason, which the caller reports."""
        order = self.order
        chunks, chunk_size = self._manifest()
        disk = find_disk(order, found)
        if disk["size"] < order.size:
            raise WriteFailed(f"{disk['name']} has {disk['size']} bytes, the image {order.size}")
        try:
            with BlockDevice(self.dev / str(disk["name"]), write=True) as device:
                self._begin(disk)
                # Between the look above and here a person may have plugged or another program written: look
                # again.
                check_disk(order, str(disk["name"]), signatures(device))
                self._write(device, chunks, chunk_size)
                device.flush()
                self.say("reading the disk back")
                self._verify(device)
        except OSError as broken:
            raise WriteFailed(f"{disk['name']}: {broken}") from broken

    def _manifest(self) -> tuple[list[str], int]:
        order = self.order
        try:
            manifest = json.loads(
                self.server.patiently(lambda: self.server.fetch(order.manifest), patience=GIVE_UP)
            )
        except (ServerAway, ServerRefused, ValueError) as why:
            raise WriteFailed(f"no manifest: {why}") from why
        if not isinstance(manifest, dict):
            raise WriteFailed("the manifest is malformed")
        chunks, size = manifest.get("chunks"), manifest.get("chunk_size")
        if (manifest.get("size"), manifest.get("sha256")) != (order.size, order.sha256):
            raise WriteFailed("the manifest is of another image than the order")
        if not isinstance(size, int) or not 0 < size <= LARGEST_CHUNK or not isinstance(chunks, list):
            raise WriteFailed("the manifest is malformed")
        if len(chunks) != -(-order.size // size):
            raise WriteFailed(f"the manifest has {len(chunks)} chunks for {order.size} bytes")
        return [str(one) for one in chunks], size

    def _begin(self, disk: Mapping[str, Any]) -> None:
        """The server has it on disk that we begin before the first byte is written: a power cut is noticed
        by that.
        """
        try:
            self.server.insist(
                "report",
                {
                    "event": "install-started",
                    "disk": disk["name"],
                    "serial": disk["serial"],
                    "total": self.order.size,
                },
                patience=GIVE_UP,
            )
        except (ServerAway, ServerRefused) as why:
            raise WriteFailed(f"the server did not take the report of the start: {why}") from why

    def _write(self, device: BlockDevice, chunks: Sequence[str], chunk_size: int) -> None:
        order = self.order
        tail = max(order.size, device.size - TAIL)
        if tail < device.size:
            device.write(tail, bytes(device.size - tail))
        written = 0
        for number in [*range(1, len(chunks)), 0]:
            start = number * chunk_size
            length = min(chunk_size, order.size - start)
            device.write(start, self._chunk(start, length, chunks[number]))
            written += length
            self._progress(written)

    def _chunk(self, start: int, length: int, sha256: str) -> bytes:
        def once() -> bytes:
            data = self.server.fetch(self.order.url, start, length)
            if hashlib.sha256(data).hexdigest() != sha256:
                raise ServerAway(f"bytes {start} to {start + length} came damaged")
            return data

        try:
            return self.server.patiently(once, patience=GIVE_UP)
        except (ServerAway, ServerRefused) as why:
            raise WriteFailed(f"byte {start}: {why}") from why

    def _progress(self, written: int) -> None:
        now = time.monotonic()
        if now - self._reported < REPORT_EVERY and written != self.order.size:
            return
        self._reported = now
        self.say(f"{written >> 20} of {self.order.size >> 20} MiB written")
        try:
            self.server.ask(
                "report", {"event": "install-progress", "bytes": written, "total": self.order.size}
            )
        except (ServerAway, ServerRefused) as why:
            self.say(f"progress not reported: {why}")

    def _verify(self, device: BlockDevice) -> None:
        digest = hashlib.sha256()
        step = 4 << 20
        for start in range(0, self.order.size, step):
            digest.update(device.read(start, min(step, self.order.size - start)))
        if digest.hexdigest() != self.order.sha256:
            raise WriteFailed("what was read back from the disk is not the image")
