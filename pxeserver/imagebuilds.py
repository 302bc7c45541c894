"""Images that the server builds itself, on order: one build of each at a time, whoever asks for it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Protocol

from pxeserver.boot.model import Image, Profile
from pxeserver.discovery import BuildFailed, Progress
from pxeserver.live import Hall, Refused

log = logging.getLogger(__name__)
BY = "server"
_LINES = 1000
_LOOK_SECONDS = 0.3


class Shelf(Protocol):
    """Where one image is built and kept; its verbs block and raise BuildFailed."""

    @property
    def profile(self) -> Profile:
        """What boots it."""

    def is_new(self, published: Image | None) -> bool:
        """Whether something was built here, and is not what is published."""

    def build(self, progress: Progress = print, *, refresh: bool = False) -> Image:
        """Build it unless it is there as it should be."""

    def publish(self) -> Image:
        """It, as it was built last."""


class Build:
    """One build: what it has told so far, and its end."""

    def __init__(self, work: asyncio.Future[Image], told: list[str]) -> None:
        self._work, self._told = work, told

    async def image(self) -> Image:
        """The image, once it is there. BuildFailed says why it is not."""
        return await asyncio.shield(self._work)

    async def lines(self) -> AsyncIterator[str]:
        """What it tells, from the beginning to the end, as it comes."""
        shown = 0
        while True:
            ended = self._work.done()
            for text in self._told[shown:]:
                shown += 1
                yield text
            if ended:
                return
            await asyncio.wait({self._work}, timeout=_LOOK_SECONDS)


class ImageBuilds:
    """Builds images and publishes them with the profiles that boot them."""

    def __init__(self, hall: Hall, shelves: Mapping[str, Shelf]) -> None:
        self._hall, self._shelves = hall, shelves
        self._running: dict[str, tuple[asyncio.Future[Image], Build]] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """What can be built."""
        return tuple(sorted(self._shelves))

    def start(self, name: str, *, refresh: bool = False) -> Build:
        """Begin a build, or join the one that runs. KeyError where there is no such image to build.

        It goes on to its end also when nobody waits for it.
        """
        shelf = self._shelves[name]
        work, running = self._running.get(name, (None, None))
        if work is not None and running is not None and not work.done():
            return running
        told: list[str] = []
        work = asyncio.ensure_future(self._build(name, shelf, told, refresh=refresh))
        work.add_done_callback(lambda done: done.cancelled() or done.exception())  # told to who waits
        build = Build(work, told)
        self._running[name] = (work, build)
        return build

    async def ensure(self, name: str) -> Image:
        """The image as it is published; built first where it is not there. BuildFailed."""
        found = self._hall.catalog().images.get(name)
        return found if found is not None else await self.start(name).image()

    async def restore(self) -> None:
        """Publish what was built before and this database does not have, e.g. after a restore of it."""
        for name, shelf in self._shelves.items():
            if await asyncio.to_thread(shelf.is_new, self._hall.catalog().images.get(name)):
                try:
                    await self._publish(shelf, await asyncio.to_thread(shelf.publish))
                except (BuildFailed, OSError, ValueError, Refused) as error:
                    log.warning("image not published", extra={"image": name, "error": error})

    async def _build(self, name: str, shelf: Shelf, told: list[str], *, refresh: bool) -> Image:
        loop = asyncio.get_running_loop()

        def tell(text: str) -> None:
            log.info("%s", text)
            loop.call_soon_threadsafe(lambda: told.append(text) if len(told) < _LINES else None)

        try:
            image = await asyncio.to_thread(shelf.build, tell, refresh=refresh)
            await self._publish(shelf, image)
        except (OSError, ValueError, Refused) as error:
            raise BuildFailed(f"image {name}: {error}") from error
        log.info("image built", extra={"image": name, "bytes": sum(file.size for file in image.files)})
        return image

    async def _publish(self, shelf: Shelf, image: Image) -> None:
        async with self._hall.edit(BY) as edit:
            if self._hall.catalog().images.get(image.name) != image:
                await edit.put_image(image)
            if shelf.profile.name not in self._hall.catalog().profiles:
                await edit.put_profile(shelf.profile)
