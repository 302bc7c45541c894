"""The journal's directory: segments that entries are appended to, and files that are replaced whole.

Nothing here knows asyncio or what the entries mean; journal.py decides when each of these is called.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from pxeserver.boot.model import Promise
from pxeserver.storage.journal_files import Files
from pxeserver.storage.journal_format import encode_entry, scan_segment

SEGMENT_SIZE = 8 * 1024 * 1024
"""Bytes after which a new segment begins: small enough to read in a moment, large enough to be few."""
SUFFIX = ".segment"


@dataclass(slots=True)
class Segment:
    """One file of entries. `last` is the newest sequence number in it, `size` where its good part ends."""

    name: str
    last: int
    size: int = 0


@dataclass(slots=True)
class Found:
    """What the segments held when they were read."""

    entries: list[tuple[int, Promise]] = field(default_factory=list)
    last: int = 0
    size: int = 0
    torn: int = 0
    damaged: int = 0


@dataclass(slots=True)
class _Open:
    segment: Segment
    handle: int


class Segments:
    """The segments in one directory, oldest first; at most the newest is open."""

    def __init__(self, directory: Path, io: Files) -> None:
        self._dir = directory
        self._io = io
        self._segments: list[Segment] = []
        self._active: _Open | None = None

    def read(self) -> Found:
        """Read all segments, cut what a crash left at their ends, and drop files that were never finished."""
        found = Found()
        for name in self._io.names(self._dir):
            if name.endswith(".new"):
                self._discard(name)
            elif name.endswith(SUFFIX):
                self._read_segment(name, found)
        return found

    def _read_segment(self, name: str, found: Found) -> None:
        data = self._io.read(self._dir / name)
        scan = scan_segment(data)
        # The name counts too: a segment whose only entry was torn must not have its name given out again.
        last = max((seq for seq, _ in scan.entries), default=int(name.removesuffix(SUFFIX)))
        self._segments.append(Segment(name, last, scan.good_end))
        found.entries.extend(scan.entries)
        found.last = max(found.last, last)
        found.size += scan.good_end
        found.torn += len(data) - scan.good_end
        found.damaged += scan.damaged
        if len(data) > scan.good_end:
            with contextlib.suppress(OSError):
                self._io.cut(self._dir / name, scan.good_end)

    def write(self, entries: list[tuple[int, Promise]]) -> int:
        """Append entries and make them durable; returns the bytes. OSError leaves the segment as it was."""
        data = b"".join(encode_entry(seq, promise) for seq, promise in entries)
        if self._active is not None and self._active.segment.size >= SEGMENT_SIZE:
            self.rotate()
        active = self._active or self._begin(entries[0][0])
        try:
            self._io.write(active.handle, data)
            self._io.fsync(active.handle)
            if active.segment.size == 0:
                self._io.fsync_dir(self._dir)
        except BaseException:
            self._abandon(active)
            raise
        active.segment.size += len(data)
        active.segment.last = entries[-1][0]
        return len(data)

    def _begin(self, seq: int) -> _Open:
        name = f"{seq:020d}{SUFFIX}"
        self._active = _Open(Segment(name, seq - 1), self._io.create(self._dir / name))
        self._segments.append(self._active.segment)
        return self._active

    def _abandon(self, active: _Open) -> None:
        """Leave a segment whose last write failed: cut it back, and never write to it again.

        After a failed fsync the kernel may have dropped the data and cleared the error, so trying again on
        the same file could claim what is not true; the next append begins a new segment.
        """
        with contextlib.suppress(OSError):
            self._io.truncate(active.handle, active.segment.size)
        self.rotate()
        if active.segment.size == 0:
            self._discard(active.segment.name)
            self._segments.remove(active.segment)

    def rotate(self) -> None:
        """Close the open segment, if there is one: the next append begins a new one."""
        if self._active is not None:
            handle, self._active = self._active.handle, None
            with contextlib.suppress(OSError):
                self._io.close(handle)

    def drop(self, folded: int, needed: int) -> list[str]:
        """Forget closed segments that end at or before `folded` and before `needed`; returns their names."""
        kept = self._active.segment if self._active is not None else None
        gone = [s for s in self._segments if s is not kept and s.last <= folded and s.last < needed]
        self._segments = [s for s in self._segments if s not in gone]
        return [segment.name for segment in gone]

    def remove(self, names: Iterable[str]) -> None:
        """Remove forgotten segments. One that stays is read again at the next start, harmlessly."""
        for name in names:
            self._discard(name)

    def read_file(self, name: str) -> bytes | None:
        """The content of a file beside the segments, or None where there is none."""
        try:
            return self._io.read(self._dir / name)
        except FileNotFoundError:
            return None

    def set_aside(self, name: str) -> None:
        """Keep a damaged file under another name, for a person to look at."""
        with contextlib.suppress(OSError):
            self._io.rename(self._dir / name, self._dir / f"{name}.damaged")

    def replace(self, name: str, pieces: Iterable[bytes]) -> None:
        """Put a new file in the place of `name`: whole or not at all, whatever moment the power goes.

        OSError leaves the old file.
        """
        new = self._dir / f"{name}.new"
        self._discard(new.name)
        handle = self._io.create(new)
        try:
            try:
                for piece in pieces:
                    self._io.write(handle, piece)
                self._io.fsync(handle)
            finally:
                self._io.close(handle)
            self._io.rename(new, self._dir / name)
        except OSError:
            self._discard(new.name)
            raise
        self._io.fsync_dir(self._dir)

    def _discard(self, name: str) -> None:
        with contextlib.suppress(OSError):
            self._io.remove(self._dir / name)
