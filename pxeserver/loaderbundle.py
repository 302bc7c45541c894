"""Boot loaders in one file, for machines without a network: a tar of a manifest and the files it vouches
for.
"""

from __future__ import annotations

import io
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Protocol

import msgspec

from pxeserver.boot.model import FileRef, Loader
from pxeserver.loaders import (
    LARGEST,
    MANIFEST,
    Entry,
    LoaderStore,
    LoadersUnavailable,
    Manifest,
    Progress,
    ensure_loaders,
    read_manifest,
    write_manifest,
)

MOST_FILES = 64


class OpenBlob(Protocol):
    """A stored file, opened."""

    @property
    def fd(self) -> int:
        """Its descriptor."""

    def close(self) -> None:
        """Close it."""


class ReadingStore(LoaderStore, Protocol):
    """A store that files can be read from, too."""

    def open(self, file: FileRef | str) -> OpenBlob:
        """Open a stored file; FileNotFoundError where it is not there."""


class LoaderShelf:
    """The loaders of one server: its store, and the cache folder they are kept in."""

    def __init__(self, store: ReadingStore, cache_dir: Path, *, fetch: bool = True, mirror: str = "") -> None:
        self.store, self.cache_dir, self.fetch, self.mirror = store, cache_dir, fetch, mirror

    def ensure(self, progress: Progress = print) -> list[Loader]:
        """See loaders.ensure_loaders."""
        return ensure_loaders(self.store, self.cache_dir, progress, fetch=self.fetch, mirror=self.mirror)

    def kept(self) -> list[Loader]:
        """Those that are there without asking any network."""
        try:
            return ensure_loaders(self.store, self.cache_dir, lambda _: None, fetch=False)
        except LoadersUnavailable:
            return []

    def export_bundle(self, loaders: Iterable[Loader], path: Path) -> None:
        """Write loaders with their manifest into one file; it appears at `path` when it is whole."""
        fresh = path.with_name(f".{path.name}.new")
        with fresh.open("wb") as out, tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
            entries = _entries(loaders)
            note = msgspec.json.format(msgspec.json.encode(Manifest(tuple(entries))), indent=2)
            _add(tar, MANIFEST, io.BytesIO(note), len(note))
            for entry in entries:
                blob = self.store.open(entry.sha256)
                try:
                    with os.fdopen(os.dup(blob.fd), "rb") as content:
                        content.seek(0)
                        _add(tar, entry.file, content, entry.size)
                finally:
                    blob.close()
        fresh.replace(path)

    def import_bundle(self, path: Path) -> list[Loader]:
        """Take a bundle's loaders into the cache and the store; ValueError says what is wrong with it."""
        self.cache_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.cache_dir, prefix=".import-") as scratch:
            entries = _unpack(path, Path(scratch))
            for entry in entries:
                (Path(scratch) / entry.file).replace(self.cache_dir / entry.file)
            replaced = {arch for entry in entries for arch in entry.architectures}
            kept = [
                entry for entry in read_manifest(self.cache_dir) if not replaced & set(entry.architectures)
            ]
            write_manifest(self.cache_dir, [*kept, *entries])
        return ensure_loaders(self.store, self.cache_dir, lambda _: None, fetch=False)


def _entries(loaders: Iterable[Loader]) -> list[Entry]:
    found: dict[str, Entry] = {}
    for one in loaders:
        file, known = one.file, found.get(one.file.sha256)
        architectures = (*known.architectures, one.arch) if known else (one.arch,)
        found[file.sha256] = Entry(
            file.name, architectures, file.sha256, file.size, one.source, one.version, one.licence
        )
    return list(found.values())


def _add(tar: tarfile.TarFile, name: str, content: IO[bytes], size: int) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o644
    tar.addfile(member, content)


def _unpack(path: Path, into: Path) -> tuple[Entry, ...]:
    """Unpack the plain files of a bundle and check each against the manifest; anything else is refused."""
    try:
        with tarfile.open(path, mode="r:") as tar:
            for count, member in enumerate(tar):
                if (
                    count >= MOST_FILES
                    or not member.isreg()
                    or member.size > LARGEST
                    or not _plain(member.name)
                ):
                    raise ValueError(f"{member.name!r} does not belong into a bundle of boot loaders")
                content = tar.extractfile(member)
                if content is not None:
                    with (into / member.name).open("wb") as out:
                        shutil.copyfileobj(content, out)
        announced = msgspec.json.decode((into / MANIFEST).read_bytes(), type=Manifest).files
    except (tarfile.TarError, FileNotFoundError, msgspec.DecodeError) as wrong:
        raise ValueError(f"{path.name} is no bundle of boot loaders: {wrong}") from wrong
    entries = read_manifest(into)
    for entry in announced:
        if entry not in entries:
            raise ValueError(f"{entry.file!r} in {path.name} is damaged: its SHA-256 is not the manifest's")
    if not entries:
        raise ValueError(f"{path.name} holds no boot loaders")
    return entries


def _plain(name: str) -> bool:
    return bool(name) and "/" not in name and not name.startswith(".") and len(name) <= 100
