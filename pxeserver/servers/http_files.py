"""Published files over HTTP: whole or in ranges, by sendfile, told in the timeline.

One descriptor serves all who fetch the same file at the same moment: a rack that boots one kernel opens it
once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from pxeserver.boot.model import FileRef
from pxeserver.servers import http_range
from pxeserver.servers.http_body import Refused
from pxeserver.servers.http_message import Request, Response, header, line
from pxeserver.servers.plane import OpenFile

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


class FilePart:
    """The bytes of a file that one answer sends. Exactly one of `sent` and `failed` is called in the end, and
    gives the descriptor back.
    """

    def __init__(
        self,
        opened: OpenFile,
        part: http_range.Answer,
        watch: Watch,
        give_back: Callable[[], None],
        counters: dict[str, int],
    ) -> None:
        self.file, self.start, self.length = opened.fd, part.start, part.length
        self._total = opened.size
        self._watch, self._give_back = watch, give_back
        self._told = 0
        self._counters = counters

    def started(self) -> None:
        """The first byte is about to go."""
        self._watch.started(self._total, self.length == self._total)

    def moved(self, arrived: int) -> None:
        """So many bytes have arrived."""
        if arrived > self._told:
            self._told = arrived
            self._watch.moved(self._total, arrived)

    def sent(self) -> None:
        """All have."""
        self._counters["sent"] += 1
        self._counters["bytes"] += self.length
        self._watch.sent(self._total, self.length)
        self._give_back()

    def failed(self, arrived: int, reason: str) -> None:
        """The connection is gone before all have."""
        self._counters["failed"] += 1
        self._counters["bytes"] += arrived
        self._watch.failed(self._total, arrived, reason)
        self._give_back()


class FileAnswers:
    """Answers GET and HEAD for files."""

    def __init__(self) -> None:
        self.files = OpenFiles()
        self.counters = {"sent": 0, "failed": 0, "bytes": 0}
        """Answers with a file's bytes that went out whole or broke off, and their bytes."""

    def answer(
        self,
        request: Request,
        file: FileRef,
        open_: Callable[[], OpenFile],
        *,
        watch: Watch | None = None,
        key: str | None = None,
        content_type: str | None = None,
    ) -> Response:
        """`file`, as far as the request asks for it. Refused where it cannot be opened."""
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
        response, part = _answer(request, file, opened, content_type)
        if part is None:
            self.files.give_back(key)
        else:
            response.file = FilePart(
                opened, part, watch or Watch(), lambda: self.files.give_back(key), self.counters
            )
        return response


def _answer(
    request: Request, file: FileRef, opened: OpenFile, content_type: str | None
) -> tuple[Response, http_range.Answer | None]:
    """The answer, and the part of the file that is sent with it, if any."""
    etag = f'"{opened.sha256}"'
    asked = request.fields.get
    part = http_range.answer(
        opened.size,
        etag,
        get=request.method == "GET",
        range_=asked("range"),
        if_range=asked("if-range"),
        if_match=asked("if-match"),
        if_none_match=asked("if-none-match"),
    )
    fields = {
        "ETag": etag,
        "Accept-Ranges": "bytes",
        # The name's content may be another tomorrow; the ETag makes asking again cheap.
        "Cache-Control": "no-cache",
        "X-Content-Type-Options": "nosniff",
    }
    content_range = part.content_range(opened.size)
    if content_range:
        fields["Content-Range"] = content_range
    if part.status in (412, 416):
        told = "no such range" if part.status == 416 else "another version"
        return line(part.status, told, fields), None
    if part.status == 304:
        return Response(304, header(fields)), None
    fields["Content-Type"] = content_type or media_type(file.name)
    response = Response(part.status, header(fields), length=part.length)
    return response, part if request.method == "GET" and part.length else None


def media_type(name: str) -> str:
    """The type a file is sent as, by its suffix."""
    dot = name.rfind(".")
    return _TYPES.get(name[dot:].lower() if dot >= 0 else "", "application/octet-stream")
