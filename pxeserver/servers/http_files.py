"""Published files over HTTP: whole or in ranges, by sendfile, told in the timeline.

One descriptor serves all who fetch the same file at the same moment: a rack that boots one kernel opens it
once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from aiohttp import hdrs, web

from pxeserver.boot.model import FileRef
from pxeserver.servers import http_range
from pxeserver.servers.http_body import Refused, line
from pxeserver.servers.http_limits import HttpLimits
from pxeserver.servers.plane import OpenFile
from pxeserver.servers.sendfile import SendFailed, duplicate, send_file

log = logging.getLogger(__name__)

_TYPES = {".efi": "application/efi", ".json": "application/json", ".ipxe": "text/plain; charset=utf-8"}
"""UEFI takes an .efi file by its type or by its suffix; it gets both."""


class Watch:
    """What a caller wants to know of one answer; the base class wants nothing."""

    def started(self, total: int, whole: bool) -> None:
        """The first byte is about to go."""

    def moved(self, total: int, arrived: int) -> None:
        """Called about once a second."""

    def sent(self, total: int, arrived: int) -> None:
        """All the bytes that were asked for have gone."""

    def failed(self, total: int, arrived: int, reason: str) -> None:
        """The connection is gone before all bytes were."""


class OpenFiles:
    """Descriptors in use, shared among the transfers of the same content."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[OpenFile, int]] = {}

    def __len__(self) -> int:
        return len(self._open)

    def take(self, key: str, open_: Callable[[], OpenFile]) -> OpenFile:
        """The open file of this key, opened where nobody has it open. OSError where that fails."""
        file, users = self._open.get(key) or (open_(), 0)
        self._open[key] = file, users + 1
        return file

    def give_back(self, key: str) -> None:
        """One user less; the last one closes."""
        file, users = self._open.pop(key)
        if users > 1:
            self._open[key] = file, users - 1
        else:
            file.close()


class FileAnswers:
    """Answers GET and HEAD for files."""

    def __init__(self, limits: HttpLimits) -> None:
        self._limits = limits
        self.files = OpenFiles()

    async def answer(
        self,
        request: web.BaseRequest,
        file: FileRef,
        open_: Callable[[], OpenFile],
        *,
        watch: Watch | None = None,
        key: str | None = None,
        content_type: str | None = None,
    ) -> web.StreamResponse:
        """Send `file`, as far as the request asks for it. Refused where it cannot be opened."""
        key = key or file.sha256
        try:
            opened = self.files.take(key, open_)
        except FileNotFoundError:
            log.error("file=%s sha256=%s problem=not-in-store", file.name, file.sha256)
            raise Refused(404, "the file is published but not in the store") from None
        except OSError as exc:
            # Ours, not the client's: descriptors used up, a failing disk. Never told as "no such file".
            log.error("file=%s sha256=%s problem=%s", file.name, file.sha256, exc)
            raise Refused.later("the file cannot be read at the moment") from None
        try:
            return await self._send(request, file, opened, watch or Watch(), content_type)
        finally:
            self.files.give_back(key)

    async def _send(
        self,
        request: web.BaseRequest,
        file: FileRef,
        opened: OpenFile,
        watch: Watch,
        content_type: str | None,
    ) -> web.StreamResponse:
        etag = f'"{opened.sha256}"'
        headers = request.headers
        part = http_range.answer(
            opened.size,
            etag,
            get=request.method == hdrs.METH_GET,
            range_=headers.get(hdrs.RANGE),
            if_range=headers.get(hdrs.IF_RANGE),
            if_match=headers.get(hdrs.IF_MATCH),
            if_none_match=headers.get(hdrs.IF_NONE_MATCH),
        )
        fields = {
            hdrs.ETAG: etag,
            hdrs.ACCEPT_RANGES: "bytes",
            # The name's content may be another tomorrow; the ETag makes asking again cheap.
            hdrs.CACHE_CONTROL: "no-cache",
            "X-Content-Type-Options": "nosniff",
        }
        content_range = part.content_range(opened.size)
        if content_range:
            fields[hdrs.CONTENT_RANGE] = content_range
        if part.status in (412, 416):
            return line(part.status, "no such range" if part.status == 416 else "another version", fields)
        if part.status == 304:
            return web.Response(status=304, headers=fields)
        fields[hdrs.CONTENT_TYPE] = content_type or media_type(file.name)
        response = web.StreamResponse(status=part.status, headers=fields)
        response.content_length = part.length
        if request.method == hdrs.METH_HEAD or part.length == 0:
            return response
        await self._body(request, response, opened, part, watch)
        return response

    async def _body(
        self,
        request: web.BaseRequest,
        response: web.StreamResponse,
        opened: OpenFile,
        part: http_range.Answer,
        watch: Watch,
    ) -> None:
        if request.transport is None:
            raise SendFailed("reset", 0)
        try:
            out = duplicate(request.transport)
        except ConnectionError:
            raise
        except OSError as exc:
            log.error("address=%s problem=%s", request.remote, exc)
            raise Refused.later("the server has no room for another transfer at the moment") from None
        watch.started(opened.size, part.length == opened.size)
        arrived = 0

        def moved(now: int) -> None:
            nonlocal arrived
            arrived = now
            watch.moved(opened.size, now)

        try:
            writer = await response.prepare(request)
            if writer is None or request.transport is None:
                raise SendFailed("reset", 0)
            # The buffer's limit is 0 (http_limits), so this returns when the header is in the socket.
            async with asyncio.timeout(self._limits.pace.window):
                await writer.drain()
            await send_file(
                request.transport,
                out,
                opened.fd,
                part.start,
                part.length,
                pace=self._limits.pace,
                progress=moved,
            )
        except SendFailed as exc:
            watch.failed(opened.size, exc.delivered, exc.reason)
            raise
        except BaseException as exc:
            watch.failed(opened.size, arrived, _reason(exc))
            if request.transport is not None:
                request.transport.abort()
            if isinstance(exc, TimeoutError):
                raise SendFailed("stalled", 0) from None
            raise
        finally:
            out.close()
        watch.sent(opened.size, part.length)


def _reason(exc: BaseException) -> str:
    if isinstance(exc, TimeoutError):
        return "stalled"
    return "reset" if isinstance(exc, ConnectionError) else "stopped"


def media_type(name: str) -> str:
    """The type a file is sent as, by its suffix."""
    dot = name.rfind(".")
    return _TYPES.get(name[dot:].lower() if dot >= 0 else "", "application/octet-stream")
