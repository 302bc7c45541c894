"""Loaders: the network boot program of each client architecture."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from aiohttp import web

from pxeserver.api.access.who import administer, look
from pxeserver.api.problems import Problem, not_found
from pxeserver.api.routes.images import stored
from pxeserver.api.routes.uploads import refused
from pxeserver.api.routing import Call, Route
from pxeserver.api.schemas.catalog import FileNamed, LoaderNew, LoaderView, loader_view
from pxeserver.api.streams import Feed, consume, file, in_thread
from pxeserver.boot.architectures import arch_name
from pxeserver.boot.model import Loader
from pxeserver.imagestore.blobs import ImportFailed
from pxeserver.live import SERVER

BUNDLE_LIMIT = 256 << 20
"""Bytes of a loader bundle: a few programs of one or two MB each."""


async def list_loaders(call: Call) -> list[LoaderView]:
    """All loaders, by architecture type."""
    loaders = call.hall.catalog().loaders
    return [loader_view(loaders[arch], arch_name(arch)) for arch in sorted(loaders)]


async def put_loader(call: Call) -> LoaderView:
    """Use a file of the store as the loader of one architecture."""
    return await use(call, _arch(call), call.body)


async def use(call: Call, arch: int, body: LoaderNew) -> LoaderView:
    """The same for an architecture that is not part of the path."""
    named = FileNamed(name=body.name, sha256=body.sha256, role="loader")
    found = await asyncio.to_thread(stored, call, named)
    loader = Loader(arch, found, body.source or f"added by {call.by}", body.version, body.licence)
    async with call.hall.edit(call.by) as edit:
        await edit.put_loader(loader)
    await asyncio.to_thread(call.rooms.store.uploads.named, [body.sha256])
    return loader_view(loader, arch_name(loader.arch))


async def remove_loader(call: Call) -> None:
    """Give up a loader that somebody has added: the server's own serves its architecture again, if any."""
    arch = _arch(call)
    old = call.hall.catalog().loaders.get(arch)
    if old is None:
        raise not_found("loader", str(arch))
    own = (await own_loaders(call)).get(arch)
    if own == old:
        step = f"`pxeserver loader add FILE --arch {arch}` puts another in its place"
        raise Problem(409, f"loader {arch} is not removed", "it is the server's own", step)
    async with call.hall.edit(call.by) as edit:
        await edit.remove_loader(arch)
    if own is not None:
        async with call.hall.edit(SERVER) as edit:
            await edit.put_loader(own)


async def own_loaders(call: Call) -> dict[int, Loader]:
    """The loaders that the server has by itself, by architecture."""
    return {loader.arch: loader for loader in await in_thread(call.rooms.loaders.kept)}


def _arch(call: Call) -> int:
    text = call.part("arch")
    if not (text.isascii() and text.isdigit() and int(text) < 65536):
        why = f"{text!r} is not an architecture type from 0 to 65535"
        raise Problem(400, "the architecture is refused", why, "7 is x64 UEFI, 0 is BIOS, 11 is arm64 UEFI")
    return int(text)


async def export(call: Call) -> web.StreamResponse:
    """All loaders and their manifest in one file, for a server without a way to the Internet."""
    loaders = list(call.hall.catalog().loaders.values())
    if not loaders:
        raise Problem(
            409, "there is nothing to export", "this server has no loaders", "`pxeserver loader add` one"
        )
    with tempfile.TemporaryDirectory(dir=call.rooms.settings.server.state_dir) as folder:
        path = Path(folder) / "bundle"
        await in_thread(lambda: call.rooms.loaders.export_bundle(loaders, path))
        return await file(call.request, path, "pxeserver-loaders.tar")


async def import_bundle(call: Call) -> list[LoaderView]:
    """Take a bundle's loaders in and use them."""
    with tempfile.TemporaryDirectory(dir=call.rooms.settings.server.state_dir) as folder:
        path = Path(folder) / "bundle"
        await consume(call.request, BUNDLE_LIMIT, lambda feed: _save(feed, path))
        try:
            loaders = await in_thread(lambda: call.rooms.loaders.import_bundle(path))
        except (ImportFailed, ValueError) as error:
            raise refused(error) from None
    async with call.hall.edit(call.by) as edit:
        for loader in loaders:
            await edit.put_loader(loader)
    return [loader_view(loader, arch_name(loader.arch)) for loader in loaders]


def _save(feed: Feed, path: Path) -> None:
    with path.open("wb") as target:
        for block in feed:
            target.write(block)


_OCTETS = "application/octet-stream"
ROUTES = (
    Route(
        "GET", "/loaders", list_loaders, "List loaders", "loader", LoaderView, many=True, need=look("loader")
    ),
    Route(
        "GET", "/loaders/bundle", export, "Export the loaders", "loader", media=_OCTETS, need=look("loader")
    ),
    Route(
        "POST",
        "/loaders/bundle",
        import_bundle,
        "Import loaders",
        "loader",
        LoaderView,
        many=True,
        upload=_OCTETS,
        need=administer("loader"),
    ),
    Route(
        "PUT",
        "/loaders/{arch}",
        put_loader,
        "Use a loader",
        "loader",
        LoaderView,
        body=LoaderNew,
        need=administer("loader"),
    ),
    Route(
        "DELETE",
        "/loaders/{arch}",
        remove_loader,
        "Give up a loader",
        "loader",
        status=204,
        need=administer("loader"),
    ),
)
