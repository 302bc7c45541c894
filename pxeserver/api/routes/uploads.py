"""Files on their way into the store: uploaded as a body, or fetched by the server."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from typing import Any

from aiohttp import web

from pxeserver.api.access.who import operate
from pxeserver.api.problems import Problem
from pxeserver.api.routing import Call, Route
from pxeserver.api.schemas.catalog import FileView, ImportOrder, UploadQuery, file_view
from pxeserver.api.streams import consume, in_thread, lines
from pxeserver.boot.model import FileRef
from pxeserver.imagestore.blobs import ImportFailed, NoSpace
from pxeserver.imagestore.confine import Root

_PROGRESS_SECONDS = 0.25


def refused(error: Exception) -> Problem:
    """What an import's failure is to the caller."""
    status = 507 if isinstance(error, NoSpace) else 422
    step = "Make room on the server's disk" if status == 507 else "Check the file, its name and its checksum"
    return Problem(status, "the file was not taken in", str(error), step)


async def upload(call: Call) -> FileView:
    """Take a file in. It lies unused until an image or a loader names it; files that nothing names are
    removed later."""
    query: UploadQuery = call.query
    request = call.request
    store = call.rooms.store
    try:
        file = await consume(
            request,
            call.rooms.settings.api.max_upload_bytes,
            lambda feed: store.add_stream(
                feed, query.name, query.role, query.sha256, total=request.content_length
            ),
        )
    except ImportFailed as error:
        raise refused(error) from None
    return file_view(file)


async def import_file(call: Call) -> web.StreamResponse:
    """Fetch a file: lines of progress, then {"file": ...} or {"problem": ...}."""
    body: ImportOrder = call.body
    if (body.url is None) == (body.path is None):
        raise Problem(422, "the import is refused", "give either a URL or a path", "Give one of them")
    return await lines(call.request, _import(call, body))


async def _import(call: Call, body: ImportOrder) -> AsyncIterator[Mapping[str, Any]]:
    seen: list[tuple[int, int | None]] = [(0, None)]
    stop = False

    def progress(bytes_so_far: int, total: int | None) -> None:
        if stop:
            raise ImportFailed("the one who asked went away")
        seen[0] = (bytes_so_far, total)

    working = asyncio.ensure_future(in_thread(lambda: _take(call, body, progress)))
    try:
        while not working.done():
            await asyncio.wait({working}, timeout=_PROGRESS_SECONDS)
            yield {"bytes": seen[0][0], "total": seen[0][1]}
        try:
            file = working.result()
            await asyncio.to_thread(call.rooms.store.uploads.keep, file, call.by)
            yield {"file": file_view(file).model_dump(mode="json")}
        except ImportFailed as error:
            yield {"problem": refused(error).view.model_dump(mode="json")}
        except OSError as error:
            failed = ImportFailed(f"{body.path or body.url}: {error.strerror or error}")
            yield {"problem": refused(failed).view.model_dump(mode="json")}
    finally:
        stop = True
        await asyncio.gather(working, return_exceptions=True)


async def take(call: Call) -> FileView:
    """Fetch a file without telling of its progress; it waits then until an image or a loader names it."""
    body: ImportOrder = call.body
    try:
        file = await in_thread(lambda: _take(call, body, None))
    except ImportFailed as error:
        raise refused(error) from None
    await asyncio.to_thread(call.rooms.store.uploads.keep, file, call.by)
    return file_view(file)


def _take(call: Call, body: ImportOrder, progress: Any) -> FileRef:
    store = call.rooms.store
    if body.url is not None:
        return store.add_url(body.url, body.name, body.role, body.sha256, progress)
    # Only what a person put there on purpose: the server's own files are not for publishing.
    root = Root(call.rooms.settings.server.state_dir / "import")
    try:
        fd = root.open(body.path or "")
    finally:
        root.close()
    try:
        return store.add_fd(fd, body.name, body.role, body.sha256, progress)
    finally:
        os.close(fd)


ROUTES = (
    Route(
        "POST",
        "/files",
        upload,
        "Upload a file into the store",
        "image",
        FileView,
        query=UploadQuery,
        status=201,
        upload="application/octet-stream",
        need=operate("image"),
    ),
    Route(
        "POST",
        "/imports",
        import_file,
        "Let the server fetch a file",
        "image",
        body=ImportOrder,
        media="application/x-ndjson",
        need=operate("image"),
    ),
)
