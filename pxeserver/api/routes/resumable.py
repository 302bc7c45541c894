"""Uploads that can be taken up again: begun with a size, sent in parts, finished with a checksum."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, TypeVar

from pydantic import Field

from pxeserver.api.access.who import look, operate
from pxeserver.api.problems import Problem
from pxeserver.api.routes.uploads import refused
from pxeserver.api.routing import Call, Route
from pxeserver.api.schemas.catalog import FileView, Role, file_view
from pxeserver.api.schemas.fields import Body, Sha256, Text, Time, View
from pxeserver.api.streams import Feed, consume, in_thread
from pxeserver.imagestore.blobs import ImportFailed
from pxeserver.imagestore.store import check_reference
from pxeserver.imagestore.uploads import BadOffset, Busy, TooMany, Upload
from pxeserver.storage.origin import ORIGIN

T = TypeVar("T")
PART_LIMIT = 1 << 30
"""Bytes of one part: a cut loses at most what is on the wire, so parts need not be small."""


class UploadNew(Body):
    """A file that is about to be sent."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    role: Role = "file"
    size: Annotated[int, Field(ge=0, le=1 << 50)]
    """Bytes of the whole file."""
    sha256: Sha256 | None = None
    """What the file has to be; without it nothing vouches for its content."""
    mark: Annotated[Text, Field(max_length=100)] = ""
    """Anything that tells the sender later whether a file is the same one, such as its time of change."""


class PartQuery(Body):
    """Where a part belongs."""

    offset: Annotated[int, Field(ge=0, le=1 << 50)]
    """Bytes of the file before this part: the upload's own `offset`."""


class UploadView(View):
    """A file on its way into the store, or there and waiting to be named by an image or a loader."""

    id: str
    name: str
    role: str
    size: int
    offset: int
    """Bytes that are here: where the next part begins."""
    done: bool
    sha256: str
    """What the file has to be, or once it is done: is."""
    mark: str
    by: str
    created: Time
    expires: Time
    """When it is given up unless something is added."""


def view(upload: Upload) -> UploadView:
    """An upload as the API shows it."""
    return UploadView(**{name: getattr(upload, name) for name in UploadView.model_fields})


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except LookupError:
        step = "Begin anew; `GET /api/v1/uploads` lists what is under way"
        raise Problem(404, "no such upload", "it is over, was given up, or never began", step) from None
    except BadOffset as error:
        why = f"{error.offset} bytes are here"
        step = f"Go on with offset={error.offset}"
        raise Problem(
            409, "the part does not fit", why, step, headers={"Upload-Offset": str(error.offset)}
        ) from None
    except Busy:
        raise Problem(
            409, "the part was not taken", "a newer connection sends this file", "Ask for the offset"
        ) from None
    except TooMany as error:
        raise Problem(429, "the upload does not begin", str(error), "Finish or remove others") from None
    except ImportFailed as error:
        raise refused(error) from None


async def _do(work: Callable[[], T]) -> T:
    with _explained():
        return await in_thread(work)


async def list_uploads(call: Call) -> list[UploadView]:
    """Files on their way, and whole ones that nothing names yet; newest first."""
    return [view(upload) for upload in await _do(call.rooms.store.uploads.all)]


async def begin(call: Call) -> UploadView:
    """Begin an upload; nothing is sent yet."""
    body: UploadNew = call.body
    limit = call.rooms.settings.api.max_upload_bytes
    if body.size > limit:
        why = f"{body.size} bytes, allowed are {limit}"
        raise Problem(413, "the file is too large", why, "See api.max_upload_bytes", fields={"size": why})
    uploads = call.rooms.store.uploads

    def work() -> Upload:
        check_reference(body.name, body.role, body.sha256)
        return uploads.begin(
            body.name, body.role, body.size, call.by, sha256=body.sha256 or "", mark=body.mark
        )

    return view(await _do(work))


async def show(call: Call) -> UploadView:
    """How much of a file is here: where a sender goes on after a cut."""
    found = await _do(lambda: call.rooms.store.uploads.find(call.part("id")))
    with _explained():
        if found is None:
            raise LookupError
    return view(found)


async def send(call: Call) -> UploadView:
    """Add a part. Whatever has come before a connection is cut stays."""
    query: PartQuery = call.query
    uploads, upload_id = call.rooms.store.uploads, call.part("id")
    if (origin := ORIGIN.get()) is not None:
        origin.noted += 1  # the trail tells of the beginning and the end, not of each part

    def work(feed: Feed) -> Upload:
        return uploads.append(upload_id, query.offset, feed)

    with _explained():
        upload = await consume(call.request, PART_LIMIT, work)
    return view(upload)


async def finish(call: Call) -> FileView:
    """The file is whole: it is checked and becomes a file of the store. Of a wrong one nothing is left."""
    done = await _do(lambda: call.rooms.store.uploads.finish(call.part("id")))
    return file_view(done.file)


async def give_up(call: Call) -> None:
    """Remove an upload, and what has come of it. A file that is in the store is removed with those that
    nothing names."""
    if not await _do(lambda: call.rooms.store.uploads.remove(call.part("id"))):
        with _explained():
            raise LookupError


_SEE, _CHANGE = look("image"), operate("image")
ROUTES = (
    Route("GET", "/uploads", list_uploads, "List uploads", "image", UploadView, many=True, need=_SEE),
    Route(
        "POST",
        "/uploads",
        begin,
        "Begin an upload",
        "image",
        UploadView,
        body=UploadNew,
        status=201,
        need=_CHANGE,
    ),
    Route("GET", "/uploads/{id}", show, "How far an upload is", "image", UploadView, need=_SEE),
    Route(
        "PATCH",
        "/uploads/{id}",
        send,
        "Send a part of a file",
        "image",
        UploadView,
        query=PartQuery,
        upload="application/octet-stream",
        need=_CHANGE,
    ),
    Route("POST", "/uploads/{id}/finish", finish, "Finish an upload", "image", FileView, need=_CHANGE),
    Route("DELETE", "/uploads/{id}", give_up, "Give an upload up", "image", status=204, need=_CHANGE),
)
