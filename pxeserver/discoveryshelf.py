"""The discovery system of one server: built once, put into the image store, and described as image and
profile.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pxeserver.boot.model import Image, Profile, ProfileKind
from pxeserver.buildrequest import NoBuilder, Request, ask
from pxeserver.builtfiles import TakesFiles, publish
from pxeserver.discovery import FILES, NOTE, BuildFailed, Progress, build_discovery

NAME = "discovery"


PROFILE = Profile(
    NAME,
    ProfileKind.DISCOVERY,
    image=NAME,
    title="Discovery: hardware inventory, then wait for orders",
)


class DiscoveryShelf:
    """Where the discovery system is kept; `build` false takes only what was built before.

    Where there is a builder (a socket at this path), it is asked; else it is built here.
    """

    def __init__(
        self,
        store: TakesFiles,
        folder: Path,
        *,
        build: bool = True,
        builder: Path | None = None,
        firmware: Sequence[str] = (),
        mirror: str = "",
    ) -> None:
        self._store, self._folder, self._build, self._builder = store, folder, build, builder
        self._firmware, self._mirror = firmware, mirror

    def ensure(self, progress: Progress = print) -> Image:
        """Build the image unless it is there, and publish its files. It blocks; BuildFailed says why not."""
        if not self._build and not (self._folder / NOTE).exists():
            raise BuildFailed("the discovery system was never built here, and loaders.fetch is false")
        if self._builder is not None and self._builder.is_socket():
            try:
                ask(self._builder, Request(NAME), progress)
            except NoBuilder as why:
                raise BuildFailed(f"discovery image: {why}") from why
        else:
            work = self._folder / "work"
            work.mkdir(parents=True, exist_ok=True)
            build_discovery(work, self._folder, progress, firmware=self._firmware, mirror=self._mirror)
        try:
            files = tuple(publish(self._store, self._folder / name, role) for name, role in FILES.items())
        except OSError as error:
            raise BuildFailed(f"discovery image: {error}") from error
        return Image(NAME, files, "hardware inventory, disk writing, orders; built here from Debian packages")
