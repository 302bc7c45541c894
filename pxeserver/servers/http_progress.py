"""The timeline of files going out: started, progress at most once a second, sent or failed.

A client may fetch one file in many ranges (an agent by chunk, a SAN boot by sector); these count as one file
of the attempt, else a boot would be told in thousands of lines. The table of files under way is bounded.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from pxeserver.boot.model import EventKind

Tell = Callable[[EventKind, dict[str, str | int | float]], None]
"""Reports one event of the file's attempt."""

_FILES = 8192
_BETWEEN = 1.0


@dataclass(slots=True)
class _File:
    started: float
    told: float
    arrived: int = 0
    """Bytes of finished requests."""
    failures: int = 0


class FileProgress:
    """Files under way, by attempt and sha256."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._files: OrderedDict[tuple[str, str], _File] = OrderedDict()

    def begin(self, key: tuple[str, str], name: str, total: int, whole: bool, tell: Tell) -> None:
        """A request for the file starts; `whole` where it asks for all of it."""
        now = self._now()
        if whole or key not in self._files:
            self._files[key] = _File(now, now)
            self._files.move_to_end(key)
            if len(self._files) > _FILES:
                self._files.popitem(last=False)
            tell(EventKind.FILE_STARTED, {"file": name, "total": total})

    def move(self, key: tuple[str, str], name: str, total: int, arrived: int, tell: Tell) -> None:
        """So many bytes of the present request have arrived."""
        file, now = self._files.get(key), self._now()
        if file is not None and now - file.told >= _BETWEEN:
            file.told = now
            tell(
                EventKind.FILE_PROGRESS,
                {"file": name, "bytes": min(total, file.arrived + arrived), "total": total},
            )

    def end(self, key: tuple[str, str], name: str, total: int, arrived: int, tell: Tell) -> None:
        """The present request was answered in full."""
        file = self._files.get(key)
        if file is None:
            return
        file.arrived += arrived
        if file.arrived >= total:
            del self._files[key]
            seconds = round(max(0.0, self._now() - file.started), 3)
            tell(EventKind.FILE_SENT, {"file": name, "bytes": total, "total": total, "seconds": seconds})
        else:
            self.move(key, name, total, 0, tell)

    def fail(
        self, key: tuple[str, str], name: str, total: int, *, arrived: int, reason: str, tell: Tell
    ) -> None:
        """The present request broke off; the client may come again for the rest."""
        file = self._files.get(key)
        done = arrived
        if file is not None:
            file.arrived += arrived
            done = min(total, file.arrived)
        tell(EventKind.FILE_FAILED, {"file": name, "bytes": done, "total": total, "reason": reason})
