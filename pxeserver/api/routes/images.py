"""Images: named sets of files that boot together."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from typing import Any

from aiohttp import web

from pxeserver.api import checks
from pxeserver.api.access.who import look, operate
from pxeserver.api.problems import Problem
from pxeserver.api.rooms import Build
from pxeserver.api.routing import Call, Route
from pxeserver.api.schemas.catalog import FileNamed, ImageBuild, ImageNew, ImageView, image_view
from pxeserver.api.streams import lines
from pxeserver.boot.model import FileRef, Image


def _find(call: Call) -> Image:
    return checks.named(call, "image", call.hall.catalog().images)


async def list_images(call: Call) -> list[ImageView]:
    """All images, by name."""
    images = call.hall.catalog().images
    return [image_view(images[name]) for name in sorted(images)]


async def show_image(call: Call) -> ImageView:
    """One image."""
    return image_view(_find(call))


async def add_image(call: Call) -> ImageView:
    """Publish an image whose files are in the store: it is there whole, or not at all."""
    body: ImageNew = call.body
    twice = [name for name, count in Counter(f.name for f in body.files).items() if count > 1]
    if twice:
        raise Problem(
            422,
            "the image is refused",
            f"two files are called {twice[0]}",
            "Rename one",
            fields={"files": twice[0]},
        )
    files = tuple([await asyncio.to_thread(stored, call, file) for file in body.files])
    image = Image(body.name, files, body.description, dict(body.labels))
    step = f"Remove it first (`pxeserver image remove {image.name}`), or choose another name"
    async with call.hall.edit(call.by) as edit:
        checks.new("image", image.name, call.hall.catalog().images, step)
        await edit.put_image(image)
    await asyncio.to_thread(call.rooms.store.uploads.named, [file.sha256 for file in files])
    return image_view(image)


def stored(call: Call, file: FileNamed) -> FileRef:
    """The file as it lies in the store; 422 where it does not."""
    try:
        opened = call.rooms.store.open(file.sha256)
    except FileNotFoundError:
        why = f"{file.name} ({file.sha256[:12]}...) is not in the store"
        raise Problem(
            422, "a file is missing", why, "Upload or import it first", fields={"files": why}
        ) from None
    opened.close()
    return FileRef(file.name, file.sha256, opened.size, file.role)


async def build_image(call: Call) -> web.StreamResponse:
    """Build an image that the server makes itself: lines of progress, then {"image": ...}, or
    {"problem": ...}.

    It is built to its end also when the one who asked goes away; a second order joins the build that runs.
    """
    name, builds = call.part("name"), call.rooms.builds
    if builds is None or name not in builds.names:
        known = ", ".join(builds.names) if builds is not None else "none"
        why = f"the server builds no image {name}; it builds: {known}"
        raise Problem(404, "nothing is built", why, "`pxeserver image add` takes an image in")
    return await lines(call.request, _building(builds.start(name, refresh=call.body.refresh)))


async def _building(build: Build) -> AsyncIterator[Mapping[str, Any]]:
    async for text in build.lines():
        yield {"progress": text}
    try:
        yield {"image": image_view(await build.image()).model_dump(mode="json")}
    except Exception as why:  # noqa: BLE001 - whatever it is, the one who asked is told
        step = "Look at the server's log, and try again once that is mended"
        yield {
            "problem": Problem(422, "the image was not built", str(why), step).view.model_dump(mode="json")
        }


async def remove_image(call: Call) -> None:
    """Remove an image that no profile uses, and the files that nothing else names."""
    async with call.hall.edit(call.by) as edit:
        await edit.remove_image(_find(call).name)
    catalog = call.hall.catalog()
    keep = {f.sha256 for i in catalog.images.values() for f in i.files}
    keep |= {loader.file.sha256 for loader in catalog.loaders.values()}
    keep |= {upload.sha256 for upload in await asyncio.to_thread(call.rooms.store.uploads.all) if upload.done}
    await asyncio.to_thread(call.rooms.store.discard_unused, keep)


ROUTES = (
    Route("GET", "/images", list_images, "List images", "image", ImageView, many=True, need=look("image")),
    Route(
        "POST",
        "/images",
        add_image,
        "Publish an image",
        "image",
        ImageView,
        body=ImageNew,
        status=201,
        need=operate("image"),
    ),
    Route(
        "POST",
        "/images/{name}/build",
        build_image,
        "Build an image here",
        "image",
        body=ImageBuild,
        media="application/x-ndjson",
        need=operate("image"),
    ),
    Route("GET", "/images/{name}", show_image, "Show an image", "image", ImageView, need=look("image")),
    Route(
        "DELETE",
        "/images/{name}",
        remove_image,
        "Remove an image",
        "image",
        status=204,
        need=operate("image"),
    ),
)
