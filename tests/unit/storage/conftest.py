"""A disk that can lose its power, and a journal on it."""

from __future__ import annotations

import errno
import random
import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest


@dataclass
class _File:
    """One file: what it would hold after a power cut at the least, and the writes that are not synced."""

    durable: bytes = b""
    pending: list[tuple[str, bytes | int]] = field(default_factory=list)

    @property
    def content(self) -> bytes:
        return _applied(self.durable, self.pending)


def _applied(content: bytes, changes: list[tuple[str, bytes | int]]) -> bytes:
    for kind, value in changes:
        if kind == "write":
            assert isinstance(value, bytes)
            content += value
        else:
            assert isinstance(value, int)
            content = content[:value]
    return content


class PowerCutDisk:
    """Files in memory that remember every operation, so that the disk can be seen as a power cut left it.

    What fsync was not called for may be lost, whole or from any byte on, or be there torn; names may be lost
    without fsync of their directory. `fsync_works=False` takes fsync out, `fail` makes operations fail.
    """

    def __init__(self, *, fsync_works: bool = True) -> None:
        self.fsync_works = fsync_works
        self.operations: list[tuple[object, ...]] = []
        self._files: dict[int, _File] = {}
        self._names: dict[str, int] = {}
        self._handles: dict[int, int] = {}
        self._next = 1
        self._lock = threading.Lock()
        self.fail: dict[str, OSError] = {}
        self.room: int | None = None
        self.first_names: dict[str, int] = {}
        self.syncs: list[int] = []
        """How many operations were done when each fsync returned."""

    # -------------------------------------------------------------------------------- journal_files.Files

    def make_dir(self, path: Path) -> None:
        pass

    def lock(self, path: Path) -> int:
        return 0

    def names(self, path: Path) -> list[str]:
        return sorted(self._names)

    def read(self, path: Path) -> bytes:
        if path.name not in self._names:
            raise FileNotFoundError(path)
        return self._files[self._names[path.name]].content

    def create(self, path: Path) -> int:
        with self._lock:
            self._refuse("create")
            if path.name in self._names:
                raise FileExistsError(path)
            number = self._next
            self._next += 1
            self._files[number] = _File()
            self._names[path.name] = number
            self._handles[number] = number
            self.operations.append(("create", path.name, number))
            return number

    def write(self, handle: int, data: bytes) -> None:
        with self._lock:
            self._refuse("write")
            if self.room is not None and len(data) > self.room:
                part, self.room = data[: self.room], 0
                self._append(handle, part)
                raise OSError(errno.ENOSPC, "no space left on device")
            if self.room is not None:
                self.room -= len(data)
            self._append(handle, data)

    def _append(self, handle: int, data: bytes) -> None:
        self._files[handle].pending.append(("write", data))
        self.operations.append(("write", handle, data))

    def fsync(self, handle: int) -> None:
        with self._lock:
            self._refuse("fsync")
            if self.fsync_works:
                self.operations.append(("fsync", handle))
            self.syncs.append(len(self.operations))

    def truncate(self, handle: int, size: int) -> None:
        with self._lock:
            self._refuse("truncate")
            if self.room is not None:
                self.room += len(self._files[handle].content) - size
            self._files[handle].pending.append(("truncate", size))
            self.operations.append(("truncate", handle, size))

    def cut(self, path: Path, size: int) -> None:
        number = self._names[path.name]
        self.truncate(number, size)
        self.fsync(number)

    def close(self, handle: int) -> None:
        self._handles.pop(handle, None)

    def rename(self, old: Path, new: Path) -> None:
        with self._lock:
            self._refuse("rename")
            self._names[new.name] = self._names.pop(old.name)
            self.operations.append(("rename", old.name, new.name))

    def remove(self, path: Path) -> None:
        with self._lock:
            if path.name not in self._names:
                raise FileNotFoundError(path)
            del self._names[path.name]
            self.operations.append(("remove", path.name))

    def fsync_dir(self, path: Path) -> None:
        with self._lock:
            self._refuse("fsync_dir")
            if self.fsync_works:
                self.operations.append(("fsync_dir",))
            self.syncs.append(len(self.operations))

    def _refuse(self, operation: str) -> None:
        if operation in self.fail:
            raise self.fail[operation]

    # -------------------------------------------------------------------------------- the power cut

    def after_power_cut(self, at: int, chance: random.Random) -> PowerCutDisk:
        """The disk as found after the power went when `at` operations were done."""
        files: dict[int, _File] = {}
        durable_names: dict[str, int] = {}
        pending_names: list[tuple[object, ...]] = []
        for operation in self.operations[:at]:
            match operation:
                case ("create", str(), int(number)):
                    files[number] = _File()
                    pending_names.append(operation)
                case ("write", int(number), bytes(data)):
                    files[number].pending.append(("write", data))
                case ("truncate", int(number), int(size)):
                    files[number].pending.append(("truncate", size))
                case ("fsync", int(number)):
                    files[number] = _File(files[number].content)
                case ("fsync_dir",):
                    for change in pending_names:
                        _rename(durable_names, change)
                    pending_names = []
                case _:
                    pending_names.append(operation)
        # A directory's changes reach the disk in order, but how many of them nobody knows.
        for change in pending_names[: chance.randint(0, len(pending_names))]:
            _rename(durable_names, change)
        found = PowerCutDisk()
        found._next = self._next
        found._names = durable_names
        found.first_names = dict(durable_names)
        found._files = {number: _File(_torn(file, chance)) for number, file in files.items()}
        return found


def _rename(names: dict[str, int], change: tuple[object, ...]) -> None:
    match change:
        case ("create", str(name), int(number)):
            names[name] = number
        case ("rename", str(old), str(new)):
            names[new] = names.pop(old)
        case ("remove", str(name)):
            names.pop(name, None)


def _torn(file: _File, chance: random.Random) -> bytes:
    """What of the writes that were not synced reached the disk: some, the last of them perhaps in part."""
    kept = file.pending[: chance.randint(0, len(file.pending))]
    content = _applied(file.durable, kept)
    if kept and kept[-1][0] == "write" and chance.random() < 0.7:
        data = kept[-1][1]
        assert isinstance(data, bytes)
        end = len(content) - len(data) + chance.randint(0, len(data))
        content = content[:end]
        if chance.random() < 0.5:
            # The length was written, the data was not: blocks of zeros or of an older file.
            content += bytes(chance.choice((0, 0xA5)) for _ in range(chance.randint(1, 200)))
    return content


@pytest.fixture
def power_cut_disk() -> type[PowerCutDisk]:
    """The class: tests make disks of their own."""
    return PowerCutDisk
