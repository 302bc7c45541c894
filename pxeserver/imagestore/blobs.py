"""Files by their content: `blobs/ab/<sha256>`, and `blobs/ab/<sha256>.manifest` beside each.

A file becomes visible by one rename, after it and its manifest are on disk; before that it is a draft in
`tmp/` that no reader looks at. Each draft is locked while somebody writes it, so a crash leaves a file that
any process of this server can recognise as abandoned and remove, and never one that is taken away from a
living writer.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pxeserver.imagestore.confine import Root
from pxeserver.imagestore.manifest import SHA256, ChunkHasher, Manifest

_MANIFEST = ".manifest"


class ImportFailed(Exception):  # noqa: N818 - named for what happened
    """A file could not be taken into the store; nothing of it is left there. The text is for a person."""


class NoSpace(ImportFailed):
    """The file system (or its quota) has no room for the file."""


class BlobFile:
    """A published file, opened. Its inode stays valid while it is open, whatever is published or removed
    meanwhile.
    """

    __slots__ = ("fd", "mtime", "sha256", "size")

    def __init__(self, fd: int, sha256: str) -> None:
        status = os.fstat(fd)
        self.fd = fd
        self.size = status.st_size
        self.sha256 = sha256
        self.mtime = status.st_mtime

    def close(self) -> None:
        """Close the descriptor; closing twice is harmless."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


class Draft:
    """A file on its way into the store: written, then published or dropped."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._hasher = ChunkHasher()
        self._path, self._fd = _locked_file(blobs.tmp)

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self._hasher.size

    def __enter__(self) -> Draft:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.drop()

    def write(self, data: bytes | memoryview) -> None:
        """Append. NoSpace where the disk is full; OSError for other trouble of the disk."""
        view = memoryview(data)
        self._hasher.update(view)
        with no_space(self._path.parent):
            while view:
                view = view[os.write(self._fd, view) :]

    def restart(self) -> None:
        """Forget what was written: the source changed while it was read."""
        os.ftruncate(self._fd, 0)
        os.lseek(self._fd, 0, os.SEEK_SET)
        self._hasher = ChunkHasher()

    def publish(self, expect_sha256: str | None = None) -> Manifest:
        """Make the file visible under its sha256 and return its manifest.

        ImportFailed where the content is not the expected one; NoSpace; OSError.
        """
        manifest = self._hasher.manifest()
        if expect_sha256 is not None and manifest.sha256 != expect_sha256:
            raise ImportFailed(
                f"the file's sha256 is {manifest.sha256}, expected {expect_sha256}: "
                "damaged on the way, or another version than the one the checksum was made for"
            )
        with no_space(self._path.parent):
            os.fchmod(self._fd, 0o440)
            os.fsync(self._fd)
            if os.fstat(self._fd).st_size != manifest.size:
                raise ImportFailed("the file changed while it was stored")
            self._blobs.put(self._path, manifest)
        return manifest

    def drop(self) -> None:
        """Remove the draft where it was not published."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            with suppress(FileNotFoundError):
                self._path.unlink()
            os.close(fd)


class Blobs:
    """The directory of published files. Safe to use from several processes and threads."""

    def __init__(self, root: Path, *, writes: bool = True) -> None:
        """`writes` is false for a process that only reads: it leaves drafts alone, and the folder may be
        read-only.
        """
        self.tmp = root / "tmp"
        self._path = root / "blobs"
        for directory in (root, self.tmp, self._path):
            if not directory.is_dir():
                directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        self._root = Root(self._path)
        if writes:
            self.collect_drafts()

    def close(self) -> None:
        """Close the directory."""
        self._root.close()

    def open(self, sha256: str) -> BlobFile:
        """The published file with this content. FileNotFoundError where there is none."""
        return BlobFile(self._root.open(_relative(sha256)), sha256)

    def open_manifest(self, sha256: str) -> BlobFile:
        """The manifest's JSON as a file, named by its own ETag. FileNotFoundError where there is no such
        file.
        """
        fd = self._root.open(_relative(sha256) + _MANIFEST)
        return BlobFile(fd, f"{sha256}.manifest")

    def path_of(self, sha256: str) -> Path:
        """Where the file with this content lies, or would lie."""
        return self._path / _relative(sha256)

    def manifest_bytes(self, sha256: str) -> bytes:
        """The manifest's JSON. FileNotFoundError where there is no such file."""
        with os.fdopen(self._root.open(_relative(sha256) + _MANIFEST), "rb") as file:
            return file.read()

    def put(self, draft: Path, manifest: Manifest) -> None:
        """Publish a draft that is on disk: manifest first, so that no visible file is without one."""
        final = self._path / _relative(manifest.sha256)
        if not final.parent.exists():
            final.parent.mkdir(mode=0o750, exist_ok=True)
            sync_directory(self._path)
        beside = final.with_name(final.name + _MANIFEST)
        text = draft.with_name(draft.name + _MANIFEST)
        try:
            _write_synced(text, manifest.encode())
            text.rename(beside)
        finally:
            text.unlink(missing_ok=True)
        draft.rename(final)
        sync_directory(final.parent)

    def __iter__(self) -> Iterator[tuple[str, os.stat_result]]:
        """The sha256 and status of each published file."""
        for directory in sorted(self._path.iterdir()):
            for entry in sorted(directory.iterdir()):
                if SHA256.fullmatch(entry.name):
                    with suppress(FileNotFoundError):
                        yield entry.name, entry.stat()

    def discard(self, sha256: str) -> None:
        """Remove a published file. Those who have it open go on reading it."""
        path = self._path / _relative(sha256)
        path.unlink(missing_ok=True)
        path.with_name(path.name + _MANIFEST).unlink(missing_ok=True)

    def collect_drafts(self) -> int:
        """Remove the drafts whose writers are gone; returns how many there were."""
        return sum(_remove_if_abandoned(path) for path in self.tmp.iterdir())

    def discard_others(self, keep: Collection[str], before: float) -> tuple[int, int]:
        """Remove what is not in `keep` and was published before this time; returns (files, bytes)."""
        files = size = 0
        for sha256, status in list(self):
            if sha256 not in keep and status.st_mtime < before:
                self.discard(sha256)
                files, size = files + 1, size + status.st_size
        return files, size


@contextmanager
def no_space(where: Path) -> Iterator[None]:
    """Turns "disk full" and "quota exceeded" into NoSpace with a text for a person."""
    try:
        yield
    except OSError as exc:
        if exc.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise NoSpace(
            f"no room left on the file system of {where}: nothing was stored. "
            "Free some space, or remove images that no profile uses, and add the file again"
        ) from exc


def sync_directory(path: Path) -> None:
    """Bring a directory's entries to disk."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _relative(sha256: str) -> str:
    if not SHA256.fullmatch(sha256):
        raise FileNotFoundError(errno.ENOENT, "no sha256", sha256[:70])
    return f"{sha256[:2]}/{sha256}"


def _write_synced(path: Path, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o440)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(fd)


def _locked_file(directory: Path) -> tuple[Path, int]:
    """A new file, locked. A collector may take it away before it is locked: then another one is made."""
    while True:
        path = directory / secrets.token_hex(12)
        with no_space(directory):
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        fcntl.flock(fd, fcntl.LOCK_EX)
        if path.exists():
            return path, fd
        os.close(fd)


def _remove_if_abandoned(path: Path) -> bool:
    # The text of a manifest on its way is not locked itself; it belongs to the draft of the same name.
    owner = path.with_name(path.name.removesuffix(_MANIFEST))
    try:
        fd = os.open(owner, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        path.unlink(missing_ok=True)
        return True
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True
