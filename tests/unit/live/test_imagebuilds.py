"""Images built on order: one build at a time, told to all who ask, published once it is whole."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from pxeserver.boot.model import FileRef, Image, Profile, ProfileKind
from pxeserver.discovery import BuildFailed
from pxeserver.imagebuilds import ImageBuilds
from pxeserver.live import Hall


class Shelf:
    """A shelf whose build waits until it may go on."""

    profile = Profile("sys", ProfileKind.KERNEL, image="sys")

    def __init__(self) -> None:
        self.orders: list[bool] = []
        self.go = threading.Event()
        self.fault: Exception | None = None
        self.content = "1"

    def image(self) -> Image:
        return Image("sys", (FileRef("vmlinuz", self.content * 64, 1, "kernel"),))

    def build(self, progress: Callable[[str], None] = print, *, refresh: bool = False) -> Image:
        self.orders.append(refresh)
        progress("step=one")
        assert self.go.wait(5)
        progress("step=two")
        if self.fault is not None:
            raise self.fault
        return self.image()

    def is_new(self, published: Image | None) -> bool:
        return published != self.image()

    def publish(self) -> Image:
        return self.image()


@pytest.fixture
async def hall(tmp_path: Path) -> AsyncIterator[Hall]:
    hall = Hall(tmp_path / "db.sqlite3")
    await hall.start()
    yield hall
    await hall.close()


async def test_two_orders_are_one_build_and_both_are_told_all_of_it(hall: Hall) -> None:
    shelf = Shelf()
    builds = ImageBuilds(hall, {"sys": shelf})
    first = builds.start("sys", refresh=True)

    async def told() -> list[str]:
        return [text async for text in builds.start("sys").lines()]

    watching = [asyncio.ensure_future(told()) for _ in range(2)]
    await asyncio.sleep(0)
    assert hall.catalog().images == {}
    shelf.go.set()
    assert await asyncio.gather(*watching) == [["step=one", "step=two"]] * 2
    assert await first.image() == hall.catalog().images["sys"] == shelf.image()
    assert hall.catalog().profiles["sys"] == shelf.profile
    assert shelf.orders == [True]
    assert await builds.ensure("sys") == shelf.image()
    assert shelf.orders == [True]


@pytest.mark.parametrize("fault", [BuildFailed("no mirror"), OSError(28, "No space left on device")])
async def test_a_build_that_fails_says_why_and_leaves_what_is_there(hall: Hall, fault: Exception) -> None:
    shelf = Shelf()
    builds = ImageBuilds(hall, {"sys": shelf})
    await builds.restore()
    before = hall.catalog().images["sys"]
    shelf.go.set()
    shelf.fault, shelf.content = fault, "2"
    with pytest.raises(BuildFailed, match=r"no mirror|No space left"):
        await builds.start("sys").image()
    assert hall.catalog().images["sys"] == before
    shelf.fault = None
    assert await builds.start("sys").image() != before


async def test_one_who_goes_away_does_not_stop_it(hall: Hall) -> None:
    shelf = Shelf()
    builds = ImageBuilds(hall, {"sys": shelf})
    waiting = asyncio.ensure_future(builds.ensure("sys"))
    while not shelf.orders:
        await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    shelf.go.set()
    assert await builds.ensure("sys") == shelf.image()
    assert shelf.orders == [False]


async def test_a_profile_that_a_person_changed_stays(hall: Hall) -> None:
    shelf = Shelf()
    shelf.go.set()
    builds = ImageBuilds(hall, {"sys": shelf})
    await builds.ensure("sys")
    async with hall.edit("cli:root") as edit:
        await edit.put_profile(Profile("sys", ProfileKind.KERNEL, image="sys", args="mine"))
    shelf.content = "2"
    await builds.start("sys").image()
    assert hall.catalog().profiles["sys"].args == "mine"
    with pytest.raises(KeyError):
        builds.start("other")
