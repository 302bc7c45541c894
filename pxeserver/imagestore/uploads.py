"""Files that arrive in parts: each keeps what has come over cuts and restarts, until it is whole or given up.

Under `<images>/uploads/`: the bytes as `<id>`, what is known of them as `<id>.json`. A whole file becomes a
file of the store by one rename; what is known of it stays until an image or a loader names it, so that what
is done is not lost with the page that showed it.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from pxeserver import durable
from pxeserver.boot.model import FileRef
from pxeserver.imagestore.blobs import Blobs, ImportFailed, NoSpace, no_space
from pxeserver.imagestore.manifest import ChunkHasher

KEEP_SECONDS = 48 * 3600.0
"""An upload to which nothing was added for so long is given up."""
MOST = 64
"""Uploads at once."""
_ID = re.compile(r"[0-9a-f]{24}")
_BLOCK = 1 << 20


class BadOffset(Exception):  # noqa: N818 - named for what happened
    """The part does not begin where the last one ended; `offset` is where that is."""

    def __init__(self, offset: int) -> None:
        super().__init__(f"{offset} bytes are here")
        self.offset = offset


class Busy(Exception):  # noqa: N818 - named for what happened
    """Another connection has taken this upload over."""


class TooMany(ImportFailed):
    """No further upload can begin now."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A file on its way. `offset` are the bytes that are here."""

    id: str
    name: str
    role: str
    size: int
    by: str
    created: float
    sha256: str = ""
    """What the file has to be; "" where nothing vouches for it. Once it is whole: what it is."""
    mark: str = ""
    """Tells the sender whether a file is the one that was begun, e.g. its time of change."""
    done: bool = False
    """The whole file is in the store."""
    offset: int = 0
    touched: float = 0.0

    @property
    def expires(self) -> float:
        """When it is given up unless something is added, in seconds since the epoch."""
        return self.touched + KEEP_SECONDS

    @property
    def file(self) -> FileRef:
        """The file of the store that a whole upload is."""
        return FileRef(self.name, self.sha256, self.size, self.role)


class Uploads:
    """The uploads of one server. Blocks; safe to use from many threads of one process."""

    def __init__(self, root: Path, blobs: Blobs, clock: Callable[[], float] = time.time) -> None:
        self._root = root
        self._blobs = blobs
        self._clock = clock
        self._lock = threading.RLock()
        self._writers: dict[str, object] = {}
        self._write_locks: dict[str, threading.Lock] = {}

    # ------------------------------------------------------------------------------------------ looking

    def all(self) -> list[Upload]:
        """All uploads, newest first; those that are too old are removed first."""
        kept = []
        for path in self._root.glob("[0-9a-f]*.json"):
            upload = self._read(path.stem)
            touched = upload.touched if upload is not None else _touched(path)
            if touched + KEEP_SECONDS < self._clock():
                self.remove(path.stem)
            elif upload is not None:
                kept.append(upload)
        return sorted(kept, key=lambda upload: -upload.created)

    def find(self, upload_id: str) -> Upload | None:
        """One upload, with how many bytes are here."""
        return self._read(upload_id) if _ID.fullmatch(upload_id) else None

    def _read(self, upload_id: str) -> Upload | None:
        try:
            upload = msgspec.json.decode(self._about(upload_id).read_bytes(), type=Upload)
            status = (self._about if upload.done else self._data)(upload_id).stat()
        except (FileNotFoundError, msgspec.DecodeError):
            return None
        offset = upload.size if upload.done else min(status.st_size, upload.size)
        return replace(upload, offset=offset, touched=status.st_mtime)

    # ------------------------------------------------------------------------------------------ changing

    def begin(self, name: str, role: str, size: int, by: str, *, sha256: str = "", mark: str = "") -> Upload:
        """Begin an upload. TooMany; NoSpace where the disk has no room for all that has begun."""
        with self._lock:
            self._root.mkdir(mode=0o750, parents=True, exist_ok=True)
            others = [upload for upload in self.all() if not upload.done]
            if len(others) >= MOST:
                raise TooMany(f"{MOST} uploads are under way: finish or remove some")
            promised = sum(upload.size - upload.offset for upload in others)
            if size + promised > shutil.disk_usage(self._root).free:
                raise NoSpace(f"{name}: {size} bytes and {promised} of other uploads do not fit on the disk")
            now = self._clock()
            upload = Upload(secrets.token_hex(12), name, role, size, by, now, sha256, mark, touched=now)
            self._data(upload.id).touch(0o640)
            self._write(upload)
        return upload

    def keep(self, file: FileRef, by: str) -> Upload:
        """Remember a file of the store that nothing names yet, such as an import."""
        with self._lock:
            self._root.mkdir(mode=0o750, parents=True, exist_ok=True)
            same = [u for u in self.all() if u.done and u.file == file]
            upload = (
                same[0]
                if same
                else Upload(
                    secrets.token_hex(12),
                    file.name,
                    file.role,
                    file.size,
                    by,
                    self._clock(),
                    file.sha256,
                    done=True,
                )
            )
            self._write(upload)
        return replace(upload, offset=file.size, touched=self._clock())

    def append(self, upload_id: str, offset: int, parts: Iterable[bytes | memoryview]) -> Upload:
        """Add what follows. What has come before a cut stays; the newest connection wins over an older one.

        LookupError where there is no such upload, BadOffset, Busy, ImportFailed where more comes than was
        announced, NoSpace; whatever `parts` raises.
        """
        upload = self.find(upload_id)
        if upload is None or upload.done:
            raise LookupError(upload_id)
        mine = object()
        with self._lock:
            self._writers[upload_id] = mine
            guard = self._write_locks.setdefault(upload_id, threading.Lock())
        fd = os.open(self._data(upload_id), os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            with guard:
                here = os.fstat(fd).st_size
                if here != offset:
                    raise BadOffset(here)
            for part in parts:
                with guard:
                    if self._writers.get(upload_id) is not mine:
                        raise Busy(upload_id)
                    offset = self._add(fd, part, offset, upload)
        finally:
            with suppress(OSError):
                os.fsync(fd)
            os.close(fd)
        return replace(upload, offset=offset, touched=self._clock())

    def _add(self, fd: int, part: bytes | memoryview, offset: int, upload: Upload) -> int:
        if offset + len(part) > upload.size:
            raise ImportFailed(f"{upload.name}: more came than the {upload.size} bytes that were announced")
        view = memoryview(part)
        with no_space(self._root):
            while view:
                written = os.pwrite(fd, view, offset)
                view, offset = view[written:], offset + written
        return offset

    def finish(self, upload_id: str) -> Upload:
        """Make a whole upload a file of the store. Of one that is not what it was to be, nothing is left.

        LookupError; BadOffset where bytes are missing; ImportFailed for a wrong checksum; NoSpace.
        """
        upload = self.find(upload_id)
        if upload is None:
            raise LookupError(upload_id)
        if upload.done:
            return upload
        if upload.offset != upload.size:
            raise BadOffset(upload.offset)
        with self._lock:
            self._writers.pop(upload_id, None)
        hasher = ChunkHasher()
        with self._data(upload_id).open("rb") as source:
            while block := source.read(_BLOCK):
                hasher.update(memoryview(block))
            manifest = hasher.manifest()
            if upload.sha256 and manifest.sha256 != upload.sha256:
                self.remove(upload_id)
                raise ImportFailed(
                    f"the file's sha256 is {manifest.sha256}, expected {upload.sha256}: damaged on the way, "
                    "or another version than the one the checksum was made for; nothing of it was kept"
                )
            os.fchmod(source.fileno(), 0o440)
            os.fsync(source.fileno())
            with no_space(self._root):
                self._blobs.put(self._data(upload_id), manifest)
        done = replace(upload, sha256=manifest.sha256, done=True)
        self._write(done)
        return replace(done, touched=self._clock())

    def remove(self, upload_id: str) -> bool:
        """Give an upload up; whether it was there. A file of the store stays there."""
        if not _ID.fullmatch(upload_id):
            return False
        with self._lock:
            self._writers.pop(upload_id, None)
            self._write_locks.pop(upload_id, None)
        there = self._about(upload_id).exists()
        self._data(upload_id).unlink(missing_ok=True)
        self._about(upload_id).unlink(missing_ok=True)
        return there

    def named(self, sha256s: Iterable[str]) -> None:
        """These files of the store have got their place: nothing waits for it any more."""
        wanted = set(sha256s)
        for upload in self.all():
            if upload.done and upload.sha256 in wanted:
                self.remove(upload.id)

    # ------------------------------------------------------------------------------------------ on disk

    def _write(self, upload: Upload) -> None:
        with no_space(self._root):
            durable.put(self._about(upload.id), msgspec.json.encode(upload), 0o640)

    def _data(self, upload_id: str) -> Path:
        return self._root / upload_id

    def _about(self, upload_id: str) -> Path:
        return self._root / f"{upload_id}.json"


def _touched(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
