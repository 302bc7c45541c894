"""The discovery system of one server: built once, put into the image store, and described as image and
profile.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from pxeserver.boot.model import FileRef, Image, Profile, ProfileKind
from pxeserver.discovery import BuildFailed, Progress, build_discovery

NAME = "discovery"


class ImageStore(Protocol):
    """The part of the image store that is needed here."""

    def add_path(self, path: Path | str, name: str, role: str) -> FileRef:
        """Copy a local file into the store."""


PROFILE = Profile(
    NAME,
    ProfileKind.DISCOVERY,
    image=NAME,
    title="Discovery: hardware inventory, then wait for orders",
)


class DiscoveryShelf:
    """Where the discovery system is kept; `build` false takes only what was built before."""

    def __init__(self, store: ImageStore, folder: Path, *, build: bool = True) -> None:
        self._store, self._folder, self._build = store, folder, build

    def ensure(self, progress: Progress = print) -> Image:
        """Build the image unless it is there, and publish its files. It blocks; BuildFailed says why not."""
        work, out = self._folder / "work", self._folder
        if not self._build and not (out / "build.json").exists():
            raise BuildFailed("the discovery system was never built here, and loaders.fetch is false")
        work.mkdir(parents=True, exist_ok=True)
        kernel, initrd = build_discovery(work, out, progress)
        files = (
            self._store.add_path(kernel, kernel.name, "kernel"),
            self._store.add_path(initrd, initrd.name, "initrd"),
        )
        return Image(NAME, files, "hardware inventory, disk writing, orders; built here from Debian packages")
