"""What is told of a file on its way: image files with progress, boot loaders by their own two events."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from pxeserver.boot.model import EventKind, FileRef
from pxeserver.servers.http_files import Watch
from pxeserver.servers.http_progress import FileProgress
from pxeserver.servers.http_scripts import Detail

Tell = Callable[[EventKind, Mapping[str, str | int | float]], None]


class FileWatch(Watch):
    """An image file, or a blob, for one attempt."""

    def __init__(self, progress: FileProgress, attempt_id: str, file: FileRef, tell: Tell) -> None:
        self._progress = progress
        self._key = (attempt_id, file.sha256)
        self._name = file.name
        self._tell = tell

    def started(self, total: int, whole: bool) -> None:
        self._progress.begin(self._key, self._name, total, whole, self._tell)

    def moved(self, total: int, arrived: int) -> None:
        self._progress.move(self._key, self._name, total, arrived, self._tell)

    def sent(self, total: int, arrived: int) -> None:
        self._progress.end(self._key, self._name, total, arrived, self._tell)

    def failed(self, total: int, arrived: int, reason: str) -> None:
        self._progress.fail(self._key, self._name, total, arrived=arrived, reason=reason, tell=self._tell)


class LoaderWatch(Watch):
    """A boot loader."""

    def __init__(self, file: FileRef, tell: Tell) -> None:
        self._name = file.name
        self._tell = tell
        self._began = time.monotonic()

    def started(self, total: int, whole: bool) -> None:
        self._tell(EventKind.LOADER_STARTED, {"file": self._name, "total": total, "over": "http"})

    def sent(self, total: int, arrived: int) -> None:
        seconds = round(time.monotonic() - self._began, 3)
        self._tell(EventKind.LOADER_SENT, self._detail(total, arrived) | {"seconds": seconds})

    def failed(self, total: int, arrived: int, reason: str) -> None:
        self._tell(EventKind.FILE_FAILED, self._detail(total, arrived) | {"reason": reason})

    def _detail(self, total: int, arrived: int) -> Detail:
        return {"file": self._name, "bytes": arrived, "total": total, "over": "http"}
