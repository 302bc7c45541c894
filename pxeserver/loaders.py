"""The network boot programs (iPXE) that firmware is given: where they come from, and what vouches for them.

They are taken from Debian's newest stable ipxe package through a private apt, and kept with a manifest in a
cache folder, so that the next start needs no network. A person's own builds in `<cache>/own` go before
them:

    own/snponly.efi         replaces the file of that name
    own/6-ipxe-ia32.efi     serves architecture 6 (option 93), for which Debian has no file
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import msgspec

from pxeserver.boot.model import FileRef, Loader
from pxeserver.debian import Archive, Deb, PackagesUnavailable, host_download, unpack

SUITE = "trixie"
"""Debian's newest stable: the first whose iPXE has arm64, and the first to ask for its script before DHCP."""
FILES = {
    "undionly.kpxe": (0,),
    "snponly.efi": (7, 9, 16),
    "ipxe-arm64.efi": (11, 19),
}
"""File in usr/lib/ipxe -> architectures (RFC 4578 section 2.1; 16 and 19 are HTTP boot)."""
LICENCE = "GPL-2.0-or-later, parts with the UBDL exception"
MANIFEST = "manifest.json"
LARGEST = 16 << 20
"""Bytes; firmware has to hold the whole loader in memory, and none built of iPXE is above 2 MiB."""
_OWN = re.compile(r"(?:(?P<arch>\d{1,5})-)?(?P<name>[A-Za-z0-9][A-Za-z0-9._-]{0,63})\Z")

Progress = Callable[[str], None]


class LoadersUnavailable(Exception):  # noqa: N818 - what happened, in the words shown to a person
    """No loaders in the cache, and none could be fetched; the text says what to do."""


class LoaderStore(Protocol):
    """What is needed of the image store."""

    def add_path(self, path: Path, name: str, role: str, expect_sha256: str | None = None) -> FileRef:
        """Copy a file into the store."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One loader file in a manifest."""

    file: str
    architectures: tuple[int, ...]
    sha256: str
    size: int
    source: str
    """Where it is from: "Debian source package ipxe", "own build", or what a bundle says."""
    version: str = ""
    licence: str = ""


@dataclass(frozen=True, slots=True)
class Manifest:
    """All loader files of a cache folder or a bundle."""

    files: tuple[Entry, ...]
    format: int = 1
    fallback: bool = False
    """Whether they are of an older release because the newest stable could not be reached."""


def entry_of(
    path: Path, architectures: Iterable[int], source: str, version: str = "", licence: str = ""
) -> Entry:
    """Describe a loader file; ValueError where it is empty or larger than any loader."""
    size = path.stat().st_size
    if not 0 < size <= LARGEST:
        raise ValueError(f"{path.name}: {size} bytes is no loader (1 to {LARGEST})")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Entry(path.name, tuple(architectures), digest, size, source, version, licence)


def write_manifest(folder: Path, entries: Iterable[Entry], *, fallback: bool = False) -> None:
    """Write the manifest of `folder`; the old one is there until the new one is whole."""
    fresh = folder / f".{MANIFEST}.new"
    note = Manifest(tuple(entries), fallback=fallback)
    fresh.write_bytes(msgspec.json.format(msgspec.json.encode(note), indent=2))
    fresh.replace(folder / MANIFEST)


def read_manifest(folder: Path) -> tuple[Entry, ...]:
    """The files of `folder` whose content is what its manifest says, without damaged and missing ones."""
    return tuple(entry for entry in _noted(folder).files if _intact(folder / entry.file, entry))


def _noted(folder: Path) -> Manifest:
    with suppress(FileNotFoundError, msgspec.DecodeError):
        return msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    return Manifest(())


def _intact(path: Path, entry: Entry) -> bool:
    if (
        path.parent.joinpath(Path(entry.file).name) != path
        or not path.is_file()
        or path.stat().st_size != entry.size
    ):
        return False
    return hashlib.sha256(path.read_bytes()).hexdigest() == entry.sha256


def ensure_loaders(
    store: LoaderStore, cache_dir: Path, progress: Progress = print, *, fetch: bool = True, mirror: str = ""
) -> list[Loader]:
    """Put the loaders into the store, fetching them first where the cache has none. It blocks: run it in a
    thread.

    Where the cache has those of an older release, or damaged ones, the newest are asked for once more, and
    what is there is used where that fails. LoadersUnavailable where there are none at all; ValueError names
    an own build that cannot be used.
    """
    cache_dir.mkdir(parents=True, exist_ok=True)
    entries = read_manifest(cache_dir)
    if not entries and fetch:
        entries = fetch_loaders(cache_dir, progress, mirror=mirror)
    elif fetch and ((noted := _noted(cache_dir)).fallback or len(entries) < len(noted.files)):
        with suppress(LoadersUnavailable):
            entries = fetch_loaders(cache_dir, progress, mirror=mirror, fallback=False)
    chosen = {arch: (cache_dir / entry.file, entry) for entry in entries for arch in entry.architectures}
    for path, entry in own_builds(cache_dir / "own"):
        chosen |= dict.fromkeys(entry.architectures, (path, entry))
    if not chosen:
        raise LoadersUnavailable(
            f"no boot loaders in {cache_dir}: put a bundle there with `pxeserver loader import`"
        )
    return publish(store, chosen)


def publish(store: LoaderStore, chosen: Mapping[int, tuple[Path, Entry]]) -> list[Loader]:
    """Put files into the store: one Loader for each architecture."""
    refs = {path: store.add_path(path, entry.file, "loader", entry.sha256) for path, entry in chosen.values()}
    return [
        Loader(arch, refs[path], entry.source, entry.version, entry.licence)
        for arch, (path, entry) in sorted(chosen.items())
    ]


def own_builds(folder: Path) -> list[tuple[Path, Entry]]:
    """A person's own loaders, by file name; ValueError names a file that cannot be used."""
    found = []
    for path in sorted(folder.glob("*")) if folder.is_dir() else ():
        match = _OWN.match(path.name)
        arch, name = (match["arch"], match["name"]) if match else (None, "")
        if not name or (arch is None and name not in FILES):
            raise ValueError(
                f"{path}: name it like one of {', '.join(FILES)}, or ARCH-NAME with the number of option 93"
            )
        entry = entry_of(path, (int(arch),) if arch else FILES[name], "own build")
        found.append((path, replace(entry, file=name)))
    return found


def fetch_loaders(
    cache_dir: Path, progress: Progress, *, mirror: str = "", fallback: bool = True
) -> tuple[Entry, ...]:
    """Fetch the loaders from Debian into the cache: those of its newest stable, or with `fallback` those of
    the machine's own release. LoadersUnavailable when that fails.
    """
    with tempfile.TemporaryDirectory(dir=cache_dir, prefix=".fetch-") as scratch:
        try:
            deb, fell_back = _newest(Path(scratch), progress, mirror), False
        except PackagesUnavailable as why:
            progress(f"loaders=fallback why={str(why)!r}")
            if not fallback:
                raise LoadersUnavailable(str(why)) from why
            deb, fell_back = _of_this_release(Path(scratch)), True
        tree = unpack(deb, Path(scratch) / "tree")
        entries = []
        for name, architectures in FILES.items():
            built = tree / "usr/lib/ipxe" / name
            if built.is_file():
                shutil.copyfile(built, cache_dir / name)
                source = f"Debian source package {deb.source}"
                entries.append(entry_of(cache_dir / name, architectures, source, deb.version, LICENCE))
        shutil.copyfile(tree / "usr/share/doc/ipxe/copyright", cache_dir / "copyright")
        fetched = {arch for entry in entries for arch in entry.architectures}
        kept = [one for one in read_manifest(cache_dir) if not fetched & set(one.architectures)]
        write_manifest(cache_dir, [*kept, *entries], fallback=fell_back)
    progress(f"loaders={len(entries)} package=ipxe version={deb.version}")
    return (*kept, *entries)


def _newest(scratch: Path, progress: Progress, mirror: str) -> Deb:
    """The ipxe package of Debian's newest stable; PackagesUnavailable where it cannot be had."""
    progress(f"loaders=fetching suite={SUITE} package=ipxe")
    archive = Archive(scratch / "apt", SUITE, mirror=mirror)
    archive.update()
    return archive.download(["ipxe"], scratch / SUITE)[0]


def _of_this_release(scratch: Path) -> Deb:
    """The ipxe package of the machine's own release, which has no file for arm64 before Debian 13."""
    try:
        return host_download("ipxe", scratch / "host")
    except PackagesUnavailable as why:
        raise LoadersUnavailable(
            f"no boot loaders could be fetched ({why}): give this machine a Debian mirror, or import a bundle"
            " made with `pxeserver loader export` on another machine"
        ) from why
