"""The image store: published files by content, and the ways files get in.

Everything here blocks (disk, network): an asynchronous caller runs it in a thread. Reading (`open`,
`manifest`) is short enough for an event loop.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from pxeserver.boot.model import FileRef
from pxeserver.imagestore.blobs import BlobFile, Blobs, Draft, ImportFailed
from pxeserver.imagestore.download import Limits, download
from pxeserver.imagestore.manifest import SHA256, Manifest
from pxeserver.imagestore.uploads import Uploads

Progress = Callable[[int, int | None], None]
"""Called with the bytes so far and the total where it is known. What it raises ends the import and leaves
nothing.
"""

ROLES = frozenset({"kernel", "initrd", "root", "efi", "script", "disk", "file", "loader"})
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~@-]{0,199}")
_BLOCK = 1024 * 1024


class Store:
    """Files by content under `root` (`<state_dir>/images`). Safe to use from many processes and threads."""

    def __init__(self, root: Path | str, *, writes: bool = True) -> None:
        """`writes` is false for a process that only reads files."""
        self.blobs = Blobs(Path(root), writes=writes)
        self.uploads = Uploads(Path(root) / "uploads", self.blobs)
        if writes:
            self.uploads.all()  # those that nobody has gone on with are given up

    def close(self) -> None:
        """Close the store's directory."""
        self.blobs.close()

    def open(self, file: FileRef | str) -> BlobFile:
        """A published file, by reference or sha256.

        FileNotFoundError where it is not in the store; OSError where what lies there has not the size that
        was published.
        """
        if isinstance(file, str):
            return self.blobs.open(file)
        opened = self.blobs.open(file.sha256)
        if opened.size != file.size:
            size = opened.size
            opened.close()
            raise OSError(
                f"{file.name} ({file.sha256}) is damaged: {size} bytes on disk, {file.size} published"
            )
        return opened

    def manifest(self, sha256: str) -> Manifest:
        """The chunks of a published file. FileNotFoundError where it is not in the store."""
        return Manifest.decode(self.blobs.manifest_bytes(sha256))

    def open_manifest(self, sha256: str) -> BlobFile:
        """The manifest's JSON as a file, to be served. FileNotFoundError where it is not in the store."""
        return self.blobs.open_manifest(sha256)

    def add_path(
        self,
        path: Path | str,
        name: str,
        role: str,
        expect_sha256: str | None = None,
        progress: Progress | None = None,
    ) -> FileRef:
        """Copy a local file into the store. ImportFailed with a text for a person; OSError where it cannot be
        read.
        """
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return self.add_fd(fd, name, role, expect_sha256, progress)
        finally:
            os.close(fd)

    def add_fd(
        self,
        fd: int,
        name: str,
        role: str,
        expect_sha256: str | None = None,
        progress: Progress | None = None,
    ) -> FileRef:
        """Copy an opened file, from its start, into the store; used with names opened by confine.Root."""
        check_reference(name, role, expect_sha256)
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise ImportFailed(f"{name}: not a regular file")
        return self.add_stream(_read_all(fd), name, role, expect_sha256, progress, total=status.st_size)

    def add_bytes(self, data: bytes, name: str, role: str, expect_sha256: str | None = None) -> FileRef:
        """Put these bytes into the store."""
        return self.add_stream((data,), name, role, expect_sha256)

    def add_stream(
        self,
        parts: Iterable[bytes | memoryview],
        name: str,
        role: str,
        expect_sha256: str | None = None,
        progress: Progress | None = None,
        *,
        total: int | None = None,
    ) -> FileRef:
        """Put what these parts make up into the store; where `total` is given they must add up to it."""
        check_reference(name, role, expect_sha256)
        with Draft(self.blobs) as draft:
            for part in parts:
                draft.write(part)
                if progress is not None:
                    progress(draft.size, total)
            if total is not None and draft.size != total:
                raise ImportFailed(f"{name}: {draft.size} bytes came, {total} were announced")
            return _reference(draft.publish(expect_sha256), name, role)

    def add_url(
        self,
        url: str,
        name: str,
        role: str,
        expect_sha256: str | None = None,
        progress: Progress | None = None,
        *,
        limits: Limits | None = None,
    ) -> FileRef:
        """Download a file into the store; a broken connection is taken up again where it stopped.

        Without `expect_sha256` nothing vouches for the content: show the sha256 of the result to the person
        who asked. ImportFailed (NoSpace) with a text for a person.
        """
        check_reference(name, role, expect_sha256)
        with Draft(self.blobs) as draft:
            download(url, draft, limits or Limits(), progress)
            return _reference(draft.publish(expect_sha256), name, role)

    def discard_unused(self, keep: Collection[str], min_age: float = 3600.0) -> tuple[int, int]:
        """Remove the files whose sha256 is not in `keep`; returns how many, and their bytes.

        Files younger than `min_age` seconds stay: somebody may have added them and not yet saved the image
        they are for.
        """
        return self.blobs.discard_others(keep, time.time() - min_age)

    def collect_drafts(self) -> int:
        """Remove what crashed imports left behind; done at every start too."""
        return self.blobs.collect_drafts()


def check_reference(name: str, role: str, expect_sha256: str | None = None) -> None:
    """ImportFailed where a file may not be called so, or its role or checksum is none."""
    if not _NAME.fullmatch(name) or name.endswith(".manifest"):
        raise ImportFailed(
            f"{name[:80]!r} cannot be a file's name: letters, digits and . _ + ~ @ - only, at most 200, "
            "a letter or digit first, and no .manifest at the end"
        )
    if role not in ROLES:
        raise ImportFailed(f"{role[:40]!r} is no role; one of: {', '.join(sorted(ROLES))}")
    if expect_sha256 is not None and not SHA256.fullmatch(expect_sha256):
        raise ImportFailed("a sha256 is 64 hexadecimal digits in lower case")


def _reference(manifest: Manifest, name: str, role: str) -> FileRef:
    return FileRef(name, manifest.sha256, manifest.size, role)


def _read_all(fd: int) -> Iterable[memoryview]:
    block = memoryview(bytearray(_BLOCK))
    offset = 0
    while got := os.preadv(fd, [block], offset):
        offset += got
        yield block[:got]
